//! The graphs of a package that the processor's newest library does not take: those for older libraries, and those that
//! compute in 16-bit floats, for cards. All of them that a processor can run are run here.

// The measured differences are printed.
#![allow(clippy::print_stdout)]

mod drive;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use drive::{Exported, Prompt, Sessions};
use prost::Message;
use rewardrt::Judge;
use rewardrt::judge::{Generate, Sampling};
use rewardrt::load::Package;
use rewardrt::media::PixelRule;
use rewardrt::media::video::Isolation;
use rewardrt::session::{OrtDecoder, OrtVision, SessionOptions, library};
use rewardrt_models::package::onnx::{DataType, ModelProto};
use rewardrt_models::package::{Activations, Graph, MANIFEST_FILE, Manifest, Precision, names};
use rewardrt_tests::{Golden, Result, golden_cases, golden_models};

/// Margin under which a greedy step of 32-bit floats is open.
const MARGIN: f32 = 2e-3;
/// The same for 16-bit floats, which keep 11 bits: the logits of the goldens reach about 32, where a unit in the last
/// place is 0.03, and a logit gathers a few of them on its way.
const HALF_MARGIN: f32 = 0.15;

/// The golden models whose decoders only attend; delta rules have one graph.
fn attending() -> Result<Vec<std::path::PathBuf>> {
    let recurrent = |model: &Path| {
        let package = Exported::new(&model.join("checkpoint"), Precision::Fp32)?;
        Ok::<_, Box<dyn std::error::Error>>(manifest(&package.path())?.decoder.recurrent.is_some())
    };
    let mut models = golden_models()?;
    let mut kept = Vec::new();
    for model in models.drain(..) {
        if !recurrent(&model)? {
            kept.push(model);
        }
    }
    Ok(kept)
}

fn manifest(package: &Path) -> Result<Manifest> {
    Ok(Manifest::parse(&fs::read(package.join(MANIFEST_FILE))?)?)
}

/// Makes the package one that holds the graphs that fit only.
fn keep(package: &Exported, fits: impl Fn(&Graph) -> bool) -> Result<()> {
    let path = package.path().join(MANIFEST_FILE);
    let mut manifest = Manifest::parse(&fs::read(&path)?)?;
    let mut graphs: Vec<Graph> = manifest.decoder_graphs().filter(|g| fits(g)).cloned().collect();
    manifest.decoder.graph = graphs.remove(0);
    manifest.decoder.variants = graphs;
    Ok(fs::write(path, manifest.print()?)?)
}

fn takes(graph: &Graph, name: &str) -> bool {
    graph.inputs.iter().any(|port| port.name == name)
}

/// The words of a case as far as its margins tell, and how many steps they are.
fn check_words(case: &Golden, judge: &Judge, margin: f32) -> Result<usize> {
    let (expected, margins) = (case.i64("new_ids")?, case.f32("margins")?);
    let open = margins.iter().position(|&m| m < margin).unwrap_or(expected.len());
    let (chat, pixels) = (drive::chat(case)?, PixelRule::Reference);
    let request = Generate { chat, sampling: Sampling::Greedy, max_new_tokens: expected.len(), pixels };
    let got = judge.generate(&request)?;
    let ids: Vec<i64> = got.new_ids.iter().map(|&id| i64::from(id)).collect();
    assert_eq!(ids[..open.min(ids.len())], expected[..open], "{} up to step {open}", case.name);
    Ok(open)
}

#[test]
fn graphs_for_older_libraries_give_the_same_words() -> Result<()> {
    library::load(None)?;
    for model in attending()? {
        let package = Exported::new(&model.join("checkpoint"), Precision::Fp32)?;
        keep(&package, |graph| !takes(graph, names::QUERY_SEQLENS))?;
        let judge = Judge::builder().isolation(Isolation::InProcess).open(&package.path())?;
        for case in golden_cases(&model)? {
            check_words(&case, &judge, MARGIN).map_err(|e| format!("{}: {e}", model.display()))?;
        }
    }
    Ok(())
}

