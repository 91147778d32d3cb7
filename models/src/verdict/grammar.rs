//! Which bytes a report may go on with, while it is being written.
//!
//! The grammar is that of reports that can be read and have a winner: the keys in their order, at least one category and
//! one dimension, scores from 0 to 10, the winner's words to the letter. White space stands anywhere between parts, and
//! the whole may stand in a fence. Bytes of a string that are no UTF-8 are read as replacement characters, so any do.

use std::sync::Arc;

use super::form::Kind;
use super::protocol::Protocol;

/// What may stand before a report and behind it.
const FENCE: (&[u8], u8) = (b"```json", b'`');
/// Most white space in one place: five levels of a deep indent.
const MOST_SPACE: u8 = 64;
/// Most digits behind the point.
const MOST_DIGITS: u8 = 6;
/// Levels of a report: itself, its categories, one of them, its dimensions, one of them.
const LEVELS: [Kind; 5] = [Kind::Report, Kind::Categories, Kind::Category, Kind::Dims, Kind::Dim];

/// A report as far as it is written, byte by byte.
#[derive(Debug, Clone)]
pub struct Grammar {
    /// The winners' words, with the quotes behind them.
    words: Arc<[Vec<u8>; 2]>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
struct State {
    at: At,
    /// Open objects and lists, and the key of each that was written last.
    depth: usize,
    keys: [usize; LEVELS.len()],
    /// Bytes of white space since the last other one.
    space: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the report, behind so much of the fence.
    Head(usize),
    /// Behind an opening bracket.
    Open,
    /// In a key, behind so many of its bytes.
    Key(usize),
    BeforeColon,
    BeforeValue,
    /// In a string of the model's own.
    Text,
    Escape,
    /// In the digits of an escape, with what they say so far; `low` where it must be the second of a pair.
    Hex {
        left: u8,
        value: u32,
        low: bool,
    },
    /// Behind the first of a pair, before so many bytes of the second's `\u`.
    Pair(u8),
    /// In the winner's words, behind so many bytes of those that it may still be.
    Word {
        at: usize,
        may: [bool; 2],
    },
    /// In a score, behind its whole part.
    Whole(u8),
    /// Behind the point, with so many digits; `ten` where these are noughts.
    Part {
        digits: u8,
        ten: bool,
    },
    BehindValue,
    BehindComma,
    /// Behind the report.
    Over,
}

impl Protocol {
    /// The grammar of an answer of which nothing is written yet; none in the kinds whose answers are no reports.
    pub fn grammar(&self) -> Option<Grammar> {
        let Protocol::Report(protocol) = self else { return None };
        let quoted = |word: &str| {
            let text = serde_json::Value::from(word).to_string();
            text.as_bytes()[1..].to_vec()
        };
        let words = Arc::new([quoted(&protocol.winner_first), quoted(&protocol.winner_second)]);
        let state = State { at: At::Head(0), depth: 0, keys: [0; LEVELS.len()], space: 0 };
        Some(Grammar { words, state })
    }
}

impl Grammar {
    /// Whether the answer may end here.
    pub fn is_whole(&self) -> bool {
        self.state.at == At::Over
    }

    /// Whether these bytes may be next.
    pub fn allows(&self, bytes: &[u8]) -> bool {
        self.after(bytes).is_some()
    }

    /// Reads what is written next. False, and nothing is read, where the grammar does not allow it.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        match self.after(bytes) {
            Some(state) => {
                self.state = state;
                true
            }
            None => false,
        }
    }

    fn after(&self, bytes: &[u8]) -> Option<State> {
        bytes.iter().try_fold(self.state, |state, &byte| state.after(byte, &self.words))
    }
}

impl State {
    fn kind(&self) -> Kind {
        LEVELS[self.depth.saturating_sub(1)]
    }

