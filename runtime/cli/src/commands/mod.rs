//! The commands, one module each, and what they share.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use rewardrt::Judge;
use rewardrt::judge::{Timing, Usage};
use rewardrt_models::prompt::pack::{Pack, Task};

use crate::args::Global;
use crate::embedded;
use crate::failure::Failure;
use crate::output::Output;

pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod pack;
pub(crate) mod sampling;

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

    /// Loads the named package for judging, with another pack than its own when one is given.
    pub(crate) fn judge(&self, pack: Option<Pack>) -> Result<Judge, Failure> {
        if let (None, Some(pack)) = (&self.global.model, &pack)
            && pack.task != Task::ImagePair
        {
            let message =
                format!("the built-in model judges pictures, not {}: name a model with --model", pack.task);
            return Err(Failure::Usage(message));
        }
        let model = self.model()?;
        let mut builder = Judge::builder()
            .threads(self.threads())
            .providers(self.global.provider.clone())
            .ort_library(self.global.ort_lib.clone());
        if let Some(pack) = pack {
            builder = builder.pack(pack);
        }
        Ok(builder.open(&model)?)
    }

    /// Threads of an operator: as given, else all cores.
    pub(crate) fn threads(&self) -> NonZeroUsize {
        let all = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.global.threads.unwrap_or_else(all)
    }
}

/// Tokens and times in one line.
pub(crate) fn spent(usage: &Usage, t: &Timing) -> String {
    format!(
        "{} prompt tokens ({} of pictures), {} written; load {:.0} ms, preprocess {:.0} ms, vision {:.0} ms, \
         prefill {:.0} ms, decode {:.0} ms",
        usage.prompt_tokens,
        usage.vision_tokens,
        usage.new_tokens,
        t.load,
        t.preprocess,
        t.vision,
        t.prefill,
        t.decode
    )
}
