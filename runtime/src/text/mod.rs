//! Text in, token ids out, and back: chats, chat templates, tokenizers.
//!
//! A prompt passes three stations. [`ChatTemplate`] renders the chat and remembers who wrote what;
//! [`rewardrt_models::prompt::segment`] cuts the result into control tokens, text runs and media slots; and
//! [`PromptEncoder`] turns these into ids. Control tokens come from the template only: a caller's text is
//! never searched for them, and the tokenizer that encodes it does not know them.

mod bytes;
pub mod chat;
mod encode;
pub(crate) mod strftime;
mod template;
mod tojson;
mod tokenizer;

#[cfg(test)]
mod tests;

pub use bytes::{Decoded, Utf8Stream};
pub use chat::{ChatError, Content, Message, Part, Role};
pub use encode::{EncodeError, EncodedPrompt, Fork, PromptEncoder};
pub use template::{ChatTemplate, RenderOptions, Rendered, TemplateError};
pub use tokenizer::{Tokenizer, TokenizerError};

/// Most bytes of text that one prompt may hold, of all its messages together: 1 MiB.
///
/// The longest context of the served families is 262,144 tokens, and a token of prose is about four bytes,
/// so a longer text could not be judged anyway. The worst text of this size that was found (all digits)
/// takes 1.3 s of one core to encode.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// Most tokens of one prompt, pictures included: the longest context of the served families. The engine's
/// slots are usually shorter and have their own limit; this one bounds memory before the slots are asked.
pub const MAX_PROMPT_TOKENS: usize = 1 << 18;

/// Most messages, and most parts of all messages, that one chat may hold: eight times the sixteen frames
/// of a video pair, with room for conversation.
pub const MAX_CHAT_PARTS: usize = 1024;
