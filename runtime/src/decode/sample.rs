//! Choosing a token from logits.
//!
//! The order is that of the reference implementation's generation: repetition penalty on the raw scores, then
//! temperature, then the `top_k` best, then the smallest set whose probability reaches `top_p`, then a draw. Log-
//! probabilities are always those of the raw scores.

use std::collections::BTreeSet;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use serde::Serialize;

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Sampling {
    /// The best token at every step, the lowest id of equals.
    Greedy,
    /// A draw, reproducible by its seed.
    Seeded {
        /// Divisor of the scores; at 0 nothing is drawn, the best token after the penalty is taken.
        temperature: f32,
        /// The smallest set of best tokens that reaches this probability is considered; 1 means all.
        top_p: f32,
        /// Most tokens considered; 0 means all. Ties with the last one stay.
        top_k: u32,
        /// Divides positive and multiplies negative scores of tokens that stand in the prompt or the answer; 1
        /// means nothing.
        repetition_penalty: f32,
        /// The same seed gives the same draws on every machine.
        seed: u64,
    },
}

/// The numbers of a [`Sampling`].
#[derive(Debug, Clone, Copy, PartialEq)]
struct Numbers {
    temperature: f32,
    top_p: f32,
    top_k: u32,
    repetition_penalty: f32,
    seed: u64,
}

const GREEDY: Numbers = Numbers { temperature: 0.0, top_p: 1.0, top_k: 0, repetition_penalty: 1.0, seed: 0 };

impl Sampling {
    fn numbers(self) -> Numbers {
        match self {
            Sampling::Greedy => GREEDY,
            Sampling::Seeded { temperature, top_p, top_k, repetition_penalty, seed } => {
                Numbers { temperature, top_p, top_k, repetition_penalty, seed }
            }
        }
    }

    /// The field that no sampling can have, and why.
    pub(super) fn fault(self) -> Option<(&'static str, String)> {
        let n = self.numbers();
        let not_negative = n.temperature.is_finite() && n.temperature >= 0.0;
        let positive = n.repetition_penalty.is_finite() && n.repetition_penalty > 0.0;
        let fields = [
            ("temperature", n.temperature, not_negative, "0 or more"),
            ("top_p", n.top_p, n.top_p > 0.0 && n.top_p <= 1.0, "over 0, at most 1"),
            ("repetition_penalty", n.repetition_penalty, positive, "over 0"),
        ];
        let bad = fields.into_iter().find(|(_, _, fits, _)| !fits);
        bad.map(|(field, value, _, range)| (field, format!("{value} is not {range}")))
    }
}

/// A sampler of one sequence.
#[derive(Debug, Clone)]
pub(super) struct Sampler {
    numbers: Numbers,
    random: ChaCha12Rng,
    /// Tokens under the penalty; left empty when there is none.
    seen: BTreeSet<u32>,
}

impl Sampler {
    pub(super) fn new(sampling: Sampling, prompt: &[u32]) -> Sampler {
        let numbers = sampling.numbers();
        let penalised = if numbers.repetition_penalty == 1.0 { &[] } else { prompt };
        let random = ChaCha12Rng::seed_from_u64(numbers.seed);
        Sampler { numbers, random, seen: penalised.iter().copied().collect() }
    }

    /// A choice of the next token. Scores are finite, or negative infinity for tokens that are not to be chosen; one at
    /// least is finite.
    pub(super) fn choose(&mut self, scores: &[f32]) -> u32 {
        let penalised = self.penalise(scores);
        let scores = penalised.as_deref().unwrap_or(scores);
        if self.numbers.temperature == 0.0 { best(scores) } else { self.draw(scores) }
    }

    /// Learns which token is next.
    pub(super) fn took(&mut self, id: u32) {
        if self.numbers.repetition_penalty != 1.0 {
            self.seen.insert(id);
        }
    }

    fn penalise(&self, scores: &[f32]) -> Option<Vec<f32>> {
        if self.seen.is_empty() {
            return None;
        }
        let mut out = scores.to_vec();
        for &id in &self.seen {
            if let Some(score) = out.get_mut(id as usize) {
                let penalty = self.numbers.repetition_penalty;
                *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
            }
        }
        Some(out)
    }

