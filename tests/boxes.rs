//! MP4 files taken apart and put together wrongly.

// Each test file uses a part of this.
#![allow(dead_code)]

/// Bytes of a box's head: its size and its kind.
const HEAD: usize = 8;

/// Where a box lies: from its size to its end. The path names the boxes from the outermost to it, each the first of its
/// kind; `stsd` is stepped into as if it were one box.
pub(crate) fn find(file: &[u8], path: &[&str]) -> std::ops::Range<usize> {
    let mut within = 0..file.len();
    let mut found = within.clone();
    for kind in path {
        found = boxes(file, within.clone())
            .find(|range| &file[range.start + 4..range.start + HEAD] == kind.as_bytes())
            .unwrap_or_else(|| panic!("no {kind} of {path:?}"));
        within = found.start + HEAD + inner(kind)..found.end;
    }
    found
}

/// Bytes between the head of a box and the boxes in it.
fn inner(kind: &str) -> usize {
    match kind {
        "stsd" | "dref" => 8,
        "avc1" | "hvc1" | "av01" => 78,
        "meta" => 4,
        _ => 0,
    }
}

fn boxes(file: &[u8], within: std::ops::Range<usize>) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut at = within.start;
    std::iter::from_fn(move || {
        let size = u32_at(file.get(..within.end)?, at)? as usize;
        let range = at..at + size.max(HEAD);
        at = range.end;
        (range.end <= within.end).then_some(range)
    })
}

/// A big-endian number, where there is one.
fn u32_at(file: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*file.get(at..)?.first_chunk()?))
}

/// Writes a big-endian number into the payload of a box.
pub(crate) fn put(file: &[u8], path: &[&str], at: usize, number: u32) -> Vec<u8> {
    put_bytes(file, path, at, &number.to_be_bytes())
}

/// Writes bytes over the payload of a box.
pub(crate) fn put_bytes(file: &[u8], path: &[&str], at: usize, bytes: &[u8]) -> Vec<u8> {
    let found = find(file, path);
    let from = found.start + HEAD + at;
    assert!(from + bytes.len() <= found.end, "{path:?} has no byte {at}");
    let mut out = file.to_owned();
    out[from..from + bytes.len()].copy_from_slice(bytes);
    out
}

/// Gives a box another kind.
pub(crate) fn rename(file: &[u8], path: &[&str], kind: &[u8; 4]) -> Vec<u8> {
    let found = find(file, path);
    let mut out = file.to_owned();
    out[found.start + 4..found.start + HEAD].copy_from_slice(kind);
    out
}

/// Puts other bytes in the place of a box, and corrects the sizes around it.
pub(crate) fn replace(file: &[u8], path: &[&str], with: &[u8]) -> Vec<u8> {
    let found = find(file, path);
    let grown = with.len() as i64 - found.len() as i64;
    let mut out = [&file[..found.start], with, &file[found.end..]].concat();
    for depth in 1..path.len() {
        let around = find(file, &path[..depth]);
        let size = (around.len() as i64 + grown) as u32;
        out[around.start..around.start + 4].copy_from_slice(&size.to_be_bytes());
    }
    out
}

/// A box with its head.
pub(crate) fn made(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    [&((payload.len() + HEAD) as u32).to_be_bytes(), kind.as_slice(), payload].concat()
}

/// The table of samples of the first track.
pub(crate) const TABLE: [&str; 5] = ["moov", "trak", "mdia", "minf", "stbl"];

/// The path of a box in the table of samples.
pub(crate) fn table(kind: &'static str) -> Vec<&'static str> {
    [TABLE.as_slice(), &[kind]].concat()
}
