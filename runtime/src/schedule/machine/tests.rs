//! Scripts of events: what is done, in which order, and what is counted.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::schedule::turns::SINGLES_IN_A_ROW;

/// What happens to the machine. Calls and requests are numbered from 0 in the order in which they came.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// A call of a client; it expires after so many milliseconds.
    Enter(Class, u64, Option<u64>),
    /// A call submits a request of so many tokens.
    Submit(usize, usize),
    /// The decoder is done with a request.
    End(usize),
    Leave(usize, Left),
    /// A step is due, so many milliseconds later.
    Tick(u64),
    /// A thread panics.
    Panic,
}
use Act::*;
use Class::{Group, Single};

const LIMITS: Limits =
    Limits { slots: 2, slot_tokens: 10, kv_tokens: 20, queue: 2, singles_ahead: 3, groups: 1 };

/// What the machine must stand at, kept the simple way.
struct Model {
    limits: Limits,
    machine: Machine,
    now: Instant,
    calls: Vec<Option<CallId>>,
    jobs: Vec<Option<JobId>>,
    /// Calls that are at work, by number.
    live: BTreeMap<usize, Live>,
    /// Requests that wait or are in a slot, by number.
    there: BTreeMap<usize, There>,
    /// Calls and requests by name.
    numbers: (BTreeMap<CallId, usize>, BTreeMap<JobId, usize>),
    counts: Stats,
    /// Single questions that started one after the other while a group's request waited.
    row: usize,
    /// For each client with single questions that wait: how often each other one started since.
    passed: BTreeMap<u64, BTreeMap<u64, usize>>,
    log: Vec<String>,
}

struct Live {
    class: Class,
    client: u64,
    deadline: Option<Instant>,
    has_turn: bool,
}

struct There {
    call: usize,
    class: Class,
    client: u64,
    tokens: usize,
    running: bool,
    keeps: bool,
    gave_way: bool,
}

impl Model {
    fn new(limits: Limits) -> Model {
        Model {
            limits,
            machine: Machine::new(limits),
            now: Instant::now(),
            calls: Vec::new(),
            jobs: Vec::new(),
            live: BTreeMap::new(),
            there: BTreeMap::new(),
            numbers: Default::default(),
            counts: Stats::default(),
            row: 0,
            passed: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Enter(class, client, within) => self.enter(class, client, within),
            Submit(call, tokens) => self.submit(call, tokens),
            End(job) => self.end(job),
            Leave(call, left) => self.leave(call, left),
            Tick(ms) => self.tick(ms),
            Panic => self.panic(),
        }
        if !matches!(act, Tick(_)) {
            let turns = self.machine.turns();
            self.take(turns);
        }
        self.agree();
    }

    fn enter(&mut self, class: Class, client: u64, within: Option<u64>) {
        let deadline = within.map(|ms| self.now + Duration::from_millis(ms));
        let full = self.live.len() >= self.limits.slots + self.limits.queue;
        let entered = self.machine.enter(self.now, Who { client, class }, deadline);
        match &entered {
            Ok(id) => {
                assert!(!full && self.machine.over().is_none() && within != Some(0));
                self.counts.entered += 1;
                self.numbers.0.insert(*id, self.calls.len());
                let live = Live { class, client, deadline, has_turn: false };
                self.live.insert(self.calls.len(), live);
            }
            Err(ScheduleError::Busy { calls, retry_after }) => {
                assert!(full && *calls == self.live.len() && *retry_after >= 1);
                self.counts.refused += 1;
                self.log.push(format!("full:{retry_after}"));
            }
            Err(ScheduleError::Expired) => {
                assert!(!full && within == Some(0));
                self.counts.entered += 1;
                self.counts.expired += 1;
            }
            Err(_) => {
                assert!(self.machine.over().is_some());
                self.counts.refused += 1;
            }
        }
        self.calls.push(entered.ok());
    }

