//! Packages that end in a head of scores: the prompt is read once, and the head's outputs are the scores.

use rewardrt_models::package::{PictureOrder, Scores};
use rewardrt_models::prompt::pack::{FramesAs, Piece, PromptText};
use rewardrt_models::spec::position::{Positions, Span};
use rewardrt_models::verdict::{HeadProtocol, NamedScore, Protocol};

use super::{Inner, ScoreOptions};
use crate::Error;
use crate::decode::{Completion, Request};
use crate::text::Part;

/// Refuses a pack of another kind than the package, and one that reads other markers.
pub(super) fn check(inner: &Inner) -> Result<(), Error> {
    let manifest = inner.package.manifest();
    let name = &inner.pack.name;
    match (&manifest.scores, &inner.pack.answer) {
        (None, Protocol::Head(_)) => Err(Error::Request(format!(
            "pack {name} reads a head of scores, and the package ends in a vocabulary; choose another pack"
        ))),
        (None, _) => Ok(()),
        (Some(scores), Protocol::Head(kind)) => {
            if inner.pack.frames_as == FramesAs::Video && scores.pictures == PictureOrder::Grid {
                return Err(Error::Request(format!(
                    "pack {name} sends frames as one video, and the package numbers its tokens by their place, which \
                     is not covered; send frames as pictures"
                )));
            }
            let expected: Vec<&str> = scores.at.markers().map(|marker| marker.token.as_str()).collect();
            if kind.markers == expected {
                return Ok(());
            }
            let (has, reads) = (kind.markers.join(", "), expected.join(", "));
            Err(Error::Request(format!(
                "pack {name} has the markers [{has}], and the package reads its scores at [{reads}]"
            )))
        }
        (Some(_), _) => Err(Error::Request(format!(
            "the package ends in a head of scores, which pack {name} does not read: score one candidate at a time, \
             with pack {} or another of kind head",
            manifest.default_pack
        ))),
    }
}

/// Refuses options that need tokens to be made.
pub(super) fn check_options(options: &ScoreOptions) -> Result<(), Error> {
    let plain = ScoreOptions { pixels: options.pixels, ..ScoreOptions::default() };
    if *options != plain {
        let why =
            "a head of scores makes no tokens: there is nothing to sample, no most of them, and no early end";
        return Err(Error::Request(why.to_owned()));
    }
    Ok(())
}

/// The text of a question as parts: the pack's own markers become control tokens, whatever the caller wrote does not.
pub(super) fn parts(kind: &HeadProtocol, text: &PromptText<'_>) -> Vec<Part> {
    let (mut parts, mut run) = (Vec::new(), String::new());
    for piece in &text.pieces {
        match piece {
            Piece::Caller(text) => run.push_str(text),
            Piece::Pack(text) => {
                for (text, marker) in kind.cut(text) {
                    if !marker {
                        run.push_str(text);
                        continue;
                    }
                    if !run.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut run)));
                    }
                    parts.push(Part::Marker(text.to_owned()));
                }
            }
        }
    }
    if !run.is_empty() {
        parts.push(Part::Text(run));
    }
    parts
}

/// The request that reads the scores of a prompt.
pub(super) fn request(scores: &Scores, request: Request) -> Result<Request, Error> {
    let read = scores.at.places(&request.ids).map_err(|e| Error::Request(e.to_string()))?;
    let positions = match scores.pictures {
        PictureOrder::Grid => request.positions,
        PictureOrder::Sequence => Positions::of(&[Span::Text(request.ids.len())]),
    };
    let (stop, watch) = (Vec::new(), Vec::new());
    Ok(Request { read, positions, stop, watch, max_new_tokens: 0, ..request })
}

/// The scores that were read.
pub(super) fn scores(scores: &Scores, done: &Completion) -> Result<Vec<NamedScore>, Error> {
    let named = scores.standardise(&done.rows).ok_or(Error::NotFinite)?;
    Ok(named.into_iter().map(|(name, value)| NamedScore { name, value, low: None, high: None }).collect())
}
