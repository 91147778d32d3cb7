//! Slots, admission, and what becomes of a run's logits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ndarray::{Array2, ArrayView1};
use rewardrt_models::package::PositionRule;
use rewardrt_models::spec::position::Rotary;

use super::plan::{Plan, Sequence};
use super::sample::LogSoftmax;
use super::{Completion, DecodeError, Event, Finish, Refusal, Request, Ticket};
use crate::session::{DecoderSession, Geometry, SessionError};

/// Continuous batching over the slots of one decoder session.
pub struct Engine<S> {
    session: S,
    rotary: Rotary,
    slots: Vec<Option<Sequence>>,
    tickets: u64,
    /// Events of sequences that advanced while [`Engine::run_all`] waited for its own.
    backlog: Vec<(Ticket, Event)>,
}

/// Requests that are made when there is a slot for them, so that many need not be held at once.
pub trait Work {
    /// The next request; `None` when there are no more, after which it is not asked again.
    fn next(&mut self) -> Option<Request>;

    /// What became of a request, by its number in the order of [`Work::next`], from 0.
    fn done(&mut self, number: usize, result: Result<Completion, DecodeError>);
}

/// Requests that are there already.
struct Listed {
    requests: std::vec::IntoIter<Request>,
    results: Vec<Option<Result<Completion, DecodeError>>>,
}

impl Work for Listed {
    fn next(&mut self) -> Option<Request> {
        self.requests.next()
    }

    fn done(&mut self, number: usize, result: Result<Completion, DecodeError>) {
        self.results[number] = Some(result);
    }
}

impl<S: DecoderSession> Engine<S> {
    /// An engine with the session's slots, all free. `rule` is the model's; with another model's rule every run is
    /// refused by the session, whose rotary rows are of another width.
    pub fn new(session: S, rule: &PositionRule) -> Engine<S> {
        let slots = (0..session.geometry().slots).map(|_| None).collect();
        Engine { session, rotary: Rotary::new(rule), slots, tickets: 0, backlog: Vec::new() }
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

    /// Puts a request into the lowest free slot. Nothing is run yet.
    ///
    /// # Errors
    /// [`Refusal`]: what is wrong with the request whether or not a slot is free, else [`Refusal::Full`].
    pub fn admit(&mut self, request: Request) -> Result<Ticket, Refusal> {
        check(&request, self.session.geometry())?;
        let slots = self.slots.len();
        let slot = self.slots.iter_mut().find(|s| s.is_none()).ok_or(Refusal::Full { slots })?;
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        *slot = Some(Sequence::new(ticket, request));
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
        if let Some(plan) = Plan::next(&self.slots, self.session.geometry().columns) {
            self.run(&plan, &mut events);
        }
        events
    }

    /// Runs all requests, as slots come free, and returns their results in order. Sequences that were admitted
    /// before advance too; their events are handed out by the next [`Engine::step`].
    pub fn run_all(&mut self, requests: Vec<Request>) -> Vec<Result<Completion, DecodeError>> {
        let results = requests.iter().map(|_| None).collect();
        let mut listed = Listed { requests: requests.into_iter(), results };
        self.run_each(&mut listed);
        listed.results.into_iter().map(|r| r.unwrap_or_else(lost)).collect()
    }

    /// Runs the requests that `work` hands out, each as soon as a slot is free for it, until there are none left and
    /// all have ended. Others advance as in [`Engine::run_all`].
    pub fn run_each(&mut self, work: &mut dyn Work) {
        let (mut asked, mut more) = (0, true);
        let mut running = BTreeMap::new();
        let mut foreign = std::mem::take(&mut self.backlog);
        while more || !running.is_empty() {
            // Sequences of others may hold every slot; then only a step helps.
            while more && self.free() > 0 {
                let Some(request) = work.next() else {
                    more = false;
                    break;
                };
                match self.admit(request) {
                    Ok(ticket) => drop(running.insert(ticket, asked)),
                    Err(refusal) => work.done(asked, Err(refusal.into())),
                }
                asked += 1;
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
                    work.done(number, result);
                }
            }
        }
        self.backlog = foreign;
    }

