//! The document of an evaluation: what `rewardrt eval --json` prints.

use rewardrt_models::prompt::pack::{PackIdentity, Task};
use serde::Serialize;

use super::examine::Record;
use super::metrics::Metrics;
use super::rows::{Format, Refusal};
use crate::judge::{CompareOptions, Judge, Mode, ModelInfo};
use crate::media::PixelRule;

/// An evaluation, ready to be printed.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// Where the pairs come from.
    pub source: Source,
    /// The model that judged.
    pub model: ModelInfo,
    /// The pack that it was asked with.
    pub pack: PackIdentity,
    /// How files became pixels.
    pub pixels: PixelRule,
    /// Whether every pair was asked in both orders.
    pub both_orders: bool,
    /// Figures of written reports; null when none were asked for.
    pub report: Option<Metrics>,
    /// Figures of forced verdicts; null when none were asked for.
    pub verdict_only: Option<Metrics>,
    /// Pairs that could not be asked, or that the model failed on.
    pub errors: Vec<RowFailure>,
}

/// Where the pairs come from. `judged + skipped + refused` are the rows of the file.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    /// Name of the file.
    pub file: String,
    /// How it is written.
    pub format: Format,
    /// What was judged.
    pub task: Task,
    /// Rows that were judged.
    pub judged: usize,
    /// Rows of another task than the chosen one, and rows behind the limit.
    pub skipped: usize,
    /// Rows that cannot be judged.
    pub refused: Vec<Refusal>,
}

/// A pair that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowFailure {
    /// The row's id.
    pub id: String,
    /// What was asked of the model.
    pub mode: Mode,
    /// Why it failed.
    pub error: String,
}

impl Evaluation {
    /// The document of these records, which this judge made with these options; their mode is the records' own.
    pub fn new(judge: &Judge, source: Source, options: &CompareOptions, records: &[Record]) -> Evaluation {
        let metrics = |mode| {
            let of_mode = || records.iter().filter(move |record| record.mode == mode);
            of_mode().next().map(|_| Metrics::of(of_mode()))
        };
        let failure = |record: &Record| {
            let error = record.error.clone()?;
            Some(RowFailure { id: record.id.clone(), mode: record.mode, error })
        };
        Evaluation {
            source,
            model: judge.model(),
            pack: judge.pack().identity(),
            pixels: options.pixels,
            both_orders: options.both_orders,
            report: metrics(Mode::Report),
            verdict_only: metrics(Mode::VerdictOnly),
            errors: records.iter().filter_map(failure).collect(),
        }
    }
}
