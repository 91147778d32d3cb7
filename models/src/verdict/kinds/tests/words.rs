//! Answers of the kinds `sentence` and `think`. `{1}`, `{2}` and `{=}` stand for the pack's verdicts.

use super::*;

fn words(pack: &Pack) -> (&str, &str, &str) {
    match &pack.answer {
        Protocol::Sentence(kind) => (&kind.first, &kind.second, kind.tie.as_deref().unwrap_or_default()),
        Protocol::Think(kind) => (&kind.first, &kind.second, kind.tie.as_deref().unwrap_or("Neither")),
        other => panic!("{} is of kind {}", pack.name, other.kind().name()),
    }
}

fn fill(pack: &Pack, text: &str) -> String {
    let (first, second, tie) = words(pack);
    text.replace("{1}", first).replace("{2}", second).replace("{=}", tie)
}

#[rustfmt::skip]
const SENTENCES: &[Row] = &[
    // Well-formed.
    ("{1}.", Stop, "Ok First"),
    ("{2}.", Stop, "Ok Second"),
    ("{=}.", Stop, "Ok Tie"),
    ("{1}", Stop, "Ok First"),
    ("  {2}.\n\n", Stop, "Ok Second"),
    ("{1}!\r\n", Stop, "Ok First"),
    // Fenced and decorated.
    ("```\n{1}.\n```", Stop, "Ok First"),
    ("**{2}.**", Stop, "Ok Second"),
    ("**{2}**.", Stop, "Ok Second"),
    ("\"{1}.\"", Stop, "Ok First"),
    ("- {1}", Stop, "Ok First"),
    ("1. {2}.", Stop, "Ok Second"),
    ("# Verdict\n{=}", Stop, "Ok Tie"),
    // Chatty.
    ("I looked at both. {1}. It has more of what was asked.", Stop, "Ok First"),
    ("Verdict: {2}.", Stop, "Ok Second"),
    ("The first lacks a bird.\n{2}.\nThat settles it.", Stop, "Ok Second"),
    ("{1}. As I said: {1}.", Stop, "Ok First"),
    ("Overall, {1}.", Stop, "Ok First"),
    ("The second is blurred. In conclusion, **{1}**.", Stop, "Ok First"),
    ("\n**Therefore, {2}.**", Stop, "Ok Second"),
    ("If you like blue, {1}.", Stop, "Invalid no_verdict"),
    ("Not overall, {1}.", Stop, "Invalid no_verdict"),
    ("Also, {1}.", Stop, "Invalid no_verdict"),
    // Contradictory, and both named.
    ("{1}.\n{2}.", Stop, "Invalid contradictory"),
    ("{2}. No, {1}.", Stop, "Invalid contradictory"),
    ("{1} or {2}.", Stop, "Invalid contradictory"),
    ("{1}/{2}", Stop, "Invalid contradictory"),
    ("{1} in colour, but in the end:\n{2}.", Stop, "Invalid contradictory"),
    ("{1}.\n{=}.", Stop, "Invalid contradictory"),
    ("{1}. {2}. {=}.", Stop, "Invalid contradictory"),
    // A verdict that goes on, is asked, or is denied is none.
    ("{1} in colour.", Stop, "Invalid no_verdict"),
    ("{1} because of its light.", Stop, "Invalid no_verdict"),
    ("Is it so that {1}?", Stop, "Invalid no_verdict"),
    ("It is not true that {1}.", Stop, "Invalid no_verdict"),
    ("Neither. I cannot say whether {2}.", Stop, "Invalid no_verdict"),
    // Nothing, and hostile.
    ("", Stop, "Invalid no_verdict"),
    ("1", Stop, "Invalid no_verdict"),
    ("The winner is 2.", Stop, "Invalid no_verdict"),
    ("{\"winner\": 1}", Stop, "Invalid no_verdict"),
    ("\u{0}\u{202e}{1}\u{301}x.", Stop, "Invalid no_verdict"),
    ("The caption says \"{2}\" and so it is. {1}.", Stop, "Invalid contradictory"),
    ("1{1}.", Stop, "Invalid no_verdict"),
    // Cut off.
    ("{1}", Length, "Truncated cut"),
    ("{1}.\nbecause it", Length, "Truncated cut"),
    ("I looked at", Length, "Truncated cut"),
    ("", Length, "Truncated cut"),
    ("{1}.\n{2}.\nand", Length, "Invalid contradictory"),
];

#[test]
fn a_verdict_is_the_one_sentence_that_gives_it() {
    let packs: Vec<Pack> = packs(AnswerKind::Sentence).into_iter().filter(|pack| !led(pack)).collect();
    assert_eq!(packs.len(), 4);
    check_table(&packs, SENTENCES, fill);
}

