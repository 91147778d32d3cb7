//! A real package small enough to be made by a test: one layer of attention, random weights, every input and
//! output of the contract.
//!
//! ```text
//! ids -> Gather(embedding) --+
//! feature_rows -> mask ------+-> Where -> x -+-> q, k -> RotaryEmbedding -+
//! features + deepstack.0 ----+               +-> v -----------------------+-> GroupQueryAttention -> o
//!                                            x + o -> Gather(logit_rows) -> head -> logits
//! ```

use std::path::{Path, PathBuf};

use prost::Message;
use rewardrt_models::package::onnx::*;
use rewardrt_models::package::*;
use sha2::{Digest, Sha256};

use super::{Library, library};
use crate::load::Package;

/// Rows of the embedding table.
pub(crate) const VOCABULARY: usize = 48;
/// Hidden size, two query heads and one key-value head of eight.
pub(crate) const HIDDEN: usize = 16;
const HEAD: usize = 8;
const WEIGHTS: &str = "decoder.weights";
const GRAPH: &str = "decoder.onnx";

/// The library that the set-up fetched, or the one of `ORT_DYLIB_PATH`.
pub(crate) fn library() -> Library {
    let vendored = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendor/ort").join(library::FILE_NAME);
    library::load(vendored.is_file().then_some(vendored.as_path())).unwrap()
}

/// The rule of the fixture's positions.
pub(crate) fn rule() -> PositionRule {
    PositionRule {
        theta: 1e4,
        rotary_dim: HEAD as u32,
        sections: [2, 1, 1],
        layout: SectionLayout::Interleaved,
        tokens_per_second: None,
    }
}

/// The weight matrices, row-major, for a reference computation.
pub(crate) fn matrix(name: &str) -> ndarray::Array2<f32> {
    let mut weights = Weights::default();
    model(&mut weights);
    let tensor = weights.tensors.iter().find(|t| t.name == name).unwrap();
    let offset: usize = tensor.external("offset").unwrap().parse().unwrap();
    let dim = (tensor.dims[0] as usize, tensor.dims[1] as usize);
    let bytes = weights.bytes[offset..][..4 * dim.0 * dim.1].chunks(4);
    let values = bytes.map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    ndarray::Array2::from_shape_vec(dim, values).unwrap()
}

/// Writes the package into `dir` and opens it.
pub(crate) fn package(dir: &Path) -> Package {
    write(dir);
    Package::open(dir).unwrap()
}

/// Writes the package into `dir` with a graph that takes no ragged rows, and opens it.
pub(crate) fn rectangular(dir: &Path) -> Package {
    write(dir);
    edit_graph(dir, |model| {
        let graph = model.graph.as_mut().unwrap();
        graph.input.retain(|input| input.name != names::QUERY_SEQLENS);
        let attention = graph.node.iter_mut().find(|node| node.op_type == "GroupQueryAttention").unwrap();
        attention.input.truncate(7);
    });
    let mut manifest = Manifest::parse(&std::fs::read(dir.join(MANIFEST_FILE)).unwrap()).unwrap();
    let towers = manifest.vision.as_mut().map(|vision| &mut vision.graph);
    for graph in towers.into_iter().chain([&mut manifest.decoder.graph]) {
        graph.inputs.retain(|port| port.name != names::QUERY_SEQLENS);
    }
    seal(dir, &manifest);
    Package::open(dir).unwrap()
}

/// Writes the package into `dir`.
pub(crate) fn write(dir: &Path) -> Manifest {
    let mut weights = Weights::default();
    let model = model(&mut weights);
    let mut manifest = manifest(&model);
    let files: [(&str, Vec<u8>); 4] = [
        (GRAPH, model.encode_to_vec()),
        (WEIGHTS, weights.bytes),
        ("tokenizer.json", b"{}".to_vec()),
        ("chat_template.jinja", b"{{ messages }}".to_vec()),
    ];
    for (name, bytes) in files {
        std::fs::write(dir.join(name), &bytes).unwrap();
        let entry =
            FileEntry { path: name.into(), size: bytes.len() as u64, sha256: hex(&Sha256::digest(&bytes)) };
        manifest.files.push(entry);
    }
    seal(dir, &manifest);
    manifest
}

/// Writes the manifest.
pub(crate) fn seal(dir: &Path, manifest: &Manifest) -> PathBuf {
    let path = dir.join(MANIFEST_FILE);
    std::fs::write(&path, manifest.print().unwrap()).unwrap();
    path
}

/// Changes the graph of a written package and lists its new bytes, so that only the graph itself is wrong.
pub(crate) fn edit_graph(dir: &Path, edit: impl FnOnce(&mut ModelProto)) {
    let path = dir.join(GRAPH);
    let mut model = ModelProto::decode(std::fs::read(&path).unwrap().as_slice()).unwrap();
    edit(&mut model);
    replace(dir, GRAPH, &model.encode_to_vec());
}

