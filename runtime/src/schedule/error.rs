//! Why a call was not taken, or ended without an answer.

use std::sync::Arc;

/// What the schedule says instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// As many calls as may be are at work or wait. Nothing was done for this one.
    #[error("{calls} calls are at work or wait, which is all that may be; try again in {retry_after} s")]
    Busy {
        /// Calls that are at work or wait.
        calls: usize,
        /// Seconds, at least 1, after which those that wait have probably had their turn.
        retry_after: u64,
    },
    /// The deadline passed before the answer was there.
    #[error("the deadline passed before the answer was there; allow more time, or ask for fewer tokens")]
    Expired,
    /// A fault of this program stopped a thread of the judge.
    #[error("the judge stopped after a fault of this program ({reason}); open the package again")]
    Broken {
        /// What was being done, and what the fault said.
        reason: Arc<str>,
    },
    /// The last handle of the judge was dropped.
    #[error("the judge was closed before the answer was there")]
    Closed,
    /// A fault of this program while the request was made ready. Others are not concerned.
    #[error("the request could not be made ready by a fault of this program ({reason})")]
    Unready {
        /// What the fault said.
        reason: String,
    },
    /// The system gives no thread.
    #[error("no thread can be started ({reason}); raise the limit of threads")]
    Thread {
        /// What the system said.
        reason: String,
    },
}
