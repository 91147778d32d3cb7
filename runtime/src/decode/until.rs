//! Ends that ids do not say.

use std::fmt;
use std::sync::Arc;

/// Told each new token in turn, the last one included; true when the answer ends with it. Not asked about a stop token.
pub type Ended = Box<dyn FnMut(u32) -> bool + Send>;

/// A rule by which answers end early, given by who knows what they mean: decoding knows ids only. Copies of a request
/// share it, and each sequence starts it anew.
#[derive(Clone)]
pub struct Until(Arc<dyn Fn() -> Ended + Send + Sync>);

impl Until {
    /// The rule that is started by this.
    pub fn new(start: impl Fn() -> Ended + Send + Sync + 'static) -> Until {
        Until(Arc::new(start))
    }

    /// The rule at the start of an answer.
    pub(super) fn start(&self) -> Ended {
        (self.0)()
    }
}

impl fmt::Debug for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Until")
    }
}
