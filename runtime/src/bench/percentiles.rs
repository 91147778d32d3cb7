//! The distribution of times, as far as their number shows it.

use serde::Serialize;

use crate::figures::percentile;

/// Percentiles, and the fewest values that show each: one of them must be expected to lie above it. Fewer, and the
/// figure would be the largest value under another name.
pub const MINIMUM: [(u32, usize); 3] = [(50, 2), (95, 20), (99, 100)];

/// Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// The shortest.
    pub min: f64,
    /// Median, by nearest rank; null of fewer than 2.
    pub p50: Option<f64>,
    /// 95th percentile, by nearest rank; null of fewer than 20.
    pub p95: Option<f64>,
    /// 99th percentile, by nearest rank; null of fewer than 100.
    pub p99: Option<f64>,
    /// The longest.
    pub max: f64,
}

impl Percentiles {
    /// Those of finite values; none of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Percentiles> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let [p50, p95, p99] = MINIMUM.map(|(percent, least)| {
            percentile(&sorted, f64::from(percent) / 100.0).filter(|_| count >= least)
        });
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Percentiles { count, mean: sorted.iter().sum::<f64>() / count as f64, min, p50, p95, p99, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values in; p50, p95 and p99 out.
    fn check(values: impl IntoIterator<Item = u32>, expected: [Option<f64>; 3]) {
        let got = Percentiles::of(values.into_iter().map(f64::from)).unwrap();
        assert_eq!([got.p50, got.p95, got.p99], expected);
    }

    #[test]
    fn a_percentile_needs_a_value_above_it() {
        check([7], [None, None, None]);
        check([7, 9], [Some(7.0), None, None]);
        check(1..=19, [Some(10.0), None, None]);
        check(1..=20, [Some(10.0), Some(19.0), None]);
        check(1..=99, [Some(50.0), Some(95.0), None]);
        check(1..=100, [Some(50.0), Some(95.0), Some(99.0)]);
        for (percent, least) in MINIMUM {
            let above = least as f64 * (1.0 - f64::from(percent) / 100.0);
            assert!((above - 1.0).abs() < 1e-9, "{percent}: {above} above of {least}");
        }
    }

    #[test]
    fn the_order_of_values_does_not_count() {
        check((1..=20).rev(), [Some(10.0), Some(19.0), None]);
        let got = Percentiles::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((got.count, got.mean, got.min, got.max), (3, 2.0, 1.0, 3.0));
        assert_eq!(Percentiles::of([]), None);
    }
}
