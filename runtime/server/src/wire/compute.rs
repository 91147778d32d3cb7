//! The batch of a trainer: prompts, and what was generated for each.

use std::ops::Range;

use rewardrt::Picture;
use serde::Deserialize;

use super::media::{Media, Shown};
use super::{Gallery, Wire};
use crate::error::ApiError;

/// A batch. Places that have nothing are null or an empty list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Compute {
    prompt: Vec<String>,
    image: Option<Vec<Option<Media>>>,
    video: Option<Vec<Option<Shown>>>,
    condition_images: Option<Vec<Option<Shown>>>,
    condition_videos: Option<Vec<Option<Shown>>>,
}

/// One generated picture or video.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) prompt: String,
    pub(crate) shown: Vec<Picture>,
    pub(crate) candidate: Vec<Picture>,
}

/// The samples of a batch.
pub(crate) struct Batch {
    pub(crate) samples: Vec<Sample>,
}

impl Batch {
    /// Runs of neighbours that have one prompt, and more than one sample where the batch has.
    pub(crate) fn groups(&self) -> Vec<Range<usize>> {
        let mut groups: Vec<Range<usize>> = Vec::new();
        for (at, sample) in self.samples.iter().enumerate() {
            match groups.last_mut() {
                Some(last) if self.samples[last.start].prompt == sample.prompt => last.end = at + 1,
                _ => groups.push(at..at + 1),
            }
        }
        groups
    }
}

impl Wire for Compute {
    type Asked = Batch;

    fn asked(self, gallery: &mut Gallery) -> Result<Batch, ApiError> {
        let filled = |list: &Option<Vec<Option<Shown>>>| {
            list.iter()
                .flatten()
                .flatten()
                .any(|shown| !matches!(shown, Shown::Many(list) if list.is_empty()))
        };
        if filled(&self.condition_videos) {
            return Err(ApiError::bad("no task has a video beside its candidates; leave it out")
                .at("/condition_videos"));
        }
        let count = self.prompt.len();
        if count == 0 {
            return Err(ApiError::bad("the batch is empty").at("/prompt"));
        }
        let (candidates, at) = match (self.image, self.video) {
            (Some(images), None) => {
                (images.into_iter().map(|image| image.map(Shown::One)).collect(), "/image")
            }
            (None, Some(videos)) => (videos, "/video"),
            _ => return Err(ApiError::bad("give either image or video").at("/image")),
        };
        let beside = self.condition_images.unwrap_or_default();
        if candidates.len() != count || (!beside.is_empty() && beside.len() != count) {
            let message =
                format!("there are {count} prompts; give as many candidates, and conditions if any");
            return Err(ApiError::bad(message).at(at));
        }
        let mut beside = beside.into_iter().map(Option::unwrap_or_default);
        let mut samples = Vec::with_capacity(count);
        for (i, (prompt, candidate)) in self.prompt.into_iter().zip(candidates).enumerate() {
            let at = format!("{at}/{i}");
            let candidate = candidate.ok_or_else(|| ApiError::bad("there is no candidate here").at(&at))?;
            let candidate = gallery.pictures(candidate, None, &at)?;
            let shown = beside.next().unwrap_or_default();
            let shown = gallery.pictures(shown, None, &format!("/condition_images/{i}"))?;
            samples.push(Sample { prompt, shown, candidate });
        }
        Ok(Batch { samples })
    }
}

impl Default for Shown {
    fn default() -> Shown {
        Shown::Many(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The groups of a batch and what its samples have, or the words of its refusal.
    fn check(body: &str, expected: &str) {
        let got = match serde_json::from_str::<Compute>(body) {
            Err(error) => error.to_string(),
            Ok(asked) => match asked.asked(&mut Gallery::new(Vec::new(), 9)) {
                Err(error) => format!("{} {}", error.param.unwrap_or_default(), error.message),
                Ok(batch) => {
                    let counts = |s: &Sample| (s.candidate.len(), s.shown.len());
                    format!("{:?} {:?}", batch.groups(), batch.samples.iter().map(counts).collect::<Vec<_>>())
                }
            },
        };
        assert!(got.contains(expected), "{body}\n gave {got}\n not  {expected}");
    }

    #[test]
    fn neighbours_of_one_prompt_are_a_group() {
        check(
            r#"{"prompt":["a","a","b"],"image":["AA==","AA==","AA=="]}"#,
            "[0..2, 2..3] [(1, 0), (1, 0), (1, 0)]",
        );
        check(r#"{"prompt":["a"],"video":[["AA==","AA=="]],"image":null}"#, "[0..1] [(2, 0)]");
        check(
            r#"{"prompt":["a","b"],"image":["AA==","AA=="],"condition_images":[["AA=="],null],"condition_videos":null}"#,
            "[0..1, 1..2] [(1, 1), (1, 0)]",
        );
    }

    #[test]
    fn a_batch_that_does_not_fit_together_is_refused() {
        check(r#"{"prompt":[],"image":[]}"#, "the batch is empty");
        check(r#"{"prompt":["a"],"image":[]}"#, "/image there are 1 prompts");
        check(r#"{"prompt":["a"],"image":[null]}"#, "/image/0 there is no candidate");
        check(r#"{"prompt":["a"]}"#, "give either image or video");
        check(r#"{"prompt":["a"],"image":["AA=="],"video":[["AA=="]]}"#, "give either image or video");
        check(r#"{"prompt":["a"],"image":["AA=="],"condition_videos":[["AA=="]]}"#, "/condition_videos");
        check(r#"{"prompt":["a"],"image":["AA=="],"x":1}"#, "unknown field `x`");
    }
}
