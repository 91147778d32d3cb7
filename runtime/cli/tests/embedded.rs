//! The built-in model from outside: what it judges, and where its package lies.

// The lint's own exception covers test functions, not the helpers that they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const EXAMPLES: &str = "models/shapes-judge/examples";

/// The program with these arguments, in no environment but the library's place and these variables.
fn run(args: &[&str], variables: &[(&str, &Path)]) -> Output {
    let library = std::env::var_os("ORT_DYLIB_PATH").filter(|path| Path::new(path).is_file());
    let library = library.expect("ORT_DYLIB_PATH must name ONNX Runtime's library: run `make test`");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rewardrt"));
    command.env_clear().env("ORT_DYLIB_PATH", library).envs(variables.iter().copied()).args(args);
    command.output().unwrap()
}

/// The one door: the document of a comparison by the built-in model, its package in `cache`.
fn check(cache: &Path, prompt: &str, first: &Path, second: &Path) -> Value {
    let [first, second] = [first, second].map(|path| path.to_str().unwrap());
    let args = ["compare", "--json", "--quiet", "--prompt", prompt, first, second];
    let output = run(&args, &[("REWARDRT_CACHE", cache)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn examples() -> (PathBuf, Vec<Value>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(EXAMPLES);
    let lines = fs::read_to_string(folder.join("pairs.jsonl")).unwrap();
    (folder, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Judges the examples in the given order of the candidates; the winners must be the labels.
fn judge_examples(swapped: bool) {
    let cache = tempfile::tempdir().unwrap();
    let (folder, pairs) = examples();
    assert_eq!(pairs.len(), 6);
    for pair in pairs {
        let picture = |side: &str| folder.join(pair[side].as_str().unwrap());
        let sides = if swapped { ["b", "a"] } else { ["a", "b"] };
        let [first, second] = sides.map(picture);
        let verdict = check(cache.path(), pair["prompt"].as_str().unwrap(), &first, &second);
        let winner = if pair["label"] == sides[0] { "first" } else { "second" };
        assert_eq!(verdict["winner"], winner, "{pair}: {verdict}");
        assert_eq!(verdict["status"], "ok", "{pair}: {verdict}");
        assert_eq!(verdict["model"]["name"], "shapes-judge");
        assert_eq!(verdict["pack"]["name"], "shapes-judge");
    }
}

#[test]
fn the_built_in_judge_is_right_on_every_example() {
    judge_examples(false);
}

#[test]
fn the_built_in_judge_is_right_on_every_example_in_the_other_order() {
    judge_examples(true);
}

/// The document of a ranking of four examples by the built-in model.
fn rank(prompt: &str, more: &[&str]) -> Value {
    let cache = tempfile::tempdir().unwrap();
    let (folder, _) = examples();
    let items = ["0000a.png", "0001b.png", "0003a.png", "0005a.png"].map(|name| folder.join(name));
    let mut args = vec!["rank", "--json", "--quiet", "--prompt", prompt];
    args.extend(items.iter().map(|path| path.to_str().unwrap()));
    args.extend(more);
    let output = run(&args, &[("REWARDRT_CACHE", cache.path())]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn of_four_pictures_the_one_that_was_asked_for_is_first() {
    let right = [
        ("four blue triangles", 1),
        ("two orange triangles left of one orange circle", 2),
        ("one red square", 3),
    ];
    for (prompt, best) in right {
        let ranking = rank(prompt, &[]);
        assert_eq!(ranking["order"][0], best, "{prompt}: {}", ranking["matrix"]);
        assert_eq!(ranking["items"][best]["win_rate"], 1.0);
        assert_eq!((&ranking["pairs_run"], &ranking["pairs_failed"]), (&6.into(), &0.into()));
        assert_eq!(ranking["matrix"].as_array().unwrap().len(), 4);
        assert!(ranking["matrix"][0][0].is_null() && ranking["matrix"][0][1].is_f64());
    }
}

#[test]
fn a_ranking_takes_other_pairs_and_both_orders() {
    let swiss = rank("four blue triangles", &["--pairs", "swiss", "--both-orders"]);
    assert_eq!(
        (&swiss["order"][0], &swiss["pairs_run"], &swiss["plan"]),
        (&1.into(), &8.into(), &"swiss".into())
    );
    assert!(swiss["position_consistency"].is_f64());
    let circular = rank("four blue triangles", &["--pairs", "circular", "--upstream"]);
    assert_eq!((&circular["order"][0], &circular["pairs_run"]), (&1.into(), &4.into()));
    assert!(circular["matrix"][0][2].is_null());
    let usage = &swiss["usage"];
    let tokens = |name: &str| usage[name].as_u64().unwrap();
    // Four pictures of one size in sixteen places of eight prompts.
    assert_eq!(4 * (tokens("vision_tokens") - tokens("vision_reused")), tokens("vision_tokens"));
}

#[test]
fn the_built_in_judge_is_measured() {
    let cache = tempfile::tempdir().unwrap();
    let page = cache.path().join("report.html");
    let mut args = vec!["bench", "--json", "--quiet", "--size", "64x64", "--count", "3", "--group", "3"];
    args.extend(["--slots", "2,1", "--rate", "50", "--clients", "2", "--max-new-tokens", "8"]);
    args.extend(["--seed", "7", "--html", page.to_str().unwrap()]);
    let output = run(&args, &[("REWARDRT_CACHE", cache.path())]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    for part in ["latency", "load"] {
        let part = &document[part];
        assert_eq!(part["answers"]["truncated"], 3, "{part}");
        let times = &part["verdict_ms"];
        assert_eq!((&times["count"], &times["p95"]), (&3.into(), &Value::Null));
        let [first, verdict] = [&part["first_token_ms"], times].map(|times| times["p50"].as_f64().unwrap());
        assert!(0.0 < first && first < verdict, "{part}");
    }
    assert_eq!(document["latency"]["new_tokens"], 8.0);
    let groups = document["throughput"].as_array().unwrap();
    assert_eq!(groups.iter().map(|group| group["slots"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 1]);
    for group in groups {
        assert_eq!((&group["pairs"], &group["new_tokens"]), (&3.into(), &24.into()));
        assert!(group["verdicts_per_second"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(document["asked"]["pictures"], "drawn, 64x64, seed 7");
    assert_eq!((&document["asked"]["seed"], &document["load"]["rate"]), (&7.into(), &50.0.into()));
    assert_eq!(document["model"]["name"], "shapes-judge");
    assert!(document["software"]["onnxruntime"].as_str().unwrap().starts_with("1."));
    assert!(document["machine"]["cores"].as_u64().unwrap() > 0);
    assert!(fs::read_to_string(&page).unwrap().ends_with("</html>\n"));
}

#[test]
fn a_damaged_package_is_made_again() {
    let cache = tempfile::tempdir().unwrap();
    let (folder, pairs) = examples();
    let pictures = ["a", "b"].map(|side| folder.join(pairs[0][side].as_str().unwrap()));
    let judged = || check(cache.path(), pairs[0]["prompt"].as_str().unwrap(), &pictures[0], &pictures[1]);
    let before = judged();
    let folders: Vec<_> = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(folders.len(), 1, "the cache holds the package and nothing else: {folders:?}");
    let weights = folders[0].join("decoder.weights");
    let mut bytes = fs::read(&weights).unwrap();
    bytes[1000] ^= 1;
    fs::write(&weights, &bytes).unwrap();
    let after = judged();
    assert_eq!(after["text"], before["text"]);
    assert_eq!(after["model"]["package_sha256"], before["model"]["package_sha256"]);
    bytes[1000] ^= 1;
    assert!(fs::read(&weights).unwrap() == bytes);
}

#[test]
fn it_says_what_it_is_on_stderr() {
    let cache = tempfile::tempdir().unwrap();
    let output = run(&["inspect"], &[("XDG_CACHE_HOME", cache.path())]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("drawn scenes"));
    assert!(cache.path().join("rewardrt").is_dir());
}

#[test]
fn it_judges_no_videos() {
    let cache = tempfile::tempdir().unwrap();
    let frames = cache.path().join("frames");
    fs::create_dir(&frames).unwrap();
    let (folder, pairs) = examples();
    for i in 0..8 {
        fs::copy(folder.join(pairs[0]["a"].as_str().unwrap()), frames.join(format!("{i}.png"))).unwrap();
    }
    let frames = frames.to_str().unwrap();
    let output = run(&["compare", "--prompt", "p", frames, frames], &[("REWARDRT_CACHE", cache.path())]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--model"));
}

#[test]
fn without_a_place_for_its_package_it_names_the_ways_out() {
    let output = run(&["inspect"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("REWARDRT_CACHE") && message.contains("--model"), "{message}");
}
