//! The `tojson` filter as the reference sets it: Python's `json.dumps` without escaping of non-ASCII.

use std::io;

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// `value | tojson(indent=N)`.
pub(super) fn tojson(value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    kwargs.assert_all_used()?;
    let text = match indent {
        // Above eight blanks the template is broken, not thoughtful.
        Some(width) if width <= 8 => write(value, PrettyFormatter::with_indent(&b"        "[..width])),
        Some(_) => Err("indent is above 8".to_owned()),
        None => write(value, Spaced),
    };
    text.map(Value::from_safe_string)
        .map_err(|why| Error::new(ErrorKind::InvalidOperation, format!("tojson: {why}")))
}

fn write(value: &Value, formatter: impl Formatter) -> Result<String, String> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, formatter)).map_err(|e| e.to_string())?;
    String::from_utf8(out).map_err(|e| e.to_string())
}

/// Python's default separators: a blank after every comma and colon.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
