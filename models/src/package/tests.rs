use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn manifest() -> Value {
    let entry = |path: &str| json!({"path": path, "size": 3, "sha256": "a".repeat(64)});
    let files = [
        "vision.onnx",
        "vision.weights",
        "decoder.onnx",
        "decoder.weights",
        "tokenizer.json",
        "chat_template.jinja",
    ];
    let graph = |file: &str, weights: &str| {
        json!({"file": file, "weights": [weights],
            "inputs": [{"name": "x", "dtype": "f32", "shape": ["b", 4]}], "outputs": []})
    };
    json!({
        "format": 1, "name": "tiny", "family": "some", "precision": "int4",
        "source": [entry("config.json")],
        "vision": {"graph": graph("vision.onnx", "vision.weights"), "position_side": 8, "head_dim": 12,
            "rotary_theta": 10000.0, "deepstack": 2, "hidden": 64},
        "decoder": {"graph": graph("decoder.onnx", "decoder.weights"), "layers": 3, "kv_heads": 2, "head_dim": 16,
            "hidden": 64, "vocabulary": 559, "max_positions": 4096,
            "position": {"theta": 5e6, "rotary_dim": 16, "sections": [4, 2, 2], "layout": "interleaved"}},
        "image": {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "min_pixels": 4096,
            "max_pixels": 36864, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
            "rescale_factor": 0.00392156862745098, "resample": "bicubic-torch"},
        "video": {"frames": "fps:2", "bounds": {"min": 4, "max": 768, "multiple": 1}, "patch_size": 16,
            "temporal_patch_size": 2, "merge_size": 2,
            "size": {"bound": "clip", "min_pixels": 4096, "max_pixels": 65536},
            "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "rescale_factor": 0.00392156862745098,
            "resample": "bicubic-torch", "shown": {"as": "stamped", "start": 544, "end": 545}},
        "tokens": {"image": 547, "video": 548, "eos": [542]},
        "generation": {"do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20,
            "repetition_penalty": 1.05},
        "tokenizer": "tokenizer.json", "chat_template": "chat_template.jinja", "default_pack": "p",
        "requires": {"onnxruntime": "1.32.0", "operators": ["ai.onnx::Gemm"]},
        "files": files.map(entry),
    })
}

/// The bytes of a package's manifest with these values.
fn sealed(json: &Value) -> Vec<u8> {
    seal::seal(&serde_json::to_vec_pretty(json).unwrap())
}

/// The manifest with one value changed is refused by an error that names the field.
fn check(pointer: &str, value: Value, expected: &str) {
    let mut json = manifest();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match json.pointer_mut(parent).unwrap() {
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        object => object[key] = value,
    }
    let error = Manifest::parse(&sealed(&json)).expect_err("the value must be refused").to_string();
    assert!(error.contains(expected), "{error} does not name {expected}");
}

#[test]
fn what_is_printed_is_what_was_parsed() {
    let first = Manifest::parse(&sealed(&manifest())).unwrap();
    let again = Manifest::parse(&first.print().unwrap()).unwrap();
    assert_eq!(first, again);
    assert_eq!(first.sha256(), again.sha256());
}

#[test]
fn a_value_that_no_package_has_is_refused_by_its_field() {
    check("/format", json!(2), "format");
    check("/surprise", json!(1), "surprise");
    check("/decoder/surprise", json!(1), "surprise");
    check("/precision", json!("fp12"), "fp12");
    check("/decoder/layers", json!(0), "decoder.layers");
    check("/decoder/head_dim", json!(15), "rotary_dim");
    check("/decoder/position/sections", json!([4, 2, 3]), "sections");
    check("/decoder/position/theta", json!(-1.0), "theta");
    check("/vision/hidden", json!(65), "vision.hidden");
    check("/vision/deepstack", json!(4), "vision.deepstack");
    check("/vision", json!(null), "image");
    check("/image/min_pixels", json!(36865), "image.min_pixels");
    check("/image/std/1", json!(0.0), "image.std");
    check("/video/frames", json!("fps:0"), "is no frame rule");
    check("/video/bounds/min", json!(0), "video.bounds.min");
    check("/video/bounds/max", json!(769), "video.bounds.max");
    check("/video/patch_size", json!(14), "video.patch_size");
    check("/video/size/min_pixels", json!(65537), "video.size.min_pixels");
    check("/video/size/cap_tokens", json!(0), "video.size.cap_tokens");
    check("/video/size", json!({"bound": "fixed", "height": 32, "width": 32}), "video.shown");
    check("/video/std/1", json!(0.0), "video.std");
    check("/video/rescale_factor", json!(0), "video.rescale_factor");
    check("/image", json!(null), "image");
    check("/video/shown/start", json!(559), "video.shown.start");
    check("/video/shown", json!({"as": "pooled"}), "video.shown");
    check("/video/shown/surprise", json!(1), "surprise");
    check("/video/size/surprise", json!(1), "surprise");
    check("/tokens/video", json!(null), "tokens.video");
    check("/tokens/eos", json!([]), "tokens.eos");
    check("/tokens/image", json!(559), "tokens");
    check("/generation/top_p", json!(1.5), "top_p");
    check("/tokenizer", json!("other.json"), "other.json");
}

