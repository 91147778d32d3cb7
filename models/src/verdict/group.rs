//! Many pairs of one prompt to one reward for each candidate.

use super::Winner;
use super::category::CategoryWinner;
use serde::Serialize;
use std::collections::BTreeMap;

/// Share of the overall win rate in the reward.
const OVERALL_SHARE: f64 = 0.3;
/// Share of the weighted mean of the category win rates.
const CATEGORY_SHARE: f64 = 0.7;
/// The categories that count for the reward, in the order of their weights; others are reported only.
const WEIGHTED: [char; 3] = ['A', 'B', 'C'];

/// Most candidates in a group: all its pairs, 32,640, are hours of judging, and the matrix takes a megabyte.
pub const MAX_GROUP: usize = 256;

/// How pairs become rewards. Formula and weights are those of the published trainer for this reward line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GroupRules {
    /// Weights of the categories A, B and C.
    pub weights: [f64; 3],
    /// What a pair without a verdict counts for. It is counted in `pairs_failed` whatever this says.
    pub failed: FailedPairs,
    /// Paper parity: a failed pair counts as half a win for each side of it, and rewards have three decimals.
    pub upstream: bool,
}

/// What a pair without a verdict counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailedPairs {
    /// Nothing: nobody won it.
    #[default]
    LeaveOut,
    /// Half a win for each side of it.
    Tie,
}

impl GroupRules {
    /// Weights for pictures: 1, 0.7, 0.7.
    pub const IMAGES: GroupRules =
        GroupRules { weights: [1.0, 0.7, 0.7], failed: FailedPairs::LeaveOut, upstream: false };
    /// Weights for videos: 1, 1, 1.
    pub const VIDEOS: GroupRules =
        GroupRules { weights: [1.0, 1.0, 1.0], failed: FailedPairs::LeaveOut, upstream: false };
}

/// A pair that was asked for: candidate `i` shown first, `j` second.
#[derive(Debug, Clone, PartialEq)]
pub struct PairOutcome {
    /// Index of the candidate shown first.
    pub i: usize,
    /// Index of the candidate shown second.
    pub j: usize,
    /// The verdict; absent when the pair failed (truncated, invalid, or never answered).
    pub verdict: Option<PairVerdict>,
}

/// The verdict of one pair.
#[derive(Debug, Clone, PartialEq)]
pub struct PairVerdict {
    /// The winner.
    pub winner: Winner,
    /// Probability of the first against the second, 0..=1, if it was read.
    pub p_first: Option<f64>,
    /// The written category winners.
    pub categories: Vec<CategoryWinner>,
}

/// What one candidate earned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ItemReward {
    /// Index of the candidate.
    pub index: usize,
    /// Wins over compares, a tie being half a win; absent when no pair of this candidate has a verdict.
    pub win_rate: Option<f64>,
    /// Win rate in each category, by letter.
    pub categories: BTreeMap<char, f64>,
    /// `(0.3 * win_rate + 0.7 * weighted mean of A, B, C) / (sum of the shares present)`; absent with
    /// `win_rate`.
    pub score: Option<f64>,
}

/// What a group earned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupRewards {
    /// One entry for each candidate, by index.
    pub items: Vec<ItemReward>,
    /// Indices, best score first; equal scores by index, candidates without a score last.
    pub order: Vec<usize>,
    /// `matrix[i][j]`: mean probability that i beats j (1, 0.5 or 0 where only the winner is known); absent
    /// where no such pair has a verdict, and on the diagonal.
    pub matrix: Vec<Vec<Option<f64>>>,
    /// Pairs that were asked for.
    pub pairs_run: usize,
    /// Those of them without a verdict.
    pub pairs_failed: usize,
}

/// Pairs that belong to no group.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GroupError {
    /// More candidates than a group may have.
    #[error("a group of {items}, over the limit of {MAX_GROUP}; split it")]
    TooLarge {
        /// Candidates in the group.
        items: usize,
    },
    /// A pair names a candidate beyond the group, or one candidate twice.
    #[error("pair ({i}, {j}) is none of a group of {items}; give two different indices below {items}")]
    Pair {
        /// First index.
        i: usize,
        /// Second index.
        j: usize,
        /// Candidates in the group.
        items: usize,
    },
    /// A probability that is none.
    #[error("pair ({i}, {j}) has a probability of {p}; give a number within 0..=1")]
    Probability {
        /// First index.
        i: usize,
        /// Second index.
        j: usize,
        /// The value.
        p: f64,
    },
}

/// A mean in the making.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    points: f64,
    count: u32,
}

impl Tally {
    fn add(&mut self, points: f64) {
        self.points += points;
        self.count += 1;
    }

    fn rate(&self) -> Option<f64> {
        (self.count > 0).then(|| self.points / f64::from(self.count))
    }
}