fn led(pack: &Pack) -> bool {
    matches!(&pack.answer, Protocol::Sentence(kind) if kind.lead.is_some())
}

#[rustfmt::skip]
const LED: &[Row] = &[
    // Well-formed.
    ("Overall Judgment: {1}.", Stop, "Ok First"),
    ("Overall Judgment: {2}", Stop, "Ok Second"),
    ("Overall Judgment: {=}.", Stop, "Ok Tie"),
    ("overall judgment:{1}.", Stop, "Ok First"),
    ("Overall Judgment:\n{2}.", Stop, "Ok Second"),
    ("Overall Judgment: {1}.\n", Stop, "Ok First"),
    // Fenced and decorated.
    ("```\nOverall Judgment: {1}.\n```", Stop, "Ok First"),
    ("**Overall Judgment:** {2}.", Stop, "Ok Second"),
    ("**Overall Judgment**: **{2}.**", Stop, "Ok Second"),
    ("## Overall Judgment: {1}", Stop, "Ok First"),
    ("3. Overall Judgment: {=}", Stop, "Ok Tie"),
    // Chatty: before the lead both sides may be weighed.
    ("{1} in detail. {2} in order.\nOverall Judgment: {2}.", Stop, "Ok Second"),
    ("{1}.\n{2}.\nOverall Judgment: {1}.", Stop, "Ok First"),
    ("I come to my Overall Judgment now.\nOverall Judgment: {1}.", Stop, "Ok First"),
    ("Overall Judgment: {1}.\nIt saw the door.", Stop, "Ok First"),
    ("Overall Judgment: {1}.\nOverall Judgment: {1}.", Stop, "Ok First"),
    // Contradictory, and both named.
    ("Overall Judgment: {1}.\nOverall Judgment: {2}.", Stop, "Invalid contradictory"),
    ("Overall Judgment: {1}. {2}.", Stop, "Invalid contradictory"),
    ("Overall Judgment: {1} or {2}.", Stop, "Invalid contradictory"),
    ("My Overall Judgment: {2}.\nOverall Judgment: {1}.", Stop, "Invalid contradictory"),
    ("Overall Judgment: {1}. {=}.", Stop, "Invalid contradictory"),
    // No verdict behind the lead.
    ("{1}.", Stop, "Invalid no_verdict"),
    ("{1}.\nOverall Judgment:", Stop, "Invalid no_verdict"),
    ("Overall Judgment: 1", Stop, "Invalid no_verdict"),
    ("Overall Judgment: {1} in detail.", Stop, "Invalid no_verdict"),
    ("Overall Judgment: it is not so that {1}.", Stop, "Invalid no_verdict"),
    ("Overall Judgment {1}.", Stop, "Invalid no_verdict"),
    ("So to say my Overall Judgment: {1}.", Stop, "Invalid no_verdict"),
    // Empty and hostile.
    ("", Stop, "Invalid no_verdict"),
    ("Overall Judgment: \u{202e}{1}x", Stop, "Invalid no_verdict"),
    ("The question says \"Overall Judgment: {2}.\"\nOverall Judgment: {1}.", Stop, "Invalid contradictory"),
    // Cut off.
    ("Overall Judgment: {1}", Length, "Truncated cut"),
    ("{1} in detail.\nOverall Judg", Length, "Truncated cut"),
    ("Overall Judgment: {1}.\nbut", Length, "Truncated cut"),
    ("", Length, "Truncated cut"),
];

#[test]
fn a_verdict_behind_a_lead_is_read_there_only() {
    let packs: Vec<Pack> = packs(AnswerKind::Sentence).into_iter().filter(led).collect();
    check_table(&packs, LED, fill);
}

