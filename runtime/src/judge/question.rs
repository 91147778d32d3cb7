//! What a pack is asked: texts and pictures, checked against its task before any picture is decoded.

use rewardrt_models::prompt::pack::{Candidate, FramesAs, MAX_NEW_TOKENS, Shown};
use rewardrt_models::verdict::Protocol;

use super::footage::Footage;
use super::place::{self, Place, Times};
use super::types::{ASKER, Picture};
use super::{Inner, head, prepare};
use crate::Error;
use crate::media::PixelRule;
use crate::preprocess::Patches;
use crate::text::{Message, Part};

/// A question about one candidate or two. In the order of the prompt: what is shown beside the candidates, then
/// the pictures of each; a candidate in words has none.
#[derive(Clone)]
pub(super) struct Question<'a> {
    /// Caption, instruction or question.
    pub(super) prompt: &'a str,
    /// The source of edits, or what a question is about.
    pub(super) shown: &'a [Picture],
    /// The pictures of each candidate; empty for candidates in words.
    pub(super) candidates: Vec<&'a [Picture]>,
    /// The candidates in words.
    pub(super) answers: Vec<&'a str>,
    /// Fewer tokens than the pack allows.
    pub(super) max_new_tokens: Option<usize>,
}

impl<'q> Question<'q> {
    /// The same with its candidates in the other order.
    pub(super) fn flipped(&self) -> Question<'q> {
        let mut other = self.clone();
        other.candidates.reverse();
        other.answers.reverse();
        other
    }

    /// Refuses what this package and pack cannot be asked.
    pub(super) fn check(&self, inner: &Inner) -> Result<(), Error> {
        let refuse = |text: String| Err(Error::Request(text));
        let (pack, shape) = (&inner.pack, inner.pack.task.shape());
        if !self.fits(inner) {
            let (name, task, takes) = (&pack.name, shape.name, shape.takes());
            let given = self.given();
            return refuse(format!("pack {name} is for {task}, which takes {takes}; given were {given}"));
        }
        head::check(inner)?;
        let most = pack.max_new_tokens.min(MAX_NEW_TOKENS) as usize;
        if self.max_new_tokens.is_some_and(|n| n == 0 || n > most) {
            let name = &pack.name;
            return refuse(format!("max_new_tokens is not within 1..={most}, the limit of pack {name}"));
        }
        let manifest = inner.package.manifest();
        if pack.frames_as == FramesAs::Video && manifest.scores.is_none() && manifest.video.is_none() {
            return refuse(place::refusal(&format!("pack {} sends frames as one video", pack.name)));
        }
        inner.image().map(|_| ())
    }

    fn fits(&self, inner: &Inner) -> bool {
        let shape = inner.pack.task.shape();
        let shown = match shape.shown {
            None => self.shown.is_empty(),
            Some(Shown::Source) => self.shown.len() == 1,
            Some(Shown::Pictures | Shown::Frames) => !self.shown.is_empty(),
        };
        let one = |pictures: &&[Picture]| match shape.candidate {
            Candidate::Picture => pictures.len() == 1,
            Candidate::Frames => !pictures.is_empty(),
            Candidate::Answer => pictures.is_empty(),
        };
        let words = self.answers.len() == shape.answers();
        shown && words && self.candidates.len() == shape.candidates && self.candidates.iter().all(one)
    }

    /// What the question consists of, in words.
    fn given(&self) -> String {
        let candidates: Vec<String> = self.candidates.iter().map(|c| c.len().to_string()).collect();
        let (shown, words, many) = (self.shown.len(), self.answers.len(), self.candidates.len());
        let (pictures, s) = (candidates.join(" and "), if many == 1 { "" } else { "s" });
        format!(
            "{many} candidate{s} of {pictures} pictures, {shown} pictures beside them, {words} answers in words"
        )
    }

    /// What the tower is shown, and what each media part is in the prompt.
    pub(super) fn seen(&self, inner: &Inner, pixels: PixelRule) -> Result<(Vec<Patches>, Vec<Place>), Error> {
        let of = self.shown.len() + self.candidates.iter().map(|c| c.len()).sum::<usize>();
        let (mut patches, mut places) = part(inner, self.shown, of, pixels, "shown")?;
        let names = ["first candidate", "second candidate"];
        for (pictures, name) in self.candidates.iter().zip(names) {
            let (more, theirs) = part(inner, pictures, of, pixels, name)?;
            patches.extend(more);
            places.extend(theirs);
        }
        Ok((patches, places))
    }

    /// The user turn: all pictures or videos, then the text. `answers` stand in the order of this prompt.
    pub(super) fn message(&self, inner: &Inner, media: usize, answers: &[&str]) -> Result<Message, Error> {
        let text = inner.pack.user_text_with(self.prompt, answers)?;
        let part = match inner.pack.frames_as {
            FramesAs::Pictures => Part::Image,
            FramesAs::Video => Part::Video,
        };
        let mut parts: Vec<Part> = (0..media).map(part).collect();
        match &inner.pack.answer {
            Protocol::Head(kind) => parts.extend(head::parts(kind, &text)),
            _ => parts.push(Part::Text(text.to_string())),
        }
        Ok(Message::parts(ASKER, parts))
    }
}

/// Media parts that these pictures make: one each, or one video.
pub(super) fn media(inner: &Inner, pictures: &[Picture]) -> usize {
    match inner.pack.frames_as {
        FramesAs::Pictures => pictures.len(),
        FramesAs::Video => usize::from(!pictures.is_empty()),
    }
}

/// One part of a question, decoded and prepared: pictures, each by itself or all as one video. `of` counts the pictures of
/// the whole prompt; `name` says which part an error is about.
pub(super) fn part(
    inner: &Inner,
    pictures: &[Picture],
    of: usize,
    pixels: PixelRule,
    name: &str,
) -> Result<(Vec<Patches>, Vec<Place>), Error> {
    let (manifest, params) = (inner.package.manifest(), inner.image()?);
    if inner.pack.frames_as == FramesAs::Pictures {
        let refs: Vec<&Picture> = pictures.iter().collect();
        let each = |i: usize| format!("{name}, picture {}", i + 1);
        let patches = prepare::patches(&refs, of, pixels, params, each)?;
        let places = patches.iter().map(|p| Place::picture(p, params)).collect();
        return Ok((patches, places));
    }
    if pictures.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let each = |i: usize| format!("{name}, frame {}", i + 1);
    let (patches, place) = match manifest.scores {
        Some(_) => {
            let patches = prepare::video(pictures, pixels, params, each)?;
            let place = Place::numbered(&patches, params);
            (patches, place)
        }
        None => match Footage::whole(pictures) {
            Some(Footage { sampled, frames }) => {
                place::video(frames, Some(Times::of(sampled)), manifest, name)?
            }
            None => place::video(&prepare::frames(pictures, pixels, each)?, None, manifest, name)?,
        },
    };
    Ok((vec![patches], vec![place]))
}
