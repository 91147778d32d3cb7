//! The decoder on ONNX Runtime.

use std::collections::BTreeSet;
use std::ffi::CString;

use ndarray::Array2;
use ort::memory::AllocationDevice;
use rewardrt_models::package::{Graph, Manifest, Recurrent, names};

use super::kv::{CacheShape, Feed, KvRunner, Names, Place, Values};
use super::open::{self, Component, Opened};
use super::state::SlotStates;
use super::{
    CHUNK_COLUMNS, DecoderSession, Geometry, Library, Placement, Provider, SessionError, SessionOptions,
    StepInput, check_prefix, rectangle,
};
use crate::load::Package;

/// A decoder graph with its key-value slots.
pub struct OrtDecoder {
    runner: KvRunner,
    geometry: Geometry,
    placement: Placement,
    /// Present when layers keep recurrent states.
    states: Option<SlotStates>,
    /// What the graph takes.
    takes: Takes,
    /// `0 ..` as far as any run needed.
    arange: Vec<i64>,
}

impl OrtDecoder {
    /// Opens the decoder of a verified package with `slots` slots for sequences of up to `tokens` tokens each.
    ///
    /// # Errors
    /// [`SessionError::Provider`] when no provider of the list takes it, [`SessionError::Memory`] when the cache
    /// does not fit, [`SessionError::Interface`] when the graph's inputs are not those of the contract,
    /// [`SessionError::Input`] when no slot or token is asked for.
    pub fn open(
        library: &Library,
        package: &Package,
        options: &SessionOptions,
        sizes: (usize, usize),
    ) -> Result<OrtDecoder, SessionError> {
        let place = |provider| {
            Ok(match provider {
                Provider::Cpu => Place::Host,
                Provider::Cuda | Provider::TensorRt => {
                    Place::Device(AllocationDevice::CUDA, open::copier(library, options, provider)?)
                }
            })
        };
        OrtDecoder::open_in(place, library, package, (options, sizes))
    }

    /// The same with the cache in the place that is said for a provider.
    pub(super) fn open_in(
        place: impl Fn(Provider) -> Result<Place, SessionError>,
        library: &Library,
        package: &Package,
        (options, (slots, tokens)): (&SessionOptions, (usize, usize)),
    ) -> Result<OrtDecoder, SessionError> {
        let manifest = package.manifest();
        let geometry = geometry(manifest, slots, tokens)?;
        let recurrent = manifest.decoder.recurrent;
        let Opened { session, placement, graph } = open::open(library, package, Component::Decoder, options)?;
        let takes = Takes::of(graph);
        let names = names_of(manifest, graph, (geometry.deepstack, takes))?;
        if recurrent.is_some() && placement.provider != Provider::Cpu {
            return Err(states_on_a_device(placement.provider));
        }
        let shape = CacheShape {
            layers: manifest.decoder.layers as usize,
            slots,
            heads: manifest.decoder.kv_heads as usize,
            capacity: geometry.capacity(),
            head_dim: manifest.decoder.head_dim as usize,
            floats: graph.activations,
        };
        let place = place(placement.provider)?;
        let state_shapes = recurrent.map_or_else(Vec::new, |r| state_shapes(&r));
        let runner = KvRunner::new(session, names, (shape, &state_shapes), place)?;
        let states = recurrent.map(|_| SlotStates::new(slots));
        Ok(OrtDecoder { runner, geometry, placement, states, takes, arange: Vec::new() })
    }

    /// What the decoder runs on.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The runner, for tests of the cache.
    #[cfg(test)]
    pub(crate) fn runner(&mut self) -> &mut KvRunner {
        &mut self.runner
    }
}

impl DecoderSession for OrtDecoder {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn run(&mut self, step: &StepInput) -> Result<Array2<f32>, SessionError> {
        step.check(&self.geometry)?;
        if self.takes.ragged {
            return self.run_once(step);
        }
        let mut logits = Array2::zeros((step.logit_rows.len(), self.geometry.outputs));
        for part in rectangle::parts(step, &self.geometry) {
            let rows = self.run_once(&part.step)?;
            for (row, output) in rows.rows().into_iter().zip(part.outputs) {
                logits.row_mut(output).assign(&row);
            }
        }
        Ok(logits)
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), SessionError> {
        check_prefix(&self.geometry, from, to, tokens)?;
        if let Some(states) = &mut self.states {
            states.copy(from, to, tokens, &mut self.runner)?;
        }
        self.runner.copy_prefix(from, to, tokens)
    }

