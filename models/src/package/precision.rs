//! How the weights of a package are stored.

use serde::{Deserialize, Serialize};

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats, computed in 32 bits on a CPU and in 16 on a card.
    Fp16,
    /// Brain floats, computed in 32 bits on a CPU and in 16 on a card.
    Bf16,
    /// 8-bit integers in blocks with a scale each.
    Int8,
    /// 4-bit integers in blocks with a scale each.
    Int4,
    /// 8-bit integers with a scale for each output, multiplied by activations that are rounded to 8 bits with a scale
    /// for each token.
    W8a8,
}

impl Precision {
    /// All precisions; those with float products in the order of their size.
    pub const ALL: [Precision; 6] = [
        Precision::Fp32,
        Precision::Fp16,
        Precision::Bf16,
        Precision::Int8,
        Precision::Int4,
        Precision::W8a8,
    ];

    /// The name on the command line and in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Fp16 => "fp16",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
            Precision::Int4 => "int4",
            Precision::W8a8 => "w8a8",
        }
    }
}