#[rustfmt::skip]
const THOUGHTS: &[Row] = &[
    // Well-formed.
    ("<think>9+8+8=25</think><answer>{1}</answer>", Stop, "Ok First"),
    ("<think>\nlong\n</think>\n<answer>{2}</answer>", Stop, "Ok Second"),
    ("<think></think>\n\n<answer>\n{1}\n</answer>\n", Stop, "Ok First"),
    ("<think>x</think><answer>{2}.</answer>", Stop, "Ok Second"),
    ("thoughts, the tag stood in the prompt</think><answer>{1}</answer>", Stop, "Ok First"),
    // Closed, an answer is whole although the limit cut what follows.
    ("<think>x</think><answer>{1}</answer> and", Length, "Ok First"),
    // Fenced and chatty.
    ("```\n<think>x</think>\n<answer>{2}</answer>\n```", Stop, "Ok Second"),
    ("Here it is: <think>x</think> So: <answer>{1}</answer> Thanks.", Stop, "Ok First"),
    // Thoughts may weigh both sides.
    ("<think>{1}. {2}. No: {1}.</think><answer>{2}</answer>", Stop, "Ok Second"),
    ("<think>{\"winner\": \"{2}\"}</think><answer>{1}</answer>", Stop, "Ok First"),
    // Contradictory, and both named.
    ("<think>x</think><answer>{1} {2}</answer>", Stop, "Invalid contradictory"),
    ("<think>x</think><answer>{1} or {2}</answer>", Stop, "Invalid contradictory"),
    ("<think>x</think><answer>{1}</answer><answer>{2}</answer>", Stop, "Invalid doubled_tag"),
    ("<think>x</think><answer>{1}</answer><answer>{1}</answer>", Stop, "Invalid doubled_tag"),
    // The caption's tags in the thoughts do not speak for the model.
    ("<think>It says </think><answer>{2}</answer></think><answer>{1}</answer>", Stop, "Invalid doubled_tag"),
    ("<think>It says <answer>{2}</answer></think><answer>{1}</answer>", Stop, "Invalid doubled_tag"),
    ("<think><think>x</think><answer>{1}</answer>", Stop, "Invalid doubled_tag"),
    // Not a verdict.
    ("<think>x</think><answer>{=}</answer>", Stop, "Invalid unknown_winner"),
    ("<think>x</think><answer>1</answer>", Stop, "Invalid unknown_winner"),
    ("<think>x</think><answer></answer>", Stop, "Invalid unknown_winner"),
    ("<think>x</think><answer>{1} in colour</answer>", Stop, "Invalid unknown_winner"),
    ("<think>x</think><answer>not {1}</answer>", Stop, "Invalid unknown_winner"),
    // Tags absent or out of order.
    ("", Stop, "Invalid missing_tag"),
    ("{1}.", Stop, "Invalid missing_tag"),
    ("<answer>{1}</answer>", Stop, "Invalid missing_tag"),
    ("<think>x</think>{1}", Stop, "Invalid missing_tag"),
    ("<think>x</think><answer>{1}", Stop, "Invalid missing_tag"),
    ("<answer>{1}</answer><think>x</think>", Stop, "Invalid malformed"),
    ("</think><think><answer>{1}</answer>", Stop, "Invalid malformed"),
    ("<think>x</think></answer>{1}<answer>", Stop, "Invalid malformed"),
    ("<THINK>x</THINK><ANSWER>{1}</ANSWER>", Stop, "Invalid missing_tag"),
    // Cut off.
    ("", Length, "Truncated missing_tag"),
    ("<think>Let me look at", Length, "Truncated missing_tag"),
    ("<think>x</think><answer>{1}", Length, "Truncated missing_tag"),
    ("<think>x</think><answer>{1}</answ", Length, "Truncated missing_tag"),
    ("<think><think>", Length, "Invalid doubled_tag"),
];

#[test]
fn a_verdict_after_thoughts_stands_between_its_own_tags() {
    let packs = packs(AnswerKind::Think);
    assert_eq!(packs.len(), 4);
    check_table(&packs, THOUGHTS, fill);
}

/// Where the digit of the verdict stands, or nothing.
fn check_span(pack: &str, text: &str, expected: Option<usize>) {
    let pack = Pack::builtin(pack).unwrap();
    let found = judge(text, Stop, &pack.answer).span;
    if let Some(span) = &found {
        assert!(matches!(&text[span.differing.clone()], "1" | "2"), "{text}");
        assert!(text[span.value.clone()].to_lowercase().ends_with("is better"), "{text}");
    }
    assert_eq!(found.map(|span| span.differing.start), expected, "{text}");
}

#[test]
fn the_verdicts_token_is_the_digit_of_the_verdict() {
    check_span("unifiedreward-image-pair", "Image 1 is better.", Some(6));
    check_span("unifiedreward-image-pair", "So: image 2 is better. Image 2 is better.", Some(10));
    check_span("unifiedreward-image-pair", "Both images are equally good.", None);
    check_span("unifiedreward-edit-pair", "Edited Image 2 is better", Some(13));
    let (led, thought) = ("Answer 1 is bad.\nOverall Judgment: ", "<think>Image 1</think><answer> ");
    let name = "unifiedreward-video-understanding-pair";
    check_span(name, &format!("{led}Answer 2 is better."), Some(led.len() + 7));
    let name = "unifiedreward-think-image-pair";
    check_span(name, &format!("{thought}Image 2 is better.</answer>"), Some(thought.len() + 6));
}
