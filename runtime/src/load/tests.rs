use std::fs;
use std::path::Path;

use rewardrt_models::package::onnx::{NodeProto, StringStringEntryProto};
use rewardrt_models::package::{MANIFEST_FILE, Manifest};

use super::{LoadError, Package};
use crate::session::fixture;

/// A package that was changed by `change` is refused with an error that holds all of `expected`.
fn check(change: impl FnOnce(&Path), expected: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    fixture::package(dir.path());
    change(dir.path());
    let error = Package::open(dir.path()).expect_err("must be refused").to_string();
    for part in expected {
        assert!(error.contains(part), "{error:?} does not hold {part:?}");
    }
}

#[test]
fn a_good_package_opens_and_gives_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let package = fixture::package(dir.path());
    assert_eq!(package.read("chat_template.jinja").unwrap(), b"{{ messages }}");
    assert!(matches!(package.read("package.json"), Err(LoadError::Unlisted { .. })));
    assert_eq!(package.sha256(), package.manifest().sha256().unwrap());
}

#[test]
fn every_file_is_missed_when_missing_and_measured_when_cut_or_grown() {
    for name in ["decoder.onnx", "decoder.weights", "tokenizer.json", "chat_template.jinja"] {
        let bytes = |d: &Path| fs::read(d.join(name)).unwrap();
        check(|d| fs::remove_file(d.join(name)).unwrap(), &[name]);
        for keep in [0, 1] {
            check(
                |d| fs::write(d.join(name), &bytes(d)[..keep]).unwrap(),
                &[name, "bytes, package.json says"],
            );
        }
        check(|d| fs::write(d.join(name), &bytes(d)[..bytes(d).len() / 2]).unwrap(), &[name, "bytes"]);
        check(|d| fs::write(d.join(name), &bytes(d)[1..]).unwrap(), &[name, "bytes"]);
        check(|d| fs::write(d.join(name), [&bytes(d)[..], b"x"].concat()).unwrap(), &[name, "bytes"]);
    }
    check(|d| fs::remove_file(d.join(MANIFEST_FILE)).unwrap(), &[MANIFEST_FILE, "rewardrt export"]);
    check(
        |d| fs::write(d.join(MANIFEST_FILE), vec![b' '; (1 << 20) + 1]).unwrap(),
        &[MANIFEST_FILE, "bytes"],
    );
}

#[test]
fn a_thousand_flipped_bits_are_a_thousand_refusals() {
    let dir = tempfile::tempdir().unwrap();
    fixture::package(dir.path());
    let names = [MANIFEST_FILE, "decoder.onnx", "decoder.weights", "tokenizer.json", "chat_template.jinja"];
    let mut state = 7_u64;
    for flip in 0..1000 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let path = dir.path().join(names[flip % names.len()]);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let bit = (state >> 20) as usize % (8 * bad.len());
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bad).unwrap();
        let error = Package::open(dir.path()).expect_err("a flipped bit must be refused");
        assert!(flip % names.len() == 0 || matches!(error, LoadError::Digest { .. }), "{error}");
        fs::write(&path, &good).unwrap();
    }
    Package::open(dir.path()).unwrap();
}

#[test]
fn a_damaged_file_is_named_with_both_digests() {
    let flip = |d: &Path| {
        let path = d.join("tokenizer.json");
        fs::write(path, b"[]").unwrap();
    };
    let empty_object = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let empty_list = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945";
    check(flip, &["tokenizer.json", empty_object, empty_list]);
}

#[test]
fn files_that_nobody_listed_are_refused_by_name() {
    check(|d| fs::write(d.join("extra.bin"), b"").unwrap(), &["extra.bin", "not listed"]);
    check(|d| fs::create_dir(d.join("folder")).unwrap(), &["folder", "not listed"]);
}

#[cfg(unix)]
#[test]
fn links_are_refused_even_to_the_right_bytes() {
    for name in [MANIFEST_FILE, "decoder.weights"] {
        let link = |d: &Path| {
            let elsewhere = d.with_extension("elsewhere");
            fs::rename(d.join(name), &elsewhere).unwrap();
            std::os::unix::fs::symlink(&elsewhere, d.join(name)).unwrap();
        };
        check(link, &[name, "no regular file"]);
    }
}

