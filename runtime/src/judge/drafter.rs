//! Drafts of answers: from the form of the report, from the prompt, and from answers that this judge has read before.

use std::sync::Arc;

use rewardrt_models::verdict::Form;

use super::Inner;
use crate::decode::{Draft, Drafts, Grounds, Guess, Lookup};
use crate::text::Tokenizer;

/// Most turns that form and lookup take in one draft.
const TURNS: usize = 4;
/// Tokens before a draft that are encoded with it, so that its first token is what it would be in the whole text.
const TAIL: usize = 4;

/// Where the drafts of an answer to a caption come from.
pub(super) fn drafts(inner: &Inner, caption: &str) -> Drafts {
    let (tokenizer, store) = (inner.encoder.tokenizer().clone(), inner.answers.clone());
    let form = inner.pack.answer.form(caption);
    Drafts::new(move |prompt| {
        let lookup = Lookup::new(prompt, &store);
        Box::new(Drafter { tokenizer: tokenizer.clone(), form: form.clone(), lookup, tail: Vec::new() })
    })
}

/// The drafts of one answer.
struct Drafter {
    tokenizer: Arc<Tokenizer>,
    /// The report as far as it is written; none where answers have no form.
    form: Option<Form>,
    lookup: Lookup,
    /// The last tokens.
    tail: Vec<u32>,
}

/// Reads a token's text. A part of a character is a letter like any other to the form.
fn read(tokenizer: &Tokenizer, form: &mut Option<Form>, id: u32) {
    if let Some(form) = form {
        form.push(&String::from_utf8_lossy(tokenizer.visible_bytes(id)));
    }
}

impl Drafter {
    /// The tokens of a text behind the last tokens of the answer and of the draft.
    fn encode(&self, draft: &[Guess], text: &str) -> Vec<Guess> {
        let drafted = draft.iter().map(|guess| guess.id);
        let before: Vec<u32> = self.tail.iter().copied().chain(drafted).collect();
        let before = &before[before.len().saturating_sub(TAIL)..];
        let bytes: Vec<u8> =
            before.iter().flat_map(|&id| self.tokenizer.visible_bytes(id)).copied().collect();
        let whole = std::str::from_utf8(&bytes).ok().and_then(|tail| {
            let ids = self.tokenizer.encode_text(&format!("{tail}{text}")).ok()?;
            let mut end = 0;
            let start = ids.iter().position(|&id| {
                let here = end == tail.len();
                end += self.tokenizer.visible_bytes(id).len();
                here
            })?;
            Some(ids[start..].to_vec())
        });
        // Where a token would stand across the seam, the text begins with one of its own.
        let ids = whole.or_else(|| self.tokenizer.encode_text(text).ok()).unwrap_or_default();
        ids.into_iter().map(|id| Guess { id, grounds: Grounds::Form }).collect()
    }
}

impl Draft for Drafter {
    fn told(&mut self, id: u32) {
        self.lookup.told(id);
        read(&self.tokenizer, &mut self.form, id);
        self.tail.push(id);
        if self.tail.len() > TAIL {
            self.tail.remove(0);
        }
    }

    fn propose(&mut self, most: usize) -> Vec<Guess> {
        let (mut draft, mut form) = (Vec::new(), self.form.clone());
        for _ in 0..TURNS {
            let likely = form.as_ref().map_or_else(String::new, Form::likely);
            let mut next = if likely.is_empty() { Vec::new() } else { self.encode(&draft, &likely) };
            if next.is_empty() {
                next = self.lookup.after(&draft, most - draft.len());
            }
            if next.is_empty() {
                break;
            }
            for guess in next {
                read(&self.tokenizer, &mut form, guess.id);
                draft.push(guess);
            }
            if draft.len() >= most {
                draft.truncate(most);
                break;
            }
        }
        draft
    }
}
