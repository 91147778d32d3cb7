//! A written answer to a verdict: a report of four categories with four dimensions each, about as long as a trained
//! judge writes it, bare and with prose before it.

// Criterion's macros make items without documentation.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rewardrt_models::prompt::pack::Pack;
use rewardrt_models::verdict::{Finish, Protocol, ReportProtocol, Status, judge};
use serde_json::{Value, json};

const CAPTION: &str = "three red circles left of a blue square, soft evening light, café in the background";
/// The pack's three categories, and the one that a caption may ask for.
const FOURTH: &str = "D. Cinematography";
const DIMENSIONS: usize = 4;
/// Words before the report, as of a model that thinks aloud.
const PROSE: &str =
    "Image 1 shows the circles where the caption wants them, Image 2 lets two of them touch. ";

/// A report in which the first candidate wins every dimension seven to three.
fn report(protocol: &ReportProtocol) -> String {
    let dimension = |i: usize| {
        json!({
            "name": format!("Placement and count, part {i}"),
            "reason_1": "All three circles stand apart, to the left of the square, and keep their round shape.",
            "reason_2": "Two of the circles touch each other, and one is cut by the square's \"near\" edge.",
            "score_1": 7,
            "score_2": 3,
        })
    };
    let category = |name: &str| {
        let dims: Vec<Value> = (0..DIMENSIONS).map(dimension).collect();
        let reason = "Image 1 follows the caption more closely in what was looked at here.";
        json!({"name": name, "dims": dims, "cat_reason": reason, "cat_winner": protocol.winner_first})
    };
    let names = protocol.categories.iter().map(String::as_str).chain([FOURTH]);
    let categories: Vec<Value> = names.map(category).collect();
    let reason = "Image 1 is better in every category, most of all in what the caption asks for by name.";
    let report = json!({
        "prompt": CAPTION, "categories": categories, "reason": reason, "winner": protocol.winner_first,
    });
    format!("```json\n{report:#}\n```\n")
}

fn parse(criterion: &mut Criterion) {
    let pack = Pack::builtin("unifiedreward-flex-image").expect("a built-in pack");
    let Protocol::Report(answer) = &pack.answer else { panic!("the pack asks for no report") };
    let bare = report(answer);
    let prose = format!("{}{bare}", PROSE.repeat(40));
    let mut group = criterion.benchmark_group("report_4x4");
    for (name, text) in [("bare", &bare), ("after_prose", &prose)] {
        let outcome = judge(text, Finish::Stop, &pack.answer);
        assert_eq!(
            (outcome.status, outcome.category_winners.len()),
            (Status::Ok, 4),
            "{:?}",
            outcome.problem
        );
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| judge(black_box(text), Finish::Stop, &pack.answer)));
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