/// Turns the pairs of a group of `items` candidates into rewards. A pair may come in both orders, and counts
/// twice.
///
/// # Errors
/// [`GroupError`] for groups over [`MAX_GROUP`], indices outside the group and probabilities outside 0..=1.
pub fn group_rewards(
    items: usize,
    pairs: &[PairOutcome],
    rules: &GroupRules,
) -> Result<GroupRewards, GroupError> {
    if items > MAX_GROUP {
        return Err(GroupError::TooLarge { items });
    }
    let mut overall = vec![Tally::default(); items];
    let mut categories = vec![BTreeMap::<char, Tally>::new(); items];
    let mut matrix = vec![vec![Tally::default(); items]; items];
    for pair in pairs {
        let (i, j) = (pair.i, pair.j);
        if i >= items || j >= items || i == j {
            return Err(GroupError::Pair { i, j, items });
        }
        let Some(verdict) = &pair.verdict else {
            if rules.upstream || rules.failed == FailedPairs::Tie {
                overall[i].add(0.5);
                overall[j].add(0.5);
            }
            continue;
        };
        let points = verdict.winner.first_points();
        let p = verdict.p_first.unwrap_or(points);
        if !(0.0..=1.0).contains(&p) {
            return Err(GroupError::Probability { i, j, p });
        }
        overall[i].add(points);
        overall[j].add(1.0 - points);
        matrix[i][j].add(p);
        matrix[j][i].add(1.0 - p);
        for (letter, points) in by_letter(&verdict.categories) {
            categories[i].entry(letter).or_default().add(points);
            categories[j].entry(letter).or_default().add(1.0 - points);
        }
    }
    let items: Vec<ItemReward> = overall
        .iter()
        .zip(&categories)
        .enumerate()
        .map(|(index, (overall, categories))| reward(index, overall, categories, rules))
        .collect();
    let mut order: Vec<usize> = (0..items.len()).collect();
    let key = |index: &usize| items[*index].score.unwrap_or(f64::NEG_INFINITY);
    order.sort_by(|a, b| key(b).total_cmp(&key(a)));
    Ok(GroupRewards {
        order,
        matrix: matrix.iter().map(|row| row.iter().map(Tally::rate).collect()).collect(),
        pairs_run: pairs.len(),
        pairs_failed: pairs.iter().filter(|pair| pair.verdict.is_none()).count(),
        items,
    })
}

/// What the first candidate earns in each category. A letter that stands twice in one report counts once, as
/// written first; a category without a letter cannot be told from others and counts nowhere.
fn by_letter(categories: &[CategoryWinner]) -> BTreeMap<char, f64> {
    let mut out = BTreeMap::new();
    for category in categories {
        if let Some(letter) = category.letter {
            out.entry(letter).or_insert(category.winner.first_points());
        }
    }
    out
}

