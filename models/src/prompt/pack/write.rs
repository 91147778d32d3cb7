//! `pack.toml` as it is written.

use super::{FramesAs, MediaOrder, PACK_FORMAT, Pack};
use crate::verdict::{Bounded, Dimension, Protocol};
use std::fmt::Write;

/// A list of strings, one a line.
fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.map(|item| format!("    {},\n", quote(item))).collect()
}

/// JSON strings are TOML basic strings, but for a bare DEL.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A float that reads back as the same float, and as a float.
fn float(value: f64) -> String {
    format!("{value:?}")
}

fn optional(key: &str, text: Option<&String>) -> String {
    text.map(|text| format!("{key} = {}\n", quote(text))).unwrap_or_default()
}

fn bounded(Bounded { name, low, high }: &Bounded) -> String {
    format!("    {{ name = {}, low = {}, high = {} }},\n", quote(name), float(*low), float(*high))
}

fn dimension(Dimension { label, name, low, high }: &Dimension) -> String {
    let (label, name) = (quote(label), quote(name));
    format!("    {{ label = {label}, name = {name}, low = {}, high = {} }},\n", float(*low), float(*high))
}

impl Pack {
    /// `pack.toml` of this pack, with its prompt pinned. Parsing it with the prompt gives the same pack.
    pub fn to_toml(&self) -> String {
        let MediaOrder::BeforeText = self.media;
        let frames =
            self.frames.map(|rule| format!("frames = {}\n", quote(&rule.to_string()))).unwrap_or_default();
        let frames_as = match self.frames_as {
            FramesAs::Pictures => "",
            FramesAs::Video => "frames_as = \"video\"\n",
        };
        let tokens = match self.answer {
            Protocol::Head(_) => String::new(),
            _ => format!("max_new_tokens = {}\n", self.max_new_tokens),
        };
        format!(
            "format = {PACK_FORMAT}\nname = {}\nversion = {}\ntask = {}\nmedia = \"before-text\"\n{frames}{frames_as}\
             {tokens}prompt_sha256 = {}\n\n[answer]\nkind = {}\n{}",
            quote(&self.name),
            self.version,
            quote(self.task.name()),
            quote(&self.prompt_sha256),
            quote(self.answer.kind().name()),
            answer(&self.answer),
        )
    }
}

/// The fields of the `[answer]` table after its kind.
fn answer(protocol: &Protocol) -> String {
    let mut out = String::new();
    let words = |first: &str, second: &str| format!("first = {}\nsecond = {}\n", quote(first), quote(second));
    // Writing to a string does not fail.
    let _ = match protocol {
        Protocol::Report(kind) => write!(
            out,
            "winner_first = {}\nwinner_second = {}\ncategories = [\n{}]\nskeleton = {}\n",
            quote(&kind.winner_first),
            quote(&kind.winner_second),
            list(kind.categories.iter().map(String::as_str)),
            quote(&kind.skeleton),
        ),
        Protocol::Sentence(kind) => write!(
            out,
            "{}{}{}{}",
            words(&kind.first, &kind.second),
            optional("tie", kind.tie.as_ref()),
            optional("lead", kind.lead.as_ref()),
            optional("skeleton", kind.skeleton.as_ref()),
        ),
        Protocol::Think(kind) => write!(
            out,
            "{}{}{}",
            words(&kind.first, &kind.second),
            optional("tie", kind.tie.as_ref()),
            optional("skeleton", kind.skeleton.as_ref()),
        ),
        Protocol::ScoreLines(kind) => {
            write!(out, "lines = [\n{}]\n", kind.lines.iter().map(dimension).collect::<String>())
        }
        Protocol::PairScoreLines(kind) => write!(
            out,
            "{}sum = {}\ntolerance = {}\ndimensions = [\n{}]\n",
            words(&kind.first, &kind.second),
            float(kind.sum),
            float(kind.tolerance),
            kind.dimensions.iter().map(dimension).collect::<String>(),
        ),
        Protocol::EditPairScores(kind) => {
            let range = kind.range.map(|[low, high]| format!("range = [{}, {}]\n", float(low), float(high)));
            let (words, name) = (words(&kind.first, &kind.second), quote(&kind.name));
            write!(out, "{words}name = {name}\n{}", range.unwrap_or_default())
        }
        Protocol::EditJson(kind) => {
            write!(out, "scores = [\n{}]\n", kind.scores.iter().map(bounded).collect::<String>())
        }
        Protocol::Head(kind) => write!(
            out,
            "markers = [\n{}]\ngeneration_prompt = {}\n",
            list(kind.markers.iter().map(String::as_str)),
            kind.generation_prompt,
        ),
    };
    out
}
