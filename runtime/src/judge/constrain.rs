//! Answers that are held to a form: the grammar of reports, token by token.

use std::sync::Arc;

use rewardrt_models::verdict::Grammar;

use super::Inner;
use super::types::{CompareOptions, Constrain};
use crate::Error;
use crate::decode::{Allow, Constraint};
use crate::text::Tokenizer;

/// Refuses to hold an answer to a form that it does not have.
pub(super) fn check(inner: &Inner, options: &CompareOptions) -> Result<(), Error> {
    let Some(Constrain::Report) = options.constrain else { return Ok(()) };
    let refused = |why: &str| Err(Error::Request(format!("constrain to a report: {why}")));
    if options.verdict_only {
        return refused("a verdict only is forced, nothing is written that could be held to a form");
    }
    match inner.pack.answer.grammar() {
        Some(_) => Ok(()),
        None => refused(&format!("the answers of pack {} are no reports", inner.pack.name)),
    }
}

/// What answers are held to; none where they are free.
pub(super) fn constraint(inner: &Inner, options: &CompareOptions) -> Option<Constraint> {
    options.constrain?;
    let grammar = inner.pack.answer.grammar()?;
    let tokenizer = inner.encoder.tokenizer().clone();
    let stop: Arc<[u32]> = inner.package.manifest().tokens.eos.as_slice().into();
    Some(Constraint::new(move || {
        Box::new(Held { tokenizer: tokenizer.clone(), stop: stop.clone(), grammar: grammar.clone() })
    }))
}

/// An answer that is held to the grammar.
struct Held {
    tokenizer: Arc<Tokenizer>,
    stop: Arc<[u32]>,
    grammar: Grammar,
}

impl Allow for Held {
    fn allows(&self, id: u32) -> bool {
        if self.stop.contains(&id) {
            return self.grammar.is_whole();
        }
        let bytes = self.tokenizer.visible_bytes(id);
        // A token that says nothing leads nowhere, and there may be no end of such.
        !bytes.is_empty() && self.grammar.allows(bytes)
    }

    fn told(&mut self, id: u32) {
        self.grammar.push(self.tokenizer.visible_bytes(id));
    }
}
