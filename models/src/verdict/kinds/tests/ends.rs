//! Where answers may end, byte by byte, and that what is written behind makes no other verdict of them.

use super::super::super::Ending;
use super::*;
use proptest::prelude::*;

const REPORT: &str = r#"Well. ```json
{"prompt": "a \"cat\" {1} }", "categories": [{"name": "A. Alignment", "dims": [{"name": "Count", "reason_1": "three",
"reason_2": "two", "score_1": 7, "score_2": 3}], "cat_reason": "clear", "cat_winner": "{1}"}], "reason": "all told",
"winner": "{1}"|}|"#;
const WINNER_FIRST: &str = r#"{"winner": "{1}", "prompt": "", "categories": [{"name": "A. Alignment", "dims": [{"name":
"Count", "reason_1": "three", "reason_2": "two", "score_1": 7, "score_2": 3}], "cat_reason": "", "cat_winner": "{1}"}],
"reason": "all told"|}|"#;
const THINK: &str = "<think> <answer>{2}</answer> or not </think>\n<answer>{1}.</answer>||";
const SCORES: &str = r#"Here: {"reasoning": "a score of [9, 9]", "score": [20, 3]|}|"#;

/// The place where an answer first ends, token by token of a few bytes.
fn place(protocol: &Protocol, text: &str, ending: Ending) -> Option<usize> {
    (1..=text.len()).find(|&end| {
        let piece = &text.as_bytes()[end.saturating_sub(3)..end];
        text.is_char_boundary(end) && protocol.may_end(piece, ending) && protocol.ends(&text[..end], ending)
    })
}

/// An answer with a bar where it is decided, and one where it is complete.
fn check(pack: &Pack, text: &str) {
    let (head, rest) = text.split_once('|').unwrap();
    let (close, _) = rest.split_once('|').unwrap();
    let whole = format!("{head}{close} So it is.");
    let (decided, complete) = (head.len(), head.len() + close.len());
    assert_eq!(place(&pack.answer, &whole, Ending::Written), None, "{}", pack.name);
    assert_eq!(place(&pack.answer, &whole, Ending::Complete), Some(complete), "{}: {whole}", pack.name);
    assert_eq!(place(&pack.answer, &whole, Ending::Decided), Some(decided), "{}: {whole}", pack.name);
    let read = pack.answer.closed(&whole[..decided]).unwrap_or(whole[..decided].to_owned());
    assert_eq!(summary(&read, Stop, &pack.answer), summary(&whole, Stop, &pack.answer), "{read}");
}

fn of(pack: &Pack, text: &str) -> String {
    let [first, second] = match &pack.answer {
        Protocol::Report(kind) => [&kind.winner_first, &kind.winner_second],
        Protocol::Think(kind) => [&kind.first, &kind.second],
        _ => return text.to_owned(),
    };
    text.replace("{1}", first).replace("{2}", second)
}

#[test]
fn an_answer_that_closes_what_it_opened_ends_there() {
    for pack in packs(AnswerKind::Report) {
        check(&pack, &of(&pack, REPORT));
        check(&pack, &of(&pack, WINNER_FIRST));
    }
    for pack in packs(AnswerKind::EditJson) {
        check(&pack, SCORES);
    }
    for pack in packs(AnswerKind::Think) {
        // The tags in the thoughts are not the answer's, and spoil it either way.
        check(&pack, &of(&pack, THINK));
        check(&pack, &of(&pack, "<think>\n</think>\n<answer>{1}</answer>||"));
    }
}

#[test]
fn lines_and_sentences_are_waited_for() {
    let text = "Image 1 is better.\nAlignment Score (1-5): 3\nFinal Score: 4\n</answer>}\"]\n";
    for kind in [AnswerKind::Sentence, AnswerKind::ScoreLines, AnswerKind::PairScoreLines] {
        for pack in packs(kind) {
            assert_eq!(place(&pack.answer, text, Ending::Decided), None, "{}", pack.name);
        }
    }
}

proptest! {
    /// Whatever goes on behind an answer that ended: the same verdict, or none.
    #[test]
    fn no_other_verdict_comes_of_what_is_written_behind(
        decided in any::<bool>(),
        rest in r#"[ ,}\]"a-z{:]{0,12}(\}|"winner": ?"Image [12]"|,"categories":\[\]|"score":\[1,2\]|</answer>|.){0,4}"#,
    ) {
        let ending = if decided { Ending::Decided } else { Ending::Complete };
        let kinds = [(AnswerKind::Report, REPORT), (AnswerKind::EditJson, SCORES)];
        for (kind, text) in kinds {
            let pack = &packs(kind)[0];
            let text = of(pack, text).replace('|', "");
            let end = place(&pack.answer, &text, ending).unwrap();
            let read = pack.answer.closed(&text[..end]).unwrap_or(text[..end].to_owned());
            let (ended, full) = (&read, format!("{}{rest}", &text[..end]));
            let verdict = summary(ended, Stop, &pack.answer);
            let other = summary(&full, Stop, &pack.answer);
            prop_assert!(verdict.starts_with("Ok"), "{}", verdict);
            prop_assert!(other == verdict || other.starts_with("Invalid"), "{}: {}", full, other);
        }
    }
}