fn reward(
    index: usize,
    overall: &Tally,
    categories: &BTreeMap<char, Tally>,
    rules: &GroupRules,
) -> ItemReward {
    let rates: BTreeMap<char, f64> =
        categories.iter().filter_map(|(letter, tally)| Some((*letter, tally.rate()?))).collect();
    let (mut sum, mut weights) = (0.0, 0.0);
    for (letter, weight) in WEIGHTED.iter().zip(rules.weights) {
        if let Some(rate) = rates.get(letter) {
            sum += weight * rate;
            weights += weight;
        }
    }
    let win_rate = overall.rate();
    let score = win_rate.map(|win_rate| match weights > 0.0 {
        true => {
            (OVERALL_SHARE * win_rate + CATEGORY_SHARE * sum / weights) / (OVERALL_SHARE + CATEGORY_SHARE)
        }
        false => win_rate,
    });
    let round = |value: f64| if rules.upstream { (value * 1000.0).round_ties_even() / 1000.0 } else { value };
    ItemReward { index, win_rate, categories: rates, score: score.map(round) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `A1 B2` means: category A to the first, B to the second; `=` is a tie.
    fn pair(i: usize, j: usize, verdict: &str) -> PairOutcome {
        let winner = |mark: &str| match mark {
            "1" => Winner::First,
            "2" => Winner::Second,
            _ => Winner::Tie,
        };
        let mut words = verdict.split_whitespace();
        let verdict = words.next().map(|overall| PairVerdict {
            winner: winner(overall),
            p_first: None,
            categories: words
                .map(|word| CategoryWinner {
                    name: word.to_owned(),
                    letter: word.chars().next().filter(char::is_ascii_alphabetic),
                    winner: winner(&word[1..]),
                })
                .collect(),
        });
        PairOutcome { i, j, verdict }
    }

    fn check(
        pairs: &[PairOutcome],
        rules: GroupRules,
        scores: &[Option<f64>],
        order: &[usize],
    ) -> GroupRewards {
        let rewards = group_rewards(scores.len(), pairs, &rules).unwrap();
        for (item, expected) in rewards.items.iter().zip(scores) {
            let near = item.score.zip(*expected).is_some_and(|(a, b)| (a - b).abs() < 1e-12);
            assert!(near || item.score == *expected, "{item:?} {expected:?}");
        }
        assert_eq!(rewards.order, order);
        rewards
    }

    #[test]
    fn a_reward_blends_the_win_rate_with_the_weighted_categories() {
        let pairs = [pair(0, 1, "1 A1 B2 C1 D2"), pair(0, 2, "1 A1 B1 C2 D2"), pair(1, 2, "2 A1 B2 C2")];
        // Item 0: 2 of 2; A 2/2, B 1/2, C 1/2, so (1 + 0.35 + 0.35) / 2.4 in pictures.
        let images = [0.3 + 0.7 * 1.7 / 2.4, 0.7 * (0.5 + 0.35) / 2.4, 0.3 * 0.5 + 0.7 * (0.35 + 0.7) / 2.4];
        let rewards = check(&pairs, GroupRules::IMAGES, &images.map(Some), &[0, 2, 1]);
        assert_eq!(rewards.items[0].categories[&'D'], 0.0);
        assert_eq!((rewards.pairs_run, rewards.pairs_failed), (3, 0));
        assert_eq!(rewards.matrix[1], [Some(0.0), None, Some(0.0)]);
        let videos = [0.3 + 0.7 * 2.0 / 3.0, 0.7 * 1.0 / 3.0, 0.3 * 0.5 + 0.7 * 1.5 / 3.0];
        check(&pairs, GroupRules::VIDEOS, &videos.map(Some), &[0, 2, 1]);
    }

    #[test]
    fn a_failed_pair_is_left_out_unless_upstream_is_to_be_reproduced() {
        let pairs = [pair(0, 1, "1 A1"), pair(0, 2, ""), pair(1, 2, "")];
        let rewards = check(&pairs, GroupRules::IMAGES, &[Some(1.0), Some(0.0), None], &[0, 1, 2]);
        assert_eq!((rewards.pairs_run, rewards.pairs_failed), (3, 2));
        assert_eq!(rewards.matrix[0], [None, Some(1.0), None]);
        let tie = GroupRules { failed: FailedPairs::Tie, ..GroupRules::IMAGES };
        check(&pairs, tie, &[Some(0.3 * 0.75 + 0.7), Some(0.075), Some(0.5)], &[0, 2, 1]);
        let upstream = GroupRules { upstream: true, ..GroupRules::IMAGES };
        // Without any category, the win rate alone is the reward.
        let scores = [Some(0.3 * 0.75 + 0.7), Some(0.075), Some(0.5)];
        check(&pairs, upstream, &scores, &[0, 2, 1]);
    }

    #[test]
    fn upstream_rewards_have_three_decimals() {
        let pairs = [pair(0, 1, "1 A1 B1 C2")];
        let exact = 0.3 + 0.7 * 1.7 / 2.4;
        check(&pairs, GroupRules::IMAGES, &[Some(exact), Some(0.7 * 0.7 / 2.4)], &[0, 1]);
        check(
            &pairs,
            GroupRules { upstream: true, ..GroupRules::IMAGES },
            &[Some(0.796), Some(0.204)],
            &[0, 1],
        );
    }

    #[test]
    fn a_letter_counts_once_and_no_letter_counts_nowhere() {
        let rewards =
            check(&[pair(0, 1, "1 A1 A2 ?2")], GroupRules::VIDEOS, &[Some(1.0), Some(0.0)], &[0, 1]);
        assert_eq!(rewards.items[0].categories, BTreeMap::from([('A', 1.0)]));
    }

    #[test]
    fn both_orders_of_a_pair_count_and_the_matrix_holds_their_mean() {
        let mut pairs = [pair(0, 1, "1"), pair(1, 0, "1"), pair(0, 1, "=")];
        for (pair, p) in pairs.iter_mut().zip([0.9, 0.6, 0.5]) {
            pair.verdict.as_mut().unwrap().p_first = Some(p);
        }
        let rewards = check(&pairs, GroupRules::IMAGES, &[Some(0.5), Some(0.5)], &[0, 1]);
        assert!((rewards.matrix[0][1].unwrap() - (0.9 + 0.4 + 0.5) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn pairs_outside_the_group_are_refused() {
        let refused =
            |pairs: &[PairOutcome], items| group_rewards(items, pairs, &GroupRules::IMAGES).unwrap_err();
        assert_eq!(refused(&[pair(0, 3, "1")], 3), GroupError::Pair { i: 0, j: 3, items: 3 });
        assert_eq!(refused(&[pair(1, 1, "")], 3), GroupError::Pair { i: 1, j: 1, items: 3 });
        assert_eq!(refused(&[], MAX_GROUP + 1), GroupError::TooLarge { items: MAX_GROUP + 1 });
        let mut odd = pair(0, 1, "1");
        odd.verdict.as_mut().unwrap().p_first = Some(f64::NAN);
        assert!(refused(&[odd], 2).to_string().contains("probability of NaN"));
    }
}
