//! `rewardrt inspect`: verify a package, and say what is in it.

use std::process::ExitCode;

use rewardrt::load::Package;
use rewardrt::session::{OrtDecoder, OrtVision, Placement, SessionOptions, library};
use rewardrt_models::package::{Dim, Graph, Manifest, Port};
use serde_json::{Value, json};

use super::Context;
use crate::failure::Failure;
use crate::output::{bytes, plain, table};

const EXAMPLES: &str = "\
Every file is read and compared with its SHA-256; a package that is not whole is
refused with exit code 3.

Examples:
  rewardrt inspect --model judge
  rewardrt inspect --model judge --nodes --provider cuda,cpu
  rewardrt inspect --model judge --json";

/// Arguments of `inspect`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InspectArgs {
    /// Open the sessions too, and count the nodes that each provider runs
    #[arg(long)]
    nodes: bool,
}

/// Verifies the package and prints its summary.
pub(crate) fn run(context: &Context<'_>, args: &InspectArgs) -> Result<ExitCode, Failure> {
    let model = context.model()?;
    let package = Package::open(&model).map_err(rewardrt::Error::from)?;
    let placements = if args.nodes { Some(placements(context, &package)?) } else { None };
    let document = json!({
        "path": model,
        "package_sha256": package.sha256(),
        "bytes": total(package.manifest()),
        "manifest": package.manifest(),
        "placement": placements.as_deref().map(placement_document),
    });
    context.output.result(&document, || text(&package, placements.as_deref()))?;
    Ok(ExitCode::SUCCESS)
}

/// Opens each component, with the smallest cache that a decoder takes.
fn placements(context: &Context<'_>, package: &Package) -> Result<Vec<Placement>, Failure> {
    let library = library::load(context.global.ort_lib.as_deref()).map_err(rewardrt::Error::from)?;
    let options = SessionOptions {
        providers: context.global.provider.clone(),
        threads: context.threads(),
        ..SessionOptions::default()
    };
    let vision = OrtVision::open(&library, package, &options).map_err(rewardrt::Error::from)?;
    let decoder = OrtDecoder::open(&library, package, &options, (1, 1)).map_err(rewardrt::Error::from)?;
    Ok(vision.iter().map(OrtVision::placement).chain([decoder.placement()]).cloned().collect())
}

fn placement_document(placements: &[Placement]) -> Value {
    let entry = |p: &Placement| {
        json!({ "component": p.component, "provider": p.provider.name(), "graph": p.graph,
            "nodes": p.counts(), "operators": p.nodes })
    };
    placements.iter().map(entry).collect()
}

/// Bytes of all listed files.
pub(crate) fn total(manifest: &Manifest) -> u64 {
    manifest.files.iter().map(|f| f.size).sum()
}

fn text(package: &Package, placements: Option<&[Placement]>) -> String {
    let m = package.manifest();
    let rows = [
        ["name", plain(&m.name).as_ref()].map(str::to_owned),
        ["family", plain(&m.family).as_ref()].map(str::to_owned),
        ["precision", m.precision.name()].map(str::to_owned),
        ["sha256", package.sha256()].map(str::to_owned),
        ["size".to_owned(), format!("{} in {} files, all verified", bytes(total(m)), m.files.len())],
        ["source".to_owned(), format!("{} checkpoint files, {}", m.source.len(), bytes(source_bytes(m)))],
        ["pack", plain(&m.default_pack).as_ref()].map(str::to_owned),
        [
            "context".to_owned(),
            format!("{} tokens, vocabulary {}", m.decoder.max_positions, m.decoder.vocabulary),
        ],
        ["needs".to_owned(), format!("ONNX Runtime {}", plain(&m.requires.onnxruntime))],
    ];
    let scores = m.scores.as_ref().map(|scores| {
        let names = scores.scores.iter().map(|score| score.name.as_str()).chain(scores.total.as_deref());
        ["scores".to_owned(), plain(&names.collect::<Vec<_>>().join(", ")).into_owned()]
    });
    let rows = rows.into_iter().chain(scores);
    let mut out: String = rows.map(|[key, value]| format!("{key:<10} {value}\n")).collect();
    for (name, graphs) in graphs(m) {
        out += &graph_text(name, &graphs, &m.requires.onnxruntime);
    }
    let files: Vec<_> = m.files.iter().map(|f| [f.path.clone(), bytes(f.size), f.sha256.clone()]).collect();
    out += "\n";
    out += &table(["file", "size", "sha256"], &files);
    for p in placements.into_iter().flatten() {
        out += &format!("\n{} runs {} on {}", p.component, p.graph, p.provider);
        for (name, operators) in &p.nodes {
            let each: Vec<_> =
                operators.iter().map(|(operator, count)| format!("{operator} {count}")).collect();
            let count: usize = operators.values().sum();
            out += &format!("\n  {count} nodes on {name}: {}", each.join(", "));
        }
    }
    out
}

