//! Whether the parts of a report agree.

use super::Winner;
use super::category::CategoryWinner;
use super::report::Report;
use serde::Serialize;

/// Points that the two scores of a dimension share.
const POINTS: f64 = 10.0;
/// Scores are written with few digits; their sums differ from ten by rounding only.
const TOLERANCE: f64 = 1e-6;

/// A disagreement within a report. Places are indices into the report's own lists.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Flag {
    /// The two scores of a dimension do not sum to ten.
    SumNotTen {
        /// Index of the category.
        category: usize,
        /// Index of the dimension.
        dimension: usize,
        /// What they sum to.
        sum: f64,
    },
    /// The two scores of a dimension do not sum to what the pack says (kind `pair-score-lines`).
    SumOff {
        /// Index of the dimension in the pack.
        dimension: usize,
        /// What they sum to.
        sum: f64,
        /// What they should sum to.
        expected: f64,
    },
    /// One candidate has the higher mean score in a category, and the other is its written winner.
    CategoryAgainstScores {
        /// Index of the category.
        category: usize,
    },
    /// One candidate wins more categories, and the other is the written winner.
    WinnerAgainstCategories,
    /// One candidate has more points over all dimensions, and the other is the written winner.
    WinnerAgainstScores,
}

/// All disagreements of a report. Equal scores, and as many categories for each, disagree with no winner: the
/// model must name one.
pub fn flags(report: &Report, winner: Winner, categories: &[CategoryWinner]) -> Vec<Flag> {
    let mut flags = Vec::new();
    let mut total = 0.0;
    for (c, category) in report.categories.iter().enumerate() {
        let mut margin = 0.0;
        for (d, dim) in category.dims.iter().enumerate() {
            let sum = dim.score_1 + dim.score_2;
            if (sum - POINTS).abs() > TOLERANCE {
                flags.push(Flag::SumNotTen { category: c, dimension: d, sum });
            }
            margin += dim.score_1 - dim.score_2;
        }
        // Both means have the same divisor, so the sign of the summed margin is the sign of their difference.
        if categories.get(c).is_some_and(|written| against(margin, written.winner)) {
            flags.push(Flag::CategoryAgainstScores { category: c });
        }
        total += margin;
    }
    let lead: f64 = categories.iter().map(|category| 2.0 * category.winner.first_points() - 1.0).sum();
    if against(lead, winner) {
        flags.push(Flag::WinnerAgainstCategories);
    }
    if against(total, winner) {
        flags.push(Flag::WinnerAgainstScores);
    }
    flags
}

/// Whether a lead of the first candidate over the second, in points, speaks for the other than `winner`.
fn against(lead: f64, winner: Winner) -> bool {
    match winner {
        Winner::First => lead < -TOLERANCE,
        Winner::Second => lead > TOLERANCE,
        Winner::Tie => lead.abs() > TOLERANCE,
    }
}
