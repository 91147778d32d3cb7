//! The kinds of answers, one a file: the fields of its `[answer]` table, its check, its parser, its printer.

mod edit_json;
mod edit_pair_scores;
mod head;
mod pair_score_lines;
mod phrase;
mod report;
mod score_lines;
mod sentence;
mod think;

pub(super) use edit_json::KEYS as EDIT_KEYS;
pub use edit_json::{Bounded, EditJson};
pub use edit_pair_scores::EditPairScores;
pub use head::HeadProtocol;
pub use pair_score_lines::PairScoreLines;
pub(super) use report::KEYS as REPORT_KEYS;
pub use report::ReportProtocol;
pub use score_lines::ScoreLines;
pub use sentence::SentenceProtocol;
pub use think::ThinkProtocol;

use super::protocol::{MAX_SKELETON_BYTES, ProtocolError, refuse};

fn check_skeleton_size(skeleton: &str) -> Result<(), ProtocolError> {
    match skeleton.len() {
        bytes if bytes > MAX_SKELETON_BYTES => {
            refuse("skeleton", format!("{bytes} bytes, over {MAX_SKELETON_BYTES}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
