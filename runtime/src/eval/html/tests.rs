use rewardrt_models::prompt::pack::{PackIdentity, Task};
use rewardrt_models::verdict::Status;

use super::*;
use crate::eval::{Format, Label, OrderRecord, Refusal, RowFailure, Source};
use crate::figures::page::tests::check_page;
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

#[test]
fn a_page_is_whole_loads_nothing_and_keeps_hostile_texts_texts() {
    check_page(&made("plain"), &made(HOSTILE));
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