/// Relative rms difference.
fn difference(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let sum = |pick: &dyn Fn(f64, f64) -> f64| -> f64 {
        got.iter().zip(expected).map(|(a, b)| pick(f64::from(*a), f64::from(*b))).sum()
    };
    (sum(&|a, b| (a - b).powi(2)) / sum(&|_, b| b * b)).sqrt()
}

/// First logits of a case in these floats, whatever the library takes.
fn first_logits(package: &Package, case: &Golden, activations: Activations) -> Result<Vec<f32>> {
    let library = library::load(None)?;
    let options = SessionOptions { activations: Some(activations), ..SessionOptions::default() };
    let vision = OrtVision::open(&library, package, &options)?.ok_or("no vision tower")?;
    let decoder = OrtDecoder::open(&library, package, &options, (1, 512))?;
    let mut sessions = Sessions { manifest: package.manifest().clone(), vision, decoder };
    let prompt = Prompt::of(case, &sessions.manifest, &mut sessions.vision)?;
    prompt.first_logits(&mut sessions)
}

/// Graphs in halves against the same package's graphs in 32 bits: what is left is the rounding of activations.
/// Bounds are a half over what was measured on the committed models.
#[test]
fn graphs_in_halves_differ_from_those_in_floats_by_their_rounding() -> Result<()> {
    for model in attending()? {
        for (precision, bound) in [(Precision::Fp16, 0.028), (Precision::Int8, 0.1), (Precision::Int4, 0.085)]
        {
            let exported = Exported::new(&model.join("checkpoint"), precision)?;
            let package = Package::open(&exported.path())?;
            let halves = package.manifest().decoder_graphs().any(|g| g.activations == Activations::F16);
            if !halves {
                // A checkpoint of brain floats: its graphs for cards are in them, which no processor computes in.
                assert_ne!(precision, Precision::Fp16);
                continue;
            }
            let mut most = 0.0_f64;
            for case in golden_cases(&model)?.iter().take(2) {
                let floats = first_logits(&package, case, Activations::F32)?;
                most = most.max(difference(&first_logits(&package, case, Activations::F16)?, &floats));
            }
            println!("{} {} in halves: relative rms {most:.4}", model.display(), precision.name());
            // A NaN is not within anything.
            assert!(most <= bound, "{} {}: {most}", model.display(), precision.name());
        }
    }
    Ok(())
}

/// Only what the CUDA provider of ONNX Runtime 1.31.1 has a kernel for in both halves, by the names of the kernel
/// classes in its library; integers and shapes stand under it too.
const ON_CARDS: [&str; 29] = [
    "ai.onnx::Add",
    "ai.onnx::Cast",
    "ai.onnx::Concat",
    "ai.onnx::Expand",
    "ai.onnx::Gather",
    "ai.onnx::Gelu",
    "ai.onnx::Gemm",
    "ai.onnx::GreaterOrEqual",
    "ai.onnx::Identity",
    "ai.onnx::LayerNormalization",
    "ai.onnx::Max",
    "ai.onnx::Mul",
    "ai.onnx::Range",
    "ai.onnx::ReduceSum",
    "ai.onnx::Relu",
    "ai.onnx::Reshape",
    "ai.onnx::Shape",
    "ai.onnx::Sigmoid",
    "ai.onnx::SimplifiedLayerNormalization",
    "ai.onnx::Split",
    "ai.onnx::Unsqueeze",
    "ai.onnx::Where",
    "com.microsoft::GatherBlockQuantized",
    "com.microsoft::GroupQueryAttention",
    "com.microsoft::MatMulNBits",
    "com.microsoft::MultiHeadAttention",
    "com.microsoft::QuickGelu",
    "com.microsoft::RotaryEmbedding",
    "com.microsoft::SkipSimplifiedLayerNormalization",
];
/// What the provider leaves to the processor: what a shape is asked for.
const SHAPES: [&str; 3] = ["ai.onnx::Shape", "ai.onnx::Range", "ai.onnx::Expand"];

