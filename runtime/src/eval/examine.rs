//! One labelled pair, asked.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rewardrt_models::verdict::{Status, Winner};
use serde::Serialize;

use super::rows::{Label, Media, Row};
use crate::Error;
use crate::judge::{
    Candidate, CompareOptions, Comparison, FinishReason, Judge, Mode, OrderResult, Picture, Verdict,
};

/// What became of one pair: a line of `rewardrt eval --results`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// The row's id.
    pub id: String,
    /// The row's kind.
    pub kind: Option<String>,
    /// The row's prompt.
    pub prompt: String,
    /// Which candidate people preferred.
    pub label: Label,
    /// What was asked of the model.
    pub mode: Mode,
    /// Which candidate it prefers, all orders joined; null when there is no verdict.
    pub winner: Option<Label>,
    /// How far the joined verdict can be trusted; null on an error.
    pub status: Option<Status>,
    /// Probability of a against b, all orders joined.
    pub p_first: Option<f64>,
    /// Whether both orders name the same candidate; null when one order was asked, or one has no verdict.
    pub position_consistent: Option<bool>,
    /// One entry an order; empty on an error.
    pub orders: Vec<OrderRecord>,
    /// Wall time of the pair in milliseconds, pictures read from disk included.
    pub elapsed_ms: f64,
    /// Why the pair could not be asked, or the model failed on it.
    pub error: Option<String>,
}

/// What became of one order of a pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OrderRecord {
    /// `ab`, in which a is shown first, or `ba`.
    pub order: &'static str,
    /// Which candidate this order prefers; null when there is no verdict.
    pub winner: Option<Label>,
    /// How far it can be trusted.
    pub status: Status,
    /// Probability of the candidate **shown first**.
    pub p_first: Option<f64>,
    /// Why there is no verdict, in a word of the parser's table.
    pub problem: Option<&'static str>,
    /// Why the answer ended.
    pub finish_reason: FinishReason,
    /// Tokens of the prompt, pictures included.
    pub prompt_tokens: usize,
    /// Tokens written.
    pub new_tokens: usize,
    /// Milliseconds until this order's answer was there: preprocessing and vision, which the orders share, then this
    /// order's prefill and decode. Orders that run together wait for each other's tokens.
    pub latency_ms: f64,
    /// The whole answer.
    pub text: String,
}

/// Asks the judge one row of the file `file`, in both orders or in one, as the options say. It never fails: what
/// goes wrong stands in the record.
pub fn examine(judge: &Judge, row: &Row, file: &Path, options: &CompareOptions) -> Record {
    let start = Instant::now();
    let verdict = comparison(judge, row, file, options).and_then(|comparison| judge.compare(&comparison));
    let mut record = Record {
        id: row.id.clone(),
        kind: row.kind.clone(),
        prompt: row.prompt.clone(),
        label: row.label,
        mode: if options.verdict_only { Mode::VerdictOnly } else { Mode::Report },
        winner: None,
        status: None,
        p_first: None,
        position_consistent: None,
        orders: Vec::new(),
        elapsed_ms: start.elapsed().as_secs_f64() * 1e3,
        error: None,
    };
    match verdict {
        Ok(verdict) => record.fill(&verdict),
        Err(error) => record.error = Some(error.to_string()),
    }
    record
}

impl Record {
    fn fill(&mut self, verdict: &Verdict) {
        self.winner = verdict.winner.map(candidate);
        self.status = Some(verdict.status);
        self.p_first = verdict.p_first;
        self.position_consistent = verdict.position_consistent;
        let shared = verdict.timing_ms.preprocess + verdict.timing_ms.vision;
        self.orders = verdict.orders.iter().map(|order| order_record(order, shared)).collect();
    }
}

fn order_record(order: &OrderResult, shared_ms: f64) -> OrderRecord {
    // An order speaks of the first and the second that it was shown.
    let straight = |winner: Winner| if order.order == "ba" { winner.flipped() } else { winner };
    OrderRecord {
        order: order.order,
        winner: order.winner.map(straight).map(candidate),
        status: order.status,
        p_first: order.p_first,
        problem: order.problem.as_ref().map(|problem| problem.name()),
        finish_reason: order.finish_reason,
        prompt_tokens: order.usage.prompt_tokens,
        new_tokens: order.usage.new_tokens,
        latency_ms: shared_ms + order.timing_ms.prefill + order.timing_ms.decode,
        text: order.text.clone(),
    }
}

/// The candidate that a winner in the order (a, b) is.
fn candidate(winner: Winner) -> Label {
    match winner {
        Winner::First => Label::A,
        Winner::Second => Label::B,
        Winner::Tie => Label::Tie,
    }
}

/// The question that a row is.
fn comparison(judge: &Judge, row: &Row, file: &Path, options: &CompareOptions) -> Result<Comparison, Error> {
    let pack = judge.pack();
    if pack.task != row.task {
        let message = format!("the row is for {}, and pack {} for {}", row.task, pack.name, pack.task);
        return Err(Error::Request(message));
    }
    let open = |field: &str, media: &Media| {
        let candidate = open(media, file)?;
        if !candidate.is_for(row.task) {
            let message = format!("`{field}` is {}, which {} does not take", candidate.kind(), row.task);
            return Err(Error::Request(message));
        }
        if let Some(rule) = pack.frames {
            candidate.check_frames(&format!("`{field}`"), rule)?;
        }
        Ok(candidate.pictures())
    };
    let (first, second) = (open("a", &row.a)?, open("b", &row.b)?);
    let comparison = Comparison::frames(row.prompt.clone(), first, second);
    Ok(Comparison { options: options.clone(), ..comparison })
}

/// Paths count from the folder of the file that names them.
fn open(media: &Media, file: &Path) -> Result<Candidate, Error> {
    let folder = file.parent().unwrap_or(Path::new(""));
    match media {
        Media::Path(path) => Candidate::open(&folder.join(path)),
        Media::Frames(paths) => {
            Ok(Candidate::Frames(paths.iter().map(|path| folder.join(path)).collect::<Vec<PathBuf>>()))
        }
        Media::Embedded(bytes) => Ok(Candidate::Picture(Picture::Bytes(bytes.clone()))),
    }
}