    /// Runs one request to its end, as [`Engine::run_all`] does.
    ///
    /// # Errors
    /// [`DecodeError`] of that request.
    pub fn run_one(&mut self, request: Request) -> Result<Completion, DecodeError> {
        self.run_all(vec![request]).pop().unwrap_or_else(lost)
    }

    /// Makes one run. When it fails, each of its sequences is tried alone, so that only the one that cannot be run
    /// is lost: a failed run leaves what a slot held before.
    fn run(&mut self, plan: &Plan, events: &mut Vec<(Ticket, Event)>) {
        let input = plan.input(&self.slots, self.session.geometry(), &self.rotary);
        let start = Instant::now();
        match self.session.run(&input) {
            Ok(logits) => self.settle(plan, &logits, start.elapsed(), events),
            Err(_) if plan.rows().count() > 1 => {
                for (slot, new) in plan.rows() {
                    self.run(&Plan { first: slot, new: vec![new] }, events);
                }
            }
            Err(error) => {
                for (slot, _) in plan.rows() {
                    if let Some(sequence) = self.slots[slot].take() {
                        events.push((sequence.ticket, Event::Failed(error.clone().into())));
                    }
                }
            }
        }
    }

    fn settle(
        &mut self,
        plan: &Plan,
        logits: &Array2<f32>,
        time: Duration,
        events: &mut Vec<(Ticket, Event)>,
    ) {
        let mut rows = logits.rows().into_iter();
        for (slot, new) in plan.rows() {
            let Some(sequence) = self.slots[slot].as_mut() else { continue };
            let spent =
                if sequence.prefilling() { &mut sequence.made.prefill } else { &mut sequence.made.decode };
            *spent += time;
            let wanted = sequence.wanted(new).count();
            sequence.cached += new;
            let ticket = sequence.ticket;
            let ended = if sequence.request.read.is_empty() {
                if wanted == 0 {
                    continue;
                }
                rows.next().map_or_else(|| Some(Err(too_few())), |row| advance(sequence, row, events))
            } else {
                // All of this sequence's rows are taken, so that the next sequence finds its own.
                let own: Vec<_> = rows.by_ref().take(wanted).collect();
                keep(sequence, &own, wanted)
            };
            if let Some(end) = ended {
                let event = match end {
                    Ok(finish) => {
                        self.slots[slot].take().map(|s| Event::Done(Completion { finish, ..s.made }))
                    }
                    Err(error) => self.slots[slot].take().map(|_| Event::Failed(error)),
                };
                events.extend(event.map(|event| (ticket, event)));
            }
        }
    }
}

/// The result of a request that has none, which would be a fault of the engine.
fn lost() -> Result<Completion, DecodeError> {
    Err(SessionError::Input("the engine lost the request".into()).into())
}

fn too_few() -> DecodeError {
    SessionError::Input("the session gave too few rows of outputs".into()).into()
}

