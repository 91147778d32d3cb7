//! Which weight is stored how, and why.
//!
//! Half stands for f16 at fp16 and for bf16 at bf16.
//!
//! | weight | fp32 | fp16, bf16 | int8 | int4 | w8a8 | why |
//! |---|---|---|---|---|---|---|
//! | decoder layers | f32 | half | 8 bit | 4 bit | columns | nearly all of the bytes that a decode step reads |
//! | head | f32 | half | 8 bit | 8 bit | 8 bit | its error falls on the logits unsoftened, and a verdict is read there |
//! | head of scores | f32 | f32 | f32 | f32 | f32 | a few rows, and nothing after it softens its error |
//! | vision layers | f32 | half | 8 bit | 8 bit | columns | 4 bits cost 27 % of the features; runs once a picture |
//! | embedding | f32 | half | 8 bit | 8 bit | 8 bit | gathered by the row: memory, not time; a tied head is the same bytes |
//! | position table | f32 | half | as is | as is | as is | gathered by the row, and small |
//! | patch embedding | f32 | half | as is | as is | as is | first layer: its error reaches every feature; small |
//! | decay and update of a delta rule | f32 | half | as is | as is | as is | a row a head: its error stays in the state |
//! | norms, biases, convolution taps | f32 | f32 | f32 | f32 | f32 | vectors: no bytes to win |
//!
//! Quantized blocks are rounded symmetrically (no zero points), with one 32-bit scale for [`BLOCK`] inputs. Columns are
//! signed 8-bit codes with one scale for each output, and their inputs are rounded to 8 bits with one scale a token.
//! Sixteen-bit weights are computed in 32 bits on a CPU, which has no 16-bit matrix kernel. A card computes in 16 bits
//! whatever the weights, in a graph of its own: its attention takes nothing else. Products of 8-bit columns have no
//! kernel there, so `w8a8` has no such graph.

use rewardrt_models::package::{Activations, Precision};

use crate::weights::Store;

/// Inputs that share a scale. 32 halves the error of 128 at 4 bits and costs 2 bits a weight.
pub const BLOCK: usize = 32;

/// The forms of one precision, and the floats that a graph computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How weights are stored.
    pub precision: Precision,
    /// What is computed in.
    pub activations: Activations,
}

impl Policy {
    /// The floats that a card computes in, for weights that the checkpoint holds in halves of this kind or, with none,
    /// in 32 bits; absent where the package has no graph for cards.
    pub fn card(precision: Precision, halves: Option<Activations>) -> Option<Activations> {
        match precision {
            Precision::Fp32 | Precision::W8a8 => None,
            Precision::Fp16 => Some(Activations::F16),
            Precision::Bf16 => Some(Activations::Bf16),
            // What the model was trained in has its range: values over 65504 are usual in some families.
            Precision::Int8 | Precision::Int4 => Some(halves.unwrap_or(Activations::F16)),
        }
    }

    /// Decoder layers.
    pub(crate) fn layer(self) -> Store {
        self.quantized(Store::Int4 { block: BLOCK }, Store::Columns)
    }

    /// The vision tower.
    pub(crate) fn vision(self) -> Store {
        self.quantized(Store::Int8 { block: BLOCK }, Store::Columns)
    }

    /// The head over a vocabulary. It sees a row a sequence, so the matrix units that columns are for win it little.
    pub(crate) fn head(self) -> Store {
        self.quantized(Store::Int8 { block: BLOCK }, Store::Int8 { block: BLOCK })
    }

    /// A head of scores.
    pub(crate) fn scores(self) -> Store {
        Store::F32
    }

    /// The embedding of tokens, of `hidden` values each. In blocks where they fill its rows, which the operator asks for.
    pub(crate) fn embedding(self, hidden: usize) -> Store {
        match self.head() {
            Store::Int8 { block } if !hidden.is_multiple_of(block) => Store::AsIs,
            form => form,
        }
    }

    /// The table of positions, the first layer, and what steers a state.
    pub(crate) fn table(self) -> Store {
        match self.precision {
            Precision::Fp32 => Store::F32,
            Precision::Fp16 => Store::F16,
            Precision::Bf16 => Store::Bf16,
            Precision::Int8 | Precision::Int4 | Precision::W8a8 => Store::AsIs,
        }
    }

    fn quantized(self, at_int4: Store, at_w8a8: Store) -> Store {
        match self.precision {
            Precision::Fp32 => Store::F32,
            Precision::Fp16 => Store::F16,
            Precision::Bf16 => Store::Bf16,
            Precision::Int8 => Store::Int8 { block: BLOCK },
            Precision::Int4 => at_int4,
            Precision::W8a8 => at_w8a8,
        }
    }
}
