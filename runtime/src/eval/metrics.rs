//! The figures of a set of judged pairs.
//!
//! A **decided** pair is one whose label is a or b. Shares of pairs count every pair that was to be judged: one
//! without a verdict, and one that failed, is a wrong answer, and both are counted apart beside it. Figures of
//! **order runs** (one question asked in one order) count the runs that gave an answer, whatever it says. A figure of
//! nothing is null, never 0.

use std::collections::BTreeMap;

use rewardrt_models::verdict::Status;
use serde::Serialize;

use super::examine::{OrderRecord, Record};
use super::rows::Label;
use super::stats::{Calibration, Share};
use crate::figures::percentile;
use crate::judge::Mode;

/// All figures; the fields are those of the public JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// Pairs that were to be judged.
    pub pairs: usize,
    /// Pairs that could not be asked, or that the model failed on.
    pub errors: usize,
    /// Pairs that were asked and have no verdict.
    pub no_verdict: usize,
    /// Decided pairs whose winner, all orders joined, is the label.
    pub accuracy: Option<Share>,
    /// Right winners among the answers to decided pairs, each order by itself. The interval takes answers for
    /// independent, which the two orders of a pair are not quite: it is a little too narrow.
    pub accuracy_of_answers: Option<Share>,
    /// Decided pairs whose orders weigh the same, which is wrong too.
    pub undecided: usize,
    /// Pairs whose label is a tie; no part of any accuracy.
    pub ties: TieMetrics,
    /// Figures of each order that was asked.
    pub orders: Vec<OrderMetrics>,
    /// Pairs whose two orders name the same candidate; null when one order was asked.
    pub position_consistency: Option<Share>,
    /// Order runs by their status.
    pub statuses: Statuses,
    /// Order runs whose report was read whole: those of status ok and inconsistent. Without a report, null.
    pub report_parse_rate: Option<Share>,
    /// Tokens written by an order run. Without a report, null.
    pub tokens: Option<Spread>,
    /// Milliseconds of an order run, as [`OrderRecord::latency_ms`] has them.
    pub latency_ms: Option<Spread>,
    /// Accuracy by kind, sorted by name; rows without a kind are together under null.
    pub by_kind: Vec<KindMetrics>,
    /// Whether the probability of the candidate shown first is that of its being the label, over the order runs of
    /// decided pairs that have one.
    pub calibration: Option<Calibration>,
    /// How fast it went.
    pub throughput: Throughput,
}

/// Pairs whose label is a tie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TieMetrics {
    /// How many there are.
    pub pairs: usize,
    /// What the judge said of them.
    pub said: Answers,
}

/// Answers by what they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// Candidate a.
    pub a: usize,
    /// Candidate b.
    pub b: usize,
    /// Neither.
    pub tie: usize,
    /// No verdict, or an error.
    pub none: usize,
}

impl Answers {
    fn count(&mut self, said: Option<Label>) {
        match said {
            Some(Label::A) => self.a += 1,
            Some(Label::B) => self.b += 1,
            Some(Label::Tie) => self.tie += 1,
            None => self.none += 1,
        }
    }

    /// The counts in the order a, b, tie, none.
    pub fn counts(&self) -> [usize; 4] {
        [self.a, self.b, self.tie, self.none]
    }
}

/// Answers by label and by what they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// Of pairs whose label is a.
    pub a: Answers,
    /// Of pairs whose label is b.
    pub b: Answers,
    /// Of pairs whose label is a tie.
    pub tie: Answers,
}

/// One order over all pairs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OrderMetrics {
    /// `ab`, in which a is shown first, or `ba`.
    pub order: &'static str,
    /// Decided pairs whose winner in this order is the label.
    pub accuracy: Option<Share>,
    /// Order runs with a winner that name the candidate shown first. Far from one half, where labels are not, the
    /// judge prefers a place.
    pub named_first: Option<Share>,
    /// What was said of which label.
    pub confusion: Confusion,
}

/// Order runs by their status.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Statuses {
    /// The report agrees with itself.
    pub ok: Option<Share>,
    /// The report was read, and its parts disagree.
    pub inconsistent: Option<Share>,
    /// The answer was cut.
    pub truncated: Option<Share>,
    /// The answer holds no report.
    pub invalid: Option<Share>,
}

/// Values and how they spread. Percentiles are by nearest rank: each is a value that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// Pairs of one kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KindMetrics {
    /// The kind, as the rows have it.
    pub kind: Option<String>,
    /// Pairs of that kind, ties among them.
    pub pairs: usize,
    /// As [`Metrics::accuracy`].
    pub accuracy: Option<Share>,
    /// As [`Metrics::position_consistency`].
    pub position_consistency: Option<Share>,
}

/// How fast it went: pairs one after the other, the orders of a pair together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Throughput {
    /// Seconds of all pairs, without loading the package.
    pub seconds: f64,
    /// Pairs per second; null when no time passed.
    pub pairs_per_second: Option<f64>,
    /// Tokens written per second; null when no time passed.
    pub tokens_per_second: Option<f64>,
}

