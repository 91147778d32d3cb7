use super::*;
use serde_json::json;
use tempfile::TempDir;

/// A manifest that lists these files; `w` must be among them.
fn manifest(name: &str, files: &[FileEntry]) -> Manifest {
    let graph = json!({"file": "w", "weights": [], "inputs": [], "outputs": []});
    let position = json!({"theta": 10000.0, "rotary_dim": 4, "sections": [2, 0, 0], "layout": "chunked"});
    let value = json!({
        "format": rewardrt_models::package::FORMAT, "name": name, "family": "test", "precision": "fp32",
        "source": [], "vision": null, "image": null,
        "decoder": {"graph": graph, "layers": 1, "kv_heads": 1, "head_dim": 4, "hidden": 4, "vocabulary": 8,
            "max_positions": 8, "position": position},
        "tokens": {"image": null, "video": null, "eos": [1]},
        "generation": {"do_sample": false, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0},
        "tokenizer": "w", "chat_template": "w", "default_pack": "test",
        "requires": {"onnxruntime": "1.32.0", "operators": []}, "files": files,
    });
    serde_json::from_value(value).unwrap()
}

/// Seals a package of one file with these bytes.
fn seal(out: &Path, bytes: &[u8], force: bool) -> Result<SealedPackage, SealError> {
    let staging = Staging::new(out, force)?;
    let entry = staging.write("w", bytes)?;
    staging.seal(manifest("n", &[entry]))
}

/// Names in a folder, in order.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The one door: a home where `change` was done; a package is sealed at `p` there, and the result is `expected`.
fn check(change: impl FnOnce(&Path), force: bool, expected: Result<&[&str], &str>) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    change(home.path());
    match (seal(&home.path().join("p"), b"new", force), expected) {
        (Ok(_), Ok(left)) => {
            assert_eq!(names(home.path()), left);
            assert_eq!(fs::read(home.path().join("p/w")).unwrap(), b"new");
        }
        (Err(got), Err(want)) => assert!(got.to_string().contains(want), "{got} lacks {want}"),
        (got, want) => panic!("got {got:?}, wanted {want:?}"),
    }
    home
}

#[test]
fn a_sealed_package_is_alone_and_whole() {
    let home = check(|_| (), false, Ok(&["p"]));
    let path = home.path().join("p");
    assert_eq!(names(&path), ["package.json", "w"]);
    let read = Manifest::parse(&fs::read(path.join(MANIFEST_FILE)).unwrap()).unwrap();
    assert_eq!(read.files[0].sha256, hex(&Sha256::digest(b"new")));
}

#[test]
fn the_result_names_the_manifest_and_its_hash() {
    let home = tempfile::tempdir().unwrap();
    let sealed = seal(&home.path().join("p"), b"x", false).unwrap();
    assert_eq!(sealed.path, home.path().join("p"));
    assert_eq!(sealed.sha256, sealed.manifest.sha256().unwrap());
    assert_eq!(sealed.sha256, hex(&Sha256::digest(fs::read(sealed.path.join(MANIFEST_FILE)).unwrap())));
}

#[test]
fn what_exists_is_replaced_only_by_force_and_only_when_it_is_a_package() {
    let package = |home: &Path| drop(seal(&home.join("p"), b"old", false).unwrap());
    let home = check(package, false, Err("p exists; choose another name, or replace it with --force"));
    assert_eq!(fs::read(home.path().join("p/w")).unwrap(), b"old");
    check(package, true, Ok(&["p"]));
    check(
        |home| fs::write(home.join("p"), "mine").unwrap(),
        true,
        Err("is not a package and is not replaced"),
    );
    check(|home| fs::create_dir(home.join("p")).unwrap(), true, Err("is not a package"));
    let with_folder = |home: &Path| {
        package(home);
        fs::create_dir(home.join("p/src")).unwrap();
    };
    check(with_folder, true, Err("is not a package"));
    let foreign = |home: &Path| {
        fs::create_dir(home.join("p")).unwrap();
        fs::write(home.join("p/package.json"), r#"{"name": "p", "files": []}"#).unwrap();
    };
    check(foreign, true, Err("is not a package"));
    let link = |home: &Path| {
        drop(seal(&home.join("q"), b"old", false).unwrap());
        std::os::unix::fs::symlink(home.join("q"), home.join("p")).unwrap();
    };
    check(link, true, Err("is not a package"));
}

#[test]
fn an_export_that_fails_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("p");
    let staging = Staging::new(&out, false).unwrap();
    staging.write("w", b"x").unwrap();
    assert_eq!(names(home.path()).len(), 1);
    drop(staging);
    assert_eq!(names(home.path()), [""; 0]);
}

