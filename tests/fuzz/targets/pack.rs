//! An accepted pack is written and read again as the same pack, its prompt says the caption where the hole was and
//! nothing else, and an import is either refused or such a pack.
//!
//! An input with a NUL byte is a `pack.toml` and, behind the NUL, its `prompt.txt`; any other is a file to import,
//! as a script and as a text.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rewardrt_models::prompt::import::{ImportOptions, import};
use rewardrt_models::prompt::pack::{MAX_NEW_TOKENS, Pack, Task};
use rewardrt_models::verdict::{Finish, Protocol, Winner, judge};

/// Imports are made after these: a report, a verdict about two answers, scores.
static LIKE: LazyLock<[Pack; 3]> = LazyLock::new(|| {
    let tasks = [Task::VideoPair, Task::ImageUnderstandingPair, Task::EditQualityPoint];
    tasks.map(|task| Pack::for_task(task).expect("a built-in pack"))
});

/// A caption that would change a prompt if it were searched for anything.
const CAPTION: &str = "a \"cat\" {caption} \\ {caption_json} <|im_start|>\n\u{7f}\u{e9}";

fuzz_target!(|input: &[u8]| {
    let Ok(input) = std::str::from_utf8(input) else { return };
    match input.split_once('\0') {
        Some((description, prompt)) => {
            if let Ok(pack) = Pack::parse(description, prompt) {
                check(&pack, prompt);
            }
        }
        None => ["client.py", "prompt.txt"].into_iter().for_each(|name| imported(name, input)),
    }
});

fn imported(file_name: &str, content: &str) {
    for like in LIKE.iter() {
        let options = ImportOptions { name: "my-judge", like, at: None };
        if let Ok(imported) = import(file_name, content, &options) {
            assert_eq!(imported.pack.name, options.name);
            assert_eq!((imported.pack.task, &imported.pack.answer), (like.task, &like.answer));
            assert_eq!(Pack::parse(&imported.description, &imported.prompt).as_ref(), Ok(&imported.pack));
            check(&imported.pack, &imported.prompt);
        }
    }
}

fn check(pack: &Pack, prompt: &str) {
    assert_eq!(pack.prompt, prompt);
    assert!((1..=MAX_NEW_TOKENS).contains(&pack.max_new_tokens));
    let shape = pack.task.shape();
    assert_eq!(pack.frames.is_some(), shape.has_frames());
    assert_eq!(pack.answer.kind().candidates(), shape.candidates);
    let written = pack.to_toml();
    let again = Pack::parse(&written, prompt);
    assert_eq!(again.as_ref(), Ok(pack), "{written}");
    assert_eq!(again.map(|pack| pack.to_toml()), Ok(written), "the written form is not stable");
    filled(pack, prompt);
    forced(pack);
}

/// Every hole is filled with its text, and nothing else changes: not even holes that the texts spell.
fn filled(pack: &Pack, prompt: &str) {
    let shape = pack.task.shape();
    let caption = if shape.holes.is_empty() { "" } else { CAPTION };
    let answers = [" {question} {answer_1} {answer_2} one", " {caption} two"];
    let text = pack.user_text_with(caption, &answers[..shape.answers()]).expect("short texts").to_string();
    // Marks that no prompt holds stand for the texts until all holes are found.
    let fillings = [&[caption][..], &answers].concat();
    if prompt.contains('\u{F8FF}') {
        return;
    }
    let mark = |at: usize| format!("\u{F8FF}{at}\u{F8FF}");
    let marked = shape
        .holes
        .iter()
        .enumerate()
        .fold(prompt.to_owned(), |text, (at, hole)| text.replacen(hole, &mark(at), 1));
    let expected =
        fillings.iter().enumerate().fold(marked, |text, (at, filling)| text.replacen(&mark(at), filling, 1));
    assert_eq!(text, expected);
}

/// Either way to finish a forced answer is a verdict for that winner; of a report, a whole JSON object with it,
/// whatever the caption holds.
fn forced(pack: &Pack) {
    let Ok(skeleton) = pack.skeleton(CAPTION) else { return };
    let head = skeleton.head();
    for (end, winner) in [(&skeleton.first, Winner::First), (&skeleton.second, Winner::Second)] {
        let Protocol::Report(report) = &pack.answer else {
            let close = if matches!(pack.answer, Protocol::Think(_)) { "</answer>" } else { "." };
            let outcome = judge(&format!("{head}{end}{close}"), Finish::Stop, &pack.answer);
            assert_eq!(outcome.winner, Some(winner), "{head}{end}");
            continue;
        };
        let word = if winner == Winner::First { &report.winner_first } else { &report.winner_second };
        let whole = format!("{}{end}}}", &head[head.find('{').expect("a skeleton opens an object")..]);
        let value: serde_json::Value = serde_json::from_str(&whole).expect("a forced answer is JSON");
        assert_eq!(value["winner"].as_str(), Some(word.as_str()), "{whole}");
        // Without its categories it is no report, and never a verdict that was written.
        let outcome = judge(&format!("{head}{end}}}"), Finish::Stop, &pack.answer);
        assert_eq!(outcome.winner.is_some(), outcome.report.is_some());
    }
}
