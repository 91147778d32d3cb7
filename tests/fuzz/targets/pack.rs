//! An accepted pack is written and read again as the same pack, its prompt says the caption where the hole was and
//! nothing else, and an import is either refused or such a pack.
//!
//! An input with a NUL byte is a `pack.toml` and, behind the NUL, its `prompt.txt`; any other is a file to import,
//! as a script and as a text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rewardrt_models::prompt::import::{ImportOptions, import};
use rewardrt_models::prompt::pack::{CAPTION_HOLE, MAX_NEW_TOKENS, Pack, Task};
use rewardrt_models::verdict::{Finish, judge};

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
    let options = ImportOptions { name: "my-judge", task: Task::VideoPair, at: None };
    if let Ok(imported) = import(file_name, content, &options) {
        assert_eq!(imported.pack.name, options.name);
        assert_eq!(imported.pack.task, options.task);
        assert_eq!(Pack::parse(&imported.description, &imported.prompt).as_ref(), Ok(&imported.pack));
        check(&imported.pack, &imported.prompt);
    }
}

fn check(pack: &Pack, prompt: &str) {
    assert_eq!(pack.prompt, prompt);
    assert!((1..=MAX_NEW_TOKENS).contains(&pack.max_new_tokens));
    assert_eq!(pack.frames.is_some(), pack.task == Task::VideoPair);
    let written = pack.to_toml();
    let again = Pack::parse(&written, prompt);
    assert_eq!(again.as_ref(), Ok(pack), "{written}");
    assert_eq!(again.map(|pack| pack.to_toml()), Ok(written), "the written form is not stable");

    let text = pack.user_text(CAPTION).expect("a short caption").to_string();
    assert_eq!(text, prompt.replacen(CAPTION_HOLE, CAPTION, 1));
    forced(pack);
}

/// Either way to finish the forced answer is a whole JSON object with that winner, whatever the caption holds.
fn forced(pack: &Pack) {
    let skeleton = pack.skeleton(CAPTION).expect("a short caption");
    let head = skeleton.head();
    let open = head.find('{').expect("a skeleton opens an object");
    for (word, end) in
        [(&pack.answer.winner_first, &skeleton.first), (&pack.answer.winner_second, &skeleton.second)]
    {
        let whole = format!("{}{end}}}", &head[open..]);
        let value: serde_json::Value = serde_json::from_str(&whole).expect("a forced answer is JSON");
        assert_eq!(value["winner"].as_str(), Some(word.as_str()), "{whole}");
        // Without its categories it is no report, and never a verdict that was written.
        let outcome = judge(&format!("{head}{end}}}"), Finish::Stop, &pack.answer);
        assert_eq!(outcome.winner.is_some(), outcome.report.is_some());
    }
}
