//! A video that is made here would need an encoder; the fixtures of `tests/data/video` are read by `tests/video.rs`.
