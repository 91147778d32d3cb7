//! The checkpoint's tokenizer, split in two: control tokens by provenance, and a plain tokenizer that has
//! never heard of them for everything else.

use rewardrt_models::prompt::segment::{ControlTable, SegmentError};
use tokenizers::{
    AddedToken, DecoderWrapper, Model as _, ModelWrapper, NormalizedString, Normalizer as _,
    PostProcessor as _, PreTokenizerWrapper,
};

use super::bytes::{Decoded, TokenBytes, byte_level};

/// Most ids a vocabulary may span: four times the largest one of the known families.
const MAX_VOCABULARY: usize = 1 << 20;

/// Most bytes of a tokenizer file: six times the largest one of the known families.
const MAX_FILE_BYTES: usize = 64 << 20;

/// Why a tokenizer file is refused. Ids are a contract with the reference, so whatever this runtime would
/// not reproduce to the letter is named instead of approximated.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file is larger than any real one.
    #[error("tokenizer.json has {found} bytes, more than the limit of {MAX_FILE_BYTES}")]
    TooLarge {
        /// Size of the file.
        found: usize,
    },
    /// The file is not a tokenizer.
    #[error("tokenizer.json cannot be read: {0}")]
    Unreadable(String),
    /// A part of the tokenizer works by rules that are not reproduced here.
    #[error("tokenizer.json: {part} is not supported; byte-level BPE tokenizers are")]
    Unsupported {
        /// The part, in words.
        part: &'static str,
    },
    /// An added token is matched by rules that are not reproduced here.
    #[error("tokenizer.json: the added token {content:?} has {rule}, which is not supported")]
    AddedToken {
        /// Content of the token.
        content: String,
        /// The rule that it asks for.
        rule: &'static str,
    },
    /// Ids too large for a table of all of them.
    #[error("tokenizer.json has the token id {id}, beyond the limit of {MAX_VOCABULARY}")]
    IdTooLarge {
        /// The id.
        id: u32,
    },
    /// An added token whose content cannot be a control string.
    #[error(transparent)]
    Control(#[from] SegmentError),
}

/// A byte-level BPE tokenizer.
pub struct Tokenizer {
    /// Normalizer, pre-tokenizer and merges only: no added tokens, no post-processor.
    plain: tokenizers::Tokenizer,
    controls: ControlTable,
    bytes: TokenBytes,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("ids", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads a tokenizer from the bytes of `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError`] when the file is broken, or works by rules that are not reproduced here.
    pub fn from_json(json: &[u8]) -> Result<Self, TokenizerError> {
        if json.len() > MAX_FILE_BYTES {
            return Err(TokenizerError::TooLarge { found: json.len() });
        }
        let full =
            tokenizers::Tokenizer::from_bytes(json).map_err(|e| TokenizerError::Unreadable(e.to_string()))?;
        check_parts(&full)?;
        let mut added: Vec<(u32, AddedToken)> = full.get_added_tokens_decoder().into_iter().collect();
        added.sort_by_key(|(id, _)| *id);
        for (id, token) in &added {
            check_added(&full, *id, token)?;
        }
        let bytes = token_bytes(&full, &added)?;
        let controls = ControlTable::new(added.into_iter().map(|(id, token)| (token.content, id)))?;
        let mut plain = tokenizers::Tokenizer::new(full.get_model().clone());
        plain
            .with_normalizer(full.get_normalizer().cloned())
            .map_err(|e| TokenizerError::Unreadable(e.to_string()))?;
        plain.with_pre_tokenizer(full.get_pre_tokenizer().cloned());
        Ok(Tokenizer { plain, controls, bytes })
    }

    /// The added tokens: what a template may write, and a caller may not.
    pub fn controls(&self) -> &ControlTable {
        &self.controls
    }

    /// Number of ids; the largest id plus one.
    pub fn vocabulary(&self) -> usize {
        self.bytes.len()
    }

    /// Ids of ordinary text. The text is taken as characters throughout: none of the ids is a control.
    ///
    /// # Errors
    /// What the tokenizer says when it fails, or that it produced the control token with the given id.
    pub(crate) fn encode_text(&self, text: &str) -> Result<Vec<u32>, PlainTextError> {
        let encoding =
            self.plain.encode_fast(text, false).map_err(|e| PlainTextError::Failed(e.to_string()))?;
        let ids = encoding.get_ids();
        match ids.iter().find(|id| self.controls.contains_id(**id)) {
            Some(&id) => Err(PlainTextError::Control(id)),
            None => Ok(ids.to_vec()),
        }
    }

