//! The plots that only an evaluation has.

use crate::eval::metrics::{Answers, Confusion, KindMetrics};
use crate::eval::stats::{BINS, Calibration, Share};
use crate::eval::summary::percent;
use crate::figures::page::Text;
use crate::figures::plot::{bar, line, svg, text};

/// Kinds in the plot; a set with more has them all in its document.
pub(super) const MAX_KINDS: usize = 40;
/// Characters of a kind's name beside its bar; the whole name appears when it is pointed at.
const NAME_CHARS: usize = 22;
/// A bar a kind, with its interval.
pub(super) fn kinds(all: &[KindMetrics]) -> String {
    const LEFT: f64 = 180.0;
    const WIDTH: f64 = 320.0;
    const ROW: f64 = 26.0;
    let rows: Vec<(&str, Share)> = all
        .iter()
        .filter_map(|kind| Some((kind.kind.as_deref().unwrap_or("(no kind)"), kind.accuracy?)))
        .take(MAX_KINDS)
        .collect();
    let bottom = ROW * rows.len() as f64;
    let mut body = String::new();
    for quarter in 0..=4 {
        let share = f64::from(quarter) / 4.0;
        let x = LEFT + WIDTH * share;
        body += &line((x, 0.0), (x, bottom), "grid");
        body += &text(x, bottom + 16.0, "soft middle", format_args!("{:.0} %", 100.0 * share));
    }
    for (at, (name, share)) in rows.iter().enumerate() {
        let top = ROW * at as f64;
        let middle = top + ROW / 2.0;
        let mut shown: String = name.chars().take(NAME_CHARS).collect();
        if name.chars().nth(NAME_CHARS).is_some() {
            shown.push('…');
        }
        body += &text(LEFT - 10.0, middle + 4.0, "end", shown);
        let title = format_args!("{name}: {} of {}", share.count, share.of);
        body += &bar((LEFT, top + 5.0), (WIDTH * share.share, ROW - 10.0), 0.85, title);
        let end = |share: f64| (LEFT + WIDTH * share, middle);
        body += &line(end(share.low), end(share.high), "whisker");
        let figure = format_args!("{} of {}", percent(share.share), share.of);
        body += &text(LEFT + WIDTH + 12.0, middle + 4.0, "", figure);
    }
    svg(LEFT + WIDTH + 130.0, bottom + 24.0, "Accuracy by kind of difference", &body)
}

/// A table of labels against answers, darker where a label has more of its answers.
pub(super) fn confusion(order: &str, confusion: &Confusion) -> String {
    const LEFT: f64 = 80.0;
    const TOP: f64 = 46.0;
    const CELL: (f64, f64) = (84.0, 40.0);
    let all = [("a", confusion.a), ("b", confusion.b), ("tie", confusion.tie)];
    let asked = |answers: &Answers| answers.counts().iter().sum::<usize>();
    let rows: Vec<_> = all.iter().filter(|(_, answers)| asked(answers) > 0).collect();
    // The answers a and b always, a tie and none where there are some.
    let some = |at: usize| rows.iter().any(|(_, answers)| answers.counts()[at] > 0);
    let columns: Vec<(usize, &str)> = ["a", "b", "tie", "none"].into_iter().enumerate().collect();
    let columns: Vec<_> = columns.into_iter().filter(|(at, _)| *at < 2 || some(*at)).collect();
    let first = if order == "ba" { "b" } else { "a" };
    let mut body = text(0.0, 14.0, "", format_args!("order {order}: {first} is shown first"));
    for (column, (_, name)) in columns.iter().enumerate() {
        let x = LEFT + CELL.0 * (column as f64 + 0.5);
        body += &text(x, TOP - 10.0, "soft middle", format_args!("said {name}"));
    }
    for (row, (label, answers)) in rows.iter().enumerate() {
        let y = TOP + CELL.1 * row as f64;
        body += &text(LEFT - 10.0, y + CELL.1 / 2.0 + 4.0, "soft end", format_args!("label {label}"));
        for (column, (at, name)) in columns.iter().enumerate() {
            let x = LEFT + CELL.0 * column as f64;
            let (count, of) = (answers.counts()[*at], asked(answers));
            let share = count as f64 / of as f64;
            let title = format_args!("label {label}, said {name}: {count} of {of}, {}", percent(share));
            body += &bar((x + 1.0, y + 1.0), (CELL.0 - 2.0, CELL.1 - 2.0), 0.06 + 0.5 * share, title);
            body += &text(x + CELL.0 / 2.0, y + CELL.1 / 2.0 + 4.0, "middle", count);
        }
    }
    let size = (LEFT + CELL.0 * columns.len() as f64, TOP + CELL.1 * rows.len() as f64 + 4.0);
    svg(size.0.max(260.0), size.1, &format!("Answers by label in order {order}"), &body)
}

/// What was said against what came true: a dot a bin, its area the number of answers, and the even line.
pub(super) fn calibration(calibration: &Calibration) -> String {
    const LEFT: f64 = 56.0;
    const SIDE: f64 = 280.0;
    let place = |p: f64, truths: f64| (LEFT + SIDE * p, 12.0 + SIDE * (1.0 - truths));
    let mut body = String::new();
    for tick in 0..=4 {
        let at = f64::from(tick) / 4.0;
        body += &line(place(at, 0.0), place(at, 1.0), "grid");
        body += &line(place(0.0, at), place(1.0, at), "grid");
        let ((x, bottom), (left, y)) = (place(at, 0.0), place(0.0, at));
        body += &text(x, bottom + 26.0, "soft middle", at);
        body += &text(left - 16.0, y + 4.0, "soft end", at);
    }
    body += &line(place(0.0, 0.0), place(1.0, 1.0), "even");
    let most = calibration.bins.iter().map(|bin| bin.count).max().unwrap_or(1) as f64;
    for bin in &calibration.bins {
        let (Some(p), Some(truths)) = (bin.mean_p, bin.truths) else { continue };
        let (x, y) = place(p, truths);
        let radius = 3.0 + 10.0 * (bin.count as f64 / most).sqrt();
        let title = format!(
            "{} answers between {} and {}: mean {p:.3}, true {}",
            bin.count,
            bin.low,
            bin.high,
            percent(truths)
        );
        body += &format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" class=\"dot\"><title>{}</title></circle>",
            Text(&title)
        );
    }
    let caption = format!("Calibration of p_first in {BINS} bins");
    body += &text(
        LEFT + SIDE / 2.0,
        SIDE + 50.0,
        "middle",
        "p_first: probability that the first shown is better",
    );
    svg(LEFT + SIDE + 20.0, SIDE + 74.0, &caption, &body)
}
