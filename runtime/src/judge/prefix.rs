//! Where prompts of one judge may begin alike: marks that are found by content, so that what the decoder has read of a
//! beginning serves the next prompt.

use rewardrt_models::spec::position::Positions;
use sha2::{Digest, Sha256};

use super::cache::Key;
use super::vision::View;
use crate::decode::{Mark, Request};
use crate::text::EncodedPrompt;

/// Fewest tokens of a beginning that is worth a mark: chunks end at marks, and a run of a chunk costs about as much as
/// that of a token.
const FEWEST: usize = 32;

/// A request with a mark where its text before the first picture ends, and one behind each of these numbers of pictures
/// or videos; `views` are all of the prompt's, in order.
pub(super) fn marked(request: Request, prompt: &EncodedPrompt, views: &[View], behind: &[usize]) -> Request {
    let ends = ends(prompt, views);
    let last = |count: usize| ends.get(count.min(ends.len()).checked_sub(1)?).copied();
    let start = prompt.media_spans.first().map(|span| span.start);
    let mut places: Vec<usize> =
        start.into_iter().chain(behind.iter().filter_map(|&count| last(count))).collect();
    places.sort_unstable();
    places.dedup();
    places.retain(|&tokens| tokens >= FEWEST && tokens < request.ids.len());
    let mark = |&tokens: &usize| {
        let seen = views.iter().zip(&ends).filter(|(_, end)| **end <= tokens).map(|(view, _)| &view.key);
        Mark { tokens, key: key(&request.ids[..tokens], &request.positions, seen) }
    };
    let prefix = places.iter().map(mark).collect();
    Request { prefix, ..request }
}

/// Where each picture or video ends in the prompt; a video may have several runs of tokens there.
fn ends(prompt: &EncodedPrompt, views: &[View]) -> Vec<usize> {
    let mut runs = prompt.media_spans.iter();
    let end = |view: &View| {
        let (mut left, mut end) = (view.features.rows.nrows(), 0);
        while left > 0
            && let Some(run) = runs.next()
        {
            left = left.saturating_sub(run.len());
            end = run.end;
        }
        end
    };
    views.iter().map(end).collect()
}

/// A hash of all that the rows of these tokens depend on.
fn key<'a>(ids: &[u32], positions: &Positions, pictures: impl Iterator<Item = &'a Key>) -> Key {
    let mut hash = Sha256::new_with_prefix((ids.len() as u64).to_le_bytes());
    ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
    positions.tokens[..ids.len()].iter().flatten().for_each(|place| hash.update(place.to_le_bytes()));
    pictures.for_each(|picture| hash.update(picture));
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ndarray::Array2;
    use rewardrt_models::spec::position::Span;

    use super::*;
    use crate::session::Features;

    /// A prompt of text, a picture of 40 tokens, a video of two runs of 20 tokens with text between, and text; `ids` are
    /// those of the text.
    fn prompt(before: usize, ids: u32, keys: [u8; 2], behind: &[usize]) -> Vec<Mark> {
        let runs = vec![before..before + 40, before + 43..before + 63, before + 64..before + 84];
        let prompt = EncodedPrompt { ids: vec![ids; before + 90], media_spans: runs };
        let spans = [Span::Text(before), Span::Grid(5, 8), Span::Text(before + 50)];
        let request =
            Request { positions: Positions::of(&spans), ..Request::text(prompt.ids.clone(), 1, vec![]) };
        let features = || Arc::new(Features { rows: Array2::zeros((40, 1)), deepstack: vec![] });
        let views = keys.map(|key| View { features: features(), key: [key; 32] });
        marked(request, &prompt, &views, behind).prefix
    }

    fn check(before: usize, behind: &[usize], expected: &[usize]) {
        let marks = prompt(before, 7, [1, 2], behind);
        assert_eq!(marks.iter().map(|mark| mark.tokens).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn marks_stand_before_the_first_picture_and_behind_those_that_are_named() {
        check(50, &[0, 1], &[50, 90]);
        check(50, &[1, 2], &[50, 90, 134]);
        // A short text is not worth a mark; more pictures than there are mean all.
        check(5, &[1, 8], &[45, 89]);
        check(0, &[], &[]);
    }

    #[test]
    fn what_a_row_depends_on_changes_the_key_and_what_comes_later_does_not() {
        let keys = |marks: Vec<Mark>| marks.into_iter().map(|mark| mark.key).collect::<Vec<_>>();
        let base = keys(prompt(50, 7, [1, 2], &[1, 2]));
        let second = keys(prompt(50, 7, [1, 3], &[1, 2]));
        assert_eq!((base[..2] == second[..2], base[2] == second[2]), (true, false));
        let first = keys(prompt(50, 7, [3, 2], &[1, 2]));
        assert_eq!((base[0] == first[0], base[1] == first[1], base[2] == first[2]), (true, false, false));
        let text = keys(prompt(50, 8, [1, 2], &[1, 2]));
        assert!(base.iter().zip(&text).all(|(a, b)| a != b));
    }
}
