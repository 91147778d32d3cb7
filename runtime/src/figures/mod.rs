//! What measurements are shown with: percentiles, and a page with tables and plots that opens without a network.
//!
//! What is absent: what was measured. [`eval`](crate::eval) and [`bench`](crate::bench) say that.

pub(crate) mod page;
pub(crate) mod plot;

/// The value that a share of the sorted values does not exceed, by nearest rank: `sorted[⌈q n⌉ - 1]`. `q` in (0, 1].
pub(crate) fn percentile(sorted: &[f64], q: f64) -> Option<f64> {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let sorted: Vec<f64> = (1..=10).map(f64::from).collect();
        for (q, expected) in [(0.5, 5.0), (0.9, 9.0), (0.95, 10.0), (1.0, 10.0), (0.001, 1.0)] {
            assert_eq!(percentile(&sorted, q), Some(expected), "{q}");
        }
        assert_eq!(percentile(&[3.0], 0.5), Some(3.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
