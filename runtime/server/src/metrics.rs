//! Counters and gauges, from one table, as Prometheus reads them. No label holds a text of a caller.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rewardrt::schedule::Stats;
use rewardrt_models::verdict::Status;

use crate::app::App;

/// Upper bounds of histograms, seconds: a cached small pair to a group of many.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// The phases of a judgement, in the order in which handlers tell their times.
const PHASES: [&str; 4] = ["preprocess", "vision", "prefill", "decode"];

/// One row of the table.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// Its samples: labels, and the value.
    samples: fn(&App, &Stats) -> Vec<(String, f64)>,
}

const fn metric(
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: fn(&App, &Stats) -> Vec<(String, f64)>,
) -> Metric {
    Metric { name, kind, help, samples }
}

fn one(value: f64) -> Vec<(String, f64)> {
    vec![(String::new(), value)]
}

/// Every metric but the histograms, which [`HISTOGRAMS`] lists.
#[rustfmt::skip]
const TABLE: [Metric; 25] = [
    metric("rewardrt_info", "gauge", "What is served; always 1.", |app, _| {
        let model = app.judge.model();
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("model", &model.name),
            ("package_sha256", &model.package_sha256), ("precision", model.precision)];
        vec![(labelled(&labels), 1.0)]
    }),
    metric("rewardrt_provider_info", "gauge", "What each component runs on; always 1.", |app, _| {
        app.judge.placements().iter().map(|p| {
            (labelled(&[("component", p.component), ("provider", &p.provider.to_string())]), 1.0)
        }).collect()
    }),
    metric("rewardrt_ready", "gauge", "Whether requests are taken.", |app, _| one(f64::from(u8::from(app.not_ready().is_none())))),
    metric("rewardrt_requests_total", "counter", "Requests that ended, by route and status; 499 is a client that did not wait.", |app, _| {
        app.metrics.lock().requests.iter().map(|((route, status), count)| {
            (labelled(&[("route", route), ("status", &status.to_string())]), *count as f64)
        }).collect()
    }),
    metric("rewardrt_requests_running", "gauge", "Requests from their head to the last byte of their answer.", |app, _| one(*app.seats.borrow() as f64)),
    metric("rewardrt_verdicts_total", "counter", "Judgements by status.", |app, _| {
        app.metrics.lock().verdicts.iter().map(|(status, count)| (labelled(&[("status", status)]), *count as f64)).collect()
    }),
    metric("rewardrt_panics_total", "counter", "Handlers that a fault of this program ended.", |app, _| one(app.metrics.panics.load(Ordering::Relaxed) as f64)),
    metric("rewardrt_connections", "gauge", "Open connections.", |app, _| one(app.metrics.connections.load(Ordering::Relaxed) as f64)),
    metric("rewardrt_connections_refused_total", "counter", "Connections closed at once, because there were too many.", |app, _| one(app.metrics.connections_refused.load(Ordering::Relaxed) as f64)),
    metric("rewardrt_body_bytes", "gauge", "Bytes of bodies that are held.", |app, _| one(app.bodies.used() as f64)),
    metric("rewardrt_calls", "gauge", "Calls of the judge that have not ended.", |_, stats| one(stats.calls as f64)),
    metric("rewardrt_calls_queued", "gauge", "Those of them that have nothing in a slot.", |_, stats| one(stats.queued as f64)),
    metric("rewardrt_calls_total", "counter", "Calls of the judge by what became of them.", |_, stats| {
        let ends = [("done", stats.done), ("failed", stats.failed), ("cancelled", stats.cancelled), ("expired", stats.expired), ("refused", stats.refused)];
        ends.map(|(end, count)| (labelled(&[("end", end)]), count as f64)).to_vec()
    }),
    metric("rewardrt_sequences_waiting", "gauge", "Sequences that wait for a slot.", |_, stats| one(stats.waiting as f64)),
    metric("rewardrt_slots_used", "gauge", "Slots of the decoder with a sequence.", |_, stats| one(stats.running as f64)),
    metric("rewardrt_slots_free", "gauge", "Slots of the decoder without one.", |_, stats| one(stats.slots_free as f64)),
    metric("rewardrt_kv_tokens_reserved", "gauge", "Tokens of the cache that are reserved.", |_, stats| one(stats.kv_reserved as f64)),
    metric("rewardrt_kv_tokens", "gauge", "Tokens of the cache.", |_, stats| one(stats.kv_tokens as f64)),
    metric("rewardrt_admitted_total", "counter", "Times that a sequence got a slot.", |_, stats| one(stats.admitted as f64)),
    metric("rewardrt_gave_way_total", "counter", "Times that a group's sequence gave its slot to a single question.", |_, stats| one(stats.gave_way as f64)),
    metric("rewardrt_steps_total", "counter", "Steps of the decoder.", |_, stats| one(stats.steps as f64)),
    metric("rewardrt_step_seconds", "gauge", "How long the step under way has lasted.", |_, stats| one(stats.step_ms.unwrap_or(0) as f64 / 1e3)),
    metric("rewardrt_tokens_total", "counter", "Tokens that were written.", |_, stats| one(stats.tokens as f64)),
    metric("rewardrt_pictures_total", "counter", "Pictures by whether the vision tower saw them or their features were there.", |_, stats| {
        [("seen", stats.vision_seen), ("reused", stats.vision_reused)].map(|(how, count)| (labelled(&[("how", how)]), count as f64)).to_vec()
    }),
    metric("rewardrt_start_time_seconds", "gauge", "When the server began, seconds since 1970.", |app, _| one(app.began().as_secs_f64())),
];

