//! One decoder, shared by all callers: who is next, how many may wait, and what happens when one goes.
//!
//! One thread owns the slot engine and makes its steps; requests get a slot and leave it between two of them. Another
//! owns the vision tower, so that the next request's pictures are seen while this one's answer is written. A few more
//! make pictures ready. The rules are a state machine without threads or a clock (`machine`), and the threads have no
//! rules. What is absent: no model, no pictures and no words: a request is ids and their cost.

mod call;
mod error;
mod machine;
mod service;
mod station;
mod stats;
mod turns;
mod wait;

pub use error::ScheduleError;
pub use stats::{Health, Stats};

pub(crate) use call::{Call, Pending};
pub(crate) use machine::{JobId, Limits};
pub(crate) use service::{Door, Service};
pub(crate) use station::Station;
pub(crate) use turns::{Class, Who};
pub(crate) use wait::block_on;
