use super::*;
use crate::verdict::{Finish, Protocol, ReportProtocol, Status, Winner, judge, score};
use proptest::prelude::*;

const DESCRIPTION: &str = include_str!("../../../packs/unifiedreward-flex-image/pack.toml");
const VIDEO: &str = include_str!("../../../packs/unifiedreward-flex-video/pack.toml");
/// The one pack whose model was trained on words that do not say how to answer.
const SILENT: &str = "shapes-judge";
const PROMPT: &str = "Judge [{caption}] as {\"winner\": ...}";

/// What comes of a built-in description with one text replaced, and a prompt.
fn check_with(description: &str, from: &str, to: &str, prompt: &str, expected: &str) {
    assert!(description.contains(from), "{from} is not in the description");
    let found = match Pack::parse(&description.replacen(from, to, 1), prompt) {
        Ok(pack) => pack.name,
        Err(error) => error.to_string(),
    };
    assert!(found.starts_with(expected), "{found}");
}

fn check(from: &str, to: &str, expected: &str) {
    check_with(DESCRIPTION, from, to, PROMPT, expected);
}

#[test]
fn the_built_in_packs_ask_for_the_answer_they_read() {
    for name in builtin_names() {
        let pack = Pack::builtin(name).unwrap();
        assert_eq!(pack.name, name);
        if name == SILENT {
            continue;
        }
        assert_eq!(pack.frames.is_some(), pack.task.shape().has_frames());
        let prompt = pack.prompt.to_ascii_lowercase();
        for mark in pack.answer.prompt_marks() {
            assert!(prompt.contains(&mark.to_ascii_lowercase()), "{name} does not ask for {mark}");
        }
        assert!(!pack.prompt.ends_with('\n'), "{name}");
        // The form that a prompt shows is not taken for an answer of the other number of candidates.
        assert_eq!(pack.answer.kind().candidates(), pack.task.shape().candidates);
        if let Protocol::Report(answer) = &pack.answer {
            asks_for_a_report(&pack, answer);
        }
    }
    for (task, _) in Task::ALL {
        assert_eq!(Pack::for_task(task).unwrap().task, task);
    }
    assert!(
        Pack::builtin("other")
            .unwrap_err()
            .to_string()
            .contains("unifiedreward-flex-video, unifiedreward-image-pair")
    );
}

fn asks_for_a_report(pack: &Pack, answer: &ReportProtocol) {
    let keys = ["prompt", "categories", "name", "dims", "reason_1", "reason_2", "score_1", "score_2"];
    for key in keys.iter().chain(&["cat_reason", "cat_winner", "reason", "winner"]) {
        assert!(pack.prompt.contains(&format!("\"{key}\":")), "{} does not ask for {key}", pack.name);
    }
    for word in [&answer.winner_first, &answer.winner_second] {
        assert!(pack.prompt.contains(&format!("[{word}]")) && pack.prompt.contains(&format!("\"{word}\"")));
    }
    for category in &answer.categories {
        assert!(pack.prompt.contains(&format!("\n{category}\n")), "{} does not name {category}", pack.name);
    }
    assert!(pack.prompt.contains("[{caption}]"));
}

/// The last lines of a prompt that shows the form of its answer are such an answer.
#[test]
fn the_form_that_a_prompt_shows_is_an_answer() {
    for name in builtin_names() {
        let pack = Pack::builtin(name).unwrap();
        let form = |lines: usize| {
            let all: Vec<&str> = pack.prompt.lines().collect();
            all[all.len() - lines..].join("\n")
        };
        let ok = match &pack.answer {
            Protocol::Report(_) | Protocol::Head(_) => continue,
            Protocol::Sentence(kind) => {
                let lines = 2 + usize::from(kind.tie.is_some());
                form(lines).lines().all(|line| judge(line, Finish::Stop, &pack.answer).problem.is_none())
            }
            Protocol::Think(_) => {
                let (start, end) = (pack.prompt.find("<think>"), pack.prompt.find("</answer>"));
                let shown = &pack.prompt[start.unwrap()..end.unwrap() + "</answer>".len()];
                judge(shown, Finish::Stop, &pack.answer).winner == Some(Winner::First)
            }
            Protocol::ScoreLines(kind) => {
                score(&form(kind.lines.len()), Finish::Stop, &pack.answer).problem.is_none()
            }
            Protocol::EditJson(_) => score(&form(1), Finish::Stop, &pack.answer).problem.is_none(),
            Protocol::PairScoreLines(kind) => {
                judge(&form(3 * kind.dimensions.len()), Finish::Stop, &pack.answer).status == Status::Ok
            }
            Protocol::EditPairScores(_) => {
                judge(&form(2), Finish::Stop, &pack.answer).winner == Some(Winner::First)
            }
        };
        assert!(ok, "{name} shows a form that it does not read");
    }
}

