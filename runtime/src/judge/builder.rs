//! Opening a package.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rewardrt_models::prompt::pack::{Pack, Task};
use rewardrt_models::prompt::segment::MediaTokens;

use super::vision::Vision;
use super::{Inner, Judge, Terms};
use crate::Error;
use crate::decode;
use crate::load::Package;
use crate::media::video::Isolation;
use crate::schedule::{Limits, Service};
use crate::session::{
    DecoderSession, OrtDecoder, OrtVision, Placement, Providers, SessionOptions, VisionSession, library,
};
use crate::text::{ChatTemplate, PromptEncoder, Tokenizer};

/// Sequences that decode together: both orders of a pair, and of a second one.
pub const DEFAULT_SLOTS: usize = 4;
/// Longest sequence in tokens: two pictures of 1024x1024 are 2,048, the prompt 500, an answer at most 4,096.
pub const DEFAULT_TOKENS: usize = 8192;
/// Calls that may wait beside as many as there are slots: a trainer's node sends 288 pairs one by one (8 groups of 36), or
/// 8 groups; more than that had better be told to come back.
pub const DEFAULT_QUEUE: usize = 320;
/// Most threads that decode pictures and encode prompts. Their work is a hundredth of the decoder's, whose cores they
/// take.
pub const MOST_PREPARERS: usize = 4;
/// Groups that may be at work for each eight slots, beside two: one is judged while the next one's pictures are seen.
const SLOTS_A_GROUP: usize = 8;
/// Bytes of vision features that a judge keeps: a trainer's group of nine pictures of 720x720, or of six videos of eight
/// frames, is 280 to 390 MiB in the widest models (5,120 values in each of four tables, 80 KiB a token). They are taken
/// as pictures come, not before.
pub const DEFAULT_VISION_CACHE: usize = 512 << 20;

/// How a package is opened.
#[derive(Debug, Clone)]
pub struct JudgeBuilder {
    session: SessionOptions,
    library: Option<PathBuf>,
    asked: Asked,
    slots: usize,
    tokens: usize,
    limits: Asking,
    vision_cache: usize,
    isolation: Isolation,
    decode: decode::Options,
}

/// How much may be asked at once.
#[derive(Debug, Clone, Copy)]
struct Asking {
    queue: usize,
    /// All that the slots hold when this is none.
    kv_tokens: Option<usize>,
}

/// What questions are asked with.
#[derive(Debug, Clone, Default)]
enum Asked {
    /// The package's default.
    #[default]
    Default,
    /// This pack.
    Pack(Box<Pack>),
    /// The package's default when it is for this task, else the built-in pack for it.
    Task(Task),
}

impl Default for JudgeBuilder {
    fn default() -> JudgeBuilder {
        JudgeBuilder {
            session: SessionOptions::default(),
            library: None,
            asked: Asked::Default,
            slots: DEFAULT_SLOTS,
            tokens: DEFAULT_TOKENS,
            limits: Asking { queue: DEFAULT_QUEUE, kv_tokens: None },
            vision_cache: DEFAULT_VISION_CACHE,
            isolation: Isolation::default(),
            decode: decode::Options::default(),
        }
    }
}

