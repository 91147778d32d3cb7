use std::fs;
use std::path::Path;

use super::super::Checkpoint;
use super::super::tests::{folder, safetensors};
use super::*;

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The folder of the checkpoint's tests, whose `a.weight` is `[2, 3]`, with this adapter beside it.
fn check(config: &str, adapter: &[(&str, &[usize], &[f32])], expected: Result<&[f32], &str>) {
    let dir = folder();
    let base = floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let halves = [0x80, 0x3f, 0x00, 0xc0];
    let weights =
        [("m.a.weight", Dtype::F32, &[2, 3][..], &base[..]), ("m.b.weight", Dtype::Bf16, &[2, 1], &halves)];
    fs::write(dir.path().join("model.safetensors"), safetensors(&weights)).unwrap();
    fs::write(dir.path().join("adapter_config.json"), config).unwrap();
    let bytes: Vec<Vec<u8>> = adapter.iter().map(|(_, _, values)| floats(values)).collect();
    let tensors: Vec<_> = adapter
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (*name, Dtype::F32, *shape, &bytes[..]))
        .collect();
    fs::write(dir.path().join("adapter_model.safetensors"), safetensors(&tensors)).unwrap();
    met(dir.path(), "m.a.weight", expected);
}

/// The folder opens and its weight is this, or the error says so.
fn met(dir: &Path, name: &str, expected: Result<&[f32], &str>) {
    match (Checkpoint::open(dir), expected) {
        (Ok(open), Ok(values)) => {
            let rows = open.tensor(name).unwrap().rows();
            assert_eq!(open.rows(name, 0..rows).unwrap(), values);
            let columns = values.len() / rows;
            assert_eq!(open.rows(name, 1..rows).unwrap(), values[columns..], "a part of the rows");
        }
        (Err(got), Err(want)) => assert!(got.to_string().contains(want), "{got} lacks {want}"),
        (got, want) => panic!("got {got:?}, wanted {want:?}"),
    }
}

const CONFIG: &str = r#"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "target_modules": ["a"],
    "use_dora": false, "rank_pattern": {}, "loftq_config": {}, "layers_pattern": null}"#;
const A: (&str, &[usize], &[f32]) =
    ("base_model.model.m.a.lora_A.weight", &[2, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, -1.0]);
const B: (&str, &[usize], &[f32]) = ("base_model.model.m.a.lora_B.weight", &[2, 2], &[1.0, 2.0, 0.5, 0.0]);

#[test]
fn the_sum_is_read_in_the_place_of_the_weight() {
    // scale 2: B A = [[1, 2, -2], [0.5, 0, 0]].
    check(CONFIG, &[A, B], Ok(&[2.0, 5.0, -2.0, 4.0, 4.0, 5.0]));
}

#[test]
fn weights_that_were_trained_whole_take_the_place_of_the_bases() {
    let whole = ("base_model.model.m.a.weight", &[2, 3][..], &[9.0; 6][..]);
    check(CONFIG, &[whole], Ok(&[9.0; 6]));
}

