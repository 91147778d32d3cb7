//! A call on its way, from its entry to its answer.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::error::ScheduleError;
use super::machine::{CallId, End, JobId, Left};
use super::service::{Answer, Door, Shared, Told, Unsent};
use super::station::{Station, said};
use super::turns::Who;
use crate::Error;
use crate::decode::{Completion, DecodeError, Request};

/// A call. Dropping it cancels everything that it waits for, within one step.
pub(crate) struct Call {
    shared: Arc<Shared>,
    id: CallId,
    who: Who,
    deadline: Option<Instant>,
    inbox: UnboundedReceiver<Told>,
    /// Answers that came while something else was waited for.
    answers: VecDeque<(JobId, Answer)>,
    has_turn: bool,
    over: Option<End>,
    left: bool,
}

/// Work that was left at a station.
pub(crate) struct Pending<R> {
    result: oneshot::Receiver<Result<R, Error>>,
}

impl Call {
    /// Enters, or is refused.
    pub(crate) fn enter(door: &Door, who: Who, deadline: Option<Instant>) -> Result<Call, Error> {
        let (id, inbox) = door.shared.enter(who, deadline)?;
        let (shared, answers) = (door.shared.clone(), VecDeque::new());
        Ok(Call { shared, id, who, deadline, inbox, answers, has_turn: false, over: None, left: false })
    }

    /// Waits until the call may make its pictures ready.
    pub(crate) async fn turn(&mut self) -> Result<(), Error> {
        std::future::poll_fn(|cx| {
            let over = self.listen(cx);
            if self.has_turn { Poll::Ready(Ok(())) } else { over.map(Err) }
        })
        .await
    }

    /// Leaves work at a station. It is not begun after the deadline, nor when the call is gone.
    pub(crate) fn post<S: Send + 'static, R: Send + 'static>(
        &self,
        station: &Station<S>,
        work: impl FnOnce(&mut S) -> Result<R, Error> + Send + 'static,
    ) -> Pending<R> {
        let (tell, result) = oneshot::channel();
        let deadline = self.deadline;
        station.post(Box::new(move |owned| {
            if tell.is_closed() || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return;
            }
            match catch_unwind(AssertUnwindSafe(|| work(owned))) {
                Ok(result) => drop(tell.send(result)),
                Err(panic) => {
                    let reason = said(&*panic);
                    drop(tell.send(Err(ScheduleError::Unready { reason }.into())));
                    // The station decides whether it can go on.
                    resume_unwind(panic);
                }
            }
        }));
        Pending { result }
    }

    /// Waits for work that was left at a station.
    pub(crate) async fn ready<R>(&mut self, pending: Pending<R>) -> Result<R, Error> {
        let mut result = Some(pending.result);
        std::future::poll_fn(|cx| {
            match result.as_mut().map(|result| Pin::new(result).poll(cx)) {
                Some(Poll::Ready(Ok(result))) => return Poll::Ready(result),
                // It was not begun: the call is over, or will be at once.
                Some(Poll::Ready(Err(_))) => result = None,
                Some(Poll::Pending) | None => {}
            }
            self.listen(cx).map(Err)
        })
        .await
    }

    /// Puts requests into the queue, all at once so that they may start together. One that no slot holds fails all.
    pub(crate) async fn submit(&mut self, requests: Vec<Request>) -> Result<Vec<JobId>, Error> {
        match self.shared.submit(self.id, self.who.class, requests) {
            Ok(jobs) => Ok(jobs),
            Err(Unsent::Refused(refusal)) => Err(DecodeError::from(refusal).into()),
            Err(Unsent::Gone) => Err(std::future::poll_fn(|cx| self.listen(cx)).await),
        }
    }

    /// Puts requests into the queue and waits for all of them; their answers stand in their order.
    pub(crate) async fn run(&mut self, requests: Vec<Request>) -> Result<Vec<Answer>, Error> {
        let jobs = self.submit(requests).await?;
        let mut answers = BTreeMap::new();
        while answers.len() < jobs.len() {
            let (job, answer) = self.answer().await?;
            answers.insert(job, answer);
        }
        // Jobs are named in the order in which they are submitted.
        Ok(answers.into_values().collect())
    }

    /// The same with one request.
    pub(crate) async fn run_one(&mut self, request: Request) -> Result<Completion, Error> {
        self.submit(vec![request]).await?;
        Ok(self.answer().await?.1?)
    }

    /// Waits for the next request to end, of those that were submitted.
    pub(crate) async fn answer(&mut self) -> Result<(JobId, Answer), Error> {
        std::future::poll_fn(|cx| {
            let over = self.listen(cx);
            match self.answers.pop_front() {
                Some(answer) => Poll::Ready(Ok(answer)),
                None => over.map(Err),
            }
        })
        .await
    }

    /// Leaves with an answer or an error.
    pub(crate) fn leave(mut self, answered: bool) {
        self.left = true;
        self.shared.leave(self.id, if answered { Left::Done } else { Left::Failed });
    }

    /// Takes what the call was told; ready with the reason when it is over.
    fn listen(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        while self.over.is_none() {
            match self.inbox.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Told::Turn)) => self.has_turn = true,
                Poll::Ready(Some(Told::Answer(job, answer))) => self.answers.push_back((job, answer)),
                Poll::Ready(Some(Told::Over(end))) => self.over = Some(end),
                // The schedule lets go of a call only when it is over.
                Poll::Ready(None) => self.over = Some(End::Closed),
            }
        }
        let end = self.over.clone().unwrap_or(End::Closed);
        Poll::Ready(ScheduleError::from(end).into())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.left {
            self.shared.leave(self.id, Left::Cancelled);
        }
    }
}
