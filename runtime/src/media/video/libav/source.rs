//! The only way bytes reach the demuxer: a file or memory, read at places, never by name.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::media::video::VideoInput;
use crate::media::video::error::VideoError;
use crate::media::video::limits::VideoLimits;

/// Where the bytes are. Readers share it, and each has its own place.
#[derive(Clone)]
pub(in crate::media::video) struct Source {
    bytes: Bytes,
    len: u64,
}

#[derive(Clone)]
enum Bytes {
    File(Arc<File>),
    Memory(Arc<[u8]>),
}

impl Source {
    /// Opens the input and checks its size.
    pub(in crate::media::video) fn open(
        input: VideoInput<'_>,
        limits: &VideoLimits,
    ) -> Result<Source, VideoError> {
        match input {
            VideoInput::Path(path) => Source::file(open(path)?, limits),
            VideoInput::Bytes(bytes) => {
                limits.check_encoded(bytes.len() as u64)?;
                Ok(Source { len: bytes.len() as u64, bytes: Bytes::Memory(bytes.into()) })
            }
        }
    }

    /// A regular file that is open; pipes and devices have no places to read at.
    pub(in crate::media::video) fn file(file: File, limits: &VideoLimits) -> Result<Source, VideoError> {
        let meta = file.metadata().map_err(|e| VideoError::Read(e.kind()))?;
        if !meta.is_file() {
            return Err(VideoError::Read(io::ErrorKind::NotSeekable));
        }
        limits.check_encoded(meta.len())?;
        Ok(Source { len: meta.len(), bytes: Bytes::File(Arc::new(file)) })
    }

    /// A reader at the start.
    pub(super) fn reader(&self) -> Reader {
        Reader { source: self.clone(), at: 0 }
    }

    /// The first bytes, at most `N` of them.
    pub(super) fn head<const N: usize>(&self) -> Result<Vec<u8>, VideoError> {
        let mut head = Vec::with_capacity(N);
        self.reader().take(N as u64).read_to_end(&mut head).map_err(|e| VideoError::Read(e.kind()))?;
        Ok(head)
    }

    /// All bytes.
    pub(super) fn whole(&self, limits: &VideoLimits) -> Result<Vec<u8>, VideoError> {
        let mut all = Vec::new();
        let most = limits.max_encoded_bytes;
        self.reader().take(most).read_to_end(&mut all).map_err(|e| VideoError::Read(e.kind()))?;
        Ok(all)
    }
}

/// Opens a regular file.
pub(super) fn open(path: &Path) -> Result<File, VideoError> {
    let unreadable = |e: io::Error| VideoError::Read(e.kind());
    // Looked at before it is opened: opening a pipe would wait for its writer.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(VideoError::Read(io::ErrorKind::NotSeekable));
    }
    File::open(path).map_err(unreadable)
}

/// A file in memory with these bytes, which no other process can name.
pub(super) fn in_memory(bytes: &[u8]) -> Result<File, VideoError> {
    let memory = rustix::fs::memfd_create("video", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(memory.map_err(|e| VideoError::Read(io::Error::from(e).kind()))?);
    file.write_all(bytes).map_err(|e| VideoError::Read(e.kind()))?;
    Ok(file)
}

/// A place in a source.
pub(super) struct Reader {
    source: Source,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match &self.source.bytes {
            Bytes::File(file) => file.read_at(into, self.at)?,
            Bytes::Memory(bytes) => {
                let from = usize::try_from(self.at).unwrap_or(usize::MAX).min(bytes.len());
                let n = into.len().min(bytes.len() - from);
                into[..n].copy_from_slice(&bytes[from..from + n]);
                n
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.source.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_files_read_alike_at_every_place() {
        let bytes: Vec<u8> = (0..=255).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v");
        std::fs::write(&path, &bytes).unwrap();
        let limits = VideoLimits::default();
        for input in [VideoInput::Path(&path), VideoInput::Bytes(&bytes)] {
            let source = Source::open(input, &limits).unwrap();
            let mut reader = source.reader();
            for (to, expected) in
                [(SeekFrom::Start(250), 6), (SeekFrom::End(-3), 3), (SeekFrom::Start(1 << 40), 0)]
            {
                let at = reader.seek(to).unwrap();
                let mut rest = Vec::new();
                reader.read_to_end(&mut rest).unwrap();
                assert_eq!(rest, bytes.get(at as usize..).unwrap_or_default(), "{to:?}");
                assert_eq!(rest.len(), expected);
            }
            assert!(reader.seek(SeekFrom::End(-257)).is_err());
            assert_eq!(source.head::<4>().unwrap(), [0, 1, 2, 3]);
            assert_eq!(source.whole(&limits).unwrap(), bytes);
        }
    }

    #[test]
    fn folders_and_files_over_the_limit_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let limits = VideoLimits { max_encoded_bytes: 3, ..VideoLimits::default() };
        assert!(matches!(Source::open(VideoInput::Path(folder.path()), &limits), Err(VideoError::Read(_))));
        let refused = Source::open(VideoInput::Bytes(&[0; 4]), &limits).err();
        assert_eq!(refused, Some(VideoError::TooManyBytes { bytes: 4, limit: 3 }));
    }
}
