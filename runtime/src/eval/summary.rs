//! The figures in words, for terminals and pages.

use super::metrics::{Metrics, Spread};
use super::stats::Share;

/// A share as people read it.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

impl Metrics {
    /// The figures as lines of a table: a name, and what it is.
    pub fn lines(&self) -> Vec<[String; 2]> {
        let mut lines: Vec<[String; 2]> = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            lines.push([name.to_owned(), value.unwrap_or_else(|| "-".to_owned())]);
        };
        add("pairs", Some(self.pairs.to_string()));
        add("accuracy", self.accuracy.as_ref().map(share));
        add("accuracy of single answers", self.accuracy_of_answers.as_ref().map(share));
        for order in &self.orders {
            add(&format!("accuracy in order {}", order.order), order.accuracy.as_ref().map(share));
            add(&format!("named the first shown in {}", order.order), order.named_first.as_ref().map(share));
        }
        add("position consistency", self.position_consistency.as_ref().map(share));
        if let Some(rate) = &self.report_parse_rate {
            add("reports that parse", Some(share(rate)));
            let statuses = &self.statuses;
            for (name, status) in [
                ("status ok", &statuses.ok),
                ("status inconsistent", &statuses.inconsistent),
                ("status truncated", &statuses.truncated),
                ("status invalid", &statuses.invalid),
            ] {
                add(name, status.as_ref().map(share));
            }
        }
        add("pairs without a verdict", Some(self.no_verdict.to_string()));
        add("pairs with an error", Some(self.errors.to_string()));
        add("pairs whose orders weigh the same", Some(self.undecided.to_string()));
        if self.ties.pairs > 0 {
            let said = self.ties.said;
            let text = format!("{} (said a {}, b {}, tie {})", self.ties.pairs, said.a, said.b, said.tie);
            add("pairs labelled tie, apart", Some(text));
        }
        if let Some(calibration) = &self.calibration {
            add("calibration error of p_first", Some(format!("{:.4}", calibration.expected_error)));
            add("Brier score of p_first", Some(format!("{:.4}", calibration.brier)));
        }
        if let Some(t) = &self.tokens {
            let text = format!("mean {:.1}, p50 {}, p95 {}, max {}", t.mean, t.p50, t.p95, t.max);
            add("tokens of a report", Some(text));
        }
        add("latency of an order, ms", self.latency_ms.as_ref().map(latency));
        let rate = self.throughput.pairs_per_second;
        add("pairs per second", rate.map(|rate| format!("{rate:.2}")));
        lines
    }
}

fn share(share: &Share) -> String {
    let Share { count, of, share, low, high } = *share;
    format!("{} ({count} of {of}; 95 % interval {} to {})", percent(share), percent(low), percent(high))
}

fn latency(spread: &Spread) -> String {
    let Spread { mean, p50, p90, p99, .. } = *spread;
    format!("mean {mean:.0}, p50 {p50:.0}, p90 {p90:.0}, p99 {p99:.0}")
}