fn model(package: &Path, graph: &Graph) -> Result<ModelProto> {
    Ok(ModelProto::decode(fs::read(package.join(&graph.file))?.as_slice())?)
}

fn operators(model: &ModelProto) -> BTreeSet<String> {
    let domain = |name: &str| if name.is_empty() { "ai.onnx" } else { name }.to_owned();
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    nodes.map(|node| format!("{}::{}", domain(&node.domain), node.op_type)).collect()
}

#[test]
fn graphs_for_cards_use_only_what_cards_have_and_ask_the_processor_for_nothing_in_the_decoder() -> Result<()>
{
    for model_home in attending()? {
        for precision in [Precision::Fp16, Precision::Bf16, Precision::Int8, Precision::Int4] {
            let package = Exported::new(&model_home.join("checkpoint"), precision)?;
            let manifest = Package::open(&package.path())?.manifest().clone();
            let cards = |graphs: Vec<&Graph>| -> Vec<Graph> {
                graphs.into_iter().filter(|g| g.activations != Activations::F32).cloned().collect()
            };
            let decoders = cards(manifest.decoder_graphs().collect());
            let towers = cards(manifest.vision_graphs().collect());
            assert_eq!((decoders.len(), towers.len()), (2, 1), "{}", precision.name());
            for graph in decoders.iter().chain(&towers) {
                let found = operators(&model(&package.path(), graph)?);
                let unknown: Vec<_> =
                    found.iter().filter(|name| !ON_CARDS.contains(&name.as_str())).collect();
                assert!(unknown.is_empty(), "{} uses {unknown:?}", graph.file);
            }
            for graph in &decoders {
                let found = operators(&model(&package.path(), graph)?);
                assert!(SHAPES.iter().all(|name| !found.contains(*name)), "{} asks for shapes", graph.file);
                assert!(takes(graph, names::BATCH_SHAPE), "{}", graph.file);
            }
        }
    }
    Ok(())
}

#[test]
fn all_graphs_of_a_component_share_its_weights() -> Result<()> {
    for model_home in attending()? {
        let package = Exported::new(&model_home.join("checkpoint"), Precision::Int4)?;
        let manifest = manifest(&package.path())?;
        let first = model(&package.path(), &manifest.decoder.graph)?;
        let placed = |model: &ModelProto| -> BTreeSet<(String, String)> {
            let all = model.graph.iter().flat_map(|graph| &graph.initializer);
            let outside = all.filter(|tensor| !tensor.external_data.is_empty());
            outside.map(|t| (t.name.clone(), t.external("offset").unwrap_or_default().to_owned())).collect()
        };
        assert!(placed(&first).len() > 10);
        for graph in &manifest.decoder.variants {
            let other = model(&package.path(), graph)?;
            assert_eq!(placed(&other), placed(&first), "{}", graph.file);
            assert_eq!(graph.weights, manifest.decoder.graph.weights);
        }
    }
    Ok(())
}

#[test]
fn brain_floats_are_stored_as_they_are_and_run_on_a_processor() -> Result<()> {
    library::load(None)?;
    for model_home in attending()? {
        let package = Exported::new(&model_home.join("checkpoint"), Precision::Bf16)?;
        let graph = manifest(&package.path())?.decoder.graph;
        let model = model(&package.path(), &graph)?;
        let halves = DataType::Bfloat16 as i32;
        let stored = model.graph.iter().flat_map(|g| &g.initializer).filter(|t| t.data_type == halves);
        assert!(stored.count() > 5, "weights are stored as brain floats");
        let judge = Judge::builder().isolation(Isolation::InProcess).open(&package.path())?;
        for case in golden_cases(&model_home)?.iter().take(2) {
            // Eight bits of a weight: what 32-bit checkpoints lose shows sooner than the rounding of a half.
            check_words(case, &judge, 4.0 * HALF_MARGIN)?;
        }
    }
    Ok(())
}
