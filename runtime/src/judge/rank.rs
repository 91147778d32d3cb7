//! `rank`: pairs of many candidates, judged together, and the order that follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use rewardrt_models::prompt::pack::Candidate;
use rewardrt_models::verdict::{
    GroupError, GroupRules, MAX_GROUP, PairOutcome, PairVerdict, Status, Winner, group_rewards,
};

use super::Inner;
use super::group::{Finished, Group, RankTiming, RankedPair, Ranking, Unanswered};
use super::look::{self, Look, Looks};
use super::pair::{Answered, Ask, Asked};
use super::plan::Plan;
use super::question::Question;
use crate::Error;
use crate::decode::{Completion, DecodeError, Request};
use crate::schedule::{Call, JobId};

/// Requests of a group that are ready beside those in slots, so that a slot that comes free finds the next.
const AHEAD: usize = 2;

pub(super) async fn run<F: FnMut(Finished<'_>) + ?Sized>(
    inner: &Arc<Inner>,
    call: &mut Call,
    group: &Arc<Group>,
    each: &mut F,
) -> Result<Ranking, Error> {
    check(inner, group)?;
    call.turn().await?;
    let mut timing = RankTiming { load: inner.load_ms, ..RankTiming::default() };
    let seen = look::all(inner, call, group, &mut timing).await?;
    let start = Instant::now();
    let mut plan = Plan::new(group.options.pairs, seen.items.len());
    let both_orders = group.options.ask.both_orders;
    let most = if both_orders { 2 * plan.most() } else { plan.most() };
    let mut run = Run {
        inner,
        call,
        group,
        seen: Arc::new(seen),
        fresh: Fresh::default(),
        most,
        done: 0,
        each,
        asked: BTreeMap::new(),
        pairs: Vec::new(),
        outcomes: Vec::new(),
        error: None,
    };
    while let Some(pairs) = plan.next(&run.standing()?) {
        run.round(&ordered(&pairs, both_orders)).await?;
    }
    timing.pairs = ms(start);
    run.finish(timing)
}

/// Refuses what this package and pack cannot be asked.
fn check(inner: &Inner, group: &Group) -> Result<(), Error> {
    let refuse = |text: String| Err(Error::Request(text));
    let (items, words) = (group.candidates.len(), group.answers.len());
    if items > MAX_GROUP {
        return Err(GroupError::TooLarge { items }.into());
    }
    if words != 0 && words != items {
        return refuse(format!("{words} answers in words for {items} candidates; give one for each"));
    }
    if items < 2 {
        return refuse(format!("a group of {items}; give at least two candidates"));
    }
    for j in 1..items {
        let ask = ask(inner, group, (0, j, AB));
        ask.check()?;
        ask.question.check(inner)?;
    }
    Ok(())
}

/// Names of the two orders of a pair.
const AB: &str = "ab";
const BA: &str = "ba";

/// A pair of the group: who is shown first, who second, and the name of the order.
pub(super) type Ordered = (usize, usize, &'static str);

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

/// The pairs of a group on their way.
struct Run<'a, F: ?Sized> {
    inner: &'a Arc<Inner>,
    call: &'a mut Call,
    group: &'a Arc<Group>,
    seen: Arc<Looks>,
    fresh: Fresh,
    /// Pairs of all rounds, at most, and those that are done.
    most: usize,
    done: usize,
    /// Told of every pair that is done.
    each: &'a mut F,
    /// What is being answered.
    asked: BTreeMap<JobId, Asking>,
    /// Every pair that was asked, and its outcome.
    pairs: Vec<RankedPair>,
    outcomes: Vec<PairOutcome>,
    /// Why the first pair that could not be run could not.
    error: Option<Error>,
}

/// A pair that is being answered.
struct Asking {
    pair: Ordered,
    asked: Asked,
    /// Its place among the pairs.
    place: usize,
    /// Tokens of its pictures that were seen for an earlier prompt.
    reused: usize,
}

/// Which pictures no prompt has shown yet.
#[derive(Default)]
struct Fresh {
    /// The numbers of candidates that were shown; none stands for what is beside them.
    shown: BTreeSet<Option<usize>>,
}

impl Fresh {
    /// Tokens that went through the tower and are shown for the first time.
    fn take(&mut self, seen: &Looks, (i, j, _): Ordered) -> usize {
        let mut first = |who: Option<usize>, look: &Look| if self.shown.insert(who) { look.fresh } else { 0 };
        first(None, &seen.shown) + first(Some(i), &seen.items[i]) + first(Some(j), &seen.items[j])
    }
}

