//! Making a session of a verified graph: options, providers in order, placement.

use std::num::NonZeroUsize;
use std::path::Path;

use ort::ep;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use rewardrt_models::package::Graph;

use super::library::assigned_nodes;
use super::{IntegerUnits, Library, Placement, Provider, Providers, SessionError};
use crate::load::Package;

/// How sessions compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOptions {
    /// Providers in order.
    pub providers: Providers,
    /// Threads of an operator.
    pub threads: NonZeroUsize,
    /// Whether idle threads spin for the next operator: 10 % faster, and a core lost to others.
    pub spin: bool,
}

impl Default for SessionOptions {
    /// The processor, all its cores, spinning.
    fn default() -> SessionOptions {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        SessionOptions { providers: Providers::cpu(), threads, spin: true }
    }
}

/// Opens one graph of a package on the first provider of the list that takes it. Falling back is logged.
pub(super) fn open(
    library: &Library,
    package: &Package,
    (component, graph): (&'static str, &Graph),
    options: &SessionOptions,
) -> Result<(Session, Placement), SessionError> {
    package.check_runtime(library.version())?;
    let list = options.providers.list();
    let path = package.path(&graph.file);
    let mut refusals: Vec<String> = Vec::new();
    let mut last = None;
    for at in 0..list.len() {
        match attempt(library, &path, &list[at..], options) {
            Ok(session) => {
                let nodes =
                    assigned_nodes(&session).map_err(|e| SessionError::runtime("tell the placement", &e))?;
                if let Some(wanted) = list.first().filter(|_| at > 0) {
                    tracing::warn!(component, %wanted, used = %list[at], reason = refusals.join("; "), "fell back");
                }
                return Ok((session, Placement { component, provider: list[at], nodes }));
            }
            Err(Refusal::Provider(provider, reason)) => {
                refusals.push(format!("{provider}: {reason}"));
                last = Some(provider);
            }
            Err(Refusal::Other(error)) => return Err(error),
        }
    }
    let provider = last.unwrap_or(Provider::Cpu);
    let reason = refusals.join("; ");
    Err(SessionError::Provider { provider, reason, way_out: provider.way_out(library.folder()) })
}

enum Refusal {
    /// The provider is not there, or does not take the whole graph.
    Provider(Provider, String),
    Other(SessionError),
}

/// Opens a graph on exactly these providers.
fn attempt(
    library: &Library,
    path: &Path,
    list: &[Provider],
    options: &SessionOptions,
) -> Result<Session, Refusal> {
    let configured = configure(library, options, list.contains(&Provider::Cpu));
    let mut builder = configured.map_err(|e| Refusal::Other(SessionError::runtime("set options", &e)))?;
    for &provider in list {
        register(&mut builder, provider).map_err(|e| Refusal::Provider(provider, e.message().to_owned()))?;
    }
    builder.commit_from_file(path).map_err(|e| match list.first() {
        // With the processor outside the list, a node that no provider takes is refused here.
        Some(&first) if first != Provider::Cpu => Refusal::Provider(first, e.message().to_owned()),
        _ => Refusal::Other(SessionError::runtime("open the graph", &e)),
    })
}

fn configure(library: &Library, options: &SessionOptions, cpu: bool) -> ort::Result<SessionBuilder> {
    // Where products of 8-bit integers would be cut, the library stores their weights unsigned and multiplies exactly.
    // Elsewhere that would only lose the fast units, which are for signed weights.
    let exact = if IntegerUnits::here().saturate() { "1" } else { "0" };
    let builder = Session::builder(library.environment())?
        .with_log_level(LogLevel::Warning)?
        .with_intra_threads(options.threads.get())?
        .with_inter_threads(1)?
        .with_intra_op_spinning(options.spin)?
        .with_flush_to_zero()?
        .with_config_entry("session.x64quantprecision", exact)?
        .with_config_entry("session.record_ep_graph_assignment_info", "1")?;
    if cpu { Ok(builder) } else { Ok(builder.with_disable_cpu_fallback()?) }
}

/// Adds a provider, and fails when it is not there: the binding's default is to go on without a word.
fn register(builder: &mut SessionBuilder, provider: Provider) -> ort::Result<()> {
    let dispatch = match provider {
        Provider::Cpu => return Ok(()),
        Provider::Cuda => ep::CUDA::default().build(),
        Provider::TensorRt => ep::TensorRT::default().build(),
    };
    dispatch.error_on_failure().register(builder)
}
