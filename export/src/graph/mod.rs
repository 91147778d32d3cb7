//! Spec to ONNX. One block a file: [`linear`], [`norm`], [`attention`], [`delta`], [`mlp`], [`window`], [`vision`],
//! [`decoder`].
//!
//! A [`Builder`] collects nodes and the weights that they want; nothing is read from the checkpoint here. Hidden
//! states travel as rows `[tokens, width]`, so a weight `[outputs, inputs]` is used as it is stored
//! (`Gemm` with `transB`), and never transposed.

mod attention;
mod decoder;
mod delta;
mod linear;
mod mlp;
mod norm;
mod precision;
mod vision;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use rewardrt_models::package::onnx::{
    AttributeProto, CONTRIB, DataType, Dimension, GraphProto, IR_VERSION, ModelProto, NodeProto, OPSET,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorType, TypeProto,
    ValueInfoProto,
};
use rewardrt_models::package::{Activations, Dim, Dtype, Port};
use rewardrt_models::spec::Weight;

pub use decoder::{Rows, decoder};
pub use precision::{BLOCK, Policy};
pub use vision::vision;

use crate::weights::{Store, Stored, Written};

/// A weight that a graph wants, and the form it wants it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The tensor of the checkpoint.
    pub weight: Weight,
    /// How it is stored.
    pub form: Store,
}

/// A graph without its weights: what to write, and what to call it.
#[derive(Debug)]
pub struct Plan {
    /// Nodes, inputs, outputs and small constants.
    graph: GraphProto,
    /// Weights in the order of their first use.
    pub wanted: Vec<Wanted>,
    /// Inputs, for the manifest.
    pub inputs: Vec<Port>,
    /// Outputs, for the manifest.
    pub outputs: Vec<Port>,
}

impl Plan {
    /// Operators used, as `domain::Name`.
    pub fn operators(&self) -> BTreeSet<String> {
        let domain = |d: &str| if d.is_empty() { "ai.onnx" } else { d }.to_owned();
        self.graph.node.iter().map(|n| format!("{}::{}", domain(&n.domain), n.op_type)).collect()
    }

    /// The model, once every wanted weight has its place in `file`.
    pub fn finish(mut self, file: &str, stored: &[(Wanted, Stored)]) -> ModelProto {
        let read: BTreeSet<&str> =
            self.graph.node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
        let mut initializers = Vec::new();
        for wanted in &self.wanted {
            let Some((_, stored)) = stored.iter().find(|(of, _)| of == wanted) else { continue };
            let name = &wanted.weight.name;
            let data = data_name(name, wanted.form);
            initializers.push(placed(table_name(&data), &stored.data.as_matrix(), file));
            initializers.push(placed(data, &stored.data, file));
            initializers.extend(stored.scales.as_ref().map(|s| placed(scale_name(name), s, file)));
        }
        initializers.retain(|tensor| read.contains(tensor.name.as_str()));
        self.graph.initializer.extend(initializers);
        let import = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: "rewardrt".to_owned(),
            graph: Some(self.graph),
            opset_import: vec![import("", OPSET), import(CONTRIB, 1)],
        }
    }
}

/// An initializer whose bytes stand in the weights file.
fn placed(name: String, written: &Written, file: &str) -> TensorProto {
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
    TensorProto {
        dims: written.dims.clone(),
        data_type: written.dtype as i32,
        name,
        external_data: vec![
            entry("location", file.to_owned()),
            entry("offset", written.external.offset.to_string()),
            entry("length", written.external.length.to_string()),
        ],
        data_location: Some(1),
        ..TensorProto::default()
    }
}

/// Name of the initializer that holds a weight's data. A tied table may be wanted in two forms.
fn data_name(weight: &str, form: Store) -> String {
    match form {
        Store::Int8 { .. } => format!("{weight}.q8"),
        Store::Int4 { .. } => format!("{weight}.q4"),
        Store::Columns => format!("{weight}.q8c"),
        Store::F32 | Store::F16 | Store::Bf16 | Store::AsIs => weight.to_owned(),
    }
}