/// Keeps rows of a sequence that is only read; says how it ended, if it did.
fn keep(
    sequence: &mut Sequence,
    rows: &[ArrayView1<'_, f32>],
    wanted: usize,
) -> Option<Result<Finish, DecodeError>> {
    if rows.len() < wanted {
        return Some(Err(too_few()));
    }
    if rows.iter().any(|row| row.iter().any(|output| !output.is_finite())) {
        return Some(Err(DecodeError::NonFinite { tokens: sequence.cached }));
    }
    sequence.made.rows.extend(rows.iter().map(|row| row.to_vec()));
    (sequence.cached == sequence.len()).then_some(Ok(Finish::Length))
}

/// Takes one row of logits; says how the sequence ended, if it did.
fn advance(
    sequence: &mut Sequence,
    row: ArrayView1<'_, f32>,
    events: &mut Vec<(Ticket, Event)>,
) -> Option<Result<Finish, DecodeError>> {
    let owned;
    let scores = match row.as_slice() {
        Some(scores) => scores,
        None => {
            owned = row.to_vec();
            &owned
        }
    };
    if scores.is_empty() || scores.iter().any(|score| !score.is_finite()) {
        return Some(Err(DecodeError::NonFinite { tokens: sequence.len() }));
    }
    let request = &sequence.request;
    let softmax = LogSoftmax::of(scores);
    let watched: Vec<f32> = request.watch.iter().map(|&id| softmax.at(scores[id as usize])).collect();
    sequence.made.watched.push(watched.clone());
    if request.max_new_tokens == 0 {
        return Some(Ok(Finish::Length));
    }
    let id = sequence.sampler.pick(scores);
    let logprob = softmax.at(scores[id as usize]);
    sequence.made.logprobs.push(logprob);
    sequence.made.new_ids.push(id);
    events.push((sequence.ticket, Event::Token { id, logprob, watched }));
    if request.stop.contains(&id) {
        return Some(Ok(Finish::Stop));
    }
    (sequence.made.new_ids.len() == request.max_new_tokens).then_some(Ok(Finish::Length))
}

/// Everything that could make a run wrong is refused here, so that a bad request never meets its neighbours.
fn check(request: &Request, g: &Geometry) -> Result<(), Refusal> {
    let field = |field, reason: String| Err(Refusal::Field { field, reason });
    let prompt = request.ids.len();
    if prompt == 0 {
        return field("ids", "empty; a prompt has at least one token".into());
    }
    let needed = prompt.saturating_add(request.max_new_tokens);
    if needed > g.tokens {
        return Err(Refusal::TooLong { needed, available: g.tokens });
    }
    for (name, ids) in [("ids", &request.ids), ("watch", &request.watch)] {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= g.vocabulary) {
            return field(name, format!("{id} is not below the vocabulary of {}", g.vocabulary));
        }
    }
    for (name, length) in
        [("positions", request.positions.tokens.len()), ("feature_rows", request.feature_rows.len())]
    {
        if length != prompt {
            return field(name, format!("{length} entries for {prompt} tokens"));
        }
    }
    if let Some((name, reason)) = request.sampling.fault() {
        return field(name, reason);
    }
    check_read(request, g)?;
    check_features(request, g)
}

fn check_read(request: &Request, g: &Geometry) -> Result<(), Refusal> {
    let field = |field, reason: &str| Err(Refusal::Field { field, reason: reason.to_owned() });
    let read = &request.read;
    if read.is_empty() {
        let scores = g.outputs != g.vocabulary;
        return if scores {
            field("read", "empty, and the model ends in scores: name places")
        } else {
            Ok(())
        };
    }
    if request.max_new_tokens > 0 || !request.watch.is_empty() {
        return field("read", "a prompt that is read makes no tokens and watches none");
    }
    if !read.is_sorted_by(|a, b| a < b) || read.last().is_some_and(|&last| last >= request.ids.len()) {
        return field("read", "the places are not ascending places of the prompt");
    }
    Ok(())
}

fn check_features(request: &Request, g: &Geometry) -> Result<(), Refusal> {
    let field = |field, reason: String| Err(Refusal::Field { field, reason });
    let shape = request.features.as_ref().map_or((0, g.hidden), |f| f.rows.dim());
    if shape.1 != g.hidden {
        return field("features", format!("rows of {} values, the model has {}", shape.1, g.hidden));
    }
    if let Some(features) = &request.features {
        let tables = &features.deepstack;
        if tables.len() != g.deepstack || tables.iter().any(|t| t.dim() != shape) {
            return field("features", format!("{} deepstack tables, or not all of {shape:?}", tables.len()));
        }
    }
    match request.feature_rows.iter().find(|&&row| row < -1 || row >= shape.0 as i64) {
        Some(row) => field("feature_rows", format!("row {row} of {} feature rows", shape.0)),
        None => Ok(()),
    }
}
