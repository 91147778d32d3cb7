//! The tree keeps its own rules: sizes, rooms, names, and a README that is still true.

// The helpers below are test code too, which the lint cannot see.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rewardrt_tests::root;

/// Where `unsafe` may stand: the views of KV memory that are bound in place, the loading of the library, and the calls
/// that the binding to libav lacks.
const UNSAFE_ALLOWED: [&str; 3] =
    ["runtime/src/media/video/libav/ffi.rs", "runtime/src/session/kv.rs", "runtime/src/session/library.rs"];
/// Lines of one Rust file.
const LONGEST_FILE: usize = 600;
/// Families are described in `models/`; the compiler and the engine know none of them.
const FAMILIES: [&str; 4] = ["qwen", "llava", "internvl", "siglip"];
/// The crates with rooms of their own.
const CRATES: [&str; 5] = ["models", "export", "runtime", "runtime/cli", "runtime/server"];
/// What git ignores, and git's own folder.
const NOT_OURS: [&str; 5] = [".git", "target", "vendor", ".demo", ".golden"];
/// How many dependencies may share one line of reason.
const DEPENDENCIES_A_REASON: usize = 3;

/// Every file of the tree with its path from the root, forward slashes.
fn files() -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    collect(&root(), "", &mut found);
    assert!(found.len() > 20, "the tree was not found: {} files", found.len());
    found
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<(String, PathBuf)>) {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in names.into_iter().filter(|n| !NOT_OURS.contains(&n.as_str())) {
        let path = folder.join(&name);
        let shown = format!("{prefix}{name}");
        if path.is_dir() {
            collect(&path, &format!("{shown}/"), found);
        } else {
            found.push((shown, path));
        }
    }
}

/// The Rust sources, without this file: it must name what it forbids.
fn sources() -> Vec<(String, String)> {
    let rust = files().into_iter().filter(|(name, _)| name.ends_with(".rs") && name != "tests/tidy.rs");
    rust.map(|(name, path)| (name, fs::read_to_string(path).unwrap())).collect()
}

