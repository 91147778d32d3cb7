//! The arithmetic of figures: shares with their intervals, calibration.

use serde::Serialize;

/// Two-sided 95 % of a normal distribution, in standard deviations.
const Z: f64 = 1.959_963_984_540_054;
/// Bins of a calibration, of equal width over 0..=1.
pub(super) const BINS: usize = 10;

/// A share of counted things, with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// How many it holds for.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    /// `count / of`, 0..=1.
    pub share: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Share {
    /// The share; none of nothing.
    ///
    /// The interval is Wilson's score interval (E. B. Wilson, Probable inference, the law of succession, and
    /// statistical inference, JASA 22, 1927): with p = count / n and z = 1.96,
    /// `(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)`. It stays within 0..=1 and holds for few things, and for
    /// shares near 0 and 1, where the usual normal interval does not.
    pub fn of(count: usize, of: usize) -> Option<Share> {
        if of == 0 || count > of {
            return None;
        }
        let (n, p) = (of as f64, count as f64 / of as f64);
        let z2 = Z * Z;
        let centre = p + z2 / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        let scale = 1.0 + z2 / n;
        // The ends are 0 and 1 exactly when all agree; rounding must not leave them beside that.
        let low = if count == 0 { 0.0 } else { (centre - half) / scale };
        let high = if count == of { 1.0 } else { (centre + half) / scale };
        Some(Share { count, of, share: p, low, high })
    }
}

/// Whether probabilities mean what they say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Probabilities that were read.
    pub count: usize,
    /// Expected calibration error, 0..=1: over the bins, the distance between mean probability and share of truths,
    /// weighted by how many of the probabilities are in the bin (Naeini, Cooper, Hauskrecht, AAAI 2015).
    pub expected_error: f64,
    /// Brier score, 0..=1: the mean of `(p - y)²`, y being 1 for a truth and 0 else (Brier, 1950). 0.25 is what a
    /// judge scores that always says one half.
    pub brier: f64,
    /// The bins `[0, 0.1), [0.1, 0.2), .., [0.9, 1]`.
    pub bins: Vec<Bin>,
}

/// Probabilities of one size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bin {
    /// Lower end, within the bin.
    pub low: f64,
    /// Upper end; within the last bin, outside of the others.
    pub high: f64,
    /// How many probabilities are in it.
    pub count: usize,
    /// Their mean; null when there are none.
    pub mean_p: Option<f64>,
    /// The share of them that came true.
    pub truths: Option<f64>,
}

impl Calibration {
    /// The calibration of probabilities in 0..=1 of what came true or did not; none of nothing.
    pub fn of(said: &[(f64, bool)]) -> Option<Calibration> {
        if said.is_empty() {
            return None;
        }
        let n = said.len() as f64;
        let (mut bins, mut expected_error, mut squares) = (Vec::with_capacity(BINS), 0.0, 0.0);
        for at in 0..BINS {
            let here: Vec<_> = said.iter().filter(|(p, _)| bin(*p) == at).collect();
            let count = here.len() as f64;
            let p: f64 = here.iter().map(|(p, _)| p).sum();
            let truths = here.iter().filter(|(_, y)| *y).count() as f64;
            squares += here.iter().map(|(p, y)| (p - f64::from(u8::from(*y))).powi(2)).sum::<f64>();
            // |mean p - share of truths| of the bin, times count / n.
            expected_error += (p - truths).abs() / n;
            let some = |sum: f64| (!here.is_empty()).then(|| sum / count);
            bins.push(Bin {
                low: at as f64 / BINS as f64,
                high: (at + 1) as f64 / BINS as f64,
                count: here.len(),
                mean_p: some(p),
                truths: some(truths),
            });
        }
        Some(Calibration { count: said.len(), expected_error, brier: squares / n, bins })
    }
}

/// The bin of a probability.
fn bin(p: f64) -> usize {
    ((p * BINS as f64) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-6, "{got} is not {expected}");
    }

    /// Count and of in; share and interval out.
    fn check(count: usize, of: usize, expected: [f64; 3]) {
        let got = Share::of(count, of).unwrap();
        near(got.share, expected[0]);
        near(got.low, expected[1]);
        near(got.high, expected[2]);
    }

    #[test]
    fn the_interval_is_wilsons() {
        // Computed apart from this code, with the formula as it is printed.
        check(1, 10, [0.1, 0.017_876_213, 0.404_150_03]);
        check(950, 1000, [0.95, 0.934_686_18, 0.961_869_74]);
        check(0, 10, [0.0, 0.0, 0.277_532_8]);
        check(10, 10, [1.0, 0.722_467_2, 1.0]);
        assert_eq!(Share::of(0, 0), None);
    }

    #[test]
    fn calibration_by_hand() {
        let got = Calibration::of(&[(0.95, true), (0.85, true), (0.85, false), (0.1, false)]).unwrap();
        // Bins: 0.95 against 1, twice 0.85 against 0.5, 0.1 against 0.
        near(got.expected_error, (0.05 + 0.7 + 0.1) / 4.0);
        near(got.brier, (0.0025 + 0.0225 + 0.7225 + 0.01) / 4.0);
        let counts: Vec<_> = got.bins.iter().map(|b| b.count).collect();
        assert_eq!(counts, [0, 1, 0, 0, 0, 0, 0, 0, 2, 1]);
        assert_eq!((got.bins[0].mean_p, got.bins[8].truths), (None, Some(0.5)));
        assert_eq!(Calibration::of(&[]), None);
    }

    #[test]
    fn a_sure_and_right_judge_is_calibrated_and_a_sure_and_wrong_one_is_not() {
        for (said, expected) in
            [((1.0, true), 0.0), ((0.0, false), 0.0), ((1.0, false), 1.0), ((0.5, true), 0.5)]
        {
            near(Calibration::of(&[said]).unwrap().expected_error, expected);
        }
    }
}
