//! Segments to ids, and the two ways in which a judge asks for them: one prompt, or a fork of two
//! continuations whose first different tokens are to be weighed.

use std::ops::Range;
use std::sync::Arc;

use rewardrt_models::prompt::segment::{MediaKind, MediaTokens, Segment, SegmentError, append_text, segment};

use super::chat::Message;
use super::template::{ChatTemplate, RenderOptions, TemplateError};
use super::tokenizer::{PlainTextError, Tokenizer};
use super::{MAX_PROMPT_TOKENS, MAX_TEXT_BYTES};

/// Why a prompt cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The chat template and the chat do not go together.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The template's placeholders and the chat's media do not go together.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Too much text.
    #[error("the prompt holds {bytes} bytes of text, above the limit of {limit}; shorten it")]
    TextTooLong {
        /// Bytes of all texts.
        bytes: usize,
        /// [`MAX_TEXT_BYTES`].
        limit: usize,
    },
    /// Too many tokens.
    #[error(
        "the prompt has {tokens} tokens, above the limit of {limit}; shorten the text or use smaller media"
    )]
    TooManyTokens {
        /// Tokens counted until the limit was passed.
        tokens: usize,
        /// [`MAX_PROMPT_TOKENS`].
        limit: usize,
    },
    /// The slots of the messages are not 0, 1, 2... in order.
    #[error(
        "the media slots of the messages must count 0, 1, 2...; slot {found} stands in the place of {expected}"
    )]
    SlotOrder {
        /// The number that should stand there.
        expected: usize,
        /// The number that does.
        found: usize,
    },
    /// The lengths given are not those of the slots.
    #[error("the prompt has {slots} media slots, and {lengths} lengths were given")]
    MediaLengths {
        /// Slots of the prompt.
        slots: usize,
        /// Lengths given.
        lengths: usize,
    },
    /// A picture or video of no tokens.
    #[error("media slot {slot} has no vision tokens")]
    EmptyMedia {
        /// The slot.
        slot: usize,
    },
    /// The package names no placeholder for this kind, or one that is no control token of the tokenizer.
    #[error("the package has no usable placeholder token for {kind} input; this model may not support it")]
    NoPlaceholder {
        /// The kind of media.
        kind: MediaKind,
    },
    /// The tokenizer failed on a text.
    #[error("the tokenizer failed: {0}")]
    Tokenizer(String),
    /// Ordinary text gave a control token, which the tokenizer's construction should make impossible.
    #[error("ordinary text was encoded as the control token {id}; this tokenizer cannot be used safely")]
    ControlFromText {
        /// The control token.
        id: u32,
    },
    /// Two continuations of which none can be chosen by one token.
    #[error("the continuations {first:?} and {second:?} do not differ at a token")]
    NoFork {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
}

impl From<PlainTextError> for EncodeError {
    fn from(error: PlainTextError) -> Self {
        match error {
            PlainTextError::Failed(why) => EncodeError::Tokenizer(why),
            PlainTextError::Control(id) => EncodeError::ControlFromText { id },
        }
    }
}

/// A prompt as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncodedPrompt {
    /// Token ids, `[S]`.
    pub ids: Vec<u32>,
    /// For each media slot, the positions in `ids` that its vision tokens take. Known by provenance, not by
    /// looking for placeholder ids.
    pub media_spans: Vec<Range<usize>>,
}

impl EncodedPrompt {
    /// Tokens that stand for pictures and videos.
    pub fn vision_tokens(&self) -> usize {
        self.media_spans.iter().map(Range::len).sum()
    }
}

/// One prompt with two continuations that part at a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The prompt and what the continuations share.
    pub prompt: EncodedPrompt,
    /// The rest of each continuation. Neither is empty, and their first ids differ.
    pub tails: [Vec<u32>; 2],
}

/// Everything that turns a chat into ids, for one package.
#[derive(Debug)]
pub struct PromptEncoder {
    tokenizer: Arc<Tokenizer>,
    template: ChatTemplate,
    media: MediaTokens,
}

impl PromptEncoder {
    /// Puts the parts of a package together.
    ///
    /// # Errors
    /// [`EncodeError::NoPlaceholder`] when a placeholder is no control token of the tokenizer.
    pub fn new(
        tokenizer: Tokenizer,
        template: ChatTemplate,
        media: MediaTokens,
    ) -> Result<Self, EncodeError> {
        for kind in [MediaKind::Image, MediaKind::Video] {
            if media.id(kind).is_some_and(|id| !tokenizer.controls().contains_id(id)) {
                return Err(EncodeError::NoPlaceholder { kind });
            }
        }
        Ok(PromptEncoder { tokenizer: Arc::new(tokenizer), template, media })
    }

