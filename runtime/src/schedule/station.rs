//! Threads that do one kind of work, in the order in which it comes.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::error::ScheduleError;

/// Work of a station: it is given what the thread owns.
pub(super) type Task<S> = Box<dyn FnOnce(&mut S) + Send>;

/// What becomes of a panic that left a thread's own state in doubt; it is told what was said.
pub(super) type OnPanic = Box<dyn Fn(String) + Send + Sync>;

/// Where work is left for threads that each own an `S`. How much waits here is bounded by the turns of the calls.
pub(crate) struct Station<S> {
    desk: Arc<Desk<S>>,
}

struct Desk<S> {
    state: Mutex<State<S>>,
    more: Condvar,
    /// What a panic does; without one it ends nothing but its own task.
    on_panic: Option<OnPanic>,
}

struct State<S> {
    tasks: VecDeque<Task<S>>,
    closed: bool,
}

impl<S> Clone for Station<S> {
    fn clone(&self) -> Station<S> {
        Station { desk: self.desk.clone() }
    }
}

impl<S: Send + 'static> Station<S> {
    /// Starts one thread for each of `owned`.
    pub(super) fn start(
        name: &str,
        owned: Vec<S>,
        on_panic: Option<OnPanic>,
    ) -> Result<(Station<S>, Vec<JoinHandle<()>>), ScheduleError> {
        let state = Mutex::new(State { tasks: VecDeque::new(), closed: false });
        let desk = Arc::new(Desk { state, more: Condvar::new(), on_panic });
        let station = Station { desk };
        let mut threads = Vec::new();
        for state in owned {
            let desk = station.desk.clone();
            match spawn(name, move || desk.serve(state)) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    station.close();
                    return Err(error);
                }
            }
        }
        Ok((station, threads))
    }

    /// Leaves work. It is dropped undone when the station is closed.
    pub(super) fn post(&self, task: Task<S>) {
        let mut state = self.desk.lock();
        if !state.closed {
            state.tasks.push_back(task);
            self.desk.more.notify_one();
        }
    }

    /// Lets the threads end, after the work that each has in hand.
    pub(super) fn close(&self) {
        let mut state = self.desk.lock();
        state.closed = true;
        let undone = std::mem::take(&mut state.tasks);
        drop(state);
        self.desk.more.notify_all();
        // Whoever waits for one of these is told by the drop, which must not happen under the lock.
        drop(undone);
    }
}

impl<S> Desk<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Task<S>> {
        let mut state = self.lock();
        while !state.closed {
            if let Some(task) = state.tasks.pop_front() {
                return Some(task);
            }
            state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    fn serve(&self, mut owned: S) {
        while let Some(task) = self.next() {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| task(&mut owned)))
                && let Some(on_panic) = &self.on_panic
            {
                on_panic(said(&*panic));
                return;
            }
        }
    }
}

/// A named thread.
pub(super) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, ScheduleError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
    thread.map_err(|e| ScheduleError::Thread { reason: e.to_string() })
}

/// What a panic said.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
