//! Chats: the messages file as callers write it, and the prompt that is made of it.

use std::fmt;
use std::sync::Arc;

use rewardrt_models::prompt::segment::MediaKind;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::MAX_CHAT_PARTS;

/// Who speaks. A closed set: the role is written into the prompt by the template, next to control tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Standing instructions.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name that templates compare with: `system`, `user` or `assistant`.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// One message of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said and shown.
    pub content: Content,
}

/// The content of a message. Templates may treat the two forms differently, so the form is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A plain string; text-only templates know no other form.
    Plain(String),
    /// Texts, pictures and videos in order.
    Parts(Vec<Part>),
}

/// One part of a message. Slots count the media parts of all messages together, from 0, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The caller's text; never a control token, whatever it spells.
    Text(String),
    /// A control token of the package that the pack writes, by its content; never the caller's.
    Marker(String),
    /// The picture in this slot.
    Image(usize),
    /// The video in this slot.
    Video(usize),
}

impl Message {
    /// A message made of parts.
    pub fn parts(role: Role, parts: Vec<Part>) -> Self {
        Message { role, content: Content::Parts(parts) }
    }

    /// A message that is one plain string.
    pub fn plain(role: Role, text: impl Into<String>) -> Self {
        Message { role, content: Content::Plain(text.into()) }
    }

    /// The caller's texts in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (plain, parts) = match &self.content {
            Content::Plain(text) => (Some(text.as_str()), &[][..]),
            Content::Parts(parts) => (None, parts.as_slice()),
        };
        let texts = parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        });
        plain.into_iter().chain(texts)
    }

    /// Kind and slot number of the media parts in order.
    pub fn media(&self) -> impl Iterator<Item = (MediaKind, usize)> {
        let parts = match &self.content {
            Content::Plain(_) => &[][..],
            Content::Parts(parts) => parts.as_slice(),
        };
        parts.iter().filter_map(|part| match part {
            Part::Text(_) | Part::Marker(_) => None,
            Part::Image(slot) => Some((MediaKind::Image, *slot)),
            Part::Video(slot) => Some((MediaKind::Video, *slot)),
        })
    }
}

/// Why a messages file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// Not the JSON that is asked for; the message names line, column and the known fields.
    #[error("the messages file is not a list of {{\"role\", \"content\"}}: {0}")]
    Json(#[from] serde_json::Error),
    /// No message at all.
    #[error("the messages file holds no message; give at least one with role \"user\"")]
    Empty,
    /// More parts than one request may have.
    #[error("the messages hold {found} parts, and a request may have at most {limit}")]
    TooManyParts {
        /// Parts in the file; a plain string counts as one.
        found: usize,
        /// The limit, [`MAX_CHAT_PARTS`].
        limit: usize,
    },
}

/// A picture or video that a messages file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFile {
    /// What it is.
    pub kind: MediaKind,
    /// Path as written; relative ones count from the folder of the messages file. Where the contents are given, what
    /// errors call them.
    pub path: String,
    /// The contents of the file. Nothing is opened then.
    pub bytes: Option<Arc<[u8]>>,
}

/// A parsed messages file: the prompt, and the media of its slots in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// The messages; their slot numbers index `media`.
    pub messages: Vec<Message>,
    /// One entry a slot.
    pub media: Vec<MediaFile>,
}

