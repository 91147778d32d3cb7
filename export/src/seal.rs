//! The staging folder: a package is made beside its final place and takes its name only when it is whole.
//!
//! A crash at any moment leaves either nothing under the final name or a whole package. What it leaves beside it
//! is found by the next export to the same place: a partial folder is removed, and a package that was moved aside
//! when its replacement never arrived is put back. Folders of an export that still runs are locked and left alone.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rewardrt_models::package::{FileEntry, MANIFEST_FILE, Manifest, ManifestError, hex, is_plain_name};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Why a package cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The disk is full.
    #[error("{path}: no space left; {needed} bytes are needed: free some or choose another place", path = path.display())]
    DiskFull {
        /// The file that did not fit.
        path: PathBuf,
        /// Its size in bytes.
        needed: u64,
    },
    /// The final path has no name or lies in no folder.
    #[error("{path} cannot be made: {reason}", path = path.display())]
    Place {
        /// The final path.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Something is there already.
    #[error("{path} exists; choose another name, or replace it with --force", path = .0.display())]
    Exists(PathBuf),
    /// Something is there that is not a package, and is therefore not replaced either.
    #[error("{path} is not a package and is not replaced; remove it yourself or choose another name", path = .0.display())]
    NotAPackage(PathBuf),
    /// A file of a package has a plain name, which stands once.
    #[error("{0:?} is not a plain file name of [A-Za-z0-9._-] that a package can hold")]
    Name(String),
    /// The manifest does not list exactly the files that were written.
    #[error("the manifest and the written files differ in {0}; this is a fault of the exporter")]
    Files(String),
    /// The manifest is one that no loader would take.
    #[error("{0}; this is a fault of the exporter")]
    Manifest(#[from] ManifestError),
}

impl SealError {
    /// An error of the system on a file of `needed` bytes.
    pub(crate) fn io(path: &Path, needed: u64, source: std::io::Error) -> SealError {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => SealError::DiskFull { path, needed },
            _ => SealError::Io { path, source },
        }
    }
}

/// A whole package in its final place.
#[derive(Debug, Clone, PartialEq)]
pub struct SealedPackage {
    /// The folder.
    pub path: PathBuf,
    /// The manifest.
    pub manifest: Manifest,
    /// SHA-256 of the manifest: the identity of the package.
    pub sha256: String,
}

/// A package in the making. Dropped before it is sealed, it leaves nothing behind.
#[derive(Debug)]
pub struct Staging {
    out: PathBuf,
    parent: PathBuf,
    name: OsString,
    dir: PathBuf,
    force: bool,
    /// Locks the folder for as long as this process works on it.
    _lock: File,
}

impl Staging {
    /// Makes the staging folder beside `out`. With `force`, a package at `out` will be replaced when the new one is
    /// whole, and not before.
    ///
    /// # Errors
    /// [`SealError::Exists`], [`SealError::NotAPackage`], [`SealError::Place`], [`SealError::Io`].
    pub fn new(out: &Path, force: bool) -> Result<Staging, SealError> {
        let place = |reason| SealError::Place { path: out.to_owned(), reason };
        let name = out.file_name().ok_or_else(|| place("it has no name"))?.to_owned();
        let parent = match out.parent() {
            Some(p) if !p.as_os_str().is_empty() => p.to_owned(),
            _ => PathBuf::from("."),
        };
        if !parent.is_dir() {
            return Err(place("the folder that it should lie in does not exist; make it first"));
        }
        clean_up(&parent, &name, out)?;
        check_free(out, force)?;
        let dir = parent.join(beside(&name, PARTIAL));
        fs::create_dir(&dir).map_err(|e| SealError::io(&dir, 0, e))?;
        let lock = File::open(&dir).map_err(|e| SealError::io(&dir, 0, e))?;
        // Where the file system has no locks, other exports take the folder for a running one and leave it alone.
        let _ = lock.try_lock();
        Ok(Staging { out: out.to_owned(), parent, name, dir, force, _lock: lock })
    }