/// Name of the same bytes as a matrix, a row an output: what rows are looked up in.
fn table_name(data: &str) -> String {
    format!("{data}.rows")
}

/// Name of the initializer that holds a quantized weight's scales.
fn scale_name(weight: &str) -> String {
    format!("{weight}.scale")
}

/// What of a row of heads is rotated: the first `rotary_dim` values of each head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotation {
    heads: usize,
    head_dim: usize,
    rotary_dim: usize,
}

/// Collects nodes. A value is named after the node that makes it, and a node after the path of its weight.
pub(crate) struct Builder {
    policy: Policy,
    graph: GraphProto,
    wanted: Vec<Wanted>,
    casts: BTreeMap<String, String>,
    /// The rounded form of a value: [`linear`].
    rounded: BTreeMap<String, linear::Rounded>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    constants: BTreeSet<String>,
}

impl Builder {
    pub(crate) fn new(name: &str, policy: Policy) -> Builder {
        Builder {
            policy,
            graph: GraphProto { name: name.to_owned(), ..GraphProto::default() },
            wanted: Vec::new(),
            casts: BTreeMap::new(),
            rounded: BTreeMap::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            constants: BTreeSet::new(),
        }
    }

    /// A node of the default domain with one output, which is named like the node.
    pub(crate) fn op(
        &mut self,
        kind: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        self.node("", kind, name, inputs, &[name], attributes);
        name.to_owned()
    }

    /// A node of the contrib domain with one output, which is named like the node.
    pub(crate) fn contrib(
        &mut self,
        kind: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        self.node(CONTRIB, kind, name, inputs, &[name], attributes);
        name.to_owned()
    }

    /// A node with any number of outputs.
    pub(crate) fn node(
        &mut self,
        domain: &str,
        kind: &str,
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        self.graph.node.push(NodeProto {
            input: own(inputs),
            output: own(outputs),
            name: format!("/{name}"),
            op_type: kind.to_owned(),
            attribute,
            domain: domain.to_owned(),
        });
    }

