//! The boundary to the graphs: what a decoder and a vision tower are asked, and what they answer.
//!
//! Everything above this room sees two traits. [`decoder`] and [`vision`] keep them with ONNX Runtime, [`stub`]
//! keeps the first with a script, so that the slot engine is tested in milliseconds. [`library`] finds and loads
//! the shared library, [`provider`] says where the nodes run, `open` which of a component's graphs is opened. Unsafe code lives in [`library`] and `kv` only.

mod copier;
pub mod decoder;
#[cfg(test)]
pub(crate) mod fixture;
mod kv;
pub mod library;
mod open;
pub mod processor;
pub mod provider;
mod rectangle;
mod state;
pub mod stub;
#[cfg(test)]
mod tests;
pub mod vision;

use std::borrow::Borrow;

use ndarray::{Array2, ArrayView3, Axis, concatenate};
use rewardrt_models::spec::position::GridRows;

pub use decoder::OrtDecoder;
pub use library::{Library, LibraryError};
pub use open::SessionOptions;
pub use processor::IntegerUnits;
pub use provider::{Placement, Provider, Providers, UnknownProvider};
pub use stub::ScriptedDecoder;
pub use vision::OrtVision;

/// Columns of a prefill run: 256 tokens keep the activations of a layer in the second-level cache, which measured
/// fastest of 64, 128, 256, 512 and whole prompts.
pub const CHUNK_COLUMNS: usize = 256;

/// Why a session could not be made or a run failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// No provider of the list can be used. (Exit code 5.)
    #[error("provider {provider} cannot be used: {reason}; {way_out}")]
    Provider {
        /// The provider that was tried last.
        provider: Provider,
        /// What ONNX Runtime said, and for each earlier provider of the list the same.
        reason: String,
        /// Which library is missing, or which option to give.
        way_out: String,
    },
    /// The package asks for a newer ONNX Runtime. (Exit code 5.)
    #[error(
        "the package needs ONNX Runtime {needed}, but {got} is loaded; run deploy/setup.sh for the pinned one"
    )]
    Version {
        /// Lowest version in the manifest.
        needed: String,
        /// Version of the loaded library.
        got: String,
    },
    /// The graph's inputs or outputs are not those of the contract.
    #[error("{component} graph: {reason}; export the checkpoint again")]
    Interface {
        /// `decoder` or `vision`.
        component: &'static str,
        /// What differs.
        reason: String,
    },
    /// The key-value cache does not fit into memory.
    #[error(
        "{bytes} bytes for the key-value cache cannot be allocated; take fewer slots or shorter sequences"
    )]
    Memory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// A recurrent model knows a sequence only at its end. Nothing was run or copied.
    #[error(
        "slot {slot} holds the state after {held} tokens, which cannot be taken back to {asked}; read the sequence \
         again from its start"
    )]
    State {
        /// The slot.
        slot: usize,
        /// Tokens of the sequence whose state it holds.
        held: usize,
        /// Tokens that were asked for.
        asked: usize,
    },
    /// The caller broke the contract of a run. Nothing was run.
    #[error("bad step: {0}")]
    Input(String),
    /// ONNX Runtime failed.
    #[error("ONNX Runtime failed to {action}: {reason}")]
    Runtime {
        /// What was tried.
        action: &'static str,
        /// Its message.
        reason: String,
    },
}

impl SessionError {
    fn runtime<R>(action: &'static str, error: &ort::Error<R>) -> SessionError {
        SessionError::Runtime { action, reason: error.message().to_owned() }
    }
}

/// Sizes of a decoder session, fixed when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Slots, each holding one sequence.
    pub slots: usize,
    /// Longest sequence that a slot holds, in tokens: prompt and answer together.
    pub tokens: usize,
    /// Most columns of a run. The cache has this many rows a slot more than `tokens`, because the attention
    /// operator wants `past + columns` to fit even where the columns are padding.
    pub columns: usize,
    /// Rows of the embedding table; every token id is below it.
    pub vocabulary: usize,
    /// Width of an output row: the vocabulary, or the outputs of a head of scores.
    pub outputs: usize,
    /// Width of a feature row.
    pub hidden: usize,
    /// Number of extra feature tables.
    pub deepstack: usize,
    /// Cosines (and sines) of a token.
    pub rotary_width: usize,
}

