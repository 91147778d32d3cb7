//! A bar on stderr for work that takes longer than a second.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// Shorter work is over before a bar is read.
const PATIENCE: Duration = Duration::from_secs(1);
const BYTES: &str = "{msg:12} {bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const ITEMS: &str = "{msg:12} {bar:40} {pos}/{len} {per_sec} {eta}";

/// A bar that shows itself when the work turns out to be long. Gone when dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    allowed: bool,
}

impl Progress {
    /// A hidden bar over bytes.
    pub(crate) fn bytes(output: &Output) -> Progress {
        Progress::new(output, BYTES)
    }

    /// A hidden bar over things that are counted.
    pub(crate) fn items(output: &Output) -> Progress {
        Progress::new(output, ITEMS)
    }

    fn new(output: &Output, style: &str) -> Progress {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        // The template is a constant of this file; were it wrong, the default style would do.
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Progress { bar, started: Instant::now(), allowed: output.shows_progress() }
    }

    /// Sets how far the work is.
    pub(crate) fn set(&mut self, stage: &'static str, done: u64, total: u64) {
        if self.allowed && self.started.elapsed() > PATIENCE {
            self.allowed = false;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_length(total);
        self.bar.set_message(stage);
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
