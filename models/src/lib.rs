//! What a reward model *is*: the sealed package, the architecture spec, the families, the prompts and the
//! verdicts. This crate does no IO and links no ONNX Runtime, so everything in it compiles in seconds and can
//! be fuzzed.

pub mod family;
pub mod package;
pub mod prompt;
pub mod spec;
pub mod verdict;
