//! What tests that run real packages share: export, and golden chats as prompts of the sessions.

// Each test file uses a part of this.
#![allow(dead_code)]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::Array2;
use rewardrt::decode::Request;
use rewardrt::judge::Footage;
use rewardrt::load::Package;
use rewardrt::media::video::Isolation;
use rewardrt::media::{self, Limits, PixelRule};
use rewardrt::preprocess::{self, Patches};
use rewardrt::session::{
    CHUNK_COLUMNS, DecoderSession, Features, Library, OrtDecoder, OrtVision, SessionOptions, StepInput,
    VisionInput, VisionSession,
};
use rewardrt::text::chat::Chat;
use rewardrt_export::Options;
use rewardrt_models::package::{Manifest, Precision};
use rewardrt_models::prompt::segment::MediaKind;
use rewardrt_models::spec::position::{Positions, Rotary, grid_rows};
use rewardrt_tests::{Golden, Result};

/// A package that is removed with this value.
pub(crate) struct Exported {
    folder: tempfile::TempDir,
}

impl Exported {
    /// Exports a checkpoint.
    pub(crate) fn new(checkpoint: &Path, precision: Precision) -> Result<Exported> {
        let exported = Exported { folder: tempfile::tempdir()? };
        let (checkpoint, out) = (checkpoint.to_owned(), exported.path());
        let options = Options { checkpoint, out, precision, name: None, pack: None, force: false };
        rewardrt_export::export(&options, &mut |_| {})?;
        Ok(exported)
    }

    /// The package.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("package")
    }

    /// A copy of the package, to be spoilt.
    pub(crate) fn copy(&self) -> Result<Exported> {
        let copy = Exported { folder: tempfile::tempdir()? };
        std::fs::create_dir(copy.path())?;
        for entry in std::fs::read_dir(self.path())? {
            let entry = entry?;
            std::fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
        }
        Ok(copy)
    }
}

/// The sessions of a package on the processor.
pub(crate) struct Sessions {
    pub(crate) manifest: Manifest,
    pub(crate) vision: OrtVision,
    pub(crate) decoder: OrtDecoder,
}

impl Sessions {
    /// Opens both graphs with this many slots of this many tokens.
    pub(crate) fn open(library: &Library, package: &Path, slots: (usize, usize)) -> Result<Sessions> {
        let (package, options) = (Package::open(package)?, SessionOptions::default());
        let vision = OrtVision::open(library, &package, &options)?.ok_or("no vision tower")?;
        let decoder = OrtDecoder::open(library, &package, &options, slots)?;
        Ok(Sessions { manifest: package.manifest().clone(), vision, decoder })
    }
}

/// A golden chat as the decoder takes it: the reference's ids and positions, this package's features.
#[derive(Clone)]
pub(crate) struct Prompt {
    pub(crate) ids: Vec<i64>,
    positions: Vec<[i64; 3]>,
    feature_rows: Vec<i64>,
    features: Arc<Features>,
}

impl Prompt {
    /// Reads a case and sees its pictures.
    pub(crate) fn of(case: &Golden, manifest: &Manifest, vision: &mut OrtVision) -> Result<Prompt> {
        let ids = case.i64("input_ids")?;
        let flat = case.i64("position_ids")?;
        let positions = (0..ids.len()).map(|t| [0, 1, 2].map(|axis| flat[axis * ids.len() + t])).collect();
        let placeholders = placeholders(manifest);
        let mut next = -1;
        let feature_rows = ids.iter().map(|id| {
            let is_seen = placeholders.contains(id);
            next += i64::from(is_seen);
            if is_seen { next } else { -1 }
        });
        let feature_rows = feature_rows.collect();
        Ok(Prompt { ids, positions, feature_rows, features: Arc::new(see(case, manifest, vision)?) })
    }

    /// The prompt with more text behind it.
    pub(crate) fn and(mut self, ids: &[i64]) -> Prompt {
        for &id in ids {
            self.positions.push([self.next_position(); 3]);
            self.feature_rows.push(-1);
            self.ids.push(id);
        }
        self
    }

    fn next_position(&self) -> i64 {
        self.positions.iter().flatten().max().map_or(0, |most| most + 1)
    }

    /// A greedy request for this many tokens.
    pub(crate) fn request(&self, max_new_tokens: usize) -> Request {
        let ids = self.ids.iter().map(|&id| id as u32).collect();
        let positions = Positions { tokens: self.positions.clone(), next: self.next_position() };
        Request {
            positions,
            feature_rows: self.feature_rows.clone(),
            features: Some(self.features.clone()),
            ..Request::text(ids, max_new_tokens, Vec::new())
        }
    }

