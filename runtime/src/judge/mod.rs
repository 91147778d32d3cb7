//! The library's front door: open a package, compare, rank, score, generate.
//!
//! A [`Judge`] is cheap to clone and shared by threads and tasks; the requests of all are decoded together. What is
//! absent: no HTTP, no guessing. A verdict that could not be read is a status, and a request that could not be run is an
//! error.

mod builder;
mod cache;
mod candidate;
mod clip;
mod compare;
mod constrain;
mod drafter;
mod ending;
mod footage;
mod generate;
mod group;
mod head;
mod item;
mod look;
mod pair;
mod place;
mod plan;
mod prefix;
mod prepare;
mod question;
mod rank;
mod score;
mod types;
mod vision;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rewardrt_models::package::{ImageProcessing, Manifest};
use rewardrt_models::prompt::pack::Pack;

pub use builder::{
    DEFAULT_QUEUE, DEFAULT_SLOTS, DEFAULT_TOKENS, DEFAULT_VISION_CACHE, JudgeBuilder, MOST_PREPARERS,
};
pub use candidate::Candidate;
pub use clip::{Clip, ClipFile, PlacedVideo, Sampled, sample};
pub use footage::Footage;
pub use group::{
    Finished, Group, MAX_GROUP_FEATURES, RankOptions, RankTiming, RankedPair, Ranking, Unanswered,
};
pub use item::{Item, Score, ScoreOptions};
pub use plan::Pairs;
pub use types::*;

use crate::Error;
use crate::decode::{Store, Until};
use crate::load::Package;
use crate::media::video::Isolation;
use crate::preprocess::Patches;
use crate::schedule::{Call, Class, Door, Health, Service, Station, Stats, Who, block_on};
use crate::session::Placement;
use crate::text::{PromptEncoder, RenderOptions, Tokenizer};
use vision::{Seen, Vision};

/// A loaded package that judges.
///
/// It is cheap to clone, and shared by as many threads and tasks as there are: each request gets a slot of the decoder
/// between two of its steps, single questions before the pairs of groups, and clients ([`Judge::client`]) in turn. What
/// a request is answered does not depend on its neighbours.
///
/// Every call exists twice: one blocks its thread, the other (`_async`) is a future for any executor. A future begins
/// when it is first polled, and takes no thread while it waits; dropped, it is cancelled, and whatever it held is free
/// before the next step. When the last handle is dropped, the calls that are still at work end with an error.
///
/// ```no_run
/// use std::time::Duration;
///
/// use rewardrt::{Comparison, Error, Judge, Picture};
///
/// async fn better(judge: &Judge, a: Vec<u8>, b: Vec<u8>) -> Result<bool, Error> {
///     // This caller is one client among many, and will not wait longer than a minute.
///     let judge = judge.client(7).within(Duration::from_secs(60));
///     let pair = Comparison::images("three red circles", Picture::Bytes(a), Picture::Bytes(b));
///     let verdict = judge.compare_async(pair).await?;
///     Ok(verdict.winner == Some(rewardrt_models::verdict::Winner::First))
/// }
///
/// let judge = Judge::builder().slots(8).queue(100).open("package".as_ref())?;
/// let waiting = better(&judge, vec![], vec![]);
/// println!("{} requests are being decoded", judge.stats().running);
/// # drop(waiting);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Judge {
    inner: Arc<Inner>,
    /// The threads, which end with the last handle. A call does not hold them.
    service: Arc<Service>,
    terms: Terms,
}

/// What a handle's calls have in common.
#[derive(Debug, Clone, Copy, Default)]
struct Terms {
    client: u64,
    within: Option<Duration>,
}

#[derive(Clone)]
struct Inner {
    package: Arc<Package>,
    pack: Pack,
    encoder: Arc<PromptEncoder>,
    door: Door,
    /// Slots of the decoder.
    slots: usize,
    /// Answers that were read, from which others are drafted.
    answers: Arc<Store>,
    /// Threads that decode and prepare pictures, and encode prompts.
    preparers: Station<()>,
    /// The thread of the vision tower; none in a package without one.
    vision: Option<Station<Vision>>,
    placements: Vec<Placement>,
    /// Where video files are decoded.
    isolation: Isolation,
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

    /// A handle whose calls are those of another client. Clients take turns, so that one who asks much does not keep
    /// others waiting. The key is the caller's own; without this call it is 0.
    #[must_use]
    pub fn client(&self, key: u64) -> Judge {
        Judge { terms: Terms { client: key, ..self.terms }, ..self.clone() }
    }

    /// A handle whose calls end with an error when they take longer than this. What has not begun then never does, and
    /// what is being decoded ends before the next step.
    #[must_use]
    pub fn within(&self, time: Duration) -> Judge {
        Judge { terms: Terms { within: Some(time), ..self.terms }, ..self.clone() }
    }

    /// A handle whose questions are asked with another pack, by the same engine.
    #[must_use]
    pub fn asking(&self, pack: Pack) -> Judge {
        Judge { inner: Arc::new(Inner { pack, ..Inner::clone(&self.inner) }), ..self.clone() }
    }

    /// Which of two candidates is better. Blocks.
    ///
    /// # Errors
    /// Everything that keeps the question from being asked. An answer that holds no verdict is no error but a
    /// [`Verdict`] of status truncated or invalid.
    pub fn compare(&self, comparison: &Comparison) -> Result<Verdict, Error> {
        block_on(self.compare_async(comparison.clone()))
    }

