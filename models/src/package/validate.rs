//! What a manifest may say: every value that cannot be is refused by its path, before anything is opened.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::{
    FORMAT, FileEntry, MANIFEST_FILE, MAX_FILES, Manifest, ManifestError, Recurrent, is_plain_name,
};
use super::variant::parse_version;

impl Manifest {
    /// Refuses the first value that cannot be, by its path.
    pub(super) fn validate(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return refuse("format", format!("version {}, this build reads {FORMAT}", self.format));
        }
        let listed = self.validate_files()?;
        self.validate_references(&listed)?;
        self.validate_decoder()?;
        self.validate_vision()?;
        if let Some(scores) = &self.scores {
            scores.validate(self.decoder.vocabulary)?;
        }
        self.validate_generation()
    }

    fn validate_files(&self) -> Result<BTreeSet<&str>, ManifestError> {
        if self.files.len() > MAX_FILES || self.source.len() > MAX_FILES {
            return refuse("files", format!("more than {MAX_FILES} entries"));
        }
        let mut listed = BTreeMap::new();
        for (list, name) in [(&self.source, "source"), (&self.files, "files")] {
            for (i, entry) in list.iter().enumerate() {
                check_entry(entry, &format!("{name}[{i}]"))?;
            }
        }
        for (i, entry) in self.files.iter().enumerate() {
            if entry.path == MANIFEST_FILE || listed.insert(entry.path.as_str(), i).is_some() {
                return refuse(format!("files[{i}].path"), format!("{} stands twice", entry.path));
            }
        }
        Ok(listed.into_keys().collect())
    }

    fn validate_references(&self, listed: &BTreeSet<&str>) -> Result<(), ManifestError> {
        check_version("requires.onnxruntime", Some(&self.requires.onnxruntime))?;
        let mut named = vec![
            ("tokenizer".to_owned(), &self.tokenizer),
            ("chat_template".to_owned(), &self.chat_template),
        ];
        for (component, graphs) in [
            ("decoder", self.decoder_graphs().collect()),
            ("vision", self.vision_graphs().collect::<Vec<_>>()),
        ] {
            for (i, graph) in graphs.into_iter().enumerate() {
                let at = if i == 0 {
                    format!("{component}.graph")
                } else {
                    format!("{component}.variants[{}]", i - 1)
                };
                check_version(&format!("{at}.onnxruntime"), graph.onnxruntime.as_deref())?;
                named.push((format!("{at}.file"), &graph.file));
                named.extend(graph.weights.iter().map(|w| (format!("{at}.weights"), w)));
            }
        }
        for (field, path) in named {
            if !listed.contains(path.as_str()) {
                return refuse(field, format!("{path} is not listed in files"));
            }
        }
        Ok(())
    }

    fn validate_decoder(&self) -> Result<(), ManifestError> {
        let d = &self.decoder;
        let sizes = [
            ("layers", d.layers, 1 << 10),
            ("kv_heads", d.kv_heads, 1 << 10),
            ("head_dim", d.head_dim, 1 << 12),
            ("hidden", d.hidden, 1 << 20),
            ("vocabulary", d.vocabulary, 1 << 24),
            ("max_positions", d.max_positions, 1 << 24),
        ];
        for (field, value, most) in sizes {
            within(&format!("decoder.{field}"), u64::from(value), 1, most)?;
        }
        if let Some(r) = &d.recurrent {
            r.validate()?;
        }
        let p = &d.position;
        if p.rotary_dim == 0 || !p.rotary_dim.is_multiple_of(2) || p.rotary_dim > d.head_dim {
            return refuse(
                "decoder.position.rotary_dim",
                format!("{} of head_dim {}", p.rotary_dim, d.head_dim),
            );
        }
        if p.sections.iter().map(|&s| u64::from(s)).sum::<u64>() != u64::from(p.rotary_dim / 2) {
            return refuse("decoder.position.sections", "do not sum to half of rotary_dim");
        }
        positive("decoder.position.theta", p.theta)?;
        if let Some(rate) = p.tokens_per_second {
            positive("decoder.position.tokens_per_second", rate)?;
        }
        let known = |id: u32| id < d.vocabulary;
        let all = self.tokens.eos.iter().copied().chain(self.tokens.image).chain(self.tokens.video);
        for id in all {
            if !known(id) {
                return refuse("tokens", format!("{id} is not below the vocabulary of {}", d.vocabulary));
            }
        }
        if self.tokens.eos.is_empty() && self.scores.is_none() {
            return refuse("tokens.eos", "empty: no answer would ever end");
        }
        Ok(())
    }

    fn validate_vision(&self) -> Result<(), ManifestError> {
        let (vision, image) = match (&self.vision, &self.image) {
            (None, None) if self.video.is_none() => return Ok(()),
            (Some(v), Some(i)) => (v, i),
            _ => {
                return refuse("image", "vision and image stand together or not at all, and video with them");
            }
        };
        if vision.hidden != self.decoder.hidden {
            return refuse("vision.hidden", format!("{} against decoder.hidden", vision.hidden));
        }
        for (field, side) in
            [("vision.position_side", vision.position_side), ("vision.window", vision.window)]
        {
            side.map_or(Ok(()), |side| within(field, u64::from(side), 1, 1 << 12))?;
        }
        within("vision.head_dim", u64::from(vision.head_dim), 4, 1 << 12)?;
        within("vision.deepstack", u64::from(vision.deepstack), 0, u64::from(self.decoder.layers))?;
        vision.rotary_theta.map_or(Ok(()), |theta| positive("vision.rotary_theta", theta))?;
        within("image.patch_size", u64::from(image.patch_size), 1, 256)?;
        within("image.temporal_patch_size", u64::from(image.temporal_patch_size), 1, 16)?;
        within("image.merge_size", u64::from(image.merge_size), 1, 16)?;
        within("image.max_pixels", image.max_pixels, 1, 1 << 32)?;
        within("image.min_pixels", image.min_pixels, 1, image.max_pixels)?;
        check_normalisation("image", image.mean, image.std, image.rescale_factor)?;
        if let Some(tiling) = &image.tiling {
            tiling.validate(image)?;
            // Only feature rows are put together from tiles.
            within("vision.deepstack", u64::from(vision.deepstack), 0, 0)?;
        }
        if self.tokens.image.is_none() {
            return refuse("tokens.image", "absent, but the package has a vision tower");
        }
        let Some(video) = &self.video else { return Ok(()) };
        video.validate(image, self.decoder.vocabulary)?;
        if self.tokens.video.is_none() {
            return refuse("tokens.video", "absent, but the package says how videos are shown");
        }
        Ok(())
    }

    fn validate_generation(&self) -> Result<(), ManifestError> {
        let g = &self.generation;
        positive("generation.temperature", f64::from(g.temperature))?;
        positive("generation.repetition_penalty", f64::from(g.repetition_penalty))?;
        positive("generation.top_p", f64::from(g.top_p))?;
        if g.top_p > 1.0 {
            return refuse("generation.top_p", "over 1");
        }
        Ok(())
    }
}