    /// A small integer constant, stored in the graph once.
    pub(crate) fn ints(&mut self, name: &str, dims: &[i64], values: &[i64]) -> String {
        self.constant(name, dims, DataType::Int64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// A small float constant, stored in the graph once.
    pub(crate) fn floats(&mut self, name: &str, dims: &[i64], values: &[f32]) -> String {
        self.constant(name, dims, DataType::Float, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// A small constant of any type, stored in the graph once.
    pub(crate) fn constant(&mut self, name: &str, dims: &[i64], of: DataType, bytes: Vec<u8>) -> String {
        if self.constants.insert(name.to_owned()) {
            self.graph.initializer.push(TensorProto {
                dims: dims.to_vec(),
                data_type: of as i32,
                name: name.to_owned(),
                raw_data: Some(bytes),
                ..TensorProto::default()
            });
        }
        name.to_owned()
    }

    /// The initializer of a weight in the given form, wanted once however often it is used.
    pub(crate) fn weight(&mut self, weight: &Weight, form: Store) -> String {
        let wanted = Wanted { weight: weight.clone(), form };
        if !self.wanted.contains(&wanted) {
            self.wanted.push(wanted);
        }
        data_name(&weight.name, form)
    }

    /// The codes of a weight in blocks as a matrix, which rows are looked up in. They are stored once, also where a product
    /// has the same weight.
    pub(crate) fn table(&mut self, weight: &Weight, form: Store) -> String {
        table_name(&self.weight(weight, form))
    }

    /// A weight as the floats that the graph computes in, whatever its form: the cast of a constant is folded when the
    /// graph is loaded.
    pub(crate) fn float_weight(&mut self, weight: &Weight, form: Store) -> String {
        let stored = self.weight(weight, form);
        if self.computes_in(form) { stored } else { self.cast_once(&stored) }
    }

    /// Whether weights of this form are the floats that the graph computes in.
    pub(crate) fn computes_in(&self, form: Store) -> bool {
        matches!(
            (form, self.policy.activations),
            (Store::F32, Activations::F32)
                | (Store::F16, Activations::F16)
                | (Store::Bf16, Activations::Bf16)
        )
    }

    /// 32-bit floats as the floats that the graph computes in.
    pub(crate) fn narrowed(&mut self, value: &str) -> String {
        if self.policy.activations == Activations::F32 { value.to_owned() } else { self.cast_once(value) }
    }

    /// A value as the floats that the graph computes in, converted once however often it is used.
    fn cast_once(&mut self, value: &str) -> String {
        if let Some(cast) = self.casts.get(value) {
            return cast.clone();
        }
        let cast = self.cast_float(&format!("{value}.float"), value);
        self.casts.insert(value.to_owned(), cast.clone());
        cast
    }

    /// A number as a float that the graph computes in.
    pub(crate) fn cast_float(&mut self, name: &str, value: &str) -> String {
        let to = element(self.policy.activations.dtype());
        self.op("Cast", name, &[value], vec![AttributeProto::int("to", to as i64)])
    }

    /// The output `name` of the graph, which is of 32-bit floats, from what it computed.
    pub(crate) fn widened(&mut self, name: &str, value: &str) -> String {
        match self.policy.activations {
            Activations::F32 => self.op("Identity", name, &[value], vec![]),
            Activations::F16 | Activations::Bf16 => {
                let to = vec![AttributeProto::int("to", DataType::Float as i64)];
                self.op("Cast", name, &[value], to)
            }
        }
    }

    /// `[tokens, width]` from anything whose last dimensions hold `width` values a token.
    pub(crate) fn rows(&mut self, name: &str, value: &str, width: usize) -> String {
        let shape = self.ints(&format!("shape.rows.{width}"), &[2], &[-1, width as i64]);
        self.op("Reshape", name, &[value, &shape], vec![])
    }

    pub(crate) fn input(&mut self, name: &str, dtype: Dtype, shape: Vec<Dim>) -> String {
        self.graph.input.push(value_info(name, dtype, &shape));
        self.inputs.push(Port { name: name.to_owned(), dtype, shape });
        name.to_owned()
    }

    pub(crate) fn output(&mut self, name: &str, dtype: Dtype, shape: Vec<Dim>) {
        self.graph.output.push(value_info(name, dtype, &shape));
        self.outputs.push(Port { name: name.to_owned(), dtype, shape });
    }

    pub(crate) fn finish(self) -> Plan {
        Plan { graph: self.graph, wanted: self.wanted, inputs: self.inputs, outputs: self.outputs }
    }
}

/// A fixed dimension.
pub(crate) fn fixed(n: usize) -> Dim {
    Dim::Fixed(n as u64)
}

/// A dimension chosen at run time.
pub(crate) fn named(name: &str) -> Dim {
    Dim::Named(name.to_owned())
}

/// An element type in the words of ONNX.
fn element(dtype: Dtype) -> DataType {
    match dtype {
        Dtype::F32 => DataType::Float,
        Dtype::F16 => DataType::Float16,
        Dtype::Bf16 => DataType::Bfloat16,
        Dtype::I64 => DataType::Int64,
        Dtype::I32 => DataType::Int32,
    }
}

fn value_info(name: &str, dtype: Dtype, shape: &[Dim]) -> ValueInfoProto {
    let elem_type = element(dtype) as i32;
    let dim = shape
        .iter()
        .map(|d| match d {
            Dim::Fixed(n) => Dimension { dim_value: Some(*n as i64), dim_param: None },
            Dim::Named(n) => Dimension { dim_value: None, dim_param: Some(n.clone()) },
        })
        .collect();
    let tensor_type = TensorType { elem_type, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}