    /// A request for the scores of a package that ends in a head of them.
    pub(crate) fn scores(&self, manifest: &Manifest) -> Result<Request> {
        let rule = manifest.scores.as_ref().ok_or("the package ends in a vocabulary")?;
        let request = self.request(0);
        Ok(Request { read: rule.at.places(&request.ids)?, ..request })
    }

    /// The logits after the prompt, read in slot 0 by as many runs as it takes.
    pub(crate) fn first_logits(&self, sessions: &mut Sessions) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        for start in (0..self.ids.len()).step_by(CHUNK_COLUMNS) {
            let end = (start + CHUNK_COLUMNS).min(self.ids.len());
            let step = self.step(&sessions.manifest, 0, start..end);
            logits = sessions.decoder.run(&step)?.iter().copied().collect();
        }
        Ok(logits)
    }

    /// One run over a part of the prompt in one slot, asking for the logits of the part's last token.
    pub(crate) fn step(&self, manifest: &Manifest, slot: usize, part: Range<usize>) -> StepInput {
        let rotary = Rotary::new(&manifest.decoder.position);
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for &position in &self.positions[part.clone()] {
            rotary.push(position, &mut cos, &mut sin);
        }
        StepInput {
            first_slot: slot,
            columns: part.len(),
            ids: self.ids[part.clone()].to_vec(),
            feature_rows: self.feature_rows[part.clone()].to_vec(),
            features: self.features.rows.iter().copied().collect(),
            deepstack: self.features.deepstack.iter().map(|table| table.iter().copied().collect()).collect(),
            cos,
            sin,
            seqlens_k: vec![part.end as i32 - 1],
            query_seqlens: vec![part.len() as i32],
            logit_rows: vec![part.len() as i64 - 1],
        }
    }
}

/// The chat of a case, with paths that open.
pub(crate) fn chat(case: &Golden) -> Result<Chat> {
    let mut chat = Chat::from_json(&std::fs::read(&case.messages)?)?;
    let folder = case.messages.parent().ok_or("messages.json lies in no folder")?;
    for file in &mut chat.media {
        file.path = folder.join(&file.path).display().to_string();
    }
    Ok(chat)
}

/// The ids that stand for what is seen.
pub(crate) fn placeholders(manifest: &Manifest) -> Vec<i64> {
    [manifest.tokens.image, manifest.tokens.video].into_iter().flatten().map(i64::from).collect()
}

/// The videos of a case, read by the package's own rule, and their patches.
pub(crate) fn videos(case: &Golden, manifest: &Manifest) -> Result<Vec<(Footage, Patches)>> {
    let mut all = Vec::new();
    for file in chat(case)?.media.iter().filter(|file| file.kind == MediaKind::Video) {
        let params = manifest.video.as_ref().ok_or("no video preprocessing")?;
        let (path, isolation) = (Path::new(&file.path), Isolation::InProcess);
        let footage = Footage::open(path, params.frames, manifest, PixelRule::Reference, isolation)?;
        let patches = preprocess::prepare_video(&footage.frames, params)?;
        all.push((footage, patches));
    }
    Ok(all)
}

/// The patches of a case's pictures.
pub(crate) fn pictures(case: &Golden, manifest: &Manifest) -> Result<Vec<Patches>> {
    let params = manifest.image.as_ref().ok_or("no picture preprocessing")?;
    let mut all = Vec::new();
    let mut files = chat(case)?.media;
    files.retain(|file| file.kind == MediaKind::Image);
    for file in &files {
        let rgb = media::decode(&std::fs::read(&file.path)?, PixelRule::Reference, &Limits::default())?;
        all.push(preprocess::prepare(&rgb, params, files.len())?);
    }
    Ok(all)
}

/// The features of a case's pictures, then of its videos; one row of zeros when it has none.
pub(crate) fn see(case: &Golden, manifest: &Manifest, vision: &mut OrtVision) -> Result<Features> {
    let v = manifest.vision.as_ref().ok_or("no vision tower")?;
    let merge = manifest.image.as_ref().map_or(0, |image| image.merge_size as usize);
    let mut all = Vec::new();
    let videos = videos(case, manifest)?.into_iter().map(|(_, patches)| patches);
    for picture in pictures(case, manifest)?.into_iter().chain(videos) {
        let [_, rows, columns] = picture.grid.map(|n| n as usize);
        let grid = grid_rows(v, merge, rows, columns);
        let seen = vision.run(&VisionInput { patches: picture.grids()?, grid: &grid })?;
        all.push(Features { rows: picture.tokens(seen.rows), ..seen });
    }
    if all.is_empty() {
        let zero = || Array2::zeros((1, v.hidden as usize));
        return Ok(Features { rows: zero(), deepstack: (0..v.deepstack).map(|_| zero()).collect() });
    }
    Ok(Features::join(&all)?)
}
