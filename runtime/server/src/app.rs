//! What all requests share: the judge, the limits, the counters, and which part of its life the server is in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rewardrt::Judge;
use rewardrt::schedule::Health;
use rewardrt_models::prompt::pack::{FrameRule, Pack, Task};
use tokio::sync::watch;

use crate::auth::{TokenError, Tokens};
use crate::body::Budget;
use crate::config::Config;
use crate::error::ApiError;
use crate::guard::Terms;
use crate::metrics::Metrics;
use crate::wire::question::Choice;

/// The parts of a server's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Requests are taken.
    Serving,
    /// Those at work may end; others are refused.
    Draining,
    /// Connections are closed.
    Ending,
}

/// What all requests share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) judge: Judge,
    pub(crate) tokens: Tokens,
    pub(crate) metrics: Metrics,
    pub(crate) bodies: Arc<Budget>,
    pub(crate) phase: watch::Sender<Phase>,
    /// Requests at work, from their head to the last byte of their answer.
    pub(crate) seats: watch::Sender<usize>,
    /// Names by which requests may call the model; the first is its own.
    pub(crate) names: Vec<String>,
    pub(crate) started: SystemTime,
    requests: AtomicU64,
}

impl App {
    pub(crate) fn new(config: Config, judge: Judge) -> Result<App, TokenError> {
        let more = config.served_names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let names = std::iter::once(judge.model().name).chain(more.map(str::to_owned)).collect();
        Ok(App {
            tokens: Tokens::of(&config)?,
            config,
            judge,
            metrics: Metrics::default(),
            bodies: Arc::default(),
            phase: watch::Sender::new(Phase::Serving),
            seats: watch::Sender::new(0),
            names,
            started: SystemTime::now(),
            requests: AtomicU64::new(0),
        })
    }

    /// A name for the next request: when the server began, and a count.
    pub(crate) fn next_id(&self) -> String {
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{count:x}", self.began().as_millis())
    }

    /// When the server began, since 1970.
    pub(crate) fn began(&self) -> Duration {
        self.started.duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Goes on to a later part of the server's life.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// What keeps requests from being taken.
    pub(crate) fn not_ready(&self) -> Option<ApiError> {
        if self.phase() > Phase::Serving {
            return Some(ApiError::unavailable("draining", "the server is about to end; ask another"));
        }
        match self.judge.health() {
            Health::Ready => None,
            Health::Broken { .. } => Some(ApiError::unavailable(
                "judge_stopped",
                "the judge has stopped after a fault; the server starts anew",
            )),
        }
    }

    /// The judge of a request: its client, and the time that is left of its deadline.
    pub(crate) fn judge(&self, terms: &Terms) -> Judge {
        self.judge.client(terms.client).within(terms.left())
    }

    /// Refuses a model that is another.
    pub(crate) fn check_model(&self, model: &str) -> Result<(), ApiError> {
        if self.names.iter().any(|name| name == model) {
            return Ok(());
        }
        let message = format!("this server has {} and no other model", self.names.join(", "));
        Err(ApiError::new(axum::http::StatusCode::NOT_FOUND, "model_not_found", message).at("/model"))
    }

    /// The judge that answers a question, with the pack that its choice names, else the server's own where it fits, else
    /// the built-in one for what was given.
    pub(crate) fn judge_of(&self, terms: &Terms, choice: &Choice) -> Result<Judge, ApiError> {
        choice.model.as_deref().map_or(Ok(()), |model| self.check_model(model))?;
        let judge = self.judge(terms);
        let own = judge.pack();
        let task = choice.task.or_else(|| self.natural(choice));
        let pack = match (&choice.pack, task) {
            (Some(name), _) if *name == own.name => None,
            (Some(name), _) => Some(Pack::builtin(name).map_err(rewardrt::Error::from)?),
            (None, Some(task)) if own.task == task => None,
            (None, Some(task)) => Some(Pack::for_task(task).map_err(rewardrt::Error::from)?),
            (None, None) => {
                let message = format!("no task takes {}", choice.given.words());
                return Err(ApiError::unprocessable("not_askable", message));
            }
        };
        let asked = pack.as_ref().unwrap_or(own);
        if let Some(task) = choice.task.filter(|task| asked.task != *task) {
            let message = format!("pack {} is for {}, not for {task}", asked.name, asked.task);
            return Err(ApiError::unprocessable("not_askable", message).at("/pack"));
        }
        if let (Some(pack), true) = (&pack, self.config.only_own_pack) {
            let message =
                format!("this server asks {} questions only, and {} is not its pack", own.task, pack.name);
            return Err(ApiError::unprocessable("not_askable", message));
        }
        check_frames(asked, choice)?;
        Ok(match pack {
            Some(pack) => judge.asking(pack),
            None => judge,
        })
    }

    /// The server's own task where what was given fits it, else the first that fits.
    fn natural(&self, choice: &Choice) -> Option<Task> {
        let own = self.judge.pack().task;
        let all = std::iter::once(own).chain(Task::ALL.map(|(task, _)| task));
        all.into_iter().find(|task| choice.given.fits(task.shape()))
    }
}

/// Frames that come as pictures are as many as the pack shows: choosing among them is left to whoever knows the video.
fn check_frames(pack: &Pack, choice: &Choice) -> Result<(), ApiError> {
    let (Some(found), Some(FrameRule::LinspaceTrunc(n) | FrameRule::LinspaceRound(n) | FrameRule::Step(n))) =
        (choice.given.frames, pack.frames)
    else {
        return Ok(());
    };
    if found == n as usize {
        return Ok(());
    }
    let message =
        format!("a candidate has {found} frames, and pack {} shows {n}; give exactly those", pack.name);
    Err(ApiError::unprocessable("not_askable", message))
}
