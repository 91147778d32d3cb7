//! Which tokens may be next, where answers must be of a form.

use std::fmt;
use std::sync::Arc;

/// Knows the answer so far, and what may follow.
pub trait Allow: Send {
    /// Whether this token may be next; a stop token, whether the answer may end.
    fn allows(&self, id: u32) -> bool;

    /// The next token, as it was chosen of those that are allowed.
    fn told(&mut self, id: u32);
}

/// Starts anew for each sequence.
type Start = dyn Fn() -> Box<dyn Allow> + Send + Sync;

/// What answers are held to, given by who knows what tokens mean: decoding knows ids only. The model chooses as ever; where
/// its choice is not allowed, it chooses again among the tokens that are. Drawn tokens follow the model's distribution
/// over those so.
#[derive(Clone)]
pub struct Constraint(Arc<Start>);

impl Constraint {
    /// The constraint that is started by this.
    pub fn new(start: impl Fn() -> Box<dyn Allow> + Send + Sync + 'static) -> Constraint {
        Constraint(Arc::new(start))
    }

    /// The constraint at the start of an answer.
    pub(super) fn start(&self) -> Box<dyn Allow> {
        (self.0)()
    }
}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Constraint")
    }
}
