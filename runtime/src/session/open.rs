//! Making a session of a verified graph: options, providers in order, which graph for which, placement.

use std::num::NonZeroUsize;

use ort::ep;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use rewardrt_models::package::{Activations, Graph, Unfit};

use super::copier::{self, Copier};
use super::library::assigned_nodes;
use super::provider::strays;
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
    /// The floats to compute in, for packages that leave the choice; when absent those that suit the provider: 32 bits
    /// on a processor, 16 on a card.
    pub activations: Option<Activations>,
}

impl Default for SessionOptions {
    /// The processor, all its cores, spinning.
    fn default() -> SessionOptions {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        SessionOptions { providers: Providers::cpu(), threads, spin: true, activations: None }
    }
}

impl SessionOptions {
    /// The floats that a graph may compute in, best first.
    fn activations(&self, component: Component, provider: Provider) -> Vec<Activations> {
        use Activations::{Bf16, F16, F32};
        match (self.activations, provider, component) {
            (Some(chosen), _, _) => vec![chosen],
            (None, Provider::Cpu, _) => vec![F32],
            // The attention over a cache takes no others there.
            (None, Provider::Cuda | Provider::TensorRt, Component::Decoder) => vec![F16, Bf16],
            (None, Provider::Cuda | Provider::TensorRt, Component::Vision) => vec![F16, Bf16, F32],
        }
    }
}

/// What is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Component {
    Decoder,
    Vision,
}

impl Component {
    fn name(self) -> &'static str {
        match self {
            Component::Decoder => "decoder",
            Component::Vision => "vision",
        }
    }

    /// The providers of the list that the component can run on at all, in the same order.
    fn providers(self, list: &[Provider]) -> Vec<Provider> {
        let fits = |p: &Provider| self == Component::Vision || *p != Provider::TensorRt;
        list.iter().copied().filter(fits).collect()
    }
}

/// An opened graph.
pub(super) struct Opened<'a> {
    pub(super) session: Session,
    pub(super) placement: Placement,
    pub(super) graph: &'a Graph,
}

/// Opens a component of a package on the first provider of the list that takes it: the graph that suits the provider
/// and the library. Falling back is logged.
pub(super) fn open<'a>(
    library: &Library,
    package: &'a Package,
    component: Component,
    options: &SessionOptions,
) -> Result<Opened<'a>, SessionError> {
    package.check_runtime(library.version())?;
    let list = component.providers(options.providers.list());
    if list.is_empty() {
        return Err(no_decoder(library));
    }
    let mut refusals: Vec<(Provider, Refused)> = Vec::new();
    for at in 0..list.len() {
        match attempt(library, package, component, (&list[at..], options)) {
            Ok(opened) => {
                if let Some(wanted) = list.first().filter(|_| at > 0) {
                    let (component, reason) = (component.name(), reasons(&refusals));
                    tracing::warn!(component, %wanted, used = %list[at], reason, "fell back");
                }
                return Ok(opened);
            }
            Err(Refusal::Provider(refused)) => refusals.push((list[at], refused)),
            Err(Refusal::Other(error)) => return Err(error),
        }
    }
    let reason = reasons(&refusals);
    let (provider, way_out) = match refusals.pop() {
        Some((provider, Refused { way_out: Some(way_out), .. })) => (provider, way_out),
        Some((provider, _)) => (provider, provider.way_out(library.folder())),
        None => (Provider::Cpu, Provider::Cpu.way_out(library.folder())),
    };
    Err(SessionError::Provider { provider, reason, way_out })
}

/// Opens the graph that copies bytes on exactly this provider.
pub(super) fn copier(
    library: &Library,
    options: &SessionOptions,
    provider: Provider,
) -> Result<Copier, SessionError> {
    let failed = |e: &ort::Error| SessionError::runtime("open the copying graph", e);
    let mut builder = configure(library, options).map_err(|e| failed(&e))?;
    register(&mut builder, provider).map_err(|e| failed(&e))?;
    let session = builder.commit_from_memory(&copier::model()).map_err(|e| failed(&e))?;
    Ok(Copier { session })
}

