//! An answer as it is written: texts that end it, and pieces of it for whoever reads along.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rewardrt::decode::Until;
use rewardrt::text::{Tokenizer, Utf8Stream};

/// Told every piece of text that is certain.
type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// How an answer is followed while it is written.
pub(super) struct Writing {
    shared: Arc<Shared>,
}

struct Shared {
    tokenizer: Arc<Tokenizer>,
    stops: Vec<String>,
    tell: Option<Tell>,
    sent: AtomicUsize,
}

/// How many bytes of the answer were told.
pub(super) struct Sent(Arc<Shared>);

impl Sent {
    pub(super) fn get(&self) -> usize {
        self.0.sent.load(Ordering::Acquire)
    }
}

impl Writing {
    pub(super) fn new(tokenizer: Arc<Tokenizer>, stops: Vec<String>, tell: Option<Tell>) -> Writing {
        Writing { shared: Arc::new(Shared { tokenizer, stops, tell, sent: AtomicUsize::new(0) }) }
    }

    pub(super) fn sent(&self) -> Sent {
        Sent(self.shared.clone())
    }

    /// The rule that follows the tokens; none where nobody reads along and nothing ends the answer.
    pub(super) fn until(&self) -> Option<Until> {
        if self.shared.stops.is_empty() && self.shared.tell.is_none() {
            return None;
        }
        let shared = self.shared.clone();
        Some(Until::new(move || {
            let (shared, mut bytes, mut text) = (shared.clone(), Utf8Stream::new(), Text::default());
            Box::new(move |id| {
                let ends = text.push(&bytes.push(shared.tokenizer.visible_bytes(id)), &shared.stops);
                let certain = text.certain(&shared.stops);
                if let (Some(tell), false) = (&shared.tell, certain.is_empty()) {
                    shared.sent.fetch_add(certain.len(), Ordering::Release);
                    tell(&certain);
                }
                ends
            })
        }))
    }
}

/// The text so far that was not told.
#[derive(Debug, Default)]
struct Text {
    pending: String,
}

impl Text {
    /// Takes more; true when a text stands in it that ends the answer, which is cut before it.
    fn push(&mut self, more: &str, stops: &[String]) -> bool {
        self.pending.push_str(more);
        let whole = self.pending.len();
        let kept = cut(&self.pending, stops).len();
        self.pending.truncate(kept);
        kept < whole
    }

    /// Takes what no ending text can begin in.
    fn certain(&mut self, stops: &[String]) -> String {
        let starts = |at: usize| stops.iter().any(|stop| stop.starts_with(&self.pending[at..]));
        let mut places = self.pending.char_indices().map(|(at, _)| at);
        let keep = places.find(|at| starts(*at)).unwrap_or(self.pending.len());
        let held = self.pending.split_off(keep);
        std::mem::replace(&mut self.pending, held)
    }
}

/// A text before the first place at which it would end.
pub(super) fn cut<'a>(text: &'a str, stops: &[String]) -> &'a str {
    let end = stops.iter().filter_map(|stop| text.find(stop.as_str())).min().unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is told of pieces, and whether the answer ended.
    fn follow(pieces: &[&str], stops: &[String]) -> (Vec<String>, bool) {
        let (mut text, mut told) = (Text::default(), Vec::new());
        for piece in pieces {
            let ends = text.push(piece, stops);
            told.push(text.certain(stops));
            if ends {
                return (told, true);
            }
        }
        (told, false)
    }

    fn check(pieces: &[&str], stops: &[&str], expected: (&[&str], bool)) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let (told, ends) = follow(pieces, &stops);
        assert_eq!((told.as_slice(), ends), (expected.0.map_strings().as_slice(), expected.1));
    }

    trait Strings {
        fn map_strings(&self) -> Vec<String>;
    }

    impl Strings for &[&str] {
        fn map_strings(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }

    #[test]
    fn what_may_begin_an_end_is_held_back() {
        check(&["ab", "c"], &[], (&["ab", "c"], false));
        check(&["a\n", "\nb"], &["\n\n"], (&["a", ""], true));
        check(&["a\n", "b\n"], &["\n\n"], (&["a", "\nb"], false));
        check(&["xSTOPy"], &["STOP"], (&["x"], true));
        // What is held when the answer ends is sent with its end.
        check(&["aSTO", "STOP"], &["STOP"], (&["a", ""], true));
        check(&["é", "ü"], &["ü"], (&["é", ""], true));
    }

    proptest! {
        /// Whatever the pieces, what is told is a beginning of the cut text, and all of it when nothing is held back.
        #[test]
        fn what_is_told_is_a_beginning(
            pieces in proptest::collection::vec("[ab\u{e9}]{0,3}", 0..8),
            stops in proptest::collection::vec("[ab\u{e9}]{1,3}", 0..3),
        ) {
            let whole = pieces.concat();
            let (told, ends) = follow(&pieces.iter().map(String::as_str).collect::<Vec<_>>(), &stops);
            let told = told.concat();
            prop_assert!(cut(&whole, &stops).starts_with(&told), "{told} of {whole}");
            prop_assert_eq!(ends, cut(&whole, &stops).len() < whole.len());
        }
    }
}
