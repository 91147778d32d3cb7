//! Slots, admission, and what becomes of a run's logits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rewardrt_models::package::PositionRule;
use rewardrt_models::spec::position::Rotary;

use super::check::check;
use super::draft;
use super::pace::{Pace, Shapes};
use super::plan::Plan;
use super::prefix::Held;
use super::sequence::Sequence;
use super::settle::settle;
use super::{Completion, DecodeError, Event, Refusal, Request, Ticket};
use crate::session::{DecoderSession, Geometry, SessionError, StepInput};

/// How an engine runs. What requests are answered is the same with any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What runs look like.
    pub shapes: Shapes,
    /// Whether the beginnings of prompts are shared, see [`Request::prefix`].
    pub reuse: bool,
    /// Whether drafts are verified, see [`Request::drafts`]: not in [`Shapes::Fixed`], where every step is alike, and not
    /// where layers keep recurrent states, which cannot be taken back behind a wrong draft.
    pub speculate: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { shapes: Shapes::Measured, reuse: true, speculate: true }
    }
}

/// Continuous batching over the slots of one decoder session.
pub struct Engine<S> {
    session: S,
    rotary: Rotary,
    slots: Vec<Option<Sequence>>,
    held: Held,
    speculate: bool,
    pace: Pace,
    /// The tensors of the last run, whose memory serves the next.
    input: StepInput,
    clock: Clock,
    tickets: u64,
    /// Events of sequences that advanced while [`Engine::run_all`] waited for its own.
    backlog: Vec<(Ticket, Event)>,
}

/// Tells the time, from any start.
type Clock = Box<dyn FnMut() -> Duration + Send>;

impl<S: DecoderSession> Engine<S> {
    /// An engine with the session's slots, all free. `rule` is the model's; with another model's rule every run is
    /// refused by the session, whose rotary rows are of another width.
    pub fn new(session: S, rule: &PositionRule) -> Engine<S> {
        let slots = (0..session.geometry().slots).map(|_| None).collect();
        let (start, count) = (Instant::now(), session.geometry().slots);
        let held = Held::new(count, session.keeps_prefixes());
        Engine {
            session,
            rotary: Rotary::new(rule),
            slots,
            speculate: held.cuts,
            held,
            pace: Pace::default(),
            input: StepInput::default(),
            clock: Box::new(move || start.elapsed()),
            tickets: 0,
            backlog: Vec::new(),
        }
    }

    /// The same, which runs like this.
    #[must_use]
    pub fn with(mut self, options: Options) -> Engine<S> {
        self.pace.shapes = options.shapes;
        self.held.on = options.reuse;
        self.speculate = options.speculate && self.held.cuts && options.shapes != Shapes::Fixed;
        self
    }

    /// The same, by another clock.
    #[cfg(test)]
    pub(super) fn timed(mut self, clock: impl FnMut() -> Duration + Send + 'static) -> Engine<S> {
        self.clock = Box::new(clock);
        self
    }

    /// Sizes of the session.
    pub fn geometry(&self) -> &Geometry {
        self.session.geometry()
    }

    /// The session.
    pub fn session(&self) -> &S {
        &self.session
    }

    /// Number of free slots.
    pub fn free(&self) -> usize {
        self.slots.iter().filter(|s| s.is_none()).count()
    }

    /// Puts a request into a free slot: the lowest, but for what slots hold of its beginning. Nothing is run yet.
    ///
    /// # Errors
    /// [`Refusal`]: what is wrong with the request whether or not a slot is free, else [`Refusal::Full`].
    pub fn admit(&mut self, request: Request) -> Result<Ticket, Refusal> {
        check(&request, self.session.geometry())?;
        let full = Refusal::Full { slots: self.slots.len() };
        let slot = self.held.choose(&self.slots, &request).ok_or(full)?;
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.held.admitted(slot, ticket);
        self.slots[slot] = Some(Sequence::new(ticket, request));
        Ok(ticket)
    }

