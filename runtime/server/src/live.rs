//! A body that is written while the judge works: the judge's future lives in it, so a client that goes takes the work with
//! it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::error::ApiError;

/// What the work ends with: the last pieces of the body.
pub(crate) type Last = Pin<Box<dyn Future<Output = Result<Vec<Bytes>, ApiError>> + Send>>;

/// Writes the refusal of work that fails on the way.
type Failed = Box<dyn Fn(&ApiError) -> Vec<Bytes> + Send>;

/// A body of pieces that come by a channel, and last ones that the work ends with.
pub(crate) struct Live {
    pieces: UnboundedReceiver<Bytes>,
    /// None when it is done.
    work: Option<Last>,
    ready: VecDeque<Bytes>,
    /// What is written when the work fails on the way.
    failed: Failed,
}

impl Live {
    /// Waits for the first piece, so that a refusal is still a refusal.
    ///
    /// # Errors
    /// What the work failed with before there was any piece.
    pub(crate) async fn start(
        pieces: UnboundedReceiver<Bytes>,
        work: Last,
        failed: impl Fn(&ApiError) -> Vec<Bytes> + Send + 'static,
    ) -> Result<Live, ApiError> {
        let mut live = Live { pieces, work: Some(work), ready: VecDeque::new(), failed: Box::new(failed) };
        std::future::poll_fn(|cx| match live.go_on(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if live.ready.is_empty() => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        })
        .await?;
        Ok(live)
    }

    /// Goes on with the work and takes what is there; ready when it is done.
    fn go_on(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        let done = match &mut self.work {
            None => return Poll::Ready(Ok(())),
            Some(work) => work.as_mut().poll(cx),
        };
        while let Poll::Ready(Some(piece)) = self.pieces.poll_recv(cx) {
            self.ready.push_back(piece);
        }
        let Poll::Ready(done) = done else { return Poll::Pending };
        self.work = None;
        Poll::Ready(done.map(|last| self.ready.extend(last)))
    }
}

impl Body for Live {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ready.is_empty()
            && let Poll::Ready(Err(error)) = self.go_on(cx)
        {
            let words = (self.failed)(&error);
            self.ready.extend(words);
        }
        match self.ready.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.work.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
