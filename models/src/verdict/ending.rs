//! Where an answer may end before the model ends it.
//!
//! Only an answer that closes what it opened says that it is whole: an object, or tags. Lines and sentences may be taken
//! back by the next, so they are waited for.

use super::judge::{Finish, judge};
use super::kinds::{EDIT_KEYS, REPORT_KEYS};
use super::protocol::Protocol;
use super::report;
use super::score::score;
use serde::{Deserialize, Serialize};

/// How much of an answer is waited for. What is written up to there is the same in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// All that the model writes. Only so is it seen that a model goes on behind its answer, with a second one, say, which
    /// makes both invalid.
    #[default]
    Written,
    /// The whole answer: up to the brace, or the tag, that closes it. The verdict is that of [`Ending::Written`], unless
    /// what would have been written behind it makes the answer invalid.
    Complete,
    /// As much of it as decides the verdict: a report up to its winner, when all else stands before it. What would have
    /// been written behind it gives the same verdict, or makes the answer invalid.
    Decided,
}

/// What closes an answer that is decided.
const BRACE: &str = "}";

impl Protocol {
    /// Whether a token with these bytes may be the one with which an answer [`ends`](Protocol::ends): a look at a few bytes
    /// that spares reading the whole text.
    pub fn may_end(&self, piece: &[u8], ending: Ending) -> bool {
        let marks: &[u8] = match (self, ending) {
            (_, Ending::Written) => b"",
            (Protocol::Report(_) | Protocol::EditJson(_), Ending::Complete) => b"}",
            (Protocol::Report(_) | Protocol::EditJson(_), Ending::Decided) => b"}\"]",
            (Protocol::Think(_), _) => b">",
            _ => b"",
        };
        piece.iter().any(|byte| marks.contains(byte))
    }

    /// Whether an answer that was written so far may end. Never in the kinds of lines and sentences.
    pub fn ends(&self, text: &str, ending: Ending) -> bool {
        if ending == Ending::Written {
            return false;
        }
        let complete = match self {
            Protocol::Report(_) => report::find(text, &REPORT_KEYS).is_ok(),
            Protocol::EditJson(_) => report::find(text, &EDIT_KEYS).is_ok(),
            Protocol::Think(_) => tagged(text),
            _ => false,
        };
        complete || (ending == Ending::Decided && self.closed(text).is_some())
    }

    /// The text of an answer that is decided, closed so that it can be read: up to its last value. None when it is not
    /// decided, or is complete as it is.
    pub fn closed(&self, text: &str) -> Option<String> {
        let (mark, key) = match self {
            Protocol::Report(_) => ('"', "\"winner\""),
            Protocol::EditJson(_) => (']', "\"score\""),
            _ => return None,
        };
        let (key, end) = (text.rfind(key)?, text.rfind(mark)?);
        let closed = format!("{}{BRACE}", &text[..=end]);
        let decided = match self {
            Protocol::Report(_) => judge(&closed, Finish::Stop, self).status.has_winner(),
            _ => score(&closed, Finish::Stop, self).problem.is_none(),
        };
        (key < end && decided).then_some(closed)
    }
}

/// Whether thoughts were ended, and the answer behind them too.
fn tagged(text: &str) -> bool {
    let behind = text.split_once("</think>").map(|(_, rest)| rest);
    let answer = behind.and_then(|rest| rest.split_once("<answer>")).map(|(_, rest)| rest);
    answer.is_some_and(|rest| rest.contains("</answer>"))
}