    fn submit(&mut self, call: usize, tokens: usize) {
        let Some(Some(id)) = self.calls.get(call) else { return };
        let most = self.limits.slot_tokens.min(self.limits.kv_tokens);
        let job = self.machine.submit(*id, tokens);
        match (&job, self.live.get(&call)) {
            (Err(Unfit::TooLong { needed, available }), _) => {
                assert!(*needed == tokens && *available == most && tokens > most);
            }
            (Err(Unfit::Gone), live) => assert!(live.is_none() && tokens <= most),
            (Ok(job), live) => {
                let Live { class, client, .. } = *live.expect("a call that is gone submits nothing");
                assert!(tokens <= most);
                self.numbers.1.insert(*job, self.jobs.len());
                let there =
                    There { call, class, client, tokens, running: false, keeps: false, gave_way: false };
                self.there.insert(self.jobs.len(), there);
            }
        }
        self.jobs.push(job.ok());
        self.waits();
    }

    fn end(&mut self, job: usize) {
        let Some(there) = self.there.get(&job).filter(|there| there.running) else { return };
        let awaited = self.live.contains_key(&there.call);
        self.there.remove(&job);
        assert_eq!(self.machine.ended(self.now, self.jobs[job].unwrap()), awaited);
        // It cannot end twice.
        assert!(!self.machine.ended(self.now, self.jobs[job].unwrap()));
    }

    fn leave(&mut self, call: usize, left: Left) {
        let Some(Some(id)) = self.calls.get(call) else { return };
        self.machine.leave(*id, left);
        if self.live.contains_key(&call) {
            self.forget(call);
            match left {
                Left::Done => self.counts.done += 1,
                Left::Failed => self.counts.failed += 1,
                Left::Cancelled => self.counts.cancelled += 1,
            }
        }
    }

    /// A call is gone: what waits of it is, and what runs goes at the next tick.
    fn forget(&mut self, call: usize) {
        self.live.remove(&call);
        self.there.retain(|_, there| there.call != call || there.running);
        self.waits();
    }

    fn tick(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        let actions = self.machine.tick(self.now);
        self.take(actions);
        assert!(self.live.values().all(|live| live.deadline.is_none_or(|at| at > self.now)));
        assert!(self.there.values().all(|there| self.live.contains_key(&there.call)));
        // Nobody waits for a slot that is free, but for the room of the one whose turn it is.
        let waiting = self.there.values().filter(|there| !there.running);
        let free = self.limits.slots > self.running().count();
        let room = self.limits.kv_tokens - self.reserved();
        assert!(!free || waiting.clone().count() == 0 || waiting.clone().any(|there| there.tokens > room));
        // Single questions that wait have half of the slots, unless there is none left to give way.
        let singles = self.running().filter(|there| there.class == Single).count();
        let may = self.running().any(|there| there.class == Group && !there.gave_way && !there.keeps);
        if waiting.clone().any(|there| there.class == Single) && self.row < SINGLES_IN_A_ROW && !free {
            assert!(singles >= self.limits.slots.div_ceil(2) || !may || self.reserved() > 0 && room < 10);
        }
    }

    fn panic(&mut self) {
        let actions = self.machine.end(&super::End::Broken("it".into()));
        self.take(actions);
        self.there.clear();
        assert!(self.live.is_empty());
    }

    fn running(&self) -> impl Iterator<Item = &There> {
        self.there.values().filter(|there| there.running)
    }

    fn reserved(&self) -> usize {
        self.running().map(|there| there.tokens).sum()
    }

