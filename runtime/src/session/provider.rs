//! Execution providers: what may be asked for, and what is used.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Where the nodes of a graph run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// The processor.
    Cpu,
    /// NVIDIA GPUs.
    Cuda,
    /// NVIDIA GPUs through TensorRT.
    TensorRt,
}

impl Provider {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Cpu => "cpu",
            Provider::Cuda => "cuda",
            Provider::TensorRt => "tensorrt",
        }
    }

    /// The plugin that ONNX Runtime loads for the provider from its own folder, and what the plugin needs; none for
    /// the provider that is built in.
    pub fn library(self) -> Option<(&'static str, &'static str)> {
        match self {
            Provider::Cpu => None,
            Provider::Cuda => Some(("libonnxruntime_providers_cuda.so", "CUDA 13 and cuDNN 9")),
            Provider::TensorRt => {
                Some(("libonnxruntime_providers_tensorrt.so", "TensorRT 10, CUDA 13 and cuDNN 9"))
            }
        }
    }

    /// Says which library is missing beside the ONNX Runtime in `folder`, or what its own needs are, and what else
    /// may be asked for.
    pub(crate) fn way_out(self, folder: &Path) -> String {
        match self.library() {
            None => "run deploy/setup.sh for the pinned ONNX Runtime".to_owned(),
            Some((file, needs)) if folder.join(file).is_file() => {
                format!("{file} needs {needs} on the library path, or give --provider cpu")
            }
            Some((file, needs)) => {
                format!(
                    "{file} is missing beside libonnxruntime.so (it needs {needs}), or give --provider cpu"
                )
            }
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The providers that a caller accepts, best first. Nothing outside the list is ever used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Providers(Vec<Provider>);

/// A provider list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no list of providers; write cpu, cuda or tensorrt, each at most once, separated by commas")]
pub struct UnknownProvider(String);

impl Providers {
    /// The processor only.
    pub fn cpu() -> Providers {
        Providers(vec![Provider::Cpu])
    }

    /// Best first; at least one.
    pub fn list(&self) -> &[Provider] {
        &self.0
    }
}

impl FromStr for Providers {
    type Err = UnknownProvider;

    fn from_str(text: &str) -> Result<Providers, UnknownProvider> {
        let refuse = || UnknownProvider(text.to_owned());
        let mut list = Vec::new();
        for word in text.split(',') {
            let known = [Provider::Cpu, Provider::Cuda, Provider::TensorRt];
            let provider = known.into_iter().find(|p| p.name() == word).ok_or_else(refuse)?;
            if list.contains(&provider) {
                return Err(refuse());
            }
            list.push(provider);
        }
        Ok(Providers(list))
    }
}

impl fmt::Display for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|p| p.name()).collect();
        f.write_str(&names.join(","))
    }
}

/// Number of nodes by the runtime's own name of the provider, and there by operator.
pub type Nodes = BTreeMap<String, BTreeMap<String, usize>>;

/// What a component really runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// `decoder` or `vision`.
    pub component: &'static str,
    /// First provider of the list that could be used.
    pub provider: Provider,
    /// File of the graph that was opened.
    pub graph: String,
    /// Its nodes, after the runtime's graph optimisations.
    pub nodes: Nodes,
}

impl Placement {
    /// Number of nodes by provider.
    pub fn counts(&self) -> BTreeMap<&str, usize> {
        self.nodes.iter().map(|(name, operators)| (name.as_str(), operators.values().sum())).collect()
    }
}

/// The runtime's name of the processor.
const PROCESSOR: &str = "CPUExecutionProvider";
/// What a processor does for a card without slowing it: numbers of a shape, known before anything is computed.
const SHAPES: [&str; 8] = ["Cast", "Concat", "Expand", "Gather", "Range", "Reshape", "Shape", "Unsqueeze"];

/// The operators that compute on the processor, when it is not among the providers; `None` when none does.
pub(super) fn strays(nodes: &Nodes, list: &[Provider]) -> Option<String> {
    if list.contains(&Provider::Cpu) {
        return None;
    }
    let here = nodes.get(PROCESSOR)?.iter().filter(|(operator, _)| !SHAPES.contains(&operator.as_str()));
    let named: Vec<_> = here.map(|(operator, count)| format!("{count} {operator}")).collect();
    (!named.is_empty()).then(|| named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&[Provider]>) {
        let got = text.parse::<Providers>();
        assert_eq!(got.as_ref().ok().map(Providers::list), expected, "{text}");
        if let Ok(list) = got {
            assert_eq!(list.to_string(), text);
        }
    }

    #[test]
    fn lists_are_read_in_order_and_print_back() {
        check("cpu", Some(&[Provider::Cpu]));
        check("tensorrt,cuda,cpu", Some(&[Provider::TensorRt, Provider::Cuda, Provider::Cpu]));
    }

    fn check_strays(processor: &[&str], list: &str, expected: Option<&str>) {
        let here = processor.iter().map(|name| ((*name).to_owned(), 2)).collect();
        let card = [("GroupQueryAttention".to_owned(), 3)].into();
        let nodes = [(PROCESSOR.to_owned(), here), ("CUDAExecutionProvider".to_owned(), card)].into();
        assert_eq!(strays(&nodes, list.parse::<Providers>().unwrap().list()).as_deref(), expected);
    }

    #[test]
    fn only_shapes_may_stay_on_a_processor_that_was_not_asked_for() {
        check_strays(&["Shape", "Concat"], "cuda", None);
        check_strays(&["Shape", "QuickGelu", "Where"], "tensorrt,cuda", Some("2 QuickGelu, 2 Where"));
        check_strays(&["QuickGelu"], "cuda,cpu", None);
        assert_eq!(strays(&Nodes::new(), &[Provider::Cuda]), None);
    }

    #[test]
    fn unknown_doubled_and_empty_names_are_refused() {
        for text in ["", "gpu", "cuda,", "cuda,cuda", "CPU", "cpu cuda"] {
            check(text, None);
        }
    }
}
