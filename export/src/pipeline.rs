//! The export from end to end: open, check, compile, stream, seal.

use std::collections::BTreeSet;
use std::path::PathBuf;

use prost::Message;
use rewardrt_models::family::{self, ConfigFiles, FamilyError};
use rewardrt_models::package::{
    DecoderComponent, FORMAT, FileEntry, Graph, Manifest, Precision, Recurrent, Requirements, VisionComponent,
};
use rewardrt_models::spec::{DecoderSpec, Head, ModelSpec, PatchPosition, VisionSpec};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::graph::Wanted;
use crate::quantize::BlockSizeError;
use crate::seal::{SealError, SealedPackage, Staging};
use crate::variants::{self, Component, Variant};
use crate::weights::{Stored, WeightsError, Writer};

const TOKENIZER: &str = "tokenizer.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// What to export, and where to.
#[derive(Debug, Clone)]
pub struct Options {
    /// The checkpoint folder.
    pub checkpoint: PathBuf,
    /// The package folder to be made.
    pub out: PathBuf,
    /// How weights are stored.
    pub precision: Precision,
    /// Name of the model; the checkpoint folder's name when absent.
    pub name: Option<String>,
    /// Name of the built-in pack that the model is asked with when the caller names none; the family's usual one when
    /// absent.
    pub pack: Option<String>,
    /// Replace a package that is already there.
    pub force: bool,
}

/// How far the export is, in bytes of weights read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: &'static str,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Why a checkpoint cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The checkpoint folder is not what it should be.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The architecture or one of its values is not covered.
    #[error(transparent)]
    Family(#[from] FamilyError),
    /// The weights could not be written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The package could not be made.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A quantisation block that the operator does not take; a fault of this build.
    #[error(transparent)]
    Block(#[from] BlockSizeError),
    /// The checkpoint's folder has no name to give to the model.
    #[error("{0}: the folder has no name that a model could have; give one with --name")]
    Name(PathBuf),
}

/// Exports a checkpoint. `progress` is called after each tensor.
///
/// # Errors
/// [`ExportError`]; whatever it is, nothing stands under `out` that was not there before.
pub fn export(options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<SealedPackage, ExportError> {
    let checkpoint = Checkpoint::open(&options.checkpoint)?;
    let spec = family::spec(&config_files(&checkpoint))?;
    checkpoint.check(&spec.weights(), &spec.ignored)?;
    let staging = Staging::new(&options.out, options.force)?;
    let source = std::thread::scope(|scope| {
        let identity = scope.spawn(|| checkpoint.identity());
        let package = write_package(&checkpoint, &spec, options, &staging, progress);
        // A panic of the hashing thread is a fault of this program and goes on as one.
        let identity = identity.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
        Ok::<_, ExportError>((package?, identity?))
    });
    let (package, source) = source?;
    checkpoint.check_unchanged()?;
    let manifest = manifest(&spec, options, package, source)?;
    Ok(staging.seal(manifest)?)
}

/// The parts of a package that were written.
struct Written {
    vision: Option<Component<Graph>>,
    decoder: Component<Graph>,
    operators: BTreeSet<String>,
    files: Vec<FileEntry>,
}

fn config_files(checkpoint: &Checkpoint) -> ConfigFiles {
    let in_processor = |part| checkpoint.processor.as_ref().and_then(|p| p.get(part)).cloned();
    ConfigFiles {
        config: checkpoint.config.clone(),
        generation: checkpoint.generation.clone(),
        image_processor: in_processor("image_processor").or_else(|| checkpoint.preprocessor.clone()),
        video_processor: in_processor("video_processor").or_else(|| checkpoint.video_preprocessor.clone()),
        reward: checkpoint.reward.clone(),
        added_tokens: checkpoint.added_tokens.clone(),
        tensors: checkpoint.tensors().keys().cloned().collect(),
    }
}

fn write_package(
    checkpoint: &Checkpoint,
    spec: &ModelSpec,
    options: &Options,
    staging: &Staging,
    progress: &mut dyn FnMut(Progress),
) -> Result<Written, ExportError> {
    let vision = variants::vision(checkpoint, spec, options.precision);
    let decoder = variants::decoder(checkpoint, spec, options.precision);
    let all = vision.iter().flat_map(Component::iter).chain(decoder.iter());
    let operators = all.flat_map(|variant| variant.plan.operators()).collect();
    let read = |component: &Component<Variant>| -> u64 {
        let wanted = component.wanted();
        wanted.iter().filter_map(|w| checkpoint.tensor(&w.weight.name)).map(|t| t.bytes()).sum()
    };
    let total = vision.as_ref().map_or(0, read) + read(&decoder);
    let mut writing = Writing { checkpoint, staging, progress, done: 0, total, files: Vec::new() };
    let vision = vision.map(|graphs| writing.component("vision", graphs)).transpose()?;
    let decoder = writing.component("decoder", decoder)?;
    let mut files = writing.files;
    files.push(staging.write(TOKENIZER, &checkpoint.tokenizer)?);
    let template = spec.chat_template.unwrap_or(&checkpoint.chat_template);
    files.push(staging.write(CHAT_TEMPLATE, template.as_bytes())?);
    Ok(Written { vision, decoder, operators, files })
}

struct Writing<'a> {
    checkpoint: &'a Checkpoint,
    staging: &'a Staging,
    progress: &'a mut dyn FnMut(Progress),
    done: u64,
    total: u64,
    files: Vec<FileEntry>,
}

impl Writing<'_> {
    /// Streams the weights of a component's graphs once, then writes the graphs.
    fn component(
        &mut self,
        stage: &'static str,
        component: Component<Variant>,
    ) -> Result<Component<Graph>, ExportError> {
        let (weights, wanted) = (format!("{stage}.weights"), component.wanted());
        let tensors = wanted.iter().filter_map(|w| Some((w, self.checkpoint.tensor(&w.weight.name)?)));
        let planned = tensors.map(|(w, t)| w.form.planned(t)).sum::<Result<u64, _>>()?;
        let mut writer = Writer::create(self.staging, &weights, planned)?;
        let mut stored: Vec<(Wanted, Stored)> = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let placed = writer.store(self.checkpoint, &wanted.weight.name, wanted.form)?;
            self.done += self.checkpoint.tensor(&wanted.weight.name).map_or(0, |t| t.bytes());
            stored.push((wanted, placed));
            (self.progress)(Progress { stage, done: self.done, total: self.total });
        }
        self.files.push(writer.finish()?);
        component.try_map(|variant| self.graph(variant, &weights, &stored))
    }

    fn graph(
        &mut self,
        variant: Variant,
        weights: &str,
        stored: &[(Wanted, Stored)],
    ) -> Result<Graph, ExportError> {
        let Variant { file, activations, onnxruntime, plan } = variant;
        let (inputs, outputs) = (plan.inputs.clone(), plan.outputs.clone());
        let model = plan.finish(weights, stored);
        self.files.push(self.staging.write(&file, &model.encode_to_vec())?);
        let (weights, onnxruntime) = (vec![weights.to_owned()], Some(onnxruntime.to_owned()));
        Ok(Graph { file, weights, inputs, outputs, activations, onnxruntime })
    }
}