/// The one door: runs a rule over every line of the chosen sources and shows all that break it.
fn check(chosen: impl Fn(&str) -> bool, breaks: impl Fn(&str) -> bool, rule: &str) {
    let mut found = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| chosen(name)) {
        let lines = text.lines().enumerate().filter(|(_, line)| breaks(line));
        found.extend(lines.map(|(n, line)| format!("{name}:{}: {}", n + 1, line.trim())));
    }
    assert!(found.is_empty(), "{rule}\n{}", found.join("\n"));
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn manifest(name: &str) -> toml::Table {
    read(name).parse().unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Whether `word` stands in the line's code as a whole word; what follows `//` is prose.
fn has_word(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

#[test]
fn no_rust_file_is_over_600_lines() {
    let long: Vec<_> =
        sources().into_iter().filter(|(_, text)| text.lines().count() > LONGEST_FILE).collect();
    assert!(long.is_empty(), "split: {:?}", long.iter().map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn export_and_runtime_name_no_family() {
    let named = |line: &str| FAMILIES.iter().any(|family| line.to_lowercase().contains(family));
    let rooms = |name: &str| name.starts_with("export/") || name.starts_with("runtime/");
    check(rooms, named, "a family is a description: move what is special about it to models/src/family");
}

#[test]
fn unsafe_stands_only_in_the_audited_files() {
    let elsewhere = |name: &str| !UNSAFE_ALLOWED.contains(&name);
    check(elsewhere, |line| has_word(line, "unsafe"), "unsafe code outside the audited files");
}

#[test]
fn nothing_is_left_unfinished() {
    let unfinished = |line: &str| {
        let marked = |name| line.contains(&format!("{name}!("));
        ["todo", "unimplemented"].into_iter().any(marked) || line.trim() == format!("#[{}]", "ignore")
    };
    check(|_| true, unfinished, "unfinished code, or a test that is ignored without a reason");
}

#[test]
fn models_does_no_io() {
    let io = |line: &str| ["std::fs", "std::net", "std::process"].iter().any(|m| line.contains(m));
    check(
        |name| name.starts_with("models/"),
        io,
        "models is pure: effects live in export, runtime and the doors",
    );
}

#[test]
fn export_and_runtime_never_see_each_other_and_models_links_no_onnx_runtime() {
    let forbidden = [
        ("models/Cargo.toml", vec!["ort", "ort-sys", "rewardrt", "rewardrt-export"]),
        ("export/Cargo.toml", vec!["rewardrt"]),
        ("runtime/Cargo.toml", vec!["rewardrt-export"]),
    ];
    for (name, absent) in forbidden {
        let manifest = manifest(name);
        let used = dependencies(&manifest);
        for other in absent {
            assert!(!used.contains(other), "{name} depends on {other}; they meet in the package, in models/");
        }
    }
}

/// The names in every dependency table of a manifest.
fn dependencies(manifest: &toml::Table) -> BTreeSet<&str> {
    dependency_tables(manifest).flat_map(|table| table.keys().map(String::as_str)).collect()
}

fn dependency_tables(manifest: &toml::Table) -> impl Iterator<Item = &toml::Table> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    kinds.into_iter().filter_map(|kind| manifest.get(kind)?.as_table())
}

#[test]
fn every_dependency_is_named_once_in_the_workspace_with_its_reason() {
    for (name, path) in files().iter().filter(|(name, _)| name.ends_with("/Cargo.toml")) {
        let table: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
        for (dependency, entry) in dependency_tables(&table).flatten() {
            let shared = entry.get("workspace").and_then(toml::Value::as_bool) == Some(true);
            assert!(shared, "{name}: {dependency} is not taken from [workspace.dependencies]");
        }
    }
    let text = read("Cargo.toml");
    let table = text.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let mut since_reason = DEPENDENCIES_A_REASON;
    for line in table.lines().filter(|line| !line.trim().is_empty() && !line.contains("path = ")) {
        since_reason = if line.starts_with('#') { 0 } else { since_reason + 1 };
        assert!(since_reason <= DEPENDENCIES_A_REASON, "no line of reason above: {line}");
    }
}

#[test]
fn no_path_of_one_machine_is_in_the_tree() {
    let machine = [concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("../sh", "ared")];
    for (name, path) in
        files().iter().filter(|(name, _)| !["tests/tidy.rs", "Cargo.lock"].contains(&name.as_str()))
    {
        // Pictures and weights are not text, and hold no paths.
        let Ok(text) = fs::read_to_string(path) else { continue };
        for (n, line) in text.lines().enumerate() {
            assert!(!machine.iter().any(|m| line.contains(m)), "{name}:{}: {line}", n + 1);
        }
    }
}

/// The rows of the README's tree: a path from the root, spaces, a phrase. A module stands there without its `.rs`.
fn tree() -> Vec<(String, String)> {
    let readme = read("README.md");
    let block = readme.split("```tree\n").nth(1).and_then(|rest| rest.split("```").next());
    let rows = block.expect("README.md has a block that opens with ```tree").lines();
    rows.map(|row| row.split_once(' ').map_or((row, ""), |(path, phrase)| (path, phrase.trim())))
        .map(|(path, phrase)| (path.trim_end_matches('/').to_owned(), phrase.to_owned()))
        .collect()
}

#[test]
fn every_row_of_the_readme_tree_exists_and_says_something() {
    for (path, phrase) in tree() {
        let there = [path.clone(), format!("{path}.rs")].iter().any(|path| root().join(path).exists());
        assert!(there, "README's tree names {path}, which does not exist");
        assert!(phrase.len() > 8, "README's tree says nothing about {path}");
    }
}

#[test]
fn every_room_is_in_the_readme_tree() {
    let rows: BTreeSet<String> = tree().into_iter().map(|(path, _)| path).collect();
    let mut rooms = children("");
    for name in CRATES {
        rooms.extend(children(&format!("{name}/src")).into_iter().filter(|room| !room.ends_with("/lib")));
    }
    let missing: Vec<_> = rooms.difference(&rows).collect();
    assert!(missing.is_empty(), "not in README's tree: {missing:?}");
}

/// What lies directly in a folder, with its path from the root; a module's file and its folder are one.
fn children(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let ours = names.filter(|name| !NOT_OURS.contains(&name.as_str()));
    let paths = ours.map(|name| if folder.is_empty() { name } else { format!("{folder}/{name}") });
    paths.map(|path| path.trim_end_matches(".rs").to_owned()).collect()
}

#[test]
fn ci_and_readme_run_the_same_test_command() {
    for name in ["README.md", ".ci/run"] {
        assert!(read(name).lines().any(|line| line.trim() == "make test"), "{name} does not run `make test`");
    }
}

#[test]
fn both_licences_lie_at_the_root() {
    assert!(read("LICENSE-MIT").starts_with("MIT License"));
    assert!(read("LICENSE-APACHE").contains("Version 2.0, January 2004"));
}