    fn keeps_prefixes(&self) -> bool {
        self.states.is_none()
    }
}

impl OrtDecoder {
    /// A run of a checked step that the graph takes as it is.
    fn run_once(&mut self, step: &StepInput) -> Result<Array2<f32>, SessionError> {
        let (b, s, width) = (step.rows(), step.columns, self.geometry.rotary_width);
        let table = [step.features.len() / self.geometry.hidden, self.geometry.hidden];
        self.arange.extend(self.arange.len() as i64..(b * s) as i64);
        let total = [total(step)];
        let feed = |values, dims| Feed { values, dims };
        let shape = [b as i64, s as i64, -1];
        let (grid, rotary, rows) = ([b, s], [b * s, width], [b]);
        let wanted = [step.logit_rows.len()];
        let mut feeds = vec![
            feed(Values::I64(&step.ids), &grid),
            feed(Values::I64(&step.feature_rows), &grid),
            feed(Values::F32(&step.features), &table),
            feed(Values::F32(&step.cos), &rotary),
            feed(Values::F32(&step.sin), &rotary),
            feed(Values::I64(&self.arange[..b * s]), &grid),
            feed(Values::I32(&step.seqlens_k), &rows),
            feed(Values::I32(&total), &[]),
            feed(Values::I64(&step.logit_rows), &wanted),
        ];
        if self.takes.ragged {
            feeds.push(feed(Values::I32(&step.query_seqlens), &rows));
        }
        if self.takes.shape {
            feeds.push(feed(Values::I64(&shape), &[3]));
        }
        feeds.extend(step.deepstack.iter().map(|d| feed(Values::F32(d), &table)));
        let mut logits = Array2::zeros((step.logit_rows.len(), self.geometry.outputs));
        let side = match &mut self.states {
            Some(states) => states.begin(step, &mut self.runner)?,
            None => 0,
        };
        self.runner.run((step.first_slot, b), side, &feeds, &mut logits)?;
        if let Some(states) = &mut self.states {
            states.commit(step);
        }
        Ok(logits)
    }
}

/// What a decoder graph takes beside what all take.
#[derive(Debug, Clone, Copy)]
struct Takes {
    /// Runs whose rows have different lengths.
    ragged: bool,
    /// The shape of the run, so that nothing needs to ask for it.
    shape: bool,
}

impl Takes {
    fn of(graph: &Graph) -> Takes {
        let takes = |name: &str| graph.inputs.iter().any(|port| port.name == name);
        Takes { ragged: takes(names::QUERY_SEQLENS), shape: takes(names::BATCH_SHAPE) }
    }
}

/// Shapes of a slot's states, in the order of their names.
fn state_shapes(r: &Recurrent) -> Vec<Vec<usize>> {
    let shapes = [vec![r.window, r.channels], vec![r.heads, r.key_dim, r.value_dim]];
    let layer = shapes.map(|dims| dims.into_iter().map(|d| d as usize).collect::<Vec<usize>>());
    (0..r.layers).flat_map(|_| layer.clone()).collect()
}

fn states_on_a_device(provider: Provider) -> SessionError {
    SessionError::Provider {
        provider,
        reason: "the states of a recurrent model are kept in the processor's memory".into(),
        way_out: "run this model with --provider cpu".into(),
    }
}

/// Upper bound of the cache lengths after the run, padding included.
fn total(step: &StepInput) -> i32 {
    let past = step.seqlens_k.iter().zip(&step.query_seqlens).map(|(k, q)| k + 1 - q).max();
    past.unwrap_or(0) + step.columns as i32
}

