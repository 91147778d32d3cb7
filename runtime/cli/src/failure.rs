//! Why a command ends without its result: the message for people, and the class that becomes the exit code.

use std::path::{Path, PathBuf};

use rewardrt::ErrorClass;
use rewardrt_export::ExportError;
use rewardrt_export::seal::SealError;
use rewardrt_export::weights::WeightsError;
use rewardrt_models::prompt::import::ImportError;
use rewardrt_models::prompt::pack::PackError;
use rewardrt_server::ServeError;

/// Why a command ends without its result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line asks for something that cannot be asked.
    #[error("{0}")]
    Usage(String),
    /// A file or a combination of files that the command cannot work on.
    #[error("{0}")]
    Input(String),
    /// The runtime refused or failed.
    #[error(transparent)]
    Runtime(#[from] rewardrt::Error),
    /// The export refused or failed.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A pack cannot be used.
    #[error("{}: {source}", place.display())]
    Pack {
        /// Its name or folder.
        place: PathBuf,
        /// Why.
        source: PackError,
    },
    /// A file gives no pack.
    #[error("{}: {source}", file.display())]
    Import {
        /// The file.
        file: PathBuf,
        /// Why.
        source: ImportError,
    },
    /// No server was started.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The class, which has the exit code.
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Failure::Usage(_) => ErrorClass::Usage,
            Failure::Pack { source: PackError::Unknown { .. }, .. } => ErrorClass::Usage,
            Failure::Input(_) | Failure::Pack { .. } | Failure::Import { .. } | Failure::Read { .. } => {
                ErrorClass::Input
            }
            Failure::Runtime(error) => error.class(),
            Failure::Export(error) => class_of_export(error),
            Failure::Serve(ServeError::Config(_) | ServeError::Tokens(_)) => ErrorClass::Usage,
            Failure::Serve(_) | Failure::Write { .. } | Failure::Other(_) => ErrorClass::Other,
        }
    }

    /// The failure to read a file.
    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
        |source| Failure::Read { path: path.to_owned(), source }
    }

    /// The failure to write a file.
    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
        |source| Failure::Write { path: path.to_owned(), source }
    }
}

/// The name of a class in error documents.
pub(crate) fn code(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Usage => "usage",
        ErrorClass::Package => "bad_package",
        ErrorClass::Input => "bad_input",
        ErrorClass::Provider => "provider_missing",
        ErrorClass::Other => "failed",
    }
}

/// A checkpoint that cannot be exported is bad input; a place that cannot be written to is not.
fn class_of_export(error: &ExportError) -> ErrorClass {
    match error {
        ExportError::Name(_) => ErrorClass::Usage,
        ExportError::Checkpoint(_) | ExportError::Family(_) => ErrorClass::Input,
        ExportError::Seal(error) | ExportError::Weights(WeightsError::Seal(error)) => class_of_seal(error),
        ExportError::Weights(WeightsError::Io { .. } | WeightsError::DiskFull { .. }) => ErrorClass::Other,
        ExportError::Weights(_) => ErrorClass::Input,
        ExportError::Block(_) => ErrorClass::Other,
    }
}

fn class_of_seal(error: &SealError) -> ErrorClass {
    match error {
        SealError::Exists(_) | SealError::NotAPackage(_) | SealError::Place { .. } => ErrorClass::Usage,
        _ => ErrorClass::Other,
    }
}
