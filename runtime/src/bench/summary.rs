//! The figures in words, for terminals and pages.

use super::document::{Answers, Benchmark, Load, Throughput};
use super::percentiles::{MINIMUM, Percentiles};

/// Titles of a table of times.
pub const TIMES: [&str; 8] = ["ms", "judgements", "mean", "min", "p50", "p95", "p99", "max"];
/// Titles of a table of groups.
pub const GROUPS: [&str; 7] =
    ["slots", "pictures", "pairs", "seconds", "verdicts/s", "tokens written/s", "prompt tokens/s"];
/// Growth of latencies from which a judge has not kept up.
const FELL_BEHIND: f64 = 2.0;
/// Wait for a client, in milliseconds, from which the load was not what was offered.
const LONG_WAIT: f64 = 10.0;

impl Benchmark {
    /// What was measured, as lines: a name, and what it is.
    pub fn lines(&self) -> Vec<[String; 2]> {
        let Benchmark { model, pack, software, machine, asked, .. } = self;
        let name = machine.processor.as_deref().unwrap_or("unknown processor");
        let memory = machine.memory_bytes.map_or_else(|| "unknown".to_owned(), gigabytes);
        let peak = self.peak_memory_bytes.map_or_else(|| "unknown".to_owned(), gigabytes);
        let wrote = match self.latency.new_tokens {
            0.0 => "no token written".to_owned(),
            tokens => format!("{tokens:.1} tokens written, {} at most", asked.max_new_tokens),
        };
        [
            (
                "model",
                format!("{} in {}, pack {} version {}", model.name, model.precision, pack.name, pack.version),
            ),
            ("package", model.package_sha256.clone()),
            (
                "machine",
                format!("{name} ({}), {} cores, {memory} of memory", machine.architecture, machine.cores),
            ),
            (
                "software",
                format!(
                    "rewardrt {}, ONNX Runtime {}, {} threads, {}",
                    software.rewardrt,
                    software.onnxruntime,
                    software.threads,
                    software.providers.join(", ")
                ),
            ),
            ("date", format!("{} UTC", self.date)),
            ("pictures", asked.pictures.clone()),
            ("prompt", asked.prompt.clone()),
            ("a judgement", format!("{:.0} prompt tokens, {wrote} (means)", self.latency.prompt_tokens)),
            ("slots", format!("{} for latency and load", asked.slots)),
            ("warm-up", format!("{} judgements", asked.warm_up)),
            ("load of the package", format!("{:.0} ms", self.load_ms)),
            ("peak memory", peak),
        ]
        .map(|(name, value)| [name.to_owned(), value])
        .into()
    }

    /// Rows of [`TIMES`]: pairs one after the other.
    pub fn latency_rows(&self) -> Vec<[String; 8]> {
        let latency = &self.latency;
        let rows = [
            ("verdict", latency.verdict_ms),
            ("first token", latency.first_token_ms),
            ("each token after it", latency.token_ms),
        ];
        rows.into_iter().filter_map(|(name, times)| Some(times_row(name, &times?))).collect()
    }

    /// Rows of [`GROUPS`].
    pub fn throughput_rows(&self) -> Vec<[String; 7]> {
        self.throughput.iter().map(Throughput::row).collect()
    }

    /// What a reader must know before believing a figure: a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut answers = |what: &str, answers: &Answers, error: Option<&String>| {
            let Answers { truncated, invalid, failed, .. } = *answers;
            let error = error.map_or_else(String::new, |error| format!(": {error}"));
            for (count, why, error) in [
                (truncated, "were cut by the token limit", ""),
                (invalid, "hold no verdict that can be read", ""),
                (failed, "failed and have no time", error.as_str()),
            ] {
                if count > 0 {
                    warnings.push(format!("{what}: {count} of {} {why}{error}.", answers.asked()));
                }
            }
        };
        answers("latency", &self.latency.answers, self.latency.error.as_ref());
        for group in &self.throughput {
            answers(&format!("group with {} slots", group.slots), &group.answers, None);
        }
        if let Some(load) = &self.load {
            answers("load", &load.answers, load.error.as_ref());
        }
        let counts = [self.latency.verdict_ms, self.load.as_ref().and_then(|load| load.verdict_ms)];
        let fewest = counts.into_iter().flatten().map(|times| times.count).min().unwrap_or(0);
        let missing = MINIMUM.iter().filter(|(_, least)| fewest < *least);
        let missing: Vec<_> = missing.map(|(percent, least)| format!("p{percent} takes {least}")).collect();
        if !missing.is_empty() {
            warnings.push(format!(
                "of {fewest} judgements not every percentile is shown: {}.",
                missing.join(", ")
            ));
        }
        warnings.extend(self.load.iter().flat_map(Load::warnings));
        warnings
    }
}

impl Load {
    /// What was offered and what came of it, in a sentence.
    pub fn sentence(&self) -> String {
        format!(
            "{} judgements offered at {} a second by {} clients: {:.3} verdicts and {:.1} written tokens a second, \
             over {:.1} s",
            self.answers.asked(),
            self.rate,
            self.clients,
            self.verdicts_per_second,
            self.written_per_second,
            self.seconds
        )
    }

    /// Rows of [`TIMES`].
    pub fn rows(&self) -> Vec<[String; 8]> {
        let rows =
            [("verdict, from arrival", self.verdict_ms), ("first token, from arrival", self.first_token_ms)];
        rows.into_iter().filter_map(|(name, times)| Some(times_row(name, &times?))).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.client_wait_ms > LONG_WAIT {
            warnings.push(format!(
                "load: an arrival waited {:.0} ms for a client; that is in its latency, but the judge saw at most {} \
                 at once.",
                self.client_wait_ms, self.clients
            ));
        }
        if let Some(growth) = self.latency_growth.filter(|growth| *growth > FELL_BEHIND) {
            warnings.push(format!(
                "load: the last third took {growth:.1} times as long as the first; the judge did not keep up with {} \
                 a second, and a longer measurement would give longer times.",
                self.rate
            ));
        }
        warnings
    }
}

impl Throughput {
    fn row(&self) -> [String; 7] {
        [
            self.slots.to_string(),
            self.items.to_string(),
            self.pairs.to_string(),
            format!("{:.2}", self.seconds),
            format!("{:.3}", self.verdicts_per_second),
            format!("{:.1}", self.written_per_second),
            format!("{:.1}", self.prompt_per_second),
        ]
    }
}

fn times_row(name: &str, times: &Percentiles) -> [String; 8] {
    let some = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), time);
    let Percentiles { count, mean, min, p50, p95, p99, max } = *times;
    let count = count.to_string();
    [name.to_owned(), count, time(mean), time(min), some(p50), some(p95), some(p99), time(max)]
}

/// Milliseconds with four digits or so.
fn time(ms: f64) -> String {
    let decimals = if ms < 10.0 { 2 } else { usize::from(ms < 1000.0) };
    format!("{ms:.decimals$}")
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}
