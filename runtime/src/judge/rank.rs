//! `rank`: pairs of many candidates, judged together, and the order that follows from them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rewardrt_models::package::ImageProcessing;
use rewardrt_models::prompt::pack::Candidate;
use rewardrt_models::spec::position::Span;
use rewardrt_models::verdict::{
    GroupError, GroupRules, MAX_GROUP, PairOutcome, PairVerdict, Status, Winner, group_rewards,
};

use super::Inner;
use super::group::{Group, MAX_GROUP_FEATURES, RankTiming, RankedPair, Ranking, Unanswered};
use super::pair::{Answered, Ask, Asked};
use super::plan::Plan;
use super::prepare;
use super::question::Question;
use super::types::Picture;
use crate::Error;
use crate::decode::{Completion, DecodeError, Request, Work};
use crate::session::Features;

pub(super) fn run(
    inner: &Inner,
    group: &Group,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Ranking, Error> {
    let params = check(inner, group)?;
    let mut timing = RankTiming { load: inner.load_ms, ..RankTiming::default() };
    let (shown, items) = look(inner, group, params, &mut timing)?;
    let start = Instant::now();
    let mut plan = Plan::new(group.options.pairs, items.len());
    let both_orders = group.options.ask.both_orders;
    let most = if both_orders { 2 * plan.most() } else { plan.most() };
    let mut run = Run {
        inner,
        group,
        shown,
        items,
        most,
        done: 0,
        progress,
        waiting: Vec::new().into_iter(),
        requests: 0,
        asked: BTreeMap::new(),
        pairs: Vec::new(),
        outcomes: Vec::new(),
        error: None,
    };
    while let Some(pairs) = plan.next(&run.standing()?) {
        run.waiting = ordered(&pairs, both_orders).into_iter();
        run.requests = 0;
        inner.engine()?.decoder.run_each(&mut run);
    }
    timing.pairs = ms(start);
    run.finish(timing)
}

/// Refuses what this package and pack cannot be asked.
fn check<'a>(inner: &'a Inner, group: &Group) -> Result<&'a ImageProcessing, Error> {
    let refuse = |text: String| Err(Error::Request(text));
    let (items, words) = (group.candidates.len(), group.answers.len());
    if items > MAX_GROUP {
        return Err(GroupError::TooLarge { items }.into());
    }
    if words != 0 && words != items {
        return refuse(format!("{words} answers in words for {items} candidates; give one for each"));
    }
    let mut params = refuse(format!("a group of {items}; give at least two candidates"));
    for j in 1..items {
        let ask = ask(inner, group, (0, j, AB));
        ask.check()?;
        params = Ok(ask.question.check(inner)?);
    }
    params
}

/// Names of the two orders of a pair.
const AB: &str = "ab";
const BA: &str = "ba";

