//! Chats in the form that OpenAI's clients write. Fields that would change the answer and are not there are refused by
//! name; fields that say what is done anyway are accepted.

use std::fmt;
use std::sync::Arc;

use rewardrt::judge::Sampling;
use rewardrt::text::MAX_CHAT_PARTS;
use rewardrt::text::chat::{Chat, Content, MediaFile, Message, Part, Role};
use rewardrt_models::prompt::segment::MediaKind;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::media::Media;
use super::{Gallery, Wire};
use crate::error::ApiError;

/// Most texts at which an answer ends.
const MAX_STOPS: usize = 4;
/// Longest of them in bytes.
const MAX_STOP_BYTES: usize = 256;

/// A chat to be continued.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Complete {
    model: Option<String>,
    messages: Vec<Said>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i64>,
    repetition_penalty: Option<f32>,
    seed: Option<u64>,
    stop: Option<Stops>,
    #[serde(default)]
    stream: bool,
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    logprobs: bool,
    // What follows is accepted where it says what is done anyway; see `neutral`.
    n: Option<Value>,
    best_of: Option<Value>,
    top_logprobs: Option<Value>,
    presence_penalty: Option<Value>,
    frequency_penalty: Option<Value>,
    min_p: Option<Value>,
    min_tokens: Option<Value>,
    response_format: Option<Value>,
    do_sample: Option<Value>,
    user: Option<Value>,
    use_beam_search: Option<Value>,
    num_beams: Option<Value>,
    ignore_eos: Option<Value>,
    skip_special_tokens: Option<Value>,
    chat_template_kwargs: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a text or a list of at most four texts")]
enum Stops {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// One message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    role: Role,
    content: Body,
}

enum Body {
    Plain(String),
    Parts(Vec<Piece>),
}

/// By hand, because an untagged enum would answer every mistake inside a part in the same words.
impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Body, D::Error> {
        struct TextOrParts;
        impl<'de> Visitor<'de> for TextOrParts {
            type Value = Body;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of parts of type text, image_url or video_url")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Body, E> {
                Ok(Body::Plain(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Body, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Body::Parts)
            }
        }
        deserializer.deserialize_any(TextOrParts)
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Piece {
    Text { text: String },
    ImageUrl { image_url: Url },
    VideoUrl { video_url: Url },
}

/// A data URL, with the detail that some clients ask for: pictures are seen as they are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Url {
    url: Media,
    #[serde(rename = "detail")]
    _detail: Option<String>,
}

/// What is asked of the judge.
pub(crate) struct Completion {
    pub(crate) model: Option<String>,
    pub(crate) chat: Chat,
    pub(crate) sampling: Sampling,
    pub(crate) max_new_tokens: Option<usize>,
    pub(crate) stop: Vec<String>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) logprobs: bool,
}

impl Wire for Complete {
    type Asked = Completion;

    fn asked(self, gallery: &mut Gallery) -> Result<Completion, ApiError> {
        self.neutral()?;
        let sampling = self.sampling()?;
        let max_new_tokens = match (self.max_tokens, self.max_completion_tokens) {
            (Some(_), Some(_)) => {
                return Err(
                    ApiError::bad("give max_tokens or max_completion_tokens, not both").at("/max_tokens")
                );
            }
            (one, other) => one.or(other),
        };
        if max_new_tokens == Some(0) {
            return Err(ApiError::bad("give 1 or more").at("/max_tokens"));
        }
        let include_usage = self.stream_options.is_some_and(|options| options.include_usage);
        Ok(Completion {
            model: self.model,
            chat: chat(self.messages, gallery)?,
            sampling,
            max_new_tokens,
            stop: stops(self.stop)?,
            stream: self.stream,
            include_usage,
            logprobs: self.logprobs,
        })
    }
}

/// A field, what it says, whether that is what is done anyway, and what would be.
type Neutral<'a> = (&'a str, &'a Option<Value>, &'a dyn Fn(&Value) -> bool, &'a str);

