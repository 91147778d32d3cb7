//! Whole judgements with a scripted decoder: the real package, pack, pictures and vision tower, and an answer that
//! the test writes. So every status of a verdict, and the probability at its token, are seen from the front door.

// The helpers below are test code too, which the lint cannot see.
#![allow(clippy::unwrap_used)]

mod drive;
mod script;

use rewardrt::judge::{CompareOptions, FinishReason, Mode};
use rewardrt::{Comparison, Error, Judge, Picture, Verdict};
use rewardrt_models::verdict::{Ending, Status, Winner};
use rewardrt_tests::root;
use script::{CAPTION, Says, report};

/// The demo package with a decoder that gives `answers[slot]`.
fn judge(answers: Vec<Says>) -> Judge {
    script::judge(answers.len(), move |slot, _| answers[slot].clone())
}

fn ask(judge: &Judge, options: CompareOptions) -> Result<Verdict, Error> {
    let picture = |name: &str| Picture::Path(root().join("models/demo").join(name));
    let mut comparison = Comparison::images(CAPTION, picture("ocean-1.webp"), picture("ocean-4.webp"));
    comparison.options = options;
    judge.compare(&comparison)
}

/// One answer in one order gives this status and winner.
fn check(says: Says, expected: (Status, Option<Winner>)) -> Verdict {
    let options = CompareOptions { max_new_tokens: Some(1200), ..CompareOptions::default() };
    let verdict = ask(&judge(vec![says]), options).unwrap();
    assert_eq!((verdict.status, verdict.winner), expected, "{:?}", verdict.orders[0].problem);
    verdict
}

fn near(got: Option<f64>, expected: f64) {
    assert!(got.is_some_and(|p| (p - expected).abs() < 1e-6), "{got:?} is not {expected}");
}

/// Softmax over two logits, 2 apart.
const AHEAD: f64 = 0.880_797_077_977_882_3;

#[test]
fn a_written_report_gives_its_winner_and_the_probability_at_its_digit() {
    let verdict = check(Says::report(report("7", "Image 1", "Image 1")), (Status::Ok, Some(Winner::First)));
    near(verdict.p_first, AHEAD);
    assert_eq!(verdict.report.unwrap().categories[0].dims[0].score_1, 7.0);
    assert_eq!(verdict.orders[0].finish_reason, FinishReason::Stop);
    assert_eq!(verdict.mode, Mode::Report);
}

#[test]
fn the_written_winner_stands_when_the_report_disagrees_with_itself() {
    let verdict =
        check(Says::report(report("7", "Image 2", "Image 1")), (Status::Inconsistent, Some(Winner::First)));
    assert!(!verdict.orders[0].flags.is_empty());
}

#[test]
fn an_answer_that_was_cut_is_truncated_and_has_no_winner() {
    let whole = report("7", "Image 1", "Image 1");
    let cut = Says { text: whole[..whole.len() - 40].to_owned(), verdict: [0.0; 2], ends: false };
    let verdict = check(cut, (Status::Truncated, None));
    assert_eq!((verdict.p_first, verdict.orders[0].finish_reason), (None, FinishReason::Length));
}

#[test]
fn an_answer_without_a_report_is_invalid_and_never_a_tie() {
    check(Says::report("Both are fine.".to_owned()), (Status::Invalid, None));
    let nan = report("7", "Image 1", "Image 1").replace("\"score_1\": 7", "\"score_1\": \"nan\"");
    let verdict = check(Says::report(nan), (Status::Invalid, None));
    assert_eq!(verdict.orders[0].problem.as_ref().unwrap().name(), "score_as_text");
}