    /// The staging folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes an empty file of the package and returns it with its path.
    ///
    /// # Errors
    /// [`SealError::Name`] for a name that no package may hold, [`SealError::Io`], also when the file exists.
    pub(crate) fn create(&self, name: &str) -> Result<(File, PathBuf), SealError> {
        if !is_plain_name(name) || name == MANIFEST_FILE {
            return Err(SealError::Name(name.to_owned()));
        }
        self.create_any(name)
    }

    fn create_any(&self, name: &str) -> Result<(File, PathBuf), SealError> {
        let path = self.dir.join(name);
        let file = File::create_new(&path).map_err(|e| SealError::io(&path, 0, e))?;
        Ok((file, path))
    }

    /// Writes a small file of the package.
    ///
    /// # Errors
    /// [`SealError::Name`], [`SealError::DiskFull`], [`SealError::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<FileEntry, SealError> {
        let (file, path) = self.create(name)?;
        fill(file, &path, bytes)?;
        Ok(FileEntry { path: name.to_owned(), size: bytes.len() as u64, sha256: hex(&Sha256::digest(bytes)) })
    }

    /// Writes the manifest, brings every byte to the disk and gives the folder its final name.
    ///
    /// # Errors
    /// [`SealError::Manifest`] and [`SealError::Files`] when the loader would refuse the package,
    /// [`SealError::Exists`] when something took the final name meanwhile, [`SealError::DiskFull`],
    /// [`SealError::Io`].
    pub fn seal(self, manifest: Manifest) -> Result<SealedPackage, SealError> {
        let printed = manifest.print()?;
        Manifest::parse(&printed)?;
        self.check_files(&manifest)?;
        let (file, path) = self.create_any(MANIFEST_FILE)?;
        fill(file, &path, &printed)?;
        for entry in &manifest.files {
            sync(&self.dir.join(&entry.path))?;
        }
        sync(&path)?;
        sync(&self.dir)?;
        self.take_place()?;
        sync(&self.parent)?;
        Ok(SealedPackage { path: self.out.clone(), sha256: hex(&Sha256::digest(&printed)), manifest })
    }

    /// The files of the folder are those of the manifest, by name and size.
    fn check_files(&self, manifest: &Manifest) -> Result<(), SealError> {
        let io = |e| SealError::io(&self.dir, 0, e);
        let mut listed: BTreeMap<OsString, u64> =
            manifest.files.iter().map(|f| (OsString::from(&f.path), f.size)).collect();
        for entry in fs::read_dir(&self.dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            let size = entry.metadata().map_err(io)?.len();
            if listed.remove(&entry.file_name()) != Some(size) {
                return Err(SealError::Files(entry.file_name().to_string_lossy().into_owned()));
            }
        }
        match listed.into_keys().next() {
            Some(name) => Err(SealError::Files(name.to_string_lossy().into_owned())),
            None => Ok(()),
        }
    }

    fn take_place(&self) -> Result<(), SealError> {
        check_free(&self.out, self.force)?;
        if !exists(&self.out)? {
            return rename(&self.dir, &self.out);
        }
        let aside = self.parent.join(beside(&self.name, ASIDE));
        let lock = File::open(&self.out).map_err(|e| SealError::io(&self.out, 0, e))?;
        let _ = lock.try_lock();
        rename(&self.out, &aside)?;
        if let Err(e) = rename(&self.dir, &self.out) {
            rename(&aside, &self.out)?;
            return Err(e);
        }
        sync(&self.parent)?;
        // The new package is in place. The old one first loses the name under which it would be put back, since it
        // is no whole package from here on; what cannot be removed now is removed by the next export.
        let waste = self.parent.join(beside(&self.name, PARTIAL));
        let _ = fs::rename(&aside, &waste).and_then(|()| fs::remove_dir_all(&waste));
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a seal the folder has another name and there is nothing to remove; a failure to remove is met
        // again, and reported, by the next export to this place.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

const PARTIAL: &str = "partial";
const ASIDE: &str = "replaced";

/// Prefix of the folders that exports of `name` put beside it.
fn prefix(name: &OsStr, kind: &str) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(format!(".{kind}-"));
    prefix
}