    /// Takes a sequence out of its slot at once. False when it is not there any more.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let slot = self.slots.iter_mut().find(|s| s.as_ref().is_some_and(|s| s.ticket == ticket));
        slot.is_some_and(|slot| slot.take().is_some())
    }

    /// One run over the slots that have work, and what came of it. Empty when nothing was finished or made, which
    /// a prefill chunk does not; [`Engine::free`] tells whether there is work left.
    pub fn step(&mut self) -> Vec<(Ticket, Event)> {
        let mut events = std::mem::take(&mut self.backlog);
        self.share();
        let g = self.session.geometry();
        if let Some(mut plan) = Plan::next(&self.slots, g.columns, &mut self.pace) {
            if self.speculate {
                draft::widen(&mut plan, &mut self.slots, &mut self.pace, (g.vocabulary, g.columns));
            }
            self.run(&plan, &mut events);
        }
        events
    }

    /// Runs all requests, as slots come free, and returns their results in order. Sequences that were admitted
    /// before advance too; their events are handed out by the next [`Engine::step`].
    pub fn run_all(&mut self, requests: Vec<Request>) -> Vec<Result<Completion, DecodeError>> {
        let mut results: Vec<_> = requests.iter().map(|_| None).collect();
        let mut waiting = requests.into_iter().enumerate();
        let mut running = BTreeMap::new();
        let mut foreign = std::mem::take(&mut self.backlog);
        while waiting.len() > 0 || !running.is_empty() {
            // Sequences of others may hold every slot; then only a step helps.
            while self.free() > 0
                && let Some((number, request)) = waiting.next()
            {
                match self.admit(request) {
                    Ok(ticket) => drop(running.insert(ticket, number)),
                    Err(refusal) => results[number] = Some(Err(refusal.into())),
                }
            }
            for (ticket, event) in self.step() {
                let result = match event {
                    event if !running.contains_key(&ticket) => {
                        foreign.push((ticket, event));
                        continue;
                    }
                    Event::Token { .. } => continue,
                    Event::Done(completion) => Ok(completion),
                    Event::Failed(error) => Err(error),
                };
                if let Some(number) = running.remove(&ticket) {
                    results[number] = Some(result);
                }
            }
        }
        self.backlog = foreign;
        results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }

    /// Runs one request to its end, as [`Engine::run_all`] does.
    ///
    /// # Errors
    /// [`DecodeError`] of that request.
    pub fn run_one(&mut self, request: Request) -> Result<Completion, DecodeError> {
        self.run_all(vec![request]).pop().unwrap_or_else(lost)
    }

    /// Gives every prompt that is still to be read what slots hold of its beginning.
    fn share(&mut self) {
        for slot in 0..self.slots.len() {
            if let Some((from, tokens)) = self.held.source(&self.slots, slot) {
                if from != slot && self.session.copy_prefix(from, slot, tokens).is_err() {
                    // Nothing was copied, so the prompt is read; a session that cannot copy never will.
                    self.held.on = false;
                } else if let Some(sequence) = &mut self.slots[slot] {
                    self.held.overwritten(slot);
                    (sequence.cached, sequence.made.reused) = (tokens, tokens);
                    self.held.reached(slot, sequence);
                }
            }
        }
        for slot in 0..self.slots.len() {
            let waits = self.held.waits(&self.slots, slot);
            if let Some(sequence) = &mut self.slots[slot] {
                sequence.waits = waits;
            }
        }
    }

    /// Drafted tokens of a run.
    fn drafts(&self, plan: &Plan) -> usize {
        plan.rows().filter_map(|(slot, _)| self.slots[slot].as_ref()).map(|s| s.ahead.draft.len()).sum()
    }

    /// Makes one run. When it fails, each of its sequences is tried alone and without drafts, so that only the one that
    /// cannot be run is lost: a failed run leaves what a slot held before.
    fn run(&mut self, plan: &Plan, events: &mut Vec<(Ticket, Event)>) {
        for (slot, _) in plan.rows() {
            if self.slots[slot].as_ref().is_some_and(|s| s.cached == 0) {
                self.held.overwritten(slot);
            }
        }
        plan.fill((&self.slots, &self.held), self.session.geometry(), &self.rotary, &mut self.input);
        let start = (self.clock)();
        let ran = self.session.run(&self.input);
        let time = (self.clock)().saturating_sub(start);
        match ran {
            Ok(outputs) => {
                self.pace.costs.record(plan.cells(), time);
                settle((&mut self.slots, &mut self.held), plan, (&outputs, time), events);
            }
            Err(_) if plan.rows().count() > 1 || self.drafts(plan) > 0 => {
                for (slot, new) in plan.rows() {
                    let ahead = self.slots[slot].as_mut().map(|s| std::mem::take(&mut s.ahead.draft));
                    let new = new - ahead.map_or(0, |draft| draft.len());
                    self.run(&Plan { first: slot, new: vec![new] }, events);
                }
            }
            Err(error) => {
                for (slot, _) in plan.rows() {
                    self.held.overwritten(slot);
                    if let Some(sequence) = self.slots[slot].take() {
                        events.push((sequence.ticket, Event::Failed(error.clone().into())));
                    }
                }
            }
        }
    }
}

/// The result of a request that has none, which would be a fault of the engine.
fn lost() -> Result<Completion, DecodeError> {
    Err(SessionError::Input("the engine lost the request".into()).into())
}
