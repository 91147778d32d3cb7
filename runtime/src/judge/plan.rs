//! Which pairs of a group are judged.

use std::collections::HashSet;

use serde::Serialize;

/// Which pairs of a group are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pairs {
    /// Every two candidates, `n (n - 1) / 2` pairs.
    #[default]
    All,
    /// Each candidate and the next, the last and the first: `n` pairs.
    Circular,
    /// As many rounds as halvings lead to one candidate. In each of them neighbours by win rate so far meet who have not
    /// met; whoever finds nobody sits out. At most `n / 2` pairs a round.
    Swiss,
}

impl Pairs {
    /// Every choice with its name, as written on the command line.
    pub const ALL: [(Pairs, &'static str); 3] =
        [(Pairs::All, "all"), (Pairs::Circular, "circular"), (Pairs::Swiss, "swiss")];
}

/// The rounds of a group. What is in a round does not depend on its results.
pub(super) struct Plan {
    pairs: Pairs,
    items: usize,
    rounds: usize,
    round: usize,
    met: HashSet<(usize, usize)>,
    /// Rounds that each candidate sat out.
    idle: Vec<usize>,
}

impl Plan {
    /// A plan for this many candidates.
    pub(super) fn new(pairs: Pairs, items: usize) -> Plan {
        let halvings = items.next_power_of_two().ilog2() as usize;
        let rounds = if pairs == Pairs::Swiss { halvings } else { 1 };
        Plan { pairs, items, rounds, round: 0, met: HashSet::new(), idle: vec![0; items] }
    }

    /// Most pairs of all rounds together.
    pub(super) fn most(&self) -> usize {
        let all = self.items * self.items.saturating_sub(1) / 2;
        match self.pairs {
            Pairs::All => all,
            Pairs::Circular => self.items.min(all),
            Pairs::Swiss => self.rounds * (self.items / 2),
        }
    }

    /// The pairs of the next round, sorted by their first candidates; none after the last round. `standing` holds the win
    /// rate of each candidate so far, one half where there is none.
    pub(super) fn next(&mut self, standing: &[f64]) -> Option<Vec<(usize, usize)>> {
        if self.round == self.rounds {
            return None;
        }
        self.round += 1;
        let n = self.items;
        let mut pairs: Vec<(usize, usize)> = match self.pairs {
            Pairs::All => (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).collect(),
            // Of two candidates, the second's next is the first again.
            Pairs::Circular => (0..self.most()).map(|i| (i, (i + 1) % n)).collect(),
            Pairs::Swiss => self.swiss(standing),
        };
        pairs.sort_unstable();
        Some(pairs)
    }

    fn swiss(&mut self, standing: &[f64]) -> Vec<(usize, usize)> {
        let mut waiting: Vec<usize> = (0..self.items).collect();
        // Equals who sat out come first, so that they find a partner.
        waiting.sort_by(|&a, &b| standing[b].total_cmp(&standing[a]).then(self.idle[b].cmp(&self.idle[a])));
        if !self.items.is_multiple_of(2) {
            let least = self.idle.iter().min().copied().unwrap_or(0);
            if let Some(last) = waiting.iter().rposition(|&i| self.idle[i] == least) {
                self.idle[waiting.remove(last)] += 1;
            }
        }
        let (mut pairs, mut alone) = (Vec::new(), Vec::new());
        while !waiting.is_empty() {
            let one = waiting.remove(0);
            match waiting.iter().position(|&other| self.are_new(one, other)) {
                Some(at) => pairs.push((one, waiting.remove(at))),
                None => alone.push(one),
            }
        }
        self.make_room(&mut pairs, alone);
        let pairs: Vec<_> = pairs.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
        self.met.extend(&pairs);
        pairs
    }

    /// Lets two who found nobody take the places of a pair each, the lowest pair that can give way; else they sit out.
    fn make_room(&mut self, pairs: &mut Vec<(usize, usize)>, alone: Vec<usize>) {
        let mut alone = alone.into_iter();
        while let Some(a) = alone.next() {
            let Some(b) = alone.next() else {
                self.idle[a] += 1;
                break;
            };
            let crossed = |&(c, d): &(usize, usize)| {
                let both = |(c, d)| self.are_new(a, c) && self.are_new(b, d);
                [(c, d), (d, c)].into_iter().find(|&other| both(other))
            };
            match (0..pairs.len()).rev().find_map(|at| Some((at, crossed(&pairs[at])?))) {
                Some((at, (c, d))) => {
                    pairs[at] = (a, c);
                    pairs.push((b, d));
                }
                None => [a, b].into_iter().for_each(|i| self.idle[i] += 1),
            }
        }
    }

    fn are_new(&self, a: usize, b: usize) -> bool {
        !self.met.contains(&(a.min(b), a.max(b)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rounds of a group in which the candidate of the lower index always wins.
    fn rounds(pairs: Pairs, items: usize) -> Vec<Vec<(usize, usize)>> {
        play(pairs, items, |_, _| 1.0)
    }

    /// The rounds of a group; `points` says what the first of a pair earns.
    fn play(pairs: Pairs, items: usize, points: impl Fn(usize, usize) -> f64) -> Vec<Vec<(usize, usize)>> {
        let mut plan = Plan::new(pairs, items);
        let (mut won, mut played) = (vec![0.0; items], vec![0.0; items]);
        let mut rounds = Vec::new();
        loop {
            let standing: Vec<f64> =
                won.iter().zip(&played).map(|(w, p)| if *p > 0.0 { w / p } else { 0.5 }).collect();
            let Some(round) = plan.next(&standing) else { break };
            for &(i, j) in &round {
                won[i] += points(i, j);
                won[j] += 1.0 - points(i, j);
                played[i] += 1.0;
                played[j] += 1.0;
            }
            rounds.push(round);
        }
        assert!(rounds.iter().map(Vec::len).sum::<usize>() <= plan.most());
        rounds
    }

    fn check(pairs: Pairs, items: usize, expected: &[&[(usize, usize)]]) {
        assert_eq!(rounds(pairs, items), expected, "{pairs:?} {items}");
    }

    #[test]
    fn all_pairs_stand_in_the_order_of_their_first() {
        check(Pairs::All, 2, &[&[(0, 1)]]);
        check(Pairs::All, 4, &[&[(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]]);
    }

    #[test]
    fn a_circle_closes_and_two_candidates_meet_once() {
        check(Pairs::Circular, 2, &[&[(0, 1)]]);
        check(Pairs::Circular, 3, &[&[(0, 1), (1, 2), (2, 0)]]);
        check(Pairs::Circular, 5, &[&[(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]]);
    }

    #[test]
    fn winners_meet_winners() {
        check(Pairs::Swiss, 2, &[&[(0, 1)]]);
        check(Pairs::Swiss, 4, &[&[(0, 1), (2, 3)], &[(0, 2), (1, 3)]]);
        check(
            Pairs::Swiss,
            8,
            &[
                &[(0, 1), (2, 3), (4, 5), (6, 7)],
                &[(0, 2), (1, 3), (4, 6), (5, 7)],
                &[(0, 4), (1, 2), (3, 7), (5, 6)],
            ],
        );
    }

    #[test]
    fn whoever_sat_out_plays_next() {
        check(Pairs::Swiss, 3, &[&[(0, 1)], &[(0, 2)]]);
        check(Pairs::Swiss, 5, &[&[(0, 1), (2, 3)], &[(0, 2), (1, 4)], &[(0, 4), (1, 3)]]);
    }

    proptest! {
        /// Whatever the results, nobody meets anybody twice, nobody meets two at once, all is a function of the results,
        /// and the rounds are as many as halvings.
        #[test]
        fn nobody_meets_twice(items in 2..40_usize, seed in any::<u64>()) {
            let points = |i: usize, j: usize| {
                let mixed = (seed ^ (i as u64) << 32 ^ j as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
                [0.0, 0.5, 1.0][mixed as usize % 3]
            };
            let rounds = play(Pairs::Swiss, items, points);
            prop_assert_eq!(&rounds, &play(Pairs::Swiss, items, points));
            prop_assert!(1 << rounds.len() >= items && 1 << (rounds.len() - 1) < items);
            let mut met = HashSet::new();
            for round in &rounds {
                let mut busy = HashSet::new();
                for &(i, j) in round {
                    prop_assert!(i < j && j < items);
                    prop_assert!(met.insert((i, j)), "{i} meets {j} twice");
                    prop_assert!(busy.insert(i) && busy.insert(j));
                }
            }
            // In the first round everybody who can plays.
            prop_assert_eq!(rounds[0].len(), items / 2);
        }
    }
}
