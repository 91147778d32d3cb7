//! The fields of one JSON object, taken out one by one, so that an error names the one that it is about.

use std::collections::HashSet;

use rewardrt_models::prompt::pack::Task;
use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;

use super::{Label, MAX_FRAMES, MAX_NAME_BYTES, Media, RowsError};
use crate::base64;

/// Start of an embedded picture. What kind of picture it is, its own bytes say.
const DATA_URI: &str = "data:";
const BASE64_MARK: &str = ";base64,";

/// The fields of an object that were not taken yet.
pub(super) struct Fields {
    place: String,
    left: Vec<(String, Value)>,
}

impl Fields {
    /// Reads one JSON object; doubled fields are refused.
    pub(super) fn parse(place: &str, text: &str) -> Result<Fields, RowsError> {
        let wrong = |e: serde_json::Error| RowsError::Json { place: place.to_owned(), reason: e.to_string() };
        let mut parser = serde_json::Deserializer::from_str(text);
        let left = parser.deserialize_map(Pairs).map_err(wrong)?;
        parser.end().map_err(wrong)?;
        Fields::new(place, left)
    }

    /// The fields of a value that should be an object.
    pub(super) fn of(place: &str, value: Value) -> Result<Fields, RowsError> {
        match value {
            Value::Object(map) => Fields::new(place, map.into_iter().collect()),
            other => Err(RowsError::Json { place: place.to_owned(), reason: format!("it is {}", a(&other)) }),
        }
    }

    fn new(place: &str, left: Vec<(String, Value)>) -> Result<Fields, RowsError> {
        let fields = Fields { place: place.to_owned(), left };
        let mut seen = HashSet::with_capacity(fields.left.len());
        match fields.left.iter().find(|(name, _)| !seen.insert(name)) {
            Some((name, _)) => Err(fields.wrong(name, "it stands there twice")),
            None => Ok(fields),
        }
    }

    /// An error about a field.
    pub(super) fn wrong(&self, field: &str, reason: impl Into<String>) -> RowsError {
        RowsError::Field { place: self.place.clone(), field: field.to_owned(), reason: reason.into() }
    }

    /// The line or pair.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Whether a field is there and was not taken.
    pub(super) fn has(&self, field: &str) -> bool {
        self.left.iter().any(|(name, value)| name == field && !value.is_null())
    }

    /// Takes a field; a null counts as absent.
    pub(super) fn optional(&mut self, field: &str) -> Option<Value> {
        let at = self.left.iter().position(|(name, _)| name == field)?;
        Some(self.left.swap_remove(at).1).filter(|value| !value.is_null())
    }

    /// Takes a field that must be there.
    pub(super) fn take(&mut self, field: &str) -> Result<Value, RowsError> {
        self.optional(field).ok_or_else(|| self.wrong(field, "it is missing"))
    }

    /// Takes a text.
    pub(super) fn text(&mut self, field: &str) -> Result<String, RowsError> {
        match self.take(field)? {
            Value::String(text) => Ok(text),
            other => Err(self.wrong(field, format!("it is {}, not a text", a(&other)))),
        }
    }

    /// Takes a name: a short line that is not empty.
    pub(super) fn name(&mut self, field: &str) -> Result<String, RowsError> {
        let name = self.text(field)?;
        match name.len() {
            0 => Err(self.wrong(field, "it is empty")),
            n if n > MAX_NAME_BYTES => {
                Err(self.wrong(field, format!("it has {n} bytes, more than {MAX_NAME_BYTES}")))
            }
            _ if name.chars().any(char::is_control) => Err(self.wrong(field, "it holds control characters")),
            _ => Ok(name),
        }
    }

    /// Takes a name that may be absent.
    pub(super) fn optional_name(&mut self, field: &str) -> Result<Option<String>, RowsError> {
        match self.has(field) {
            true => self.name(field).map(Some),
            false => Ok(None),
        }
    }