/// A pair of the group: who is shown first, who second, and the name of the order.
type Ordered = (usize, usize, &'static str);

/// The pairs in the order in which they are asked: by who is shown first, whose prompts begin alike.
fn ordered(pairs: &[(usize, usize)], both_orders: bool) -> Vec<Ordered> {
    let mut all: Vec<Ordered> = pairs.iter().map(|&(i, j)| (i, j, AB)).collect();
    if both_orders {
        all.extend(pairs.iter().map(|&(i, j)| (j, i, BA)));
        all.sort_unstable();
    }
    all
}

fn ask<'a>(inner: &'a Inner, group: &'a Group, (i, j, order): Ordered) -> Ask<'a> {
    let question = Question {
        prompt: &group.prompt,
        shown: &group.shown,
        candidates: vec![&group.candidates[i], &group.candidates[j]],
        answers: [i, j].iter().filter_map(|&k| group.answers.get(k)).map(String::as_str).collect(),
        max_new_tokens: group.options.ask.max_new_tokens,
    };
    Ask { inner, question, order, options: &group.options.ask }
}

/// Pictures that were seen: those of one candidate, or those beside all of them.
struct Look {
    spans: Vec<Span>,
    features: Vec<Arc<Features>>,
    /// Tokens that went through the tower, for the first prompt that shows them.
    fresh: usize,
}

impl Look {
    fn tokens(&self) -> usize {
        self.spans.iter().map(Span::tokens).sum()
    }
}

/// Sees what is shown beside the candidates, then each candidate, one at a time, so that only features are held for all.
fn look(
    inner: &Inner,
    group: &Group,
    params: &ImageProcessing,
    timing: &mut RankTiming,
) -> Result<(Look, Vec<Look>), Error> {
    let vision = inner.package.manifest().vision.as_ref();
    let token = vision.map_or(0, |v| v.hidden as usize * (1 + v.deepstack as usize) * size_of::<f32>());
    let mut bytes = 0;
    let mut one = |pictures: &[Picture], place: &str| {
        let start = Instant::now();
        let named: Vec<&Picture> = pictures.iter().collect();
        // Every prompt shows what is beside the candidates and two of them.
        let of = group.shown.len() + 2 * pictures.len();
        let name = |i: usize| format!("{place}, picture {}", i + 1);
        let patches = prepare::patches(&named, of, group.options.ask.pixels, params, name)?;
        let spans: Vec<Span> = patches.iter().map(|p| p.span(params)).collect();
        bytes += token * spans.iter().map(Span::tokens).sum::<usize>();
        if bytes > MAX_GROUP_FEATURES {
            return Err(Error::Request(format!(
                "the pictures up to {place} take {bytes} bytes of features, over the limit of {MAX_GROUP_FEATURES}; \
                 give fewer or smaller ones"
            )));
        }
        timing.preprocess += ms(start);
        let seen = inner.engine()?.see(&patches)?;
        timing.vision += seen.ms;
        let fresh = spans.iter().map(Span::tokens).sum::<usize>() - seen.reused_tokens(&spans);
        Ok(Look { spans, features: seen.features, fresh })
    };
    let shown = one(&group.shown, "shown")?;
    let items = group.candidates.iter().enumerate();
    let items =
        items.map(|(i, pictures)| one(pictures, &format!("candidate {i}"))).collect::<Result<_, _>>()?;
    Ok((shown, items))
}

/// The pairs of a group on their way.
struct Run<'a> {
    inner: &'a Inner,
    group: &'a Group,
    shown: Look,
    items: Vec<Look>,
    /// Pairs of all rounds, at most, and those that are done.
    most: usize,
    done: usize,
    /// Told how many pairs are done, and how many there are.
    progress: &'a mut dyn FnMut(usize, usize),
    /// Pairs of this round that are still to be asked.
    waiting: std::vec::IntoIter<Ordered>,
    /// Requests of this round.
    requests: usize,
    /// What is being answered, by the number of its request.
    asked: BTreeMap<usize, Asking<'a>>,
    /// Every pair that was asked, and its outcome.
    pairs: Vec<RankedPair>,
    outcomes: Vec<PairOutcome>,
    /// Why the first pair that could not be run could not.
    error: Option<Error>,
}

/// A pair that is being answered.
struct Asking<'a> {
    ask: Ask<'a>,
    asked: Asked,
    /// Its place among the pairs.
    place: usize,
    /// Tokens of its pictures that were seen for an earlier prompt.
    reused: usize,
}

impl<'a> Run<'a> {
    fn rules(&self) -> GroupRules {
        let videos = self.inner.pack.task.shape().candidate == Candidate::Frames;
        let rules = if videos { GroupRules::VIDEOS } else { GroupRules::IMAGES };
        let options = &self.group.options;
        GroupRules { failed: options.failed, upstream: options.upstream, ..rules }
    }

    /// The win rate of each candidate so far, one half where there is none.
    fn standing(&self) -> Result<Vec<f64>, Error> {
        let rewards = group_rewards(self.items.len(), &self.outcomes, &self.rules())?;
        Ok(rewards.items.iter().map(|item| item.win_rate.unwrap_or(0.5)).collect())
    }

    /// The prompt of a pair, and its request.
    fn prepare(&mut self, pair: Ordered) -> Result<(Asking<'a>, Request), Error> {
        let (i, j, _) = pair;
        let looks = [&self.shown, &self.items[i], &self.items[j]];
        let ask = ask(self.inner, self.group, pair);
        let asked = ask.encode(looks.iter().flat_map(|look| look.spans.iter().copied()).collect())?;
        let features: Vec<_> = looks.iter().flat_map(|look| look.features.iter().cloned()).collect();
        let request = ask.request(&asked, &features)?;
        let tokens: usize = looks.iter().map(|look| look.tokens()).sum();
        let mut fresh = std::mem::take(&mut self.shown.fresh);
        fresh += std::mem::take(&mut self.items[i].fresh) + std::mem::take(&mut self.items[j].fresh);
        let place = self.pairs.len() - 1;
        Ok((Asking { ask, asked, place, reused: tokens - fresh }, request))
    }

