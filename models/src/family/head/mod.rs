//! What a checkpoint ends in: a vocabulary, or a head of scores that somebody trained on a generator.
//!
//! | head | told by | read at |
//! |---|---|---|
//! | [`classifier`] | `architectures`: `*ForSequenceClassification` | the last token that is no padding |
//! | [`reward`] | tensors named `rm_head` | tokens of its own, which the tokenizer was given in training |

mod classifier;
mod reward;

use serde_json::json;

use super::config::Reader;
use super::{ConfigFiles, FamilyError, common};
use crate::package::Resample;
use crate::spec::{Head, ModelSpec, ScoreHead};

/// A head of scores, and what else differs from the generator below it.
pub(super) struct Ending {
    head: ScoreHead,
    /// How pictures are resized before the processor sees them: fewest and most pixels, and the filter.
    pixels: Option<(u64, u64, Resample)>,
    /// How it is asked.
    pack: &'static str,
}

/// The head of scores of a checkpoint, or nothing when it ends in a vocabulary. `classes` is what the names of the
/// family's classes begin with.
///
/// # Errors
/// [`FamilyError::Field`] for another architecture, and what a head says of itself that cannot be.
pub(super) fn scores(
    files: &ConfigFiles,
    config: &Reader,
    text: &Reader,
    classes: &str,
) -> Result<Option<Ending>, FamilyError> {
    let named = |class: &str| json!([format!("{classes}{class}")]);
    let [generator, classifier, reward] =
        ["ForConditionalGeneration", "ForSequenceClassification", "RewardModelBT"].map(named);
    config.only("architectures", &[generator, classifier.clone(), reward.clone()])?;
    let architecture = config.get("architectures");
    if architecture == Some(&classifier) {
        return classifier::ending(config, text).map(Some);
    }
    let ending = reward::ending(files, config, text)?;
    if ending.is_none() && architecture == Some(&reward) {
        return Err(config.error("architectures", "names a reward model, but no tensor is named rm_head"));
    }
    Ok(ending)
}

/// Puts the head of scores, if there is one, in the place of the vocabulary's, which nothing reads any more.
pub(super) fn put(mut spec: ModelSpec, ending: Option<Ending>) -> ModelSpec {
    let Some(Ending { head, pixels, pack }) = ending else { return spec };
    spec.default_pack = pack;
    spec.decoder.head = Head::Scores(head);
    spec.ignored.push(common::HEAD.to_owned());
    // Its videos are prepared as its pictures are.
    spec.video = None;
    if let Some((image, pixels)) = spec.image.as_mut().zip(pixels) {
        // The reference resizes before the processor, which then finds nothing to do.
        (image.min_pixels, image.max_pixels, image.resample) = pixels;
    }
    spec
}
