//! Checkpoints that must not become packages: each is refused by name, and leaves nothing behind.

// The helpers below are test code too, which the lint cannot see.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use rewardrt_export::Options;
use rewardrt_models::package::Precision;
use rewardrt_tests::root;
use serde_json::{Value, json};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

/// One tensor of a weight file. The dtype is that of the header.
#[derive(Clone)]
struct Entry {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Reads a weight file in the order of its bytes.
fn read(path: &Path) -> Vec<Entry> {
    let bytes = fs::read(path).unwrap();
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: serde_json::Map<String, Value> = serde_json::from_slice(header).unwrap();
    let mut entries: Vec<(usize, Entry)> = Vec::new();
    for (name, entry) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let (start, end): (usize, usize) = serde_json::from_value(entry["data_offsets"].clone()).unwrap();
        let shape = serde_json::from_value(entry["shape"].clone()).unwrap();
        let dtype = entry["dtype"].as_str().unwrap().to_owned();
        entries.push((start, Entry { name, dtype, shape, bytes: data[start..end].to_vec() }));
    }
    entries.sort_by_key(|(start, _)| *start);
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// Writes a weight file. The header is put together as text: a map could not say a thing twice.
fn write(path: &Path, entries: &[Entry]) {
    let (mut members, mut data) = (Vec::new(), Vec::new());
    for Entry { name, dtype, shape, bytes } in entries {
        let offsets = [data.len(), data.len() + bytes.len()];
        let value = json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
        members.push(format!("{}:{value}", json!(name)));
        data.extend_from_slice(bytes);
    }
    let header = format!("{{{}}}", members.join(","));
    fs::write(path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()).unwrap();
}

/// Exports the demo checkpoint with `change` done to a copy of it, in every precision. `None` expects a package,
/// anything else a refusal that holds all of it.
fn check(change: impl Fn(&Path), expected: Option<&[&str]>) {
    for precision in Precision::ALL {
        let home = tempfile::tempdir().unwrap();
        let checkpoint = home.path().join("checkpoint");
        fs::create_dir(&checkpoint).unwrap();
        for entry in fs::read_dir(root().join("models/demo/checkpoint")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), checkpoint.join(entry.file_name())).unwrap();
        }
        change(&checkpoint);
        let place = home.path().join("packages");
        fs::create_dir(&place).unwrap();
        let out = place.join("package");
        let options =
            Options { checkpoint, out: out.clone(), precision, name: None, pack: None, force: false };
        match (rewardrt_export::export(&options, &mut |_| {}), expected) {
            (Ok(_), None) => assert!(out.join("package.json").is_file()),
            (Err(error), Some(expected)) => {
                let error = error.to_string();
                for part in expected {
                    assert!(error.contains(part), "{}: {error:?} does not hold {part:?}", precision.name());
                }
                let left: Vec<_> = fs::read_dir(&place).unwrap().map(|e| e.unwrap().path()).collect();
                assert!(left.is_empty(), "{error} left {left:?}");
            }
            (Ok(_), Some(expected)) => panic!("{} was exported, against {expected:?}", precision.name()),
            (Err(error), None) => panic!("{}: {error}", precision.name()),
        }
    }
}

/// Edits the tensors.
fn weights(edit: impl Fn(&mut Vec<Entry>)) -> impl Fn(&Path) {
    move |checkpoint| {
        let path = checkpoint.join(WEIGHTS);
        let mut entries = read(&path);
        edit(&mut entries);
        write(&path, &entries);
    }
}

/// Sets a value of `config.json`.
fn config(pointer: &'static str, value: Value) -> impl Fn(&Path) {
    move |checkpoint| {
        let path = checkpoint.join(CONFIG);
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        config.pointer_mut(parent).unwrap()[key] = value.clone();
        fs::write(&path, config.to_string()).unwrap();
    }
}

const NORM: &str = "model.language_model.norm.weight";

fn at(entries: &[Entry], name: &str) -> usize {
    entries.iter().position(|e| e.name == name).unwrap_or_else(|| panic!("no tensor {name}"))
}

#[test]
fn weights_that_were_written_again_unchanged_are_good() {
    check(weights(|_| {}), None);
}

#[test]
fn missing_and_left_over_tensors_are_named() {
    let missing = weights(|all| drop(all.remove(at(all, NORM))));
    check(missing, Some(&["1 missing", NORM]));
    let left_over = weights(|all| {
        let extra = Entry { name: "model.extra.weight".into(), ..all[0].clone() };
        all.push(extra);
    });
    check(left_over, Some(&["1 left over", "model.extra.weight"]));
    let renamed = weights(|all| {
        let i = at(all, NORM);
        all[i].name = "model.language_model.norm.bias".into();
    });
    check(renamed, Some(&["1 missing", NORM, "1 left over", "norm.bias"]));
    let reshaped = weights(|all| {
        let i = at(all, NORM);
        all[i].shape.insert(0, 1);
    });
    check(reshaped, Some(&[NORM, "of another shape"]));
}

#[test]
fn a_tensor_that_stands_twice_is_named() {
    let twice = weights(|all| {
        let again = all[at(all, NORM)].clone();
        all.push(again);
    });
    check(twice, Some(&[WEIGHTS, NORM]));
}

#[test]
fn a_tensor_with_a_name_that_no_tensor_has_is_refused() {
    for name in ["../../etc/passwd", "a b", "weight\0", "", "a\\b", "größe", "a\nb"] {
        let strange = weights(|all| {
            let extra = Entry { name: name.to_owned(), ..all[0].clone() };
            all.push(extra);
        });
        check(strange, Some(&[WEIGHTS, "name"]));
    }
}

#[test]
fn a_config_key_that_nobody_knows_is_refused_by_its_path() {
    let unknown = config("/text_config/logit_softcapping", json!(30.0));
    check(unknown, Some(&["config.json", "text_config.logit_softcapping", "might change the mathematics"]));
    check(config("/text_config/hidden_act", json!("gelu")), Some(&["text_config.hidden_act"]));
    check(config("/model_type", json!("another")), Some(&["another", "not supported"]));
}

#[test]
fn a_weight_that_is_no_number_is_refused_by_tensor_and_row() {
    let layer = "model.language_model.layers.0.mlp.down_proj.weight";
    for name in [NORM, "model.language_model.embed_tokens.weight", layer] {
        // The high half of an f32 is a bf16: NaN, and both infinities.
        for bits in [0x7fc0_u16, 0x7f80, 0xff80] {
            let poisoned = weights(|all| {
                let i = at(all, name);
                assert_eq!(all[i].dtype, "BF16");
                let end = all[i].bytes.len();
                all[i].bytes[end - 2..].copy_from_slice(&bits.to_le_bytes());
            });
            let all = read(&root().join("models/demo/checkpoint").join(WEIGHTS));
            let last = all[at(&all, name)].shape[0] - 1;
            check(poisoned, Some(&[name, &format!("row {last}"), "not finite"]));
        }
    }
}