    fn draw(&mut self, scores: &[f32]) -> u32 {
        let kept = keep(scores, &self.numbers);
        let total: f64 = kept.iter().map(|(_, p)| p).sum();
        // 53 random bits make a uniform number below 1.
        let uniform = (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let mut left = uniform * total;
        for &(id, p) in &kept {
            left -= p;
            if left < 0.0 {
                return id;
            }
        }
        kept.last().map_or(0, |&(id, _)| id)
    }
}

/// The tokens that may be drawn, best first, with probabilities relative to the best.
fn keep(scores: &[f32], numbers: &Numbers) -> Vec<(u32, f64)> {
    let open = scores.iter().enumerate().filter(|(_, score)| **score > f32::NEG_INFINITY);
    let mut order: Vec<(u32, f32)> =
        open.map(|(id, score)| (id as u32, score / numbers.temperature)).collect();
    let better = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let k = numbers.top_k as usize;
    if k > 0 && k < order.len() {
        let (_, &mut (_, last), _) = order.select_nth_unstable_by(k - 1, better);
        order.retain(|&(_, score)| score >= last);
    }
    order.sort_unstable_by(better);
    let top = order.first().map_or(0.0, |&(_, score)| score);
    let mut kept: Vec<(u32, f64)> =
        order.into_iter().map(|(id, score)| (id, f64::from(score - top).exp())).collect();
    if numbers.top_p < 1.0 {
        let reach = f64::from(numbers.top_p) * kept.iter().map(|(_, p)| p).sum::<f64>();
        let mut ahead = 0.0;
        kept.retain(|&(_, p)| {
            let stays = ahead == 0.0 || ahead < reach;
            ahead += p;
            stays
        });
    }
    kept
}

/// The best token, the lowest id of equals.
fn best(scores: &[f32]) -> u32 {
    let mut at = 0;
    for (id, score) in scores.iter().enumerate() {
        if *score > scores[at] {
            at = id;
        }
    }
    at as u32
}

/// The logarithm of a softmax: `score - normaliser`, summed in 64 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogSoftmax {
    top: f32,
    log_sum: f64,
}

impl LogSoftmax {
    pub(super) fn of(scores: &[f32]) -> LogSoftmax {
        let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = scores.iter().map(|score| f64::from((score - top).exp())).sum();
        LogSoftmax { top, log_sum: sum.ln() }
    }

