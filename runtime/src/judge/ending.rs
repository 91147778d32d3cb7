//! The end of an answer before the model ends it: which text may end is the pack's business, ids are decoding's.

use std::sync::Arc;

use rewardrt_models::verdict::{self, Ending};

use super::Inner;
use super::types::FinishReason;
use crate::decode::{Completion, Finish, Until};

/// The rule by which answers of this judge end; none where they are waited for.
pub(super) fn until(inner: &Inner, ending: Ending) -> Option<Until> {
    // Kinds that never end early need no look at their tokens.
    if ending == Ending::Written || !inner.pack.answer.may_end(br#"}"]>"#, ending) {
        return None;
    }
    let (tokenizer, protocol) = (inner.encoder.tokenizer().clone(), Arc::new(inner.pack.answer.clone()));
    Some(Until::new(move || {
        let (tokenizer, protocol, mut written) = (tokenizer.clone(), protocol.clone(), Vec::new());
        Box::new(move |id| {
            let piece = tokenizer.visible_bytes(id);
            written.extend_from_slice(piece);
            protocol.may_end(piece, ending) && protocol.ends(&String::from_utf8_lossy(&written), ending)
        })
    }))
}

/// The text that an answer is read from: as it was written, and closed where it ended before its end.
pub(super) fn read_as(inner: &Inner, text: &str, done: &Completion) -> String {
    let closed = if done.finish == Finish::Until { inner.pack.answer.closed(text) } else { None };
    closed.unwrap_or_else(|| text.to_owned())
}

/// Why an answer ended, as results name it.
pub(super) fn finish_reason(done: &Completion, ending: Ending) -> FinishReason {
    match (done.finish, ending) {
        (Finish::Stop, _) => FinishReason::Stop,
        (Finish::Until, Ending::Decided) => FinishReason::Decided,
        (Finish::Until, _) => FinishReason::Complete,
        (Finish::Length, _) => FinishReason::Length,
    }
}

/// Why the answer ended, as parsers take it: one that ended by its own text was not cut.
pub(super) fn finish(done: &Completion) -> verdict::Finish {
    match done.finish {
        Finish::Stop | Finish::Until => verdict::Finish::Stop,
        Finish::Length => verdict::Finish::Length,
    }
}