impl Geometry {
    /// Cache rows of a slot.
    pub fn capacity(&self) -> usize {
        self.tokens + self.columns
    }
}

/// Visual features: the tower's output and the decoder's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// `[f, hidden]`, f32.
    pub rows: Array2<f32>,
    /// For each extra table `[f, hidden]`, f32.
    pub deepstack: Vec<Array2<f32>>,
}

impl Features {
    /// The features of several pictures one after the other, as one sequence refers to them.
    ///
    /// # Errors
    /// [`SessionError::Input`] when there is none, or when widths or numbers of tables differ.
    pub fn join(parts: &[impl Borrow<Features>]) -> Result<Features, SessionError> {
        let parts: Vec<&Features> = parts.iter().map(Borrow::borrow).collect();
        let tables = parts.first().map_or(0, |p| p.deepstack.len());
        if parts.iter().any(|p| p.deepstack.len() != tables) {
            return Err(SessionError::Input("features with different numbers of deepstack tables".into()));
        }
        let join = |pick: &dyn Fn(&Features) -> &Array2<f32>| {
            let views: Vec<_> = parts.iter().map(|&p| pick(p).view()).collect();
            concatenate(Axis(0), &views)
                .map_err(|e| SessionError::Input(format!("features do not join: {e}")))
        };
        let deepstack = (0..tables).map(|k| join(&|p| &p.deepstack[k])).collect::<Result<_, _>>()?;
        Ok(Features { rows: join(&|p| &p.rows)?, deepstack })
    }
}

/// One ragged run over the neighbouring slots `first_slot .. first_slot + b`, `s` columns, padded on the right.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StepInput {
    /// First slot of the run.
    pub first_slot: usize,
    /// `s`.
    pub columns: usize,
    /// `[b, s]` token ids.
    pub ids: Vec<i64>,
    /// `[b, s]` row of `features` that replaces the embedding, -1 for a text token.
    pub feature_rows: Vec<i64>,
    /// `[f, hidden]`, `f` at least 1: a row of zeros when there is no picture in the run.
    pub features: Vec<f32>,
    /// Each `[f, hidden]`.
    pub deepstack: Vec<Vec<f32>>,
    /// `[b * s, rotary_width]`.
    pub cos: Vec<f32>,
    /// `[b * s, rotary_width]`.
    pub sin: Vec<f32>,
    /// `[b]` tokens in the slot after the run, minus one. An idle row of an empty slot says 0.
    pub seqlens_k: Vec<i32>,
    /// `[b]` new tokens of the row; 0 leaves the slot as it is.
    pub query_seqlens: Vec<i32>,
    /// `[n]`, `n` at least 1: flat places `row * s + column` whose logits are wanted.
    pub logit_rows: Vec<i64>,
}

impl StepInput {
    /// Number of slots `b`.
    pub fn rows(&self) -> usize {
        self.seqlens_k.len()
    }