fn geometry(manifest: &Manifest, slots: usize, tokens: usize) -> Result<Geometry, SessionError> {
    let most = manifest.decoder.max_positions as usize;
    if slots == 0 || tokens == 0 || tokens > most {
        let asked = format!("{slots} slots of {tokens} tokens");
        return Err(SessionError::Input(format!(
            "{asked}: the model takes 1 to {most} tokens, in at least a slot"
        )));
    }
    Ok(Geometry {
        slots,
        tokens,
        columns: CHUNK_COLUMNS.min(tokens),
        vocabulary: manifest.decoder.vocabulary as usize,
        outputs: manifest.scores.as_ref().map_or(manifest.decoder.vocabulary, |s| s.width) as usize,
        hidden: manifest.decoder.hidden as usize,
        deepstack: manifest.vision.as_ref().map_or(0, |v| v.deepstack as usize),
        rotary_width: manifest.decoder.position.rotary_dim as usize / 2,
    })
}

/// The graph's names in the order in which `run` feeds them.
fn names_of(
    manifest: &Manifest,
    graph: &Graph,
    (deepstack, takes): (usize, Takes),
) -> Result<Names, SessionError> {
    let layers = manifest.decoder.layers as usize;
    let mut fed: Vec<String> = [
        names::INPUT_IDS,
        names::FEATURE_ROWS,
        names::FEATURES,
        names::ROTARY_COS,
        names::ROTARY_SIN,
        names::ROTARY_ROWS,
        names::SEQLENS_K,
        names::TOTAL_SEQUENCE_LENGTH,
        names::LOGIT_ROWS,
    ]
    .map(str::to_owned)
    .into();
    let optional = [(takes.ragged, names::QUERY_SEQLENS), (takes.shape, names::BATCH_SHAPE)];
    fed.extend(optional.iter().filter(|(taken, _)| *taken).map(|(_, name)| (*name).to_owned()));
    fed.extend((0..deepstack).map(names::deepstack));
    let keys = |i| (names::past_key(i), names::present_key(i));
    let values = |i| (names::past_value(i), names::present_value(i));
    let cache: Vec<(String, String)> = (0..layers).flat_map(|i| [keys(i), values(i)]).collect();
    let windows = |i| (names::past_conv(i), names::present_conv(i));
    let sums = |i| (names::past_state(i), names::present_state(i));
    let recurrent = manifest.decoder.recurrent.map_or(0, |r| r.layers as usize);
    let states: Vec<(String, String)> = (0..recurrent).flat_map(|i| [windows(i), sums(i)]).collect();
    let kept = || cache.iter().chain(&states);
    let inputs = fed.iter().chain(kept().map(|(past, _)| past));
    compare("inputs", inputs, graph.inputs.iter().map(|p| &p.name))?;
    let output = if manifest.scores.is_some() { names::SCORES } else { names::LOGITS };
    let logits = output.to_owned();
    let outputs = kept().map(|(_, present)| present).chain([&logits]);
    compare("outputs", outputs, graph.outputs.iter().map(|p| &p.name))?;
    let pairs = |names: &[(String, String)]| {
        names.iter().map(|(a, b)| Ok((c_string(a)?, c_string(b)?))).collect::<Result<_, SessionError>>()
    };
    Ok(Names {
        fed: fed.iter().map(|n| c_string(n)).collect::<Result<_, _>>()?,
        cache: pairs(&cache)?,
        states: pairs(&states)?,
        logits: c_string(&logits)?,
    })
}

fn compare<'a>(
    side: &str,
    needed: impl Iterator<Item = &'a String>,
    got: impl Iterator<Item = &'a String>,
) -> Result<(), SessionError> {
    let (needed, got): (BTreeSet<_>, BTreeSet<_>) = (needed.collect(), got.collect());
    match needed.symmetric_difference(&got).next() {
        None => Ok(()),
        Some(name) => {
            let what = if needed.contains(name) { "missing" } else { "unknown" };
            Err(SessionError::Interface {
                component: "decoder",
                reason: format!("{name} is {what} among its {side}"),
            })
        }
    }
}

fn c_string(name: &str) -> Result<CString, SessionError> {
    let reason = || format!("the name {name:?} holds a zero byte");
    CString::new(name).map_err(|_| SessionError::Interface { component: "decoder", reason: reason() })
}
