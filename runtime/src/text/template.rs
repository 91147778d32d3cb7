//! The checkpoint's chat template, rendered so that every byte of the result has a known author.
//!
//! The chat is rendered twice. Once with a mark in place of each text of the caller: what the output holds
//! between the marks was written by the template. Once with the texts themselves, which must give the same
//! string as the first with its marks filled in; else the template changes or inspects texts, the authors
//! are not known, and the request is refused. Texts are never searched for marks, so no text can fake one.

use std::collections::BTreeMap;
use std::ops::Range;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, context};
use rewardrt_models::prompt::segment::Piece;
use serde::Serialize;

use super::chat::{Content, Message, Part};
use super::strftime::strftime;
use super::tojson::tojson;

/// Most bytes of a template: sixty times the longest one known.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;
/// Instructions that one rendering may take: a chat of 1024 parts takes some 50,000, and a template that loops
/// without end is refused within a second.
const MAX_TEMPLATE_STEPS: u64 = 10_000_000;

/// Why a chat cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The template itself is not usable.
    #[error("the chat template cannot be used: {0}")]
    Unusable(String),
    /// The template stopped on this chat, by an error of its own or by `raise_exception`.
    #[error("the chat template refuses these messages: {0}")]
    Refused(String),
    /// The template writes a text of the caller otherwise than it stands, or writes something else because
    /// of it, so that nobody can say which bytes are the caller's.
    #[error(
        "the chat template transforms the text of a message (it trims, replaces or branches on it); \
         change the text, or use a template that writes texts as they are"
    )]
    TransformsText,
}

/// What a rendering may be asked for besides the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RenderOptions<'a> {
    /// End with the header of the assistant's turn, so that the model answers.
    pub add_generation_prompt: bool,
    /// Text that the answer is forced to begin with; ordinary text like the caller's.
    pub assistant_prefix: Option<&'a str>,
    /// The template's `enable_thinking`; left undefined when `None`.
    pub enable_thinking: Option<bool>,
    /// Seconds since 1970 for templates that print the date; they are refused when it is `None`.
    pub unix_now: Option<u64>,
}

/// A rendered chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    text: String,
    callers: Vec<Range<usize>>,
}

impl Rendered {
    /// The prompt as the reference renders it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The prompt in pieces by author.
    pub fn pieces(&self) -> Vec<Piece<'_>> {
        let mut at = 0;
        let mut pieces = Vec::with_capacity(2 * self.callers.len() + 1);
        for caller in &self.callers {
            pieces.push(Piece::Template(&self.text[at..caller.start]));
            pieces.push(Piece::Caller(&self.text[caller.clone()]));
            at = caller.end;
        }
        pieces.push(Piece::Template(&self.text[at..]));
        pieces
    }
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    special_tokens: BTreeMap<String, String>,
    /// A character that occurs nowhere in the template; it brackets the numbers of the marks.
    mark: char,
}

const NAME: &str = "chat_template";
/// Tokens that the reference gives to templates by name.
const NAMED_TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