    pub(super) fn at(&self, score: f32) -> f32 {
        (f64::from(score) - f64::from(self.top) - self.log_sum) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: Numbers =
        Numbers { temperature: 1.0, top_k: 0, top_p: 1.0, repetition_penalty: 1.0, seed: 3 };

    impl Sampler {
        fn pick(&mut self, scores: &[f32]) -> u32 {
            let id = self.choose(scores);
            self.took(id);
            id
        }
    }

    fn seeded(n: Numbers) -> Sampling {
        let Numbers { temperature, top_p, top_k, repetition_penalty, seed } = n;
        Sampling::Seeded { temperature, top_p, top_k, repetition_penalty, seed }
    }

    fn sampler(numbers: Numbers, prompt: &[u32]) -> Sampler {
        Sampler::new(seeded(numbers), prompt)
    }

    /// Logits of the probabilities 0.5, 0.3, 0.15, 0.05, in another order of ids.
    fn scores() -> Vec<f32> {
        [0.15_f32, 0.5, 0.05, 0.3].iter().map(|p| p.ln() + 2.0).collect()
    }

    fn check(numbers: Numbers, expected: &[(u32, f64)]) {
        let kept = keep(&scores(), &numbers);
        let total: f64 = kept.iter().map(|(_, p)| p).sum();
        assert_eq!(
            kept.iter().map(|k| k.0).collect::<Vec<_>>(),
            expected.iter().map(|e| e.0).collect::<Vec<_>>()
        );
        for ((_, got), (_, wanted)) in kept.iter().zip(expected) {
            assert!((got / total - wanted).abs() < 1e-6, "{kept:?}");
        }
    }

    #[test]
    fn filters_keep_what_hand_computation_keeps() {
        check(SAMPLED, &[(1, 0.5), (3, 0.3), (0, 0.15), (2, 0.05)]);
        check(Numbers { top_k: 2, ..SAMPLED }, &[(1, 0.625), (3, 0.375)]);
        check(Numbers { top_p: 0.79, ..SAMPLED }, &[(1, 0.625), (3, 0.375)]);
        check(Numbers { top_p: 0.81, ..SAMPLED }, &[(1, 0.5 / 0.95), (3, 0.3 / 0.95), (0, 0.15 / 0.95)]);
        check(Numbers { top_p: 0.01, ..SAMPLED }, &[(1, 1.0)]);
        // The filter on probability sees what the filter on rank left: 0.5 / 0.8 reaches 0.6.
        check(Numbers { top_k: 2, top_p: 0.6, ..SAMPLED }, &[(1, 1.0)]);
        // At temperature 0.5 probabilities are squared: 0.25, 0.09, 0.0225, 0.0025 of 0.365.
        let cold = Numbers { temperature: 0.5, top_k: 3, ..SAMPLED };
        check(cold, &[(1, 0.25 / 0.3625), (3, 0.09 / 0.3625), (0, 0.0225 / 0.3625)]);
    }

    #[test]
    fn ties_at_the_last_rank_stay() {
        let kept = keep(&[1.0, 0.0, 1.0, 0.0], &Numbers { top_k: 1, ..SAMPLED });
        assert_eq!(kept.iter().map(|k| k.0).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn greedy_takes_the_lowest_id_of_equals() {
        let mut sampler = sampler(GREEDY, &[]);
        assert_eq!(sampler.pick(&[0.0, 2.0, 2.0]), 1);
        assert_eq!(sampler.pick(&[-1.0; 4]), 0);
        assert_eq!(Sampler::new(Sampling::Greedy, &[]).pick(&[0.0, 2.0, 2.0]), 1);
    }

    #[test]
    fn the_penalty_divides_positive_and_multiplies_negative_scores_of_seen_tokens() {
        let mut sampler = sampler(Numbers { repetition_penalty: 2.0, ..GREEDY }, &[0, 2]);
        assert_eq!(sampler.penalise(&[3.0, 1.0, -1.0]).unwrap(), [1.5, 1.0, -2.0]);
        // 3 / 2 still wins; then 1.6 of the unseen token beats it, and is seen itself afterwards.
        assert_eq!(sampler.pick(&[3.0, 1.0, -1.0]), 0);
        assert_eq!(sampler.pick(&[3.0, 1.6, -1.0]), 1);
        assert_eq!(sampler.pick(&[3.0, 1.6, -1.0]), 0);
    }

    #[test]
    fn draws_follow_the_probabilities_and_the_seed() {
        let draw = |seed| {
            let mut sampler = sampler(Numbers { seed, ..SAMPLED }, &[]);
            (0..4000).map(|_| sampler.pick(&scores())).collect::<Vec<_>>()
        };
        assert_eq!(draw(11), draw(11));
        assert_ne!(draw(11), draw(12));
        for (id, p) in [(0, 0.15), (1, 0.5), (2, 0.05), (3, 0.3)] {
            let share = draw(11).iter().filter(|&&d| d == id).count() as f64 / 4000.0;
            // Four standard deviations of 4000 draws.
            assert!((share - p).abs() < 4.0 * (p * (1.0 - p) / 4000.0_f64).sqrt(), "{id}: {share}");
        }
    }

    #[test]
    fn log_probabilities_are_those_of_the_softmax() {
        let softmax = LogSoftmax::of(&scores());
        for (score, p) in scores().iter().zip([0.15_f32, 0.5, 0.05, 0.3]) {
            assert!((softmax.at(*score) - p.ln()).abs() < 1e-6);
        }
        let far = LogSoftmax::of(&[1e30, -1e30]);
        assert_eq!((far.at(1e30), far.at(-1e30)), (0.0, -2e30));
    }

    #[test]
    fn values_out_of_range_are_named() {
        let fault = |n: Numbers| seeded(n).fault().map(|(field, _)| field);
        assert_eq!(fault(SAMPLED), None);
        assert_eq!(fault(GREEDY), None);
        assert_eq!(fault(Numbers { temperature: f32::NAN, ..SAMPLED }), Some("temperature"));
        assert_eq!(fault(Numbers { temperature: -0.1, ..SAMPLED }), Some("temperature"));
        assert_eq!(fault(Numbers { top_p: 0.0, ..SAMPLED }), Some("top_p"));
        assert_eq!(fault(Numbers { top_p: 1.1, ..SAMPLED }), Some("top_p"));
        assert_eq!(fault(Numbers { repetition_penalty: 0.0, ..SAMPLED }), Some("repetition_penalty"));
    }
}
