//! The whole program from outside: exit codes, documents, and the way from a checkpoint to a verdict.

// The lint's own exception covers test functions, not the helpers that they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const PROMPT: &str = "a painting of an ocean with clouds and birds";

/// A path of the repository.
fn tree(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(path).to_str().unwrap().to_owned()
}

/// A file or folder of the first golden family that has it.
fn golden(path: &str) -> String {
    let families = fs::read_dir(tree("tests/golden")).unwrap().map(|family| family.unwrap().path());
    let mut found: Vec<_> = families.map(|family| family.join(path)).filter(|path| path.exists()).collect();
    found.sort();
    found.first().unwrap_or_else(|| panic!("no golden {path}")).to_str().unwrap().to_owned()
}

/// The program with these arguments, in no environment but the library's place.
fn rewardrt(args: &[&str]) -> Command {
    let library = std::env::var_os("ORT_DYLIB_PATH").filter(|path| Path::new(path).is_file());
    let library = library.expect("ORT_DYLIB_PATH must name ONNX Runtime's library: run `make test`");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rewardrt"));
    command.env_clear().env("ORT_DYLIB_PATH", library).args(args);
    command
}

/// The one door: runs the program and demands the exit code.
fn check(args: &[&str], code: i32) -> Output {
    let output = rewardrt(args).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{}{}", out(&output), err(&output));
    output
}

/// A refusal: the exit code, nothing on stdout, and on stderr every one of the words, as text and as JSON.
fn check_refusal(args: &[&str], (exit, code): (i32, &str), words: &[&str]) {
    let text = check(args, exit);
    assert!(text.stdout.is_empty(), "{args:?} printed {}", out(&text));
    let with_json = [args, &["--json"]].concat();
    let json = check(&with_json, exit);
    assert!(json.stdout.is_empty(), "{args:?} printed {}", out(&json));
    let printed = err(&json);
    let document: Value =
        serde_json::from_str(printed.lines().last().unwrap_or_default()).unwrap_or_else(|e| {
            panic!("{with_json:?}: the last line is no JSON: {e}\n{printed}");
        });
    assert_eq!(document["error"]["code"], code, "{document}");
    for word in words {
        let message = document["error"]["message"].as_str().unwrap();
        assert!(err(&text).contains(word), "{args:?}: {word} is not in\n{}", err(&text));
        assert!(message.contains(word), "{args:?}: {word} is not in\n{message}");
    }
}

/// A result: one JSON document on stdout, and with `--quiet` nothing on stderr.
fn document(args: &[&str]) -> Value {
    let output = check(&[args, &["--json", "--quiet"]].concat(), 0);
    assert_eq!(err(&output), "", "{args:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}\n{}", out(&output)))
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A scratch folder with the demo package in it.
struct Demo {
    dir: TempDir,
    package: String,
}

impl Demo {
    fn new() -> Demo {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("package").to_str().unwrap().to_owned();
        check(&["export", &tree("models/demo/checkpoint"), "--out", &package], 0);
        Demo { dir, package }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Arguments that compare two pictures without a report.
    fn compare<'a>(&'a self, a: &'a str, b: &'a str) -> Vec<&'a str> {
        vec!["compare", "--model", &self.package, "--prompt", PROMPT, "--verdict-only", a, b]
    }
}

fn pictures() -> [String; 2] {
    ["models/demo/ocean-1.webp", "models/demo/ocean-4.webp"].map(tree)
}

#[test]
fn a_command_line_that_cannot_be_read_is_a_usage_error() {
    check_refusal(&["inspect", "--no-such-flag"], (2, "usage"), &["--no-such-flag"]);
    check_refusal(
        &["export", "c", "--out", "p", "--precision", "fp8"],
        (2, "usage"),
        &["possible values: fp32, fp16, bf16, int8, int4, w8a8"],
    );
    check_refusal(&["inspect", "--provider", "gpu"], (2, "usage"), &["cpu, cuda or tensorrt"]);
    check_refusal(&["pack", "show", "no-such-pack"], (2, "usage"), &["unifiedreward-flex-image"]);
}