impl Complete {
    /// Refuses what would ask for something else than is done.
    fn neutral(&self) -> Result<(), ApiError> {
        let is = |value: &Value, number: f64| value.as_f64() == Some(number);
        let one: fn(&Value) -> bool = |value| value.as_u64() == Some(1);
        let no: fn(&Value) -> bool = |value| value == &Value::Bool(false);
        let any: fn(&Value) -> bool = |_| true;
        let zero = move |value: &Value| is(value, 0.0);
        let plain: fn(&Value) -> bool = |value| value == &serde_json::json!({ "type": "text" });
        let unthinking: fn(&Value) -> bool = |value| {
            value == &serde_json::json!({ "enable_thinking": false }) || value == &serde_json::json!({})
        };
        let yes: fn(&Value) -> bool = |value| value == &Value::Bool(true);
        let table: [Neutral<'_>; 15] = [
            ("n", &self.n, &one, "1"),
            ("best_of", &self.best_of, &one, "1"),
            (
                "top_logprobs",
                &self.top_logprobs,
                &zero,
                "0; the log-probability of each token is in `logprobs`",
            ),
            ("presence_penalty", &self.presence_penalty, &zero, "0"),
            ("frequency_penalty", &self.frequency_penalty, &zero, "0"),
            ("min_p", &self.min_p, &zero, "0"),
            ("min_tokens", &self.min_tokens, &zero, "0"),
            (
                "response_format",
                &self.response_format,
                &plain,
                "{\"type\": \"text\"}; answers are not constrained",
            ),
            ("do_sample", &self.do_sample, &any, "anything; `temperature` says whether tokens are drawn"),
            ("user", &self.user, &any, "anything"),
            ("use_beam_search", &self.use_beam_search, &no, "false"),
            ("num_beams", &self.num_beams, &one, "1"),
            ("ignore_eos", &self.ignore_eos, &no, "false"),
            ("skip_special_tokens", &self.skip_special_tokens, &yes, "true"),
            ("chat_template_kwargs", &self.chat_template_kwargs, &unthinking, "{\"enable_thinking\": false}"),
        ];
        for (name, value, accepts, accepted) in table {
            if value.as_ref().is_some_and(|value| !value.is_null() && !accepts(value)) {
                let message = format!("{name} is not offered otherwise than as {accepted}; leave it out");
                return Err(ApiError::bad(message).at(format!("/{name}")));
            }
        }
        Ok(())
    }

    /// How tokens are chosen: greedily, unless a temperature above 0 or a filter asks for a draw.
    fn sampling(&self) -> Result<Sampling, ApiError> {
        let refuse =
            |name: &str, wanted: &str| Err(ApiError::bad(format!("give {wanted}")).at(format!("/{name}")));
        let filters = self.top_p.is_some_and(|p| p < 1.0) || self.top_k.is_some_and(|k| k > 0);
        let temperature = self.temperature.unwrap_or(if filters { 1.0 } else { 0.0 });
        let (top_p, top_k) = (self.top_p.unwrap_or(1.0), self.top_k.unwrap_or(0));
        let penalty = self.repetition_penalty.unwrap_or(1.0);
        if !(0.0..=100.0).contains(&temperature) {
            return refuse("temperature", "0 to 100");
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return refuse("top_p", "a number above 0 and at most 1");
        }
        // Clients of other servers say -1 for all.
        let Ok(top_k) = u32::try_from(if top_k == -1 { 0 } else { top_k }) else {
            return refuse("top_k", "a whole number, 0 for all");
        };
        if !(penalty > 0.0 && penalty <= 100.0) {
            return refuse("repetition_penalty", "a number above 0 and at most 100");
        }
        if temperature == 0.0 && penalty == 1.0 {
            return Ok(Sampling::Greedy);
        }
        let seed = self.seed.unwrap_or(0);
        Ok(Sampling::Custom { temperature, top_p, top_k, repetition_penalty: penalty, seed })
    }
}

fn stops(stop: Option<Stops>) -> Result<Vec<String>, ApiError> {
    let stops = match stop {
        None => Vec::new(),
        Some(Stops::One(stop)) => vec![stop],
        Some(Stops::Many(stops)) => stops,
    };
    let fits = |stop: &String| !stop.is_empty() && stop.len() <= MAX_STOP_BYTES;
    if stops.len() > MAX_STOPS || !stops.iter().all(fits) {
        let message = format!("give at most {MAX_STOPS} texts of 1 to {MAX_STOP_BYTES} bytes");
        return Err(ApiError::bad(message).at("/stop"));
    }
    Ok(stops)
}

fn chat(messages: Vec<Said>, gallery: &mut Gallery) -> Result<Chat, ApiError> {
    let parts = |said: &Said| match &said.content {
        Body::Plain(_) => 1,
        Body::Parts(parts) => parts.len().max(1),
    };
    let found: usize = messages.iter().map(parts).sum();
    if found == 0 || found > MAX_CHAT_PARTS {
        return Err(ApiError::bad(format!("give 1 to {MAX_CHAT_PARTS} messages and parts")).at("/messages"));
    }
    let mut media = Vec::new();
    let mut one = |(i, Said { role, content }): (usize, Said)| {
        let content = match content {
            Body::Plain(text) => Content::Plain(text),
            Body::Parts(pieces) => {
                let places = pieces.into_iter().enumerate();
                let part =
                    |(k, piece)| part(piece, &format!("/messages/{i}/content/{k}"), gallery, &mut media);
                Content::Parts(places.map(part).collect::<Result<_, _>>()?)
            }
        };
        Ok(Message { role, content })
    };
    let messages = messages.into_iter().enumerate().map(&mut one).collect::<Result<_, ApiError>>()?;
    Ok(Chat { messages, media })
}