impl<F: FnMut(Finished<'_>) + ?Sized> Run<'_, F> {
    fn rules(&self) -> GroupRules {
        let videos = self.inner.pack.task.shape().candidate == Candidate::Frames;
        let rules = if videos { GroupRules::VIDEOS } else { GroupRules::IMAGES };
        let options = &self.group.options;
        GroupRules { failed: options.failed, upstream: options.upstream, ..rules }
    }

    /// The win rate of each candidate so far, one half where there is none.
    fn standing(&self) -> Result<Vec<f64>, Error> {
        let rewards = group_rewards(self.seen.items.len(), &self.outcomes, &self.rules())?;
        Ok(rewards.items.iter().map(|item| item.win_rate.unwrap_or(0.5)).collect())
    }

    /// Asks the pairs of a round: as many are on their way as there are slots, and a few more.
    async fn round(&mut self, pairs: &[Ordered]) -> Result<(), Error> {
        let mut waiting = pairs.iter();
        loop {
            while self.asked.len() < self.inner.slots + AHEAD
                && let Some(&pair) = waiting.next()
            {
                self.ask(pair).await?;
            }
            if self.asked.is_empty() {
                return Ok(());
            }
            let (job, answer) = self.call.answer().await?;
            if let Some(asking) = self.asked.remove(&job) {
                self.settle(&asking, answer);
            }
        }
    }

    /// Puts a pair into the queue. An error is that of the whole group; a pair that cannot be asked fails alone.
    async fn ask(&mut self, pair: Ordered) -> Result<(), Error> {
        let (first, second, _) = pair;
        let place = self.pairs.len();
        self.pairs.push(RankedPair { first, second, answer: None, error: None });
        self.outcomes.push(PairOutcome { i: first, j: second, verdict: None });
        let (inner, group, seen) = (self.inner.clone(), self.group.clone(), self.seen.clone());
        let ready = self.call.post(&self.inner.preparers, move |()| Ok(ready(&inner, &group, &seen, pair)));
        let (asked, request) = match self.call.ready(ready).await? {
            Ok(ready) => ready,
            Err(error) => {
                self.fail(place, error);
                return Ok(());
            }
        };
        match self.call.submit(vec![request]).await {
            Ok(jobs) => {
                let (tokens, fresh) = (self.seen.tokens(pair), self.fresh.take(&self.seen, pair));
                let asking = Asking { pair, asked, place, reused: tokens - fresh };
                self.asked.extend(jobs.into_iter().zip([asking]));
                Ok(())
            }
            Err(Error::Decode(refused)) => {
                self.fail(place, refused.into());
                Ok(())
            }
            Err(over) => Err(over),
        }
    }

    /// Takes the answer of a pair.
    fn settle(&mut self, asking: &Asking, answer: Result<Completion, DecodeError>) {
        let ask = ask(self.inner, self.group, asking.pair);
        let answered =
            answer.map_err(Error::from).and_then(|done| ask.read(&asking.asked, &done, asking.reused));
        match answered {
            Ok(Answered { result, categories }) => {
                let verdict = result.winner.filter(|_| result.status.has_winner());
                let p_first = result.p_first;
                self.outcomes[asking.place].verdict =
                    verdict.map(|winner| PairVerdict { winner, p_first, categories });
                self.pairs[asking.place].answer = Some(result);
                self.advance(asking.place);
            }
            Err(error) => self.fail(asking.place, error),
        }
    }

    fn fail(&mut self, place: usize, error: Error) {
        self.pairs[place].error = Some(error.to_string());
        self.error.get_or_insert(error);
        self.advance(place);
    }

    fn advance(&mut self, place: usize) {
        self.done += 1;
        (self.each)(Finished { pair: &self.pairs[place], done: self.done, most: self.most });
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
        let looks = std::iter::once(&self.seen.shown).chain(&self.seen.items);
        let videos = looks.flat_map(|look| look.videos.iter().cloned()).collect();
        Ok(Ranking {
            rewards: group_rewards(self.seen.items.len(), &self.outcomes, &rules)?,
            unanswered,
            position_consistency: consistency(&self.outcomes),
            videos,
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

/// The prompt of a pair, and its request.
fn ready(inner: &Inner, group: &Group, seen: &Looks, pair: Ordered) -> Result<(Asked, Request), Error> {
    let looks = seen.of(pair);
    let ask = ask(inner, group, pair);
    let asked = ask.encode(&looks.iter().flat_map(|look| look.places.iter().cloned()).collect::<Vec<_>>())?;
    let views: Vec<_> = looks.iter().flat_map(|look| look.views.iter().cloned()).collect();
    // Nobody waits for one pair of a group.
    let request = Request { patient: true, ..ask.request(&asked, &views)? };
    Ok((asked, request))
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

pub(super) fn ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
