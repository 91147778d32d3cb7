//! The soft verdict: the model's probability at the verdict token, and two orders joined.

use super::{Status, Winner};
use serde::Serialize;

/// A logit at the verdict token is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "the logits at the verdict token are not finite ({first}, {second}); verify the package with `export --verify`"
)]
pub struct NotFinite {
    /// Logit of the first candidate's token.
    pub first: f32,
    /// Logit of the second candidate's token.
    pub second: f32,
}

/// The probability of the first candidate against the second: softmax over their two logits alone, 0..=1.
pub fn p_first(logit_first: f32, logit_second: f32) -> Result<f64, NotFinite> {
    if !logit_first.is_finite() || !logit_second.is_finite() {
        return Err(NotFinite { first: logit_first, second: logit_second });
    }
    // exp may overflow to infinity, and the quotient is then an exact 0.
    Ok(1.0 / (1.0 + (f64::from(logit_second) - f64::from(logit_first)).exp()))
}

/// The verdict of one order, in that order's own words: first is the candidate shown first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OrderVerdict {
    /// How far the answer can be trusted.
    pub status: Status,
    /// The written winner, if the status has one.
    pub winner: Option<Winner>,
    /// Probability of the candidate shown first, if it was read.
    pub p_first: Option<f64>,
}

/// The verdict of both orders, in the words of the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Combined {
    /// Inconsistent when either order is; the failed order's status when one failed.
    pub status: Status,
    /// The winner, if both orders have one.
    pub winner: Option<Winner>,
    /// `(p_ab + (1 - p_ba)) / 2`, if both were read.
    pub p_first: Option<f64>,
    /// Whether both orders name the same candidate; absent when one failed.
    pub position_consistent: Option<bool>,
}

/// How far a joined probability must be from one half to decide. The two logits are 32-bit floats of the order of
/// ten, so their softmax carries about 1e-6 of rounding; a lead below that is noise, not evidence.
pub const TIE_MARGIN: f64 = 1e-6;

/// Joins the verdict of (A, B) with that of (B, A), whose first is B.
///
/// If both name the same candidate, it wins. If they do not, the joined probability decides: above one half
/// for A, below for B. A probability within [`TIE_MARGIN`] of one half, or one that was not read in both orders,
/// leaves one vote for each, which is a tie, and `position_consistent` is false. If one order failed there is no
/// verdict: half of the evidence is not taken for the whole. If both failed, the status is that of (A, B).
pub fn combine(ab: OrderVerdict, ba: OrderVerdict) -> Combined {
    let (Some(one), Some(other)) = (winner_of(&ab), winner_of(&ba).map(Winner::flipped)) else {
        let failed = if winner_of(&ab).is_none() { &ab } else { &ba };
        // A status that promises a winner without one is a caller's slip; it must not pass for a verdict.
        let status = if failed.status.has_winner() { Status::Invalid } else { failed.status };
        return Combined { status, winner: None, p_first: None, position_consistent: None };
    };
    let p = ab.p_first.zip(ba.p_first).map(|(ab, ba)| (ab + (1.0 - ba)) / 2.0);
    let winner = match p {
        _ if one == other => one,
        Some(p) if p > 0.5 + TIE_MARGIN => Winner::First,
        Some(p) if p < 0.5 - TIE_MARGIN => Winner::Second,
        _ => Winner::Tie,
    };
    let inconsistent = [ab.status, ba.status].contains(&Status::Inconsistent);
    Combined {
        status: if inconsistent { Status::Inconsistent } else { Status::Ok },
        winner: Some(winner),
        p_first: p,
        position_consistent: Some(one == other),
    }
}

fn winner_of(order: &OrderVerdict) -> Option<Winner> {
    order.winner.filter(|_| order.status.has_winner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probability_is_a_softmax_over_two() {
        for (first, second, expected) in [
            (0.0, 0.0, 0.5),
            (1.0, 0.0, 0.731_058_578_630_004_9),
            (0.0, 1.0, 0.268_941_421_369_995_1),
            (f32::MAX, f32::MIN, 1.0),
            (f32::MIN, f32::MAX, 0.0),
        ] {
            let p = p_first(first, second).unwrap();
            assert!((p - expected).abs() < 1e-15, "{first} {second}: {p}");
        }
        for (first, second) in [(f32::NAN, 0.0), (0.0, f32::INFINITY), (f32::NEG_INFINITY, f32::NEG_INFINITY)]
        {
            assert!(p_first(first, second).unwrap_err().to_string().contains("not finite"));
        }
    }

    type Order = (Status, Option<Winner>, Option<f64>);

    fn check(ab: Order, ba: Order, expected: (Status, Option<Winner>, Option<bool>)) {
        let order = |(status, winner, p_first)| OrderVerdict { status, winner, p_first };
        let joined = combine(order(ab), order(ba));
        assert_eq!((joined.status, joined.winner, joined.position_consistent), expected, "{ab:?} {ba:?}");
    }

    #[test]
    fn two_orders_that_agree_have_their_winner_and_else_the_probability_decides() {
        use Status::{Inconsistent, Invalid, Ok, Truncated};
        let (first, second, tie) = (Some(Winner::First), Some(Winner::Second), Some(Winner::Tie));
        check((Ok, first, Some(0.9)), (Ok, second, Some(0.2)), (Ok, first, Some(true)));
        check((Ok, second, None), (Ok, first, None), (Ok, second, Some(true)));
        // The words agree, whatever the probabilities say.
        check((Ok, first, Some(0.1)), (Ok, second, Some(0.9)), (Ok, first, Some(true)));
        check((Ok, first, Some(0.9)), (Ok, first, Some(0.6)), (Ok, first, Some(false)));
        check((Ok, first, Some(0.6)), (Ok, first, Some(0.9)), (Ok, second, Some(false)));
        check((Ok, first, Some(0.9)), (Ok, first, Some(0.875)), (Ok, first, Some(false)));
        check((Ok, first, Some(0.875)), (Ok, first, Some(0.9)), (Ok, second, Some(false)));
        check((Ok, first, Some(0.75)), (Ok, first, Some(0.75)), (Ok, tie, Some(false)));
        check((Ok, first, Some(0.75)), (Ok, first, None), (Ok, tie, Some(false)));
        check((Inconsistent, first, None), (Ok, second, None), (Inconsistent, first, Some(true)));
        check((Ok, first, Some(0.9)), (Truncated, None, None), (Truncated, None, None));
        check((Invalid, None, None), (Ok, first, Some(0.9)), (Invalid, None, None));
        check((Invalid, None, None), (Truncated, None, None), (Invalid, None, None));
        check((Ok, None, Some(0.9)), (Ok, first, Some(0.9)), (Invalid, None, None));
    }

    #[test]
    fn the_joined_probability_is_the_mean_of_both_orders() {
        let order = |winner, p| OrderVerdict { status: Status::Ok, winner: Some(winner), p_first: Some(p) };
        let joined = combine(order(Winner::First, 0.9), order(Winner::Second, 0.3));
        assert!((joined.p_first.unwrap() - 0.8).abs() < 1e-15);
    }
}