impl JudgeBuilder {
    /// Threads of an operator; all cores when this is not called.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> JudgeBuilder {
        self.session.threads = threads;
        self
    }

    /// Execution providers in order; the first that can be used is.
    #[must_use]
    pub fn providers(mut self, providers: Providers) -> JudgeBuilder {
        self.session.providers = providers;
        self
    }

    /// Whether idle threads spin for the next operator (the default): faster, and a core lost to others.
    #[must_use]
    pub fn spin(mut self, spin: bool) -> JudgeBuilder {
        self.session.spin = spin;
        self
    }

    /// Path of ONNX Runtime's shared library; found as [`library::load`] says when this is not called.
    #[must_use]
    pub fn ort_library(mut self, path: Option<PathBuf>) -> JudgeBuilder {
        self.library = path;
        self
    }

    /// The pack that questions are asked with; the package's default when neither this nor [`JudgeBuilder::task`] is
    /// called.
    #[must_use]
    pub fn pack(mut self, pack: Pack) -> JudgeBuilder {
        self.asked = Asked::Pack(Box::new(pack));
        self
    }

    /// The task that questions are of: they are asked with the package's default pack when it is for this task, else
    /// with the built-in pack for it.
    #[must_use]
    pub fn task(mut self, task: Task) -> JudgeBuilder {
        self.asked = Asked::Task(task);
        self
    }

    /// Sequences that decode together, [`DEFAULT_SLOTS`] when this is not called.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> JudgeBuilder {
        self.slots = slots;
        self
    }

    /// Longest sequence in tokens, prompt and answer together, [`DEFAULT_TOKENS`] when this is not called; never
    /// more than the checkpoint was configured for.
    #[must_use]
    pub fn tokens(mut self, tokens: usize) -> JudgeBuilder {
        self.tokens = tokens;
        self
    }

    /// Calls that may wait beside as many as there are slots, [`DEFAULT_QUEUE`] when this is not called. One more is
    /// refused at once, and told when to come back.
    #[must_use]
    pub fn queue(mut self, calls: usize) -> JudgeBuilder {
        self.limits.queue = calls;
        self
    }

    /// Most tokens in all slots together, prompts and the longest answers that they may get: what the attention of one
    /// step reads, and the memory of the cache that is touched. Slots times tokens when this is not called, which are
    /// the size of the cache.
    #[must_use]
    pub fn kv_tokens(mut self, tokens: usize) -> JudgeBuilder {
        self.limits.kv_tokens = Some(tokens);
        self
    }

    /// Bytes of vision features that are kept, so that a content goes through the tower once; the least recently used
    /// go first. [`DEFAULT_VISION_CACHE`] when this is not called, 0 keeps nothing. Results are the same with any.
    #[must_use]
    pub fn vision_cache(mut self, bytes: usize) -> JudgeBuilder {
        self.vision_cache = bytes;
        self
    }

    /// Where the video files of chats are decoded: in a child process when this is not called.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> JudgeBuilder {
        self.isolation = isolation;
        self
    }

    /// How the decoder runs. Results are the same with any, but for what [`decode::Shapes`] says of roundings.
    #[must_use]
    pub fn decode(mut self, options: decode::Options) -> JudgeBuilder {
        self.decode = options;
        self
    }

    /// Verifies and loads a package.
    ///
    /// # Errors
    /// Of class package when any file is not what the manifest says, of class provider when ONNX Runtime or a
    /// provider is missing.
    pub fn open(self, package: &Path) -> Result<Judge, Error> {
        let start = Instant::now();
        let package = Package::open(package)?;
        let library = library::load(self.library.as_deref())?;
        let tokens = self.tokens.min(package.manifest().decoder.max_positions as usize);
        let decoder = OrtDecoder::open(&library, &package, &self.session, (self.slots, tokens))?;
        let vision = OrtVision::open(&library, &package, &self.session)?;
        let placements = [Some(decoder.placement().clone()), vision.as_ref().map(|v| v.placement().clone())];
        let sessions = Sessions {
            decoder: Box::new(decoder),
            vision: vision.map(|v| Box::new(v) as Box<dyn VisionSession>),
            placements: placements.into_iter().flatten().collect(),
        };
        assemble(package, self, sessions, start)
    }

    /// Puts a verified package together with sessions of the caller's own: another engine, or the stub twin in
    /// tests. Threads, providers, slots and tokens are those of the sessions.
    ///
    /// # Errors
    /// Of class package when the tokenizer or the chat template cannot be used.
    pub fn open_with(
        self,
        package: Package,
        decoder: Box<dyn DecoderSession>,
        vision: Option<Box<dyn VisionSession>>,
    ) -> Result<Judge, Error> {
        let sessions = Sessions { decoder, vision, placements: Vec::new() };
        assemble(package, self, sessions, Instant::now())
    }
}

struct Sessions {
    decoder: Box<dyn DecoderSession>,
    vision: Option<Box<dyn VisionSession>>,
    placements: Vec<Placement>,
}

fn assemble(
    package: Package,
    builder: JudgeBuilder,
    sessions: Sessions,
    start: Instant,
) -> Result<Judge, Error> {
    let encoder = encoder(&package)?;
    let default = || Pack::builtin(&package.manifest().default_pack);
    let pack = match builder.asked {
        Asked::Pack(pack) => *pack,
        Asked::Default => default()?,
        Asked::Task(task) => match default()? {
            pack if pack.task == task => pack,
            _ => Pack::for_task(task)?,
        },
    };
    let manifest = package.manifest();
    let vision = Vision::new(manifest, sessions.vision, builder.vision_cache);
    let limits = limits(&sessions.decoder, builder.limits);
    let decoder = decode::Engine::new(sessions.decoder, &manifest.decoder.position).with(builder.decode);
    let mut service = Service::start(limits, decoder)?;
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_PREPARERS);
    let preparers = service.station("prepare", vec![(); threads], false)?;
    let vision = vision.map(|vision| service.station("see", vec![vision], true)).transpose()?;
    let inner = Inner {
        package: Arc::new(package),
        pack,
        encoder: Arc::new(encoder),
        door: service.door(),
        slots: limits.slots,
        answers: Arc::default(),
        preparers,
        vision,
        placements: sessions.placements,
        isolation: builder.isolation,
        load_ms: start.elapsed().as_secs_f64() * 1e3,
    };
    Ok(Judge { inner: Arc::new(inner), service: Arc::new(service), terms: Terms::default() })
}

/// The limits of a decoder's schedule.
fn limits(decoder: &dyn DecoderSession, asking: Asking) -> Limits {
    let geometry = decoder.geometry();
    let slots = geometry.slots;
    Limits {
        slots,
        slot_tokens: geometry.tokens,
        kv_tokens: asking.kv_tokens.unwrap_or(slots * geometry.tokens),
        queue: asking.queue,
        // As many as could start at once, and as many as can be made ready meanwhile.
        singles_ahead: slots + MOST_PREPARERS,
        groups: 2 + slots / SLOTS_A_GROUP,
    }
}

fn encoder(package: &Package) -> Result<PromptEncoder, Error> {
    let manifest = package.manifest();
    let tokenizer = Tokenizer::from_json(&package.read(&manifest.tokenizer)?)?;
    let template =
        String::from_utf8(package.read(&manifest.chat_template)?).map_err(|_| Error::TemplateText)?;
    // A package holds no named tokens: a template that reads one is refused.
    let template = ChatTemplate::new(&template, Default::default())?;
    let media = MediaTokens { image: manifest.tokens.image, video: manifest.tokens.video };
    let markers = manifest.scores.iter().flat_map(|scores| scores.at.markers());
    for marker in markers {
        if tokenizer.controls().id(&marker.token) != Some(marker.id) {
            return Err(Error::Marker { token: marker.token.clone(), id: marker.id });
        }
    }
    Ok(PromptEncoder::new(tokenizer, template, media)?)
}
