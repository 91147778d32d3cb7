//! The rules of the schedule as a state machine: no thread, no clock, no model. It is told what happened and what time
//! it is, and says what is to be done.
//!
//! A *call* is what a caller waits for; it has a place from its entry to its end. It gets a *turn* to make its pictures
//! ready, and then submits *requests*, each of which takes a slot of the decoder and tokens of its cache.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::ScheduleError;
use super::stats::Stats;
use super::turns::{Class, Fair, Turns, Who};

/// Longest time that a refused caller is told to wait.
const MOST_RETRY: Duration = Duration::from_secs(3600);
/// Weight of the newest request in the mean time of one: the last ten or so count.
const NEWEST: f64 = 0.2;

/// Names a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CallId(u64);

/// Names a request of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct JobId(u64);

/// Everything that is finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Requests that are decoded together.
    pub(crate) slots: usize,
    /// Tokens that a slot holds.
    pub(crate) slot_tokens: usize,
    /// Tokens that all slots together may hold, prompts and answers: what a run's attention reads at most.
    pub(crate) kv_tokens: usize,
    /// Calls that may wait: there are never more calls than slots and these.
    pub(crate) queue: usize,
    /// Single calls that may have pictures ready, or be making them, and no slot yet.
    pub(crate) singles_ahead: usize,
    /// Groups that may be at work: each holds the features of all its candidates.
    pub(crate) groups: usize,
}

/// Why a call ended before its caller ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Its deadline passed.
    Expired,
    /// A thread stopped after a fault.
    Broken(Arc<str>),
    /// The judge was closed.
    Closed,
}

impl From<End> for ScheduleError {
    fn from(end: End) -> ScheduleError {
        match end {
            End::Expired => ScheduleError::Expired,
            End::Broken(reason) => ScheduleError::Broken { reason },
            End::Closed => ScheduleError::Closed,
        }
    }
}

/// How a caller left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// With an answer.
    Done,
    /// With an error.
    Failed,
    /// It did not wait for either.
    Cancelled,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// The call may make its pictures ready.
    Turn(CallId),
    /// The call is over; its requests have gone.
    Over(CallId, End),
    /// The request leaves its slot for good, before the next step.
    Stop(JobId),
    /// The request leaves its slot before the next step, and will start again from its prompt.
    Evict(JobId),
    /// The request gets a slot.
    Start(JobId),
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It will never fit.
    TooLong {
        /// Tokens of its prompt and answer.
        needed: usize,
        /// Tokens that there are.
        available: usize,
    },
    /// Its call is over.
    Gone,
}

struct Call {
    who: Who,
    deadline: Option<Instant>,
    turn: Turn,
    jobs: Vec<JobId>,
}

/// Where a call stands with its turn to make pictures ready.
#[derive(PartialEq, Eq)]
enum Turn {
    Waits,
    Has,
    Gone,
}

struct Job {
    /// None when the caller has left.
    call: Option<CallId>,
    who: Who,
    tokens: usize,
    /// When it got its slot; none while it waits.
    since: Option<Instant>,
    /// It keeps its slot from single questions: it gave way once, or was next before one that waited.
    keeps: bool,
}

/// The schedule.
pub(crate) struct Machine {
    limits: Limits,
    names: u64,
    calls: BTreeMap<CallId, Call>,
    jobs: BTreeMap<JobId, Job>,
    /// Calls that wait for their turn, single ones and groups.
    turns: [Turns<CallId>; 2],
    /// How many have it.
    has_turn: [usize; 2],
    /// Requests that wait for a slot.
    waiting: Fair<JobId>,
    /// Mean time of a request in its slot, seconds.
    mean: Option<f64>,
    /// Why nothing is taken any more.
    over: Option<End>,
    counts: Stats,
}

impl Machine {
    pub(crate) fn new(limits: Limits) -> Machine {
        Machine {
            limits,
            names: 0,
            calls: BTreeMap::new(),
            jobs: BTreeMap::new(),
            turns: [Turns::new(), Turns::new()],
            has_turn: [0; 2],
            waiting: Fair::new(),
            mean: None,
            over: None,
            counts: Stats::default(),
        }
    }

    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    /// A caller comes. Refused at once when there are too many, before anything is done for it.
    pub(crate) fn enter(
        &mut self,
        now: Instant,
        who: Who,
        deadline: Option<Instant>,
    ) -> Result<CallId, ScheduleError> {
        if let Some(end) = &self.over {
            self.counts.refused += 1;
            return Err(end.clone().into());
        }
        if self.calls.len() >= self.limits.slots + self.limits.queue {
            self.counts.refused += 1;
            return Err(ScheduleError::Busy { calls: self.calls.len(), retry_after: self.retry_after() });
        }
        self.counts.entered += 1;
        if deadline.is_some_and(|deadline| deadline <= now) {
            self.counts.expired += 1;
            return Err(ScheduleError::Expired);
        }
        let id = CallId(self.name());
        self.calls.insert(id, Call { who, deadline, turn: Turn::Waits, jobs: Vec::new() });
        self.turns[who.class as usize].push(who.client, id);
        Ok(id)
    }