    /// The bytes of a token; none for an id that has no token (the head of a model may have more rows than
    /// the tokenizer has tokens).
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id)
    }

    /// The bytes of a token as shown to people: those of special tokens are hidden.
    pub fn visible_bytes(&self, id: u32) -> &[u8] {
        if self.is_special(id) { &[] } else { self.bytes.get(id) }
    }

    /// Whether the tokenizer marks this token as special (end of turn, media placeholders and so on).
    pub fn is_special(&self, id: u32) -> bool {
        self.bytes.is_special(id)
    }

    /// Decodes ids to text, special tokens hidden on request. Equals the reference's decoding; bytes that
    /// are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Decoded {
        let shown = |&id| if skip_special { self.visible_bytes(id) } else { self.token_bytes(id) };
        Decoded::from_tokens(ids.iter().map(shown))
    }
}

/// Why a text run cannot be encoded.
#[derive(Debug)]
pub(crate) enum PlainTextError {
    Failed(String),
    Control(u32),
}

fn check_parts(full: &tokenizers::Tokenizer) -> Result<(), TokenizerError> {
    let ModelWrapper::BPE(model) = full.get_model() else {
        return Err(TokenizerError::Unsupported { part: "a model other than BPE" });
    };
    let set = |affix: &Option<String>| affix.as_ref().is_some_and(|affix| !affix.is_empty());
    let faults = [
        (model.dropout.is_some_and(|p| p > 0.0), "dropout, which makes ids random,"),
        (model.byte_fallback, "byte_fallback"),
        (set(&model.continuing_subword_prefix), "continuing_subword_prefix"),
        (set(&model.end_of_word_suffix), "end_of_word_suffix"),
        (!matches!(full.get_decoder(), Some(DecoderWrapper::ByteLevel(_))), "a decoder other than ByteLevel"),
        (!full.get_pre_tokenizer().is_some_and(is_byte_level), "a pre-tokenizer without ByteLevel"),
        (
            full.get_post_processor().is_some_and(|post| post.added_tokens(false) > 0),
            "a post-processor that adds tokens to what the chat template wrote",
        ),
    ];
    match faults.iter().find(|(fault, _)| *fault) {
        Some((_, part)) => Err(TokenizerError::Unsupported { part }),
        None => Ok(()),
    }
}

fn is_byte_level(pre_tokenizer: &PreTokenizerWrapper) -> bool {
    match pre_tokenizer {
        PreTokenizerWrapper::ByteLevel(_) => true,
        PreTokenizerWrapper::Sequence(steps) => steps.as_ref().iter().any(is_byte_level),
        _ => false,
    }
}

fn check_added(full: &tokenizers::Tokenizer, id: u32, token: &AddedToken) -> Result<(), TokenizerError> {
    let mut normal = NormalizedString::from(token.content.as_str());
    if let Some(normalizer) = full.get_normalizer() {
        normalizer.normalize(&mut normal).map_err(|e| TokenizerError::Unreadable(e.to_string()))?;
    }
    let reachable = match full.get_model() {
        ModelWrapper::BPE(model) => model.ignore_merges && model.token_to_id(&token.content) == Some(id),
        _ => false,
    };
    let faults = [
        (token.lstrip, "lstrip"),
        (token.rstrip, "rstrip"),
        (token.single_word, "single_word"),
        (token.normalized && normal.get() != token.content, "a content that its own normalizer changes"),
        (reachable, "a place in the model's own vocabulary that ordinary text can reach"),
    ];
    match faults.iter().find(|(fault, _)| *fault) {
        Some((_, rule)) => Err(TokenizerError::AddedToken { content: token.content.clone(), rule }),
        None => Ok(()),
    }
}

/// The table of all ids. Added tokens shadow the model's own, as in the reference.
fn token_bytes(
    full: &tokenizers::Tokenizer,
    added: &[(u32, AddedToken)],
) -> Result<TokenBytes, TokenizerError> {
    let mut tokens: Vec<(u32, Vec<u8>, bool)> = full
        .get_vocab(false)
        .into_iter()
        .map(|(token, id)| (id, byte_level(&token), false))
        .chain(added.iter().map(|(id, token)| (*id, byte_level(&token.content), token.special)))
        .collect();
    // Stable, so that an added token comes after the model's token of the same id.
    tokens.sort_by_key(|(id, _, _)| *id);
    let largest = tokens.last().map_or(0, |(id, _, _)| *id);
    if largest as usize >= MAX_VOCABULARY {
        return Err(TokenizerError::IdTooLarge { id: largest });
    }
    let mut table = TokenBytes::default();
    let mut tokens = tokens.into_iter().peekable();
    for id in 0..=largest {
        let mut entry = (Vec::new(), false);
        while let Some((_, bytes, special)) = tokens.next_if(|(at, _, _)| *at == id) {
            entry = (bytes, special);
        }
        table.push(&entry.0, entry.1);
    }
    Ok(table)
}
