//! Answers of the kinds of scores.

use super::*;

/// `{L}` is the first label, `{HIGH}` and `{LOW}` its range, `{REST}` the other lines, well-formed.
fn fill_lines(pack: &Pack, text: &str) -> String {
    let Protocol::ScoreLines(kind) = &pack.answer else { panic!("{}", pack.name) };
    let (first, rest) = kind.lines.split_first().unwrap();
    let rest: String = rest.iter().map(|line| format!("\n{}: {}", line.label, line.high)).collect();
    text.replace("{L}", &first.label)
        .replace("{HIGH}", &first.high.to_string())
        .replace("{LOW}", &first.low.to_string())
        .replace("{REST}", &rest)
}

/// The first score is `value` and the others are the highest of their ranges, which `{REST}` says.
fn expected(pack: &Pack, row: &str) -> String {
    let Protocol::ScoreLines(kind) = &pack.answer else { panic!("{}", pack.name) };
    let rest: String = kind.lines[1..].iter().map(|line| format!(" {}", line.high)).collect();
    if row.starts_with("Ok") { fill_lines(pack, row) + &rest } else { row.to_owned() }
}

#[rustfmt::skip]
const LINES: &[Row] = &[
    // Well-formed.
    ("{L}: 3{REST}", Stop, "Ok 3"),
    ("{L}: 2.5{REST}\n", Stop, "Ok 2.5"),
    ("{L} ({LOW}-{HIGH}): 3.141592653589793238{REST}", Stop, "Ok 3.141592653589793"),
    ("{L}: +2{REST}", Stop, "Ok 2"),
    ("{L}: 0.25e1{REST}", Stop, "Ok 2.5"),
    ("{L}: {LOW}{REST}", Stop, "Ok {LOW}"),
    ("{L}: {HIGH}{REST}\r\n", Stop, "Ok {HIGH}"),
    ("{L}:2.{REST}", Stop, "Ok 2"),
    // On the pack's own scale.
    ("{L}: 3/{HIGH}{REST}", Stop, "Ok 3"),
    ("{L}: 3 out of {HIGH}.{REST}", Stop, "Ok 3"),
    // Fenced, decorated, chatty.
    ("```\n{L}: 3{REST}\n```", Stop, "Ok 3"),
    ("**{L}:** 3{REST}", Stop, "Ok 3"),
    ("- **{L}**: **3**{REST}", Stop, "Ok 3"),
    ("1. {L} ( {LOW} - {HIGH} ) : `3`{REST}", Stop, "Ok 3"),
    ("ball (object): 1\nleft of (relation): 0\n{L}: 3{REST}\nThanks.", Stop, "Ok 3"),
    ("I will now give the {L}.\n{L}: 3{REST}", Stop, "Ok 3"),
    ("{L}: 3{REST}\n{L}: 3.0", Stop, "Ok 3"),
    // Written as text, missing, out of range, doubled.
    ("{L}: nan{REST}", Stop, "Invalid score_as_text"),
    ("{L}: NaN{REST}", Stop, "Invalid score_as_text"),
    ("{L}: N/A{REST}", Stop, "Invalid score_as_text"),
    ("{L}: -inf{REST}", Stop, "Invalid score_as_text"),
    ("{L}: three{REST}", Stop, "Invalid score_as_text"),
    ("{L}: 1e999{REST}", Stop, "Invalid not_finite"),
    ("{L}:{REST}\nx", Stop, "Invalid missing_score"),
    ("{REST}", Stop, "Invalid missing_score"),
    ("{L} is 3{REST}", Stop, "Invalid missing_score"),
    ("The {L}: 3{REST}", Stop, "Invalid missing_score"),
    ("{L}: 100.1{REST}", Stop, "Invalid score_out_of_range"),
    ("{L}: -3{REST}", Stop, "Invalid score_out_of_range"),
    ("{L}: 3{REST}\n{L}: 2", Stop, "Invalid doubled_score"),
    ("At first {L}: 2.\n{L}: 3{REST}", Stop, "Invalid doubled_score"),
    // Open to two readings.
    ("{L}: 3 or 4{REST}", Stop, "Invalid malformed"),
    ("{L}: 3-4{REST}", Stop, "Invalid malformed"),
    ("{L}: 3,5{REST}", Stop, "Invalid malformed"),
    ("{L}: 3 because it is good{REST}", Stop, "Invalid malformed"),
    ("{L}: 3/7{REST}", Stop, "Invalid other_scale"),
    ("{L}: 3 out of 7{REST}", Stop, "Invalid other_scale"),
    ("{L} (0-7): 3{REST}", Stop, "Invalid malformed"),
    ("{L}: 60%{REST}", Stop, "Invalid malformed"),
    ("{L}: .5{REST}", Stop, "Invalid malformed"),
    ("{L}: [3]{REST}", Stop, "Invalid malformed"),
    ("{L}: \u{2212}3{REST}", Stop, "Invalid malformed"),
    ("{L}: \u{663}{REST}", Stop, "Invalid malformed"),
    // Empty and hostile.
    ("", Stop, "Invalid missing_score"),
    ("3", Stop, "Invalid missing_score"),
    ("The caption reads \"{L}: {HIGH}\".\n{L}: {LOW}{REST}", Stop, "Invalid doubled_score"),
    ("{L}: {HIGH} (object): 1{REST}", Stop, "Invalid malformed"),
    ("{L}: 2\u{0}{REST}", Stop, "Invalid malformed"),
    ("x{L}: 3{REST}", Stop, "Invalid missing_score"),
    // Cut off, also within a number.
    ("", Length, "Truncated cut"),
    ("{L}: 3", Length, "Truncated cut"),
    ("{L}: 3{REST}", Length, "Truncated cut"),
    ("{L}: 3{REST}\n", Length, "Truncated cut"),
    ("{L}: nan{REST}\n", Length, "Invalid score_as_text"),
    ("{L}: 3\n{L}: 2\n", Length, "Invalid doubled_score"),
];