    /// Takes a label, by its name.
    pub(super) fn label(&mut self, field: &str) -> Result<Label, RowsError> {
        let name = self.text(field)?;
        let found = Label::ALL.into_iter().find(|(_, known)| *known == name);
        found.map(|(label, _)| label).ok_or_else(|| self.wrong(field, "give `a`, `b` or `tie`"))
    }

    /// Takes a task that compares two candidates and nothing else, by its name.
    pub(super) fn task(&mut self, field: &str) -> Result<Task, RowsError> {
        let name = self.text(field)?;
        let plain = |task: &Task| task.shape().candidates == 2 && task.shape().shown.is_none();
        let known = Task::ALL.map(|(task, _)| task).into_iter().filter(plain);
        let known = || known.clone().map(|task| format!("`{task}`")).collect::<Vec<_>>().join(" or ");
        let found = Task::from_name(&name).filter(plain);
        found.ok_or_else(|| self.wrong(field, format!("give {}", known())))
    }

    /// Takes a candidate: a path, a list of paths, or an embedded picture.
    pub(super) fn media(&mut self, field: &str) -> Result<Media, RowsError> {
        let value = self.take(field)?;
        media(value).map_err(|reason| self.wrong(field, reason))
    }

    /// Refuses what was not taken.
    pub(super) fn nothing_else(&self, known: &[&str]) -> Result<(), RowsError> {
        match self.left.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                Err(self.wrong(name, format!("no such field is known; known are {}", known.join(", "))))
            }
            None => Ok(()),
        }
    }
}

/// A candidate from what stands for it. Exported data sets write a picture as `{"bytes": base64, "path": text}`.
pub(super) fn media(value: Value) -> Result<Media, String> {
    match value {
        Value::String(text) => located(text),
        Value::Array(frames) if frames.is_empty() || frames.len() > MAX_FRAMES => {
            Err(format!("it lists {} frames; give 1 to {MAX_FRAMES}", frames.len()))
        }
        Value::Array(frames) => {
            let path = |frame| match frame {
                Value::String(text) => match located(text)? {
                    Media::Path(path) => Ok(path),
                    _ => Err("a frame is embedded; name frames by path".to_owned()),
                },
                other => Err(format!("a frame is {}, not a path", a(&other))),
            };
            Ok(Media::Frames(frames.into_iter().map(path).collect::<Result<_, _>>()?))
        }
        Value::Object(mut object) => match (object.remove("bytes"), object.remove("path")) {
            (Some(Value::String(text)), _) => embedded(&text),
            (None | Some(Value::Null), Some(Value::String(path))) => located(path),
            _ => Err("it is an object without base64 text in `bytes` and without a `path`".to_owned()),
        },
        other => Err(format!("it is {}; give a path, or a list of paths for a video", a(&other))),
    }
}

/// What a text stands for: an embedded picture or a path. Nothing is fetched.
fn located(text: String) -> Result<Media, String> {
    if let Some(rest) = text.strip_prefix(DATA_URI) {
        return match rest.split_once(BASE64_MARK) {
            Some((_, encoded)) => embedded(encoded),
            None => Err("it is a data: URI that is not in base64".to_owned()),
        };
    }
    if text.contains("://") {
        return Err("it is a URL, and nothing is fetched; download the file and name its path".to_owned());
    }
    match text.is_empty() || text.contains('\0') {
        true => Err("it is no path".to_owned()),
        false => Ok(Media::Path(text)),
    }
}

fn embedded(text: &str) -> Result<Media, String> {
    match base64::decode(text) {
        Some(bytes) if !bytes.is_empty() => Ok(Media::Embedded(bytes)),
        _ => Err("the embedded picture is not base64".to_owned()),
    }
}

/// An embedded picture as it is written.
pub(super) fn data_uri(bytes: &[u8]) -> String {
    format!("{DATA_URI}application/octet-stream{BASE64_MARK}{}", base64::encode(bytes))
}

/// What a value is, with its article.
pub(super) fn a(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// An object as its fields in order, doubled ones too, which a map would lose.
struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}