#[test]
fn a_field_that_no_pack_has_is_refused_by_name() {
    check("version = 1", "version = 2", "unifiedreward-flex-image");
    check("version = 1", "version = 1\nextra = 1", "pack.toml cannot be read");
    check("kind = \"report\"", "kind = \"report\"\nextra = 1", "pack.toml cannot be read");
    check("version = 1", "version = 1\nversion = 2", "pack.toml cannot be read");
    check("version = 1\n", "", "pack.toml cannot be read");
    check("kind = \"report\"", "kind = \"score\"", "pack.toml cannot be read");
    check("image-pair", "image-triple", "pack.toml cannot be read");
    check("image-pair", "image-point", "pack.toml: answer.kind: report is no answer about one picture");
    check("before-text", "after-text", "pack.toml cannot be read");
    check("format = 1", "format = 2", "pack.toml: format: 2 is not");
    check("unifiedreward-flex-image", "../x", "pack.toml: name: ");
    check("= 4096", "= 4097", "pack.toml: max_new_tokens: 4097 is not within 1..=4096");
    check("= 4096", "= 0", "pack.toml: max_new_tokens: ");
    check("= 4096", "= 4096\nframes = \"fps:2\"", "pack.toml: frames: only video tasks");
    check("Image 2", "Image 1", "pack.toml: answer.winner_second: ");
    check_with(VIDEO, "frames = \"linspace-trunc:8\"\n", "", PROMPT, "pack.toml: frames: missing");
    check_with(
        VIDEO,
        "linspace-trunc:8",
        "linspace-trunc:0",
        PROMPT,
        "pack.toml: frames: `linspace-trunc:0` is no",
    );
    let long = format!("{DESCRIPTION}#{}", " ".repeat(MAX_PACK_BYTES));
    check_with(&long, "version = 1", "version = 1", PROMPT, "pack.toml cannot be read: 3");
}

const HEAD: &str = "format = 1\nname = \"x\"\nversion = 1\ntask = \"image-point\"\nmedia = \"before-text\"\n\n[answer]\n\
                    kind = \"head\"\nmarkers = [\"<a>\", \"<b>\"]\ngeneration_prompt = false\n";

#[test]
fn a_pack_of_a_head_has_each_marker_once_and_no_tokens_to_write() {
    let prompt = "{caption} <a> and <b>";
    let check =
        |from: &str, to: &str, prompt: &str, expected: &str| check_with(HEAD, from, to, prompt, expected);
    check("version = 1", "version = 1", prompt, "x");
    check(
        "version = 1",
        "version = 1\nmax_new_tokens = 5",
        prompt,
        "pack.toml: max_new_tokens: a head writes no tokens",
    );
    check("version = 1", "version = 1", "{caption} <a>", "prompt.txt: holds <b> 0 times");
    check("version = 1", "version = 1", "{caption} <a><b><a>", "prompt.txt: holds <a> 2 times");
    check("\"<b>\"", "\"<a>\"", prompt, "pack.toml: answer.markers: <a> stands twice");
    check("\"<b>\"", "\"a\"", prompt, "pack.toml: answer.markers: a stands within another");
    check("\"<b>\"", "\"<b c>\"", prompt, "pack.toml: answer.markers: \"<b c>\" is no token");
    check(
        "image-point",
        "image-pair",
        prompt,
        "pack.toml: answer.kind: head is no answer about two pictures",
    );
    check("version = 1", "version = 1\nframes_as = \"video\"", prompt, "pack.toml: frames_as: only video");
    check_with(DESCRIPTION, "max_new_tokens = 4096\n", "", PROMPT, "pack.toml: max_new_tokens: missing");
    let pack = Pack::parse(HEAD, prompt).unwrap();
    let Protocol::Head(kind) = &pack.answer else { panic!("a head") };
    assert_eq!(kind.cut("x <b><a> y"), [("x ", false), ("<b>", true), ("<a>", true), (" y", false)]);
    assert_eq!(kind.cut("plain"), [("plain", false)]);
}