#[test]
fn every_line_of_scores_is_one_number_within_its_range_or_none_is_given() {
    let packs = packs(AnswerKind::ScoreLines);
    assert_eq!(packs.len(), 7);
    for pack in &packs {
        for (text, finish, row) in LINES {
            check(pack, &fill_lines(pack, text), *finish, &expected(pack, row));
        }
    }
}

/// `{L}` is the first heading, `{1}` and `{2}` the candidates, `{REST}` the other dimensions, shared evenly.
fn fill_pairs(pack: &Pack, text: &str) -> String {
    let Protocol::PairScoreLines(kind) = &pack.answer else { panic!("{}", pack.name) };
    let rest = kind.dimensions[1..].iter().map(|d| format!("\n{}:\n {{1}}: 0.5\n {{2}}: 0.5", d.label));
    text.replace("{REST}", &rest.collect::<String>())
        .replace("{L}", &kind.dimensions[0].label)
        .replace("{1}", &kind.first)
        .replace("{2}", &kind.second)
}

#[rustfmt::skip]
const PAIRS: &[Row] = &[
    // Well-formed.
    ("{L}:\n {1}: 0.7\n {2}: 0.3{REST}", Stop, "Ok First"),
    ("{L}:\n {1}: 0.3\n {2}: 0.7{REST}\n", Stop, "Ok Second"),
    ("{L}:\n {1}: 0.5\n {2}: 0.5{REST}", Stop, "Ok Tie"),
    ("{L}: {1}: 1 {2}: 0{REST}", Stop, "Ok First"),
    ("{L}: {1}: 0.25, {2}: 0.75{REST}", Stop, "Ok Second"),
    ("{L}\n{1}: 0.7\n{2}: 0.3{REST}", Stop, "Ok First"),
    ("{L}:\n {1}: 0.618033988749894848\n {2}: 0.381966011250105152{REST}", Stop, "Ok First"),
    ("{L}:\n {1}: 7e-1\n {2}: +0.3{REST}", Stop, "Ok First"),
    ("{L}:\n {1}: 0.705\n {2}: 0.3{REST}", Stop, "Ok First"),
    // Fenced, decorated, chatty.
    ("```\n{L}:\n {1}: 0.7\n {2}: 0.3{REST}\n```", Stop, "Ok First"),
    ("**{L}:**\n- **{1}:** 0.7\n- **{2}:** 0.3{REST}", Stop, "Ok First"),
    ("1. {L} (0-1):\n | {1}: 0.7 | {2}: 0.3 |{REST}", Stop, "Ok First"),
    ("Here are my scores for {1} and {2}.\n{L}:\n {1}: 0.7\n {2}: 0.3{REST}\nDone.", Stop, "Ok First"),
    ("{L}:\n {1}: 0.7\n {2}: 0.3{REST}\n{L}:\n {1}: 0.7\n {2}: 0.3", Stop, "Ok First"),
    // The two do not share out the point: the written scores stand, with a flag.
    ("{L}:\n {1}: 0.7\n {2}: 0.4{REST}", Stop, "Inconsistent First"),
    ("{L}:\n {1}: 0\n {2}: 0{REST}", Stop, "Inconsistent Tie"),
    // Written as text, missing, out of range, doubled.
    ("{L}:\n {1}: nan\n {2}: 0.3{REST}", Stop, "Invalid score_as_text"),
    ("{L}:\n {1}: 0.7\n {2}: N/A{REST}", Stop, "Invalid score_as_text"),
    ("{L}:\n {1}: 0.7{REST}", Stop, "Invalid missing_score"),
    ("{L}:\n {2}: 0.3\n {1}: 0.7{REST}", Stop, "Invalid missing_score"),
    ("{L}:\n {1} wins{REST}", Stop, "Invalid missing_score"),
    ("{REST}", Stop, "Invalid missing_score"),
    ("{1}: 0.7\n{2}: 0.3{REST}", Stop, "Invalid missing_score"),
    ("{L}:\n {1}: 1.7\n {2}: -0.7{REST}", Stop, "Invalid score_out_of_range"),
    ("{L}:\n {1}: 1e999\n {2}: 0{REST}", Stop, "Invalid not_finite"),
    ("{L}:\n {1}: 0.7\n {2}: 0.3\n {1}: 0.2{REST}", Stop, "Invalid doubled_score"),
    ("{L}:\n {1}: 0.7\n {2}: 0.3{REST}\n{L}:\n {1}: 0.3\n {2}: 0.7", Stop, "Invalid doubled_score"),
    // Open to two readings.
    ("{L}:\n {1}: 0.7/1\n {2}: 0.3{REST}", Stop, "Invalid missing_score"),
    ("{L}:\n {1}: 0.7\n {2}: 0.3 or 0.4{REST}", Stop, "Invalid malformed"),
    ("{L}:\n {1}: 70%\n {2}: 30%{REST}", Stop, "Invalid missing_score"),
    ("{L}:\n {1}: 0,7\n {2}: 0,3{REST}", Stop, "Invalid missing_score"),
    ("{L} (0-10):\n {1}: 7\n {2}: 3{REST}", Stop, "Invalid malformed"),
    // Empty and hostile.
    ("", Stop, "Invalid missing_score"),
    ("{1} is better.", Stop, "Invalid missing_score"),
    ("{L}: {L}: {1}: 1 {2}: 0{REST}", Stop, "Invalid missing_score"),
    ("{L}:\n {1}: 0.7\n {2}: 0.3 {1}: 0.1{REST}", Stop, "Invalid malformed"),
    // Cut off.
    ("", Length, "Truncated cut"),
    ("{L}:\n {1}: 0.", Length, "Truncated cut"),
    ("{L}:\n {1}: 0.7\n {2}: 0.3{REST}", Length, "Truncated cut"),
    ("{L}:\n {1}: 7\n {2}: 3{REST}\n", Length, "Invalid score_out_of_range"),
];