/// The histograms: name, label, help.
const HISTOGRAMS: [(&str, &str, &str); 2] = [
    ("rewardrt_request_seconds", "route", "From the head of a request to the last byte of its answer."),
    ("rewardrt_phase_seconds", "phase", "Phases of a judgement."),
];

/// What handlers count.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counts: Mutex<Counts>,
    panics: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Counts {
    requests: BTreeMap<(&'static str, u16), u64>,
    verdicts: BTreeMap<&'static str, u64>,
    /// In the order of [`HISTOGRAMS`].
    histograms: [BTreeMap<&'static str, Histogram>; 2],
}

#[derive(Debug, Clone, Default)]
struct Histogram {
    /// Values up to each bound and above the one before it, then those above all.
    buckets: [u64; BOUNDS.len() + 1],
    sum: f64,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        let at = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[at] += 1;
        self.sum += seconds;
    }
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request that ended.
    pub(crate) fn answered(&self, route: &'static str, status: u16, took: Duration) {
        let mut counts = self.lock();
        *counts.requests.entry((route, status)).or_default() += 1;
        counts.histograms[0].entry(route).or_default().add(took.as_secs_f64());
    }

    /// Counts a judgement, and the milliseconds of its phases.
    pub(crate) fn judged(&self, status: Status, phases: [f64; 4]) {
        let mut counts = self.lock();
        *counts.verdicts.entry(named(status)).or_default() += 1;
        for (phase, milliseconds) in PHASES.into_iter().zip(phases) {
            // A phase that was not run took no time.
            if milliseconds > 0.0 {
                counts.histograms[1].entry(phase).or_default().add(milliseconds / 1e3);
            }
        }
    }

    /// Counts a handler that a fault ended.
    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}

fn named(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Inconsistent => "inconsistent",
        Status::Truncated => "truncated",
        Status::Invalid => "invalid",
    }
}

/// Labels as they are written.
fn labelled(labels: &[(&str, &str)]) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

/// All of them as text.
pub(crate) fn render(app: &App) -> String {
    let (stats, mut out) = (app.judge.stats(), String::new());
    for Metric { name, kind, help, samples } in &TABLE {
        head(&mut out, name, kind, help);
        for (labels, value) in samples(app, &stats) {
            line(&mut out, name, &labels, value);
        }
    }
    let histograms = app.metrics.lock().histograms.clone();
    for ((name, label, help), series) in HISTOGRAMS.iter().zip(&histograms) {
        head(&mut out, name, "histogram", help);
        for (value, histogram) in series {
            buckets(&mut out, name, (label, value), histogram);
        }
    }
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: f64) {
    let _ = writeln!(out, "{name}{labels} {value}");
}

fn buckets(out: &mut String, name: &str, label: (&str, &str), histogram: &Histogram) {
    let mut sum = 0;
    let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(histogram.buckets) {
        sum += count;
        line(out, &format!("{name}_bucket"), &labelled(&[label, ("le", &bound)]), sum as f64);
    }
    line(out, &format!("{name}_sum"), &labelled(&[label]), histogram.sum);
    line(out, &format!("{name}_count"), &labelled(&[label]), sum as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_all_that_is_below() {
        let mut histogram = Histogram::default();
        [0.001, 0.01, 0.3, 1000.0].into_iter().for_each(|seconds| histogram.add(seconds));
        let mut out = String::new();
        buckets(&mut out, "x", ("route", "/a"), &histogram);
        for expected in [
            "x_bucket{route=\"/a\",le=\"0.005\"} 1\n",
            "x_bucket{route=\"/a\",le=\"0.01\"} 2\n",
            "x_bucket{route=\"/a\",le=\"0.25\"} 2\n",
            "x_bucket{route=\"/a\",le=\"0.5\"} 3\n",
            "x_bucket{route=\"/a\",le=\"+Inf\"} 4\n",
            "x_sum{route=\"/a\"} 1000.311\n",
            "x_count{route=\"/a\"} 4\n",
        ] {
            assert!(out.contains(expected), "{expected}{out}");
        }
    }

    #[test]
    fn labels_cannot_break_out() {
        assert_eq!(labelled(&[("a", "x\"} 1\n\\")]), "{a=\"x\\\"} 1\\n\\\\\"}");
    }
}
