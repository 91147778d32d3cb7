//! JSON into requests. A mistake is told with its place, and without the caller's own words.

use serde::de::DeserializeOwned;
use serde_json::{Deserializer, Value};
use serde_path_to_error::{Path, Segment};

use crate::error::ApiError;

/// Most characters of a name in a message: names of fields are the caller's, and may be long.
const MOST_NAME: usize = 64;
/// Messages of the parser that name a field.
const NAMING: [&str; 3] = ["unknown field `", "missing field `", "duplicate field `"];

/// A request from the bytes of a body.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| refused(e.path(), e.inner()))?;
    reader.end().map_err(|e| refused_at("", &e))?;
    Ok(value)
}

/// A request from a document that was put together.
pub(super) fn of_value<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|e| refused(e.path(), e.inner()))
}

fn refused(path: &Path, error: &serde_json::Error) -> ApiError {
    let (mut at, message) = (pointer(path), error.to_string());
    // A field that is there twice, or not at all, is no place of the path.
    if let Some(name) = NAMING.iter().find_map(|kind| named(&message, kind)) {
        let step = format!("/{}", escaped(name));
        if !at.ends_with(&step) {
            at += &step;
        }
    }
    refused_at(&at, error)
}

fn refused_at(pointer: &str, error: &serde_json::Error) -> ApiError {
    ApiError::bad(format!("the body is not what this route takes: {}", said(&error.to_string()))).at(pointer)
}

/// The JSON pointer of a path.
fn pointer(path: &Path) -> String {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", escaped(key)),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    };
    path.iter().map(step).collect()
}

fn escaped(key: &str) -> String {
    shortened(key).replace('~', "~0").replace('/', "~1")
}

fn shortened(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    plain.take(MOST_NAME).collect()
}

/// What the parser said, without values: those are the caller's, and an answer may be written into a log.
fn said(message: &str) -> String {
    for kind in NAMING {
        if let Some(name) = named(message, kind) {
            return format!("{kind}{}`", shortened(name));
        }
    }
    for kind in ["invalid type", "invalid value", "invalid length", "unknown variant"] {
        if message.starts_with(kind) {
            let wanted = message.rfind(", expected ").map_or("", |at| &message[at..]);
            return format!("{kind}{}", wanted.chars().take(400).collect::<String>());
        }
    }
    message.chars().take(200).collect()
}

/// The field that a message of this kind names. It ends where what is known begins, as it may hold anything.
fn named<'a>(message: &'a str, kind: &str) -> Option<&'a str> {
    let rest = message.strip_prefix(kind)?;
    let end = rest
        .rfind("`, expected ")
        .or_else(|| rest.rfind("`, there are "))
        .or_else(|| rest.rfind("` at line "));
    Some(end.map_or(rest, |end| &rest[..end]).trim_end_matches('`'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Asked {
        name: String,
        #[serde(default)]
        counts: Vec<u32>,
    }

    /// The pointer and the words of what a body is answered.
    fn check(body: &[u8], pointer: &str, words: &str) {
        let error = parse::<Asked>(body).unwrap_err();
        let got = (error.param.as_deref().unwrap_or_default(), error.message.as_str());
        assert!(got.0 == pointer && got.1.contains(words), "{got:?}");
        assert!(got.1.len() < 600 && !got.1.contains("secret"), "{got:?}");
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        check(br#"{"name":"n","counts":[1,"secret"]}"#, "/counts/1", "invalid type, expected u32");
        check(br#"{"name":"n","counts":[1,1e999]}"#, "/counts/1", "number out of range");
        check(br#"{"name":["secret"]}"#, "/name", "invalid type, expected a string");
        check(br#"{"name":"n","colour":1}"#, "/colour", "unknown field `colour`");
        check(br#"{"name":"n","name":"secret"}"#, "/name", "duplicate field `name`");
        check(br#"{"counts":[]}"#, "/name", "missing field `name`");
        check(br#"{"name":"n"} x"#, "", "trailing characters");
        check(b"", "", "EOF while parsing");
        check(b"\xEF\xBB\xBF{}", "", "expected value");
        check(b"{\"name\":\"\xFF\"}", "/name", "invalid unicode");
        check(br#"{"name":"\ud800"}"#, "/name", "unexpected end of hex escape");
        check(format!("{{\"name\":{}", "[".repeat(200)).as_bytes(), "/name", "");
    }

    #[test]
    fn a_long_name_is_cut() {
        check(
            format!("{{\"{}\":1}}", "k".repeat(1 << 20)).as_bytes(),
            &format!("/{}", "k".repeat(64)),
            "unknown field `kkk",
        );
    }
}