fn part(piece: Piece, at: &str, gallery: &mut Gallery, media: &mut Vec<MediaFile>) -> Result<Part, ApiError> {
    let slot = media.len();
    let (url, kind, part) = match piece {
        Piece::Text { text } => return Ok(Part::Text(text)),
        Piece::ImageUrl { image_url } => (image_url.url, MediaKind::Image, Part::Image(slot)),
        Piece::VideoUrl { video_url } => (video_url.url, MediaKind::Video, Part::Video(slot)),
    };
    let bytes = gallery.bytes(url, at)?;
    media.push(MediaFile { kind, path: at.to_owned(), bytes: Some(Arc::from(bytes)) });
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body asks for, in one line, or the words of its refusal.
    fn check(fields: &str, expected: &str) {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"hi"}}]{fields}}}"#);
        let got = match serde_json::from_str::<Complete>(&body) {
            Err(error) => error.to_string(),
            Ok(asked) => match asked.asked(&mut Gallery::new(Vec::new(), 2)) {
                Err(error) => format!("{} {}", error.param.unwrap_or_default(), error.message),
                Ok(c) => format!(
                    "{:?} {:?} {:?} {} {}",
                    c.sampling, c.max_new_tokens, c.stop, c.stream, c.logprobs
                ),
            },
        };
        assert!(got.contains(expected), "{fields}\n gave {got}\n not  {expected}");
    }

    #[test]
    fn what_trainers_send_is_taken() {
        check(
            r#","model":"UnifiedReward","max_tokens":4096,"do_sample":false"#,
            "Greedy Some(4096) [] false false",
        );
        check(r#","temperature":0,"n":1,"seed":7,"max_completion_tokens":9"#, "Greedy Some(9)");
        check(
            r#","presence_penalty":0.0,"frequency_penalty":0,"best_of":1,"use_beam_search":false"#,
            "Greedy None",
        );
        check(r#","response_format":{"type":"text"},"user":"me","top_logprobs":null"#, "Greedy");
        check(r#","chat_template_kwargs":{"enable_thinking":false},"skip_special_tokens":true"#, "Greedy");
        check(r#","stop":"a","stream":true,"logprobs":true,"top_k":-1"#, "Greedy None [\"a\"] true true");
        check(
            r#","temperature":0.7,"top_p":0.8,"top_k":20,"seed":3"#,
            "Custom { temperature: 0.7, top_p: 0.8, top_k: 20, repetition_penalty: 1.0, seed: 3 }",
        );
        check(r#","top_p":0.5"#, "temperature: 1.0, top_p: 0.5");
        check(r#","repetition_penalty":1.05"#, "temperature: 0.0");
    }

    #[test]
    fn what_would_change_the_answer_is_refused_by_name() {
        check(r#","n":2"#, "/n n is not offered otherwise than as 1");
        check(r#","top_logprobs":5"#, "/top_logprobs");
        check(r#","response_format":{"type":"json_object"}"#, "/response_format");
        check(r#","presence_penalty":0.5"#, "/presence_penalty");
        let part = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a","colour":1}]}]}"#;
        let error = serde_json::from_str::<Complete>(part).err().unwrap().to_string();
        assert!(error.contains("unknown field `colour`"), "{error}");
        check(r#","tools":[]"#, "unknown field `tools`");
        check(r#","logit_bias":{}"#, "unknown field `logit_bias`");
        check(r#","temperature":-1"#, "/temperature give 0 to 100");
        check(r#","top_p":0"#, "/top_p");
        check(r#","top_k":-2"#, "/top_k");
        check(r#","repetition_penalty":0"#, "/repetition_penalty");
        check(r#","stop":["a","b","c","d","e"]"#, "/stop");
        check(r#","stop":"""#, "/stop");
        check(r#","max_tokens":0"#, "/max_tokens");
        check(r#","max_tokens":1,"max_completion_tokens":1"#, "not both");
        check(r#","ignore_eos":true"#, "/ignore_eos");
    }

    #[test]
    fn media_are_numbered_over_all_messages_and_carry_their_bytes() {
        let body = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AP8Q","detail":"high"}},
            {"type":"text","text":"a"}]},{"role":"user","content":[{"type":"image_url","image_url":{"url":"AA=="}}]}]}"#;
        let asked: Complete = serde_json::from_str(body).unwrap();
        let chat = asked.asked(&mut Gallery::new(Vec::new(), 2)).unwrap().chat;
        assert_eq!(chat.messages[1].content, Content::Parts(vec![Part::Image(1)]));
        assert_eq!(chat.media[0].bytes.as_deref(), Some(&[0, 255, 16][..]));
        assert_eq!(chat.media[1].path, "/messages/1/content/0");
        let asked: Complete = serde_json::from_str(body).unwrap();
        assert_eq!(asked.asked(&mut Gallery::new(Vec::new(), 1)).err().unwrap().code, "too_many_media");
    }
}
