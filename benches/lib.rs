//! What the benches share.

use std::path::{Path, PathBuf};

/// The committed demo checkpoint (random weights): the smallest model that a bench can export and run.
pub fn demo_checkpoint() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/demo/checkpoint")
}
