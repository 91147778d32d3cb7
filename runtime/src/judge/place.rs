//! What the pictures and videos of a prompt are in it: the positions of their tokens, and what is written around them.

use rewardrt_models::package::{ImageProcessing, Manifest, VideoShown};
use rewardrt_models::prompt::segment::Segment;
use rewardrt_models::prompt::video::{Stamps, expand};
use rewardrt_models::spec::position::{Span, video_step};

use super::{Inner, Sampled};
use crate::Error;
use crate::media::Rgb8;
use crate::preprocess::{self, Patches};
use crate::text::EncodedPrompt;

/// What one picture or video is in its prompt.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Its runs of vision tokens: one, or one a temporal patch where its stamps stand between them.
    spans: Vec<Span>,
    stamps: Option<Stamps>,
}

impl Place {
    /// Of a picture.
    pub(super) fn picture(patches: &Patches, params: &ImageProcessing) -> Place {
        Place { spans: vec![patches.span(params)], stamps: None }
    }

    /// Of a video whose tokens are numbered as text, see [`head::check`](super::head::check), so no step is ever taken.
    pub(super) fn numbered(video: &Patches, params: &ImageProcessing) -> Place {
        let side = |n: u32| (n / params.merge_size.max(1)) as usize;
        let [times, rows, columns] = [video.grid[0] as usize, side(video.grid[1]), side(video.grid[2])];
        Place { spans: vec![Span::Video { times, rows, columns, step: 1.0 }], stamps: None }
    }

    /// Vision tokens.
    pub(super) fn tokens(&self) -> usize {
        self.spans.iter().map(Span::tokens).sum()
    }
}

/// Which frames of a video are shown, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times<'a> {
    /// Their places in the whole video, from 0.
    pub(super) indices: &'a [u64],
    /// Frames of the whole video.
    pub(super) total: u64,
    /// Frames a second of the whole video; not above 0 where it does not say.
    pub(super) fps: f64,
}

impl<'a> Times<'a> {
    /// Of the chosen frames of a video file.
    pub(super) fn of(sampled: &'a Sampled) -> Times<'a> {
        Times { indices: &sampled.indices, total: sampled.frames_total, fps: sampled.fps }
    }
}

/// Prepares the frames of a video that is shown as such. `times` is absent for frames that came without a video; `name`
/// says which one an error is about.
pub(super) fn video(
    frames: &[Rgb8],
    times: Option<Times<'_>>,
    manifest: &Manifest,
    name: &str,
) -> Result<(Patches, Place), Error> {
    let Some(params) = &manifest.video else { return Err(Error::Request(refusal(name))) };
    let times = times.filter(|times| times.fps > 0.0);
    if times.is_none() {
        check_timeless(manifest, name)?;
    }
    let patches = preprocess::prepare_video(frames, params)
        .map_err(|source| Error::Preprocess { name: name.to_owned(), source })?;
    let merge = params.merge_size.max(1);
    let [count, rows, columns] = patches.grid;
    let [count, rows, columns] = [count, rows / merge, columns / merge].map(|n| n as usize);
    let temporal = params.temporal_patch_size.max(1) as usize;
    let position = &manifest.decoder.position;
    let place = match params.shown {
        VideoShown::Pooled => {
            let tokens = patches.packing.as_ref().map_or(count * rows * columns, |packing| packing.tokens());
            Place { spans: vec![Span::Text(tokens)], stamps: None }
        }
        VideoShown::Grid => {
            let seconds = match times {
                // Frames a second of what is shown, as the reference computes it.
                Some(t) => temporal as f64 / (t.indices.len() as f64 / t.total as f64 * t.fps),
                // A temporal patch is one position, however long it lasts.
                None => 0.0,
            };
            let step = video_step(position, seconds);
            Place { spans: vec![Span::Video { times: count, rows, columns, step }], stamps: None }
        }
        VideoShown::Stamped { start, end } => {
            let stamps = times.map(|t| Stamps::new(t.indices, t.fps, temporal, [start, end]));
            Place { spans: vec![Span::Grid(rows, columns); count], stamps }
        }
    };
    Ok((patches, place))
}

/// Refuses frames without a frame rate where the model is told when each is seen.
pub(super) fn check_timeless(manifest: &Manifest, name: &str) -> Result<(), Error> {
    let stamped = manifest.video.as_ref().is_some_and(|v| matches!(v.shown, VideoShown::Stamped { .. }));
    let counted = manifest.video.as_ref().is_some_and(|v| v.shown == VideoShown::Grid)
        && manifest.decoder.position.tokens_per_second.is_some();
    if stamped || counted {
        let why =
            "the model is told when each frame is seen, and there is no frame rate here; give a video file";
        return Err(Error::Request(format!("{name}: {why}")));
    }
    Ok(())
}

/// Why a package shows no videos, and the way out.
pub(super) fn refusal(name: &str) -> String {
    format!(
        "{name}: the package does not say how videos are seen, because its checkpoint has no \
         video_preprocessor_config.json; give pictures, or export a checkpoint that has it"
    )
}

/// The runs of vision tokens of all of them, in order.
pub(super) fn spans(places: &[Place]) -> Vec<Span> {
    places.iter().flat_map(|place| place.spans.iter().copied()).collect()
}

/// Encodes a prompt whose media parts are these.
pub(super) fn encode(
    inner: &Inner,
    segments: Vec<Segment>,
    places: &[Place],
) -> Result<EncodedPrompt, Error> {
    let lengths: Vec<usize> = spans(places).iter().map(Span::tokens).collect();
    Ok(inner.encoder.encode(&filled(segments, places), &lengths)?)
}

/// The segments of a prompt with what stands around the tokens of its videos; each run of `spans` is a slot then.
pub(super) fn filled(segments: Vec<Segment>, places: &[Place]) -> Vec<Segment> {
    let stamps: Vec<Option<Stamps>> = places.iter().map(|place| place.stamps.clone()).collect();
    expand(segments, &stamps)
}