    /// Takes the answer of a pair.
    fn settle(&mut self, asking: &Asking<'_>, result: Result<Completion, DecodeError>) {
        let answered =
            result.map_err(Error::from).and_then(|done| asking.ask.read(&asking.asked, &done, asking.reused));
        match answered {
            Ok(Answered { result, categories }) => {
                let verdict = result.winner.filter(|_| result.status.has_winner());
                let p_first = result.p_first;
                self.outcomes[asking.place].verdict =
                    verdict.map(|winner| PairVerdict { winner, p_first, categories });
                self.pairs[asking.place].answer = Some(result);
                self.advance();
            }
            Err(error) => self.fail(asking.place, error),
        }
    }

    fn fail(&mut self, place: usize, error: Error) {
        self.pairs[place].error = Some(error.to_string());
        self.error.get_or_insert(error);
        self.advance();
    }

    fn advance(&mut self) {
        self.done += 1;
        (self.progress)(self.done, self.most);
    }

    fn finish(self, timing_ms: RankTiming) -> Result<Ranking, Error> {
        let rules = self.rules();
        let answers = || self.pairs.iter().filter_map(|pair| pair.answer.as_ref());
        let usage = answers().map(|answer| answer.usage).sum();
        let count = |status: Status| answers().filter(|answer| answer.status == status).count();
        let failed = self.pairs.len() - answers().count();
        let unanswered =
            Unanswered { truncated: count(Status::Truncated), invalid: count(Status::Invalid), failed };
        match self.error {
            Some(error) if failed == self.pairs.len() => return Err(error),
            _ => {}
        }
        let ask = &self.group.options.ask;
        Ok(Ranking {
            rewards: group_rewards(self.items.len(), &self.outcomes, &rules)?,
            unanswered,
            position_consistency: consistency(&self.outcomes),
            pairs: self.pairs,
            plan: self.group.options.pairs,
            rules,
            mode: ask.mode(),
            pack: self.inner.pack.identity(),
            pixels: ask.pixels,
            sampling: self.inner.sampling(ask.sampling),
            usage,
            timing_ms,
            model: self.inner.model(),
        })
    }
}

impl Work for Run<'_> {
    fn next(&mut self) -> Option<Request> {
        loop {
            let pair = self.waiting.next()?;
            let (first, second, _) = pair;
            self.pairs.push(RankedPair { first, second, answer: None, error: None });
            self.outcomes.push(PairOutcome { i: first, j: second, verdict: None });
            match self.prepare(pair) {
                Ok((asking, request)) => {
                    self.asked.insert(self.requests, asking);
                    self.requests += 1;
                    // Nobody waits for one pair of a group.
                    return Some(Request { patient: true, ..request });
                }
                Err(error) => self.fail(self.pairs.len() - 1, error),
            }
        }
    }

    fn done(&mut self, number: usize, result: Result<Completion, DecodeError>) {
        if let Some(asking) = self.asked.remove(&number) {
            self.settle(&asking, result);
        }
    }
}

/// Share of the pairs with a verdict in both orders whose two verdicts name the same candidate.
fn consistency(outcomes: &[PairOutcome]) -> Option<f64> {
    let winners = outcomes.iter().filter_map(|o| Some(((o.i, o.j), o.verdict.as_ref()?.winner)));
    let winners: BTreeMap<(usize, usize), Winner> = winners.collect();
    let twice = winners.iter().filter(|((i, j), _)| i < j);
    let agree: Vec<bool> =
        twice.filter_map(|((i, j), winner)| Some(winners.get(&(*j, *i))?.flipped() == *winner)).collect();
    let agreeing = agree.iter().filter(|agree| **agree).count();
    (!agree.is_empty()).then(|| agreeing as f64 / agree.len() as f64)
}

fn ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
