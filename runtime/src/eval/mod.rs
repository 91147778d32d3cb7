//! How well a package judges: labelled pairs in, figures out.
//!
//! [`read`] takes a file of pairs ([`rows`]), [`examine`] asks the judge one of them, [`Metrics::of`] makes the
//! figures, [`Evaluation`] is the document of all of it and [`html::page`] the same for people. The figures are
//! defined beside the fields of [`Metrics`].
//!
//! ```no_run
//! use rewardrt::eval::{self, Metrics};
//! use rewardrt::{Judge, judge::CompareOptions};
//!
//! let judge = Judge::open("package".as_ref())?;
//! let file = "pairs.jsonl".as_ref();
//! let input = eval::read(file, eval::Format::Rows)?;
//! let options = CompareOptions { both_orders: true, ..CompareOptions::default() };
//! let records: Vec<_> = input.rows.iter().map(|row| eval::examine(&judge, row, file, &options)).collect();
//! println!("{:?}", Metrics::of(&records).accuracy);
//! # Ok::<(), rewardrt::Error>(())
//! ```
//!
//! What is absent: no network. Nothing is dropped silently: a row is judged, or refused by name, or an error that
//! has its id.

mod document;
mod examine;
pub mod html;
mod metrics;
pub mod rows;
mod stats;
mod summary;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use document::{Evaluation, RowFailure, Source};
pub use examine::{OrderRecord, Record, examine};
pub use metrics::{
    Answers, Confusion, KindMetrics, Metrics, OrderMetrics, Spread, Statuses, Throughput, TieMetrics,
};
pub use rows::{Format, Input, Label, Media, Refusal, Row, RowsError};
pub use stats::{Bin, Calibration, Share};

use crate::Error;

/// Reads a file of labelled pairs. Paths in it are not opened.
///
/// # Errors
/// Of class input: the file cannot be read, or a line is not what it should be.
pub fn read(path: &Path, format: Format) -> Result<Input, Error> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let most = rows::MAX_FILE_BYTES as u64 + 1;
    File::open(path).map_err(fail)?.take(most).read_to_end(&mut bytes).map_err(fail)?;
    format.parse(&bytes).map_err(|source| Error::Rows { path: path.to_owned(), source })
}