#[test]
fn a_package_with_a_flipped_bit_is_refused_by_file_and_hash() {
    let demo = Demo::new();
    let file = Path::new(&demo.package).join("decoder.weights");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let [a, b] = pictures();
    let words = ["decoder.weights", "SHA-256 expected", "copy the package again"];
    check_refusal(&demo.compare(&a, &b), (3, "bad_package"), &words);
    check_refusal(&["inspect", "--model", &demo.package], (3, "bad_package"), &words);
    check_refusal(&["inspect", "--model", &tree("models/demo")], (3, "bad_package"), &["package.json"]);
}

#[test]
fn a_truncated_picture_and_a_missing_one_are_bad_input() {
    let demo = Demo::new();
    let [whole, _] = pictures();
    let bytes = fs::read(&whole).unwrap();
    let half = demo.path("half.webp");
    fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    let half = half.to_str().unwrap();
    check_refusal(&demo.compare(&whole, half), (4, "bad_input"), &["half.webp", "damaged or cut short"]);
    check_refusal(&demo.compare("no-such.png", &whole), (4, "bad_input"), &["no-such.png"]);
    let kinds = ["rank", "--model", &demo.package, "--prompt", "p", &whole, &whole, &tree("models/demo")];
    check_refusal(&kinds, (4, "bad_input"), &["is a picture", "is a set of frames; give all of a kind"]);
    let folder = demo.path("empty");
    fs::create_dir(&folder).unwrap();
    check_refusal(&demo.compare(folder.to_str().unwrap(), &whole), (4, "bad_input"), &["holds no frames"]);
}

