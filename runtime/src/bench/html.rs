//! The measurement as one page for people: plots as inline SVG, no script, nothing fetched.

#[cfg(test)]
mod tests;

use super::document::{Benchmark, Load, Throughput};
use super::measure::Sample;
use super::percentiles::Percentiles;
use super::summary::{GROUPS, TIMES};
use crate::figures::page::{self, Text, figure, table};
use crate::figures::plot::{self, histogram};

/// The page. `latency` and `load` are the samples that the document was made of; the second is empty without a rate.
pub fn page(benchmark: &Benchmark, latency: &[Sample], load: &[Sample]) -> String {
    let title = format!("How fast {} judges", benchmark.model.name);
    let mut body = format!("<h1>{}</h1>", Text(&title));
    for warning in benchmark.warnings() {
        body += &format!("<p class=\"warn\">{}</p>", Text(&warning));
    }
    body += &table(&[], &rows(benchmark.lines()));
    body += "<h2>Single pairs</h2><p>One after the other.</p>";
    body += &table(&TIMES, &rows(benchmark.latency_rows()));
    body += "<div class=\"plots\">";
    let caption = "Time until the verdict was there.";
    body +=
        &figure("Latency", caption, &times("Latency of a verdict", latency, benchmark.latency.verdict_ms));
    body += &figure("Where the time goes", "Mean milliseconds of each phase.", &phases(benchmark));
    body += "</div><h2>Groups</h2><p>All pairs of a group, as slots come free.</p>";
    body += &table(&GROUPS, &rows(benchmark.throughput_rows()));
    body += "<div class=\"plots\">";
    body += &figure("Verdicts per second", "By the number of slots.", &groups(&benchmark.throughput));
    body += "</div>";
    if let Some(figures) = &benchmark.load {
        body += &under_load(figures, load);
    }
    page::page(&title, &body)
}

fn rows<const N: usize>(rows: Vec<[String; N]>) -> Vec<Vec<String>> {
    rows.into_iter().map(Vec::from).collect()
}

/// The times of the samples that have an answer, with the percentiles that they show.
fn times(name: &str, samples: &[Sample], figures: Option<Percentiles>) -> String {
    let values: Vec<f64> = samples.iter().filter(|s| s.answer.is_ok()).map(Sample::latency_ms).collect();
    let marks: Vec<_> = figures
        .into_iter()
        .flat_map(|p| [("p50", p.p50), ("p95", p.p95), ("p99", p.p99)])
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    histogram(name, &values, &marks)
}

fn phases(benchmark: &Benchmark) -> String {
    let phases = &benchmark.latency.phases_ms;
    let all = [
        ("preprocess", phases.preprocess),
        ("vision", phases.vision),
        ("prefill", phases.prefill),
        ("decode", phases.decode),
    ];
    let bars = all.map(|(name, value)| (name.to_owned(), value, format!("{value:.1} ms")));
    plot::bars("Mean time of each phase", &bars)
}

fn groups(groups: &[Throughput]) -> String {
    let bar = |group: &Throughput| {
        let rate = group.verdicts_per_second;
        (format!("{} slots", group.slots), rate, format!("{rate:.3} a second"))
    };
    plot::bars("Verdicts per second by slots", &groups.iter().map(bar).collect::<Vec<_>>())
}

fn under_load(figures: &Load, samples: &[Sample]) -> String {
    let mut out = format!("<h2>Under load</h2><p>{}.</p>", Text(&figures.sentence()));
    out += &table(&TIMES, &rows(figures.rows()));
    out += "<div class=\"plots\">";
    let caption = "Time from the arrival until the verdict was there.";
    out += &figure("Latency under load", caption, &times("Latency under load", samples, figures.verdict_ms));
    let answered = samples.iter().filter(|s| s.answer.is_ok());
    let points: Vec<_> = answered.map(|s| (s.due.as_secs_f64(), s.latency_ms())).collect();
    let caption = "A dot a judgement. Dots that rise say that the judge did not keep up.";
    let name = "Latency by time of arrival";
    out += &figure(name, caption, &plot::scatter(name, &points, ("s", "ms")));
    out + "</div>"
}
