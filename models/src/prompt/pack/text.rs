//! The text part of a question: what the pack wrote, and in its holes what the caller wrote.

use super::{ANSWER_HOLE, ANSWER_HOLES, MAX_CAPTION_BYTES, Pack, PackError};

/// A piece of a prompt, with its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Written by the pack.
    Pack(&'a str),
    /// Written by the caller: ordinary text, whatever it spells.
    Caller(&'a str),
}

/// The text part of a user turn. `to_string` gives it whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptText<'a> {
    /// Its pieces in order: the pack's and the caller's in turn, beginning and ending with one of the pack's,
    /// which may be empty.
    pub pieces: Vec<Piece<'a>>,
}

impl std::fmt::Display for PromptText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Pack(text) | Piece::Caller(text) => f.write_str(text),
        })
    }
}

impl Pack {
    /// The text part of the user turn for a caption, which is put in verbatim.
    ///
    /// # Errors
    /// As [`Pack::user_text_with`].
    pub fn user_text<'a>(&'a self, caption: &'a str) -> Result<PromptText<'a>, PackError> {
        self.user_text_with(caption, &[])
    }

    /// The text part of the user turn for a caption, instruction or question, and the answers that are judged.
    /// All are put in verbatim, and none is searched for holes.
    ///
    /// # Errors
    /// [`PackError::CaptionTooLong`] and [`PackError::AnswerTooLong`]; [`PackError::Answers`] when the task
    /// takes another number of answers, [`PackError::NoCaption`] when it takes no text at all.
    pub fn user_text_with<'a>(
        &'a self,
        prompt: &'a str,
        answers: &[&'a str],
    ) -> Result<PromptText<'a>, PackError> {
        check_caption(prompt)?;
        let shape = self.task.shape();
        if let Some(bytes) = answers.iter().map(|answer| answer.len()).find(|n| *n > MAX_CAPTION_BYTES) {
            return Err(PackError::AnswerTooLong { bytes });
        }
        if answers.len() != shape.answers() {
            let (task, expected, found) = (self.task.name(), shape.answers(), answers.len());
            return Err(PackError::Answers { task, expected, found });
        }
        if shape.holes.is_empty() && !prompt.is_empty() {
            return Err(PackError::NoCaption { task: self.task.name() });
        }
        let mut places: Vec<_> =
            shape.holes.iter().filter_map(|hole| Some((self.prompt.find(hole)?, *hole))).collect();
        places.sort_unstable();
        let mut pieces = Vec::with_capacity(2 * places.len() + 1);
        let mut from = 0;
        for (at, hole) in places {
            pieces.push(Piece::Pack(&self.prompt[from..at]));
            pieces.push(Piece::Caller(filling(hole, prompt, answers)));
            from = at + hole.len();
        }
        pieces.push(Piece::Pack(&self.prompt[from..]));
        Ok(PromptText { pieces })
    }
}

/// What the caller wrote for a hole.
fn filling<'a>(hole: &str, prompt: &'a str, answers: &[&'a str]) -> &'a str {
    let index = match hole {
        ANSWER_HOLE => 0,
        hole => match ANSWER_HOLES.iter().position(|known| *known == hole) {
            Some(index) => index,
            None => return prompt,
        },
    };
    answers.get(index).copied().unwrap_or_default()
}

pub(super) fn check_caption(caption: &str) -> Result<(), PackError> {
    match caption.len() {
        bytes if bytes > MAX_CAPTION_BYTES => Err(PackError::CaptionTooLong { bytes }),
        _ => Ok(()),
    }
}

/// Every hole of the task stands once. Two cannot overlap, for each is closed by its own brace.
pub(super) fn check_holes(prompt: &str, holes: &[&str]) -> Result<(), PackError> {
    let count = |hole: &&str| prompt.matches(*hole).count();
    match holes.iter().find(|hole| count(hole) != 1) {
        None => Ok(()),
        Some(hole) => Err(PackError::Prompt(format!(
            "holds {hole} {} times; it must hold it exactly once",
            count(hole)
        ))),
    }
}
