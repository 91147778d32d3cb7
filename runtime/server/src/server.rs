//! The accept loop, the life of connections, and the end of the server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rewardrt::Judge;
use rewardrt::schedule::Health;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tower_service::Service;

use crate::app::{App, Phase};
use crate::auth::TokenError;
use crate::config::{Config, ConfigError};
use crate::guard::Peer;
use crate::routes;
use crate::stream::Timed;

/// Pause after an accept that failed: the reason, such as too many open files, lasts longer than the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Most threads that read and write: they parse requests and write documents, and the judge has its own.
const MOST_THREADS: usize = 4;
/// How often the judge is looked after.
const LOOK: Duration = Duration::from_millis(250);
/// Time for answers that are written to leave, when all work is done.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why no server was started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Settings that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Tokens that cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The address cannot be listened at.
    #[error("{address} cannot be listened at: {source}; choose another address, or end what listens there")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system gives no threads.
    #[error("no threads can be started ({0}); raise the limit of threads")]
    Threads(std::io::Error),
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for: {0}")]
    Signals(std::io::Error),
}

/// How a server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, and all requests at work were answered.
    Drained,
    /// It was told to, and the time for requests at work was over, or it was told a second time.
    Abandoned {
        /// Requests that were not answered.
        requests: usize,
    },
    /// The judge stopped or hangs. Whoever started the server had better start it anew.
    Fault {
        /// What is known of it.
        reason: String,
    },
}

/// Tells a server to end, from anywhere.
#[derive(Clone)]
pub struct Handle {
    app: Arc<App>,
}

impl Handle {
    /// Lets requests at work end and refuses others; the server ends when none is left, or when their time is over.
    pub fn drain(&self) {
        self.app.advance(Phase::Draining);
    }

    /// Ends at once.
    pub fn end(&self) {
        self.app.advance(Phase::Ending);
    }
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    router: Router,
    app: Arc<App>,
}

impl Server {
    /// Checks the settings and listens; nothing is answered before [`Server::run`].
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn bind(config: Config, judge: Judge) -> Result<Server, ServeError> {
        config.check()?;
        let address = config.listen;
        let app = Arc::new(App::new(config, judge)?);
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|source| ServeError::Bind { address, source })?;
        Ok(Server { listener, router: routes::router(app.clone()), app })
    }

    /// Where it listens; the port is the system's choice where the settings say 0.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What ends it.
    pub fn handle(&self) -> Handle {
        Handle { app: self.app.clone() }
    }

    /// Answers requests until it is told to end or the judge stops.
    pub async fn run(self) -> Ended {
        let mut connections = JoinSet::new();
        let ended = {
            let mut end = std::pin::pin!(ended(&self.app));
            loop {
                tokio::select! {
                    ended = &mut end => break ended,
                    accepted = self.listener.accept() => match accepted {
                        Ok((stream, peer)) => self.open(&mut connections, stream, peer),
                        Err(error) => {
                            tracing::warn!(%error, "no connection can be accepted");
                            sleep(ACCEPT_PAUSE).await;
                        }
                    },
                    Some(_) = connections.join_next(), if !connections.is_empty() => {}
                }
            }
        };
        drop(self.listener);
        self.app.advance(Phase::Ending);
        if ended == Ended::Drained {
            let all = async { while connections.join_next().await.is_some() {} };
            // Connections that are idle end at once, and others had their time.
            let _ = timeout(LAST_WORDS, all).await;
        }
        connections.abort_all();
        ended
    }

    fn open(&self, connections: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr) {
        let app = self.app.clone();
        if connections.len() >= app.config.max_connections {
            app.metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        connections.spawn(connection(app, self.router.clone(), stream, peer));
    }
}

/// Counts a connection while it is open.
struct Open(Arc<App>);

impl Open {
    fn new(app: Arc<App>) -> Open {
        app.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Open(app)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one connection until it ends, or until the server does and its request is answered.
async fn connection(app: Arc<App>, router: Router, stream: TcpStream, peer: SocketAddr) {
    let open = Open::new(app.clone());
    // Pieces of a stream are small and had better leave at once; where that cannot be, they leave a little later.
    let _ = stream.set_nodelay(true);
    let config = &app.config;
    let seconds = |n: usize| Duration::from_secs(n as u64);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer.ip()));
        let mut router = router.clone();
        async move { Ok::<_, Infallible>(router.call(request).await.unwrap_or_else(|never| match never {})) }
    });
    let io = TokioIo::new(Timed::new(stream, seconds(config.write_seconds)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(seconds(config.head_seconds))
        .max_buf_size(config.max_head_bytes)
        .max_headers(config.max_head_fields)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let mut phase = app.phase.subscribe();
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = reached(&mut phase, Phase::Ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection broke off");
    }
    drop(open);
}

/// Waits for a part of the server's life. Its sender lives as long as the server.
async fn reached(phase: &mut watch::Receiver<Phase>, at: Phase) {
    let _ = phase.wait_for(|phase| *phase >= at).await;
}

/// Waits for the reason to end.
async fn ended(app: &App) -> Ended {
    let (mut phase, mut seats) = (app.phase.subscribe(), app.seats.subscribe());
    let drained = async {
        reached(&mut phase, Phase::Draining).await;
        tracing::info!(
            requests = *app.seats.borrow(),
            "ending: requests at work are answered, others are refused"
        );
        let grace = Duration::from_secs(app.config.grace_seconds as u64);
        tokio::select! {
            _ = seats.wait_for(|seats| *seats == 0) => Ended::Drained,
            () = sleep(grace) => Ended::Abandoned { requests: *app.seats.borrow() },
            () = reached(&mut phase, Phase::Ending) => Ended::Abandoned { requests: *app.seats.borrow() },
        }
    };
    tokio::select! {
        ended = drained => ended,
        reason = fault(app) => Ended::Fault { reason },
    }
}

/// Waits for the judge to stop or to hang.
async fn fault(app: &App) -> String {
    let limit = app.config.step_seconds as u64 * 1000;
    let mut look = interval(LOOK);
    loop {
        look.tick().await;
        if let Health::Broken { reason } = app.judge.health() {
            // Those at work were told; their answers leave meanwhile.
            sleep(LOOK).await;
            return reason;
        }
        if let Some(lasted) = app.judge.stats().step_ms.filter(|lasted| *lasted > limit) {
            return format!("a step of the decoder has lasted {lasted} ms, over the limit of {limit} ms");
        }
    }
}

/// Serves until a signal: the first SIGTERM or SIGINT lets requests at work end, the second ends at once. `ready` is told
/// the address. Blocks, with threads of its own. What a request was doing when its time was over may go on behind it:
/// after an end that is not [`Ended::Drained`] the process had better exit.
///
/// # Errors
/// [`ServeError`].
pub fn serve(config: Config, judge: Judge, ready: impl FnOnce(SocketAddr)) -> Result<Ended, ServeError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(ServeError::Threads)?;
    let ended = runtime.block_on(until_signal(config, judge, ready));
    runtime.shutdown_background();
    ended
}

async fn until_signal(
    config: Config,
    judge: Judge,
    ready: impl FnOnce(SocketAddr),
) -> Result<Ended, ServeError> {
    let address = config.listen;
    let server = Server::bind(config, judge).await?;
    let handle = server.handle();
    let mut term = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut int = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    ready(server.address().unwrap_or(address));
    let signals = async {
        for told in [Handle::drain, Handle::end] {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            told(&handle);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = server.run() => Ok(ended),
        () = signals => Ok(Ended::Abandoned { requests: 0 }),
    }
}
