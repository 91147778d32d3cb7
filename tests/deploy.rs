//! What is deployed fits the server: every metric that a dashboard, an alert or an autoscaler names stands in its table, and
//! so does every setting that the chart and the compose file give.

// The helpers below are test code too, which the lint cannot see.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rewardrt_server::Config;
use rewardrt_tests::root;

/// Endings of a histogram's series.
const SERIES: [&str; 3] = ["_bucket", "_sum", "_count"];
/// Names that begin as metrics do and are none.
const OTHERS: [&str; 1] = ["rewardrt_serve"];

/// The words of a text that begin as the server's metrics do.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("rewardrt_") && !OTHERS.contains(word)).map(str::to_owned).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names of the server's tables: what `render` writes, without the labels.
fn known() -> BTreeSet<String> {
    let source = read(&root().join("runtime/server/src/metrics.rs"));
    let quoted = source.split("\"rewardrt_").skip(1).filter_map(|rest| rest.split('"').next());
    quoted.map(|name| format!("rewardrt_{name}")).collect()
}

/// All files beneath a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The one door: whether a text names metrics, and only such as there are.
fn check(text: &str, known: &BTreeSet<String>) -> Result<usize, String> {
    let named = names(text);
    let base = |name: &str| SERIES.iter().find_map(|end| name.strip_suffix(end)).map(str::to_owned);
    let exists = |name: &String| known.contains(name) || base(name).is_some_and(|base| known.contains(&base));
    match named.iter().find(|name| !exists(name)) {
        Some(name) => Err(name.clone()),
        None => Ok(named.len()),
    }
}

#[test]
fn every_metric_that_is_watched_is_in_the_servers_table() {
    let known = known();
    assert!(known.len() > 20, "the table was not found: {known:?}");
    let mut watched = 0;
    for folder in ["deploy/grafana", "deploy/prometheus", "deploy/helm", "deploy/envoy"] {
        for path in files(&root().join(folder)) {
            let found = check(&read(&path), &known);
            watched += found.unwrap_or_else(|name| panic!("{}: {name} is no metric", path.display()));
        }
    }
    assert!(watched > 20, "{watched} metrics are watched");
}

#[test]
fn a_metric_that_is_not_there_is_found() {
    let known = BTreeSet::from(["rewardrt_ready".to_owned(), "rewardrt_request_seconds".to_owned()]);
    assert_eq!(check("sum(rewardrt_ready{a=\"b\"})", &known), Ok(1));
    assert_eq!(check("rate(rewardrt_request_seconds_bucket[5m])", &known), Ok(1));
    assert_eq!(check("rate(rewardrt_requests_total[5m])", &known), Err("rewardrt_requests_total".to_owned()));
}

#[test]
fn the_dashboard_is_a_document_of_grafana() {
    let text = read(&root().join("deploy/grafana/dashboards/rewardrt.json"));
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have the id {}", panel["id"]);
        let grid = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(grid("x") + grid("w") <= 24, "{}", panel["title"]);
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{}", panel["title"]);
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{}", panel["title"]);
    }
    assert!(panels.len() > 10);
}

/// Whether the server has such a setting.
fn is_setting(key: &str) -> bool {
    Config::TABLE.iter().any(|setting| setting.key == key)
}

#[test]
fn the_chart_and_the_compose_file_give_settings_that_there_are() {
    let values = read(&root().join("deploy/helm/rewardrt/values.yaml"));
    let config = values.split("\nconfig:\n").nth(1).unwrap();
    let keys = config
        .lines()
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.trim().split_once(": "));
    let mut found = 0;
    for (key, _) in keys {
        assert!(is_setting(key), "values.yaml: {key} is no setting");
        found += 1;
    }
    assert!(found > 2);
    let helpers = read(&root().join("deploy/helm/rewardrt/templates/_helpers.tpl"));
    for key in ["listen", "token_file", "insecure_no_token"] {
        assert!(is_setting(key) && helpers.contains(&format!("\n{key} = ")), "{key}");
    }
    let compose = read(&root().join("deploy/compose.yaml"));
    let command = compose.lines().find(|line| line.contains("command: [\"serve\"")).unwrap();
    for flag in command.split("\"--").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(
            Config::TABLE.iter().any(|setting| setting.flag == flag),
            "compose.yaml: --{flag} is no flag"
        );
    }
}