#[test]
fn a_failed_replacement_leaves_the_old_package() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("p");
    seal(&out, b"old", false).unwrap();
    let staging = Staging::new(&out, true).unwrap();
    let entry = staging.write("w", b"new").unwrap();
    assert_eq!(fs::read(out.join("w")).unwrap(), b"old");
    let lie = FileEntry { size: entry.size + 1, ..entry };
    assert!(matches!(staging.seal(manifest("n", &[lie])), Err(SealError::Files(_))));
    assert_eq!(names(home.path()), ["p"]);
    assert_eq!(fs::read(out.join("w")).unwrap(), b"old");
}

#[test]
fn the_manifest_must_list_exactly_what_was_written() {
    let home = tempfile::tempdir().unwrap();
    let stage = || Staging::new(&home.path().join("p"), false).unwrap();
    let refused = |staging: Staging, files: &[FileEntry], name: &str| {
        let error = staging.seal(manifest("n", files)).unwrap_err().to_string();
        assert!(error.contains(&format!("differ in {name}")), "{error}");
    };
    let staging = stage();
    let w = staging.write("w", b"x").unwrap();
    staging.write("extra", b"x").unwrap();
    refused(staging, std::slice::from_ref(&w), "extra");
    let staging = stage();
    staging.write("w", b"x").unwrap();
    let absent = FileEntry { path: "absent".into(), ..w.clone() };
    refused(staging, &[w.clone(), absent], "absent");
    let staging = stage();
    staging.write("w", b"x").unwrap();
    let mut unusable = manifest("n", &[w]);
    unusable.tokens.eos.clear();
    assert!(matches!(staging.seal(unusable), Err(SealError::Manifest(_))));
    assert_eq!(names(home.path()), [""; 0]);
}

#[test]
fn strange_names_and_second_writes_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let staging = Staging::new(&home.path().join("p"), false).unwrap();
    for name in ["", "../x", "a/b", ".x", MANIFEST_FILE, "ä"] {
        assert!(matches!(staging.write(name, b""), Err(SealError::Name(_))), "{name}");
    }
    staging.write("w", b"").unwrap();
    assert!(matches!(staging.write("w", b""), Err(SealError::Io { .. })));
}

#[test]
fn a_place_without_name_or_folder_is_refused() {
    for path in ["/", "..", "no/such/folder/p"] {
        assert!(matches!(Staging::new(Path::new(path), false), Err(SealError::Place { .. })), "{path}");
    }
}

#[test]
fn what_a_killed_export_left_is_removed_and_other_files_stay() {
    let litter = |home: &Path| {
        for name in [".p.partial-1-0", ".p.partial-my-notes", ".pq.partial-1-0"] {
            fs::create_dir(home.join(name)).unwrap();
            fs::write(home.join(name).join("w"), "half").unwrap();
        }
        fs::write(home.join(".p.partial-2-0"), "a file").unwrap();
    };
    check(litter, false, Ok(&[".p.partial-2-0", ".p.partial-my-notes", ".pq.partial-1-0", "p"]));
}

#[test]
fn a_package_moved_aside_by_a_killed_export_is_put_back() {
    let killed = |home: &Path| {
        seal(&home.join("p"), b"old", false).unwrap();
        fs::rename(home.join("p"), home.join(".p.replaced-1-0")).unwrap();
        fs::create_dir(home.join(".p.partial-1-1")).unwrap();
    };
    let home = check(killed, false, Err("p exists"));
    assert_eq!(names(home.path()), ["p"]);
    assert_eq!(fs::read(home.path().join("p/w")).unwrap(), b"old");
    check(killed, true, Ok(&["p"]));
}

#[test]
fn an_old_package_beside_its_replacement_is_removed() {
    let killed = |home: &Path| {
        seal(&home.join("p"), b"old", false).unwrap();
        fs::rename(home.join("p"), home.join(".p.replaced-1-0")).unwrap();
        seal(&home.join("q"), b"newer", false).unwrap();
        fs::rename(home.join("q"), home.join("p")).unwrap();
    };
    check(killed, true, Ok(&["p"]));
}

#[test]
fn a_running_export_keeps_its_folder_and_the_second_to_finish_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("p");
    let first = Staging::new(&out, false).unwrap();
    let entry = first.write("w", b"first").unwrap();
    seal(&out, b"second", false).unwrap();
    assert_eq!(names(first.dir()), ["w"]);
    assert!(matches!(first.seal(manifest("n", &[entry])), Err(SealError::Exists(_))));
    assert_eq!(names(home.path()), ["p"]);
    assert_eq!(fs::read(out.join("w")).unwrap(), b"second");
}
