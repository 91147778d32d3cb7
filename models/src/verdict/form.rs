//! What the form of a report makes likely next, while the report is being written.
//!
//! Keys, punctuation, category names and the caption's echo follow from the protocol, the layout from what is written so
//! far, a second score from the first, and a winner from the scores. Everything else is the model's own, and nothing is
//! said about it. This is for drafts, which are verified token by token: a wrong guess costs time and changes nothing.

use super::kinds::ReportProtocol;
use super::protocol::Protocol;

/// Longest text that is foretold at once, in bytes.
const MOST: usize = 512;
const REPORT: [&str; 4] = ["prompt", "categories", "reason", "winner"];
const CATEGORY: [&str; 4] = ["name", "dims", "cat_reason", "cat_winner"];
const DIMENSION: [&str; 5] = ["name", "reason_1", "reason_2", "score_1", "score_2"];
/// Points that the two scores of a dimension share.
const POINTS: f64 = 10.0;

/// A report as far as it is written.
#[derive(Debug, Clone)]
pub struct Form {
    protocol: ReportProtocol,
    /// The caption as JSON text.
    caption: String,
    /// What is written before the report.
    head: String,
    stack: Vec<Frame>,
    mode: Mode,
    layout: Layout,
    scores: Scores,
}

/// A part of a report that has members or elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Report,
    Categories,
    Category,
    Dims,
    Dim,
}

impl Kind {
    /// The keys of an object; none for a list.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Kind::Report => &REPORT,
            Kind::Category => &CATEGORY,
            Kind::Dim => &DIMENSION,
            Kind::Categories | Kind::Dims => &[],
        }
    }
}

/// An open object or list.
#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: Kind,
    /// The key that was written last.
    key: usize,
    /// Members or elements that are whole.
    done: usize,
}

#[derive(Debug, Clone)]
enum Mode {
    /// Before the report.
    Head,
    /// Behind a part of it, with white space so far.
    Behind(Part, String),
    /// In a string, with its text so far; a key, or a value.
    Text { key: bool, text: String, escaped: bool },
    /// In a number, with its digits so far.
    Number(String),
    /// Behind the report, or in one of another form.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Opening,
    Key,
    Colon,
    Value,
    Comma,
}

/// White space as the model writes it.
#[derive(Debug, Clone, Default)]
struct Layout {
    opening: Option<String>,
    colon: Option<String>,
    comma: Option<String>,
}

impl Layout {
    /// Behind an opening bracket, or a comma, at a depth.
    fn line(&self, depth: usize) -> Option<String> {
        let opening = self.opening.as_deref().filter(|space| space.starts_with('\n'))?;
        Some(format!("\n{}", " ".repeat((opening.len() - 1) * depth)))
    }

    fn comma(&self, depth: usize) -> String {
        let colon = || self.colon.clone().unwrap_or_default();
        self.line(depth).unwrap_or_else(|| self.comma.clone().unwrap_or_else(colon))
    }
}

/// What scores say so far: points by which the first candidate leads.
#[derive(Debug, Clone, Copy, Default)]
struct Scores {
    first: Option<f64>,
    category: f64,
    total: f64,
}

impl Protocol {
    /// The form of an answer to a caption, of which nothing is written yet; none where answers have no such form.
    pub fn form(&self, caption: &str) -> Option<Form> {
        let Protocol::Report(protocol) = self else { return None };
        let caption = protocol.skeleton(caption).caption;
        Some(Form {
            protocol: protocol.clone(),
            caption,
            head: String::new(),
            stack: Vec::new(),
            mode: Mode::Head,
            layout: Layout::default(),
            scores: Scores::default(),
        })
    }
}

impl Form {
    /// Reads more of what is written.
    pub fn push(&mut self, text: &str) {
        for c in text.chars() {
            self.read(c);
        }
    }

    /// The text that is likely to follow; empty where the next words are the model's own.
    pub fn likely(&self) -> String {
        let (mut form, mut all) = (self.clone(), String::new());
        while all.len() < MOST
            && let Some(next) = form.next().filter(|next| !next.is_empty())
        {
            form.push(&next);
            all.push_str(&next);
        }
        all
    }

    fn read(&mut self, c: char) {
        match std::mem::replace(&mut self.mode, Mode::Over) {
            Mode::Head if c == '{' => self.open(Kind::Report),
            // A head that is no start of a report is prose, and may be long.
            Mode::Head if self.head.len() < MOST => {
                self.head.push(c);
                self.mode = Mode::Head;
            }
            Mode::Behind(part, mut space) if c.is_ascii_whitespace() => {
                space.push(c);
                self.mode = Mode::Behind(part, space);
            }
            Mode::Behind(part, space) => self.begin(part, space, c),
            Mode::Text { key, text, escaped: false } if c == '"' => self.end_text(key, &text),
            Mode::Text { key, mut text, escaped } => {
                text.push(c);
                self.mode = Mode::Text { key, text, escaped: c == '\\' && !escaped };
            }
            Mode::Number(mut digits) if matches!(c, '0'..='9' | '.' | '-' | '+' | 'e' | 'E') => {
                digits.push(c);
                self.mode = Mode::Number(digits);
            }
            Mode::Number(digits) => {
                self.value(digits.parse().ok());
                self.read(c);
            }
            Mode::Head | Mode::Over => {}
        }
    }

