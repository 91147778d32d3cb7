//! The threads of a judge, and what they share.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::error::ScheduleError;
use super::machine::{Action, CallId, End, JobId, Left, Limits, Machine, Unfit};
use super::station::{OnPanic, Station, said, spawn};
use super::stats::{Health, Stats};
use super::turns::{Class, Who};
use crate::decode::{Completion, DecodeError, Engine, Event, Refusal, Request, Ticket};
use crate::session::DecoderSession;

/// The slot engine of a judge.
pub(crate) type Decoding = Engine<Box<dyn DecoderSession>>;

/// What became of a request.
pub(crate) type Answer = Result<Completion, DecodeError>;

/// What a call is told.
pub(super) enum Told {
    /// It may make its pictures ready.
    Turn,
    /// A request of it has ended.
    Answer(JobId, Answer),
    /// It is over.
    Over(End),
}

/// What the threads share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Told of everything that the decoder's thread may wait for.
    work: Condvar,
}

struct State {
    machine: Machine,
    /// Requests that wait; those of groups also while they run, as they may have to start again.
    requests: BTreeMap<JobId, Kept>,
    calls: BTreeMap<CallId, UnboundedSender<Told>>,
    /// When the step under way began.
    step: Option<Instant>,
    /// What is to be told when the lock is free: whoever is woken may ask at once.
    outbox: Vec<(UnboundedSender<Told>, Told)>,
}

struct Kept {
    call: CallId,
    class: Class,
    request: Option<Request>,
}

impl State {
    fn tell(&mut self, call: CallId, told: Told) {
        if let Some(inbox) = self.calls.get(&call) {
            self.outbox.push((inbox.clone(), told));
        }
    }

    /// Does what concerns callers, and gives back what concerns the decoder.
    fn act(&mut self, actions: Vec<Action>) -> Vec<Order> {
        let mut orders = Vec::new();
        for action in actions {
            match action {
                Action::Turn(call) => self.tell(call, Told::Turn),
                Action::Over(call, end) => {
                    self.tell(call, Told::Over(end));
                    self.forget(call);
                }
                Action::Stop(job) | Action::Evict(job) => orders.push(Order::Stop(job)),
                Action::Start(job) => {
                    let Some(kept) = self.requests.get_mut(&job) else { continue };
                    let request = match kept.class {
                        Class::Single => kept.request.take(),
                        Class::Group => kept.request.clone(),
                    };
                    orders.extend(request.map(|request| Order::Start(job, Box::new(request))));
                }
            }
        }
        orders
    }

    fn forget(&mut self, call: CallId) {
        self.calls.remove(&call);
        self.requests.retain(|_, kept| kept.call != call);
    }
}