fn external(key: &'static str, value: &'static str) -> impl FnOnce(&Path) {
    move |d| {
        fixture::edit_graph(d, |model| {
            let tensor = &mut model.graph.as_mut().unwrap().initializer[1];
            let entry = tensor.external_data.iter_mut().find(|e| e.key == key).unwrap();
            entry.value = value.to_owned();
        });
    }
}

#[test]
fn a_graph_opens_only_its_own_weights_within_their_bounds() {
    check(
        external("location", "../../etc/passwd"),
        &["decoder.onnx", "wq", "not among the graph's weight files"],
    );
    check(external("location", "tokenizer.json"), &["decoder.onnx", "not among the graph's weight files"]);
    check(external("offset", "99999999"), &["wq", "ends after decoder.weights"]);
    check(external("offset", "18446744073709551615"), &["wq", "ends after decoder.weights"]);
    check(external("offset", "-1"), &["wq", "bad external offset"]);
    check(external("length", "8"), &["wq", "its shape needs 1024"]);
    let checksum = |d: &Path| {
        fixture::edit_graph(d, |model| {
            let entry = StringStringEntryProto { key: "basepath".into(), value: "/".into() };
            model.graph.as_mut().unwrap().initializer[1].external_data.push(entry);
        });
    };
    check(checksum, &["wq", "more than location, offset and length"]);
}

#[test]
fn a_graph_with_foreign_operators_fields_or_ports_is_refused() {
    let operator = |d: &Path| {
        fixture::edit_graph(d, |model| {
            let node = NodeProto { op_type: "Loop".into(), ..NodeProto::default() };
            model.graph.as_mut().unwrap().node.push(node);
        });
    };
    check(operator, &["decoder.onnx", "ai.onnx::Loop", "requires.operators"]);
    // Field 25 of a model holds functions; their bodies could name anything.
    let functions = |d: &Path| {
        let graph = fs::read(d.join("decoder.onnx")).unwrap();
        fixture::replace(d, "decoder.onnx", &[&graph[..], &[0xCA, 0x01, 0x00]].concat());
    };
    check(functions, &["decoder.onnx", "fields that no exported graph has"]);
    let garbage = |d: &Path| fixture::replace(d, "decoder.onnx", b"\xff\xff\xff");
    check(garbage, &["decoder.onnx", "cannot be parsed"]);
    let renamed = |d: &Path| {
        fixture::edit_graph(d, |model| model.graph.as_mut().unwrap().input[0].name = "ids".into());
    };
    check(renamed, &["decoder.onnx", "no input \"input_ids\""]);
    let retyped = |d: &Path| {
        fixture::edit_graph(d, |model| {
            let port = model.graph.as_mut().unwrap().input[0].r#type.as_mut().unwrap();
            port.tensor_type.as_mut().unwrap().elem_type = 6;
        });
    };
    check(retyped, &["decoder.onnx", "another type or shape of input \"input_ids\""]);
}

#[test]
fn an_older_runtime_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    let package = fixture::package(dir.path());
    for version in ["1.32.0", "1.32.1", "1.40.0", "2.0.0"] {
        package.check_runtime(version).unwrap();
    }
    let error = package.check_runtime("1.31.1").unwrap_err().to_string();
    assert!(error.contains("1.32.0") && error.contains("1.31.1") && error.contains("setup.sh"), "{error}");
    assert!(package.check_runtime("nonsense").is_err());
}

#[test]
fn a_manifest_with_a_wrong_value_is_refused_by_its_field() {
    let resealed = |edit: fn(&mut Manifest)| {
        move |d: &Path| {
            let mut manifest = Manifest::parse(&fs::read(d.join(MANIFEST_FILE)).unwrap()).unwrap();
            edit(&mut manifest);
            fixture::seal(d, &manifest);
        }
    };
    check(resealed(|manifest| manifest.format = 2), &["format"]);
    check(resealed(|manifest| manifest.decoder.layers = 0), &["decoder.layers"]);
}

#[test]
fn a_manifest_that_was_edited_and_not_sealed_is_refused_with_both_digests() {
    let edit = |d: &Path| {
        let text = fs::read_to_string(d.join(MANIFEST_FILE)).unwrap();
        fs::write(d.join(MANIFEST_FILE), text.replace("\"name\": \"fixture\"", "\"name\": \"another\""))
            .unwrap();
    };
    check(edit, &[MANIFEST_FILE, "SHA-256 expected", "got"]);
}