    /// The first character of a part.
    fn begin(&mut self, part: Part, space: String, c: char) {
        let layout = &mut self.layout;
        match part {
            Part::Opening => drop(layout.opening.get_or_insert(space)),
            Part::Colon => drop(layout.colon.get_or_insert(space)),
            Part::Comma => drop(layout.comma.get_or_insert(space)),
            Part::Key | Part::Value => {}
        }
        let Some(&Frame { kind, key, .. }) = self.stack.last() else { return };
        let name = kind.keys().get(key).copied().unwrap_or_default();
        match (c, kind) {
            ('"', _) => {
                let key = matches!(part, Part::Opening | Part::Comma) && !kind.keys().is_empty();
                self.mode = Mode::Text { key, text: String::new(), escaped: false };
            }
            ('{', Kind::Categories) => self.open(Kind::Category),
            ('{', Kind::Dims) => self.open(Kind::Dim),
            ('[', Kind::Report) if name == "categories" => self.open(Kind::Categories),
            ('[', Kind::Category) if name == "dims" => self.open(Kind::Dims),
            ('}' | ']', _) => {
                self.stack.pop();
                if !self.stack.is_empty() {
                    self.value(None);
                }
            }
            (':', _) => self.mode = Mode::Behind(Part::Colon, String::new()),
            (',', _) => self.mode = Mode::Behind(Part::Comma, String::new()),
            ('0'..='9' | '-', _) => self.mode = Mode::Number(c.to_string()),
            _ => {}
        }
    }

    fn open(&mut self, kind: Kind) {
        if kind == Kind::Category {
            self.scores.category = 0.0;
        }
        self.stack.push(Frame { kind, key: 0, done: 0 });
        self.mode = Mode::Behind(Part::Opening, String::new());
    }

    fn end_text(&mut self, key: bool, text: &str) {
        if !key {
            return self.value(None);
        }
        let Some(frame) = self.stack.last_mut() else { return };
        // A report with another key is of another form.
        if let Some(at) = frame.kind.keys().iter().position(|known| *known == text) {
            frame.key = at;
            self.mode = Mode::Behind(Part::Key, String::new());
        }
    }

    /// A value is whole; `number` is what it says, if it is one.
    fn value(&mut self, number: Option<f64>) {
        let Some(frame) = self.stack.last_mut() else { return };
        frame.done += 1;
        match (frame.kind.keys().get(frame.key), number, self.scores.first) {
            (Some(&"score_1"), Some(first), _) => self.scores.first = Some(first),
            (Some(&"score_2"), Some(second), Some(first)) => {
                self.scores.category += first - second;
                self.scores.total += first - second;
            }
            _ => {}
        }
        self.mode = Mode::Behind(Part::Value, String::new());
    }

    /// The next few characters: the rest of a word, or a part and the space before it.
    fn next(&self) -> Option<String> {
        let frame = self.stack.last();
        match &self.mode {
            Mode::Head => {
                let before = self.protocol.skeleton("").before;
                before.strip_prefix(self.head.as_str()).map(str::to_owned)
            }
            Mode::Behind(part, space) => {
                self.behind(*part, frame?)?.strip_prefix(space.as_str()).map(str::to_owned)
            }
            Mode::Text { key: true, text, .. } => {
                let frame = frame?;
                let next = if frame.done == 0 { 0 } else { frame.key + 1 };
                Some(format!("{}\"", frame.kind.keys().get(next)?.strip_prefix(text.as_str())?))
            }
            Mode::Text { key: false, text, .. } => {
                Some(format!("{}\"", self.word(frame?)?.strip_prefix(text.as_str())?))
            }
            Mode::Number(digits) => {
                let rest = self.start(frame?).strip_prefix(digits.as_str()).map(str::to_owned);
                rest.filter(|rest| !rest.is_empty()).or_else(|| self.behind(Part::Value, frame?))
            }
            Mode::Over => None,
        }
    }

    fn behind(&self, part: Part, frame: &Frame) -> Option<String> {
        let (depth, keys) = (self.stack.len(), frame.kind.keys());
        let opening = || self.layout.line(depth).or_else(|| self.layout.opening.clone()).unwrap_or_default();
        let closing = |bracket: char| format!("{}{bracket}", self.layout.line(depth - 1).unwrap_or_default());
        let colon = || self.layout.colon.clone().unwrap_or_default();
        match part {
            Part::Opening if keys.is_empty() => Some(format!("{}{{", opening())),
            Part::Opening => Some(format!("{}\"{}\"", opening(), keys[0])),
            Part::Key => Some(format!(":{}", colon())),
            Part::Colon => Some(format!("{}{}", colon(), self.start(frame))),
            Part::Comma if keys.is_empty() => Some(format!("{}{{", self.layout.comma(depth))),
            Part::Comma => Some(format!("{}\"{}\"", self.layout.comma(depth), keys.get(frame.key + 1)?)),
            Part::Value => match frame.kind {
                Kind::Categories if frame.done < self.protocol.categories.len() => {
                    Some(format!(",{}{{", self.layout.comma(depth)))
                }
                Kind::Categories => Some(closing(']')),
                // How many dimensions there are is the model's own choice.
                Kind::Dims => None,
                _ if frame.key + 1 < keys.len() => Some(format!(",{}\"", self.layout.comma(depth))),
                _ => Some(closing('}')),
            },
        }
    }

