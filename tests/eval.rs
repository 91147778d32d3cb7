//! A whole evaluation with a scripted decoder: a file of pairs with its pictures on disk, and answers that the test
//! writes. So every figure is known before, and a pair that fails does not end the others.

// The helpers below are test code too, which the lint cannot see.
#![allow(clippy::unwrap_used)]

mod drive;
mod script;

use std::fs;
use std::path::PathBuf;

use rewardrt::eval::{self, Evaluation, Format, Label, Metrics, Record, Share, Source, html};
use rewardrt::judge::{CompareOptions, Judge};
use rewardrt_models::prompt::pack::Task;
use rewardrt_models::verdict::Status;
use rewardrt_tests::root;
use script::{Says, report};

/// Prefers the picture shown first in slot 0 and second in slot 1, which is a in both orders; but says the first of
/// either order when the prompt has the word `sideways`, and no report when it has `speechless`.
fn judge() -> Judge {
    script::judge(2, |slot, text| {
        let (first, second) = (report("7", "Image 1", "Image 1"), report("1", "Image 2", "Image 2"));
        if text.contains("speechless") {
            Says::report("Both are fine.".to_owned())
        } else if slot == 0 || text.contains("sideways") {
            Says::report(first)
        } else {
            Says { verdict: [1.0, 3.0], ..Says::report(second) }
        }
    })
}

/// A folder with two pictures and a file of pairs.
struct Pairs {
    folder: tempfile::TempDir,
}

