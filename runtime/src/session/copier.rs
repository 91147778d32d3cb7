//! A graph of one node that copies bytes where another session computes.
//!
//! ```text
//! from -> Identity -> to
//! ```
//! Neither the runtime's interface nor its binding copies within a device's memory, but a bound input and output of
//! this graph do, with the kernel of whatever provider it was opened on.

use std::ffi::CStr;

use ort::session::Session;
use prost::Message;
use rewardrt_models::package::onnx::{
    DataType, Dimension, GraphProto, IR_VERSION, ModelProto, NodeProto, OPSET, OperatorSetIdProto,
    TensorShapeProto, TensorType, TypeProto, ValueInfoProto,
};

/// Name of the input, `[n]`, bytes.
pub(super) const INPUT: &CStr = c"from";
/// Name of the output, as the input.
pub(super) const OUTPUT: &CStr = c"to";

/// The graph, opened.
pub(crate) struct Copier {
    pub(super) session: Session,
}

/// The graph as a model file.
pub(super) fn model() -> Vec<u8> {
    let value = |name: &CStr| {
        let dim = vec![Dimension { dim_param: Some("n".into()), ..Dimension::default() }];
        let tensor_type =
            TensorType { elem_type: DataType::Uint8 as i32, shape: Some(TensorShapeProto { dim }) };
        let name = name.to_string_lossy().into_owned();
        ValueInfoProto { name, r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
    };
    let (input, output) = (value(INPUT), value(OUTPUT));
    let copy = NodeProto {
        input: vec![input.name.clone()],
        output: vec![output.name.clone()],
        name: "/copy".into(),
        op_type: "Identity".into(),
        ..NodeProto::default()
    };
    let graph = GraphProto {
        node: vec![copy],
        name: "copier".into(),
        input: vec![input],
        output: vec![output],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: IR_VERSION,
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        ..ModelProto::default()
    };
    model.encode_to_vec()
}