fn manifest(
    spec: &ModelSpec,
    options: &Options,
    written: Written,
    source: Vec<FileEntry>,
) -> Result<Manifest, ExportError> {
    let folder = || {
        let resolved = options.checkpoint.canonicalize().ok()?;
        Some(resolved.file_name()?.to_string_lossy().into_owned())
    };
    let name =
        options.name.clone().or_else(folder).ok_or_else(|| ExportError::Name(options.checkpoint.clone()))?;
    let lowest = written.decoder.lowest().to_owned();
    Ok(Manifest {
        format: FORMAT,
        name,
        family: spec.family.to_owned(),
        precision: options.precision,
        source,
        vision: spec.vision.as_ref().zip(written.vision).map(|(v, graphs)| vision_component(v, graphs)),
        decoder: decoder_component(&spec.decoder, written.decoder),
        scores: match &spec.decoder.head {
            Head::Vocabulary(_) => None,
            Head::Scores(head) => Some(head.scores.clone()),
        },
        image: spec.image.clone(),
        video: spec.video.clone(),
        tokens: spec.tokens.clone(),
        generation: spec.generation.clone(),
        tokenizer: TOKENIZER.to_owned(),
        chat_template: CHAT_TEMPLATE.to_owned(),
        thinking: spec.thinking,
        default_pack: options.pack.clone().unwrap_or_else(|| spec.default_pack.to_owned()),
        requires: Requirements { onnxruntime: lowest, operators: written.operators.into_iter().collect() },
        files: written.files,
    })
}

fn vision_component(v: &VisionSpec, graphs: Component<Graph>) -> VisionComponent {
    VisionComponent {
        graph: graphs.first,
        variants: graphs.others,
        position_side: match v.position {
            PatchPosition::Table { side, .. } => Some(side as u32),
            PatchPosition::Fixed(_) | PatchPosition::None => None,
        },
        head_dim: v.head_dim as u32,
        rotary_theta: v.rotary_theta,
        window: v.window.map(|side| side as u32),
        deepstack: v.deepstack.len() as u32,
        hidden: v.output as u32,
    }
}

fn decoder_component(d: &DecoderSpec, graphs: Component<Graph>) -> DecoderComponent {
    let attention = d.attention().next();
    DecoderComponent {
        graph: graphs.first,
        variants: graphs.others,
        layers: d.attention().count() as u32,
        kv_heads: attention.map_or(0, |a| a.kv_heads as u32),
        head_dim: attention.map_or(0, |a| a.head_dim as u32),
        hidden: d.hidden as u32,
        vocabulary: d.vocabulary as u32,
        max_positions: d.max_positions as u32,
        position: d.position.clone(),
        recurrent: recurrent(d),
    }
}

fn recurrent(d: &DecoderSpec) -> Option<Recurrent> {
    d.delta_nets().next().map(|first| Recurrent {
        layers: d.delta_nets().count() as u32,
        heads: first.value_heads as u32,
        key_dim: first.key_dim as u32,
        value_dim: first.value_dim as u32,
        window: first.window() as u32,
        channels: first.channels() as u32,
    })
}