/// The manifest of a package that cuts pictures into tiles, with one value of them changed, is refused by its field.
fn check_tiling(pointer: &str, value: Value, expected: &str) {
    let mut json = manifest();
    json["vision"]["deepstack"] = json!(0);
    let image = json!({"patch_size": 14, "temporal_patch_size": 1, "merge_size": 1, "min_pixels": 3136,
        "max_pixels": 3136, "tiling": {"side": 56, "sizes": [[56, 112], [112, 56]], "max_tiles": 9, "several": "whole"}});
    json["image"].as_object_mut().unwrap().extend(image.as_object().unwrap().clone());
    let video = json!({"patch_size": 14, "temporal_patch_size": 1, "merge_size": 1, "frames": "all",
        "size": {"bound": "fixed", "height": 56, "width": 56}, "shown": {"as": "pooled"}});
    json["video"].as_object_mut().unwrap().extend(video.as_object().unwrap().clone());
    let good = Manifest::parse(&sealed(&json)).unwrap();
    assert_eq!(Manifest::parse(&good.print().unwrap()).unwrap(), good);
    *json.pointer_mut(pointer).unwrap() = value;
    let error = Manifest::parse(&sealed(&json)).expect_err("the value must be refused").to_string();
    assert!(error.contains(expected), "{error} does not name {expected}");
}

#[test]
fn tiles_that_no_picture_has_are_refused_by_their_field() {
    check_tiling("/image/tiling/side", json!(13), "image.tiling.side");
    check_tiling("/image/tiling/sizes", json!([]), "image.tiling.sizes");
    check_tiling("/image/tiling/sizes/1/0", json!(57), "image.tiling.sizes");
    check_tiling("/image/tiling/sizes/1/0", json!(0), "image.tiling.sizes");
    check_tiling("/image/tiling/sizes/1/0", json!(56 << 9), "image.tiling.sizes");
    check_tiling("/image/tiling/max_tiles", json!(0), "image.tiling.max_tiles");
    check_tiling("/image/tiling/several", json!("some"), "some");
    check_tiling("/image/merge_size", json!(2), "image.merge_size");
    check_tiling("/image/max_pixels", json!(3137), "image.max_pixels");
    check_tiling("/vision/deepstack", json!(1), "vision.deepstack");
    check_tiling("/video/size/height", json!(57), "video.size.height");
    check_tiling("/video/size/width", json!(0), "video.size.width");
    check_tiling("/video/temporal_patch_size", json!(2), "video.temporal_patch_size");
    check_tiling("/video/shown", json!({"as": "grid"}), "video.shown");
}

#[test]
fn what_recurrent_layers_keep_is_told_only_where_there_are_some() {
    let absent = Manifest::parse(&sealed(&manifest())).unwrap();
    assert_eq!((absent.decoder.recurrent, absent.thinking), (None, None));
    let printed = String::from_utf8(absent.print().unwrap()).unwrap();
    assert!(!printed.contains("recurrent") && !printed.contains("thinking"));
    let sizes =
        json!({"layers": 3, "heads": 4, "key_dim": 16, "value_dim": 16, "window": 3, "channels": 128});
    let mut json = manifest();
    json["decoder"]["recurrent"] = sizes.clone();
    json["thinking"] = json!(false);
    let present = Manifest::parse(&sealed(&json)).unwrap();
    assert_eq!(Manifest::parse(&present.print().unwrap()).unwrap(), present);
    assert_eq!((present.decoder.recurrent.unwrap().channels, present.thinking), (128, Some(false)));
    for field in ["layers", "heads", "key_dim", "value_dim", "window", "channels"] {
        let mut wrong = sizes.clone();
        wrong[field] = json!(0);
        check("/decoder/recurrent", wrong, &format!("decoder.recurrent.{field}"));
    }
    check("/decoder/recurrent", json!({"layers": 3}), "missing field");
}

/// The manifest of a package with several decoder graphs, each named by its file.
fn with_variants() -> Value {
    let mut json = manifest();
    let graph = |file: &str, floats: &str, version: &str| {
        json!({"file": file, "weights": ["decoder.weights"], "inputs": [], "outputs": [],
            "activations": floats, "onnxruntime": version})
    };
    let variants = [
        graph("old.onnx", "f32", "1.24.0"),
        graph("card.onnx", "bf16", "1.32.0"),
        graph("oldcard.onnx", "bf16", "1.24.0"),
    ];
    for variant in &variants {
        let entry = json!({"path": variant["file"], "size": 3, "sha256": "a".repeat(64)});
        json["files"].as_array_mut().unwrap().push(entry);
    }
    json["decoder"]["graph"]["onnxruntime"] = json!("1.32.0");
    json["decoder"]["variants"] = json!(variants);
    json["requires"]["onnxruntime"] = json!("1.24.0");
    json
}