    /// Clients with no single question that waits have not been passed by anyone.
    fn waits(&mut self) {
        let waiting = self.there.values().filter(|there| !there.running && there.class == Single);
        let clients: BTreeSet<u64> = waiting.map(|there| there.client).collect();
        self.passed.retain(|client, _| clients.contains(client));
        for client in clients {
            self.passed.entry(client).or_default();
        }
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Turn(id) => {
                    let call = self.numbers.0[&id];
                    let live = self.live.get_mut(&call).expect("a turn for a call that is gone");
                    assert!(!std::mem::replace(&mut live.has_turn, true), "two turns");
                    self.log.push(format!("turn:{call}"));
                }
                Action::Over(id, end) => {
                    let call = self.numbers.0[&id];
                    let live = self.live.get(&call).expect("over twice");
                    match end {
                        super::End::Expired => {
                            assert!(live.deadline.is_some_and(|at| at <= self.now));
                            self.counts.expired += 1;
                        }
                        _ => self.counts.failed += 1,
                    }
                    self.forget(call);
                    self.log.push(format!("over:{call}"));
                }
                Action::Stop(id) => {
                    let job = self.numbers.1[&id];
                    let there = self.there.remove(&job).expect("stopped twice");
                    assert!(there.running && !self.live.contains_key(&there.call));
                    self.log.push(format!("stop:{job}"));
                }
                Action::Evict(id) => self.evict(self.numbers.1[&id]),
                Action::Start(id) => self.start(self.numbers.1[&id]),
            }
        }
    }

    fn evict(&mut self, job: usize) {
        let there = self.there.get_mut(&job).expect("a request that gives way is there");
        assert!(there.running && there.class == Group && !there.keeps);
        assert!(!std::mem::replace(&mut there.gave_way, true), "gave way twice");
        there.running = false;
        self.counts.gave_way += 1;
        self.log.push(format!("evict:{job}"));
    }

    fn start(&mut self, job: usize) {
        let groups = self.there.values().any(|there| !there.running && there.class == Group);
        let singles = self.there.values().any(|there| !there.running && there.class == Single);
        let there = self.there.get_mut(&job).expect("a request that starts is there");
        there.keeps = there.class == Group && singles;
        assert!(!std::mem::replace(&mut there.running, true), "started twice");
        let (class, client, fresh) = (there.class, there.client, !there.gave_way);
        assert!(self.live.contains_key(&there.call));
        // A client's questions of one class start in their order.
        let before = self.there.iter().take_while(|(number, _)| **number < job);
        let mut same =
            before.filter(|(_, other)| !other.running && (other.class, other.client) == (class, client));
        assert!(!fresh || same.next().is_none(), "request {job} overtook its own client's");
        assert!(self.running().count() <= self.limits.slots && self.reserved() <= self.limits.kv_tokens);
        self.row = if class == Single && groups { self.row + 1 } else { 0 };
        assert!(self.row <= SINGLES_IN_A_ROW, "a group waits for ever");
        if class == Single {
            self.passed.remove(&client);
            for times in self.passed.values_mut() {
                let times = times.entry(client).or_default();
                *times += 1;
                assert!(*times <= 1, "client {client} had two turns while another waited");
            }
        }
        self.waits();
        self.counts.admitted += 1;
        self.log.push(format!("start:{job}"));
    }

    /// What the machine counts is what happened.
    fn agree(&self) {
        let at_work = |call: &usize| self.there.values().any(|there| there.running && there.call == *call);
        let running = self.running().count();
        let expected = Stats {
            calls: self.live.len(),
            queued: self.live.keys().filter(|call| !at_work(call)).count(),
            waiting: self.there.len() - running,
            running,
            slots_free: self.limits.slots - running,
            kv_reserved: self.reserved(),
            kv_tokens: self.limits.kv_tokens,
            ..self.counts
        };
        assert_eq!(self.machine.stats(), expected);
        assert_eq!(self.machine.is_running(), running > 0);
        assert_eq!(self.machine.next_deadline(), self.live.values().filter_map(|live| live.deadline).min());
        let ended = expected.done + expected.failed + expected.cancelled + expected.expired;
        assert_eq!(expected.entered, expected.calls as u64 + ended);
        // Turns are never more than may be, and nobody waits for one that is free.
        for (class, most) in [(Single, self.limits.singles_ahead), (Group, self.limits.groups)] {
            let held = self.machine.has_turn[class as usize];
            let waits = self.live.values().any(|live| live.class == class && !live.has_turn);
            assert!(held <= most && (!waits || held == most));
        }
    }
}

/// What the machine says when this happens.
fn check(limits: Limits, acts: &[Act], expected: &str) {
    let mut model = Model::new(limits);
    acts.iter().for_each(|act| model.act(*act));
    assert_eq!(model.log.join(" "), expected, "{acts:?}");
}