impl Chat {
    /// Parses a messages file: a JSON list of `{"role", "content"}`, the content a string or a list of
    /// `{"type":"text","text"}`, `{"type":"image","path"}` and `{"type":"video","path"}`. Nothing is opened.
    ///
    /// # Errors
    /// [`ChatError`]; unknown fields, roles and types are refused.
    pub fn from_json(json: &[u8]) -> Result<Self, ChatError> {
        let messages: Vec<WireMessage> = serde_json::from_slice(json)?;
        let found = messages.iter().map(|m| m.content.parts()).sum::<usize>().max(messages.len());
        if messages.is_empty() {
            return Err(ChatError::Empty);
        }
        if found > MAX_CHAT_PARTS {
            return Err(ChatError::TooManyParts { found, limit: MAX_CHAT_PARTS });
        }
        let mut media = Vec::new();
        let messages = messages
            .into_iter()
            .map(|message| Message { role: message.role, content: message.content.number(&mut media) })
            .collect();
        Ok(Chat { messages, media })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireMessage {
    role: Role,
    content: WireContent,
}

enum WireContent {
    Plain(String),
    Parts(Vec<WirePart>),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum WirePart {
    Text { text: String },
    Image { path: String },
    Video { path: String },
}

impl WireContent {
    fn parts(&self) -> usize {
        match self {
            WireContent::Plain(_) => 1,
            WireContent::Parts(parts) => parts.len(),
        }
    }

    /// Gives each media part the next slot of `media`.
    fn number(self, media: &mut Vec<MediaFile>) -> Content {
        let parts = match self {
            WireContent::Plain(text) => return Content::Plain(text),
            WireContent::Parts(parts) => parts,
        };
        let mut slot = |kind, path| {
            media.push(MediaFile { kind, path, bytes: None });
            media.len() - 1
        };
        Content::Parts(
            parts
                .into_iter()
                .map(|part| match part {
                    WirePart::Text { text } => Part::Text(text),
                    WirePart::Image { path } => Part::Image(slot(MediaKind::Image, path)),
                    WirePart::Video { path } => Part::Video(slot(MediaKind::Video, path)),
                })
                .collect(),
        )
    }
}

/// By hand, because an untagged enum would answer every mistake inside a part with "no variant matched".
impl<'de> Deserialize<'de> for WireContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringOrList;
        impl<'de> Visitor<'de> for StringOrList {
            type Value = WireContent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WireContent, E> {
                Ok(WireContent::Plain(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<WireContent, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(WireContent::Parts)
            }
        }
        deserializer.deserialize_any(StringOrList)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parsed chat in one line, or the error's text.
    fn check(json: &str, expected: &str) {
        let got = match Chat::from_json(json.as_bytes()) {
            Ok(chat) => format!("{chat:?}"),
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expected), "{json}\n gave {got}\n not  {expected}");
    }

    #[test]
    fn content_is_a_list_or_a_plain_string() {
        check(r#"[{"role":"user","content":"hi"}]"#, r#"Message { role: User, content: Plain("hi") }"#);
        check(
            r#"[{"role":"user","content":[{"type":"image","path":"a"},{"type":"text","text":"t"},{"type":"video","path":"b"}]}]"#,
            r#"Parts([Image(0), Text("t"), Video(1)]) }], media: [MediaFile { kind: Image, path: "a", bytes: None }, MediaFile { kind: Video, path: "b", bytes: None }]"#,
        );
    }

    #[test]
    fn slots_count_over_all_messages() {
        let json = r#"[{"role":"system","content":[{"type":"image","path":"a"}]},{"role":"user","content":[{"type":"image","path":"a"}]}]"#;
        check(json, "Parts([Image(1)])");
    }

    #[test]
    fn strangers_are_refused_by_name() {
        check(r#"[{"role":"tool","content":"x"}]"#, "unknown variant `tool`");
        check(r#"[{"role":"user","content":"x","name":"y"}]"#, "unknown field `name`");
        check(r#"[{"role":"user","content":[{"type":"image","url":"y"}]}]"#, "unknown field `url`");
        check(
            r#"[{"role":"user","content":[{"type":"text","text":"a","text":"b"}]}]"#,
            "duplicate field `text`",
        );
        check(r#"[{"role":"user","role":"user","content":""}]"#, "duplicate field `role`");
        check(r#"[{"role":"user","content":[{"type":"audio","path":"y"}]}]"#, "unknown variant `audio`");
        check(r#"[{"role":"user","content":7}]"#, "a string or a list of parts");
        check(r#"[{"role":"user"}]"#, "missing field `content`");
        check(r#"{"role":"user","content":"x"}"#, "not a list of");
        check("[]", "holds no message");
    }

    #[test]
    fn a_chat_of_too_many_parts_is_refused_with_both_counts() {
        let many = |n: usize| format!("[{}]", vec![r#"{"role":"user","content":"x"}"#; n].join(","));
        check(&many(MAX_CHAT_PARTS), "media: []");
        check(&many(MAX_CHAT_PARTS + 1), "hold 1025 parts, and a request may have at most 1024");
        check(
            &many(1)
                .replace(r#""x""#, &format!("[{}]", vec![r#"{"type":"text","text":"x"}"#; 1025].join(","))),
            "1025",
        );
    }
}