#[test]
fn the_newest_graph_that_the_library_runs_is_chosen_in_the_floats_asked_for() {
    use Activations::{Bf16, F16, F32};
    let manifest = Manifest::parse(&sealed(&with_variants())).unwrap();
    assert_eq!(Manifest::parse(&manifest.print().unwrap()).unwrap(), manifest);
    let choose = |version: &str, floats: &[Activations]| {
        let graphs: Vec<&Graph> = manifest.decoder_graphs().collect();
        manifest.choose(graphs.into_iter(), version, floats).map(|graph| graph.file.as_str())
    };
    assert_eq!(choose("1.32.0", &[F32]), Ok("decoder.onnx"));
    assert_eq!(choose("1.33.1", &[F16, Bf16]), Ok("card.onnx"));
    assert_eq!(choose("1.31.1", &[F32]), Ok("old.onnx"));
    assert_eq!(choose("1.31.1", &[F16, Bf16, F32]), Ok("oldcard.onnx"));
    assert_eq!(choose("1.23.9", &[F32]), Err(Unfit::Version("1.24.0")));
    assert_eq!(choose("nonsense", &[F32]), Err(Unfit::Version("1.24.0")));
    assert_eq!(choose("1.32.0", &[F16]), Err(Unfit::Activations));
}

#[test]
fn a_variant_names_listed_files_and_versions_only() {
    let refused = |pointer: &str, value: Value, expected: &str| {
        let mut json = with_variants();
        *json.pointer_mut(pointer).unwrap() = value;
        let error = Manifest::parse(&sealed(&json)).expect_err("the value must be refused").to_string();
        assert!(error.contains(expected), "{error} does not name {expected}");
    };
    refused("/decoder/variants/1/file", json!("other.onnx"), "decoder.variants[1].file");
    refused("/decoder/variants/0/weights/0", json!("../x"), "decoder.variants[0].weights");
    refused("/decoder/variants/2/onnxruntime", json!("1.32"), "decoder.variants[2].onnxruntime");
    refused("/decoder/variants/0/activations", json!("f8"), "f8");
    refused("/requires/onnxruntime", json!("new"), "requires.onnxruntime");
}

#[test]
fn a_file_name_cannot_leave_the_folder() {
    for name in
        ["../etc/passwd", "/etc/passwd", "a/b", "a\\b", "", ".hidden", "nul\0", "package.json", "vision.onnx"]
    {
        check("/files/5/path", json!(name), "files[5].path");
    }
    check("/decoder/graph/weights/0", json!("../decoder.weights"), "not listed");
    check("/files/0/sha256", json!("A".repeat(64)), "files[0].sha256");
}

#[test]
fn every_bit_of_a_sealed_manifest_is_guarded() {
    let good = sealed(&manifest());
    for bit in 0..8 * good.len() {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Manifest::parse(&bad).is_err(), "bit {bit} was changed and not noticed");
    }
    for length in 0..good.len() {
        assert!(Manifest::parse(&good[..length]).is_err(), "{length} bytes were taken for the whole");
    }
    assert!(Manifest::parse(&[&good[..], b"\n"].concat()).is_err());
    let text = String::from_utf8(good).unwrap();
    let renamed = Manifest::parse(text.replace("\"tiny\"", "\"huge\"").as_bytes()).unwrap_err();
    let ManifestError::Seal { expected, got } = &renamed else { panic!("{renamed}") };
    assert!(text.contains(expected) && renamed.to_string().contains(got));
}

#[test]
fn a_graph_survives_its_own_bytes() {
    use onnx::*;
    use prost::Message;
    let node = NodeProto {
        input: vec!["x".into(), String::new()],
        attribute: vec![
            AttributeProto::int("a", -1),
            AttributeProto::float("f", 0.5),
            AttributeProto::text("s", "t"),
        ],
        ..NodeProto::default()
    };
    let graph = GraphProto { node: vec![node], ..GraphProto::default() };
    let model = ModelProto { ir_version: IR_VERSION, graph: Some(graph), ..ModelProto::default() };
    assert_eq!(ModelProto::decode(model.encode_to_vec().as_slice()).unwrap(), model);
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Manifest::parse(&bytes);
    }

    /// A manifest that was changed and sealed again is refused, or it prints and parses to itself.
    #[test]
    fn a_mutated_manifest_is_refused_or_stable(at in 0usize..6000, byte in any::<u8>()) {
        let mut text = serde_json::to_vec_pretty(&manifest()).unwrap();
        let at = at % text.len();
        text[at] = byte;
        if let Ok(parsed) = Manifest::parse(&seal::seal(&text)) {
            prop_assert_eq!(Manifest::parse(&parsed.print().unwrap()).unwrap(), parsed);
        }
    }
}