/// An answer with words behind it, in each ending: the same verdict, from less and less of the same text.
#[test]
fn an_answer_may_end_when_it_is_complete_or_decided_with_the_same_verdict() {
    let whole = report("7", "Image 2", "Image 1");
    let says = Says::report(format!("{whole}\nThat is all."));
    let ask = |ending| {
        let options = CompareOptions { max_new_tokens: Some(1200), ending, ..CompareOptions::default() };
        ask(&judge(vec![says.clone()]), options).unwrap()
    };
    let written = ask(Ending::Written);
    assert_eq!((written.status, written.winner), (Status::Inconsistent, Some(Winner::First)));
    let decided = &whole[..whole.len() - 1];
    for (ending, text, finish_reason) in [
        (Ending::Complete, whole.as_str(), FinishReason::Complete),
        (Ending::Decided, decided, FinishReason::Decided),
    ] {
        let verdict = ask(ending);
        assert_eq!((verdict.text.as_str(), verdict.orders[0].finish_reason), (text, finish_reason));
        // A byte is a token here.
        assert_eq!(verdict.usage.new_tokens, text.len());
        assert_eq!((verdict.status, verdict.winner), (written.status, written.winner));
        assert_eq!((verdict.p_first, &verdict.report), (written.p_first, &written.report));
        assert_eq!(verdict.orders[0].flags, written.orders[0].flags);
    }
}

#[test]
fn both_orders_are_combined_and_say_whether_they_agree() {
    let first = Says::report(report("7", "Image 1", "Image 1"));
    let second = Says { verdict: [1.0, 3.0], ..Says::report(report("1", "Image 2", "Image 2")) };
    let options =
        CompareOptions { both_orders: true, max_new_tokens: Some(1200), ..CompareOptions::default() };

    let verdict = ask(&judge(vec![first.clone(), second]), options.clone()).unwrap();
    assert_eq!((verdict.winner, verdict.position_consistent), (Some(Winner::First), Some(true)));
    near(verdict.p_first, AHEAD);

    let verdict = ask(&judge(vec![first.clone(), first]), options).unwrap();
    assert_eq!((verdict.winner, verdict.position_consistent), (Some(Winner::Tie), Some(false)));
    near(verdict.p_first, 0.5);
}

#[test]
fn verdict_only_weighs_the_two_winners_and_says_so() {
    let silent = Says { text: String::new(), verdict: [1.0, 3.0], ends: true };
    let options = CompareOptions { verdict_only: true, ..CompareOptions::default() };
    let verdict = ask(&judge(vec![silent]), options).unwrap();
    assert_eq!((verdict.winner, verdict.mode), (Some(Winner::Second), Mode::VerdictOnly));
    near(verdict.p_first, 1.0 - AHEAD);
    assert_eq!((verdict.usage.new_tokens, verdict.orders[0].finish_reason), (0, FinishReason::Forced));
    assert!(verdict.text.ends_with("\"winner\": \"Image 2\""), "{}", verdict.text);
}

#[test]
fn a_score_that_is_no_number_gives_no_verdict() {
    for verdict in [[f32::NAN, 0.0], [f32::INFINITY, 0.0]] {
        let silent = Says { text: String::new(), verdict, ends: true };
        let options = CompareOptions { verdict_only: true, ..CompareOptions::default() };
        let error = ask(&judge(vec![silent]), options).unwrap_err();
        assert!(error.to_string().contains("not finite"), "{error}");
    }
}

#[test]
fn requests_that_cannot_be_asked_are_refused_by_name() {
    let judge = judge(vec![Says::report(String::new())]);
    let refused = |options| ask(&judge, options).unwrap_err().to_string();
    assert!(
        refused(CompareOptions { max_new_tokens: Some(0), ..CompareOptions::default() })
            .contains("max_new_tokens")
    );
    assert!(
        refused(CompareOptions { max_new_tokens: Some(5000), ..CompareOptions::default() }).contains("4096")
    );
    let picture = || Picture::Bytes(b"GIF89a".to_vec());
    let two = Comparison::frames(CAPTION, vec![picture(), picture()], vec![picture()]);
    let refused = judge.compare(&two).unwrap_err().to_string();
    assert!(
        refused.contains("which takes two pictures; given were 2 candidates of 2 and 1 pictures"),
        "{refused}"
    );
    let long = Comparison::images("x".repeat(17 * 1024), picture(), picture());
    assert!(judge.compare(&long).is_err());
}