impl ChatTemplate {
    /// Compiles a Jinja template with the settings of the reference. `special_tokens` are the named tokens
    /// of the tokenizer's config (`bos_token`, `eos_token`...), which templates may print.
    ///
    /// # Errors
    /// [`TemplateError::Unusable`] when the template is too long, has a syntax error, or reads a named token that is
    /// not among `special_tokens`: the reference would print it, and nothing would stand in its place.
    pub fn new(source: &str, special_tokens: BTreeMap<String, String>) -> Result<Self, TemplateError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            let why = format!("it has {} bytes, above the limit of {MAX_TEMPLATE_BYTES}", source.len());
            return Err(TemplateError::Unusable(why));
        }
        // A character for private use: no template has a reason to hold them all.
        let mark = ('\u{E000}'..='\u{F8FF}')
            .find(|c| !source.contains(*c) && !special_tokens.values().any(|t| t.contains(*c)))
            .ok_or_else(|| TemplateError::Unusable("it uses up the private-use characters".to_owned()))?;
        let mut environment = environment();
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|e| TemplateError::Unusable(explain(&e)))?;
        let template = environment.get_template(NAME).map_err(|e| TemplateError::Unusable(explain(&e)))?;
        let read = template.undeclared_variables(false);
        if let Some(name) =
            NAMED_TOKENS.iter().find(|n| read.contains(**n) && !special_tokens.contains_key(**n))
        {
            let why =
                format!("it reads {name}, which the package does not hold; take it out of the template");
            return Err(TemplateError::Unusable(why));
        }
        Ok(ChatTemplate { environment, special_tokens, mark })
    }

    /// Renders a chat. The assistant prefix of the options is not part of it.
    ///
    /// # Errors
    /// [`TemplateError::Refused`] and [`TemplateError::TransformsText`].
    pub fn render(
        &self,
        messages: &[Message],
        options: &RenderOptions<'_>,
    ) -> Result<Rendered, TemplateError> {
        let texts: Vec<&str> = messages.iter().flat_map(Message::texts).collect();
        let marks: Vec<String> = texts.iter().enumerate().map(|(i, text)| self.marked(i, text)).collect();
        let marked = self.run(messages, options, marks.iter().map(String::as_str))?;
        let rendered = self.fill(&marked, &texts).ok_or(TemplateError::TransformsText)?;
        if self.run(messages, options, texts.into_iter())? != rendered.text {
            return Err(TemplateError::TransformsText);
        }
        Ok(rendered)
    }

    /// The stand-in of a text: its number between marks, with the white space of the text's ends around it,
    /// so that a template that trims texts treats both alike; a blank text stands for itself. That white
    /// space then counts as the template's, which is harmless: no control string holds any.
    fn marked(&self, index: usize, text: &str) -> String {
        match split_blanks(text) {
            (_, "", _) => text.to_owned(),
            (lead, _, trail) => format!("{lead}{mark}{index}{mark}{trail}", mark = self.mark),
        }
    }

    /// Puts the texts in the place of their marks; `None` when the marks did not come through whole.
    fn fill(&self, marked: &str, texts: &[&str]) -> Option<Rendered> {
        let mut rendered = Rendered { text: String::with_capacity(marked.len()), callers: Vec::new() };
        let mut parts = marked.split(self.mark);
        rendered.text.push_str(parts.next()?);
        while let Some(number) = parts.next() {
            let (_, core, _) = split_blanks(texts.get(number.parse::<usize>().ok()?)?);
            let start = rendered.text.len();
            rendered.text.push_str(core);
            rendered.callers.push(start..rendered.text.len());
            rendered.text.push_str(parts.next()?);
        }
        Some(rendered)
    }

    /// Renders the messages with `texts` in the place of their own, in order.
    fn run<'t>(
        &self,
        messages: &'t [Message],
        options: &RenderOptions<'_>,
        texts: impl Iterator<Item = &'t str>,
    ) -> Result<String, TemplateError> {
        let chat = wire_messages(messages, texts);
        let mut variables: BTreeMap<&str, Value> =
            self.special_tokens.iter().map(|(name, token)| (name.as_str(), Value::from(token))).collect();
        variables.insert("messages", Value::from_serialize(&chat));
        variables.insert("add_generation_prompt", Value::from(options.add_generation_prompt));
        variables.insert("tools", Value::from(()));
        variables.insert("documents", Value::from(()));
        if let Some(thinking) = options.enable_thinking {
            variables.insert("enable_thinking", Value::from(thinking));
        }
        let now = options.unix_now;
        let clock = move |format: &str| {
            let unix = now.ok_or("this chat template prints the date, and the request gives none".to_owned());
            unix.and_then(|unix| strftime(unix, format))
                .map_err(|why| Error::new(ErrorKind::InvalidOperation, why))
        };
        variables.insert("strftime_now", Value::from_function(clock));
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(context! { ..Value::from_iter(variables) }))
            .map_err(|e| TemplateError::Refused(explain(&e)))
    }
}

/// White space at the beginning of a text, the text proper, and white space at its end.
fn split_blanks(text: &str) -> (&str, &str, &str) {
    let body = text.trim_start();
    let core = body.trim_end();
    (&text[..text.len() - body.len()], core, &body[core.len()..])
}

/// What the template sees of a message. Media parts carry no path: a template could print it.
#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: WireContent<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireContent<'a> {
    Plain(&'a str),
    Parts(Vec<WirePart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum WirePart<'a> {
    Text { text: &'a str },
    Image,
    Video,
}

fn wire_messages<'t>(
    messages: &'t [Message],
    mut texts: impl Iterator<Item = &'t str>,
) -> Vec<WireMessage<'t>> {
    let mut text = || texts.next().unwrap_or_default();
    let mut content = |content: &'t Content| match content {
        Content::Plain(_) => WireContent::Plain(text()),
        Content::Parts(parts) => {
            let part = |part: &'t Part| match part {
                Part::Text(_) => WirePart::Text { text: text() },
                Part::Marker(token) => WirePart::Text { text: token },
                Part::Image(_) => WirePart::Image,
                Part::Video(_) => WirePart::Video,
            };
            WireContent::Parts(parts.iter().map(part).collect())
        }
    };
    messages.iter().map(|m| WireMessage { role: m.role.name(), content: content(&m.content) }).collect()
}

/// Jinja as the reference sets it up: block lines leave no blanks, nothing is escaped, Python's string
/// methods work, and values print as Python prints them.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(MAX_TEMPLATE_STEPS));
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(|out, state, value| match value.kind() {
        ValueKind::None => Ok(out.write_str("None")?),
        ValueKind::Bool => Ok(out.write_str(if value.is_true() { "True" } else { "False" })?),
        _ => minijinja::escape_formatter(out, state, value),
    });
    environment.add_filter("tojson", |value: Value, kwargs| tojson(&value, kwargs));
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment
}

/// The error with its causes in one line.
fn explain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
