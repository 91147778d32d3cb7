//! When judgements arrive.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use serde::Serialize;

/// Judgements that arrive in a second, on average: above 0 and at most 1000.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Rate(f64);

/// No rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate; give judgements a second, above 0 and at most 1000")]
pub struct BadRate(String);

impl Rate {
    /// Judgements a second.
    pub fn per_second(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Rate, BadRate> {
        let rate = text.parse().ok().filter(|rate| (1e-6..=1000.0).contains(rate));
        rate.map(Rate).ok_or_else(|| BadRate(text.to_owned()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The instants of `count` arrivals of a Poisson process, since its beginning: the gaps are independent and
/// exponential, `-ln(1 - u) / rate`. The same seed gives the same instants on every machine.
pub fn arrivals(rate: Rate, count: usize, seed: u64) -> Vec<Duration> {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let mut at = 0.0;
    let mut next = || {
        // 53 random bits: every value of a double in [0, 1) that has that grid.
        let u = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        at -= (1.0 - u).ln() / rate.0;
        Duration::from_secs_f64(at)
    };
    (0..count).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rate as text, and the refusal's words; none when it is a rate.
    fn check(text: &str, refusal: Option<&str>) {
        match (text.parse::<Rate>(), refusal) {
            (Ok(rate), None) => assert_eq!(rate.to_string(), text),
            (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
            (got, _) => panic!("{text} gave {got:?}"),
        }
    }

    #[test]
    fn a_rate_is_a_number_that_can_be_offered() {
        for good in ["0.5", "1", "1000"] {
            check(good, None);
        }
        for bad in ["0", "-1", "nan", "inf", "1001", "", "two"] {
            check(bad, Some("is no rate"));
        }
    }

    #[test]
    fn a_seed_gives_its_arrivals_again_and_another_gives_others() {
        let rate: Rate = "2".parse().unwrap();
        assert_eq!(arrivals(rate, 50, 7), arrivals(rate, 50, 7));
        assert_eq!(arrivals(rate, 50, 7)[..20], arrivals(rate, 20, 7));
        assert_ne!(arrivals(rate, 50, 7), arrivals(rate, 50, 8));
    }

    #[test]
    fn gaps_are_exponential_with_the_rates_mean() {
        let rate: Rate = "4".parse().unwrap();
        let at = arrivals(rate, 20_000, 1);
        let gaps: Vec<f64> = at.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        assert!(at.is_sorted());
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((mean * 4.0 - 1.0).abs() < 0.03, "mean gap {mean}");
        // Of an exponential law, exp(-1) of the gaps are longer than the mean, and exp(-2) than twice that.
        for (times, share) in [(1.0, 0.3679), (2.0, 0.1353)] {
            let longer = gaps.iter().filter(|gap| **gap > times * 0.25).count() as f64 / gaps.len() as f64;
            assert!((longer - share).abs() < 0.015, "{longer} are longer than {times} means");
        }
    }
}
