use std::fs;

use super::*;
use serde_json::json;
use tempfile::TempDir;

/// A safetensors file with these tensors: name, dtype, shape, bytes.
pub(crate) fn safetensors(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        data.extend_from_slice(bytes);
        header
            .insert((*name).into(), json!({"dtype": dtype.name(), "shape": shape, "data_offsets": offsets}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

/// A folder with the smallest set of files that opens; `a` is `[2, 3]` and `b` is `[2]`.
pub(crate) fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let a: Vec<u8> = (0..6_u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
    let b = [0x80, 0x3f, 0x00, 0xc0];
    let weights = safetensors(&[("a", Dtype::F32, &[2, 3], &a), ("b", Dtype::Bf16, &[2], &b)]);
    for (name, bytes) in [
        ("config.json", &br#"{"model_type": "x"}"#[..]),
        ("tokenizer.json", br#"{"version": "1.0"}"#),
        ("chat_template.jinja", b"{{ messages }}"),
        ("model.safetensors", &weights),
    ] {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

/// The one door: changes the folder, opens it and expects success or an error that says `expected`.
fn check(change: impl FnOnce(&Path), expected: Result<(), &str>) -> Option<Checkpoint> {
    let dir = folder();
    change(dir.path());
    match (Checkpoint::open(dir.path()), expected) {
        (Ok(open), Ok(())) => Some(open),
        (Err(got), Err(want)) => {
            assert!(got.to_string().contains(want), "{got} lacks {want}");
            None
        }
        (got, want) => panic!("got {got:?}, wanted {want:?}"),
    }
}

fn put(name: &str, text: &str) -> impl FnOnce(&Path) {
    move |dir| fs::write(dir.join(name), text).unwrap()
}

/// Replaces the single file by two shards, `a` in the first and `b` in the second, and an index with this map.
fn shards(map: &str) -> impl FnOnce(&Path) {
    move |dir| {
        fs::remove_file(dir.join("model.safetensors")).unwrap();
        let one = safetensors(&[("a", Dtype::F16, &[1], &[0, 0x3c])]);
        let two = safetensors(&[("b", Dtype::F16, &[1], &[0, 0x40])]);
        fs::write(dir.join("model-1.safetensors"), one).unwrap();
        fs::write(dir.join("model-2.safetensors"), two).unwrap();
        fs::write(
            dir.join("model.safetensors.index.json"),
            format!(r#"{{"metadata":{{}},"weight_map":{map}}}"#),
        )
        .unwrap();
    }
}

#[test]
fn a_folder_opens_and_its_rows_are_exact() {
    let open = check(|_| (), Ok(())).unwrap();
    assert_eq!(open.config, json!({"model_type": "x"}));
    assert_eq!(open.chat_template, "{{ messages }}");
    assert_eq!(open.rows("a", 1..2).unwrap(), [3.0, 4.0, 5.0]);
    assert_eq!(open.rows("b", 0..2).unwrap(), [1.0, -2.0]);
    assert_eq!(open.bytes("b", 1..2).unwrap(), [0x00, 0xc0]);
    let a = open.tensor("a").unwrap();
    assert_eq!((a.rows(), a.columns(), a.bytes()), (2, 3, 24));
    open.check_unchanged().unwrap();
}

#[test]
fn rows_that_do_not_exist_are_refused() {
    let open = check(|_| (), Ok(())).unwrap();
    for (name, rows) in [("a", 1..3), ("a", Range { start: 2, end: 1 }), ("c", 0..0)] {
        let error = open.rows(name, rows).unwrap_err();
        assert!(matches!(error, CheckpointError::NoRows { .. }), "{error}");
    }
}

#[test]
fn missing_files_are_named() {
    for name in ["config.json", "tokenizer.json"] {
        check(|dir| fs::remove_file(dir.join(name)).unwrap(), Err(&format!("{name} is missing")));
    }
    check(|dir| fs::remove_file(dir.join("chat_template.jinja")).unwrap(), Err("has no chat template"));
    check(
        |dir| fs::remove_file(dir.join("model.safetensors")).unwrap(),
        Err("neither model.safetensors nor"),
    );
    assert!(matches!(Checkpoint::open(Path::new("no/such/folder")), Err(CheckpointError::NotAFolder(_))));
}

#[test]
fn broken_and_ambiguous_files_are_named() {
    check(
        put("config.json", r#"{"a": 1, "a": 2}"#),
        Err(r#"config.json cannot be read: the key "a" stands twice"#),
    );
    check(put("tokenizer.json", "{"), Err("tokenizer.json cannot be read"));
    check(put("generation_config.json", "x"), Err("generation_config.json cannot be read"));
    check(put("config.json", &" ".repeat(1 << 21)), Err("holds 2097152 bytes, at most 1048576"));
    check(|dir| fs::create_dir(dir.join("processor_config.json")).unwrap(), Err("is not a regular file"));
    check(put("model.safetensors", "short"), Err("model.safetensors: a header of 0 bytes"));
    check(
        put("adapter_model.safetensors", ""),
        Err("adapter_model.safetensors is not part of the checkpoint"),
    );
    check(
        put("model.safetensors.index.json", r#"{"weight_map": {"a": "model.safetensors"}}"#),
        Err("side by side"),
    );
}

#[test]
fn the_template_is_found_where_it_stands() {
    let template = |name: &'static str, text: &'static str| {
        move |dir: &Path| {
            fs::remove_file(dir.join("chat_template.jinja")).unwrap();
            fs::write(dir.join(name), text).unwrap();
        }
    };
    let found = |open: Option<Checkpoint>| open.map(|c| c.chat_template);
    let json = template("chat_template.json", r#"{"chat_template": "J"}"#);
    assert_eq!(found(check(json, Ok(()))).as_deref(), Some("J"));
    let plain = template("tokenizer_config.json", r#"{"chat_template": "T"}"#);
    assert_eq!(found(check(plain, Ok(()))).as_deref(), Some("T"));
    let named =
        r#"{"chat_template": [{"name": "tools", "template": "X"}, {"name": "default", "template": "D"}]}"#;
    assert_eq!(found(check(template("tokenizer_config.json", named), Ok(()))).as_deref(), Some("D"));
    let first = found(check(put("chat_template.json", r#"{"chat_template": "J"}"#), Ok(())));
    assert_eq!(first.as_deref(), Some("{{ messages }}"));
    check(template("chat_template.json", r#"{"template": "J"}"#), Err("neither a string nor a list"));
}

#[test]
fn shards_and_index_must_agree_exactly() {
    let good = r#"{"a": "model-1.safetensors", "b": "model-2.safetensors"}"#;
    let open = check(shards(good), Ok(())).unwrap();
    assert_eq!((open.rows("a", 0..1).unwrap(), open.rows("b", 0..1).unwrap()), (vec![1.0], vec![2.0]));
    for (map, reason) in [
        (r#"{"a": "model-1.safetensors"}"#, "model-2.safetensors is not part of the checkpoint"),
        (
            r#"{"a": "model-2.safetensors", "b": "model-1.safetensors"}"#,
            "tensor a is in model-1.safetensors, not in",
        ),
        (r#"{"a": "model-1.safetensors", "c": "model-2.safetensors"}"#, r#"tensor "c" is in none of them"#),
        (r#"{"a": "model-1.safetensors", "b": "model-3.safetensors"}"#, "model-2.safetensors is not part"),
        (r#"{"a": "../model-1.safetensors"}"#, "is not a plain .safetensors file name"),
        (r#"{"a": "/etc/passwd"}"#, "is not a plain .safetensors file name"),
        (r#"{"a": "pytorch_model.bin"}"#, "is not a plain .safetensors file name"),
        (r#"{"a": "model-1.safetensors", "a": "model-2.safetensors"}"#, r#"the key "a" stands twice"#),
        (r#"{}"#, "weight_map is empty"),
    ] {
        check(shards(map), Err(reason));
    }
}

#[test]
fn a_tensor_outside_the_index_and_one_in_two_shards_are_refused() {
    let again = |first: &'static str, second: &'static str| {
        move |dir: &Path| {
            shards(r#"{"a": "model-1.safetensors", "b": "model-2.safetensors"}"#)(dir);
            let two = safetensors(&[(first, Dtype::F16, &[1], &[0, 0]), (second, Dtype::F16, &[1], &[0, 0])]);
            fs::write(dir.join("model-2.safetensors"), two).unwrap();
        }
    };
    check(again("b", "a"), Err("tensor a stands in model-1.safetensors and in model-2.safetensors"));
    check(again("b", "c"), Err("tensor c of a shard is not in the index"));
    check(
        |dir| {
            again("b", "c")(dir);
            fs::remove_file(dir.join("model-1.safetensors")).unwrap();
        },
        Err("model-1.safetensors is missing; the index names it"),
    );
}

#[test]
fn every_cut_of_a_weight_file_is_refused() {
    let whole = fs::read(folder().path().join("model.safetensors")).unwrap();
    for length in 0..whole.len() {
        let cut = &whole[..length];
        check(|dir| fs::write(dir.join("model.safetensors"), cut).unwrap(), Err("model.safetensors: "));
    }
    let grown = [&whole[..], &[0]].concat();
    check(|dir| fs::write(dir.join("model.safetensors"), grown).unwrap(), Err("was appended to"));
}

#[test]
fn missing_left_over_and_misshapen_tensors_are_all_named_at_once() {
    let open = check(|_| (), Ok(())).unwrap();
    let [a, b] = [Weight::new("a", &[2, 3]), Weight::new("b", &[2])];
    open.check(&[&a, &b], &[]).unwrap();
    open.check(&[&a], &["b".to_owned(), "not.there".to_owned()]).unwrap();
    let [a, c] = [Weight::new("a", &[3, 2]), Weight::new("c", &[1])];
    let text = open.check(&[&a, &c], &[]).unwrap_err().to_string();
    let all = "1 missing: c; 1 left over: b; 1 of another shape: a is [2, 3], not [3, 2]";
    assert!(text.ends_with(all), "{text}");
}

#[test]
fn a_long_list_of_names_is_cut_in_the_message_only() {
    let open = check(|_| (), Ok(())).unwrap();
    let many: Vec<Weight> = (0..20).map(|i| Weight::new(format!("w{i}"), &[1])).collect();
    let error = open.check(&many.iter().collect::<Vec<_>>(), &["a".into(), "b".into()]).unwrap_err();
    assert!(error.to_string().ends_with("20 missing: w0, w1, w2, w3, w4, w5, w6, w7 and 12 more"), "{error}");
    let CheckpointError::Mismatch { mismatch, .. } = error else { panic!("{error}") };
    assert_eq!(mismatch.missing.len(), 20);
}

#[test]
fn the_identity_names_every_file_with_its_hash() {
    let dir = folder();
    let identity = Checkpoint::open(dir.path()).unwrap().identity().unwrap();
    let names: Vec<_> = identity.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(names, ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"]);
    for entry in identity {
        let bytes = fs::read(dir.path().join(&entry.path)).unwrap();
        assert_eq!(entry.size, bytes.len() as u64);
        assert_eq!(
            entry.sha256,
            rewardrt_models::package::hex(&<sha2::Sha256 as sha2::Digest>::digest(&bytes))
        );
    }
}

#[test]
fn a_weight_file_that_changes_while_open_is_noticed() {
    let dir = folder();
    let open = Checkpoint::open(dir.path()).unwrap();
    let file = fs::OpenOptions::new().append(true).open(dir.path().join("model.safetensors")).unwrap();
    file.set_len(open.tensor("a").unwrap().bytes()).unwrap();
    assert!(matches!(open.check_unchanged(), Err(CheckpointError::Changed(_))));
    assert!(open.identity().is_err());
    assert!(matches!(open.rows("b", 0..2), Err(CheckpointError::Io { .. })));
}
