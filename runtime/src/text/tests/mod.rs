//! Tests of the way from a chat to ids and back, against what the reference gives (tests/data/text).

mod golden;
mod hostile;
mod refusals;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rewardrt_models::prompt::segment::MediaTokens;
use serde::Deserialize;

use super::*;

const TOKENIZER: &[u8] = include_bytes!("../../../../tests/data/text/tokenizer.json");
const CHAT: &str = include_str!("../../../../tests/data/text/chat.jinja");
const RICH: &str = include_str!("../../../../tests/data/text/rich.jinja");

/// The small tokenizer with the template of the tiny checkpoint.
static ENCODER: LazyLock<PromptEncoder> = LazyLock::new(|| encoder(CHAT));
static RICH_ENCODER: LazyLock<PromptEncoder> = LazyLock::new(|| encoder(RICH));

/// The reference's tokenizer, added tokens and all.
static FULL: LazyLock<tokenizers::Tokenizer> =
    LazyLock::new(|| tokenizers::Tokenizer::from_bytes(TOKENIZER).unwrap());

const GENERATE: RenderOptions<'static> = RenderOptions {
    add_generation_prompt: true,
    assistant_prefix: None,
    enable_thinking: None,
    unix_now: None,
};

fn encoder(template: &str) -> PromptEncoder {
    let tokenizer = Tokenizer::from_json(TOKENIZER).unwrap();
    let media = MediaTokens {
        image: tokenizer.controls().id("<|image_pad|>"),
        video: tokenizer.controls().id("<|video_pad|>"),
    };
    PromptEncoder::new(tokenizer, compile(template), media).unwrap()
}

fn compile(template: &str) -> ChatTemplate {
    let special = BTreeMap::from([("eos_token".to_owned(), "<|im_end|>".to_owned())]);
    ChatTemplate::new(template, special).unwrap()
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn user(parts: Vec<Part>) -> Vec<Message> {
    vec![Message::parts(Role::User, parts)]
}
