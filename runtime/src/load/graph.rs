//! A graph against the manifest: the files it opens, the operators it needs, its inputs and outputs.

use prost::Message;
use rewardrt_models::package::onnx::{DataType, GraphProto, ModelProto, TensorProto, ValueInfoProto};
use rewardrt_models::package::{Dim, Dtype, Graph, Port};

use super::{LoadError, Package};

/// `TensorProto.data_location` of a tensor in another file.
const EXTERNAL: i32 = 1;

/// Checks one graph of a package whose files are already verified.
pub(super) fn check(package: &Package, graph: &Graph) -> Result<(), LoadError> {
    let bytes = package.read(&graph.file)?;
    inspect(package, graph, &bytes)
        .map_err(|reason| LoadError::Graph { path: package.path(&graph.file), reason })
}

fn inspect(package: &Package, graph: &Graph, bytes: &[u8]) -> Result<(), String> {
    let model = ModelProto::decode(bytes).map_err(|e| format!("cannot be parsed: {e}"))?;
    // What these messages do not declare (subgraphs, functions, constants inside nodes) could name a file or an
    // operator unseen. Such a graph does not come out of the exporter, and does not survive being written again.
    if model.encode_to_vec() != bytes {
        return Err("holds fields that no exported graph has".into());
    }
    let body = model.graph.as_ref().ok_or("holds no graph")?;
    operators(package, body)?;
    for tensor in &body.initializer {
        initializer(package, graph, tensor).map_err(|reason| format!("weight {:?} {reason}", tensor.name))?;
    }
    ports("input", &graph.inputs, &body.input)?;
    ports("output", &graph.outputs, &body.output)
}

fn operators(package: &Package, body: &GraphProto) -> Result<(), String> {
    let allowed = &package.manifest().requires.operators;
    for node in &body.node {
        let domain = if node.domain.is_empty() { "ai.onnx" } else { &node.domain };
        let operator = format!("{domain}::{}", node.op_type);
        if !allowed.contains(&operator) {
            return Err(format!("uses {operator}, which package.json does not list in requires.operators"));
        }
    }
    Ok(())
}

fn initializer(package: &Package, graph: &Graph, tensor: &TensorProto) -> Result<(), String> {
    let bytes = byte_size(tensor).ok_or_else(|| format!("has an unknown type or shape {:?}", tensor.dims))?;
    let external = tensor.data_location.unwrap_or(0) == EXTERNAL;
    if !external {
        let stored = tensor.raw_data.as_ref().map_or(0, Vec::len) as u64;
        return match (stored == bytes, tensor.external_data.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err("names a file, but is stored inside".into()),
            (false, _) => Err(format!("holds {stored} bytes, its shape needs {bytes}")),
        };
    }
    let place = |key: &str| tensor.external(key).ok_or_else(|| format!("has no external {key}"));
    let number = |key: &str| place(key)?.parse::<u64>().map_err(|_| format!("has a bad external {key}"));
    let (file, offset, length) = (place("location")?, number("offset")?, number("length")?);
    if !graph.weights.iter().any(|w| w == file) {
        return Err(format!("is in {file:?}, which is not among the graph's weight files"));
    }
    let size = package.manifest().file(file).map_or(0, |f| f.size);
    if length != bytes {
        return Err(format!("has {length} bytes in {file}, its shape needs {bytes}"));
    }
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(format!("ends after {file}, which has {size} bytes"));
    }
    if tensor.external_data.len() != 3 || tensor.raw_data.is_some() {
        return Err("says more than location, offset and length of its data".into());
    }
    Ok(())
}

fn byte_size(tensor: &TensorProto) -> Option<u64> {
    let known = [
        (DataType::Float, 4),
        (DataType::Uint8, 1),
        (DataType::Int8, 1),
        (DataType::Int32, 4),
        (DataType::Int64, 8),
        (DataType::Float16, 2),
        (DataType::Bfloat16, 2),
    ];
    let width = known.into_iter().find(|(t, _)| *t as i32 == tensor.data_type)?.1;
    tensor.dims.iter().try_fold(width, |bytes: u64, &d| bytes.checked_mul(u64::try_from(d).ok()?))
}

fn ports(side: &str, listed: &[Port], found: &[ValueInfoProto]) -> Result<(), String> {
    if listed.len() != found.len() {
        return Err(format!("has {} {side}s, package.json lists {}", found.len(), listed.len()));
    }
    for port in listed {
        let value = found.iter().find(|v| v.name == port.name);
        let value =
            value.ok_or_else(|| format!("has no {side} {:?}, which package.json lists", port.name))?;
        if !matches(port, value) {
            return Err(format!(
                "has another type or shape of {side} {:?} than package.json lists",
                port.name
            ));
        }
    }
    Ok(())
}

fn matches(port: &Port, value: &ValueInfoProto) -> bool {
    let Some(tensor) = value.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else {
        return false;
    };
    let element = match port.dtype {
        Dtype::F32 => DataType::Float,
        Dtype::F16 => DataType::Float16,
        Dtype::Bf16 => DataType::Bfloat16,
        Dtype::I64 => DataType::Int64,
        Dtype::I32 => DataType::Int32,
    };
    let dims = tensor.shape.as_ref().map_or(&[][..], |s| &s.dim);
    let same = |(listed, found): (&Dim, &rewardrt_models::package::onnx::Dimension)| match listed {
        Dim::Fixed(size) => found.dim_value == i64::try_from(*size).ok() && found.dim_param.is_none(),
        Dim::Named(name) => found.dim_param.as_ref() == Some(name) && found.dim_value.is_none(),
    };
    tensor.elem_type == element as i32
        && dims.len() == port.shape.len()
        && port.shape.iter().zip(dims).all(same)
}