#[test]
fn a_prompt_has_one_caption_and_the_pinned_hash() {
    check_with(DESCRIPTION, "version", "version", "no hole", "prompt.txt: holds {caption} 0 times");
    check_with(
        DESCRIPTION,
        "version",
        "version",
        "{caption}{caption}",
        "prompt.txt: holds {caption} 2 times",
    );
    let long = format!("{PROMPT}{}", " ".repeat(MAX_PROMPT_BYTES));
    check_with(DESCRIPTION, "version", "version", &long, "prompt.txt: 3");
    let hash = hex(&Sha256::digest(PROMPT.as_bytes()));
    let pinned = format!("version = 1\nprompt_sha256 = \"{hash}\"");
    check("version = 1", &pinned, "unifiedreward-flex-image");
    check_with(DESCRIPTION, "version = 1", &pinned, &format!("{PROMPT}\n"), "prompt.txt has SHA-256");
}

#[test]
fn a_description_prints_as_it_parses() {
    for name in builtin_names() {
        let mut pack = Pack::builtin(name).unwrap();
        if let Protocol::Report(answer) = &mut pack.answer {
            answer.categories.push("D. Odd \u{e9} \u{1f408}".to_owned());
            answer.skeleton.insert_str(0, "\u{7f}\u{1}\t\\ \"quoted\"\n");
        }
        assert_eq!(Pack::parse(&pack.to_toml(), &pack.prompt), Ok(pack));
    }
}

fn check_rule(text: &str, expected: Option<FrameRule>) {
    assert_eq!(text.parse::<FrameRule>().ok(), expected, "{text}");
    if let Some(rule) = expected {
        assert_eq!(rule.to_string(), text);
    }
}

#[test]
fn a_frame_rule_is_read_as_it_is_written() {
    check_rule("linspace-trunc:8", Some(FrameRule::LinspaceTrunc(8)));
    check_rule("linspace-round:768", Some(FrameRule::LinspaceRound(768)));
    check_rule("fps:2", Some(FrameRule::Fps(2.0)));
    check_rule("fps:0.5", Some(FrameRule::Fps(0.5)));
    for text in ["", "fps", "fps:", "fps:0", "fps:inf", "fps:NaN", "fps:+2", "fps:1e9", "fps:241", "all:8"] {
        check_rule(text, None);
    }
    for text in
        ["linspace-trunc:0", "linspace-trunc:769", "linspace-trunc:+8", "linspace-trunc:8.0", "linspace:8"]
    {
        check_rule(text, None);
    }
}

/// Whoever shows a video as one may leave the choice of its frames to the package.
#[test]
fn frames_of_a_video_sent_as_one_may_be_the_package_s() {
    let frames = "frames = \"linspace-trunc:8\"\n";
    let parse = |with: &str| {
        Pack::parse(
            &VIDEO.replace(frames, with),
            include_str!("../../../packs/unifiedreward-flex-video/prompt.txt"),
        )
    };
    let one = "frames_as = \"video\"\n";
    let left = parse(one).unwrap();
    assert_eq!((left.frames, left.frames_as), (None, FramesAs::Video));
    let chosen = parse(&format!("frames = \"fps:2\"\n{one}")).unwrap();
    assert_eq!((chosen.frames, chosen.frames_as), (Some(FrameRule::Fps(2.0)), FramesAs::Video));
    assert!(parse("").unwrap_err().to_string().contains("frames: missing"));
    for pack in [left, chosen] {
        assert_eq!(Pack::parse(&pack.to_toml(), &pack.prompt).unwrap(), pack);
    }
}

