//! Protocols that cannot be used, and answers given to a parser of the other number of candidates.

use super::*;

/// A built-in description with one text replaced gives this error, or the pack's name.
fn check_changed(name: &str, from: &str, to: &str, expected: &str) {
    let pack = Pack::builtin(name).unwrap();
    let description = pack.to_toml();
    assert!(description.contains(from), "{from} is not in\n{description}");
    let found = match Pack::parse(&description.replacen(from, to, 1), &pack.prompt) {
        Ok(pack) => pack.name,
        Err(error) => error.to_string(),
    };
    assert!(found.starts_with(expected), "{found}");
}

#[test]
fn verdicts_that_cannot_be_told_apart_are_refused() {
    let pack = "unifiedreward-image-pair";
    check_changed(
        pack,
        "Image 2 is better",
        "Image 1 is better",
        "pack.toml: answer.first: no verdict may hold",
    );
    check_changed(
        pack,
        "Image 2 is better",
        "image 1 IS better",
        "pack.toml: answer.first: no verdict may hold",
    );
    check_changed(
        pack,
        "Image 2 is better",
        "Image 2 is better.",
        "pack.toml: answer.second: leave out the full",
    );
    check_changed(pack, "Image 2 is better", " Image 2", "pack.toml: answer.second: must be");
    check_changed(pack, "Both images are equally good", "", "pack.toml: answer.tie: must be");
    check_changed(
        pack,
        "skeleton = \"\"",
        "skeleton = \"Image 2 is better. \"",
        "pack.toml: answer.skeleton: no",
    );
    check_changed(pack, "skeleton = \"\"\n", "", pack);
    check_changed(pack, "skeleton = \"\"", "lines = []", "pack.toml cannot be read");
    let pack = "unifiedreward-video-understanding-pair";
    check_changed(pack, "Judgment:\"", "Judgment\"", "pack.toml: answer.lead: must end with a colon");
    let pack = "unifiedreward-think-image-pair";
    check_changed(
        pack,
        "Image 2 is better",
        "</answer> 2",
        "pack.toml: answer.first: `</answer> 2` holds a tag",
    );
    check_changed(pack, "</think>", "", "pack.toml: answer.skeleton: no verdict");
}

#[test]
fn scores_without_a_range_a_name_or_a_label_of_their_own_are_refused() {
    let pack = "unifiedreward-2-image-point";
    check_changed(pack, "high = 5.0", "high = 1.0", "pack.toml: answer.lines: alignment has no range");
    check_changed(pack, "high = 5.0", "high = nan", "pack.toml: answer.lines: alignment has no range");
    check_changed(pack, "high = 5.0", "high = 5", pack);
    check_changed(
        pack,
        "\"coherence\"",
        "\"alignment\"",
        "pack.toml: answer.lines: the name alignment stands twice",
    );
    check_changed(pack, "\"coherence\"", "\"Coherence\"", "pack.toml: answer.lines: a name must be");
    check_changed(pack, "Coherence Score", "Score", "pack.toml: answer.lines: the labels `score` and");
    check_changed(
        pack,
        "Coherence Score",
        "Coherence:",
        "pack.toml: answer.lines: the label `Coherence:` must",
    );
    check_changed(pack, "name = \"coherence\", ", "", "pack.toml cannot be read");
    let pack = "unifiedreward-2-image-pair-score";
    check_changed(pack, "tolerance = 0.01", "tolerance = -1.0", "pack.toml: answer.tolerance: ");
    check_changed(
        pack,
        "second = \"Image 2\"",
        "second = \"Image 1\"",
        "pack.toml: answer.dimensions: the labels",
    );
    let pack = "unifiedreward-edit-pair-score";
    check_changed(pack, "name = \"score\"\n", "name = \"score\"\nrange = [-5.0, 5]\n", pack);
    check_changed(
        pack,
        "name = \"score\"\n",
        "name = \"score\"\nrange = [5, -5]\n",
        "pack.toml: answer.name: score",
    );
    let pack = "unifiedreward-edit-point";
    check_changed(
        pack,
        "\"overedit\"",
        "\"success\"",
        "pack.toml: answer.scores: the name success stands twice",
    );
    let lines = (0..33).map(|n| format!("{{ name = \"n{n}\", low = 0, high = 1 }},")).collect::<String>();
    let many = format!("scores = [{lines}");
    check_changed(pack, "scores = [", &many, "pack.toml: answer.scores: 35 entries; give 1 to 32");
}

#[test]
fn scores_with_a_range_of_the_pack_are_held_to_it() {
    let mut pack = Pack::builtin("unifiedreward-edit-pair-score").unwrap();
    let Protocol::EditPairScores(kind) = &mut pack.answer else { unreachable!() };
    kind.range = Some([-5.0, 5.0]);
    check(&pack, "-5 5", Stop, "Ok Second");
    check(&pack, "-5.1 5", Stop, "Invalid score_out_of_range");
}

#[test]
fn a_protocol_reads_answers_about_its_own_number_of_candidates_only() {
    for pack in builtin_names().map(|name| Pack::builtin(name).unwrap()) {
        let problem = match pack.answer.kind().candidates() {
            1 => judge("", Stop, &pack.answer).problem,
            _ => score("", Stop, &pack.answer).problem,
        };
        assert_eq!(problem.unwrap().name(), "other_kind", "{}", pack.name);
    }
}

#[test]
fn an_answer_over_the_limit_is_refused_by_every_kind() {
    let long = "Image 1 is better.\n".repeat(4000);
    for pack in builtin_names().map(|name| Pack::builtin(name).unwrap()) {
        check(&pack, &long, Stop, "Invalid too_long");
    }
}
