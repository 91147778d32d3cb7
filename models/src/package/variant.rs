//! Several graphs of one component over the same weights, and which of them a machine runs.
//!
//! A component has a graph for the processor and the newest ONNX Runtime, and may have others: for providers that
//! compute in 16-bit floats, and for libraries whose attention takes no ragged runs. Each says what it computes in and
//! from which version on it runs; the choice is made here, from what the loaded library and the provider offer.

use serde::{Deserialize, Serialize};

use super::manifest::{Dtype, Graph, Manifest};

/// The floats that a graph computes in. Features, angles, logits and scores are 32-bit floats at every interface; the
/// cache is in these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activations {
    /// 32-bit floats.
    #[default]
    F32,
    /// IEEE halves.
    F16,
    /// Brain floats.
    Bf16,
}

impl Activations {
    /// The element type.
    pub fn dtype(self) -> Dtype {
        match self {
            Activations::F32 => Dtype::F32,
            Activations::F16 => Dtype::F16,
            Activations::Bf16 => Dtype::Bf16,
        }
    }

    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Activations::F32 => 4,
            Activations::F16 | Activations::Bf16 => 2,
        }
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Activations::F32
    }
}

/// A version `major.minor.patch`, ordered as versions are.
pub type Version = (u32, u32, u32);

/// Reads `major.minor.patch`, with anything after a dash or plus sign left out.
pub fn parse_version(text: &str) -> Option<Version> {
    let mut parts = text.split(['-', '+']).next()?.split('.').map(|p| p.parse().ok());
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(version)
}

/// Why no graph of a component runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit<'a> {
    /// None computes in any of the floats asked for.
    Activations,
    /// The library is older than this version, the lowest that one of them runs on.
    Version(&'a str),
}

impl Manifest {
    /// All graphs of the decoder, the one for the processor and the newest library first.
    pub fn decoder_graphs(&self) -> impl Iterator<Item = &Graph> {
        std::iter::once(&self.decoder.graph).chain(&self.decoder.variants)
    }

    /// All graphs of the vision tower, the one for the processor first; none without a tower.
    pub fn vision_graphs(&self) -> impl Iterator<Item = &Graph> {
        self.vision.iter().flat_map(|v| std::iter::once(&v.graph).chain(&v.variants))
    }

    /// The graph that a library of this version runs in the first of these floats that there is a graph for: of
    /// several the one that asks for the newest library.
    ///
    /// # Errors
    /// [`Unfit`]: no graph has such floats, or the library is too old for all that have.
    pub fn choose<'a>(
        &'a self,
        graphs: impl Iterator<Item = &'a Graph> + Clone,
        version: &str,
        activations: &[Activations],
    ) -> Result<&'a Graph, Unfit<'a>> {
        let here = parse_version(version);
        let lowest = |graph: &&'a Graph| graph.onnxruntime.as_deref().unwrap_or(&self.requires.onnxruntime);
        let with =
            |wanted: &Activations| graphs.clone().filter(|g| g.activations == *wanted).collect::<Vec<_>>();
        let found = activations.iter().map(with).find(|found| !found.is_empty()).ok_or(Unfit::Activations)?;
        let fit = found.iter().filter(|graph| here.is_some() && here >= parse_version(lowest(graph)));
        match fit.max_by_key(|graph| parse_version(lowest(graph))) {
            Some(graph) => Ok(graph),
            None => {
                let needed = found.iter().map(lowest).min_by_key(|needed| parse_version(needed));
                Err(Unfit::Version(needed.unwrap_or(&self.requires.onnxruntime)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_whole_or_not_at_all() {
        assert_eq!(parse_version("1.32.0"), Some((1, 32, 0)));
        assert_eq!(parse_version("1.32.0-dev+7"), Some((1, 32, 0)));
        for text in ["", "1.32", "1.32.x", "1.2.3.4", "v1.2.3"] {
            assert_eq!(parse_version(text), None, "{text}");
        }
    }
}