impl Pairs {
    fn new(lines: &[(&str, &str, &str, &str)]) -> Pairs {
        let folder = tempfile::tempdir().unwrap();
        for (name, picture) in [("a.webp", "ocean-1.webp"), ("b.webp", "ocean-4.webp")] {
            fs::copy(root().join("models/demo").join(picture), folder.path().join(name)).unwrap();
        }
        let line = |(id, prompt, b, label): &(&str, &str, &str, &str)| {
            format!(
                r#"{{"id":"{id}","prompt":"{prompt}","a":"a.webp","b":"{b}","label":"{label}","task":"image-pair"}}"#
            )
        };
        let lines: Vec<String> = lines.iter().map(line).collect();
        fs::write(folder.path().join("pairs.jsonl"), lines.join("\n")).unwrap();
        Pairs { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("pairs.jsonl")
    }

    /// What the judge makes of the file.
    fn examine(&self, judge: &Judge, options: &CompareOptions) -> Vec<Record> {
        let input = eval::read(&self.file(), Format::Rows).unwrap();
        input.rows.iter().map(|row| eval::examine(judge, row, &self.file(), options)).collect()
    }
}

/// The one door: a share's count and of.
fn check(got: Option<Share>, expected: (usize, usize)) {
    assert_eq!(got.map(|share| (share.count, share.of)), Some(expected));
}

#[test]
fn every_pair_is_judged_in_both_orders_and_every_figure_follows() {
    let pairs = Pairs::new(&[
        ("right", "a painting", "b.webp", "a"),
        ("wrong", "a painting", "b.webp", "b"),
        ("sideways", "a sideways painting", "b.webp", "a"),
        ("speechless", "a speechless painting", "b.webp", "b"),
        ("missing", "a painting", "no-such.webp", "a"),
        ("tie", "a painting", "b.webp", "tie"),
    ]);
    let (judge, options) = (judge(), CompareOptions { both_orders: true, ..CompareOptions::default() });
    let records = pairs.examine(&judge, &options);
    let metrics = Metrics::of(&records);

    check(metrics.accuracy, (1, 5));
    check(metrics.orders[0].accuracy, (2, 5));
    check(metrics.orders[1].accuracy, (1, 5));
    check(metrics.position_consistency, (3, 6));
    check(metrics.report_parse_rate, (8, 10));
    // The report that prefers the second gives scores that do not sum to ten.
    check(metrics.statuses.ok, (5, 10));
    check(metrics.statuses.inconsistent, (3, 10));
    check(metrics.statuses.invalid, (2, 10));
    assert_eq!((metrics.errors, metrics.no_verdict, metrics.undecided), (1, 1, 1));
    assert_eq!(metrics.ties.said.counts(), [1, 0, 0, 0]);
    // A byte a token, and the end token.
    let longest = report("7", "Image 1", "Image 1").len() + 1;
    assert_eq!(metrics.tokens.unwrap().max, longest as f64);
    assert!(metrics.latency_ms.unwrap().p50 > 0.0 && metrics.throughput.seconds > 0.0);
    // Right: first shown at 0.88, then at 0.12. Wrong: the same, and the other came true. Sideways: twice 0.88.
    let p = 0.880_797_077_977_882_3_f64;
    let brier = (3.0 * (1.0 - p).powi(2) + 3.0 * p.powi(2)) / 6.0;
    let calibration = metrics.calibration.as_ref().unwrap();
    assert!(calibration.count == 6 && (calibration.brier - brier).abs() < 1e-6, "{calibration:?}");

    let missing = records[4].error.as_ref().unwrap();
    assert!(missing.contains("no-such.webp"), "{missing}");
    assert_eq!((records[3].status, records[3].winner), (Some(Status::Invalid), None));
    assert_eq!((records[2].winner, records[2].position_consistent), (Some(Label::Tie), Some(false)));

    let source = Source {
        file: "pairs.jsonl".to_owned(),
        format: Format::Rows,
        task: Task::ImagePair,
        judged: 6,
        skipped: 0,
        refused: Vec::new(),
    };
    let evaluation = Evaluation::new(&judge, source, &options, &records);
    assert_eq!(evaluation.errors.len(), 1);
    assert!(evaluation.both_orders && evaluation.verdict_only.is_none());
    let document = serde_json::to_value(&evaluation).unwrap();
    assert_eq!(document["report"]["accuracy"]["share"], 0.2);
    let page = html::page(&evaluation, &records);
    assert!(page.contains("20.0 % (1 of 5;") && page.contains("Judged wrongly: 3"), "{page}");
}

#[test]
fn one_order_costs_half_and_has_no_consistency() {
    let pairs = Pairs::new(&[("right", "a painting", "b.webp", "a"), ("wrong", "a painting", "b.webp", "b")]);
    let metrics = Metrics::of(&pairs.examine(&judge(), &CompareOptions::default()));
    check(metrics.accuracy, (1, 2));
    assert_eq!((metrics.orders.len(), metrics.position_consistency), (1, None));
}

#[test]
fn verdicts_without_a_report_have_their_own_figures() {
    let pairs = Pairs::new(&[("right", "a painting", "b.webp", "a"), ("wrong", "a painting", "b.webp", "b")]);
    let silent = script::judge(2, |slot, _| {
        let verdict = if slot == 0 { [3.0, 1.0] } else { [1.0, 3.0] };
        Says { text: String::new(), verdict, ends: true }
    });
    let options = CompareOptions { both_orders: true, verdict_only: true, ..CompareOptions::default() };
    let metrics = Metrics::of(&pairs.examine(&silent, &options));
    check(metrics.accuracy, (1, 2));
    check(metrics.position_consistency, (2, 2));
    assert_eq!((metrics.report_parse_rate, metrics.tokens), (None, None));
}

#[test]
fn a_row_that_the_pack_cannot_be_asked_is_an_error_of_its_own() {
    let pairs = Pairs::new(&[("right", "a painting", "b.webp", "a")]);
    let text = fs::read_to_string(pairs.file()).unwrap();
    for (from, to, expected) in [
        ("image-pair", "video-pair", "the row is for video-pair"),
        (r#""b.webp""#, r#"["a.webp","b.webp"]"#, "`b` is a set of frames, which image-pair does not take"),
        (r#""b.webp""#, r#""pairs.jsonl""#, "pairs.jsonl: "),
    ] {
        fs::write(pairs.file(), text.replace(from, to)).unwrap();
        let records = pairs.examine(&judge(), &CompareOptions::default());
        let error = records[0].error.as_deref().unwrap_or("no error");
        assert!(error.contains(expected), "{error}");
        assert_eq!((records[0].status, records[0].orders.len()), (None, 0));
    }
}
