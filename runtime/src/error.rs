//! The error of the library: one variant a room, one class an exit code.

use std::path::PathBuf;

use rewardrt_models::prompt::pack::PackError;
use rewardrt_models::verdict::GroupError;

use crate::decode::DecodeError;
use crate::eval::RowsError;
use crate::load::LoadError;
use crate::media::MediaError;
use crate::media::video::VideoError;
use crate::preprocess::PreprocessError;
use crate::schedule::ScheduleError;
use crate::session::{LibraryError, SessionError};
use crate::text::{EncodeError, TemplateError, TokenizerError};

/// Whom an error concerns. The discriminant is the exit code of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Anything else: the machine, or a fault of this program.
    Other = 1,
    /// The request asks for something that cannot be asked.
    Usage = 2,
    /// The package is damaged, or not for this build.
    Package = 3,
    /// A picture, a text or their size.
    Input = 4,
    /// ONNX Runtime or an execution provider is missing.
    Provider = 5,
}

impl ErrorClass {
    /// The exit code.
    pub fn exit_code(self) -> u8 {
        self as u8
    }
}

/// Why the library could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The package cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// ONNX Runtime's library cannot be loaded.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A session could not be made, or a run failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The package's tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The package's chat template cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The package's chat template is not text.
    #[error("the package's chat template is not UTF-8; export the checkpoint again")]
    TemplateText,
    /// The package reads a score at a token that its tokenizer does not have.
    #[error(
        "the package reads a score at {token} ({id}), which is no control token of its tokenizer; export the checkpoint again"
    )]
    Marker {
        /// The token.
        token: String,
        /// Its id in the manifest.
        id: u32,
    },
    /// The pack refuses the request.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A picture cannot be read.
    #[error("{name}: {source}")]
    Media {
        /// Which picture: its path, or its place in the request.
        name: String,
        /// What is wrong with it.
        source: MediaError,
    },
    /// A video cannot be read.
    #[error("{name}: {source}")]
    Video {
        /// Which video: its path, or its place in the request.
        name: String,
        /// What is wrong with it.
        source: VideoError,
    },
    /// A picture cannot be prepared.
    #[error("{name}: {source}")]
    Preprocess {
        /// Which picture: its path, or its place in the request.
        name: String,
        /// What is wrong with it.
        source: PreprocessError,
    },
    /// A file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of labelled pairs cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: RowsError,
    },
    /// The prompt cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Decoding refused or failed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The verdict token's logits are not numbers.
    #[error("the model gave a score that is not a number; the package or its checkpoint is damaged")]
    NotFinite,
    /// The request is not one that this package can answer.
    #[error("{0}")]
    Request(String),
    /// The candidates are no group.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The schedule refused or ended the call.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
}

impl Error {
    /// Whom the error concerns.
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::Load(_) | Error::Tokenizer(_) | Error::TemplateText | Error::Marker { .. } => {
                ErrorClass::Package
            }
            Error::Template(TemplateError::Unusable(_)) => ErrorClass::Package,
            Error::Library(_) => ErrorClass::Provider,
            Error::Session(SessionError::Provider { .. } | SessionError::Version { .. }) => {
                ErrorClass::Provider
            }
            Error::Session(SessionError::Interface { .. }) => ErrorClass::Package,
            Error::Video { source, .. } if source.is_of_the_machine() => ErrorClass::Provider,
            Error::Video { .. } => ErrorClass::Input,
            Error::Decode(error) if error.is_refusal() => ErrorClass::Input,
            Error::Pack(_) | Error::Media { .. } | Error::Preprocess { .. } | Error::Read { .. } => {
                ErrorClass::Input
            }
            Error::Rows { .. }
            | Error::Encode(_)
            | Error::Template(_)
            | Error::Request(_)
            | Error::Group(_) => ErrorClass::Input,
            Error::Session(_) | Error::Decode(_) | Error::NotFinite | Error::Schedule(_) => ErrorClass::Other,
        }
    }
}