/// A fresh name beside `name`; process and counter keep two exports apart.
fn beside(name: &OsStr, kind: &str) -> OsString {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let mut full = prefix(name, kind);
    full.push(format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    full
}

/// Whether a file name is one that [`beside`] makes.
fn is_beside(file: &OsStr, name: &OsStr, kind: &str) -> bool {
    let tail = file.as_encoded_bytes().strip_prefix(prefix(name, kind).as_encoded_bytes());
    tail.is_some_and(|t| !t.is_empty() && t.iter().all(|b| b.is_ascii_digit() || *b == b'-'))
}

/// Removes what dead exports to the same place left, and puts a package back that one of them moved aside.
fn clean_up(parent: &Path, name: &OsStr, out: &Path) -> Result<(), SealError> {
    let io = |e| SealError::io(parent, 0, e);
    for entry in fs::read_dir(parent).map_err(io)? {
        let entry = entry.map_err(io)?;
        let [partial, aside] = [PARTIAL, ASIDE].map(|kind| is_beside(&entry.file_name(), name, kind));
        let path = entry.path();
        if !(partial || aside) || !entry.file_type().map_err(io)?.is_dir() || in_use(&path)? {
            continue;
        }
        if aside && !exists(out)? {
            rename(&path, out)?;
        } else {
            fs::remove_dir_all(&path).map_err(|e| SealError::io(&path, 0, e))?;
        }
    }
    Ok(())
}

/// Whether a running export holds the folder; one that is gone already is nobody's business either.
fn in_use(dir: &Path) -> Result<bool, SealError> {
    let file = match File::open(dir) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(true),
        Err(e) => return Err(SealError::io(dir, 0, e)),
    };
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        // No locks on this file system: rather litter than take a running export's folder away.
        Err(TryLockError::Error(_)) => Ok(true),
    }
}

/// The final name is free, or a package stands there that may be replaced.
fn check_free(out: &Path, force: bool) -> Result<(), SealError> {
    if !exists(out)? {
        return Ok(());
    }
    if !force {
        return Err(SealError::Exists(out.to_owned()));
    }
    if is_package(out) { Ok(()) } else { Err(SealError::NotAPackage(out.to_owned())) }
}

/// A real folder, not a link, of plain files, among them a manifest of any format version.
fn is_package(path: &Path) -> bool {
    #[derive(Deserialize)]
    struct Probe {
        #[serde(rename = "format")]
        _format: u32,
        #[serde(rename = "family")]
        _family: String,
        #[serde(rename = "files")]
        _files: Vec<FileEntry>,
    }
    let folder = fs::symlink_metadata(path).is_ok_and(|m| m.is_dir());
    let plain = fs::read_dir(path).is_ok_and(|mut all| {
        all.all(|entry| entry.and_then(|e| e.file_type()).is_ok_and(|kind| kind.is_file()))
    });
    let manifest = fs::read(path.join(MANIFEST_FILE)).ok();
    folder && plain && manifest.is_some_and(|bytes| serde_json::from_slice::<Probe>(&bytes).is_ok())
}

fn exists(path: &Path) -> Result<bool, SealError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(SealError::io(path, 0, e)),
    }
}

fn fill(mut file: File, path: &Path, bytes: &[u8]) -> Result<(), SealError> {
    file.write_all(bytes).map_err(|e| SealError::io(path, bytes.len() as u64, e))
}

fn rename(from: &Path, to: &Path) -> Result<(), SealError> {
    fs::rename(from, to).map_err(|e| SealError::io(to, 0, e))
}

/// Brings a file or a folder to the disk.
fn sync(path: &Path) -> Result<(), SealError> {
    let file = File::open(path).map_err(|e| SealError::io(path, 0, e))?;
    // A delayed allocation can still find the disk full here.
    let size = file.metadata().map_or(0, |m| m.len());
    file.sync_all().map_err(|e| SealError::io(path, size, e))
}

#[cfg(test)]
mod tests;