#[test]
fn a_pair_of_scores_in_every_dimension_makes_the_winner() {
    let packs = packs(AnswerKind::PairScoreLines);
    assert_eq!(packs.len(), 2);
    check_table(&packs, PAIRS, fill_pairs);
}

#[test]
fn the_higher_sum_over_all_dimensions_wins_and_rounding_is_no_lead() {
    let pack = Pack::builtin("unifiedreward-2-image-pair-score").unwrap();
    let check_sums = |scores: [(f64, f64); 3], expected: &str| {
        let text = ["Alignment", "Coherence", "Style"]
            .into_iter()
            .zip(scores)
            .map(|(label, (a, b))| format!("{label}:\n Image 1: {a}\n Image 2: {b}\n"));
        check(&pack, &text.collect::<String>(), Stop, expected);
    };
    check_sums([(0.7, 0.3), (0.4, 0.6), (0.4, 0.6)], "Ok Tie");
    check_sums([(0.7, 0.3), (0.4, 0.6), (0.41, 0.59)], "Ok First");
    check_sums([(0.9, 0.1), (0.2, 0.8), (0.2, 0.8)], "Ok Second");
}

#[rustfmt::skip]
const EDITS: &[Row] = &[
    // Well-formed, with labels and bare.
    ("Edited image 1: 2.75\nEdited image 2: -0.5", Stop, "Ok First"),
    ("Edited image 1: -3\nEdited image 2: -2", Stop, "Ok Second"),
    ("Edited image 1: 4\nEdited image 2: 4.0", Stop, "Ok Tie"),
    ("edited IMAGE 1: 1e2, edited image 2: 99.5", Stop, "Ok First"),
    ("2.75, -0.5", Stop, "Ok First"),
    ("-1\n2", Stop, "Ok Second"),
    ("[1.5, 3.141592653589793238]", Stop, "Ok Second"),
    ("(7 ; 7.)", Stop, "Ok Tie"),
    ("+1 0", Stop, "Ok First"),
    // Fenced, decorated, chatty.
    ("```\n-0.25, 0.25\n```", Stop, "Ok Second"),
    ("- **Edited image 1:** 3\n- **Edited image 2:** 1", Stop, "Ok First"),
    ("The first follows the instruction.\nEdited image 1: 3\nEdited image 2: 1\nThat is all.", Stop, "Ok First"),
    ("I rate edited image 1 and edited image 2.\nEdited image 1: 1\nEdited image 2: 3", Stop, "Ok Second"),
    ("Edited image 1: 3\nEdited image 2: 1\nEdited image 1: 3.0", Stop, "Ok First"),
    // Written as text, missing, beyond a double, doubled, too many.
    ("Edited image 1: nan\nEdited image 2: 1", Stop, "Invalid score_as_text"),
    ("Edited image 1: 1\nEdited image 2: N/A", Stop, "Invalid score_as_text"),
    ("nan, 1", Stop, "Invalid score_as_text"),
    ("Edited image 1: 3", Stop, "Invalid missing_score"),
    ("Edited image 2: 3", Stop, "Invalid missing_score"),
    ("Edited image 2: 1\nEdited image 1: 3", Stop, "Invalid missing_score"),
    ("3", Stop, "Invalid missing_score"),
    ("", Stop, "Invalid missing_score"),
    ("1e999 2", Stop, "Invalid not_finite"),
    ("1, 2, 3", Stop, "Invalid score_count"),
    ("The scores are 1 and 2.", Stop, "Invalid score_count"),
    ("Edited image 1: 3\nEdited image 2: 1\nEdited image 1: 2", Stop, "Invalid doubled_score"),
    ("Edited image 1: 3\nEdited image 2: 1\nEdited image 2: 1.5", Stop, "Invalid doubled_score"),
    // Open to two readings.
    ("1,5 2", Stop, "Invalid score_count"),
    ("1-2 3", Stop, "Invalid malformed"),
    ("- 1 2", Stop, "Invalid score_count"),
    ("3/5 4/5", Stop, "Invalid malformed"),
    ("Edited image 1: 3 or 4\nEdited image 2: 1", Stop, "Invalid missing_score"),
    ("Edited image 1: 3\nEdited image 2: 1 or 2", Stop, "Invalid malformed"),
    ("\u{2212}1 2", Stop, "Invalid malformed"),
    // Hostile.
    ("Edited image 1 is better", Stop, "Invalid score_count"),
    ("The instruction says \"Edited image 2: 9\".\nEdited image 1: 3\nEdited image 2: 1", Stop, "Invalid doubled_score"),
    // Cut off.
    ("", Length, "Truncated cut"),
    ("Edited image 1: 3\nEdited image 2: 1", Length, "Truncated cut"),
    ("2.7", Length, "Truncated cut"),
    ("1\n2\n3\n", Length, "Invalid score_count"),
];

