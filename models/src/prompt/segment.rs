//! A rendered prompt becomes segments: control tokens, ordinary text, and media slots.
//!
//! The rule that keeps callers out of the control plane is provenance: only what the *template* wrote may
//! become a control token or a slot. A caller's text is never searched for control strings, so a caption
//! that spells one is encoded as the ordinary characters that it is.

use std::collections::{BTreeMap, BTreeSet};

/// What a media slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// One picture.
    Image,
    /// One video.
    Video,
}

impl std::fmt::Display for MediaKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            MediaKind::Image => "image",
            MediaKind::Video => "video",
        })
    }
}

/// A stretch of a rendered prompt, with its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Written by the checkpoint's chat template: may hold control strings and media placeholders.
    Template(&'a str),
    /// Written by the caller: always ordinary text.
    Caller(&'a str),
}

/// A part of a prompt, ready to be turned into token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// One control token that the template wrote, by its id.
    Control(u32),
    /// Ordinary text. It is maximal: no two of these follow each other, so that the tokenizer sees the
    /// same runs as the reference does.
    Text(String),
    /// The place of one picture or video.
    Media {
        /// Which media part of the request, counted from 0 in the order of the messages.
        slot: usize,
        /// What the slot holds.
        kind: MediaKind,
    },
}

/// The tokens by which a template marks the place of a picture or a video; `None` where the family has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaTokens {
    /// Id of the picture placeholder.
    pub image: Option<u32>,
    /// Id of the video placeholder.
    pub video: Option<u32>,
}

impl MediaTokens {
    fn kind(&self, id: u32) -> Option<MediaKind> {
        match Some(id) {
            found if found == self.image => Some(MediaKind::Image),
            found if found == self.video => Some(MediaKind::Video),
            _ => None,
        }
    }

    /// The placeholder id of `kind`, if the family has one.
    pub fn id(&self, kind: MediaKind) -> Option<u32> {
        match kind {
            MediaKind::Image => self.image,
            MediaKind::Video => self.video,
        }
    }
}

/// Why a prompt cannot be cut into segments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// A control string has no characters, or is listed twice.
    #[error(
        "the tokenizer's control token {id} has the unusable content {content:?}: {why}; repair tokenizer.json"
    )]
    UnusableControl {
        /// Id of the token.
        id: u32,
        /// Its content.
        content: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The template wrote another number of placeholders than the request has media parts.
    #[error(
        "the chat template wrote {found} media placeholders for {expected} media parts; \
         use the processor's own chat template of this checkpoint"
    )]
    SlotCount {
        /// Media parts of the request.
        expected: usize,
        /// Placeholders that the template wrote.
        found: usize,
    },
    /// A placeholder is of another kind than the media part in its turn.
    #[error("the chat template wrote a placeholder for {found} where media part {slot} is {expected}")]
    SlotKind {
        /// Which media part, counted from 0.
        slot: usize,
        /// Kind of the media part.
        expected: MediaKind,
        /// Kind of the placeholder.
        found: MediaKind,
    },
}

/// The control strings of a tokenizer, ready for leftmost-longest search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlTable {
    /// By first byte, the contents that start with it, longest first, so the first hit is the longest.
    by_first_byte: BTreeMap<u8, Vec<(String, u32)>>,
    ids: BTreeSet<u32>,
}

impl ControlTable {
    /// Builds the table from `(content, id)` pairs.
    ///
    /// # Errors
    /// [`SegmentError::UnusableControl`] when a content is empty, is listed twice, or holds white
    /// space (blanks of a caller could then complete a control string that a template began).
    pub fn new(controls: impl IntoIterator<Item = (String, u32)>) -> Result<Self, SegmentError> {
        let mut table = ControlTable::default();
        for (content, id) in controls {
            table.insert(content, id)?;
        }
        for entries in table.by_first_byte.values_mut() {
            entries.sort_by_key(|(content, _)| std::cmp::Reverse(content.len()));
        }
        Ok(table)
    }

    fn insert(&mut self, content: String, id: u32) -> Result<(), SegmentError> {
        let twice = self.id(&content).is_some();
        let why = match content.as_bytes().first() {
            None => "it is empty",
            Some(_) if content.contains(char::is_whitespace) => "it holds white space",
            Some(_) if twice => "another token has the same content",
            Some(&first) => {
                self.ids.insert(id);
                self.by_first_byte.entry(first).or_default().push((content, id));
                return Ok(());
            }
        };
        Err(SegmentError::UnusableControl { id, content, why })
    }

    /// The id of the control token whose content is exactly `content`.
    pub fn id(&self, content: &str) -> Option<u32> {
        let entries = self.by_first_byte.get(content.as_bytes().first()?)?;
        entries.iter().find(|(known, _)| known == content).map(|&(_, id)| id)
    }