#[test]
fn a_checkpoint_that_is_none_is_bad_input_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("package");
    let args = ["export", &tree("models"), "--out", target.to_str().unwrap()];
    check_refusal(&args, (4, "bad_input"), &["config.json"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_gpu_that_is_not_there_is_refused_by_provider_and_library() {
    let demo = Demo::new();
    let [a, b] = pictures();
    for provider in ["cuda", "tensorrt"] {
        let library = format!("libonnxruntime_providers_{provider}.so");
        let args = [&demo.compare(&a, &b)[..], &["--provider", provider]].concat();
        check_refusal(&args, (5, "provider_missing"), &[provider, &library, "--provider cpu"]);
    }
}

#[test]
fn a_listed_fallback_is_used_and_named() {
    let demo = Demo::new();
    let inspect = ["inspect", "--model", &demo.package, "--nodes", "--json", "--provider", "cuda,cpu"];
    let output = check(&inspect, 0);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let placement = document["placement"].as_array().unwrap();
    assert_eq!(placement.len(), 2, "{placement:?}");
    for component in placement {
        assert_eq!(component["provider"], "cpu");
        assert!(component["nodes"]["CPUExecutionProvider"].as_u64().unwrap() > 0);
    }
    assert!(err(&output).contains("fell back"), "{}", err(&output));
}

#[test]
fn a_missing_library_is_told_with_the_way_to_get_it() {
    let demo = Demo::new();
    let [a, b] = pictures();
    let args = [&demo.compare(&a, &b)[..], &["--ort-lib", "no/such/lib.so"]].concat();
    check_refusal(&args, (5, "provider_missing"), &["no/such/lib.so", "make setup"]);
    let doctor = check(&["doctor", "--json", "--ort-lib", "no/such/lib.so"], 5);
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!(report["ready"], false);
    assert_eq!(report["checks"][0]["status"], "problem");
    assert!(report["checks"][0]["way_out"].as_str().unwrap().contains("make setup"));
}

#[test]
fn doctor_finds_the_library_and_says_that_models_can_run() {
    let report = document(&["doctor"]);
    assert_eq!(report["ready"], true);
    let checks = report["checks"].as_array().unwrap();
    let named = |name: &str| checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(named("onnxruntime")["status"], "ok");
    assert!(named("telemetry")["found"].as_str().unwrap().starts_with("off"));
    let named_checks = [
        "provider cpu",
        "provider cuda",
        "processor",
        "cores",
        "memory",
        "disk",
        "libav",
        "precision",
        "model",
    ];
    for name in named_checks {
        assert!(!named(name)["found"].as_str().unwrap().is_empty());
    }
    let text = out(&check(&["doctor"], 0));
    assert!(text.contains("Models can run here."), "{text}");
}

#[test]
fn the_demo_checkpoint_becomes_a_verdict() {
    let demo = Demo::new();
    let [a, b] = pictures();
    let args = demo.compare(&a, &b);
    let verdict = document(&args);
    assert!(["first", "second"].contains(&verdict["winner"].as_str().unwrap()), "{verdict}");
    assert_eq!((&verdict["mode"], &verdict["status"]), (&Value::from("verdict_only"), &Value::from("ok")));
    let p = verdict["p_first"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&p) && (p > 0.5) == (verdict["winner"] == "first"), "{verdict}");
    assert_eq!(verdict["model"]["precision"], "fp32");
    let inspected = document(&["inspect", "--model", &demo.package]);
    assert_eq!(verdict["model"]["package_sha256"], inspected["package_sha256"]);
    assert!(verdict["timing_ms"]["load"].as_f64().unwrap() > 0.0);

    let text = check(&args, 0);
    assert!(out(&text).contains("is better: "), "{}", out(&text));
    assert!(err(&text).contains("another method"), "{}", err(&text));
}

#[test]
fn both_orders_are_combined_and_random_weights_write_no_report() {
    let demo = Demo::new();
    let [a, b] = pictures();
    let both = document(&[&demo.compare(&a, &b)[..], &["--both-orders"]].concat());
    assert_eq!(both["orders"].as_array().unwrap().len(), 2);
    assert!(both["position_consistent"].is_boolean(), "{both}");
    let args = ["compare", "--model", &demo.package, "--prompt", PROMPT, &a, &b, "--max-new-tokens", "8"];
    let written = document(&args);
    assert!(written["winner"].is_null(), "{written}");
    assert!(["truncated", "invalid"].contains(&written["status"].as_str().unwrap()), "{written}");
    let text = out(&check(&args, 0));
    assert!(text.starts_with("There is no verdict: "), "{text}");
}

#[test]
fn generate_gives_the_ids_of_the_reference() {
    for (model, case) in [("current-fp32", "text"), ("current-fp32", "pair"), ("legacy-bf16", "image")] {
        let golden = golden(model);
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("package").to_str().unwrap().to_owned();
        check(&["export", &format!("{golden}/checkpoint"), "--out", &package], 0);
        let text = fs::read_to_string(format!("{golden}/cases/{case}/golden.json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        let ids = expected["new_ids"].as_array().unwrap();
        let (messages, most) = (format!("{golden}/cases/{case}/messages.json"), ids.len().to_string());
        let args = ["generate", "--model", &package, "--messages", &messages, "--max-new-tokens", &most];
        let got = document(&args);
        assert_eq!(got["new_ids"].as_array().unwrap(), ids, "{model} {case}");
        assert_eq!(got["logprobs"].as_array().unwrap().len(), ids.len());
        assert_eq!(got["usage"]["new_tokens"], ids.len());
    }
}

#[test]
fn sampling_repeats_with_its_seed_and_changes_with_another() {
    let demo = Demo::new();
    let chat = demo.path("chat.json");
    fs::write(&chat, r#"[{"role":"user","content":"hi"}]"#).unwrap();
    let run = |seed| {
        let fixed = ["generate", "--model", &demo.package, "--messages", chat.to_str().unwrap()];
        document(&[&fixed[..], &["--max-new-tokens", "16", "--temperature", "2", "--seed", seed]].concat())["new_ids"].clone()
    };
    assert_eq!(run("7"), run("7"));
    assert_ne!(run("7"), run("8"));
}

#[test]
fn a_chat_that_cannot_be_read_is_bad_input() {
    let demo = Demo::new();
    let chat = demo.path("chat.json");
    let args = ["generate", "--model", &demo.package, "--messages", chat.to_str().unwrap()];
    check_refusal(&args, (4, "bad_input"), &["chat.json"]);
    fs::write(&chat, r#"[{"role":"tool","content":"x"}]"#).unwrap();
    check_refusal(&args, (4, "bad_input"), &["chat.json", "unknown variant `tool`"]);
    fs::write(&chat, r#"[{"role":"user","content":[{"type":"image","path":"gone.png"}]}]"#).unwrap();
    check_refusal(&args, (4, "bad_input"), &["gone.png"]);
}

#[test]
fn an_export_replaces_a_package_only_when_forced() {
    let demo = Demo::new();
    let checkpoint = tree("models/demo/checkpoint");
    let again = ["export", &checkpoint, "--out", &demo.package, "--precision", "int8", "--name", "mine"];
    check_refusal(&again, (2, "usage"), &["exists", "--force"]);
    let made = document(&[&again[..], &["--force"]].concat());
    let inspected = document(&["inspect", "--model", &demo.package]);
    assert_eq!(made["package_sha256"], inspected["package_sha256"]);
    assert_eq!((&made["precision"], &made["name"]), (&Value::from("int8"), &Value::from("mine")));
    assert_eq!(made["files"], inspected["manifest"]["files"]);
}

#[test]
fn verify_measures_the_error_of_every_component_and_removes_the_float_weights() {
    let demo = Demo::new();
    let checkpoint = tree("models/demo/checkpoint");
    let mut decoder = Vec::new();
    for precision in ["fp32", "int8", "int4", "w8a8"] {
        let target = demo.path(precision);
        let target = target.to_str().unwrap();
        let made = document(&["export", &checkpoint, "--out", target, "--precision", precision, "--verify"]);
        let components = made["verify"]["components"].as_array().unwrap();
        assert!(components.len() >= 2 && components[0]["component"] == "vision", "{made}");
        let last = components.last().unwrap();
        assert_eq!(last["component"], "decoder");
        decoder.push(last["rel_rms"].as_f64().unwrap());
    }
    assert_eq!(decoder[0], 0.0);
    assert!(0.0 < decoder[1] && decoder[1] < decoder[2] && decoder[2] < 1.0, "{decoder:?}");
    assert!(decoder[0] < decoder[3] && decoder[3] < decoder[2], "{decoder:?}");
    let mut left: Vec<_> = fs::read_dir(demo.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["fp32", "int4", "int8", "package", "w8a8"]);
}

#[test]
fn an_imported_pack_asks_in_its_own_words() {
    let demo = Demo::new();
    let script = demo.path("client.py");
    let body = "text = (\"Judge {caption}. Answer with categories, cat_winner and winner.\\n\")\n";
    fs::write(&script, body).unwrap();
    let (script, target) = (script.to_str().unwrap(), demo.path("mine"));
    let target = target.to_str().unwrap();
    let import = ["pack", "import", script, "--name", "mine", "--task", "image-pair", "--out", target];
    let made = document(&import);
    check_refusal(&import, (2, "usage"), &["exists"]);
    let shown = document(&["pack", "show", target]);
    assert_eq!(shown["prompt"], "Judge {caption}. Answer with categories, cat_winner and winner.\n");
    assert_eq!(made["prompt_sha256"], shown["prompt_sha256"]);
    let [a, b] = pictures();
    let verdict = document(&[&demo.compare(&a, &b)[..], &["--pack", target]].concat());
    assert_eq!(verdict["pack"]["name"], "mine");
    assert_eq!(verdict["pack"]["prompt_sha256"], shown["prompt_sha256"]);
}

#[test]
fn folders_of_frames_are_judged_as_videos() {
    let demo = Demo::new();
    let [a, _] = pictures();
    let folders = ["a", "b"].map(|name| demo.path(name));
    for (shift, folder) in folders.iter().enumerate() {
        fs::create_dir(folder).unwrap();
        for i in 0..8 {
            let source = golden(&format!("current-fp32/cases/{}.png", ["a", "c"][(i + shift) % 2]));
            fs::copy(source, folder.join(format!("{i:03}.png"))).unwrap();
        }
    }
    let [first, second] = folders.each_ref().map(|folder| folder.to_str().unwrap());
    let verdict = document(&demo.compare(first, second));
    assert_eq!(verdict["pack"]["name"], "unifiedreward-flex-video");
    assert!(verdict["winner"].is_string(), "{verdict}");
    check_refusal(&demo.compare(first, &a), (4, "bad_input"), &["give all of a kind"]);
    let task = [&demo.compare(first, second)[..], &["--task", "image-pair"]].concat();
    check_refusal(&task, (4, "bad_input"), &["two pictures"]);
    let pack =
        [&demo.compare(first, second)[..], &["--task", "video-pair", "--pack", "unifiedreward-flex-image"]]
            .concat();
    check_refusal(&pack, (2, "usage"), &["is for image-pair"]);
    fs::remove_file(folders[1].join("003.png")).unwrap();
    check_refusal(&demo.compare(first, second), (4, "bad_input"), &["holds 7 frames", "shows 8"]);
}

/// Arguments of a judging command that writes only a few tokens.
fn short<'a>(demo: &'a Demo, command: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&[command, "--model", &demo.package, "--prompt", PROMPT, "--max-new-tokens", "8"][..], rest].concat()
}

#[test]
fn every_task_is_asked_with_the_pack_that_fits_what_is_given() {
    let demo = Demo::new();
    let [a, b] = pictures();
    // Random weights write neither scores nor verdicts; what was asked, and that nothing is made up, can be seen.
    for (command, rest, pack) in [
        ("score", &[&a[..]][..], "unifiedreward-2-image-point"),
        ("score", &["--pack", "unifiedreward-image-acs", &a], "unifiedreward-image-acs"),
        ("score", &["--source", &b, &a], "unifiedreward-edit-point"),
        ("score", &["--answer", "the sea", &a], "unifiedreward-image-understanding-point"),
        ("compare", &["--source", &b, &a, &a], "unifiedreward-edit-pair"),
        ("compare", &["--task", "edit-pair-score", "--source", &b, &a, &a], "unifiedreward-edit-pair-score"),
        ("compare", &["--task", "image-pair-score", &a, &b], "unifiedreward-2-image-pair-score"),
        (
            "compare",
            &["--answer-1", "a sea", "--answer-2", "a tree", "--both-orders", &a],
            "unifiedreward-image-understanding-pair",
        ),
    ] {
        let got = document(&short(&demo, command, rest));
        assert_eq!(got["pack"]["name"], pack, "{got}");
        assert!(["truncated", "invalid"].contains(&got["status"].as_str().unwrap()), "{got}");
        assert_eq!(got["scores"], Value::Array(Vec::new()), "{got}");
        let text = out(&check(&short(&demo, command, rest), 0));
        assert!(text.starts_with("There is no "), "{text}");
    }
    let forced = document(&short(&demo, "compare", &["--source", &b, &a, &b, "--verdict-only"]));
    assert_eq!((&forced["status"], &forced["mode"]), (&Value::from("ok"), &Value::from("verdict_only")));
}

#[test]
fn a_packages_own_pack_is_taken_for_its_task_and_no_other() {
    let demo = Demo::new();
    let acs = demo.path("acs");
    let acs = acs.to_str().unwrap();
    let export =
        ["export", &tree("models/demo/checkpoint"), "--out", acs, "--pack", "unifiedreward-image-acs"];
    check(&export, 0);
    let [a, b] = pictures();
    let rest = ["--model", acs, "--prompt", PROMPT, "--max-new-tokens", "2"];
    let pack = |command: &str, more: &[&str]| {
        document(&[&[command][..], &rest, more].concat())["pack"]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(pack("score", &[&a]), "unifiedreward-image-acs");
    assert_eq!(pack("score", &["--source", &b, &a]), "unifiedreward-edit-point");
    assert_eq!(pack("compare", &[&a, &b]), "unifiedreward-flex-image");
}

#[test]
fn a_package_that_ends_in_scores_tells_them_by_name_and_writes_no_words() {
    let demo = Demo::new();
    let judge = demo.path("classifier");
    let judge = judge.to_str().unwrap();
    let tree = |path: &str| tree(&format!("tests/golden/heads/classifier/{path}"));
    check(&["export", &tree("checkpoint"), "--out", judge], 0);
    let (a, b) = (tree("scored/a.png"), tree("scored/b.png"));
    let asked = ["--model", judge, "--prompt", "three red circles"];
    let got = document(&[&["score", &a][..], &asked].concat());
    let names: Vec<&Value> = got["scores"].as_array().unwrap().iter().map(|score| &score["name"]).collect();
    assert_eq!(names, ["alignment", "quality"], "{got}");
    assert_eq!((&got["status"], &got["text"]), (&Value::from("ok"), &Value::Null), "{got}");
    assert_eq!(got["pack"]["name"], "scores-image", "{got}");
    let refusal = (4, "bad_input");
    check_refusal(&[&["compare", &a, &b][..], &asked].concat(), refusal, &["score one candidate at a time"]);
    assert!(out(&check(&["inspect", "--model", judge], 0)).contains("scores     alignment, quality"));
}

#[test]
fn a_task_that_does_not_fit_what_is_given_is_refused_by_name() {
    let demo = Demo::new();
    let [a, b] = pictures();
    let refuse = |command, rest: &[&str], code, words: &[&str]| {
        check_refusal(&short(&demo, command, rest), code, words);
    };
    let (usage, input) = ((2, "usage"), (4, "bad_input"));
    refuse("score", &["--task", "image-pair", &a], input, &["image-pair takes two pictures", "(a picture)"]);
    refuse("compare", &["--task", "image-point", &a, &b], input, &["image-point takes one picture"]);
    refuse(
        "score",
        &["--pack", "unifiedreward-edit-point", &a],
        input,
        &["takes the source and one picture"],
    );
    refuse("score", &["--pack", "unifiedreward-edit-quality-point", &a], input, &["leave the prompt empty"]);
    refuse("score", &["--source", "no-such.png", &a], input, &["no-such.png"]);
    let scores = ["--task", "image-pair-score", "--verdict-only", &a, &b];
    refuse("compare", &scores, input, &["unifiedreward-2-image-pair-score", "has no skeleton"]);
    let silent = ["score", "--model", &demo.package, "--max-new-tokens", "8", &a];
    check_refusal(&silent, usage, &["image-point needs --prompt"]);
    let quality =
        ["score", "--model", &demo.package, "--max-new-tokens", "8", "--task", "edit-quality-point", &a];
    assert_eq!(document(&quality)["pack"]["name"], "unifiedreward-edit-quality-point");
}

#[test]
fn an_evaluation_gives_a_document_a_page_and_a_line_a_pair() {
    let demo = Demo::new();
    let pictures = pictures();
    let row = |id: &str, b: &str, task: &str| {
        let (a, b) = (&pictures[0], if b.is_empty() { &pictures[1] } else { b });
        let row = serde_json::json!({ "id": id, "prompt": "<b>sea</b>", "a": a, "b": b, "label": "a", "task": task });
        format!("{row}\n")
    };
    let pairs = demo.path("pairs.jsonl");
    let rows = [row("1", "", "image-pair"), row("2", "gone.png", "image-pair"), row("3", "", "video-pair")];
    fs::write(&pairs, rows.concat()).unwrap();
    let [page, results] = ["page.html", "judged.jsonl"].map(|name| demo.path(name));
    let (file, html, lines) = (pairs.to_str().unwrap(), page.to_str().unwrap(), results.to_str().unwrap());
    let eval = ["eval", file, "--model", &demo.package, "--mode", "verdict-only"];
    check_refusal(&eval, (2, "usage"), &["image-pair and video-pair; choose one with --task"]);

    let args = [&eval[..], &["--task", "image-pair", "--html", html, "--results", lines]].concat();
    let made = document(&args);
    assert_eq!((&made["source"]["judged"], &made["source"]["skipped"]), (&Value::from(2), &Value::from(1)));
    assert!(made["report"].is_null() && made["verdict_only"]["pairs"] == 2, "{made}");
    assert_eq!(
        (&made["errors"][0]["id"], &made["verdict_only"]["errors"]),
        (&Value::from("2"), &Value::from(1))
    );
    let page = fs::read_to_string(&page).unwrap();
    assert!(page.contains("gone.png") && !page.contains("<b>sea"), "{page}");
    let judged = fs::read_to_string(&results).unwrap();
    let judged: Vec<Value> = judged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(judged.len(), 2);
    assert_eq!((&judged[0]["id"], judged[0]["orders"].as_array().unwrap().len()), (&Value::from("1"), 2));
    assert!(judged[0]["orders"][1]["text"].as_str().unwrap().contains("winner"), "{}", judged[0]);
    assert!(judged[1]["error"].as_str().unwrap().contains("gone.png"));

    let text = out(&check(&[&args[..], &["--limit", "1", "--single-order"]].concat(), 0));
    assert!(text.contains("1 pairs for image-pair, 2 skipped") && text.contains("accuracy"), "{text}");
}

#[test]
fn a_file_of_pairs_that_is_none_is_bad_input() {
    let demo = Demo::new();
    let pairs = demo.path("pairs.jsonl");
    let file = pairs.to_str().unwrap();
    let eval = ["eval", file, "--model", &demo.package];
    check_refusal(&eval, (4, "bad_input"), &["pairs.jsonl"]);
    fs::write(&pairs, r#"{"id":"1","prompt":"p","a":"a.png"}"#).unwrap();
    check_refusal(&eval, (4, "bad_input"), &["pairs.jsonl: line 1, field `b`: it is missing"]);
    fs::write(&pairs, r#"{"id":"1","prompt":"p","a":"a.png","b":"b.png","label":"a","task":"image-pair"}"#)
        .unwrap();
    check_refusal(&[&eval[..], &["--html", file]].concat(), (2, "usage"), &["named twice"]);
    let pack = [&eval[..], &["--task", "image-pair", "--pack", "unifiedreward-flex-video"]].concat();
    check_refusal(&pack, (2, "usage"), &["is for video-pair"]);
    check_refusal(
        &[&eval[..], &["--task", "video-pair"]].concat(),
        (4, "bad_input"),
        &["no row for video-pair"],
    );
    assert!(fs::read_to_string(&pairs).unwrap().starts_with('{'), "the pairs were overwritten");
    let edits = r#"{"source_image":"s","left_image":"l","right_image":"r","vote_type":"leftvote"}"#;
    fs::write(&pairs, edits).unwrap();
    let words = ["no row can be judged; 1 were refused", "it has an input"];
    check_refusal(&[&eval[..], &["--format", "genai-bench"]].concat(), (4, "bad_input"), &words);
}

#[test]
fn completions_and_help_name_every_command() {
    let commands = [
        "export",
        "inspect",
        "generate",
        "compare",
        "rank",
        "score",
        "eval",
        "pack",
        "doctor",
        "completions",
    ];
    for shell in ["bash", "zsh", "fish"] {
        let script = out(&check(&["completions", shell], 0));
        for command in commands {
            assert!(script.contains(command), "{shell}: {command}");
        }
        assert_eq!(document(&["completions", shell])["script"], script);
    }
    let help = out(&check(&["--help"], 0));
    assert!(commands.iter().all(|c| help.contains(c)) && help.contains("Exit codes:"), "{help}");
    for command in commands {
        let help = out(&check(&[command, "--help"], 0));
        assert!(help.contains("Usage: rewardrt") && help.contains(command), "{help}");
    }
    let version = out(&check(&["--version"], 0));
    assert_eq!(version, format!("rewardrt {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn built_in_packs_are_listed_and_shown() {
    let packs = document(&["pack", "list"]);
    let names: Vec<_> = packs.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"unifiedreward-flex-image") && names.contains(&"unifiedreward-edit-pair-score"));
    for name in &names {
        assert_eq!(document(&["pack", "show", name])["name"], *name);
    }
    let text = out(&check(&["pack", "show", "unifiedreward-flex-image"], 0));
    assert!(text.contains("task = \"image-pair\"") && text.contains("{caption}"), "{text}");
}