    /// Turns that can be had now. To be asked after every event but [`Machine::tick`], whose actions hold them.
    pub(crate) fn turns(&mut self) -> Vec<Action> {
        let most = [self.limits.singles_ahead, self.limits.groups];
        let mut actions = Vec::new();
        for class in [Class::Single as usize, Class::Group as usize] {
            while self.has_turn[class] < most[class] {
                let Some(id) = self.turns[class].pop() else { break };
                if let Some(call) = self.calls.get_mut(&id) {
                    call.turn = Turn::Has;
                    self.has_turn[class] += 1;
                    actions.push(Action::Turn(id));
                }
            }
        }
        actions
    }

    /// A request of a call wants a slot, and this many tokens for its prompt and answer.
    pub(crate) fn submit(&mut self, id: CallId, tokens: usize) -> Result<JobId, Unfit> {
        let available = self.limits.slot_tokens.min(self.limits.kv_tokens);
        if tokens > available {
            return Err(Unfit::TooLong { needed: tokens, available });
        }
        let job = JobId(self.name());
        let call = self.calls.get_mut(&id).ok_or(Unfit::Gone)?;
        call.jobs.push(job);
        let who = call.who;
        self.jobs.insert(job, Job { call: Some(id), who, tokens, since: None, keeps: false });
        self.waiting.push(who, job);
        Ok(job)
    }

    /// The decoder is done with a request, however it ended. False when nobody waits for it any more.
    pub(crate) fn ended(&mut self, now: Instant, id: JobId) -> bool {
        let Some(job) = self.jobs.remove(&id) else { return false };
        if let Some(since) = job.since {
            let time = now.saturating_duration_since(since).as_secs_f64();
            self.mean = Some(self.mean.map_or(time, |mean| mean + NEWEST * (time - mean)));
        }
        let call = job.call.and_then(|call| self.calls.get_mut(&call));
        call.is_some_and(|call| {
            call.jobs.retain(|job| *job != id);
            true
        })
    }

    /// A caller leaves. What it still waits for is taken out of the queue now, and out of the slots by the next tick.
    pub(crate) fn leave(&mut self, id: CallId, left: Left) {
        if self.remove(id) {
            let count = match left {
                Left::Done => &mut self.counts.done,
                Left::Failed => &mut self.counts.failed,
                Left::Cancelled => &mut self.counts.cancelled,
            };
            *count += 1;
        }
    }