/// A call of a client, which has submitted one request.
fn ask(class: Class, client: u64, number: usize) -> [Act; 2] {
    [Enter(class, client, None), Submit(number, 10)]
}

#[test]
fn as_many_as_may_wait_do_and_the_surplus_is_told_when_to_come_back() {
    let enter = [Enter(Single, 0, None); 6];
    check(LIMITS, &enter, "turn:0 turn:1 turn:2 full:1 full:1");
    // Requests take three seconds, two at a time; beside the two slots' two calls wait.
    let ask = [[Enter(Single, 0, None), Submit(0, 10), Tick(0), Tick(3000), End(0), Leave(0, Left::Done)]];
    let acts = [&ask.concat()[..], &[Enter(Single, 0, None); 5]].concat();
    check(LIMITS, &acts, "turn:0 start:0 turn:1 turn:2 turn:3 full:5");
}

#[test]
fn a_request_that_no_slot_holds_is_refused_with_what_it_needs() {
    let mut machine = Machine::new(LIMITS);
    let call = machine.enter(Instant::now(), Who { client: 0, class: Single }, None).unwrap();
    assert_eq!(machine.submit(call, 11), Err(Unfit::TooLong { needed: 11, available: 10 }));
    assert!(machine.submit(call, 10).is_ok());
}

#[test]
fn clients_take_turns_and_the_one_whose_turn_it_is_waits_for_its_room() {
    let limits = Limits { slots: 1, queue: 9, singles_ahead: 9, ..LIMITS };
    let asks = [ask(Single, 1, 0), ask(Single, 1, 1), ask(Single, 1, 2), ask(Single, 2, 3)].concat();
    let ends = [Tick(0), End(0), Tick(0), End(3), Tick(0), End(1), Tick(0)];
    let turns = "turn:0 turn:1 turn:2 turn:3";
    check(limits, &[&asks[..], &ends].concat(), &format!("{turns} start:0 start:3 start:1 start:2"));
    // Two slots, but room for 12 tokens only: the large one waits, and the small one behind it too.
    let limits = Limits { kv_tokens: 12, ..LIMITS };
    let enter = [Enter(Single, 0, None); 3];
    let acts = [&enter[..], &[Submit(0, 5), Submit(1, 8), Submit(2, 4), Tick(0), End(0), Tick(0)]].concat();
    check(limits, &acts, "turn:0 turn:1 turn:2 start:0 start:1 start:2");
}

#[test]
fn a_group_gives_way_to_a_single_question_once_and_is_not_starved() {
    let limits = Limits { slots: 1, queue: 20, singles_ahead: 20, ..LIMITS };
    let acts = [&ask(Group, 0, 0)[..], &[Tick(0)], &ask(Single, 0, 1), &[Tick(0), End(1), Tick(0)]].concat();
    check(limits, &acts, "turn:0 start:0 turn:1 evict:0 start:1 start:0");
    // Another question finds a request that gave way before, and waits.
    let more = [&acts[..], &ask(Single, 0, 2), &[Tick(0), End(0), Tick(0)]].concat();
    check(limits, &more, "turn:0 start:0 turn:1 evict:0 start:1 start:0 turn:2 start:2");
    // A group that waits is next after four single questions.
    let singles: Vec<Act> = (0..6).flat_map(|i| ask(Single, 0, i)).collect();
    let ends: Vec<Act> = (0..5).flat_map(|i| [Tick(0), End(i)]).collect();
    let acts = [&singles[..], &ask(Group, 0, 6), &ends, &[Tick(0), End(6), Tick(0)]].concat();
    let turns = "turn:0 turn:1 turn:2 turn:3 turn:4 turn:5 turn:6";
    let starts = "start:0 start:1 start:2 start:3 start:6 start:4";
    check(limits, &acts, &format!("{turns} {starts}"));
}

