//! Package and request to verdict.
//!
//! ```no_run
//! use rewardrt::{Comparison, Judge, Picture};
//!
//! let judge = Judge::open("package".as_ref())?;
//! let (a, b) = (Picture::Path("a.png".into()), Picture::Path("b.png".into()));
//! let verdict = judge.compare(&Comparison::images("three red circles", a, b))?;
//! println!("{:?} {:?}", verdict.status, verdict.winner);
//! # Ok::<(), rewardrt::Error>(())
//! ```
//!
//! The rooms, in the order of a request: [`media`] (bytes to pixels), [`preprocess`] (pixels to patches), [`text`]
//! (chat to ids), [`session`] (ONNX Runtime behind a trait), [`decode`] (ids in, ids out), [`schedule`] (who is next),
//! [`judge`] (all of it).
//! [`load`] verifies a package before any of them sees it, and [`eval`] measures how well one judges.

mod base64;
mod error;
mod figures;

pub mod bench;
pub mod decode;
pub mod eval;
pub mod judge;
pub mod load;
pub mod media;
pub mod preprocess;
pub mod schedule;
pub mod session;
pub mod text;
pub mod verify;

pub use error::{Error, ErrorClass};
pub use judge::{
    Comparison, Generate, Generation, Group, Item, Judge, JudgeBuilder, Picture, Ranking, Score, Verdict,
};