    /// The same as a future.
    ///
    /// # Errors
    /// As [`Judge::compare`].
    pub fn compare_async(
        &self,
        comparison: Comparison,
    ) -> impl Future<Output = Result<Verdict, Error>> + Send + use<> {
        let (inner, terms, comparison) = (self.inner.clone(), self.terms, Arc::new(comparison));
        async move {
            let mut call = inner.enter(terms, Class::Single)?;
            let verdict = compare::run(&inner, &mut call, &comparison).await;
            call.leave(verdict.is_ok());
            verdict
        }
    }

    /// The order of many candidates, from pairs of them. Each picture is seen once, and the pairs are judged as slots
    /// come free. Blocks.
    ///
    /// # Errors
    /// Everything that keeps the group from being asked, and what kept the first pair from being judged when none could
    /// be. A pair that fails among others is counted, named, and left out.
    pub fn rank(&self, group: &Group) -> Result<Ranking, Error> {
        self.rank_with(group, |_| {})
    }

    /// The same; `each` is given every pair as soon as it is done, on the caller's thread.
    ///
    /// # Errors
    /// As [`Judge::rank`].
    pub fn rank_with(&self, group: &Group, each: impl FnMut(Finished<'_>)) -> Result<Ranking, Error> {
        block_on(ranked(self.inner.clone(), self.terms, Arc::new(group.clone()), each))
    }

    /// The same as a future, which gives every pair to `each` as soon as it is done: a channel's sender makes a stream
    /// of that.
    ///
    /// # Errors
    /// As [`Judge::rank`].
    pub fn rank_async(
        &self,
        group: Group,
        each: impl FnMut(Finished<'_>) + Send + 'static,
    ) -> impl Future<Output = Result<Ranking, Error>> + Send + 'static {
        ranked(self.inner.clone(), self.terms, Arc::new(group), each)
    }

    /// How good one candidate is. Blocks.
    ///
    /// # Errors
    /// Everything that keeps the question from being asked, such as a pack that compares two. An answer that holds no
    /// scores is no error but a [`Score`] of status truncated or invalid.
    pub fn score(&self, item: &Item) -> Result<Score, Error> {
        block_on(self.score_async(item.clone()))
    }

    /// The same as a future.
    ///
    /// # Errors
    /// As [`Judge::score`].
    pub fn score_async(&self, item: Item) -> impl Future<Output = Result<Score, Error>> + Send + use<> {
        let (inner, terms, item) = (self.inner.clone(), self.terms, Arc::new(item));
        async move {
            let mut call = inner.enter(terms, Class::Single)?;
            let score = score::run(&inner, &mut call, &item).await;
            call.leave(score.is_ok());
            score
        }
    }

    /// Continues a chat. Blocks.
    ///
    /// # Errors
    /// Everything that keeps the chat from being continued.
    pub fn generate(&self, request: &Generate) -> Result<Generation, Error> {
        block_on(self.generate_async(request.clone()))
    }

    /// The same as a future.
    ///
    /// # Errors
    /// As [`Judge::generate`].
    pub fn generate_async(
        &self,
        request: Generate,
    ) -> impl Future<Output = Result<Generation, Error>> + Send + use<> {
        self.generate_until(request, None)
    }

    /// The same with a rule that is told every token as it is made, and may end the answer with it.
    ///
    /// # Errors
    /// As [`Judge::generate`].
    pub fn generate_until(
        &self,
        request: Generate,
        until: Option<Until>,
    ) -> impl Future<Output = Result<Generation, Error>> + Send + use<> {
        let (inner, terms, request) = (self.inner.clone(), self.terms, Arc::new(request));
        async move {
            let mut call = inner.enter(terms, Class::Single)?;
            let generation = generate::run(&inner, &mut call, &request, until).await;
            call.leave(generation.is_ok());
            generation
        }
    }

    /// Whether it can be asked.
    pub fn health(&self) -> Health {
        self.service.health()
    }

    /// What it has done, and what it holds now.
    pub fn stats(&self) -> Stats {
        self.service.stats()
    }

    /// The manifest of the package.
    pub fn manifest(&self) -> &Manifest {
        self.inner.package.manifest()
    }

    /// The tokenizer of the package, which tells what a token spells.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        self.inner.encoder.tokenizer()
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

    fn enter(&self, terms: Terms, class: Class) -> Result<Call, Error> {
        // A time that no clock can tell is none.
        let deadline = terms.within.and_then(|time| Instant::now().checked_add(time));
        Call::enter(&self.door, Who { client: terms.client, class }, deadline)
    }

    /// How pictures are prepared.
    fn image(&self) -> Result<&ImageProcessing, Error> {
        let none = || Error::Request("the package has no vision tower and cannot judge pictures".to_owned());
        self.package.manifest().image.as_ref().ok_or_else(none)
    }

    /// The features of pictures, in order; none in a package without a tower.
    async fn see(&self, call: &mut Call, patches: Vec<Patches>) -> Result<Seen, Error> {
        let Some(station) = &self.vision else { return Ok(Seen::default()) };
        let door = self.door.clone();
        let seen = call.post(station, move |vision| {
            let seen = vision.see_all(&patches)?;
            let reused = seen.reused.iter().filter(|reused| **reused).count();
            door.saw((seen.reused.len() - reused) as u64, reused as u64);
            Ok(seen)
        });
        call.ready(seen).await
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

async fn ranked(
    inner: Arc<Inner>,
    terms: Terms,
    group: Arc<Group>,
    mut each: impl FnMut(Finished<'_>),
) -> Result<Ranking, Error> {
    let mut call = inner.enter(terms, Class::Group)?;
    let ranking = rank::run(&inner, &mut call, &group, &mut each).await;
    call.leave(ranking.is_ok());
    ranking
}