#[test]
fn a_caption_over_the_limit_is_refused_and_never_cut() {
    let pack = Pack::for_task(Task::ImagePair).unwrap();
    let mut caption = "x".repeat(MAX_CAPTION_BYTES);
    assert!(pack.user_text(&caption).unwrap().to_string().contains(&caption));
    assert!(pack.skeleton(&caption).is_ok());
    caption.push('x');
    assert!(pack.user_text(&caption).unwrap_err().to_string().contains("16385 bytes"));
    assert!(pack.skeleton(&caption).is_err());
}

#[test]
fn a_question_and_its_answers_stand_in_their_own_holes() {
    let pack = Pack::for_task(Task::ImageUnderstandingPair).unwrap();
    // Texts that spell holes are texts.
    let (question, answers) = ("{answer_2}", ["{question} {answer_1}", "two <|im_end|>"]);
    let text = pack.user_text_with(question, &answers).unwrap();
    let mine = text.pieces.iter().filter_map(|piece| match piece {
        Piece::Caller(text) => Some(*text),
        Piece::Pack(_) => None,
    });
    assert_eq!(mine.collect::<Vec<_>>(), [question, answers[0], answers[1]]);
    assert!(text.to_string().contains("Answer 1: {question} {answer_1}\n\nAnswer 2: two <|im_end|>\n"));
    let refused = |task, prompt: &str, answers: &[&str]| {
        Pack::for_task(task).unwrap().user_text_with(prompt, answers).unwrap_err().to_string()
    };
    let long = "x".repeat(MAX_CAPTION_BYTES + 1);
    assert!(refused(Task::ImageUnderstandingPair, "q", &["a", &long]).contains("an answer is 16385 bytes"));
    assert!(refused(Task::ImageUnderstandingPair, "q", &["a"]).contains("takes 2 answers in words, not 1"));
    assert!(refused(Task::ImagePair, "p", &["a"]).contains("takes 0 answers"));
    assert!(refused(Task::EditQualityPoint, "p", &[]).contains("leave the prompt empty"));
    assert!(Pack::for_task(Task::EditQualityPoint).unwrap().user_text("").is_ok());
}

#[test]
fn a_verdict_is_forced_only_where_the_pack_has_a_skeleton() {
    for name in builtin_names() {
        let pack = Pack::builtin(name).unwrap();
        let words = !pack.answer.kind().by_scores() && pack.task.shape().candidates == 2;
        match pack.skeleton("a cat") {
            Ok(skeleton) => {
                assert!(words, "{name}");
                assert_ne!(skeleton.first, skeleton.second);
            }
            Err(error) => assert!(!words && error.to_string().contains("has no skeleton"), "{name}: {error}"),
        }
        assert_eq!(pack.answer.fork("a cat").is_some(), words, "{name}");
    }
}

proptest! {
    #[test]
    fn a_prompt_is_the_packs_text_around_the_callers(caption in "(\\PC|\\{caption\\}|\n|<\\|im_end\\|>){0,40}") {
        let pack = Pack::for_task(Task::VideoPair).unwrap();
        let text = pack.user_text(&caption).unwrap();
        let (before, after) = pack.prompt.split_once(CAPTION_HOLE).unwrap();
        prop_assert_eq!(&text.pieces, &[Piece::Pack(before), Piece::Caller(&caption), Piece::Pack(after)]);
        prop_assert_eq!(text.to_string(), format!("{before}{caption}{after}"));
    }

    #[test]
    fn any_description_is_a_pack_or_a_named_error(description in "\\PC*", at in 0usize..400, prompt in "\\PC{0,20}") {
        prop_assert!(Pack::parse(&description, &prompt).is_err());
        // A built-in description with something thrown into it.
        let mut changed = DESCRIPTION.to_owned();
        changed.insert_str((0..=at).rev().find(|at| changed.is_char_boundary(*at)).unwrap_or(0), &description);
        if let Ok(pack) = Pack::parse(&changed, PROMPT) {
            prop_assert_eq!(Pack::parse(&pack.to_toml(), PROMPT), Ok(pack));
        }
    }
}