impl Recurrent {
    fn validate(&self) -> Result<(), ManifestError> {
        let sizes = [
            ("layers", self.layers, 1 << 10),
            ("heads", self.heads, 1 << 10),
            ("key_dim", self.key_dim, 1 << 12),
            ("value_dim", self.value_dim, 1 << 12),
            ("window", self.window, 1 << 6),
            ("channels", self.channels, 1 << 20),
        ];
        sizes.iter().try_for_each(|(field, value, most)| {
            within(&format!("decoder.recurrent.{field}"), u64::from(*value), 1, *most)
        })
    }
}

fn check_version(field: &str, version: Option<&str>) -> Result<(), ManifestError> {
    match version.filter(|text| parse_version(text).is_none()) {
        None => Ok(()),
        Some(text) => refuse(field, format!("{text:?} is no version major.minor.patch")),
    }
}

fn check_entry(entry: &FileEntry, field: &str) -> Result<(), ManifestError> {
    if !is_plain_name(&entry.path) {
        return refuse(format!("{field}.path"), "not a plain file name of [A-Za-z0-9._-]");
    }
    if entry.sha256.len() != 64
        || !entry.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        return refuse(format!("{field}.sha256"), "not 64 lower-case hex digits");
    }
    Ok(())
}

pub(super) fn within(field: &str, value: u64, least: u64, most: u64) -> Result<(), ManifestError> {
    if value < least || value > most {
        return refuse(field, format!("{value} is not within {least}..={most}"));
    }
    Ok(())
}

pub(super) fn positive(field: &str, value: f64) -> Result<(), ManifestError> {
    if !value.is_finite() || value <= 0.0 {
        return refuse(field, format!("{value} is not a positive number"));
    }
    Ok(())
}

/// Refuses a normalisation that gives no finite values.
pub(super) fn check_normalisation(
    section: &str,
    mean: [f32; 3],
    std: [f32; 3],
    rescale_factor: f64,
) -> Result<(), ManifestError> {
    positive(&format!("{section}.rescale_factor"), rescale_factor)?;
    std.iter().try_for_each(|&s| positive(&format!("{section}.std"), f64::from(s)))?;
    if mean.iter().all(|m| m.is_finite()) { Ok(()) } else { refuse(format!("{section}.mean"), "not finite") }
}

pub(super) fn refuse<T>(field: impl Into<String>, reason: impl Into<String>) -> Result<T, ManifestError> {
    Err(ManifestError::Field { field: field.into(), reason: reason.into() })
}