#[test]
fn what_expires_in_the_queue_never_starts_and_what_expires_in_a_slot_leaves_it_before_the_next_step() {
    let acts = [
        Enter(Single, 0, Some(50)),
        Submit(0, 10),
        Tick(49),
        Enter(Single, 0, Some(5)),
        Submit(1, 10),
        Tick(1),
        Tick(4),
    ];
    check(LIMITS, &acts, "turn:0 start:0 turn:1 over:0 stop:0 start:1 over:1 stop:1");
    let acts = [Enter(Single, 0, Some(5)), Submit(0, 10), Tick(5)];
    check(LIMITS, &acts, "turn:0 over:0");
    check(LIMITS, &[Enter(Single, 0, Some(0)), Submit(0, 10), Tick(5)], "");
}

#[test]
fn who_leaves_takes_everything_along() {
    let acts = [&ask(Group, 0, 0)[..], &[Submit(0, 5), Submit(0, 5), Tick(0), Leave(0, Left::Cancelled)]];
    let acts = [&acts.concat()[..], &[Submit(0, 5), Tick(0)]].concat();
    check(LIMITS, &acts, "turn:0 start:0 start:1 stop:0 stop:1");
}

#[test]
fn a_panic_ends_all_and_nothing_is_taken_after_it() {
    let acts =
        [&ask(Group, 0, 0)[..], &ask(Single, 1, 1), &[Tick(0), Panic, Panic, Tick(0), Enter(Group, 0, None)]];
    check(LIMITS, &acts.concat(), "turn:0 turn:1 start:1 start:0 over:0 over:1");
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let class = prop_oneof![Just(Single), Just(Group)];
    let left = prop_oneof![Just(Left::Done), Just(Left::Failed), Just(Left::Cancelled)];
    let act = prop_oneof![
        6 => (class, 0..3_u64, proptest::option::weighted(0.3, 0..60_u64)).prop_map(|(c, k, d)| Enter(c, k, d)),
        12 => (0..40_usize, 1..12_usize).prop_map(|(call, tokens)| Submit(call, tokens)),
        9 => (0..60_usize).prop_map(End),
        4 => (0..40_usize, left).prop_map(|(call, left)| Leave(call, left)),
        9 => (0..20_u64).prop_map(Tick),
    ];
    proptest::collection::vec(act, 0..160)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happens, [`Model`] finds nothing lost, nothing twice, and everything counted; and when all have left,
    /// everything is free again.
    #[test]
    fn nothing_is_lost_and_everything_comes_back(
        acts in acts(),
        slots in 1..5_usize,
        queue in 0..12_usize,
        kv_tokens in 10..40_usize,
        panics in proptest::bool::weighted(0.1),
    ) {
        let limits = Limits { slots, queue, kv_tokens, slot_tokens: 10, singles_ahead: slots + 1, groups: 2 };
        let mut model = Model::new(limits);
        for act in acts {
            model.act(act);
        }
        if panics {
            model.act(Panic);
        }
        for call in 0..model.calls.len() {
            model.act(Leave(call, Left::Done));
        }
        model.act(Tick(0));
        let stats = model.machine.stats();
        prop_assert_eq!((stats.calls, stats.waiting, stats.running, stats.kv_reserved), (0, 0, 0, 0));
        prop_assert_eq!((stats.slots_free, model.machine.has_turn), (slots, [0; 2]));
        prop_assert!(model.machine.jobs.is_empty() && model.machine.waiting.peek().is_none());
    }

    /// Nobody who may wait for ever does: when requests only end, all of them start.
    #[test]
    fn everyone_has_a_turn(asks in proptest::collection::vec((0..3_u64, any::<bool>(), 1..10_usize), 1..40)) {
        let limits = Limits { slots: 2, queue: 60, kv_tokens: 15, ..LIMITS };
        let mut model = Model::new(limits);
        for (number, (client, group, tokens)) in asks.iter().enumerate() {
            model.act(Enter(if *group { Group } else { Single }, *client, None));
            model.act(Submit(number, *tokens));
        }
        for _ in 0..2 * asks.len() {
            model.act(Tick(1));
            let first = model.there.iter().find(|(_, there)| there.running).map(|(number, _)| *number);
            first.into_iter().for_each(|number| model.act(End(number)));
        }
        prop_assert!(model.there.is_empty());
    }
}
