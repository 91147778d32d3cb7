//! Sizes in the manifest against the ports of the graphs.
//!
//! The runtime makes its buffers from the sizes and binds them to the ports, so the two must say the same. That the
//! graph file itself has these ports is checked where the file is read.

use super::manifest::{Dim, Graph, Manifest, ManifestError, Port, VisionComponent};
use super::names;

impl Manifest {
    /// Compares the sizes and the optional parts of both components with the ports that their graphs list.
    ///
    /// # Errors
    /// [`ManifestError::Field`] with the path of the value that the ports contradict.
    pub fn check_interface(&self) -> Result<(), ManifestError> {
        self.decoder_graphs().try_for_each(|graph| self.check_decoder(graph))?;
        let vision = self.vision.as_ref();
        vision.map_or(Ok(()), |v| self.vision_graphs().try_for_each(|graph| check_vision(v, graph)))
    }

    fn check_decoder(&self, graph: &Graph) -> Result<(), ManifestError> {
        let d = &self.decoder;
        let tables = self.vision.as_ref().map_or(0, |v| v.deepstack);
        count(graph, "decoder.layers", d.layers, names::past_key)?;
        count(graph, "decoder.layers", d.layers, names::past_value)?;
        count(graph, "vision.deepstack", tables, names::deepstack)?;
        for i in 0..d.layers as usize {
            for name in [names::past_key(i), names::past_value(i)] {
                axis(&graph.inputs, &name, (1, d.kv_heads, "decoder.kv_heads"))?;
                axis(&graph.inputs, &name, (3, d.head_dim, "decoder.head_dim"))?;
                cache(graph, &name)?;
            }
        }
        self.check_recurrent(graph)?;
        axis(&graph.inputs, names::FEATURES, (1, d.hidden, "decoder.hidden"))?;
        axis(
            &graph.inputs,
            names::ROTARY_COS,
            (1, d.position.rotary_dim / 2, "decoder.position.rotary_dim"),
        )?;
        match &self.scores {
            None => axis(&graph.outputs, names::LOGITS, (1, d.vocabulary, "decoder.vocabulary")),
            Some(scores) => axis(&graph.outputs, names::SCORES, (1, scores.width, "scores.width")),
        }
    }

    fn check_recurrent(&self, graph: &Graph) -> Result<(), ManifestError> {
        let recurrent = self.decoder.recurrent;
        let layers = recurrent.map_or(0, |r| r.layers);
        count(graph, "decoder.recurrent.layers", layers, names::past_conv)?;
        count(graph, "decoder.recurrent.layers", layers, names::past_state)?;
        for (r, i) in recurrent.iter().flat_map(|r| (0..r.layers as usize).map(move |i| (r, i))) {
            let (conv, state) = (names::past_conv(i), names::past_state(i));
            axis(&graph.inputs, &conv, (1, r.window, "decoder.recurrent.window"))?;
            axis(&graph.inputs, &conv, (2, r.channels, "decoder.recurrent.channels"))?;
            axis(&graph.inputs, &state, (1, r.heads, "decoder.recurrent.heads"))?;
            axis(&graph.inputs, &state, (2, r.key_dim, "decoder.recurrent.key_dim"))?;
            axis(&graph.inputs, &state, (3, r.value_dim, "decoder.recurrent.value_dim"))?;
        }
        Ok(())
    }
}

/// What the host computes for the tower is what its graph takes.
fn check_vision(v: &VisionComponent, graph: &Graph) -> Result<(), ManifestError> {
    let optional = [
        ("vision.position_side", v.position_side.is_some(), names::POSITION_INDEX),
        ("vision.rotary_theta", v.rotary_theta.is_some(), names::ROTARY_COS),
        ("vision.window", v.window.is_some(), names::WINDOW_ROWS),
    ];
    for (field, present, input) in optional {
        let taken = graph.inputs.iter().any(|port| port.name == input);
        if present != taken {
            let (says, has) = if present { ("is there", "no") } else { ("is absent", "an") };
            return refuse(field, format!("{says}, but the vision graph has {has} input {input}"));
        }
    }
    if v.rotary_theta.is_some() {
        return axis(&graph.inputs, names::ROTARY_COS, (1, v.head_dim.div_ceil(2), "vision.head_dim"));
    }
    Ok(())
}

/// A cache holds the floats that its graph computes in.
fn cache(graph: &Graph, name: &str) -> Result<(), ManifestError> {
    let expected = graph.activations.dtype();
    let found = graph.inputs.iter().find(|port| port.name == name).map(|port| port.dtype);
    if found == Some(expected) {
        return Ok(());
    }
    refuse(
        "decoder.graph.activations",
        format!("are {expected:?}, but {name} of {} is {found:?}", graph.file),
    )
}

/// The numbered inputs are those below `n`.
fn count(graph: &Graph, field: &str, n: u32, name: fn(usize) -> String) -> Result<(), ManifestError> {
    let has = |i: usize| graph.inputs.iter().any(|port| port.name == name(i));
    let n = n as usize;
    match (0..n).find(|&i| !has(i)) {
        Some(missing) => {
            refuse(field, format!("is {n}, but the decoder graph has no input {}", name(missing)))
        }
        None if has(n) => refuse(field, format!("is {n}, but the decoder graph has an input {}", name(n))),
        None => Ok(()),
    }
}

/// A port's axis has the size of the manifest.
fn axis(ports: &[Port], name: &str, (at, size, field): (usize, u32, &str)) -> Result<(), ManifestError> {
    let dim = ports.iter().find(|port| port.name == name).and_then(|port| port.shape.get(at));
    if dim == Some(&Dim::Fixed(u64::from(size))) {
        return Ok(());
    }
    let found = match dim {
        Some(Dim::Fixed(found)) => format!("has {found} on axis {at}"),
        Some(Dim::Named(found)) => format!("has any {found} on axis {at}"),
        None => "is not there".to_owned(),
    };
    refuse(field, format!("is {size}, but {name} of the graph {found}"))
}

fn refuse(field: &str, reason: String) -> Result<(), ManifestError> {
    Err(ManifestError::Field { field: field.to_owned(), reason })
}
