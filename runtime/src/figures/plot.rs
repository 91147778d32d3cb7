//! The shapes that plots are made of, and the plots that several pages have: inline SVG, coloured by the page's style.

use std::fmt::{self, Display};

use super::page::Text;

/// Bars of a histogram.
const BARS: usize = 24;

/// An SVG image of this size.
pub(crate) fn svg(width: f64, height: f64, name: &str, body: &str) -> String {
    format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"{}\">{body}</svg>",
        Text(name)
    )
}

/// Text, its baseline at this place; the class aligns and colours it.
pub(crate) fn text(x: f64, y: f64, class: &str, content: impl Display) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>", Text(&content.to_string()))
}

/// A line between two places.
pub(crate) fn line(from: (f64, f64), to: (f64, f64), class: &str) -> String {
    let ((x1, y1), (x2, y2)) = (from, to);
    format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>")
}

/// A rectangle that says `title` when it is pointed at.
pub(crate) fn bar(
    (x, y): (f64, f64),
    (width, height): (f64, f64),
    opacity: f64,
    title: fmt::Arguments<'_>,
) -> String {
    format!(
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"bar\" \
         fill-opacity=\"{opacity:.2}\"><title>{}</title></rect>",
        Text(&title.to_string())
    )
}

/// How many of the values, in milliseconds, are how large, with some of them marked. The values are finite; of none
/// there is an empty plot.
pub(crate) fn histogram(name: &str, values: &[f64], marks: &[(&str, f64)]) -> String {
    const LEFT: f64 = 44.0;
    const WIDTH: f64 = 460.0;
    const TOP: f64 = 54.0;
    const HEIGHT: f64 = 180.0;
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let low = if values.is_empty() { 0.0 } else { low };
    let range = (high - low).max(f64::MIN_POSITIVE);
    let mut counts = [0_usize; BARS];
    for value in values {
        counts[(((value - low) / range * BARS as f64) as usize).min(BARS - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1) as f64;
    let step = WIDTH / BARS as f64;
    let bottom = TOP + HEIGHT;
    let mut body = line((LEFT, bottom), (LEFT + WIDTH, bottom), "grid");
    body += &line((LEFT, TOP), (LEFT + WIDTH, TOP), "grid");
    body += &text(LEFT - 8.0, TOP + 4.0, "soft end", most);
    for (at, count) in counts.iter().enumerate() {
        let height = HEIGHT * *count as f64 / most;
        let from = |at: usize| low + range * at as f64 / BARS as f64;
        let title = format_args!("{count} between {:.0} and {:.0} ms", from(at), from(at + 1));
        body += &bar((LEFT + step * at as f64 + 1.0, bottom - height), (step - 2.0, height), 0.85, title);
    }
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        let label = format!("{:.0} ms", low + range * share);
        body += &text(LEFT + WIDTH * share, bottom + 18.0, "soft middle", label);
    }
    for (row, &(name, value)) in marks.iter().enumerate() {
        // Each on a line of its own: close percentiles must not be written over each other.
        let (x, y) = (LEFT + WIDTH * (value - low) / range, 12.0 + 15.0 * row as f64);
        body += &line((x, y + 4.0), (x, bottom), "even");
        let (class, x) = if x > LEFT + WIDTH / 2.0 { ("end", x - 5.0) } else { ("", x + 5.0) };
        body += &text(x, y + 4.0, class, format_args!("{name} {value:.0} ms"));
    }
    svg(LEFT + WIDTH + 40.0, bottom + 26.0, name, &body)
}

/// A bar for each name, value and label of the value; values are finite and not negative.
pub(crate) fn bars(name: &str, rows: &[(String, f64, String)]) -> String {
    const LEFT: f64 = 110.0;
    const WIDTH: f64 = 320.0;
    const ROW: f64 = 26.0;
    let most = rows.iter().map(|(_, value, _)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let bottom = ROW * rows.len() as f64;
    let mut body = line((LEFT, 0.0), (LEFT, bottom), "grid");
    for (at, (row, value, label)) in rows.iter().enumerate() {
        let top = ROW * at as f64;
        let width = WIDTH * value / most;
        body += &text(LEFT - 10.0, top + ROW / 2.0 + 4.0, "end", row);
        body += &bar((LEFT, top + 5.0), (width, ROW - 10.0), 0.85, format_args!("{row}: {label}"));
        body += &text(LEFT + width + 8.0, top + ROW / 2.0 + 4.0, "", label);
    }
    svg(LEFT + WIDTH + 120.0, bottom + 8.0, name, &body)
}

/// A dot for each pair of values, both axes from zero, with their units. The values are finite and not negative.
pub(crate) fn scatter(name: &str, points: &[(f64, f64)], (across, up): (&str, &str)) -> String {
    const LEFT: f64 = 76.0;
    const WIDTH: f64 = 460.0;
    const TOP: f64 = 12.0;
    const HEIGHT: f64 = 200.0;
    let most = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).fold(f64::MIN_POSITIVE, f64::max);
    let (width, height) = (most(|point| point.0), most(|point| point.1));
    let place = |x: f64, y: f64| (LEFT + WIDTH * x / width, TOP + HEIGHT * (1.0 - y / height));
    let mut body = String::new();
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        let (x, y) = (width * share, height * share);
        body += &line(place(0.0, y), place(width, y), "grid");
        let (right, high) = (decimals(width), decimals(height));
        body += &text(LEFT - 8.0, place(0.0, y).1 + 4.0, "soft end", format_args!("{y:.high$} {up}"));
        let label = format_args!("{x:.right$} {across}");
        body += &text(place(x, 0.0).0, TOP + HEIGHT + 20.0, "soft middle", label);
    }
    for (x, y) in points {
        let (left, top) = place(*x, *y);
        let title = format!("{x:.2} {across}: {y:.1} {up}");
        body += &format!(
            "<circle cx=\"{left:.1}\" cy=\"{top:.1}\" r=\"3.5\" class=\"dot\"><title>{}</title></circle>",
            Text(&title)
        );
    }
    svg(LEFT + WIDTH + 40.0, TOP + HEIGHT + 30.0, name, &body)
}

/// Decimals that tell the quarters of an axis apart.
fn decimals(longest: f64) -> usize {
    if longest < 10.0 { 2 } else { usize::from(longest < 100.0) }
}