/// Replaces a file of a written package and lists its new bytes.
pub(crate) fn replace(dir: &Path, name: &str, bytes: &[u8]) {
    let mut manifest = Manifest::parse(&std::fs::read(dir.join(MANIFEST_FILE)).unwrap()).unwrap();
    std::fs::write(dir.join(name), bytes).unwrap();
    let entry = manifest.files.iter_mut().find(|f| f.path == name).unwrap();
    (entry.size, entry.sha256) = (bytes.len() as u64, hex(&Sha256::digest(bytes)));
    seal(dir, &manifest);
}

#[derive(Default)]
struct Weights {
    bytes: Vec<u8>,
    tensors: Vec<TensorProto>,
    state: u64,
}

impl Weights {
    /// A matrix of pseudo-random values of about unit variance over the inner dimension.
    fn random(&mut self, name: &str, rows: usize, columns: usize) {
        let scale = 1.7 / (rows as f32).sqrt();
        let values: Vec<f32> = (0..rows * columns).map(|_| scale * self.next()).collect();
        let offset = self.bytes.len();
        self.bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
        self.tensors.push(TensorProto {
            dims: vec![rows as i64, columns as i64],
            data_type: DataType::Float as i32,
            name: name.into(),
            external_data: vec![
                entry("location", WEIGHTS.into()),
                entry("offset", offset.to_string()),
                entry("length", (self.bytes.len() - offset).to_string()),
            ],
            data_location: Some(1),
            ..TensorProto::default()
        });
    }

    fn integers(&mut self, name: &str, values: &[i64]) {
        self.tensors.push(TensorProto {
            dims: vec![values.len() as i64],
            data_type: DataType::Int64 as i32,
            name: name.into(),
            raw_data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            ..TensorProto::default()
        });
    }

