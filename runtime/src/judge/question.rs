//! What a pack is asked: texts and pictures, checked against its task before any picture is decoded.

use rewardrt_models::package::ImageProcessing;
use rewardrt_models::prompt::pack::{Candidate, FramesAs, MAX_NEW_TOKENS, Shown};
use rewardrt_models::spec::position::Span;
use rewardrt_models::verdict::Protocol;

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
    pub(super) fn check<'a>(&self, inner: &'a Inner) -> Result<&'a ImageProcessing, Error> {
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
        inner.image()
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

    /// Every picture in the order of the prompt, decoded and prepared.
    pub(super) fn patches(&self, pixels: PixelRule, params: &ImageProcessing) -> Result<Vec<Patches>, Error> {
        let groups = [("shown", self.shown)].into_iter();
        let places = ["first candidate", "second candidate"];
        let groups = groups.chain(places.into_iter().zip(self.candidates.iter().copied()));
        let named: Vec<(String, &Picture)> = groups
            .flat_map(|(place, pictures)| {
                pictures.iter().enumerate().map(move |(i, p)| (format!("{place}, picture {}", i + 1), p))
            })
            .collect();
        let pictures: Vec<&Picture> = named.iter().map(|(_, picture)| *picture).collect();
        prepare::patches(&pictures, pictures.len(), pixels, params, |i| named[i].0.clone())
    }

    /// What the tower is shown, and what each media part is in the prompt: each picture in order, or the one video.
    pub(super) fn seen(
        &self,
        inner: &Inner,
        pixels: PixelRule,
        params: &ImageProcessing,
    ) -> Result<(Vec<Patches>, Vec<Span>), Error> {
        if inner.pack.frames_as == FramesAs::Pictures {
            let patches = self.patches(pixels, params)?;
            let spans = patches.iter().map(|p| p.span(params)).collect();
            return Ok((patches, spans));
        }
        let frames = self.candidates.first().copied().unwrap_or_default();
        let video = prepare::video(frames, pixels, params, |i| format!("frame {}", i + 1))?;
        let side = |n: u32| (n / params.merge_size.max(1)) as usize;
        let [times, rows, columns] = [video.grid[0] as usize, side(video.grid[1]), side(video.grid[2])];
        // The tokens of a video are numbered as text, see `head::check`, so no step is ever taken.
        Ok((vec![video], vec![Span::Video { times, rows, columns, step: 1.0 }]))
    }

    /// The user turn: all pictures, then the text. `answers` stand in the order of this prompt.
    pub(super) fn message(&self, inner: &Inner, pictures: usize, answers: &[&str]) -> Result<Message, Error> {
        let text = inner.pack.user_text_with(self.prompt, answers)?;
        let part = match inner.pack.frames_as {
            FramesAs::Pictures => Part::Image,
            FramesAs::Video => Part::Video,
        };
        let mut parts: Vec<Part> = (0..pictures).map(part).collect();
        match &inner.pack.answer {
            Protocol::Head(kind) => parts.extend(head::parts(kind, &text)),
            _ => parts.push(Part::Text(text.to_string())),
        }
        Ok(Message::parts(ASKER, parts))
    }
}
