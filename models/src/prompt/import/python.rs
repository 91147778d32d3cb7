//! Concatenations of string literals, and the template that each is.

use super::lexer::{self, Kind, Literal, Token};
use super::{ImportError, Part, named_holes};
use std::ops::{Range, RangeInclusive};

/// Literals that Python joins to one string, by adjacency or by `+`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Concatenation {
    operands: Vec<Operand>,
    /// Indices of its tokens.
    tokens: Range<usize>,
    /// Whether a `+` joins any of it.
    plus: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Operand {
    Literal {
        literal: Literal,
        line: usize,
    },
    /// Bytes of an expression between two `+`.
    Expression(Range<usize>),
}

impl Concatenation {
    /// The bodies of its literals, as written.
    pub(super) fn raw_text(&self, source: &str) -> String {
        self.operands
            .iter()
            .map(|operand| match operand {
                Operand::Literal { literal, .. } => &source[literal.body.clone()],
                Operand::Expression(_) => "",
            })
            .collect()
    }

    /// The lines it covers.
    pub(super) fn lines(&self, tokens: &[Token]) -> RangeInclusive<usize> {
        tokens[self.tokens.start].line..=tokens[self.tokens.end - 1].last_line
    }

    /// Whether expressions are put in by Python itself, so that a brace in a plain literal is only a brace.
    fn has_expressions(&self) -> bool {
        self.operands.iter().any(|operand| match operand {
            Operand::Literal { literal, .. } => literal.formatted,
            Operand::Expression(_) => true,
        })
    }
}

/// All concatenations of a script, single literals included.
pub(super) fn concatenations(tokens: &[Token]) -> Vec<Concatenation> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Kind::Str(_) = tokens[at].kind else {
            at += 1;
            continue;
        };
        let one = concatenation(tokens, at);
        at = one.tokens.end;
        found.push(one);
    }
    found
}

fn concatenation(tokens: &[Token], start: usize) -> Concatenation {
    let mut one = Concatenation { operands: Vec::new(), tokens: start..start, plus: false };
    let mut at = start;
    loop {
        match tokens.get(at).map(|token| &token.kind) {
            Some(Kind::Str(literal)) => {
                one.operands.push(Operand::Literal { literal: literal.clone(), line: tokens[at].line });
                at += 1;
            }
            Some(Kind::Other('+')) => {
                one.plus = true;
                at += 1;
                let end = operand_end(tokens, at);
                if !matches!(tokens.get(at).map(|token| &token.kind), Some(Kind::Str(_))) && end > at {
                    one.operands.push(Operand::Expression(tokens[at].range.start..tokens[end - 1].range.end));
                    at = end;
                }
            }
            _ => break,
        }
    }
    one.tokens.end = at;
    one
}

/// Index of the token that ends the operand at `start`: a `+`, a comma, a closing bracket, or the line's end.
fn operand_end(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close if depth == 0 => return at,
            Kind::Close => depth -= 1,
            Kind::Newline | Kind::Other('+' | ',') if depth == 0 => return at,
            _ => {}
        }
    }
    tokens.len()
}

/// The template that a concatenation is, with what the script does to it undone.
pub(super) fn parts(
    one: &Concatenation,
    tokens: &[Token],
    source: &str,
    names: &[(&str, &str)],
) -> Result<Vec<Part>, ImportError> {
    let format = treatment(one, tokens, source, names)?;
    if format && one.has_expressions() {
        return refuse(
            tokens[one.tokens.start].line,
            "an f-string or a joined variable is formatted a second time",
        );
    }
    let mut parts = Vec::new();
    for operand in &one.operands {
        match operand {
            Operand::Expression(range) => parts.push(Part::Hole(source[range.clone()].to_owned())),
            Operand::Literal { literal, line } if literal.formatted => {
                f_string(literal, *line, source, &mut parts)?
            }
            Operand::Literal { literal, line } => {
                parts.push(Part::Text(unescape(&source[literal.body.clone()], literal.raw, *line)?));
            }
        }
    }
    if one.has_expressions() {
        return Ok(parts);
    }
    let text: String =
        parts.iter().map(|part| if let Part::Text(text) = part { text.as_str() } else { "" }).collect();
    match format {
        true => format_string(&text, tokens[one.tokens.start].line),
        false => Ok(named_holes(&text, names)),
    }
}

fn refuse<T>(line: usize, reason: impl Into<String>) -> Result<T, ImportError> {
    Err(ImportError::Python { line, reason: reason.into() })
}

