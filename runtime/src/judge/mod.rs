//! The library's front door: open a package, compare, rank, score, generate.
//!
//! A [`Judge`] is cheap to clone and shared by threads; they take turns at its engine. What is absent: no HTTP, no
//! guessing. A verdict that could not be read is a status, and a request that could not be run is an error.

mod builder;
mod cache;
mod candidate;
mod clip;
mod compare;
mod ending;
mod engine;
mod generate;
mod group;
mod head;
mod item;
mod pair;
mod plan;
mod prepare;
mod question;
mod rank;
mod score;
mod types;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use rewardrt_models::package::Manifest;
use rewardrt_models::prompt::pack::Pack;

pub use builder::{DEFAULT_SLOTS, DEFAULT_TOKENS, DEFAULT_VISION_CACHE, JudgeBuilder};
pub use candidate::Candidate;
pub use clip::{Sampled, sample};
pub use group::{Group, MAX_GROUP_FEATURES, RankOptions, RankTiming, RankedPair, Ranking, Unanswered};
pub use item::{Item, Score, ScoreOptions};
pub use plan::Pairs;
pub use types::*;

use crate::Error;
use crate::load::Package;
use crate::session::Placement;
use crate::text::{PromptEncoder, RenderOptions};
use engine::Engine;

/// A loaded package that judges.
#[derive(Clone)]
pub struct Judge {
    inner: Arc<Inner>,
}

struct Inner {
    package: Package,
    pack: Pack,
    encoder: PromptEncoder,
    engine: Mutex<Engine>,
    placements: Vec<Placement>,
    load_ms: f64,
}

impl Judge {
    /// Opens a package on the processor with the defaults of [`Judge::builder`].
    ///
    /// # Errors
    /// As [`JudgeBuilder::open`].
    pub fn open(package: &Path) -> Result<Judge, Error> {
        Judge::builder().open(package)
    }

    /// Starts to open a package.
    pub fn builder() -> JudgeBuilder {
        JudgeBuilder::default()
    }

    /// Which of two candidates is better. Blocks; other threads wait for their turn.
    ///
    /// # Errors
    /// Everything that keeps the question from being asked. An answer that holds no verdict is no error but a
    /// [`Verdict`] of status truncated or invalid.
    pub fn compare(&self, comparison: &Comparison) -> Result<Verdict, Error> {
        compare::run(&self.inner, comparison)
    }

    /// The order of many candidates, from pairs of them. Each picture is seen once, and the pairs are judged as slots
    /// come free. Blocks; other threads wait until all pairs of a round are judged.
    ///
    /// # Errors
    /// Everything that keeps the group from being asked, and what kept the first pair from being judged when none could
    /// be. A pair that fails among others is counted, named, and left out.
    pub fn rank(&self, group: &Group) -> Result<Ranking, Error> {
        rank::run(&self.inner, group, &mut |_, _| {})
    }

    /// The same; `progress` is told the number of pairs that are done, and of all, whenever one is. It must not ask this
    /// judge anything.
    ///
    /// # Errors
    /// As [`Judge::rank`].
    pub fn rank_with(&self, group: &Group, progress: &mut dyn FnMut(usize, usize)) -> Result<Ranking, Error> {
        rank::run(&self.inner, group, progress)
    }

    /// How good one candidate is. Blocks; other threads wait for their turn.
    ///
    /// # Errors
    /// Everything that keeps the question from being asked, such as a pack that compares two. An answer that holds no
    /// scores is no error but a [`Score`] of status truncated or invalid.
    pub fn score(&self, item: &Item) -> Result<Score, Error> {
        score::run(&self.inner, item)
    }

    /// Continues a chat. Blocks; other threads wait for their turn.
    ///
    /// # Errors
    /// Everything that keeps the chat from being continued.
    pub fn generate(&self, request: &Generate) -> Result<Generation, Error> {
        generate::run(&self.inner, request)
    }

    /// The manifest of the package.
    pub fn manifest(&self) -> &Manifest {
        self.inner.package.manifest()
    }

    /// The pack that questions are asked with.
    pub fn pack(&self) -> &Pack {
        &self.inner.pack
    }

    /// The model as results name it.
    pub fn model(&self) -> ModelInfo {
        self.inner.model()
    }

    /// What each component runs on.
    pub fn placements(&self) -> &[Placement] {
        &self.inner.placements
    }

    /// Milliseconds that verifying and loading took.
    pub fn load_ms(&self) -> f64 {
        self.inner.load_ms
    }
}

impl Inner {
    fn model(&self) -> ModelInfo {
        let manifest = self.package.manifest();
        ModelInfo {
            name: manifest.name.clone(),
            package_sha256: self.package.sha256().to_owned(),
            precision: manifest.precision.name(),
        }
    }

    fn engine(&self) -> Result<MutexGuard<'_, Engine>, Error> {
        self.engine.lock().map_err(|_| Error::Poisoned)
    }

    /// How a chat that the model is to answer is rendered.
    fn render_options(&self) -> RenderOptions<'static> {
        RenderOptions {
            add_generation_prompt: true,
            enable_thinking: self.package.manifest().thinking,
            ..RenderOptions::default()
        }
    }

    /// The values that a request is run with.
    fn sampling(&self, asked: Sampling) -> crate::decode::Sampling {
        types::resolve(asked, &self.package.manifest().generation)
    }
}
