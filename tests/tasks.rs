//! Every task through `compare` and `score` with a scripted decoder, and as the documents that `--json` prints.

// The helpers below are test code too, which the lint cannot see.
#![allow(clippy::unwrap_used)]

mod drive;
mod script;

use rewardrt::judge::CompareOptions;
use rewardrt::{Comparison, Item, Judge, Picture, Score, Verdict};
use rewardrt_models::prompt::pack::{Candidate, Pack, Shown, Task, builtin_names};
use rewardrt_models::verdict::{Status, Winner};
use rewardrt_tests::root;
use script::{Says, Stage};

/// A judge of this pack with a decoder that gives `answers[slot]`.
fn judge_of(stage: &Stage, pack: &str, answers: Vec<Says>) -> Judge {
    stage.judge(pack, answers.len(), move |slot, _| answers[slot].clone())
}

fn picture(name: &str) -> Picture {
    Picture::Path(root().join("models/demo").join(name))
}

fn two() -> [Picture; 2] {
    [picture("ocean-1.webp"), picture("ocean-4.webp")]
}

/// A comparison of the task's kind.
fn comparison(task: Task) -> Comparison {
    let shape = task.shape();
    let [a, b] = two();
    match (shape.candidate, shape.shown) {
        (Candidate::Picture, Some(_)) => Comparison::edits("make it calm", a.clone(), a, b),
        (Candidate::Picture, None) => Comparison::images("an ocean", a, b),
        (Candidate::Frames, _) => Comparison::frames("an ocean", two().to_vec(), two().to_vec()),
        (Candidate::Answer, Some(Shown::Frames)) => {
            Comparison::answers("what moves?", two().to_vec(), "the water", "a tree")
        }
        (Candidate::Answer, _) => Comparison::answers("what is it?", vec![a], "an ocean", "a tree"),
    }
}

/// An item of the task's kind.
fn item(task: Task) -> Item {
    let shape = task.shape();
    let [a, b] = two();
    match (shape.candidate, shape.shown) {
        (Candidate::Picture, Some(_)) => Item::edit("make it calm", a, b),
        (Candidate::Picture, None) if shape.holes.is_empty() => Item::image("", a),
        (Candidate::Picture, None) => Item::image("an ocean", a),
        (Candidate::Frames, _) => Item::frames("an ocean", two().to_vec()),
        (Candidate::Answer, _) => Item::answer("what is it?", two().to_vec(), "an ocean"),
    }
}

/// Compares with a pack whose model says this; gives status and winner.
fn check_pair(stage: &Stage, pack: &str, says: &str, expected: (Status, Option<Winner>)) -> Verdict {
    let judge = judge_of(stage, pack, vec![Says::words(says)]);
    let verdict = judge.compare(&comparison(judge.pack().task)).unwrap();
    assert_eq!((verdict.status, verdict.winner), expected, "{pack}: {:?}", verdict.orders[0].problem);
    assert_eq!(verdict.text, says);
    verdict
}

/// Scores with a pack whose model says this; gives names and values, or the problem's name.
fn check_point(stage: &Stage, pack: &str, says: &str, expected: &str) -> Score {
    let judge = judge_of(stage, pack, vec![Says::words(says)]);
    let score = judge.score(&item(judge.pack().task)).unwrap();
    let values: Vec<_> = score.scores.iter().map(|s| format!("{} {}", s.name, s.value)).collect();
    let got = score.problem.as_ref().map_or_else(|| values.join(", "), |problem| problem.name().to_owned());
    assert_eq!(got, expected, "{pack}");
    assert_eq!(score.text.as_deref(), Some(says));
    score
}

const FIRST: (Status, Option<Winner>) = (Status::Ok, Some(Winner::First));
const SECOND: (Status, Option<Winner>) = (Status::Ok, Some(Winner::Second));
const TIE: (Status, Option<Winner>) = (Status::Ok, Some(Winner::Tie));

#[test]
fn every_pair_task_gives_its_winner() {
    let stage = Stage::new();
    check_pair(&stage, "unifiedreward-image-pair", "Image 2 is better.", SECOND);
    check_pair(&stage, "unifiedreward-image-pair", "Both images are equally good.", TIE);
    check_pair(&stage, "unifiedreward-video-pair", "Video 1 is better.", FIRST);
    check_pair(&stage, "unifiedreward-edit-pair", "Edited image 2 is better.", SECOND);
    check_pair(&stage, "unifiedreward-image-understanding-pair", "Answer 1 is better.", FIRST);
    check_pair(
        &stage,
        "unifiedreward-video-understanding-pair",
        "Overall Judgment: Answer 2 is better.",
        SECOND,
    );
    let think = |verdict: &str| format!("<think>9+8+8=25</think><answer>{verdict}</answer>");
    check_pair(&stage, "unifiedreward-think-image-pair", &think("Image 1 is better"), FIRST);
    check_pair(&stage, "unifiedreward-think-video-pair", &think("Video 2 is better"), SECOND);
    check_pair(&stage, "unifiedreward-think-image-understanding-pair", &think("Answer 2 is better"), SECOND);
    check_pair(&stage, "unifiedreward-think-video-understanding-pair", &think("Answer 1 is better"), FIRST);
    let invalid = (Status::Invalid, None);
    let both =
        check_pair(&stage, "unifiedreward-image-pair", "Image 1 is better. Image 2 is better.", invalid);
    assert_eq!(both.orders[0].problem.as_ref().unwrap().name(), "contradictory");
}

