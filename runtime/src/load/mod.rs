//! Opening a package: everything is verified before any session is made.
//!
//! A package is a plain folder. `package.json` lists every other file with its size and SHA-256 and ends with its
//! own digest, so a flipped bit anywhere is a refusal. Symbolic links, other special files and files that nobody
//! listed are refused, and the graphs may name only their own weight files: nothing outside the folder is opened.

mod graph;
#[cfg(test)]
mod tests;
mod verify;

use std::path::{Path, PathBuf};

use rewardrt_models::package::{
    Graph, MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, ManifestError, hex, parse_version,
};
use sha2::{Digest, Sha256};

use crate::session::SessionError;

/// Why a package is refused. (Exit code 3.)
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or the folder cannot be read.
    #[error("{path}: {source}; is this a package folder made by `rewardrt export`?", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The manifest says something that cannot be.
    #[error("{path}: {source}", path = path.display())]
    Manifest {
        /// The package folder.
        path: PathBuf,
        /// The field and the reason.
        source: ManifestError,
    },
    /// A symbolic link, a folder, a pipe: anything but a regular file.
    #[error("{path} is no regular file; a package holds regular files only: copy it with links resolved", path = path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// A file that the manifest does not list.
    #[error("{path} is not listed in package.json; remove it or export the checkpoint again", path = path.display())]
    Unlisted {
        /// The file.
        path: PathBuf,
    },
    /// A file of another size than listed.
    #[error("{path} has {got} bytes, package.json says {expected}; copy the package again", path = path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Bytes as listed.
        expected: u64,
        /// Bytes found.
        got: u64,
    },
    /// A file with other contents than listed.
    #[error(
        "{path}: SHA-256 expected {expected}, got {got}; the file is damaged: copy the package again",
        path = path.display()
    )]
    Digest {
        /// The file.
        path: PathBuf,
        /// As listed.
        expected: String,
        /// Of the bytes found.
        got: String,
    },
    /// A graph that this version must not run.
    #[error("{path}: {reason}; export the checkpoint again", path = path.display())]
    Graph {
        /// The graph file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A verified package. Holding one is the proof that all its files are what the manifest says.
#[derive(Debug, Clone)]
pub struct Package {
    dir: PathBuf,
    manifest: Manifest,
    sha256: String,
}

impl Package {
    /// Verifies the package in `dir`.
    ///
    /// # Errors
    /// [`LoadError`], naming the file; for damage with the expected and the found SHA-256.
    pub fn open(dir: &Path) -> Result<Package, LoadError> {
        let path = dir.join(MANIFEST_FILE);
        let bytes = verify::read(&path, MAX_MANIFEST_BYTES as u64)?;
        let sha256 = hex(&Sha256::digest(&bytes));
        let manifest = Manifest::parse(&bytes).and_then(|m| m.check_interface().map(|()| m));
        let manifest = manifest.map_err(|source| LoadError::Manifest { path: dir.to_owned(), source })?;
        verify::folder(dir, &manifest.files)?;
        verify::files(dir, &manifest.files)?;
        let package = Package { dir: dir.to_owned(), manifest, sha256 };
        for graph in package.graphs() {
            graph::check(&package, graph)?;
        }
        Ok(package)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of `package.json` in lower-case hex: the identity of the whole package.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Path of a listed file.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// Bytes of a listed file.
    ///
    /// # Errors
    /// [`LoadError::Unlisted`] for any other name, [`LoadError::Size`] when the file has grown or shrunk since.
    pub fn read(&self, file: &str) -> Result<Vec<u8>, LoadError> {
        let path = self.path(file);
        let Some(entry) = self.manifest.file(file) else {
            return Err(LoadError::Unlisted { path });
        };
        let bytes = verify::read(&path, entry.size)?;
        let got = bytes.len() as u64;
        if got == entry.size { Ok(bytes) } else { Err(LoadError::Size { path, expected: entry.size, got }) }
    }

    /// Whether an ONNX Runtime of this version can run the package.
    ///
    /// # Errors
    /// [`SessionError::Version`] with both versions.
    pub fn check_runtime(&self, version: &str) -> Result<(), SessionError> {
        let needed = &self.manifest.requires.onnxruntime;
        match (parse_version(needed), parse_version(version)) {
            (Some(least), Some(got)) if got >= least => Ok(()),
            _ => Err(SessionError::Version { needed: needed.clone(), got: version.to_owned() }),
        }
    }

    fn graphs(&self) -> impl Iterator<Item = &Graph> {
        self.manifest.decoder_graphs().chain(self.manifest.vision_graphs())
    }
}
