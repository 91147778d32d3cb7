//! An accepted `package.json` is printed and read again as the same manifest, and none of its paths leaves the
//! package's folder.
//!
//! The input is the object without its seal, which is put behind it here: a mutation never hits a SHA-256.

#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use rewardrt_models::package::{Manifest, hex};
use sha2::{Digest, Sha256};

fuzz_target!(|input: &[u8]| {
    // As it is: bytes with a wrong seal or none.
    if let Ok(manifest) = Manifest::parse(input) {
        check(&manifest);
    }
    if let Ok(manifest) = Manifest::parse(&sealed(input)) {
        check(&manifest);
        // Damage anywhere before the seal is noticed, also where the text would still be a manifest.
        let mut damaged = sealed(input);
        damaged[0] ^= 1;
        assert!(Manifest::parse(&damaged).is_err(), "a damaged manifest was read");
    }
});

fn sealed(object: &[u8]) -> Vec<u8> {
    let body = object.trim_ascii_end();
    let body = body.strip_suffix(b"}").unwrap_or(body);
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    let digest = hex(&Sha256::digest(body));
    [body, b",\n  \"seal\": \"", digest.as_bytes(), b"\"\n}\n"].concat()
}

fn check(manifest: &Manifest) {
    for path in paths(manifest) {
        let components: Vec<Component<'_>> = Path::new(path).components().collect();
        assert!(matches!(components[..], [Component::Normal(name)] if name == path), "{path:?} is not plain");
        assert!(!path.contains(['/', '\\', ':', '\0']), "{path:?} is a path on some system");
    }
    let printed = manifest.print().expect("what was read can be printed");
    let again = Manifest::parse(&printed).expect("what was printed can be read");
    assert_eq!(&again, manifest);
    assert_eq!(again.print().as_ref(), Ok(&printed), "the text is not stable, and with it the identity");
    outside(again);
}

/// The same manifest with one file elsewhere, listed and named alike, is refused. Mutation seldom gets both right.
fn outside(mut manifest: Manifest) {
    for path in ["../x", "/x", "a/b", "a\\b", "..", ".", "", "C:x", "a\0b"] {
        let old = std::mem::replace(&mut manifest.tokenizer, path.to_owned());
        for entry in manifest.files.iter_mut().filter(|entry| entry.path == old) {
            entry.path = path.to_owned();
        }
        let printed = manifest.print().expect("any text can be printed");
        assert!(Manifest::parse(&printed).is_err(), "{path:?} was taken for a file of the package");
    }
}

/// Everything in a manifest that somebody opens.
fn paths(manifest: &Manifest) -> Vec<&str> {
    let graphs = manifest.vision_graphs().chain(manifest.decoder_graphs());
    let mut all: Vec<&String> = graphs.flat_map(|g| g.weights.iter().chain([&g.file])).collect();
    all.extend(manifest.files.iter().chain(&manifest.source).map(|entry| &entry.path));
    all.extend([&manifest.tokenizer, &manifest.chat_template]);
    all.into_iter().map(String::as_str).collect()
}