    /// Uniform in -1 .. 1, by a linear congruential generator.
    fn next(&mut self) -> f32 {
        self.state = self.state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn node(op: &str, input: &[&str], output: &[&str]) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
    let (input, output): (Vec<String>, Vec<String>) = (owned(input), owned(output));
    NodeProto { name: format!("/{}", output[0]), op_type: op.into(), input, output, ..NodeProto::default() }
}

fn contrib(node: NodeProto, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto { domain: CONTRIB.into(), attribute, ..node }
}

fn nodes() -> Vec<NodeProto> {
    let rotated = |x: &str, y: &str| {
        let turned =
            node("RotaryEmbedding", &[x, names::ROTARY_ROWS, names::ROTARY_COS, names::ROTARY_SIN], &[y]);
        // Four-dimensional input would need transposing; with three dimensions the head size is told.
        let heads = if x == "q" { 2 } else { 1 };
        contrib(turned, vec![AttributeProto::int("num_heads", heads)])
    };
    let attention = [
        "q_turned",
        "k_turned",
        "v",
        "past_key.0",
        "past_value.0",
        names::SEQLENS_K,
        names::TOTAL_SEQUENCE_LENGTH,
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        names::QUERY_SEQLENS,
    ];
    let heads = vec![AttributeProto::int("num_heads", 2), AttributeProto::int("kv_num_heads", 1)];
    vec![
        node("Gather", &["embedding", names::INPUT_IDS], &["embedded"]),
        node("GreaterOrEqual", &[names::FEATURE_ROWS, "zero"], &["is_feature"]),
        node("Unsqueeze", &["is_feature", "last"], &["mask"]),
        node("Max", &[names::FEATURE_ROWS, "zero"], &["feature_index"]),
        node("Add", &[names::FEATURES, "deepstack.0"], &["table"]),
        node("Gather", &["table", "feature_index"], &["placed"]),
        node("Where", &["mask", "placed", "embedded"], &["x"]),
        node("MatMul", &["x", "wq"], &["q"]),
        node("MatMul", &["x", "wk"], &["k"]),
        node("MatMul", &["x", "wv"], &["v"]),
        rotated("q", "q_turned"),
        rotated("k", "k_turned"),
        contrib(node("GroupQueryAttention", &attention, &["o", "present_key.0", "present_value.0"]), heads),
        node("Add", &["x", "o"], &["y"]),
        node("Reshape", &["y", "flat"], &["rows"]),
        node("Gather", &["rows", names::LOGIT_ROWS], &["wanted"]),
        node("MatMul", &["wanted", "head"], &[names::LOGITS]),
    ]
}

fn model(weights: &mut Weights) -> ModelProto {
    weights.random("embedding", VOCABULARY, HIDDEN);
    weights.random("wq", HIDDEN, 2 * HEAD);
    weights.random("wk", HIDDEN, HEAD);
    weights.random("wv", HIDDEN, HEAD);
    weights.random("head", HIDDEN, VOCABULARY);
    weights.integers("zero", &[0]);
    weights.integers("last", &[-1]);
    weights.integers("flat", &[-1, HIDDEN as i64]);
    let (inputs, outputs) = ports();
    let graph = GraphProto {
        node: nodes(),
        name: "decoder".into(),
        initializer: weights.tensors.clone(),
        input: inputs.iter().map(value).collect(),
        output: outputs.iter().map(value).collect(),
    };
    let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
    ModelProto {
        ir_version: IR_VERSION,
        producer_name: "fixture".into(),
        graph: Some(graph),
        opset_import: vec![opset("", OPSET), opset(CONTRIB, 1)],
    }
}

fn ports() -> (Vec<Port>, Vec<Port>) {
    let named = |n: &str| Dim::Named(n.into());
    let fixed = |n: usize| Dim::Fixed(n as u64);
    let port = |name: &str, dtype, shape: &[Dim]| Port { name: name.into(), dtype, shape: shape.to_vec() };
    let (b, grid) = ([named("b")], [named("b"), named("s")]);
    let (table, angles) = ([named("f"), fixed(HIDDEN)], [named("t"), fixed(HEAD / 2)]);
    let cache = [named("b"), fixed(1), named("c"), fixed(HEAD)];
    let inputs = vec![
        port(names::INPUT_IDS, Dtype::I64, &grid),
        port(names::FEATURE_ROWS, Dtype::I64, &grid),
        port(names::FEATURES, Dtype::F32, &table),
        port("deepstack.0", Dtype::F32, &table),
        port(names::ROTARY_COS, Dtype::F32, &angles),
        port(names::ROTARY_SIN, Dtype::F32, &angles),
        port(names::ROTARY_ROWS, Dtype::I64, &grid),
        port(names::SEQLENS_K, Dtype::I32, &b),
        port(names::TOTAL_SEQUENCE_LENGTH, Dtype::I32, &[]),
        port(names::QUERY_SEQLENS, Dtype::I32, &b),
        port(names::LOGIT_ROWS, Dtype::I64, &[named("n")]),
        port("past_key.0", Dtype::F32, &cache),
        port("past_value.0", Dtype::F32, &cache),
    ];
    let outputs = vec![
        port(names::LOGITS, Dtype::F32, &[named("n"), fixed(VOCABULARY)]),
        port("present_key.0", Dtype::F32, &cache),
        port("present_value.0", Dtype::F32, &cache),
    ];
    (inputs, outputs)
}

fn value(port: &Port) -> ValueInfoProto {
    let dim = |d: &Dim| match d {
        Dim::Fixed(size) => Dimension { dim_value: Some(*size as i64), dim_param: None },
        Dim::Named(name) => Dimension { dim_value: None, dim_param: Some(name.clone()) },
    };
    let elem_type = match port.dtype {
        Dtype::F32 => DataType::Float,
        Dtype::F16 => DataType::Float16,
        Dtype::Bf16 => DataType::Bfloat16,
        Dtype::I64 => DataType::Int64,
        Dtype::I32 => DataType::Int32,
    } as i32;
    let shape = Some(TensorShapeProto { dim: port.shape.iter().map(dim).collect() });
    let tensor_type = Some(TensorType { elem_type, shape });
    ValueInfoProto { name: port.name.clone(), r#type: Some(TypeProto { tensor_type }) }
}

fn manifest(model: &ModelProto) -> Manifest {
    let (inputs, outputs) = ports();
    let graph = |file: &str| Graph {
        file: file.into(),
        weights: vec![WEIGHTS.into()],
        inputs: inputs.clone(),
        outputs: outputs.clone(),
        activations: Activations::F32,
        onnxruntime: None,
    };
    let domain = |n: &NodeProto| if n.domain.is_empty() { "ai.onnx".to_owned() } else { n.domain.clone() };
    let body = model.graph.as_ref().unwrap();
    let mut operators: Vec<_> = body.node.iter().map(|n| format!("{}::{}", domain(n), n.op_type)).collect();
    operators.sort();
    operators.dedup();
    Manifest {
        format: FORMAT,
        name: "fixture".into(),
        family: "fixture".into(),
        precision: Precision::Fp32,
        source: Vec::new(),
        vision: Some(VisionComponent {
            graph: graph(GRAPH),
            variants: Vec::new(),
            position_side: None,
            head_dim: 8,
            rotary_theta: Some(1e4),
            window: None,
            deepstack: 1,
            hidden: HIDDEN as u32,
        }),
        scores: None,
        decoder: DecoderComponent {
            graph: graph(GRAPH),
            variants: Vec::new(),
            layers: 1,
            kv_heads: 1,
            head_dim: HEAD as u32,
            hidden: HIDDEN as u32,
            vocabulary: VOCABULARY as u32,
            max_positions: 1 << 20,
            position: rule(),
            recurrent: None,
        },
        image: Some(ImageProcessing {
            patch_size: 2,
            temporal_patch_size: 2,
            merge_size: 2,
            min_pixels: 16,
            max_pixels: 4096,
            mean: [0.5; 3],
            std: [0.5; 3],
            rescale_factor: 1.0 / 255.0,
            resample: Resample::BicubicTorch,
            tiling: None,
        }),
        video: None,
        tokens: SpecialTokens { image: Some(5), video: None, eos: vec![1] },
        generation: GenerationDefaults {
            do_sample: false,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            repetition_penalty: 1.0,
        },
        tokenizer: "tokenizer.json".into(),
        chat_template: "chat_template.jinja".into(),
        thinking: None,
        default_pack: "fixture".into(),
        requires: Requirements { onnxruntime: "1.32.0".into(), operators },
        files: Vec::new(),
    }
}