impl Metrics {
    /// The figures of records of one mode, in whatever order they come.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Metrics {
        // Sums of floats depend on their order: in one order, the same records give the same figures.
        let mut pairs: Vec<&Record> = records.into_iter().collect();
        pairs.sort_by(|one, other| one.id.cmp(&other.id));
        let runs: Vec<&OrderRecord> = pairs.iter().flat_map(|pair| &pair.orders).collect();
        let count = |holds: fn(&Record) -> bool| pairs.iter().filter(|pair| holds(pair)).count();
        let written = pairs.iter().any(|pair| pair.mode == Mode::Report);
        let orders: Vec<_> =
            ["ab", "ba"].into_iter().filter_map(|order| order_metrics(&pairs, order)).collect();
        let (right, of) = orders
            .iter()
            .filter_map(|order| order.accuracy)
            .fold((0, 0), |(right, of), share| (right + share.count, of + share.of));
        let readable = runs.iter().filter(|run| run.status.has_winner()).count();
        Metrics {
            pairs: pairs.len(),
            errors: count(|pair| pair.error.is_some()),
            no_verdict: count(|pair| pair.error.is_none() && pair.winner.is_none()),
            accuracy: accuracy(&pairs, |pair| pair.winner),
            accuracy_of_answers: Share::of(right, of),
            undecided: count(|pair| pair.label.decides() && pair.winner == Some(Label::Tie)),
            ties: ties(&pairs),
            orders,
            position_consistency: consistency(&pairs),
            statuses: statuses(&runs),
            report_parse_rate: Share::of(readable, runs.len()).filter(|_| written),
            tokens: Spread::of(runs.iter().map(|run| run.new_tokens as f64)).filter(|_| written),
            latency_ms: Spread::of(runs.iter().map(|run| run.latency_ms)),
            by_kind: by_kind(&pairs),
            calibration: calibration(&pairs),
            throughput: Throughput::of(&pairs),
        }
    }
}

/// Decided pairs of which `said` is the label.
fn accuracy(pairs: &[&Record], said: impl Fn(&Record) -> Option<Label>) -> Option<Share> {
    let decided: Vec<_> = pairs.iter().filter(|pair| pair.label.decides()).collect();
    Share::of(decided.iter().filter(|pair| said(pair) == Some(pair.label)).count(), decided.len())
}

fn ties(pairs: &[&Record]) -> TieMetrics {
    let mut said = Answers::default();
    let tied: Vec<_> = pairs.iter().filter(|pair| !pair.label.decides()).collect();
    tied.iter().for_each(|pair| said.count(pair.winner));
    TieMetrics { pairs: tied.len(), said }
}

/// What a pair's answer was in an order.
fn in_order<'a>(pair: &'a Record, order: &str) -> Option<&'a OrderRecord> {
    pair.orders.iter().find(|run| run.order == order)
}

/// The figures of an order; none when no pair was asked in it.
fn order_metrics(pairs: &[&Record], order: &'static str) -> Option<OrderMetrics> {
    let runs: Vec<_> = pairs.iter().filter_map(|pair| in_order(pair, order)).collect();
    if runs.is_empty() {
        return None;
    }
    let said = |pair: &Record| in_order(pair, order).and_then(|run| run.winner);
    let first = if order == "ba" { Label::B } else { Label::A };
    let named = |label| runs.iter().filter(|run| run.winner == Some(label)).count();
    let mut confusion = Confusion::default();
    for pair in pairs {
        let row = match pair.label {
            Label::A => &mut confusion.a,
            Label::B => &mut confusion.b,
            Label::Tie => &mut confusion.tie,
        };
        row.count(said(pair));
    }
    Some(OrderMetrics {
        order,
        accuracy: accuracy(pairs, said),
        named_first: Share::of(named(first), named(Label::A) + named(Label::B)),
        confusion,
    })
}

/// A pair that has no second order because it failed counts as one that is not consistent.
fn consistency(pairs: &[&Record]) -> Option<Share> {
    let both = pairs.iter().any(|pair| pair.orders.len() > 1);
    let same = pairs.iter().filter(|pair| pair.position_consistent == Some(true)).count();
    Share::of(same, pairs.len()).filter(|_| both)
}

fn statuses(runs: &[&OrderRecord]) -> Statuses {
    let of = |status| Share::of(runs.iter().filter(|run| run.status == status).count(), runs.len());
    Statuses {
        ok: of(Status::Ok),
        inconsistent: of(Status::Inconsistent),
        truncated: of(Status::Truncated),
        invalid: of(Status::Invalid),
    }
}

fn by_kind(pairs: &[&Record]) -> Vec<KindMetrics> {
    let mut kinds: BTreeMap<Option<&str>, Vec<&Record>> = BTreeMap::new();
    for pair in pairs {
        kinds.entry(pair.kind.as_deref()).or_default().push(pair);
    }
    let figures = |(kind, pairs): (Option<&str>, Vec<&Record>)| KindMetrics {
        kind: kind.map(str::to_owned),
        pairs: pairs.len(),
        accuracy: accuracy(&pairs, |pair| pair.winner),
        position_consistency: consistency(&pairs),
    };
    kinds.into_iter().map(figures).collect()
}

fn calibration(pairs: &[&Record]) -> Option<Calibration> {
    let said = pairs.iter().filter(|pair| pair.label.decides()).flat_map(|pair| {
        pair.orders.iter().filter_map(|run| {
            let first = if run.order == "ba" { Label::B } else { Label::A };
            Some((run.p_first?, pair.label == first))
        })
    });
    Calibration::of(&said.collect::<Vec<_>>())
}

impl Spread {
    /// The spread of values that are finite; none of nothing.
    fn of(values: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |q| percentile(&sorted, q);
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        Some(Spread { mean, p50: at(0.5)?, p90: at(0.9)?, p95: at(0.95)?, p99: at(0.99)?, max: at(1.0)? })
    }
}

impl Throughput {
    fn of(pairs: &[&Record]) -> Throughput {
        let seconds = pairs.iter().map(|pair| pair.elapsed_ms).sum::<f64>() / 1e3;
        let tokens: usize = pairs.iter().flat_map(|pair| &pair.orders).map(|run| run.new_tokens).sum();
        let rate = |n: usize| (seconds > 0.0).then(|| n as f64 / seconds);
        Throughput { seconds, pairs_per_second: rate(pairs.len()), tokens_per_second: rate(tokens) }
    }
}

#[cfg(test)]
mod tests;
