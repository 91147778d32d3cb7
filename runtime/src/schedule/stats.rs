//! What the schedule has done and stands at.

use serde::Serialize;

/// Counters of a judge since it was opened, and what it holds now; all of one instant.
///
/// Every call that was entered has ended in one way or is at work: `entered` is the sum of `calls`, `done`, `failed`,
/// `cancelled` and `expired`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Calls that have not ended.
    pub calls: usize,
    /// Those of them that have nothing in a slot.
    pub queued: usize,
    /// Requests that wait for a slot; a call may have several.
    pub waiting: usize,
    /// Requests in a slot.
    pub running: usize,
    /// Slots without a request.
    pub slots_free: usize,
    /// Tokens reserved in the cache for the requests in slots, prompts and answers.
    pub kv_reserved: usize,
    /// Most tokens that may be reserved.
    pub kv_tokens: usize,
    /// Calls that were taken.
    pub entered: u64,
    /// Calls that were refused, because there were too many or the judge has stopped.
    pub refused: u64,
    /// Calls that were answered.
    pub done: u64,
    /// Calls that ended with an error.
    pub failed: u64,
    /// Calls whose caller did not wait for the end.
    pub cancelled: u64,
    /// Calls whose deadline passed.
    pub expired: u64,
    /// Times that a request got a slot.
    pub admitted: u64,
    /// Times that a group's request gave its slot to a single question, to start again.
    pub gave_way: u64,
    /// Milliseconds that the step under way has lasted; none when none is. One that lasts ever longer hangs.
    pub step_ms: Option<u64>,
    /// Steps of the decoder.
    pub steps: u64,
    /// Tokens that were made, those that were thrown away included.
    pub tokens: u64,
    /// Pictures that went through the vision tower.
    pub vision_seen: u64,
    /// Pictures whose features were there already.
    pub vision_reused: u64,
}

/// Whether a judge can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum Health {
    /// It can.
    Ready,
    /// A fault stopped it; open the package again.
    Broken {
        /// What was being done, and what the fault said.
        reason: String,
    },
}
