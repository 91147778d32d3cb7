//! Attention windows of a vision tower: squares of merged tokens that see only each other.

/// The windows of one grid of `p` patches: `w` of them, the longest of `k` patches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// `[w, k]` patches of each window; a shorter one is filled up with its first patch, which
    /// [`Windows::lengths`] keeps out of sight.
    pub rows: Vec<i64>,
    /// `[w]` patches of each window, at least one merged token's.
    pub lengths: Vec<i32>,
    /// `[p]` place of each patch in [`Windows::rows`].
    pub places: Vec<i64>,
}

impl Windows {
    /// Patches of the longest window, `k`.
    pub fn longest(&self) -> usize {
        self.rows.len() / self.lengths.len().max(1)
    }
}

/// Cuts a grid of `rows` x `columns` merged tokens into squares of `side`, from the top left corner; those at the
/// right and bottom edge are cut off there. Patches are numbered as they are flattened: a token's `merge * merge`
/// stand together. `k` is the longest window of this grid, so that small pictures are not filled up.
pub fn windows(rows: usize, columns: usize, merge: usize, side: usize) -> Windows {
    let patches = merge * merge;
    let longest = rows.min(side) * columns.min(side) * patches;
    let mut out =
        Windows { rows: Vec::new(), lengths: Vec::new(), places: vec![0; rows * columns * patches] };
    for top in (0..rows).step_by(side) {
        for left in (0..columns).step_by(side) {
            let start = out.rows.len();
            for row in top..(top + side).min(rows) {
                for column in left..(left + side).min(columns) {
                    let first = (row * columns + column) * patches;
                    for patch in first..first + patches {
                        out.places[patch] = out.rows.len() as i64;
                        out.rows.push(patch as i64);
                    }
                }
            }
            out.lengths.push((out.rows.len() - start) as i32);
            out.rows.resize(start + longest, out.rows[start]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows and columns of tokens, patches a side of a token, side of a window; then the windows.
    fn check((rows, columns, merge, side): (usize, usize, usize, usize), expected: &[&[i64]]) {
        let got = windows(rows, columns, merge, side);
        let each: Vec<&[i64]> = got
            .rows
            .chunks(got.longest())
            .zip(&got.lengths)
            .map(|(window, &length)| &window[..length as usize])
            .collect();
        assert_eq!(each, expected);
    }

    #[test]
    fn windows_are_squares_that_the_edges_cut_off() {
        check((2, 3, 1, 2), &[&[0, 1, 3, 4], &[2, 5]]);
        check((3, 2, 1, 2), &[&[0, 1, 2, 3], &[4, 5]]);
        check((1, 3, 2, 2), &[&[0, 1, 2, 3, 4, 5, 6, 7], &[8, 9, 10, 11]]);
    }

    #[test]
    fn a_grid_within_one_window_is_not_filled_up() {
        let got = windows(2, 3, 2, 4);
        assert_eq!((got.longest(), got.lengths), (24, vec![24]));
    }

    proptest! {
        /// Each patch stands in one window, where its place says, with its neighbours of at most a side's distance.
        #[test]
        fn every_patch_is_in_its_window(rows in 1usize..20, columns in 1usize..20, merge in 1usize..4, side in 1usize..9) {
            let got = windows(rows, columns, merge, side);
            let (longest, count) = (got.longest(), rows * columns * merge * merge);
            prop_assert_eq!(got.lengths.iter().map(|&n| n as usize).sum::<usize>(), count);
            let window = |patch: usize| {
                let token = patch / (merge * merge);
                (token / columns / side, token % columns / side)
            };
            for (patch, &place) in got.places.iter().enumerate() {
                prop_assert_eq!(got.rows[place as usize], patch as i64);
                let (at, column) = (place as usize / longest, place as usize % longest);
                prop_assert!(column < got.lengths[at] as usize);
                prop_assert_eq!(window(got.rows[at * longest] as usize), window(patch));
            }
            prop_assert_eq!(got.lengths.len(), rows.div_ceil(side) * columns.div_ceil(side));
        }
    }
}