    /// What is to be done before the next step.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        let late = |call: &Call| call.deadline.is_some_and(|deadline| deadline <= now);
        let late: Vec<CallId> = self.calls.iter().filter(|(_, call)| late(call)).map(|(id, _)| *id).collect();
        for id in late {
            self.remove(id);
            self.counts.expired += 1;
            actions.push(Action::Over(id, End::Expired));
        }
        let left: Vec<JobId> =
            self.jobs.iter().filter(|(_, job)| job.call.is_none()).map(|(id, _)| *id).collect();
        for id in left {
            self.jobs.remove(&id);
            actions.push(Action::Stop(id));
        }
        while let Some((class, id)) = self.waiting.peek() {
            let tokens = self.jobs.get(&id).map_or(0, |job| job.tokens);
            if self.fits(tokens, 0) {
                self.waiting.pop();
                let overtook = class == Class::Group && self.waiting.has_singles();
                self.start(now, id, overtook);
                actions.push(Action::Start(id));
            } else if let Some(other) = self.gives_way(class, tokens) {
                self.evict(other);
                actions.push(Action::Evict(other));
            } else {
                // Whoever is next waits for its room, and nobody overtakes it: else the largest would wait for ever.
                break;
            }
        }
        actions.extend(self.turns());
        actions
    }

    /// Ends every call: nothing is taken any more.
    pub(crate) fn end(&mut self, end: &End) -> Vec<Action> {
        if self.over.is_some() {
            return Vec::new();
        }
        self.over = Some(end.clone());
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        let mut actions = Vec::new();
        for id in calls {
            self.remove(id);
            self.counts.failed += 1;
            actions.push(Action::Over(id, end.clone()));
        }
        self.jobs.clear();
        actions
    }

    /// Why nothing is taken any more.
    pub(crate) fn over(&self) -> Option<&End> {
        self.over.as_ref()
    }

    /// When the next call expires.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.calls.values().filter_map(|call| call.deadline).min()
    }

    /// Whether the decoder has work.
    pub(crate) fn is_running(&self) -> bool {
        self.jobs.values().any(|job| job.since.is_some())
    }

    /// A step was made, and so many tokens with it.
    pub(crate) fn stepped(&mut self, tokens: u64) {
        self.counts.steps += 1;
        self.counts.tokens += tokens;
    }

    /// Pictures went through the tower, or did not have to.
    pub(crate) fn saw(&mut self, seen: u64, reused: u64) {
        self.counts.vision_seen += seen;
        self.counts.vision_reused += reused;
    }

    /// Counters, and what they stand at now.
    pub(crate) fn stats(&self) -> Stats {
        let running = self.jobs.values().filter(|job| job.since.is_some()).count();
        let at_work = |call: &Call| call.jobs.iter().any(|id| self.is_in_slot(*id));
        Stats {
            calls: self.calls.len(),
            queued: self.calls.values().filter(|call| !at_work(call)).count(),
            waiting: self.jobs.len() - running,
            running,
            slots_free: self.limits.slots - running,
            kv_reserved: self.reserved(),
            kv_tokens: self.limits.kv_tokens,
            ..self.counts
        }
    }

    fn is_in_slot(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|job| job.since.is_some())
    }

    fn running(&self) -> impl Iterator<Item = (JobId, &Job, Instant)> {
        self.jobs.iter().filter_map(|(id, job)| Some((*id, job, job.since?)))
    }

    fn reserved(&self) -> usize {
        self.running().map(|(_, job, _)| job.tokens).sum()
    }

    /// Whether there is a slot and room for this many tokens, if one gave back `given` with its slot.
    fn fits(&self, tokens: usize, given: usize) -> bool {
        let slots = self.limits.slots + usize::from(given > 0);
        self.running().count() < slots && self.reserved() + tokens <= self.limits.kv_tokens + given
    }

    /// Of a group's requests the one that loses least, when a single question would else wait: single questions have
    /// half of the slots if they want them. Each gives way once, so that no work is lost twice.
    fn gives_way(&self, class: Class, tokens: usize) -> Option<JobId> {
        let singles = self.running().filter(|(_, job, _)| job.who.class == Class::Single).count();
        if class == Class::Group || singles >= self.limits.slots.div_ceil(2) {
            return None;
        }
        let of_group = self.running().filter(|(_, job, _)| job.who.class == Class::Group && !job.keeps);
        let newest = of_group.filter(|(_, job, _)| self.fits(tokens, job.tokens)).max_by_key(|of| of.2);
        newest.map(|(id, ..)| id)
    }

    fn start(&mut self, now: Instant, id: JobId, keeps: bool) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.since = Some(now);
        job.keeps |= keeps;
        self.counts.admitted += 1;
        // A single call's pictures are in its request now; a group's stay until its last pair.
        if job.who.class == Class::Single
            && let Some(call) = job.call.and_then(|call| self.calls.get_mut(&call))
            && call.turn == Turn::Has
        {
            call.turn = Turn::Gone;
            self.has_turn[Class::Single as usize] -= 1;
        }
    }

    fn evict(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        (job.since, job.keeps) = (None, true);
        self.counts.gave_way += 1;
        self.waiting.push_back_in(job.who, id);
    }

    /// Takes a call out, its turn, and its requests that wait; those in a slot are marked to leave it.
    fn remove(&mut self, id: CallId) -> bool {
        let Some(call) = self.calls.remove(&id) else { return false };
        let class = call.who.class as usize;
        match call.turn {
            Turn::Waits => drop(self.turns[class].remove(call.who.client, id)),
            Turn::Has => self.has_turn[class] -= 1,
            Turn::Gone => {}
        }
        for job in call.jobs {
            if self.waiting.remove(call.who, job) {
                self.jobs.remove(&job);
            } else if let Some(job) = self.jobs.get_mut(&job) {
                job.call = None;
            }
        }
        true
    }

    /// Seconds until those that wait have had a slot, at the pace of the last requests.
    fn retry_after(&self) -> u64 {
        let ahead = self.calls.len().saturating_sub(self.limits.slots) + 1;
        let seconds = self.mean.unwrap_or(0.0) * ahead as f64 / self.limits.slots.max(1) as f64;
        (seconds.ceil() as u64).clamp(1, MOST_RETRY.as_secs())
    }
}