    /// Checks every shape and range, so that nothing wrong reaches the runtime or another slot.
    ///
    /// # Errors
    /// [`SessionError::Input`] naming the field.
    pub fn check(&self, g: &Geometry) -> Result<(), SessionError> {
        let (b, s) = (self.rows(), self.columns);
        let cells = b * s;
        let table = self.features.len();
        let shapes = [
            ("rows", b >= 1 && self.first_slot + b <= g.slots),
            ("columns", s >= 1 && s <= g.columns),
            ("ids", self.ids.len() == cells),
            ("feature_rows", self.feature_rows.len() == cells),
            ("features", table >= g.hidden && table.is_multiple_of(g.hidden)),
            (
                "deepstack",
                self.deepstack.len() == g.deepstack && self.deepstack.iter().all(|d| d.len() == table),
            ),
            ("cos", self.cos.len() == cells * g.rotary_width),
            ("sin", self.sin.len() == cells * g.rotary_width),
            ("query_seqlens", self.query_seqlens.len() == b),
            ("logit_rows", !self.logit_rows.is_empty()),
        ];
        let within =
            |values: &[i64], low: i64, high: usize| values.iter().all(|&v| v >= low && v < high as i64);
        let ranges = [
            ("ids", within(&self.ids, 0, g.vocabulary)),
            ("feature_rows", within(&self.feature_rows, -1, table / g.hidden.max(1))),
            ("logit_rows", within(&self.logit_rows, 0, cells)),
            ("query_seqlens", self.query_seqlens.iter().all(|&q| q >= 0 && q as usize <= s)),
            (
                "seqlens_k",
                self.seqlens_k
                    .iter()
                    .zip(&self.query_seqlens)
                    .all(|(&k, &q)| k >= 0 && k < g.tokens as i32 && q <= k + 1),
            ),
        ];
        match shapes.iter().chain(&ranges).find(|(_, good)| !good) {
            Some((field, _)) => Err(SessionError::Input(format!("{field} is out of shape or range"))),
            None => Ok(()),
        }
    }
}

/// A decoder over key-value slots.
pub trait DecoderSession: Send {
    /// Sizes of the session.
    fn geometry(&self) -> &Geometry;

    /// One run; the new tokens' keys and values are written into their slots. Returns logits, or the outputs of a
    /// head of scores, `[n, outputs]`, f32, in the order of `logit_rows`; they may hold anything that the model
    /// computes, infinities included.
    ///
    /// A row whose past is 0 starts anew, whatever its slot holds. In a recurrent model any other row goes on from the
    /// very end of what its slot holds.
    ///
    /// # Errors
    /// [`SessionError::Input`] and [`SessionError::State`] before anything is run; [`SessionError::Runtime`] afterwards,
    /// in which case slots of the run hold what they held up to their length before it, so that the run may be tried
    /// again.
    fn run(&mut self, step: &StepInput) -> Result<Array2<f32>, SessionError>;

    /// Copies what slot `from` holds of its first `tokens` tokens to slot `to`.
    ///
    /// # Errors
    /// [`SessionError::Input`] when a slot or the length is out of range; [`SessionError::State`] when the model is
    /// recurrent and the slot holds more or fewer tokens: a state cannot be cut.
    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), SessionError>;

    /// Whether a slot still knows the beginning of a sequence when more was written behind it: not where layers keep
    /// recurrent states.
    fn keeps_prefixes(&self) -> bool {
        true
    }
}

impl<S: DecoderSession + ?Sized> DecoderSession for Box<S> {
    fn geometry(&self) -> &Geometry {
        (**self).geometry()
    }

    fn run(&mut self, step: &StepInput) -> Result<Array2<f32>, SessionError> {
        (**self).run(step)
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), SessionError> {
        (**self).copy_prefix(from, to, tokens)
    }

    fn keeps_prefixes(&self) -> bool {
        (**self).keeps_prefixes()
    }
}

/// Pictures of one size, or the temporal patches of one video.
#[derive(Debug, Clone)]
pub struct VisionInput<'a> {
    /// `[b, p, patch_dim]`, f32: normalised pixels of `b` grids of `p` patches.
    pub patches: ArrayView3<'a, f32>,
    /// Position rows of one grid, the same for all.
    pub grid: &'a GridRows,
}

/// A vision tower.
pub trait VisionSession: Send {
    /// Features of all grids, one grid's rows after the other's.
    ///
    /// # Errors
    /// [`SessionError::Input`] when the shapes do not belong together, [`SessionError::Runtime`] otherwise.
    fn run(&mut self, input: &VisionInput<'_>) -> Result<Features, SessionError>;
}

pub(crate) fn check_prefix(g: &Geometry, from: usize, to: usize, tokens: usize) -> Result<(), SessionError> {
    if from >= g.slots || to >= g.slots || tokens > g.tokens {
        let asked = format!("{tokens} tokens of slot {from} to slot {to}");
        return Err(SessionError::Input(format!(
            "{asked}: there are {} slots of {} tokens",
            g.slots, g.tokens
        )));
    }
    Ok(())
}
