use rewardrt_models::prompt::pack::{PackIdentity, Task};
use rewardrt_models::verdict::Status;

use super::*;
use crate::eval::{Format, Label, OrderRecord, Refusal, RowFailure, Source};
use crate::judge::{FinishReason, ModelInfo};
use crate::media::PixelRule;

const HOSTILE: &str = "</title><script>alert(1)</script><img src=x onerror=\"y\">'&\u{1b}[31m";

/// Pairs whose every text is `text`: one right, one wrong, one failed, in both modes.
fn records(text: &str) -> Vec<Record> {
    let run = |order, winner, latency_ms| OrderRecord {
        order,
        winner: Some(winner),
        status: Status::Ok,
        p_first: Some(0.75),
        problem: None,
        finish_reason: FinishReason::Stop,
        prompt_tokens: 1,
        new_tokens: 2,
        latency_ms,
        text: String::new(),
    };
    let record = |mode, winner: Option<Label>, error: Option<&str>| Record {
        id: text.to_owned(),
        kind: Some(text.to_owned()),
        prompt: text.to_owned(),
        label: Label::A,
        mode,
        winner,
        status: Some(Status::Ok),
        p_first: Some(0.5),
        position_consistent: Some(true),
        orders: winner.map(|w| vec![run("ab", w, 10.0), run("ba", w, 30.0)]).unwrap_or_default(),
        elapsed_ms: 40.0,
        error: error.map(str::to_owned),
    };
    let of = |mode| {
        [
            record(mode, Some(Label::A), None),
            record(mode, Some(Label::B), None),
            record(mode, None, Some(text)),
        ]
    };
    [of(Mode::Report), of(Mode::VerdictOnly)].concat()
}

fn evaluation(text: &str, records: &[Record]) -> Evaluation {
    let metrics = |mode| Some(Metrics::of(records.iter().filter(|r| r.mode == mode)));
    Evaluation {
        source: Source {
            file: text.to_owned(),
            format: Format::Rows,
            task: Task::ImagePair,
            judged: 3,
            skipped: 1,
            refused: vec![Refusal { id: text.to_owned(), reason: text.to_owned() }],
        },
        model: ModelInfo { name: text.to_owned(), package_sha256: "0".to_owned(), precision: "fp32" },
        pack: PackIdentity { name: text.to_owned(), version: 1, prompt_sha256: String::new() },
        pixels: PixelRule::Reference,
        both_orders: true,
        report: metrics(Mode::Report),
        verdict_only: metrics(Mode::VerdictOnly),
        errors: vec![RowFailure { id: text.to_owned(), mode: Mode::Report, error: text.to_owned() }],
    }
}

/// The page of pairs whose every text is `text`.
fn made(text: &str) -> String {
    let records = records(text);
    page(&evaluation(text, &records), &records)
}

/// The names of all tags of a page, and what follows each up to its end.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()).collect()
}

#[test]
fn hostile_texts_stay_texts() {
    let (plain, hostile) = (made("plain"), made(HOSTILE));
    let names = |page| -> Vec<String> {
        tags(page).iter().map(|tag| tag.split([' ', '/']).next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(&plain), names(&hostile), "a text changed the page's structure");
    for raw in ["<script", "<img", "onerror=\"", "\u{1b}"] {
        assert!(!hostile.contains(raw), "{raw} stands in the page");
    }
    assert!(hostile.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "the text itself must be shown");
}

#[test]
fn a_page_loads_nothing_and_runs_nothing() {
    let page = made("plain");
    assert!(page.contains("Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-"));
    for tag in tags(&page) {
        for word in ["src=", "href=", "url(", " on", "script", "link", "iframe"] {
            assert!(!tag.contains(word), "{tag} has {word}");
        }
    }
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    assert!(
        !style.contains("url(") && !style.contains("@import") && style.contains("prefers-color-scheme: dark")
    );
}

#[test]
fn every_tag_that_opens_is_closed() {
    let page = made(HOSTILE);
    let mut open = Vec::new();
    for tag in tags(&page) {
        let name = tag.split([' ', '\n']).next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
            None if tag.ends_with('/') || ["meta", "!doctype"].contains(&name) => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn all_plots_lists_and_counts_are_there() {
    let page = made("plain");
    for words in [
        "Written reports",
        "Verdict only",
        "Accuracy by kind of difference",
        "order ab: a is shown first",
        "order ba: b is shown first",
        "Calibration of p_first",
        "Latency",
        "Judged wrongly: 1",
        "Errors: 1",
        "Refused: 1",
        "1 failed and count as wrong",
        "33.3 % (1 of 3;",
    ] {
        assert!(page.contains(words), "{words} is not in the page");
    }
    assert!(!page.contains("NaN") && !page.contains("inf"), "a figure is no number");
}

#[test]
fn plots_of_one_value_have_finite_places() {
    let mut records = records("x");
    records.truncate(1);
    let evaluation = Evaluation { verdict_only: None, ..evaluation("x", &records) };
    records[0].orders.truncate(1);
    let page = page(&Evaluation { report: Some(Metrics::of(&records)), ..evaluation }, &records);
    assert!(page.contains("Latency") && !page.contains("NaN") && !page.contains("inf"));
}
