//! Files against their entries: kind, size, SHA-256.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rewardrt_models::package::{FileEntry, MANIFEST_FILE, hex};
use sha2::{Digest, Sha256};

use super::LoadError;

/// Bytes of one read: large enough that the disk reads ahead and the hash is never waited for.
const READ_BYTES: usize = 4 << 20;
/// Files hashed at the same time. Hashing one file is one core's work.
const THREADS: usize = 2;

/// Opens a regular file, refusing a link even if one is put in its place meanwhile.
fn open(path: &Path) -> Result<(File, Metadata), LoadError> {
    let io = |source| LoadError::Io { path: path.to_owned(), source };
    let named = path.symlink_metadata().map_err(io)?;
    if !named.is_file() {
        return Err(LoadError::NotRegular { path: path.to_owned() });
    }
    let file = File::open(path).map_err(io)?;
    let opened = file.metadata().map_err(io)?;
    if !same_file(&named, &opened) {
        return Err(LoadError::NotRegular { path: path.to_owned() });
    }
    Ok((file, opened))
}

#[cfg(unix)]
fn same_file(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn same_file(a: &Metadata, b: &Metadata) -> bool {
    b.is_file() && a.len() == b.len()
}

/// All bytes of a regular file of at most `most` bytes.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, LoadError> {
    let (file, metadata) = open(path)?;
    let too_large = |got| LoadError::Size { path: path.to_owned(), expected: most, got };
    if metadata.len() > most {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    let io = |source| LoadError::Io { path: path.to_owned(), source };
    file.take(most + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > most { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

/// Refuses anything in the folder that is not listed.
pub(super) fn folder(dir: &Path, entries: &[FileEntry]) -> Result<(), LoadError> {
    let io = |source| LoadError::Io { path: dir.to_owned(), source };
    for item in dir.read_dir().map_err(io)? {
        let name = item.map_err(io)?.file_name();
        let listed =
            name.to_str().is_some_and(|name| name == MANIFEST_FILE || entries.iter().any(|e| e.path == name));
        if !listed {
            return Err(LoadError::Unlisted { path: dir.join(name) });
        }
    }
    Ok(())
}

/// Checks every listed file, the largest first, on [`THREADS`] threads; reports the first bad one in list order.
pub(super) fn files(dir: &Path, entries: &[FileEntry]) -> Result<(), LoadError> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(entries[i].size));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        while let Some(&i) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = check(dir, &entries[i], &mut buffer) {
                found.push((i, error));
            }
        }
        found
    };
    let mut found = std::thread::scope(|scope| {
        let others: Vec<_> = (1..THREADS).map(|_| scope.spawn(work)).collect();
        let mut found = work();
        for other in others {
            match other.join() {
                Ok(more) => found.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        found
    });
    found.sort_by_key(|(i, _)| *i);
    found.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

fn check(dir: &Path, entry: &FileEntry, buffer: &mut Vec<u8>) -> Result<(), LoadError> {
    let path = dir.join(&entry.path);
    let (mut file, metadata) = open(&path)?;
    let size = |got| LoadError::Size { path: path.clone(), expected: entry.size, got };
    if metadata.len() != entry.size {
        return Err(size(metadata.len()));
    }
    // One byte more than the file shows a file that grows meanwhile.
    buffer.resize(READ_BYTES.min(entry.size as usize + 1), 0);
    let (mut hash, mut read) = (Sha256::new(), 0_u64);
    loop {
        let count = match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(LoadError::Io { path, source }),
        };
        hash.update(&buffer[..count]);
        read += count as u64;
        if read > entry.size {
            return Err(size(read));
        }
    }
    if read != entry.size {
        return Err(size(read));
    }
    let got = hex(&hash.finalize());
    if got == entry.sha256 {
        Ok(())
    } else {
        Err(LoadError::Digest { path, expected: entry.sha256.clone(), got })
    }
}
