//! A strict JSON scanner that knows *where* things stand.
//!
//! serde gives values without places. The verdict's token must be found by its byte, and a report that was
//! cut must be told from one that is malformed, so the extent of the object is found here first; serde then
//! reads exactly that slice into typed structs.

use std::ops::Range;

/// Levels of nesting allowed. A report needs five (report, categories, category, dims, dimension); the rest
/// is room for keys that a checkpoint adds. The scanner recurses, so the limit also bounds its stack.
pub const MAX_DEPTH: usize = 16;

/// A member of the outermost object: the bytes between the quotes of its key, and those of its value.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// A closed object: its bytes, braces included, and its own members.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) range: Range<usize>,
    pub(super) members: Vec<Member>,
}

/// Why no closed object starts at a place.
#[derive(Debug, PartialEq)]
pub(super) enum Stop {
    /// The text ends inside the object, and everything before is grammatical.
    Cut,
    /// The grammar is broken.
    Malformed { at: usize, expected: &'static str },
    /// NaN, an infinity, or a number beyond a double.
    NotFinite { at: usize },
    /// More than [`MAX_DEPTH`] levels.
    TooDeep { at: usize },
}

/// Scans the object that opens at byte `start`, which must be a `{`.
pub(super) fn object(text: &str, start: usize) -> Result<Object, Stop> {
    let mut scanner = Scanner { text, at: start };
    let members = scanner.object(1)?;
    Ok(Object { range: start..scanner.at, members })
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Result<u8, Stop> {
        self.text.as_bytes().get(self.at).copied().ok_or(Stop::Cut)
    }

    fn skip_space(&mut self) -> Result<u8, Stop> {
        while matches!(self.peek()?, b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        self.peek()
    }

    fn malformed<T>(&self, expected: &'static str) -> Result<T, Stop> {
        Err(Stop::Malformed { at: self.at, expected })
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Stop> {
        if self.skip_space()? != byte {
            return self.malformed(expected);
        }
        self.at += 1;
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Member>, Stop> {
        self.at += 1;
        let mut members = Vec::new();
        if self.skip_space()? == b'}' {
            self.at += 1;
            return Ok(members);
        }
        loop {
            if self.skip_space()? != b'"' {
                return self.malformed("a key in double quotes");
            }
            let key = self.string()?;
            self.expect(b':', "a colon after the key")?;
            self.skip_space()?;
            let start = self.at;
            self.value(depth)?;
            members.push(Member { key, value: start..self.at });
            match self.skip_space()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return self.malformed("a comma or a closing brace"),
            }
        }
        self.at += 1;
        Ok(members)
    }

    fn array(&mut self, depth: usize) -> Result<(), Stop> {
        self.at += 1;
        if self.skip_space()? == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            // serde reads a list as a struct, field by field in order; a report never holds a list of lists.
            if self.skip_space()? == b'[' {
                return self.malformed("an object in the list, not another list");
            }
            self.value(depth)?;
            match self.skip_space()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return self.malformed("a comma or a closing bracket"),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), Stop> {
        match self.peek()? {
            b'{' | b'[' if depth == MAX_DEPTH => Err(Stop::TooDeep { at: self.at }),
            b'{' => self.object(depth + 1).map(drop),
            b'[' => self.array(depth + 1),
            b'"' => self.string().map(drop),
            b'0'..=b'9' => self.number(self.at),
            b'-' => {
                let start = self.at;
                self.at += 1;
                match self.peek()? {
                    b'0'..=b'9' => self.number(start),
                    _ => self.word(),
                }
            }
            _ => self.word(),
        }
    }

    /// The bytes between the quotes, escapes left as they are.
    fn string(&mut self) -> Result<Range<usize>, Stop> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    self.escape()?;
                }
                0..0x20 => return self.malformed("an escape for the control character"),
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Ok(start..self.at - 1)
    }

    fn escape(&mut self) -> Result<(), Stop> {
        let digits = match self.peek()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 0,
            b'u' => 4,
            _ => return self.malformed("a known escape"),
        };
        self.at += 1;
        for _ in 0..digits {
            if !self.peek()?.is_ascii_hexdigit() {
                return self.malformed("four hex digits");
            }
            self.at += 1;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Stop> {
        if !self.peek()?.is_ascii_digit() {
            return self.malformed("a digit");
        }
        while self.peek()?.is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    /// A number whose sign, if any, stands at `start`; its first digit is the next byte.
    fn number(&mut self, start: usize) -> Result<(), Stop> {
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek()? == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek()?, b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek()?, b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        match self.text[start..self.at].parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(()),
            _ => Err(Stop::NotFinite { at: start }),
        }
    }

    /// `true`, `false`, `null`, or the words that models write where a number is not one.
    fn word(&mut self) -> Result<(), Stop> {
        const NOT_FINITE: [&str; 3] = ["nan", "inf", "infinity"];
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let length = rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let word = self.text[start..start + length].to_ascii_lowercase();
        if length == rest.len()
            && NOT_FINITE.iter().chain(&["true", "false", "null"]).any(|w| w.starts_with(&word))
        {
            return Err(Stop::Cut);
        }
        if NOT_FINITE.contains(&word.as_str()) {
            return Err(Stop::NotFinite { at: start });
        }
        if !["true", "false", "null"].contains(&&self.text[start..start + length]) {
            return self.malformed("a value");
        }
        self.at += length;
        Ok(())
    }
}