/// What the decoder's thread is to do before a step.
enum Order {
    Start(JobId, Box<Request>),
    Stop(JobId),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, hands out the turns that came free, and then tells whom it concerns.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let turns = state.machine.turns();
        state.act(turns);
        self.release(state);
        self.work.notify_one();
        result
    }

    fn release(&self, mut state: MutexGuard<'_, State>) {
        let outbox = std::mem::take(&mut state.outbox);
        drop(state);
        for (inbox, told) in outbox {
            // A call that has left does not listen.
            let _ = inbox.send(told);
        }
    }

    pub(super) fn enter(
        &self,
        who: Who,
        deadline: Option<Instant>,
    ) -> Result<(CallId, UnboundedReceiver<Told>), ScheduleError> {
        self.change(|state| {
            let call = state.machine.enter(Instant::now(), who, deadline)?;
            let (inbox, told) = unbounded_channel();
            state.calls.insert(call, inbox);
            Ok((call, told))
        })
    }

    /// Puts requests into the queue, all at once so that they may start together.
    pub(super) fn submit(
        &self,
        call: CallId,
        class: Class,
        requests: Vec<Request>,
    ) -> Result<Vec<JobId>, Unsent> {
        let tokens = |request: &Request| request.ids.len().saturating_add(request.max_new_tokens);
        self.change(|state| {
            let mut jobs = Vec::with_capacity(requests.len());
            for request in requests {
                let job = state.machine.submit(call, tokens(&request)).map_err(|unfit| match unfit {
                    Unfit::TooLong { needed, available } => {
                        Unsent::Refused(Refusal::TooLong { needed, available })
                    }
                    Unfit::Gone => Unsent::Gone,
                })?;
                state.requests.insert(job, Kept { call, class, request: Some(request) });
                jobs.push(job);
            }
            Ok(jobs)
        })
    }

    pub(super) fn leave(&self, call: CallId, left: Left) {
        self.change(|state| {
            state.machine.leave(call, left);
            state.forget(call);
        });
    }

    /// Ends every call and takes no other.
    pub(super) fn end(&self, end: &End) {
        self.change(|state| {
            state.step = None;
            let actions = state.machine.end(end);
            state.act(actions);
        });
    }

    /// Waits until there is something to do; none when all is over.
    fn orders(&self) -> Option<Vec<Order>> {
        let mut state = self.lock();
        loop {
            if state.machine.over().is_some() {
                return None;
            }
            let now = Instant::now();
            let actions = state.machine.tick(now);
            let orders = state.act(actions);
            if !orders.is_empty() || state.machine.is_running() {
                state.step = Some(now);
                self.release(state);
                return Some(orders);
            }
            if !state.outbox.is_empty() {
                self.release(state);
                state = self.lock();
                continue;
            }
            state = match state.machine.next_deadline() {
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let time = deadline.saturating_duration_since(now);
                    self.work.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Takes what a step brought.
    fn report(&self, step: Step) {
        self.change(|state| {
            state.step = None;
            if let Some(tokens) = step.tokens {
                state.machine.stepped(tokens);
            }
            for (job, answer) in step.answers {
                let awaited = state.machine.ended(Instant::now(), job);
                if let Some(kept) = state.requests.remove(&job).filter(|_| awaited) {
                    state.tell(kept.call, Told::Answer(job, answer));
                }
            }
        });
    }
}

/// Why requests were not put into the queue.
pub(super) enum Unsent {
    /// One will never fit.
    Refused(Refusal),
    /// The call is over.
    Gone,
}

/// What a step brought.
#[derive(Default)]
struct Step {
    /// Tokens that were made; none when nothing was run.
    tokens: Option<u64>,
    answers: Vec<(JobId, Answer)>,
}

/// The decoder and the requests in its slots.
struct Server {
    engine: Decoding,
    jobs: BTreeMap<Ticket, JobId>,
}

impl Server {
    /// Carries out orders, then makes one step.
    fn step(&mut self, orders: Vec<Order>) -> Step {
        let mut step = Step::default();
        for order in orders {
            match order {
                Order::Stop(job) => {
                    let ticket = self.jobs.iter().find(|(_, of)| **of == job).map(|(ticket, _)| *ticket);
                    if let Some(ticket) = ticket {
                        self.engine.cancel(ticket);
                        self.jobs.remove(&ticket);
                    }
                }
                Order::Start(job, request) => match self.engine.admit(*request) {
                    Ok(ticket) => drop(self.jobs.insert(ticket, job)),
                    Err(refusal) => step.answers.push((job, Err(refusal.into()))),
                },
            }
        }
        if self.jobs.is_empty() {
            return step;
        }
        let mut tokens = 0;
        for (ticket, event) in self.engine.step() {
            let answer = match event {
                Event::Token { .. } => {
                    tokens += 1;
                    continue;
                }
                Event::Done(completion) => Ok(completion),
                Event::Failed(error) => Err(error),
            };
            step.answers.extend(self.jobs.remove(&ticket).map(|job| (job, answer)));
        }
        step.tokens = Some(tokens);
        step
    }
}

fn serve(shared: &Shared, engine: Decoding) {
    let mut server = Server { engine, jobs: BTreeMap::new() };
    while let Some(orders) = shared.orders() {
        match catch_unwind(AssertUnwindSafe(|| server.step(orders))) {
            Ok(step) => shared.report(step),
            Err(panic) => {
                let reason = format!("decoding a step: {}", said(&*panic));
                shared.end(&End::Broken(reason.into()));
                return;
            }
        }
    }
}

/// The threads of a judge; they end when this is dropped, and every call with them.
pub(crate) struct Service {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Closes a station each.
    closers: Vec<Box<dyn Fn() + Send + Sync>>,
}

impl Service {
    /// Starts the decoder's thread.
    pub(crate) fn start(limits: Limits, engine: Decoding) -> Result<Service, ScheduleError> {
        let (calls, requests) = (BTreeMap::new(), BTreeMap::new());
        let state = State { machine: Machine::new(limits), requests, calls, step: None, outbox: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), work: Condvar::new() });
        let decoder = shared.clone();
        let thread = spawn("rewardrt-decode", move || serve(&decoder, engine))?;
        Ok(Service { shared, threads: vec![thread], closers: Vec::new() })
    }

    /// Starts a thread for each of `owned`, which makes requests ready. A panic there fails the request it was for;
    /// where the thread is `vital`, for what it owns is in doubt then, it stops the judge.
    pub(crate) fn station<S: Send + 'static>(
        &mut self,
        name: &'static str,
        owned: Vec<S>,
        vital: bool,
    ) -> Result<Station<S>, ScheduleError> {
        let shared = self.shared.clone();
        let end = move |said: String| shared.end(&End::Broken(format!("{name}: {said}").into()));
        let on_panic = vital.then(|| Box::new(end) as OnPanic);
        let (station, threads) = Station::start(&format!("rewardrt-{name}"), owned, on_panic)?;
        self.threads.extend(threads);
        let closed = station.clone();
        self.closers.push(Box::new(move || closed.close()));
        Ok(station)
    }

    /// What calls are made with; it does not keep the threads.
    pub(crate) fn door(&self) -> Door {
        Door { shared: self.shared.clone() }
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.shared.lock();
        let step_ms = state.step.map(|start| start.elapsed().as_millis() as u64);
        Stats { step_ms, ..state.machine.stats() }
    }

    pub(crate) fn health(&self) -> Health {
        match self.shared.lock().machine.over() {
            Some(End::Broken(reason)) => Health::Broken { reason: reason.to_string() },
            _ => Health::Ready,
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.end(&End::Closed);
        self.closers.iter().for_each(|close| close());
        for thread in self.threads.drain(..) {
            // A thread that is woken to drop the last handle cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                // Its panic was caught and told.
                let _ = thread.join();
            }
        }
    }
}

/// Where calls enter.
#[derive(Clone)]
pub(crate) struct Door {
    pub(super) shared: Arc<Shared>,
}

impl Door {
    /// Counts pictures that went through the tower, and those that did not have to.
    pub(crate) fn saw(&self, seen: u64, reused: u64) {
        self.shared.lock().machine.saw(seen, reused);
    }
}