/// The decoder was asked of TensorRT alone.
fn no_decoder(library: &Library) -> SessionError {
    let here = Provider::TensorRt.way_out(library.folder());
    SessionError::Provider {
        provider: Provider::TensorRt,
        reason: "it has no attention over a cache, so it cannot run the decoder".into(),
        way_out: format!("give --provider tensorrt,cuda, which runs the vision tower on it; also, {here}"),
    }
}

/// Why a provider was passed over.
struct Refused {
    reason: String,
    /// When it is not the provider's own.
    way_out: Option<String>,
}

fn reasons(refusals: &[(Provider, Refused)]) -> String {
    let all: Vec<_> = refusals.iter().map(|(provider, r)| format!("{provider}: {}", r.reason)).collect();
    all.join("; ")
}

enum Refusal {
    /// The provider is not there, or does not take the whole graph.
    Provider(Refused),
    Other(SessionError),
}

/// Opens a component on exactly these providers, of which there is one at least.
fn attempt<'a>(
    library: &Library,
    package: &'a Package,
    component: Component,
    (list, options): (&[Provider], &SessionOptions),
) -> Result<Opened<'a>, Refusal> {
    let first = list.first().copied().unwrap_or(Provider::Cpu);
    let other = |action, e: &ort::Error| Refusal::Other(SessionError::runtime(action, e));
    let unusable = |reason: String| Refusal::Provider(Refused { reason, way_out: None });
    let mut builder = configure(library, options).map_err(|e| other("set options", &e))?;
    for &provider in list {
        register(&mut builder, provider).map_err(|e| unusable(e.message().to_owned()))?;
    }
    let graph = choose(library, package, component, (first, options))?;
    let session = builder.commit_from_file(package.path(&graph.file)).map_err(|e| match first {
        Provider::Cpu => other("open the graph", &e),
        Provider::Cuda | Provider::TensorRt => unusable(e.message().to_owned()),
    })?;
    let nodes = assigned_nodes(&session).map_err(|e| other("tell the placement", &e))?;
    if let Some(strays) = strays(&nodes, list) {
        let reason = format!("it has no kernel for {strays} of {}", graph.file);
        let way_out = Some(format!("give --provider {first},cpu to let the processor compute them"));
        return Err(Refusal::Provider(Refused { reason, way_out }));
    }
    let (component, file) = (component.name(), graph.file.clone());
    let placement = Placement { component, provider: first, graph: file, nodes };
    Ok(Opened { session, placement, graph })
}

/// The graph of a component for a provider.
fn choose<'a>(
    library: &Library,
    package: &'a Package,
    component: Component,
    (provider, options): (Provider, &SessionOptions),
) -> Result<&'a Graph, Refusal> {
    let manifest = package.manifest();
    let graphs: Vec<&Graph> = match component {
        Component::Decoder => manifest.decoder_graphs().collect(),
        Component::Vision => manifest.vision_graphs().collect(),
    };
    let activations = options.activations(component, provider);
    let chosen = manifest.choose(graphs.into_iter(), library.version(), &activations);
    chosen.map_err(|unfit| match unfit {
        Unfit::Version(needed) => {
            let got = library.version().to_owned();
            Refusal::Other(SessionError::Version { needed: needed.to_owned(), got })
        }
        Unfit::Activations => Refusal::Provider(Refused {
            reason: format!("the package has no {} graph in 16-bit floats", component.name()),
            way_out: Some(
                "export the checkpoint with --precision fp16, bf16, int8 or int4, or give --provider cpu"
                    .into(),
            ),
        }),
    })
}

fn configure(library: &Library, options: &SessionOptions) -> ort::Result<SessionBuilder> {
    // Where products of 8-bit integers would be cut, the library stores their weights unsigned and multiplies exactly.
    // Elsewhere that would only lose the fast units, which are for signed weights.
    let exact = if IntegerUnits::here().saturate() { "1" } else { "0" };
    Ok(Session::builder(library.environment())?
        .with_log_level(LogLevel::Warning)?
        .with_intra_threads(options.threads.get())?
        .with_inter_threads(1)?
        .with_intra_op_spinning(options.spin)?
        .with_flush_to_zero()?
        .with_config_entry("session.x64quantprecision", exact)?
        .with_config_entry("session.record_ep_graph_assignment_info", "1")?)
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