#[test]
fn pairs_by_scores_have_their_scores_and_no_probability() {
    let stage = Stage::new();
    let share = |noun: &str, third: &str| {
        let dims = ["Alignment", third, "Style"].map(|d| format!("{d}:\n {noun} 1: 0.25\n {noun} 2: 0.75\n"));
        dims.concat()
    };
    let verdict =
        check_pair(&stage, "unifiedreward-2-image-pair-score", &share("Image", "Coherence"), SECOND);
    assert_eq!((verdict.scores.len(), verdict.p_first), (3, None));
    assert_eq!((verdict.scores[2].name.as_str(), verdict.scores[2].second), ("style", 0.75));
    check_pair(&stage, "unifiedreward-2-video-pair-score", &share("Video", "Physics"), SECOND);
    let off = share("Image", "Coherence").replace("0.75", "0.5");
    let verdict = check_pair(
        &stage,
        "unifiedreward-2-image-pair-score",
        &off,
        (Status::Inconsistent, Some(Winner::Second)),
    );
    assert_eq!(verdict.orders[0].flags.len(), 3);
    check_pair(&stage, "unifiedreward-edit-pair-score", "Edited image 1: -1\nEdited image 2: -2.5", FIRST);
}

#[test]
fn every_point_task_gives_its_named_scores() {
    let stage = Stage::new();
    let acs = "Alignment Score (1-5): 3.5\nCoherence Score (1-5): 4\nStyle Score (1-5): 3.141592653589793238";
    let named = "alignment 3.5, coherence 4, style 3.141592653589793";
    check_point(&stage, "unifiedreward-2-image-point", acs, named);
    check_point(&stage, "unifiedreward-image-acs", &format!("ocean: yes\n{acs}"), named);
    check_point(&stage, "unifiedreward-image-point", "ocean (object): 1\nFinal Score: 4.5", "final 4.5");
    let aps = acs.replace("Coherence", "Physics");
    check_point(&stage, "unifiedreward-2-video-point", &aps, &named.replace("coherence", "physics"));
    let video = "Visual Quality: 1\nTemporal Consistency: 2\nDynamic Degree: 3\nText-to-Video Alignment: 4\n\
                 Factual Consistency: 1\nFinal Score: 10";
    let named = "visual_quality 1, temporal_consistency 2, dynamic_degree 3, text_to_video_alignment 4, \
                 factual_consistency 1, final 10";
    check_point(&stage, "unifiedreward-video-point", video, named);
    check_point(&stage, "unifiedreward-image-understanding-point", "Final Score: 62", "final 62");
    check_point(&stage, "unifiedreward-video-understanding-point", "Final Score: 3", "final 3");
    let json = "{\"reasoning\": \"done\", \"score\": [20, 3.5]}";
    check_point(&stage, "unifiedreward-edit-point", json, "success 20, overedit 3.5");
    check_point(&stage, "unifiedreward-edit-quality-point", json, "naturalness 20, artifacts 3.5");
    check_point(
        &stage,
        "unifiedreward-edit-quality-point",
        "{\"reasoning\": \"\", \"score\": [26, 1]}",
        "score_out_of_range",
    );
    check_point(&stage, "unifiedreward-image-point", "Final Score: nan", "score_as_text");
    check_point(&stage, "unifiedreward-image-point", "", "missing_score");
}

#[test]
fn a_score_that_the_limit_cut_is_no_score() {
    let stage = Stage::new();
    let says = Says { ends: false, ..Says::words("Final Score: 1") };
    let mut item = item(Task::ImagePoint);
    item.options.max_new_tokens = Some(14);
    let score = judge_of(&stage, "unifiedreward-image-point", vec![says]).score(&item).unwrap();
    assert_eq!((score.status, score.scores.len()), (Status::Truncated, 0));
    assert_eq!(score.problem.unwrap().name(), "cut");
}

