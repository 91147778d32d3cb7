//! Just enough of Python's lexical rules to find string literals and what stands around them.

use super::ImportError;
use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string literal; bytes literals are [`Kind::Other`].
    Str(Literal),
    Name,
    /// `(`, `[` or `{`.
    Open,
    /// `)`, `]` or `}`.
    Close,
    /// The end of a logical line.
    Newline,
    /// Any other character, numbers included.
    Other(char),
}

/// A string literal's body and how it is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal {
    /// Bytes between the quotes.
    pub(super) body: Range<usize>,
    /// Backslashes are text (`r""`).
    pub(super) raw: bool,
    /// Braces hold expressions (`f""`).
    pub(super) formatted: bool,
}

/// A token, its bytes and its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) range: Range<usize>,
    /// First line, from 1.
    pub(super) line: usize,
    /// Last line.
    pub(super) last_line: usize,
}

/// All tokens of a script. Blanks, comments and line ends within brackets are left out.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, ImportError> {
    let mut lexer = Lexer { source, at: 0, line: 1, depth: 0 };
    let mut tokens = Vec::new();
    while let Some(first) = lexer.peek() {
        let (start, line) = (lexer.at, lexer.line);
        let kind = lexer.next_kind(first)?;
        if let Some(kind) = kind {
            tokens.push(Token { kind, range: start..lexer.at, line, last_line: lexer.line });
        }
    }
    Ok(tokens)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    depth: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self, c: char) {
        self.at += c.len_utf8();
        self.line += usize::from(c == '\n');
    }

    /// Takes one token that begins with `first`; `None` for what is no token.
    fn next_kind(&mut self, first: char) -> Result<Option<Kind>, ImportError> {
        if first == '#' {
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            return Ok(None);
        }
        if first == '"' || first == '\'' {
            return self.literal("").map(Some);
        }
        if first.is_alphabetic() || first == '_' {
            let rest = self.rest();
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            self.at += end;
            let prefix = word.to_ascii_lowercase();
            let is_prefix = matches!(prefix.as_str(), "r" | "u" | "f" | "b" | "rb" | "br" | "rf" | "fr");
            return match after.starts_with(['"', '\'']) && is_prefix {
                true => self.literal(&prefix).map(Some),
                false => Ok(Some(Kind::Name)),
            };
        }
        self.skip(first);
        Ok(match first {
            '\n' | ';' => (self.depth == 0).then_some(Kind::Newline),
            // A backslash before a line end joins the lines.
            '\\' if self.peek() == Some('\n') => {
                self.skip('\n');
                None
            }
            c if c.is_whitespace() => None,
            '(' | '[' | '{' => {
                self.depth += 1;
                Some(Kind::Open)
            }
            ')' | ']' | '}' => {
                self.depth = self.depth.saturating_sub(1);
                Some(Kind::Close)
            }
            c => Some(Kind::Other(c)),
        })
    }

    /// A string literal whose prefix is already taken.
    fn literal(&mut self, prefix: &str) -> Result<Kind, ImportError> {
        let opened = self.line;
        let rest = self.rest();
        let quote = match () {
            () if rest.starts_with("\"\"\"") => "\"\"\"",
            () if rest.starts_with("'''") => "'''",
            () if rest.starts_with('"') => "\"",
            () => "'",
        };
        self.at += quote.len();
        let start = self.at;
        let formatted = prefix.contains('f');
        while !self.rest().starts_with(quote) {
            match self.peek() {
                None => return unclosed(opened),
                Some('\n') if quote.len() == 1 => return unclosed(opened),
                Some('\\') => self.skip_escape(),
                Some('{') if formatted && self.rest().starts_with("{{") => self.at += 2,
                Some('{') if formatted => {
                    self.at += expression(self.rest()).ok_or_else(|| no_brace(opened))?
                }
                Some(c) => self.skip(c),
            }
        }
        let body = start..self.at;
        self.line = opened + self.source[start..self.at].matches('\n').count();
        self.at += quote.len();
        match prefix.contains('b') {
            true => Ok(Kind::Other('b')),
            false => Ok(Kind::Str(Literal { body, raw: prefix.contains('r'), formatted })),
        }
    }

    fn skip_escape(&mut self) {
        self.skip('\\');
        // `\{` is a backslash before an expression; every other character belongs to its backslash.
        if let Some(c) = self.peek().filter(|c| *c != '{') {
            self.skip(c);
        }
    }
}

fn unclosed<T>(line: usize) -> Result<T, ImportError> {
    Err(ImportError::Python { line, reason: "a string is never closed".to_owned() })
}

fn no_brace(line: usize) -> ImportError {
    ImportError::Python { line, reason: "an f-string's brace is never closed".to_owned() }
}

/// Length of the f-string expression that `text` begins with, both braces included. Quotes within may hold
/// braces, and, since Python 3.12, may be those of the string around.
pub(super) fn expression(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{' | '[' | '(') => depth += 1,
            (None, '}' | ']' | ')') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}