/// Whether the string goes through `.format`, here or by the name it is given. Anything else that changes it,
/// on the spot, is refused: the imported bytes would not be those that the client sends.
fn treatment(
    one: &Concatenation,
    tokens: &[Token],
    source: &str,
    names: &[(&str, &str)],
) -> Result<bool, ImportError> {
    let (start, end) = (one.tokens.start, one.tokens.end);
    let line = tokens[start].line;
    let text = |at: usize| tokens.get(at).map_or("", |token| &source[token.range.clone()]);
    let opened = start - tokens[..start].iter().rev().take_while(|token| token.kind == Kind::Open).count();
    let closed = end + tokens[end..].iter().take_while(|token| token.kind == Kind::Close).count();
    let before = opened.checked_sub(1).map_or("", text);
    let fills_hole = || {
        let filled = text(closed + 3).trim_matches(['"', '\'']);
        names.iter().any(|(name, _)| filled == format!("{{{name}}}"))
    };
    match (before, text(closed), text(closed + 1)) {
        ("+", ..) => return refuse(line, "something is put before the string with a plus sign"),
        ("dedent" | "cleandoc", ..) => {
            return refuse(line, format!("the string's blanks are changed by {before}()"));
        }
        (_, "%", _) => return refuse(line, "the string is formatted with a percent sign"),
        (_, ".", "format" | "replace") if one.plus && closed == end => {
            return refuse(line, "only the last of several joined strings is formatted");
        }
        (_, ".", "format") => return Ok(true),
        (_, ".", "replace") if fills_hole() => return Ok(false),
        (_, ".", method) => return refuse(line, format!("the string is changed by .{method}()")),
        _ => {}
    }
    let name = if before == "=" { opened.checked_sub(2).map_or("", text) } else { "" };
    Ok(tokens.windows(3).any(|three| {
        let words = [0, 1, 2].map(|at| &source[three[at].range.clone()]);
        words == [name, ".", "format"]
    }))
}

fn f_string(literal: &Literal, line: usize, source: &str, parts: &mut Vec<Part>) -> Result<(), ImportError> {
    let body = &source[literal.body.clone()];
    let mut text = String::new();
    let mut at = 0;
    while let Some(c) = body[at..].chars().next() {
        let rest = &body[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            text.push(c);
            at += 2;
        } else if c == '{' {
            let Some(length) = lexer::expression(rest) else {
                return refuse(line, "an f-string's brace is never closed");
            };
            parts.push(Part::Text(unescape(&std::mem::take(&mut text), literal.raw, line)?));
            parts.push(Part::Hole(plain_expression(&rest[1..length - 1], line)?));
            at += length;
        } else {
            text.push(c);
            at += c.len_utf8();
            if let Some(next) = body[at..].chars().next().filter(|next| c == '\\' && *next != '{') {
                text.push(next);
                at += next.len_utf8();
            }
        }
    }
    parts.push(Part::Text(unescape(&text, literal.raw, line)?));
    Ok(())
}

/// An expression without conversion, format or debugging mark: those change what is put in.
fn plain_expression(inner: &str, line: usize) -> Result<String, ImportError> {
    let mut depth = 0usize;
    let mut quote = None;
    for c in inner.chars() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{' | '[' | '(') => depth += 1,
            (None, '}' | ']' | ')') => depth = depth.saturating_sub(1),
            (None, '!' | ':' | '=') if depth == 0 => {
                return refuse(line, format!("the expression {{{inner}}} changes what it puts in"));
            }
            _ => {}
        }
    }
    Ok(inner.trim().to_owned())
}

/// A string that goes through `.format`: doubled braces are braces, single ones hold a name.
fn format_string(text: &str, line: usize) -> Result<Vec<Part>, ImportError> {
    let mut parts = Vec::new();
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            out.push_str(&rest[..1]);
            rest = &rest[2..];
            continue;
        }
        let Some(end) = rest.find('}').filter(|end| *end > 0) else {
            return refuse(line, "a brace of the formatted string has no partner");
        };
        parts.push(Part::Text(std::mem::take(&mut out)));
        parts.push(Part::Hole(plain_expression(&rest[1..end], line)?));
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    parts.push(Part::Text(out));
    Ok(parts)
}

/// Undoes the escapes of a literal's body.
fn unescape(body: &str, raw: bool, line: usize) -> Result<String, ImportError> {
    if raw {
        return Ok(body.to_owned());
    }
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else {
            // Only before an expression of an f-string.
            out.push('\\');
            break;
        };
        let after = &rest[c.len_utf8()..];
        rest = match c {
            'x' => code(after, 2, 16, line, &mut out)?,
            'u' => code(after, 4, 16, line, &mut out)?,
            'U' => code(after, 8, 16, line, &mut out)?,
            '0'..='7' => {
                let digits = rest.bytes().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
                code(rest, digits, 8, line, &mut out)?
            }
            'N' => return refuse(line, "the escape \\N{..} names a character"),
            '\n' => after,
            _ => {
                match simple(c) {
                    Some(plain) => out.push(plain),
                    // Python keeps the backslash of an escape that it does not know.
                    None => out.extend(['\\', c]),
                }
                after
            }
        };
    }
    out.push_str(rest);
    Ok(out)
}

fn simple(c: char) -> Option<char> {
    Some(match c {
        '\\' | '\'' | '"' => c,
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        _ => return None,
    })
}

/// Takes `digits` digits of a character's code and gives what follows them.
fn code<'a>(
    text: &'a str,
    digits: usize,
    radix: u32,
    line: usize,
    out: &mut String,
) -> Result<&'a str, ImportError> {
    let found = text
        .get(..digits)
        .filter(|digits| digits.chars().all(|c| c.is_digit(radix)))
        .and_then(|digits| u32::from_str_radix(digits, radix).ok())
        .and_then(char::from_u32);
    match found {
        Some(c) => {
            out.push(c);
            Ok(&text[digits..])
        }
        None => refuse(line, "an escape that is no character"),
    }
}