#[test]
fn another_kind_of_adapter_is_refused_by_the_name_of_what_differs() {
    let with = |text: &str| CONFIG.replacen('{', &format!("{{{text},"), 1);
    for (text, named) in [
        (r#""use_rslora": true"#, "use_rslora is true"),
        (r#""layer_replication": [[0, 1]]"#, "layer_replication"),
        (r#""some_new_setting": 3"#, "some_new_setting is 3"),
    ] {
        check(&with(text), &[A, B], Err(named));
    }
    for (from, to, named) in [
        (r#""use_dora": false"#, r#""use_dora": true"#, "use_dora is true"),
        (r#""bias": "none""#, r#""bias": "all""#, r#"bias is "all""#),
        ("LORA", "IA3", "peft_type"),
        (r#""rank_pattern": {}"#, r#""rank_pattern": {"x": 1}"#, "rank_pattern"),
        (r#""r": 2"#, r#""r": 0"#, "r is no rank"),
        (r#""lora_alpha": 4"#, r#""lora_alpha": "x""#, "lora_alpha is no number"),
    ] {
        check(&CONFIG.replace(from, to), &[A, B], Err(named));
    }
    let magnitude = ("base_model.model.m.a.lora_magnitude_vector", &[2][..], &[1.0, 1.0][..]);
    check(CONFIG, &[A, B, magnitude], Err("lora_magnitude_vector is of another kind"));
}

#[test]
fn pairs_that_do_not_fit_are_refused_with_their_shapes() {
    check(CONFIG, &[A], Err("only one of lora_A and lora_B"));
    check(
        &CONFIG.replace(r#""r": 2"#, r#""r": 3"#),
        &[A, B],
        Err("do not fit the weight [2, 3] with rank 3"),
    );
    let wide = (A.0, &[2, 4][..], &[0.0; 8][..]);
    check(CONFIG, &[wide, B], Err("lora_A [2, 4] and lora_B [2, 2] do not fit"));
    let stranger = |name: &'static str, (_, shape, values): (&str, &'static [usize], &'static [f32])| {
        (name, shape, values)
    };
    check(
        CONFIG,
        &[stranger("m.c.lora_A.weight", A), stranger("m.c.lora_B.weight", B)],
        Err("no such module"),
    );
}

#[test]
fn an_adapter_among_the_weights_takes_its_settings_from_either_file() {
    let dir = folder();
    let (base, a, b) = (floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), floats(A.2), floats(B.2));
    let head = floats(&[7.0, 8.0]);
    let weights = [
        ("base_model.model.m.a.base_layer.weight", Dtype::F32, &[2, 3][..], &base[..]),
        ("base_model.model.m.a.lora_A.default.weight", Dtype::F32, A.1, &a),
        ("base_model.model.m.a.lora_B.default.weight", Dtype::F32, B.1, &b),
        ("base_model.model.h.original_module.weight", Dtype::F32, &[2, 1], &a[..8]),
        ("base_model.model.h.modules_to_save.default.weight", Dtype::F32, &[2, 1], &head),
    ];
    fs::write(dir.path().join("model.safetensors"), safetensors(&weights)).unwrap();
    met(dir.path(), "m.a.weight", Err("no adapter_config.json says how"));
    let training = r#"{"peft_lora_config": {"lora_r": 2, "lora_alpha": 4, "use_rslora": false}}"#;
    fs::write(dir.path().join("model_config.json"), training).unwrap();
    met(dir.path(), "m.a.weight", Ok(&[2.0, 5.0, -2.0, 4.0, 4.0, 5.0]));
    met(dir.path(), "h.weight", Ok(&[7.0, 8.0]));
    fs::write(
        dir.path().join("adapter_config.json"),
        CONFIG.replace(r#""lora_alpha": 4"#, r#""lora_alpha": 0"#),
    )
    .unwrap();
    met(dir.path(), "m.a.weight", Ok(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
}

#[test]
fn an_adapter_without_its_base_says_what_is_missing() {
    let dir = folder();
    fs::rename(dir.path().join("model.safetensors"), dir.path().join("adapter_model.safetensors")).unwrap();
    met(dir.path(), "a", Err("an adapter without its base"));
}

#[test]
fn both_files_of_an_adapter_are_part_of_the_identity() {
    let dir = folder();
    fs::write(dir.path().join("adapter_config.json"), CONFIG).unwrap();
    fs::write(dir.path().join("adapter_model.safetensors"), safetensors(&[])).unwrap();
    let identity = Checkpoint::open(dir.path()).unwrap().identity().unwrap();
    let names: Vec<&str> = identity.iter().map(|entry| entry.path.as_str()).collect();
    assert!(
        names.contains(&"adapter_config.json") && names.contains(&"adapter_model.safetensors"),
        "{names:?}"
    );
}
