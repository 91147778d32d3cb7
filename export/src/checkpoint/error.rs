//! Why a checkpoint is refused.

use std::fmt;
use std::path::PathBuf;

use super::header::HeaderError;

/// Why a checkpoint folder is refused. Every message names the file and the way out.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The operating system refused to read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The path is no folder.
    #[error("{path} is not a folder; name the folder that holds config.json", path = .0.display())]
    NotAFolder(PathBuf),
    /// A file that every checkpoint has is absent.
    #[error("{path} is missing; {way_out}", path = path.display())]
    Missing {
        /// The absent file.
        path: PathBuf,
        /// What to do.
        way_out: &'static str,
    },
    /// Something other than a regular file stands where a file should.
    #[error("{path} is not a regular file", path = .0.display())]
    NotAFile(PathBuf),
    /// A file is longer than any real one.
    #[error("{path} holds {size} bytes, at most {most} are read; is it the right file?", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        most: u64,
    },
    /// A text file cannot be read as what it should be.
    #[error("{path} cannot be read: {reason}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column for JSON.
        reason: String,
    },
    /// No chat template stands anywhere.
    #[error(
        "{path} has no chat template: put it into chat_template.jinja, or take chat_template.json or \
         tokenizer_config.json with its \"chat_template\" from the original repository", path = .0.display()
    )]
    NoTemplate(PathBuf),
    /// No weights that can be read, or no telling which.
    #[error("{path}: {reason}", path = path.display())]
    Weights {
        /// The checkpoint folder.
        path: PathBuf,
        /// What is wrong and the way out.
        reason: String,
    },
    /// The header of a weight file is refused.
    #[error("{path}: {source}", path = path.display())]
    Header {
        /// The weight file.
        path: PathBuf,
        /// What is wrong with its header.
        source: HeaderError,
    },
    /// The index and the shards do not agree.
    #[error("{path} does not fit its shards: {reason}; fetch the checkpoint again", path = path.display())]
    Index {
        /// The index file.
        path: PathBuf,
        /// The first disagreement.
        reason: String,
    },
    /// An adapter that cannot be put into the weights.
    #[error("{path}: {reason}", path = path.display())]
    Adapter {
        /// The checkpoint folder.
        path: PathBuf,
        /// What is wrong and the way out.
        reason: String,
    },
    /// The tensors are not those that the configuration describes.
    #[error("the weights in {path} do not fit config.json: {mismatch}", path = path.display())]
    Mismatch {
        /// The checkpoint folder.
        path: PathBuf,
        /// All tensors concerned.
        mismatch: Mismatch,
    },
    /// A tensor was asked for that the checkpoint does not hold, or rows beyond its end.
    #[error("tensor {name} has no rows {begin}..{end}")]
    NoRows {
        /// Name asked for.
        name: String,
        /// First row asked for.
        begin: usize,
        /// One past the last row asked for.
        end: usize,
    },
    /// A weight file was written to after it was opened.
    #[error("{path} was changed while it was read; export again when nothing writes to it", path = .0.display())]
    Changed(PathBuf),
}

/// How the tensors of a checkpoint differ from those that its configuration describes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Described, but not in the checkpoint.
    pub missing: Vec<String>,
    /// In the checkpoint, but neither described nor known to be of no use.
    pub left_over: Vec<String>,
    /// `name is [a, b], not [c, d]`.
    pub wrong_shape: Vec<String>,
}

impl Mismatch {
    /// Most names of each kind in a message; the lists themselves are complete.
    pub const SHOWN: usize = 8;

    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.left_over.is_empty() && self.wrong_shape.is_empty()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("missing", &self.missing),
            ("left over", &self.left_over),
            ("of another shape", &self.wrong_shape),
        ];
        let mut separator = "";
        for (kind, names) in kinds.into_iter().filter(|(_, names)| !names.is_empty()) {
            let shown = names.iter().take(Mismatch::SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
            write!(f, "{separator}{} {kind}: {shown}", names.len())?;
            if names.len() > Mismatch::SHOWN {
                write!(f, " and {} more", names.len() - Mismatch::SHOWN)?;
            }
            separator = "; ";
        }
        Ok(())
    }
}
