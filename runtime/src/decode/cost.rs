//! What runs take, as far as it was measured.

use std::time::Duration;

/// Sizes that are told apart: 1, 2, 4, .. cells, the last for everything beyond.
const SIZES: usize = 16;
/// Weight of a measurement that is below what is known, and of one above. Machines stall now and then, and never hurry,
/// so the low values say more.
const WEIGHTS: (f64, f64) = (0.5, 0.1);

/// Seconds of a run by its cells, rows times columns: what was measured last of each size.
#[derive(Debug, Clone, Default)]
pub(super) struct Costs {
    points: [Option<Point>; SIZES],
}

#[derive(Debug, Clone, Copy)]
struct Point {
    cells: f64,
    seconds: f64,
}

impl Costs {
    /// Takes note of a run of this many cells, at least one.
    pub(super) fn record(&mut self, cells: usize, time: Duration) {
        let seconds = time.as_secs_f64();
        let known = &mut self.points[size(cells)];
        let seconds = known.map_or(seconds, |known| {
            let weight = if seconds < known.seconds { WEIGHTS.0 } else { WEIGHTS.1 };
            known.seconds + weight * (seconds - known.seconds)
        });
        *known = Some(Point { cells: cells as f64, seconds });
    }

    /// Whether a run of about so many cells was measured.
    pub(super) fn measured(&self, cells: usize) -> bool {
        self.points[size(cells)].is_some()
    }

    /// Seconds that a run of this many cells takes, none while no run was measured. Between two sizes that are known it is
    /// taken from the line through them, beyond the largest from the line through the smallest and the largest, or in
    /// proportion where only one is known, and below the smallest as that.
    pub(super) fn of(&self, cells: usize) -> Option<f64> {
        let (n, known) = (cells as f64, || self.points.iter().flatten());
        let below = known().rfind(|point| point.cells <= n);
        match (below, known().find(|point| point.cells >= n)) {
            (Some(a), Some(b)) if b.cells > a.cells => Some(line(a, b, n)),
            (Some(last), None) => {
                let first = known().find(|first| first.cells < last.cells);
                Some(first.map_or(last.seconds * n / last.cells, |first| line(first, last, n)))
            }
            (below, above) => below.or(above).map(|point| point.seconds),
        }
    }
}

/// Seconds of `n` cells on the line through two points; never fewer than the lower point's.
fn line(low: &Point, high: &Point, n: f64) -> f64 {
    let slope = (high.seconds - low.seconds) / (high.cells - low.cells);
    low.seconds + slope.max(0.0) * (n - low.cells)
}

/// Which size a number of cells has: the next power of two.
fn size(cells: usize) -> usize {
    (cells.max(1).next_power_of_two().trailing_zeros() as usize).min(SIZES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What runs of these cells and milliseconds say of others.
    fn check(measured: &[(usize, u64)], expected: &[(usize, f64)]) {
        let mut costs = Costs::default();
        measured.iter().for_each(|&(cells, ms)| costs.record(cells, Duration::from_millis(ms)));
        for &(cells, ms) in expected {
            let got = costs.of(cells).unwrap() * 1e3;
            assert!((got - ms).abs() < 1e-9, "{cells}: {got}");
        }
    }

    #[test]
    fn what_was_measured_stands_and_what_lies_between_is_on_the_line() {
        check(&[(1, 10), (16, 40)], &[(1, 10.0), (2, 12.0), (4, 16.0), (8, 24.0), (16, 40.0), (11, 30.0)]);
        check(&[(4, 8)], &[(1, 8.0), (4, 8.0), (8, 16.0), (32, 64.0)]);
        check(&[(3, 9), (6, 30)], &[(4, 16.0), (5, 23.0), (12, 72.0)]);
        check(&[(1 << 20, 5)], &[(1, 5.0), (1 << 21, 10.0)]);
        assert_eq!((Costs::default().of(1), Costs::default().measured(1)), (None, false));
    }

    #[test]
    fn a_stall_moves_little_and_a_fast_run_much() {
        check(&[(1, 10), (1, 110)], &[(1, 20.0)]);
        check(&[(1, 110), (1, 10)], &[(1, 60.0)]);
    }
}