    /// The first characters of the value of the latest key.
    fn start(&self, frame: &Frame) -> String {
        match frame.kind.keys().get(frame.key) {
            Some(&("categories" | "dims")) => "[".to_owned(),
            Some(&"score_1") | None => String::new(),
            Some(&"score_2") => {
                self.scores.first.map_or_else(String::new, |first| (POINTS - first).to_string())
            }
            Some(_) => "\"".to_owned(),
        }
    }

    /// The whole text of a value, where it follows from something.
    fn word(&self, frame: &Frame) -> Option<&str> {
        let winner =
            |lead: f64| if lead < 0.0 { &self.protocol.winner_second } else { &self.protocol.winner_first };
        match (frame.kind, *frame.kind.keys().get(frame.key)?) {
            (Kind::Report, "prompt") => Some(&self.caption),
            (Kind::Category, "name") => {
                let list = self.stack.iter().rev().nth(1)?;
                self.protocol.categories.get(list.done).map(String::as_str)
            }
            (_, "cat_winner") => Some(winner(self.scores.category)),
            (_, "winner") => Some(winner(self.scores.total)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Report;
    use super::super::tests::two_categories as protocol;
    use super::*;
    use proptest::prelude::*;

    /// Bars stand around what is not foretold, in a report whose own words are as short as can be.
    const COMPACT: &str = concat!(
        r#"{"prompt":"a \"cat\"","categories":[{"name":"A. Looks","dims":[{"name":"|x"|,"reason_1":"|y"|,"reason_2":"|z"|"#,
        r#","score_1":|7|,"score_2":3}|,|{"name":"|v"|,"reason_1":"|y"|,"reason_2":"|z"|,"score_1":|2.5|,"score_2":7.5}|]|"#,
        r#","cat_reason":"|w"|,"cat_winner":"Image 2"},{"name":"B. Sense","dims":[{"name":"|x"|,"reason_1":"|y"|"#,
        r#","reason_2":"|z"|,"score_1":|9|,"score_2":1}|]|,"cat_reason":"|w"|,"cat_winner":"Image 1"}],"#,
        r#""reason":"|u"|,"winner":"Image 1"}"#
    );

    /// Pieces between bars are foretold and the model's own in turn.
    fn check(marked: &str) {
        let mut form = protocol().form("a \"cat\"").unwrap();
        let mut own = false;
        for piece in marked.split('|') {
            if own {
                assert_eq!(form.likely(), "", "before {piece}");
            } else if !piece.is_empty() {
                // From every place within it the rest is foretold.
                for at in (0..piece.len()).filter(|&at| piece.is_char_boundary(at)) {
                    let mut there = form.clone();
                    there.push(&piece[..at]);
                    assert_eq!(there.likely(), piece[at..], "behind {}", &piece[..at]);
                }
            }
            form.push(piece);
            own = !own;
        }
        assert_eq!(form.likely(), "");
    }

    #[test]
    fn all_but_the_models_own_words_is_foretold() {
        check(COMPACT);
    }

    /// The report as serde's pretty printer and as a printer with spaces lay it out.
    #[test]
    fn the_layout_is_learned_from_what_is_written() {
        let whole = COMPACT.replace('|', "");
        let report: Report = serde_json::from_str(&whole).unwrap();
        let pretty = serde_json::to_string_pretty(&report).unwrap();
        let spaced = whole.replace("\":", "\": ").replace(",\"", ", \"").replace("},{", "}, {");
        for text in [pretty, spaced] {
            let mut form = protocol().form("a \"cat\"").unwrap();
            let (mut at, mut asked) = (text.find("categories").unwrap() + 1, 0);
            form.push(&text[..at]);
            while at < text.len() {
                let likely = form.likely();
                let right = likely.bytes().zip(text[at..].bytes()).take_while(|(a, b)| a == b).count().max(1);
                form.push(&text[at..at + right]);
                at += right;
                asked += 1;
            }
            // Each of the model's own 16 words, its end, its digits' layout, and how many dimensions follow.
            assert!(asked < 80, "{asked} for\n{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in r#"([{}\[\],:"\\ \n0-9a-z]|"prompt":|"dims":|"name":|"score_1":){0,80}"#) {
            let mut form = protocol().form("a cat").unwrap();
            form.push("{");
            form.push(&text);
            prop_assert!(form.likely().len() < 2 * MOST);
        }
    }
}
