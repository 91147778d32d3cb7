//! Videos are decoded in a child process, so that a fault of a decoder is an error of one request and nothing else.
//!
//! The child is this program, started anew with one argument that [`serve_if_asked`] knows. It is given an open file and
//! limits over a socket, gives up the right to everything else, and answers over the same socket.
//!
//! | what | where it holds |
//! |---|---|
//! | processor time, memory, no new files, no core file (resource limits) | Linux |
//! | no opening of files, no sockets, no programs, no processes, no executable memory (seccomp filter) | Linux on x86-64 and aarch64 |
//! | time of the clock, killed when the request is given up | everywhere |
//! | empty environment but for the library path, no standard input, no standard error | everywhere |
//!
//! One child decodes one video. Starting one takes longer than decoding a short video (most of it is the linking of libav's
//! libraries), so children may be started ahead, and a process that decodes many keeps a spare one.

mod parent;
mod protocol;
mod sandbox;
mod worker;

pub(super) use parent::{read, use_worker, warm};
pub(super) use worker::serve_if_asked;

/// The argument that makes a program a decoder child.
const ARGUMENT: &str = "--rewardrt-video-decoder";