fn source_bytes(manifest: &Manifest) -> u64 {
    manifest.source.iter().map(|f| f.size).sum()
}

/// Each component with its graphs, that for the processor and the newest library first.
fn graphs(manifest: &Manifest) -> impl Iterator<Item = (&'static str, Vec<&Graph>)> {
    let vision: Vec<_> = manifest.vision_graphs().collect();
    let decoder = manifest.decoder_graphs().collect();
    [("vision", vision), ("decoder", decoder)].into_iter().filter(|(_, graphs)| !graphs.is_empty())
}

/// The first graph with its ports, and what the others are for.
fn graph_text(name: &str, graphs: &[&Graph], lowest: &str) -> String {
    let Some((graph, others)) = graphs.split_first() else { return String::new() };
    let mut out = format!("\n{name}: {} over {}\n", graph.file, graph.weights.join(", "));
    for graph in others {
        let floats = format!("{:?}", graph.activations).to_lowercase();
        let version = plain(graph.onnxruntime.as_deref().unwrap_or(lowest)).into_owned();
        out += &format!("  or  {}: computes in {floats}, from ONNX Runtime {version} on\n", graph.file);
    }
    for (side, ports) in [("in ", &graph.inputs), ("out", &graph.outputs)] {
        for (ports, first) in grouped(ports) {
            out += &format!("  {side} {ports}  {}\n", shape(first));
        }
    }
    out
}

/// Ports that differ only in a number at the end (`past_key.0`, `past_key.1`, ..) as one line.
fn grouped(ports: &[Port]) -> Vec<(String, &Port)> {
    let mut out: Vec<(String, &Port, usize)> = Vec::new();
    for port in ports {
        let stem = port.name.trim_end_matches(|c: char| c.is_ascii_digit());
        match out.iter_mut().find(|(s, first, _)| {
            stem.ends_with('.') && s == stem && (first.dtype, &first.shape) == (port.dtype, &port.shape)
        }) {
            Some((_, _, count)) => *count += 1,
            None => out.push((stem.to_owned(), port, 1)),
        }
    }
    out.into_iter()
        .map(|(stem, first, count)| match count {
            1 => (plain(&first.name).into_owned(), first),
            _ => (format!("{}* ({count})", plain(&stem)), first),
        })
        .collect()
}

fn shape(port: &Port) -> String {
    let dims: Vec<_> = port
        .shape
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => size.to_string(),
            Dim::Named(name) => plain(name).into_owned(),
        })
        .collect();
    format!("{} [{}]", format!("{:?}", port.dtype).to_lowercase(), dims.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rewardrt_models::package::Dtype;

    fn check(names: &[&str], expected: &[&str]) {
        let shape = vec![Dim::Named("b".to_owned()), Dim::Fixed(4)];
        let port = |name: &&str| Port { name: (*name).to_owned(), dtype: Dtype::F32, shape: shape.clone() };
        let ports: Vec<_> = names.iter().map(port).collect();
        let got: Vec<_> = grouped(&ports).into_iter().map(|(text, _)| text).collect();
        assert_eq!(got, expected);
        assert_eq!(super::shape(&ports[0]), "f32 [b, 4]");
    }

    #[test]
    fn numbered_ports_are_one_line_and_others_stand_alone() {
        check(&["a", "k.0", "v.0", "k.1", "v.1"], &["a", "k.* (2)", "v.* (2)"]);
        check(&["k.0", "seqlens1", "seqlens2"], &["k.0", "seqlens1", "seqlens2"]);
    }
}
