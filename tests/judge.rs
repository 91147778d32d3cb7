//! Whole judgements with a scripted decoder: the real package, pack, pictures and vision tower, and an answer that
//! the test writes. So every status of a verdict, and the probability at its token, are seen from the front door.

// The helpers below are test code too, which the lint cannot see.
#![allow(clippy::unwrap_used)]

mod drive;

use drive::Exported;
use rewardrt::judge::{CompareOptions, FinishReason, Mode};
use rewardrt::load::Package;
use rewardrt::session::stub::{Answer, Scene};
use rewardrt::session::{Geometry, OrtVision, ScriptedDecoder, SessionOptions, VisionSession, library};
use rewardrt::text::Tokenizer;
use rewardrt::{Comparison, Error, Judge, Picture, Verdict};
use rewardrt_models::package::{Manifest, Precision};
use rewardrt_models::verdict::{Status, Winner};
use rewardrt_tests::root;

const CAPTION: &str = "a painting of an ocean";
/// The verdict-only start of an answer, as the pack writes it.
const HEAD: &str = "```json\n{\n  \"prompt\": \"a painting of an ocean\",\n";

fn report(score_1: &str, cat_winner: &str, winner: &str) -> String {
    format!(
        r#"{HEAD}"categories": [{{"name": "A. Semantic Alignment & Accuracy", "dims": [{{"name": "Birds",
        "reason_1": "the text says \"winner\": \"Image 2\"", "reason_2": "none", "score_1": {score_1}, "score_2": 3}}],
        "cat_reason": "clear", "cat_winner": "{cat_winner}"}}], "reason": "overall", "winner": "{winner}"}}"#
    )
}

/// What the decoder says: a text, then the end token; and the two logits at the verdict's digit.
#[derive(Clone)]
struct Says {
    text: String,
    verdict: [f32; 2],
    ends: bool,
}

impl Says {
    fn report(text: String) -> Says {
        Says { text, verdict: [3.0, 1.0], ends: true }
    }
}

/// The demo package with a decoder that gives `answers[slot]`.
fn judge(answers: Vec<Says>) -> Judge {
    let exported = Exported::new(&root().join("models/demo/checkpoint"), Precision::Fp32).unwrap();
    let package = Package::open(&exported.path()).unwrap();
    let manifest = package.manifest().clone();
    let tokenizer = Tokenizer::from_json(&package.read(&manifest.tokenizer).unwrap()).unwrap();
    let vision =
        OrtVision::open(&library::load(None).unwrap(), &package, &SessionOptions::default()).unwrap();
    let geometry = Geometry {
        slots: answers.len(),
        tokens: 8192,
        columns: 256,
        vocabulary: manifest.decoder.vocabulary as usize,
        hidden: manifest.decoder.hidden as usize,
        deepstack: manifest.vision.as_ref().unwrap().deepstack as usize,
        rotary_width: manifest.decoder.position.rotary_dim as usize / 2,
    };
    let voice = Voice::new(&manifest, tokenizer);
    let script = Box::new(move |scene: Scene<'_>| voice.next(&answers[scene.slot], scene.history));
    let vision = vision.map(|v| Box::new(v) as Box<dyn VisionSession>);
    Judge::builder().open_with(package, Box::new(ScriptedDecoder::new(geometry, script)), vision).unwrap()
}

/// Turns texts into logits, one byte a token.
struct Voice {
    tokenizer: Tokenizer,
    bytes: Vec<u32>,
    eos: u32,
    turn: i64,
}

impl Voice {
    fn new(manifest: &Manifest, tokenizer: Tokenizer) -> Voice {
        let byte =
            |b: u8| (0..manifest.decoder.vocabulary).find(|&id| tokenizer.token_bytes(id) == [b]).unwrap();
        let bytes = (0..=255).map(byte).collect();
        let turn = i64::from(tokenizer.controls().id("<|im_start|>").unwrap());
        Voice { bytes, eos: manifest.tokens.eos[0], turn, tokenizer }
    }

    fn next(&self, said: &Says, history: &[i64]) -> Answer {
        let Some(written) = self.written(history) else { return Answer::Token(self.eos) };
        let at_digit =
            written.ends_with("Image ") && (said.text.is_empty() || written.len() == verdict_at(&said.text));
        match said.text.as_bytes().get(written.len()) {
            _ if at_digit => self.digit(said.verdict),
            Some(b) => Answer::Token(self.bytes[usize::from(*b)]),
            None if said.ends => Answer::Token(self.eos),
            None => Answer::Token(self.bytes[usize::from(b' ')]),
        }
    }

    /// The answer so far; none while the prompt is still being read.
    fn written(&self, history: &[i64]) -> Option<String> {
        let turn = history.iter().rposition(|&id| id == self.turn)?;
        let ids: Vec<u32> = history[turn + 1..].iter().map(|&id| id as u32).collect();
        self.tokenizer.decode(&ids, false).text.strip_prefix("assistant\n").map(str::to_owned)
    }

    fn digit(&self, verdict: [f32; 2]) -> Answer {
        let mut logits = vec![-20.0; self.tokenizer.vocabulary()];
        for (digit, logit) in [b'1', b'2'].into_iter().zip(verdict) {
            logits[self.bytes[usize::from(digit)] as usize] = logit;
        }
        Answer::Logits(logits)
    }
}

/// Place of the verdict's digit: after the last `Image ` of the text.
fn verdict_at(text: &str) -> usize {
    text.rfind("Image ").map_or(usize::MAX, |at| at + "Image ".len())
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
    assert!(judge.compare(&two).unwrap_err().to_string().contains("one picture with one"));
    let long = Comparison::images("x".repeat(17 * 1024), picture(), picture());
    assert!(judge.compare(&long).is_err());
}
