//! The evaluation as one page for people: plots as inline SVG, no script, nothing fetched.
//!
//! Whatever comes from a file or a model (ids, kinds, prompts, names, messages) passes through `Text`, and the
//! page's own policy forbids scripts and every kind of loading besides.

mod plot;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Write};

use sha2::{Digest, Sha256};

use super::document::Evaluation;
use super::examine::Record;
use super::metrics::Metrics;
use super::rows::base64;
use crate::judge::Mode;

/// Rows of a list in the page; the rest is counted, and stands in the results file.
const MAX_LISTED: usize = 200;
const STYLE: &str = include_str!("page.css");

/// Somebody else's text, as text: `&`, `<`, `>` and quotes become references, control characters a replacement
/// character.
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(c)?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

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
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{}</title><style>{STYLE}</style></head><body>{body}</body></html>\n",
        policy(),
        Text(&title)
    )
}

/// Nothing may be loaded and nothing run, whatever a page is made to hold, and no style but its own applies.
fn policy() -> String {
    let hash = base64::encode(&Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'")
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

/// A table: its head, and its rows of cells. Cells are escaped here.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
        cells.map(|cell| format!("<{tag} class=\"text\">{}</{tag}>", Text(cell))).collect::<String>()
    };
    let row = |cells: String| format!("<tr>{cells}</tr>");
    let mut out = String::from("<div class=\"table\"><table>");
    if !head.is_empty() {
        out += &row(cells("th", &mut head.iter().copied()));
    }
    for line in rows {
        out += &row(cells("td", &mut line.iter().map(String::as_str)));
    }
    out + "</table></div>"
}

fn figures(metrics: &Metrics) -> String {
    let rows: Vec<Vec<String>> = metrics.lines().into_iter().map(Vec::from).collect();
    table(&[], &rows)
}

fn figure(name: &str, caption: &str, plots: &str) -> String {
    format!("<figure><h3>{name}</h3><figcaption>{caption}</figcaption>{plots}</figure>")
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
        out += &figure("Latency", caption, &plot::latencies(&values, spread));
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
