//! The evaluation as one page for people: plots as inline SVG, no script, nothing fetched.

mod plot;
#[cfg(test)]
mod tests;

use super::document::Evaluation;
use super::examine::Record;
use super::metrics::Metrics;
use crate::figures::page::{self, Text, figure, table};
use crate::figures::plot::histogram;
use crate::judge::Mode;

/// Rows of a list in the page; the rest is counted, and stands in the results file.
const MAX_LISTED: usize = 200;

/// The page. `records` are those that the evaluation was made of.
pub fn page(evaluation: &Evaluation, records: &[Record]) -> String {
    let title = format!("{} judged by {}", evaluation.source.file, evaluation.model.name);
    let mut body = head(evaluation, &title);
    let modes = [
        (Mode::Report, "Written reports", &evaluation.report),
        (Mode::VerdictOnly, "Verdict only", &evaluation.verdict_only),
    ];
    for (mode, name, metrics) in modes {
        if let Some(metrics) = metrics {
            let of_mode: Vec<&Record> = records.iter().filter(|record| record.mode == mode).collect();
            body += &format!("<h2>{name}</h2>");
            if mode == Mode::VerdictOnly {
                body += "<p>The report was skipped and the two winners weighed: another method than the model was \
                         trained on.</p>";
            }
            body += &figures(metrics);
            body += &plots(metrics, &of_mode);
            body += &wrong(&of_mode);
        }
    }
    body += &failures(evaluation);
    page::page(&title, &body)
}

fn head(evaluation: &Evaluation, title: &str) -> String {
    let Evaluation { source, model, pack, .. } = evaluation;
    let orders = if evaluation.both_orders { "in both orders" } else { "in one order" };
    let precision = model.precision;
    let line = format!(
        "{} pairs for {} {orders}; model {} in {precision}, package {}; pack {} version {}",
        source.judged, source.task, model.name, model.package_sha256, pack.name, pack.version
    );
    let mut out = format!("<h1>{}</h1><p>{}</p>", Text(title), Text(&line));
    let apart = [
        (evaluation.errors.len(), "failed and count as wrong"),
        (source.refused.len(), "of the file cannot be judged and were refused"),
        (source.skipped, "of the file were skipped, by task or limit"),
    ];
    for (count, what) in apart.into_iter().filter(|(count, _)| *count > 0) {
        out += &format!("<p class=\"warn\">{count} {what}.</p>");
    }
    out
}

fn figures(metrics: &Metrics) -> String {
    let rows: Vec<Vec<String>> = metrics.lines().into_iter().map(Vec::from).collect();
    table(&[], &rows)
}

fn plots(metrics: &Metrics, records: &[&Record]) -> String {
    let mut out = String::from("<div class=\"plots\">");
    if metrics.accuracy.is_some() {
        let rest = metrics.by_kind.len().saturating_sub(plot::MAX_KINDS);
        let more = if rest > 0 { format!(" {rest} more kinds are in the document.") } else { String::new() };
        let caption = format!("The share of right winners, and its 95 % interval.{more}");
        out += &figure("Accuracy by kind of difference", &caption, &plot::kinds(&metrics.by_kind));
    }
    let orders: String = metrics.orders.iter().map(|o| plot::confusion(o.order, &o.confusion)).collect();
    out += &figure("Confusion by order", "What was said of which label.", &orders);
    if let Some(calibration) = &metrics.calibration {
        let caption = format!(
            "Upwards, the share of answers that came true; a dot on the line means what it says. {} answers, \
             expected error {:.4}, Brier score {:.4}.",
            calibration.count, calibration.expected_error, calibration.brier
        );
        out += &figure("Calibration of p_first", &caption, &plot::calibration(calibration));
    }
    if let Some(spread) = &metrics.latency_ms {
        let runs = records.iter().flat_map(|record| &record.orders);
        let values: Vec<f64> = runs.map(|run| run.latency_ms).collect();
        let caption = "Time until an order's answer was there.";
        let marks = [("p50", spread.p50), ("p90", spread.p90), ("p99", spread.p99)];
        out += &figure("Latency", caption, &histogram("Latency of an order run", &values, &marks));
    }
    out + "</div>"
}

/// The pairs that were judged wrongly.
fn wrong(records: &[&Record]) -> String {
    let name = |label: Option<super::Label>| label.map_or("none", super::Label::name).to_owned();
    let wrong: Vec<_> = records
        .iter()
        .filter(|r| r.error.is_none() && r.label.decides() && r.winner != Some(r.label))
        .collect();
    let rows: Vec<Vec<String>> = wrong
        .iter()
        .take(MAX_LISTED)
        .map(|r| {
            let orders: Vec<String> =
                r.orders.iter().map(|o| format!("{} {}", o.order, name(o.winner))).collect();
            vec![
                r.id.clone(),
                r.kind.clone().unwrap_or_default(),
                r.prompt.clone(),
                r.label.name().to_owned(),
                name(r.winner),
                orders.join(", "),
                r.p_first.map_or_else(|| "-".to_owned(), |p| format!("{p:.4}")),
            ]
        })
        .collect();
    let head = ["id", "kind", "prompt", "label", "said", "in each order", "p_first"];
    list("Judged wrongly", wrong.len(), &head, &rows)
}

/// Errors and refusals, each with its reason.
fn failures(evaluation: &Evaluation) -> String {
    let errors = evaluation.errors.iter().take(MAX_LISTED).map(|e| vec![e.id.clone(), e.error.clone()]);
    let refused = &evaluation.source.refused;
    let refusals = refused.iter().take(MAX_LISTED).map(|r| vec![r.id.clone(), r.reason.clone()]);
    let errors = list("Errors", evaluation.errors.len(), &["id", "error"], &errors.collect::<Vec<_>>());
    errors + &list("Refused", refused.len(), &["id", "reason"], &refusals.collect::<Vec<_>>())
}

/// A list with its count; nothing when it is empty.
fn list(name: &str, count: usize, head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let shown = if rows.len() < count { format!(", the first {}", rows.len()) } else { String::new() };
    format!("<h2>{name}: {count}{shown}</h2>{}", table(head, rows))
}
