//! A file of labelled pairs is refused, or every row of it is written and read again as the same row, ids are
//! unique, and nothing that would have to be fetched is taken for a path.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;

// The room alone: its crate would bring ONNX Runtime's binding and the tokenizers into a sanitizer build.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../runtime/src/eval/rows/mod.rs"]
mod rows;

use rows::{Format, Input, Media};

fuzz_target!(|input: &[u8]| {
    for (format, _) in Format::ALL {
        if let Ok(input) = format.parse(input) {
            check(&input);
        }
    }
});

fn check(input: &Input) {
    assert!(!input.rows.is_empty() || !input.refused.is_empty());
    let ids: BTreeSet<&str> = input.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids.len(), input.rows.len());
    for row in &input.rows {
        for media in [&row.a, &row.b] {
            match media {
                Media::Path(path) => assert!(!path.contains("://") && !path.is_empty()),
                Media::Frames(paths) => assert!(paths.iter().all(|path| !path.contains("://"))),
                Media::Embedded(bytes) => assert!(!bytes.is_empty()),
            }
        }
    }
    if input.rows.is_empty() {
        return;
    }
    let lines: Vec<String> =
        input.rows.iter().map(|row| serde_json::to_string(row).expect("a row is JSON")).collect();
    let again = Format::Rows.parse(lines.join("\n").as_bytes());
    assert_eq!(again.as_ref().map(|input| &input.rows), Ok(&input.rows));
}
