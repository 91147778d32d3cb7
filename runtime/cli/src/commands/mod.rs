//! The commands, one module each, and what they share.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use rewardrt::decode::Options;
use rewardrt::judge::{Timing, Usage};
use rewardrt::{Judge, JudgeBuilder};
use rewardrt_models::prompt::pack::Task;
use rewardrt_models::verdict::Status;

use crate::args::Global;
use crate::embedded;
use crate::failure::Failure;
use crate::output::Output;
use question::Chosen;

pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod frames;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod pack;
pub(crate) mod question;
pub(crate) mod rank;
pub(crate) mod sampling;
pub(crate) mod score;
pub(crate) mod serve;

/// What every command is given.
pub(crate) struct Context<'a> {
    /// The global flags.
    pub(crate) global: &'a Global,
    /// How to speak.
    pub(crate) output: &'a Output,
}

impl Context<'_> {
    /// The package that was named, else the built-in one.
    pub(crate) fn model(&self) -> Result<PathBuf, Failure> {
        if let Some(named) = &self.global.model {
            return Ok(named.clone());
        }
        self.output.note(embedded::NOTE);
        embedded::package(self.output)
    }

    /// Loads the named package for judging, else the built-in one, with its own pack when none is chosen. The built-in
    /// model knows pairs of pictures only, and is refused for other tasks.
    pub(crate) fn judge(&self, chosen: Option<Chosen>) -> Result<Judge, Failure> {
        Ok(self.builder(chosen)?.open(&self.model()?)?)
    }

    /// What [`Context::judge`] opens the package with.
    pub(crate) fn builder(&self, chosen: Option<Chosen>) -> Result<JudgeBuilder, Failure> {
        match chosen.as_ref().map(Chosen::task).filter(|task| *task != Task::ImagePair) {
            Some(task) if self.global.model.is_none() => {
                return Err(Failure::Usage(format!(
                    "the built-in model judges pairs of pictures, not {task}: name a model with --model"
                )));
            }
            _ => {}
        }
        let builder = Judge::builder()
            .threads(self.threads())
            .providers(self.global.provider.clone())
            .ort_library(self.global.ort_lib.clone())
            .decode(Options { speculate: !self.global.no_speculation, ..Options::default() });
        Ok(match chosen {
            Some(Chosen::Pack(pack)) => builder.pack(*pack),
            Some(Chosen::Task(task)) => builder.task(task),
            None => builder,
        })
    }

    /// Threads of an operator: as given, else all cores.
    pub(crate) fn threads(&self) -> NonZeroUsize {
        let all = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.global.threads.unwrap_or_else(all)
    }
}

/// The name of a status, as in documents.
pub(crate) fn status(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Inconsistent => "inconsistent",
        Status::Truncated => "truncated",
        Status::Invalid => "invalid",
    }
}

/// Tokens and times in one line.
pub(crate) fn spent(usage: &Usage, t: &Timing) -> String {
    format!(
        "{}; load {:.0} ms, preprocess {:.0} ms (videos {:.0}, resize {:.0}), vision {:.0} ms, prefill {:.0} ms, decode {:.0} ms",
        tokens(usage),
        t.load,
        t.preprocess,
        t.video,
        t.resize,
        t.vision,
        t.prefill,
        t.decode
    )
}

/// Tokens in one line.
pub(crate) fn tokens(usage: &Usage) -> String {
    format!(
        "{} prompt tokens ({} of pictures, {} of them seen before; {} read before), {} written in {} runs{}",
        usage.prompt_tokens,
        usage.vision_tokens,
        usage.vision_reused,
        usage.prefix_reused,
        usage.new_tokens,
        usage.runs,
        match usage.constrained {
            0 => String::new(),
            changed => format!(" ({changed} held to the form)"),
        }
    )
}