    /// The key that was written last, or is being written.
    fn key(&self) -> &'static str {
        let key = self.keys[self.depth.saturating_sub(1)];
        self.kind().keys().get(key).copied().unwrap_or_default()
    }

    fn to(self, at: At) -> Option<State> {
        Some(State { at, space: 0, ..self })
    }

    fn after(self, byte: u8, words: &[Vec<u8>; 2]) -> Option<State> {
        let between = !matches!(
            self.at,
            At::Key(_) | At::Text | At::Escape | At::Hex { .. } | At::Pair(_) | At::Word { .. }
        );
        if between && byte.is_ascii_whitespace() && byte != b'\x0C' {
            return self.spaced();
        }
        match self.at {
            At::Head(0) if byte == b'{' => self.open(),
            At::Head(at) if at == FENCE.0.len() && byte == b'{' => self.open(),
            At::Head(at) if FENCE.0.get(at) == Some(&byte) => self.to(At::Head(at + 1)),
            At::Open | At::BehindComma => self.member(byte),
            At::Key(at) => self.in_key(at, byte),
            At::BeforeColon if byte == b':' => self.to(At::BeforeValue),
            At::BeforeValue => self.value(byte),
            At::Text => self.in_text(byte),
            At::Escape => self.escape(byte),
            At::Hex { left, value, low } => self.hex((left, value, low), byte),
            At::Pair(at) if byte == br"\u"[usize::from(at)] => self.to(match at {
                0 => At::Pair(1),
                _ => At::Hex { left: 4, value: 0, low: true },
            }),
            At::Word { at, may } => self.word((at, may), byte, words),
            At::Whole(whole) => self.whole(whole, byte),
            At::Part { digits, ten } => self.part(digits, ten, byte),
            At::BehindValue => self.behind(byte),
            At::Over if byte == FENCE.1 && self.space < MOST_SPACE => {
                Some(State { space: self.space + 1, ..self })
            }
            _ => None,
        }
    }

    /// White space between parts; a number ends with it.
    fn spaced(self) -> Option<State> {
        let at = match self.at {
            // A fence is written in one go, on a line of its own.
            At::Head(at) if at > 0 && at < FENCE.0.len() => return None,
            At::Whole(_) => At::BehindValue,
            At::Part { digits: 0, .. } => return None,
            At::Part { .. } => At::BehindValue,
            at => at,
        };
        (self.space < MOST_SPACE).then_some(State { at, space: self.space + 1, ..self })
    }

    fn open(mut self) -> Option<State> {
        self.depth += 1;
        *self.keys.get_mut(self.depth - 1)? = 0;
        self.to(At::Open)
    }

    /// The start of a member or an element.
    fn member(mut self, byte: u8) -> Option<State> {
        let is_list = self.kind().keys().is_empty();
        match byte {
            b'{' if is_list => self.open(),
            b'"' if !is_list => {
                if self.at == At::BehindComma {
                    self.keys[self.depth - 1] += 1;
                }
                self.to(At::Key(0))
            }
            _ => None,
        }
    }

    fn in_key(self, at: usize, byte: u8) -> Option<State> {
        match self.key().as_bytes().get(at) {
            Some(expected) => (byte == *expected).then_some(State { at: At::Key(at + 1), ..self }),
            None if byte == b'"' => self.to(At::BeforeColon),
            None => None,
        }
    }

    fn value(self, byte: u8) -> Option<State> {
        match (self.key(), byte) {
            ("categories" | "dims", b'[') => self.open(),
            ("categories" | "dims", _) => None,
            ("score_1" | "score_2", b'0'..=b'9') => self.to(At::Whole(byte - b'0')),
            ("score_1" | "score_2", _) => None,
            ("winner" | "cat_winner", b'"') => self.to(At::Word { at: 0, may: [true; 2] }),
            (_, b'"') => self.to(At::Text),
            _ => None,
        }
    }

    fn in_text(self, byte: u8) -> Option<State> {
        match byte {
            b'"' => self.to(At::BehindValue),
            b'\\' => self.to(At::Escape),
            0..0x20 => None,
            _ => Some(self),
        }
    }

    fn escape(self, byte: u8) -> Option<State> {
        match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.to(At::Text),
            b'u' => self.to(At::Hex { left: 4, value: 0, low: false }),
            _ => None,
        }
    }

    /// A digit of an escape. What begins a pair must be followed by its second, and neither stands alone; a digit behind
    /// which there would be no other is refused itself.
    fn hex(self, (left, value, low): (u8, u32, bool), byte: u8) -> Option<State> {
        let value = value * 16 + char::from(byte).to_digit(16)?;
        let second = (0xDC..=0xDF).contains(&value);
        match (left, low) {
            (4, true) if value != 0xD => None,
            (3, _) if second != low => None,
            (2.., _) => self.to(At::Hex { left: left - 1, value, low }),
            (_, false) if (0xD800..0xDC00).contains(&value) => self.to(At::Pair(0)),
            _ => self.to(At::Text),
        }
    }

    fn word(self, (at, may): (usize, [bool; 2]), byte: u8, words: &[Vec<u8>; 2]) -> Option<State> {
        let may = [0, 1].map(|i| may[i] && words[i].get(at) == Some(&byte));
        let ends = |i: usize| may[i] && words[i].len() == at + 1;
        match may {
            [false, false] => None,
            _ if ends(0) || ends(1) => self.to(At::BehindValue),
            may => self.to(At::Word { at: at + 1, may }),
        }
    }

    fn whole(self, whole: u8, byte: u8) -> Option<State> {
        match byte {
            b'0' if whole == 1 => self.to(At::Whole(10)),
            b'.' => self.to(At::Part { digits: 0, ten: whole == 10 }),
            _ => self.behind(byte),
        }
    }

    fn part(self, digits: u8, ten: bool, byte: u8) -> Option<State> {
        match byte {
            b'0'..=b'9' if digits < MOST_DIGITS && (!ten || byte == b'0') => {
                self.to(At::Part { digits: digits + 1, ten })
            }
            _ if digits > 0 => self.behind(byte),
            _ => None,
        }
    }

    fn behind(self, byte: u8) -> Option<State> {
        let keys = self.kind().keys();
        let last = keys.is_empty() || self.keys[self.depth - 1] + 1 == keys.len();
        let more = keys.is_empty() || !last;
        match byte {
            b',' if more => self.to(At::BehindComma),
            b']' if keys.is_empty() => self.close(),
            b'}' if !keys.is_empty() && last => self.close(),
            _ => None,
        }
    }

    fn close(mut self) -> Option<State> {
        self.depth -= 1;
        self.to(if self.depth == 0 { At::Over } else { At::BehindValue })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::two_categories as protocol;
    use super::super::{Finish, Status, judge};
    use super::*;
    use proptest::prelude::*;

    const DIM: &str = r#"{"name":"x","reason_1":"y","reason_2":"","score_1":7,"score_2":3}"#;

    fn report(dims: &str, winner: &str) -> String {
        let category = format!(r#"{{"name":"A.","dims":[{dims}],"cat_reason":"r","cat_winner":"Image 1"}}"#);
        format!(r#"{{"prompt":"p","categories":[{category}],"reason":"q","winner":"{winner}"}}"#)
    }

    /// A text and how much of it is allowed: all of it, and then it is whole, or up to these words.
    fn check(text: &str, stops_at: Option<&str>) {
        let mut grammar = protocol().grammar().unwrap();
        let allowed = text.bytes().take_while(|byte| grammar.push(&[*byte])).count();
        match stops_at {
            None => {
                assert!(
                    allowed == text.len() && grammar.is_whole(),
                    "{}|{}",
                    &text[..allowed],
                    &text[allowed..]
                );
                assert!(judge(text, Finish::Stop, &protocol()).status.has_winner(), "{text}");
                assert!(protocol().grammar().unwrap().allows(text.as_bytes()));
            }
            Some(rest) => {
                assert!(!grammar.is_whole() || allowed < text.len());
                assert!(text[allowed..].starts_with(rest), "{}|{}", &text[..allowed], &text[allowed..]);
            }
        }
    }

    #[test]
    fn reports_are_allowed_in_any_layout_and_in_a_fence() {
        let whole = report(DIM, "Image 2");
        check(&whole, None);
        check(&report(&[DIM; 3].join(" , "), "Image 1"), None);
        check(&whole.replace(',', " ,\n  ").replace("\":", "\" : ").replace('}', "\r\n}"), None);
        check(&format!("```json\n{whole}\n```\n"), None);
    }

    #[test]
    fn what_cannot_be_read_is_stopped_where_it_begins() {
        check(&report("", "Image 1"), Some("]"));
        check(&report(DIM, "image 1"), Some("image"));
        check(&report(DIM, "Image 3"), Some("3"));
        check(&report(DIM, "Image 1 or Image 2"), Some(" or"));
        check("Sure! {", Some("Sure"));
        check("``` json{", Some(" json"));
        check("[", Some("["));
        check(r#"{"winner":"#, Some("winner"));
        check(r#"{"prompt":5"#, Some("5"));
        check(r#"{"prompt":"a","categories":[]"#, Some("]"));
        check(r#"{"prompt":"a","categories":[{"name":"n","dims":[{},"#, Some("}"));
        check(&format!("{}{{", report(DIM, "Image 1")), Some("{"));
        check(&" ".repeat(usize::from(MOST_SPACE) + 1), Some(" "));
    }

    #[test]
    fn scores_are_numbers_from_nought_to_ten() {
        let scores = |score: &str| report(&DIM.replace('7', score), "Image 1");
        for score in ["0", "10", "10.0", "2.5", "9.999999", "1", "0.5"] {
            check(&scores(score), None);
        }
        let refused = [
            ("11", "1,"),
            ("10.1", "1,"),
            ("-1", "-"),
            ("1.", ","),
            ("07", "7"),
            ("1e1", "e"),
            ("\"7\"", "\"7"),
        ];
        for (score, rest) in
            refused.into_iter().chain([("9.9999999", "9,"), ("null", "null"), ("1. 5", " 5")])
        {
            check(&scores(score), Some(rest));
        }
    }

    #[test]
    fn strings_hold_what_json_strings_do() {
        let text = |inner: &str| report(DIM, "Image 1").replace("\"q\"", &format!("\"{inner}\""));
        for inner in [r#"a \"b\" \\ \/ \b\f\n\r\t"#, r"\u00e9 \uD83D\uDE00", "é 😀 {[,:", ""] {
            check(&text(inner), None);
        }
        for (inner, rest) in [
            ("a\nb", "\nb"),
            (r"\x", "x"),
            (r"\u12g", "g"),
            (r"\uDE00", "E0"),
            (r"\uD83D\n", "n"),
            (r"\uD83Dx", "x"),
            (r"\uD83D\u0041", "0041"),
            (r"\uD83D\uDB00", "B00"),
        ] {
            check(&text(inner), Some(rest));
        }
    }

    proptest! {
        /// Whatever is written by the grammar's leave, and ended where it says so, is a report with a winner.
        #[test]
        fn all_that_is_allowed_can_be_read(choices in proptest::collection::vec(any::<u8>(), 600)) {
            // Bytes that lead on come often, so that reports end.
            const LIKELY: &[u8] = b"\"{[,:}]I 12promtcaegisndwb_\\\xC3u0. \nD8C";
            let (mut grammar, mut text) = (protocol().grammar().unwrap(), Vec::new());
            let mut choices = choices.into_iter().cycle();
            while !grammar.is_whole() && text.len() < 4000 {
                let start = usize::from(choices.next().unwrap_or(0));
                let closing = text.len() > 300;
                let all = (0..LIKELY.len()).map(|i| LIKELY[(start + i) % LIKELY.len()]).chain(0..=255);
                let first = if closing { &b"\"]}"[..] } else { &[] };
                let next = first.iter().copied().chain(all).find(|byte| grammar.allows(&[*byte]));
                let Some(next) = next else { panic!("stuck behind {}", String::from_utf8_lossy(&text)) };
                prop_assert!(grammar.push(&[next]));
                text.push(next);
            }
            prop_assert!(grammar.is_whole());
            let status = judge(&String::from_utf8_lossy(&text), Finish::Stop, &protocol()).status;
            prop_assert!(matches!(status, Status::Ok | Status::Inconsistent));
        }
    }
}
