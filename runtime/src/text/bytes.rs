//! Ids back to text: the bytes of every token, whole-text decoding with offsets, and decoding as it comes.

use std::ops::Range;

/// The bytes that each token id stands for, in one block.
#[derive(Debug, Default)]
pub(super) struct TokenBytes {
    block: Vec<u8>,
    /// End of each id's bytes in `block`; they begin where those of the id before end.
    ends: Vec<usize>,
    special: Vec<bool>,
}

impl TokenBytes {
    /// Adds the next id. Ids without a token (padding rows of the head) get no bytes.
    pub(super) fn push(&mut self, bytes: &[u8], special: bool) {
        self.block.extend_from_slice(bytes);
        self.ends.push(self.block.len());
        self.special.push(special);
    }

    /// Number of ids, with those that have no token.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of `id`; empty for an id without a token.
    pub(super) fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = if id == 0 { Some(&0) } else { self.ends.get(id - 1) };
        match (start, self.ends.get(id)) {
            (Some(&start), Some(&end)) => &self.block[start..end],
            _ => &[],
        }
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        self.special.get(id as usize).copied().unwrap_or(false)
    }
}

/// The byte that a character of the ByteLevel alphabet stands for.
///
/// The alphabet (of GPT-2) keeps the printable Latin-1 bytes as they are, and gives the other 68 (00-20,
/// 7F-A0 and AD) the characters from U+0100 on, in the order of the bytes.
pub(super) fn alphabet_byte(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121) as u8 + 0x7F),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// The bytes of a token by the rule of the reference's ByteLevel decoder: each character by the alphabet,
/// or, when one of them is outside of it (in added tokens), the token's own UTF-8.
pub(super) fn byte_level(token: &str) -> Vec<u8> {
    let inverted: Option<Vec<u8>> = token.chars().map(alphabet_byte).collect();
    inverted.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// A decoded answer. Bytes that are not UTF-8 appear as U+FFFD, as in the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The text.
    pub text: String,
    /// For each token, the bytes of `text` that it wrote or helped to write; empty for a token that shows
    /// nothing. A character that was put together by several tokens belongs to all of them.
    pub spans: Vec<Range<usize>>,
}

impl Decoded {
    /// The first token that wrote the byte at `offset` of the text.
    pub fn token_at(&self, offset: usize) -> Option<usize> {
        self.spans.iter().position(|span| span.contains(&offset))
    }

    /// Decodes the bytes of tokens.
    pub(super) fn from_tokens<'a>(tokens: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut raw = Vec::new();
        let ranges: Vec<Range<usize>> = tokens
            .map(|bytes| {
                raw.extend_from_slice(bytes);
                raw.len() - bytes.len()..raw.len()
            })
            .collect();
        let (text, units) = lossy_units(&raw);
        let spans = ranges
            .into_iter()
            .map(|range| match (units.get(range.start), range.is_empty()) {
                (Some(first), false) => first.start..units[range.end - 1].end,
                (Some(first), true) => first.start..first.start,
                (None, _) => text.len()..text.len(),
            })
            .collect();
        Decoded { text, spans }
    }
}

/// The text of `raw`, and for each raw byte the range of the text's bytes that it is part of.
fn lossy_units(raw: &[u8]) -> (String, Vec<Range<usize>>) {
    let mut text = String::with_capacity(raw.len());
    let mut units = Vec::with_capacity(raw.len());
    let mut put = |c: char, raw_bytes: usize| {
        let start = text.len();
        text.push(c);
        units.extend(std::iter::repeat_n(start..text.len(), raw_bytes));
    };
    for chunk in raw.utf8_chunks() {
        chunk.valid().chars().for_each(|c| put(c, c.len_utf8()));
        if !chunk.invalid().is_empty() {
            put(char::REPLACEMENT_CHARACTER, chunk.invalid().len());
        }
    }
    (text, units)
}

/// Decodes tokens as they come and never splits a character: what is written so far, joined, is always a
/// prefix of the whole decoded text, and equals it after [`Utf8Stream::finish`].
#[derive(Debug, Clone, Default)]
pub struct Utf8Stream {
    /// The beginning of a character whose rest has not come: at most three bytes.
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// A stream at its beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the bytes of the next token and gives the text that is certain now.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let keep = unfinished(&self.pending);
        let rest = self.pending.split_off(self.pending.len() - keep);
        let ready = std::mem::replace(&mut self.pending, rest);
        String::from_utf8_lossy(&ready).into_owned()
    }

    /// Ends the stream: a character that never got its rest becomes U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// How many bytes at the end of `bytes` begin a character that more bytes could complete.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    (1..=tail.len())
        .rev()
        .find(|&n| {
            let end = &tail[tail.len() - n..];
            std::str::from_utf8(end).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(tokens: &[&[u8]], text: &str, spans: &[Range<usize>]) {
        let decoded = Decoded::from_tokens(tokens.iter().copied());
        assert_eq!((decoded.text.as_str(), decoded.spans.as_slice()), (text, spans));
    }

    #[test]
    fn the_alphabet_is_a_bijection_of_the_bytes() {
        let mut bytes: Vec<u8> = (0..0x200).filter_map(char::from_u32).filter_map(alphabet_byte).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=0xFF).collect::<Vec<u8>>());
        assert_eq!(["Ġ", "Ċ", "é", "<|a|>"].map(byte_level), [&b" "[..], b"\n", b"\xE9", b"<|a|>"]);
        assert_eq!(byte_level("a b"), b"a b", "a blank is outside of the alphabet");
    }

    #[test]
    fn a_character_of_two_tokens_belongs_to_both() {
        check(&[b"a", b"\xC3", b"\xA9b", b""], "aéb", &[0..1, 1..3, 1..4, 4..4]);
        check(&[b"", b"\xC3", b"x"], "\u{FFFD}x", &[0..0, 0..3, 3..4]);
        let decoded = Decoded::from_tokens([&b"\xC3"[..], b"\xA9", b"1"].into_iter());
        assert_eq!([0, 1, 2, 3].map(|at| decoded.token_at(at)), [Some(0), Some(0), Some(2), None]);
    }

    #[test]
    fn a_stream_waits_for_the_rest_of_a_character() {
        let mut stream = Utf8Stream::new();
        let said: Vec<String> =
            [&b"a\xF0\x9F"[..], b"\x99", b"\x82b", b"\xFF", b"\xE4\xBE"].map(|b| stream.push(b)).into();
        assert_eq!(said, ["a", "", "🙂b", "\u{FFFD}", ""]);
        assert_eq!(stream.finish(), "\u{FFFD}");
    }

    fn token() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<Vec<u8>>(),
            any::<String>().prop_map(String::into_bytes),
            proptest::collection::vec(
                proptest::sample::select(b"a\xC3\xA9\xE4\xBE\xA1\xF0\x9F\x99\x82".to_vec()),
                0..4
            ),
        ]
    }

    proptest! {
        #[test]
        fn streamed_text_equals_the_whole(tokens in proptest::collection::vec(token(), 0..20)) {
            let whole = Decoded::from_tokens(tokens.iter().map(Vec::as_slice));
            let raw = tokens.concat();
            prop_assert_eq!(whole.text.as_str(), String::from_utf8_lossy(&raw));
            let mut stream = Utf8Stream::new();
            let mut said = String::new();
            for bytes in &tokens {
                said.push_str(&stream.push(bytes));
                prop_assert!(whole.text.starts_with(&said));
            }
            said.push_str(&stream.finish());
            prop_assert_eq!(said, whole.text);
        }
    }
}