    /// The tokenizer, for decoding.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// Renders a chat and cuts it into segments; the forced beginning of the answer, if any, is the last
    /// text.
    ///
    /// # Errors
    /// [`EncodeError`], before anything of a picture is computed.
    pub fn segments(
        &self,
        messages: &[Message],
        options: &RenderOptions<'_>,
    ) -> Result<Vec<Segment>, EncodeError> {
        let prefix = options.assistant_prefix.unwrap_or_default();
        check_text(messages.iter().flat_map(Message::texts).map(str::len).sum::<usize>() + prefix.len())?;
        let kinds = media_kinds(messages)?;
        let rendered = self.template.render(messages, options)?;
        let mut segments = segment(&rendered.pieces(), self.tokenizer.controls(), self.media, &kinds)?;
        append_text(&mut segments, prefix);
        Ok(segments)
    }

    /// Encodes segments. `media_lengths` are the vision tokens of each slot.
    ///
    /// # Errors
    /// [`EncodeError`] when the lengths do not fit the slots, or the prompt grows beyond its limit.
    pub fn encode(
        &self,
        segments: &[Segment],
        media_lengths: &[usize],
    ) -> Result<EncodedPrompt, EncodeError> {
        let texts =
            segments.iter().map(|segment| if let Segment::Text(text) = segment { text.len() } else { 0 });
        check_text(texts.sum())?;
        let mut prompt = EncodedPrompt::default();
        for segment in segments {
            match segment {
                Segment::Control(id) => prompt.ids.push(*id),
                Segment::Text(text) => prompt.ids.extend(self.tokenizer.encode_text(text)?),
                Segment::Media { slot, kind } => {
                    self.push_media(&mut prompt, *slot, *kind, media_lengths)?;
                }
            }
            check_tokens(prompt.ids.len())?;
        }
        let (slots, lengths) = (prompt.media_spans.len(), media_lengths.len());
        if slots == lengths { Ok(prompt) } else { Err(EncodeError::MediaLengths { slots, lengths }) }
    }

    fn push_media(
        &self,
        prompt: &mut EncodedPrompt,
        slot: usize,
        kind: MediaKind,
        media_lengths: &[usize],
    ) -> Result<(), EncodeError> {
        let expected = prompt.media_spans.len();
        if slot != expected {
            return Err(EncodeError::SlotOrder { expected, found: slot });
        }
        let id = self.media.id(kind).ok_or(EncodeError::NoPlaceholder { kind })?;
        let lengths = media_lengths.len();
        let length =
            *media_lengths.get(slot).ok_or(EncodeError::MediaLengths { slots: slot + 1, lengths })?;
        if length == 0 {
            return Err(EncodeError::EmptyMedia { slot });
        }
        let start = prompt.ids.len();
        // Checked before the memory is asked for.
        check_tokens(start.saturating_add(length))?;
        prompt.ids.resize(start + length, id);
        prompt.media_spans.push(start..start + length);
        Ok(())
    }

    /// Encodes a prompt with two continuations of its last text, and parts them where their ids part. Each
    /// is encoded as one run with the text before it, so the ids are those the model would have written.
    ///
    /// # Errors
    /// [`EncodeError::NoFork`] when one continuation's ids begin with all of the other's; else as
    /// [`PromptEncoder::encode`].
    pub fn fork(
        &self,
        segments: &[Segment],
        media_lengths: &[usize],
        continuations: [&str; 2],
    ) -> Result<Fork, EncodeError> {
        let encode = |text: &str| {
            let mut whole = segments.to_vec();
            append_text(&mut whole, text);
            self.encode(&whole, media_lengths)
        };
        let [first, second] = [encode(continuations[0])?, encode(continuations[1])?];
        let common = first.ids.iter().zip(&second.ids).take_while(|(a, b)| a == b).count();
        let tails = [&first, &second].map(|prompt| prompt.ids[common..].to_vec());
        if tails.iter().any(Vec::is_empty) {
            let [first, second] = continuations.map(str::to_owned);
            return Err(EncodeError::NoFork { first, second });
        }
        let EncodedPrompt { mut ids, media_spans } = first;
        ids.truncate(common);
        Ok(Fork { prompt: EncodedPrompt { ids, media_spans }, tails })
    }
}

fn check_text(bytes: usize) -> Result<(), EncodeError> {
    let limit = MAX_TEXT_BYTES;
    if bytes > limit { Err(EncodeError::TextTooLong { bytes, limit }) } else { Ok(()) }
}

fn check_tokens(tokens: usize) -> Result<(), EncodeError> {
    let limit = MAX_PROMPT_TOKENS;
    if tokens > limit { Err(EncodeError::TooManyTokens { tokens, limit }) } else { Ok(()) }
}

/// Kinds of the media parts in order of their slots, which must be the order of the messages.
fn media_kinds(messages: &[Message]) -> Result<Vec<MediaKind>, EncodeError> {
    let parts = messages.iter().flat_map(Message::media).enumerate();
    parts
        .map(
            |(expected, (kind, found))| {
                if expected == found { Ok(kind) } else { Err(EncodeError::SlotOrder { expected, found }) }
            },
        )
        .collect()
}
