//! A package is what was sealed, or it is refused: before a session is made, by an error that names the file.

// The helpers below are test code too, which the lint cannot see.
#![allow(missing_docs, clippy::unwrap_used)]

mod drive;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use drive::Exported;
use prost::Message;
use rewardrt::load::{LoadError, Package};
use rewardrt::{Error, Judge};
use rewardrt_models::package::onnx::{ModelProto, TensorProto};
use rewardrt_models::package::{MANIFEST_FILE, Precision};
use rewardrt_tests::root;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Bits that are flipped, and the least in one file, however small.
const FLIPS: usize = 1000;
const LEAST: usize = 50;

/// The demo model, block-quantised: codes, scales and floats lie in its weights.
static PACKAGE: LazyLock<Exported> = LazyLock::new(|| exported(Precision::Int4));

fn exported(precision: Precision) -> Exported {
    Exported::new(&root().join("models/demo/checkpoint"), precision).unwrap()
}

/// Files of the package with their sizes, the manifest among them.
fn files() -> Vec<(String, usize)> {
    let entry =
        |e: fs::DirEntry| (e.file_name().into_string().unwrap(), e.metadata().unwrap().len() as usize);
    let mut all: Vec<_> = fs::read_dir(PACKAGE.path()).unwrap().map(|e| entry(e.unwrap())).collect();
    all.sort();
    assert_eq!(all.len(), 11, "{all:?}");
    all
}

/// Opens a package as the command line does. The library does not exist: an error about it would mean that the
/// package was taken for good.
fn refusal(package: &Path) -> LoadError {
    match Judge::builder().ort_library(Some("no/such/library".into())).open(package) {
        Err(Error::Load(error)) => error,
        Err(other) => panic!("the package was not refused; the next step says: {other}"),
        Ok(_) => panic!("the package was opened"),
    }
}