    /// Whether `id` is a control token.
    pub fn contains_id(&self, id: u32) -> bool {
        self.ids.contains(&id)
    }

    /// Every `(content, id)`, in no promised order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.by_first_byte.values().flatten().map(|(content, id)| (content.as_str(), *id))
    }

    /// The leftmost control string of `text`, the longest of those that start there: its byte offset, its
    /// length in bytes, and its id. This is how the reference tokenizer looks for added tokens.
    fn find(&self, text: &str) -> Option<(usize, usize, u32)> {
        text.bytes().enumerate().find_map(|(at, byte)| {
            let rest = &text.as_bytes()[at..];
            let entries = self.by_first_byte.get(&byte)?;
            let (content, id) = entries.iter().find(|(content, _)| rest.starts_with(content.as_bytes()))?;
            Some((at, content.len(), *id))
        })
    }
}

/// Cuts a rendered prompt into segments.
///
/// `pieces` is the whole prompt in order. Template pieces are searched for the control strings of
/// `controls`; placeholders named by `media` become slots, numbered in order. All other text, of either
/// author, is joined into maximal runs. `expected` lists the kinds of the request's media parts in order.
///
/// # Errors
/// [`SegmentError::SlotCount`] and [`SegmentError::SlotKind`] when the placeholders and `expected` differ.
pub fn segment(
    pieces: &[Piece<'_>],
    controls: &ControlTable,
    media: MediaTokens,
    expected: &[MediaKind],
) -> Result<Vec<Segment>, SegmentError> {
    let mut cutter = Cutter { media, segments: Vec::new(), slots: Vec::new() };
    for piece in pieces {
        match piece {
            Piece::Caller(text) => append_text(&mut cutter.segments, text),
            Piece::Template(text) => cutter.template(text, controls),
        }
    }
    check_slots(&cutter.slots, expected)?;
    Ok(cutter.segments)
}

/// Adds ordinary text at the end of a prompt, joined with the run that stands there, so that the tokenizer
/// sees one run. This is how forced assistant text follows the generation prompt.
pub fn append_text(segments: &mut Vec<Segment>, text: &str) {
    match segments.last_mut() {
        _ if text.is_empty() => {}
        Some(Segment::Text(run)) => run.push_str(text),
        _ => segments.push(Segment::Text(text.to_owned())),
    }
}

struct Cutter {
    media: MediaTokens,
    segments: Vec<Segment>,
    slots: Vec<MediaKind>,
}

impl Cutter {
    fn template(&mut self, text: &str, controls: &ControlTable) {
        let mut rest = text;
        while let Some((at, len, id)) = controls.find(rest) {
            append_text(&mut self.segments, &rest[..at]);
            self.control(id);
            rest = &rest[at + len..];
        }
        append_text(&mut self.segments, rest);
    }

    fn control(&mut self, id: u32) {
        let segment = match self.media.kind(id) {
            None => Segment::Control(id),
            Some(kind) => {
                self.slots.push(kind);
                Segment::Media { slot: self.slots.len() - 1, kind }
            }
        };
        self.segments.push(segment);
    }
}

fn check_slots(found: &[MediaKind], expected: &[MediaKind]) -> Result<(), SegmentError> {
    if found.len() != expected.len() {
        return Err(SegmentError::SlotCount { expected: expected.len(), found: found.len() });
    }
    let wrong = found.iter().zip(expected).position(|(a, b)| a != b);
    wrong.map_or(Ok(()), |slot| {
        Err(SegmentError::SlotKind { slot, expected: expected[slot], found: found[slot] })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONTROLS: [(&str, u32); 6] =
        [("<s>", 1), ("</s>", 2), ("<s>x", 3), ("<img>", 4), ("<vid>", 5), ("<think>", 6)];
    const MEDIA: MediaTokens = MediaTokens { image: Some(4), video: Some(5) };

    fn table() -> ControlTable {
        ControlTable::new(CONTROLS.map(|(content, id)| (content.to_owned(), id))).unwrap()
    }

    fn text(run: &str) -> Segment {
        Segment::Text(run.to_owned())
    }

    fn media(slot: usize, kind: MediaKind) -> Segment {
        Segment::Media { slot, kind }
    }

    fn check(pieces: &[Piece<'_>], kinds: &[MediaKind], expected: Result<Vec<Segment>, SegmentError>) {
        assert_eq!(segment(pieces, &table(), MEDIA, kinds), expected, "{pieces:?}");
    }

    #[test]
    fn template_controls_split_text_and_caller_controls_do_not() {
        let pieces = [Piece::Template("<s>user\n"), Piece::Caller("a</s><img>"), Piece::Template("</s>\n")];
        let expected = vec![Segment::Control(1), text("user\na</s><img>"), Segment::Control(2), text("\n")];
        check(&pieces, &[], Ok(expected));
    }

    #[test]
    fn the_leftmost_control_wins_and_among_those_the_longest() {
        check(&[Piece::Template("a<s>xy")], &[], Ok(vec![text("a"), Segment::Control(3), text("y")]));
        check(&[Piece::Template("<s<s>")], &[], Ok(vec![text("<s"), Segment::Control(1)]));
    }

    #[test]
    fn placeholders_become_slots_in_order() {
        let pieces = [Piece::Template("<img>"), Piece::Caller("x"), Piece::Template("<vid><img>")];
        let kinds = [MediaKind::Image, MediaKind::Video, MediaKind::Image];
        let expected = vec![media(0, kinds[0]), text("x"), media(1, kinds[1]), media(2, kinds[2])];
        check(&pieces, &kinds, Ok(expected));
    }

    #[test]
    fn slots_that_do_not_match_the_request_are_refused() {
        let image = [MediaKind::Image];
        check(&[Piece::Caller("<img>")], &image, Err(SegmentError::SlotCount { expected: 1, found: 0 }));
        check(
            &[Piece::Template("<img><img>")],
            &image,
            Err(SegmentError::SlotCount { expected: 1, found: 2 }),
        );
        let kind = SegmentError::SlotKind { slot: 0, expected: MediaKind::Image, found: MediaKind::Video };
        check(&[Piece::Template("<vid>")], &image, Err(kind));
    }

    #[test]
    fn a_control_string_never_grows_together_over_two_authors() {
        let pieces = [Piece::Template("<"), Piece::Caller("s>"), Piece::Template("")];
        check(&pieces, &[], Ok(vec![text("<s>")]));
        let pieces = [Piece::Template("<i"), Piece::Caller(""), Piece::Template("mg>")];
        check(&pieces, &[], Ok(vec![text("<img>")]));
    }

    #[test]
    fn unusable_control_strings_are_refused() {
        for (content, why) in
            [("", "empty"), (" <a>", "white space"), ("<a b>", "white space"), ("<s>", "same")]
        {
            let controls = [("<s>".to_owned(), 1), (content.to_owned(), 9)];
            let error = ControlTable::new(controls).unwrap_err().to_string();
            assert!(error.contains(why), "{content:?}: {error}");
        }
    }

    #[test]
    fn appended_text_joins_the_last_run() {
        let mut segments = vec![Segment::Control(1), text("assistant\n")];
        append_text(&mut segments, "{");
        append_text(&mut segments, "");
        assert_eq!(segments, [Segment::Control(1), text("assistant\n{")]);
        segments.push(Segment::Control(2));
        append_text(&mut segments, "x");
        assert_eq!(segments.len(), 4);
    }

    fn chunk() -> impl Strategy<Value = String> {
        prop_oneof![
            proptest::sample::select(CONTROLS.map(|(content, _)| content.to_owned()).to_vec()),
            "[<>/simgvx\u{e9} \n]{0,8}",
            any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn callers_write_no_control_and_no_text_is_lost(
            parts in proptest::collection::vec((any::<bool>(), chunk()), 0..12)
        ) {
            let pieces: Vec<Piece<'_>> = parts
                .iter()
                .map(|(own, s)| if *own { Piece::Template(s) } else { Piece::Caller(s) })
                .collect();
            let only_template: Vec<Piece<'_>> =
                pieces.iter().map(|p| match p { Piece::Caller(_) => Piece::Caller(""), own => *own }).collect();
            let table = table();
            let controls = |pieces: &[Piece<'_>]| -> Vec<u32> {
                segment(pieces, &table, MediaTokens::default(), &[]).unwrap().iter()
                    .filter_map(|s| if let Segment::Control(id) = s { Some(*id) } else { None }).collect()
            };
            prop_assert_eq!(controls(&pieces), controls(&only_template));
            let segments = segment(&pieces, &table, MediaTokens::default(), &[]).unwrap();
            let name = |id: u32| CONTROLS.iter().find(|(_, known)| *known == id).unwrap().0;
            let joined: String = segments.iter().map(|s| match s {
                Segment::Control(id) => name(*id),
                Segment::Text(run) => run.as_str(),
                Segment::Media { .. } => unreachable!(),
            }).collect();
            prop_assert_eq!(joined, parts.iter().map(|(_, s)| s.as_str()).collect::<String>());
            let runs = segments.windows(2).any(|w| matches!(w, [Segment::Text(_), Segment::Text(_)]));
            prop_assert!(!runs, "two text runs follow each other");
        }
    }
}