#[test]
fn two_scores_of_edits_keep_their_signs_and_may_be_whole() {
    check_table(&packs(AnswerKind::EditPairScores), EDITS, |_, text| text.to_owned());
}

#[rustfmt::skip]
const OBJECTS: &[Row] = &[
    // Well-formed.
    (r#"{"reasoning": "done", "score": [18, 22]}"#, Stop, "Ok 18 22"),
    (r#"{"score": [0, 25], "reasoning": ""}"#, Stop, "Ok 0 25"),
    (r#"{"reasoning": "x", "score": [12.5, 3.141592653589793238]}"#, Stop, "Ok 12.5 3.141592653589793"),
    (r#"{"reasoning": "x", "score": [1e1, 0.0]}"#, Stop, "Ok 10 0"),
    (r#"{"reasoning": "x", "score": [1, 2], "note": {"a": []}}"#, Stop, "Ok 1 2"),
    ("{\n  \"reasoning\": \"a \\\"b\\\" {c}\",\n  \"score\": [\n    1,\n    2\n  ]\n}\n", Stop, "Ok 1 2"),
    // Fenced and chatty.
    ("```json\n{\"reasoning\": \"x\", \"score\": [1, 2]}\n```", Stop, "Ok 1 2"),
    ("```json\n{\"reasoning\": \"x\", \"score\": [1, 2]}", Stop, "Ok 1 2"),
    ("Here it is: {\"reasoning\": \"x\", \"score\": [1, 2]} That is {all}.", Stop, "Ok 1 2"),
    (r#"{"note": 1} {"reasoning": "x", "score": [1, 2]}"#, Stop, "Ok 1 2"),
    // Closed, it is whole although the limit cut what follows.
    (r#"{"reasoning": "x", "score": [1, 2]} and"#, Length, "Ok 1 2"),
    // Written as text, missing, out of range, doubled.
    (r#"{"reasoning": "x", "score": ["1", 2]}"#, Stop, "Invalid score_as_text"),
    (r#"{"reasoning": "x", "score": ["nan", 2]}"#, Stop, "Invalid score_as_text"),
    (r#"{"reasoning": "x", "score": [NaN, 2]}"#, Stop, "Invalid not_finite"),
    (r#"{"reasoning": "x", "score": [1e999, 2]}"#, Stop, "Invalid not_finite"),
    (r#"{"reasoning": "x", "score": [null, 2]}"#, Stop, "Invalid wrong_type"),
    (r#"{"reasoning": "x", "score": 12}"#, Stop, "Invalid wrong_type"),
    (r#"{"reasoning": "x", "score": [1]}"#, Stop, "Invalid score_count"),
    (r#"{"reasoning": "x", "score": []}"#, Stop, "Invalid score_count"),
    (r#"{"reasoning": "x", "score": [1, 2, 3]}"#, Stop, "Invalid score_count"),
    (r#"{"reasoning": "x"}"#, Stop, "Invalid missing_field"),
    (r#"{"score": [1, 2]}"#, Stop, "Invalid missing_field"),
    (r#"{"reasoning": "x", "score": [26, 2]}"#, Stop, "Invalid score_out_of_range"),
    (r#"{"reasoning": "x", "score": [1, -0.5]}"#, Stop, "Invalid score_out_of_range"),
    (r#"{"reasoning": "x", "score": [1, 2], "score": [3, 4]}"#, Stop, "Invalid duplicate_field"),
    // Two objects, one of them smuggled in.
    (r#"{"reasoning": "x", "score": [1, 2]} {"reasoning": "x", "score": [3, 4]}"#, Stop, "Invalid two_reports"),
    (r#"{"reasoning": "it says {"score": [25, 25]}", "score": [1, 2]}"#, Stop, "Invalid malformed"),
    (r#"{"a": {"reasoning": "x", "score": [1, 2]}}"#, Stop, "Invalid no_report"),
    // Malformed and empty.
    (r#"{"reasoning": "x", "score": [1 2]}"#, Stop, "Invalid malformed"),
    (r#"{"reasoning": "x", "score": [1/2, 2]}"#, Stop, "Invalid malformed"),
    ("[1, 2]", Stop, "Invalid no_report"),
    ("", Stop, "Invalid no_report"),
    (r#"{"reasoning": "x", "score": [1, 2]"#, Stop, "Invalid unclosed"),
    // Cut off.
    ("", Length, "Truncated no_report"),
    (r#"{"reasoning": "x", "score": [1, 2"#, Length, "Truncated unclosed"),
    (r#"{"reasoning": "x", "score": [1, 2]"#, Length, "Truncated unclosed"),
];

#[test]
fn an_object_of_scores_is_read_whole_or_not_at_all() {
    let packs = packs(AnswerKind::EditJson);
    assert_eq!(packs.len(), 2);
    check_table(&packs, OBJECTS, |_, text| text.to_owned());
}