/// The one door: a copy of the package with `change` done to it is refused by an error that holds all of `expected`.
fn check(change: impl FnOnce(&Path), expected: &[&str]) {
    let copy = PACKAGE.copy().unwrap();
    change(&copy.path());
    let error = refusal(&copy.path()).to_string();
    for part in expected {
        assert!(error.contains(part), "{error:?} does not hold {part:?}");
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

#[test]
fn a_thousand_flipped_bits_are_a_thousand_refusals() {
    let copy = PACKAGE.copy().unwrap();
    let (files, mut random) = (files(), Random(1));
    let bytes: usize = files.iter().map(|(_, size)| size).sum();
    let mut refused = 0;
    for (i, (name, size)) in files.iter().enumerate() {
        let path = copy.path().join(name);
        let good = fs::read(&path).unwrap();
        let share = LEAST + (FLIPS - LEAST * files.len()) * size / bytes;
        let flips = if i + 1 < files.len() { share } else { FLIPS - refused };
        assert!(flips >= LEAST, "{name} gets {flips} flips only");
        for _ in 0..flips {
            let bit = random.below(8 * size);
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bad).unwrap();
            let error = refusal(&copy.path()).to_string();
            assert!(error.contains(name.as_str()), "bit {bit} of {name}: {error}");
            refused += 1;
        }
        fs::write(&path, &good).unwrap();
    }
    assert_eq!(refused, FLIPS);
    Package::open(&copy.path()).unwrap();
}

#[test]
fn damage_to_any_file_is_told_with_both_digests() {
    for (name, size) in files() {
        // The middle of a manifest is inside its sealed part; of the other files, every byte is.
        let damage = |package: &Path| {
            let path = package.join(&name);
            let mut bytes = fs::read(&path).unwrap();
            bytes[size / 2] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        check(damage, &[&name, "SHA-256 expected", "got"]);
    }
}

#[test]
fn every_file_that_is_missing_cut_or_grown_is_refused_by_name() {
    for (name, size) in files() {
        check(|p| fs::remove_file(p.join(&name)).unwrap(), &[&name]);
        for length in [0, 1, size / 2, size - 1, size + 1] {
            let resize = |p: &Path| {
                let mut bytes = fs::read(p.join(&name)).unwrap();
                bytes.resize(length, b'\n');
                fs::write(p.join(&name), bytes).unwrap();
            };
            check(resize, &[&name]);
        }
        check(
            |p| {
                fs::remove_file(p.join(&name)).unwrap();
                fs::create_dir(p.join(&name)).unwrap();
            },
            &[&name, "no regular file"],
        );
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_refused_even_to_the_right_bytes() {
    for (name, _) in files() {
        let link = |p: &Path| {
            fs::remove_file(p.join(&name)).unwrap();
            std::os::unix::fs::symlink(PACKAGE.path().join(&name), p.join(&name)).unwrap();
        };
        check(link, &[&name, "no regular file"]);
    }
}

#[test]
fn what_nobody_listed_is_refused_by_name() {
    check(|p| fs::write(p.join("extra.bin"), b"").unwrap(), &["extra.bin", "not listed"]);
    check(|p| fs::write(p.join(".hidden"), b"").unwrap(), &[".hidden", "not listed"]);
    check(|p| fs::create_dir(p.join("folder")).unwrap(), &["folder", "not listed"]);
}

/// Edits the manifest and seals it again, as somebody would who knows the format: written here a second time, so
/// that the format is pinned from outside.
fn edit(package: &Path, edit: impl FnOnce(&mut Value)) {
    let path = package.join(MANIFEST_FILE);
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest.as_object_mut().unwrap().remove("seal").unwrap();
    edit(&mut manifest);
    let text = serde_json::to_string_pretty(&manifest).unwrap();
    let body = text.strip_suffix("\n}").unwrap();
    fs::write(path, format!("{body},\n  \"seal\": \"{}\"\n}}\n", sha256(body.as_bytes()))).unwrap();
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The manifest with another value at a place is refused.
fn lie(pointer: &str, value: Value, expected: &[&str]) {
    let change = |p: &Path| {
        edit(p, |manifest| {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match manifest.pointer_mut(parent).unwrap() {
                Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
                object => object[key] = value,
            }
        });
    };
    check(change, expected);
}

#[test]
fn a_manifest_that_is_sealed_again_unchanged_is_good() {
    let copy = PACKAGE.copy().unwrap();
    edit(&copy.path(), |_| {});
    Package::open(&copy.path()).unwrap();
}

#[test]
fn a_manifest_of_another_version_or_with_unknown_fields_is_refused_by_the_field() {
    lie("/format", json!(2), &["package.json", "format", "2"]);
    lie("/format", json!("1"), &["package.json", "u32"]);
    lie("/surprise", json!(true), &["package.json", "surprise"]);
    lie("/decoder/surprise", json!(true), &["package.json", "surprise"]);
    lie("/decoder/graph/inputs/0/surprise", json!(true), &["package.json", "surprise"]);
    lie("/precision", json!("fp12"), &["package.json", "fp12"]);
    lie("/image/std/0", json!(0.0), &["package.json", "image.std"]);
    lie("/files/0/path", json!("../decoder.onnx"), &["package.json", "files[0].path"]);
    lie("/files/0/sha256", json!("0"), &["package.json", "files[0].sha256"]);
    lie("/files/0/size", json!(1), &["bytes, package.json says 1"]);
    lie("/tokens/eos/0", json!(1 << 30), &["package.json", "tokens"]);
}

#[test]
fn a_graph_that_is_not_as_the_manifest_lists_it_is_refused_by_its_port() {
    lie("/decoder/graph/inputs/0/dtype", json!("f32"), &["decoder.onnx", "input \"input_ids\""]);
    lie("/decoder/graph/inputs/0/dtype", json!("f64"), &["package.json", "f64"]);
    lie("/decoder/graph/inputs/0/name", json!("ids"), &["decoder.onnx", "input \"ids\""]);
    lie("/decoder/graph/inputs/0/shape", json!(["b"]), &["decoder.onnx", "input \"input_ids\""]);
    lie("/decoder/graph/inputs/0/shape/1", json!(4), &["decoder.onnx", "input \"input_ids\""]);
    lie("/decoder/graph/inputs/0/shape/1", json!(-4), &["package.json"]);
    lie("/vision/graph/outputs", json!([]), &["vision.onnx", "outputs", "lists 0"]);
    lie("/vision/graph/file", json!("decoder.onnx"), &["decoder.onnx"]);
    lie("/requires/operators", json!([]), &["requires.operators"]);
}

/// Sizes in the manifest that the graph contradicts: a session would be made with buffers of the wrong size.
#[test]
fn sizes_that_the_graph_contradicts_are_refused_by_the_field() {
    for (pointer, field) in [
        ("/decoder/layers", "decoder.layers"),
        ("/decoder/kv_heads", "decoder.kv_heads"),
        ("/decoder/head_dim", "decoder.head_dim"),
        ("/decoder/vocabulary", "decoder.vocabulary"),
        ("/vision/deepstack", "vision.deepstack"),
        ("/vision/head_dim", "vision.head_dim"),
    ] {
        let manifest = fs::read(PACKAGE.path().join(MANIFEST_FILE)).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let value = manifest.pointer(pointer).and_then(Value::as_u64).unwrap();
        lie(pointer, json!(value + 1), &[field]);
    }
    let widen = |p: &Path| {
        edit(p, |manifest| {
            manifest["decoder"]["hidden"] = json!(4096);
            manifest["vision"]["hidden"] = json!(4096);
        });
    };
    check(widen, &["decoder.hidden"]);
}

/// What the host computes for the tower and what the graph takes must be the same things.
#[test]
fn vision_inputs_that_the_graph_does_not_know_are_refused_by_the_field() {
    lie("/vision/position_side", Value::Null, &["vision.position_side", "has an input position_index"]);
    lie("/vision/rotary_theta", Value::Null, &["vision.rotary_theta", "has an input rotary_cos"]);
    let windowed = |package: &Path| edit(package, |manifest| manifest["vision"]["window"] = json!(4));
    check(windowed, &["vision.window", "has no input window_rows"]);
}

/// Changes a graph and lists its new bytes, so that only the graph itself is wrong.
fn redraw(package: &Path, file: &str, change: impl FnOnce(&mut ModelProto)) {
    let mut model = ModelProto::decode(fs::read(package.join(file)).unwrap().as_slice()).unwrap();
    change(&mut model);
    let bytes = model.encode_to_vec();
    edit(package, |manifest| {
        let files = manifest["files"].as_array_mut().unwrap();
        let entry = files.iter_mut().find(|entry| entry["path"] == file).unwrap();
        entry["size"] = json!(bytes.len());
        entry["sha256"] = json!(sha256(&bytes));
    });
    fs::write(package.join(file), bytes).unwrap();
}

/// One value of a weight's place in another file is changed, in each graph.
fn misplace(key: &str, value: &str, expected: &str) {
    for file in ["decoder.onnx", "vision.onnx"] {
        let change = |p: &Path| {
            redraw(p, file, |model| {
                let external = |t: &&mut TensorProto| !t.external_data.is_empty();
                let tensor = model.graph.as_mut().unwrap().initializer.iter_mut().find(external).unwrap();
                let entry = tensor.external_data.iter_mut().find(|e| e.key == key).unwrap();
                entry.value = value.to_owned();
            });
        };
        check(change, &[file, expected]);
    }
}

#[test]
fn a_graph_whose_weights_lie_elsewhere_is_refused() {
    let foreign = "not among the graph's weight files";
    for place in ["../../../../etc/hosts", "/etc/hosts", "./decoder.weights", "tokenizer.json", ""] {
        misplace("location", place, foreign);
    }
    misplace("offset", "1000000000000", "ends after");
    misplace("offset", "18446744073709551615", "ends after");
    misplace("offset", "-1", "bad external offset");
    misplace("length", "1", "its shape needs");
}

#[test]
fn a_manifest_cannot_list_a_weight_file_outside_the_folder() {
    let outside = "../../../../etc/hosts";
    lie("/decoder/graph/weights/0", json!(outside), &["decoder.graph.weights", outside, "not listed"]);
    let listed = |p: &Path| {
        edit(p, |manifest| {
            let entry = json!({"path": outside, "size": 1, "sha256": "0".repeat(64)});
            manifest["files"].as_array_mut().unwrap().push(entry);
            manifest["decoder"]["graph"]["weights"] = json!([outside]);
        });
    };
    check(listed, &["package.json", "files[10].path"]);
}
