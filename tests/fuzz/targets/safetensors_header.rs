//! An accepted safetensors header is sound: names are unique, sizes follow from shape and dtype, the tensors tile
//! the data, and what is printed reads back the same.
//!
//! The input is tried as a whole file, and as the JSON part alone over as many bytes as its tensors take.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use rewardrt_export::checkpoint::header::{Dtype, Entry, HeaderError, header_len, parse};

fuzz_target!(|input: &[u8]| {
    whole_file(input);
    json_part(input);
});

fn whole_file(file: &[u8]) {
    let Some((prefix, rest)) = file.split_first_chunk::<8>() else { return };
    if let Ok(length) = header_len(*prefix, file.len() as u64) {
        let (json, data) = rest.split_at(length);
        if let Ok(entries) = parse(json, data.len() as u64) {
            check(&entries, data.len() as u64);
        }
    }
}

/// A header whose only fault is the length of its data is accepted over the right one, and over no other.
fn json_part(json: &[u8]) {
    match parse(json, 0) {
        Ok(entries) => check(&entries, 0),
        Err(HeaderError::Tail { tensors, .. }) => {
            let entries = parse(json, tensors).expect("the length was the only fault");
            check(&entries, tensors);
            assert!(matches!(parse(json, tensors + 1), Err(HeaderError::Tail { .. })));
        }
        Err(_) => {}
    }
}

/// What acceptance promises, written without the parser's helpers.
fn check(entries: &[Entry], data: u64) {
    let names: BTreeSet<_> = entries.iter().map(|e| &e.name).collect();
    assert_eq!(names.len(), entries.len(), "a name stands twice");
    let mut at = 0;
    for e in entries {
        assert_eq!(e.begin, at, "{} leaves a gap or overlaps", e.name);
        let width: u128 = if e.dtype == Dtype::F32 { 4 } else { 2 };
        let elements: u128 = e.shape.iter().map(|&d| d as u128).product();
        assert_eq!(u128::from(e.end - e.begin), elements * width, "{}", e.name);
        assert!(e.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{:?}", e.name);
        at = e.end;
    }
    assert_eq!(at, data, "the tensors do not end with the data");
    assert_eq!(parse(print(entries).as_bytes(), data).as_deref(), Ok(entries), "printed and read again");
}

fn print(entries: &[Entry]) -> String {
    let entry = |e: &Entry| {
        let (name, dtype, shape) = (&e.name, e.dtype.name(), &e.shape);
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{},{}]}}"#, e.begin, e.end)
    };
    format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","))
}