#[test]
fn documents_name_the_fields_of_every_result() {
    let stage = Stage::new();
    let score = check_point(&stage, "unifiedreward-image-point", "Final Score: 4.5", "final 4.5");
    let document = serde_json::json!(score);
    assert_eq!(document["status"], "ok");
    let named: serde_json::Value =
        serde_json::from_str(r#"{"name":"final","value":4.5,"low":1.0,"high":5.0}"#).unwrap();
    assert_eq!(document["scores"][0], named);
    assert_eq!(document["pack"]["name"], "unifiedreward-image-point");
    assert_eq!(
        (&document["finish_reason"], &document["problem"]),
        (&"stop".into(), &serde_json::Value::Null)
    );
    let verdict =
        check_pair(&stage, "unifiedreward-edit-pair-score", "Edited image 1: -1\nEdited image 2: -1", TIE);
    let document = serde_json::json!(verdict);
    assert_eq!((&document["winner"], &document["scores"][0]["first"]), (&"tie".into(), &(-1.0).into()));
    assert!(document["p_first"].is_null() && document["report"].is_null());
}

/// The written winner and the probability that a sentence weighs at its digit.
#[test]
fn sentences_and_thoughts_have_the_probability_at_their_digit() {
    let stage = Stage::new();
    for (pack, says) in [
        ("unifiedreward-image-pair", "So it is. Image 1 is better."),
        ("unifiedreward-edit-pair", "Edited image 1 is better."),
        ("unifiedreward-image-understanding-pair", "Answer 1 is better."),
        ("unifiedreward-think-image-pair", "<think>x</think>\n<answer>Image 1 is better</answer>"),
    ] {
        let judge = judge_of(&stage, pack, vec![Says::report(says.to_owned())]);
        let verdict = judge.compare(&comparison(judge.pack().task)).unwrap();
        assert_eq!((verdict.status, verdict.winner), FIRST, "{pack}");
        // Softmax over two logits, 2 apart.
        let p = verdict.p_first.unwrap();
        assert!((p - 0.880_797_077_977_882_3).abs() < 1e-6, "{pack}: {p}");
    }
    let tie = check_pair(&stage, "unifiedreward-image-pair", "Both images are equally good.", TIE);
    assert_eq!(tie.p_first, None);
}

#[test]
fn both_orders_swap_edits_and_answers_but_not_what_is_shown() {
    let stage = Stage::new();
    let both = CompareOptions { both_orders: true, ..CompareOptions::default() };
    for (pack, first, second) in [
        ("unifiedreward-edit-pair", "Edited image 1 is better.", "Edited image 2 is better."),
        ("unifiedreward-image-understanding-pair", "Answer 1 is better.", "Answer 2 is better."),
    ] {
        let judge = judge_of(&stage, pack, vec![Says::words(first), Says::words(second)]);
        let mut asked = comparison(judge.pack().task);
        asked.options = both.clone();
        let verdict = judge.compare(&asked).unwrap();
        assert_eq!(
            (verdict.winner, verdict.position_consistent),
            (Some(Winner::First), Some(true)),
            "{pack}"
        );
        let [ab, ba] = &verdict.orders[..] else { panic!("{pack} has both orders") };
        assert_eq!(ab.usage.vision_tokens, ba.usage.vision_tokens);
    }
    let judge =
        judge_of(&stage, "unifiedreward-image-pair", vec![Says::words("Both images are equally good."); 2]);
    let mut asked = comparison(Task::ImagePair);
    asked.options = both;
    let verdict = judge.compare(&asked).unwrap();
    assert_eq!((verdict.winner, verdict.position_consistent), (Some(Winner::Tie), Some(true)));
}

#[test]
fn verdict_only_is_asked_of_words_and_refused_for_scores() {
    let stage = Stage::new();
    let ask = |pack: &str| {
        let silent = Says { text: String::new(), verdict: [1.0, 3.0], ends: true };
        let judge = judge_of(&stage, pack, vec![silent]);
        let mut asked = comparison(judge.pack().task);
        asked.options.verdict_only = true;
        judge.compare(&asked)
    };
    for (pack, text) in [
        ("unifiedreward-image-pair", "Image 2 is better"),
        ("unifiedreward-think-image-pair", "<think>\n\n</think>\n<answer>Image 2 is better"),
        ("unifiedreward-video-understanding-pair", "Overall Judgment: Answer 2 is better"),
    ] {
        let verdict = ask(pack).unwrap();
        assert_eq!((verdict.winner, verdict.text.as_str()), (Some(Winner::Second), text), "{pack}");
    }
    let refused = ask("unifiedreward-2-image-pair-score").unwrap_err().to_string();
    assert!(refused.contains("has no skeleton") && refused.contains("pair-score-lines"), "{refused}");
}

/// What one pack says to a question of another task.
fn refused(judge: &Judge, item_of: Task, pair_of: Task) -> [Option<String>; 2] {
    let score = judge.score(&item(item_of)).err().map(|e| e.to_string());
    [score, judge.compare(&comparison(pair_of)).err().map(|e| e.to_string())]
}

#[test]
fn a_pack_refuses_questions_of_other_tasks_with_what_it_takes() {
    let stage = Stage::new();
    for name in builtin_names() {
        let pack = Pack::builtin(name).unwrap();
        let judge = judge_of(&stage, name, vec![Says::words("")]);
        let shape = pack.task.shape();
        let message =
            format!("pack {name} is for {}, which takes {}; given were ", shape.name, shape.takes());
        let (point, pair) = match shape.candidate {
            Candidate::Answer => (Task::ImagePoint, Task::EditPair),
            _ => (Task::ImageUnderstandingPoint, Task::VideoUnderstandingPair),
        };
        for refusal in refused(&judge, point, pair) {
            assert!(refusal.is_some_and(|text| text.starts_with(&message)), "{name}");
        }
    }
}
