use super::*;
use crate::prompt::pack::{Piece, Task};
use proptest::prelude::*;
use std::sync::LazyLock;

/// What every synthetic prompt here asks for.
const KEYS: &str = "Answer with \"categories\", \"cat_winner\" and \"winner\".";

static FLEX: LazyLock<Pack> = LazyLock::new(|| Pack::for_task(Task::ImagePair).unwrap());

fn options(at: Option<usize>) -> ImportOptions<'static> {
    ImportOptions { name: "my-judge", like: &FLEX, at }
}

/// What a file gives: the text for the caption `CAT`, or the error.
fn imported(file_name: &str, content: &str, at: Option<usize>) -> String {
    match import(file_name, content, &options(at)) {
        Err(error) => error.to_string(),
        Ok(imported) => {
            let pack = Pack::parse(&imported.description, &imported.prompt).unwrap();
            assert_eq!(pack, imported.pack);
            assert_eq!((pack.name.as_str(), pack.version, pack.task), ("my-judge", 1, Task::ImagePair));
            assert!(imported.description.contains(&format!("prompt_sha256 = \"{}\"", pack.prompt_sha256)));
            let text = pack.user_text("CAT").unwrap();
            assert_eq!(text.pieces[1], Piece::Caller("CAT"));
            text.to_string()
        }
    }
}

fn check(script: &str, expected: &str) {
    assert_eq!(imported("client.py", script, None), expected, "{script}");
}

fn check_refused(script: &str, expected: &str) {
    let found = imported("client.py", script, None);
    assert!(found.contains(expected), "{found}\n{script}");
}

#[test]
fn a_text_file_is_taken_byte_for_byte() {
    for hole in ["{caption}", "{prompt}", "{problem}"] {
        let text = format!("\r\n  A \\n \u{e9} [{hole}] {{\"a\": {{}}}} {{x}}\n{KEYS}\r\n\n");
        assert_eq!(imported("prompt.txt", &text, None), text.replacen(hole, "CAT", 1));
    }
    let refused = |text: &str| imported("prompt.txt", text, None);
    assert!(refused(KEYS).starts_with("the prompt has 0 places for a caption"));
    assert!(
        refused(&format!("{{prompt}} {{caption}} {KEYS}"))
            .contains("2 places for a caption (prompt, caption)")
    );
    assert!(
        refused("Judge {prompt}")
            .starts_with("no text names what the answer holds (categories, cat_winner, winner)")
    );
    assert!(refused(&" ".repeat(MAX_IMPORT_BYTES + 1)).contains("over the limit"));
    assert!(
        import("a.txt", &format!("{{prompt}} {KEYS}"), &ImportOptions { name: "Bad Name", ..options(None) })
            .is_err()
    );
}

#[test]
fn an_f_string_is_the_prompt_that_python_would_send() {
    let body = r#"Judge.\n\tPrompt: [{prompt}]\\ \"q\" \x41\u00e9\U0001F408\101\0 \
{{"winner": "{{x}}", "categories": [], "cat_winner": {{}}}} {{prompt}} \d"#;
    let sent = "Judge.\n\tPrompt: [CAT]\\ \"q\" A\u{e9}\u{1f408}A\0 {\"winner\": \"{x}\", \"categories\": [], \
                \"cat_winner\": {}} {prompt} \\d";
    check(&format!("import os\n# \"winner\"\nx = f\"\"\"{body}\"\"\"\n"), sent);
    check(&format!("def f(prompt):\n    return [g(F'''{body}''')]\n"), sent);
    for hole in ["prompt", "item[\"prompt\"]", "item['prompt']", " f(a, {'b': '}'})[0] ", "x.strip()"] {
        check(&format!("x = f\"\"\"{KEYS} [{{{hole}}}]\"\"\""), &format!("{KEYS} [CAT]"));
    }
    check("x = rf'categories\\n \"cat_winner\" {p} \\{{'", "categories\\n \"cat_winner\" CAT \\{");
    // Python 3.12 allows the quotes of the string around within an expression.
    check("x = f\"categories cat_winner [{item[\"prompt\"]}]\"", "categories cat_winner [CAT]");
}

#[test]
fn joined_literals_are_one_prompt() {
    let sent = "Judge {x}\ncategories [CAT]\ncat_winner\n";
    check("x = (\n  'Judge {x}\\n' # first\n\n  f\"categories [{p}]\\n\"\n  \"cat_winner\\n\"\n)\n", sent);
    check("x = 'Judge {x}\\ncategories [' + item['p'] + ']\\n' \\\n  + 'cat_winner\\n'\n", sent);
    check("x = f('Judge {x}\\ncategories [' + g(a + b, c) + ']\\ncat_winner\\n', 'other')", sent);
    check("x = ['categories cat_winner ' + p]", "categories cat_winner CAT");
    check_refused("x = 'categories'\n'cat_winner {prompt}'", "no string of the script names");
    check_refused("x = 'categories', 'cat_winner {prompt}'", "no string of the script names");
    check_refused("x = p + 'categories cat_winner {prompt}'", "before the string with a plus");
    check_refused("x = b'categories cat_winner {prompt}'", "no string of the script names");
}

#[test]
fn a_formatted_string_loses_its_doubled_braces_and_a_plain_one_keeps_them() {
    let body = "categories cat_winner {{\"a\": {{}}}} [{prompt}]";
    let (plain, formatted) = (body.replace("{prompt}", "CAT"), "categories cat_winner {\"a\": {}} [CAT]");
    check(&format!("X = '''{body}'''\n"), &plain);
    check(&format!("x = '''{body}'''.format(prompt=p)\n"), formatted);
    check(&format!("x = (\n'''{body}'''\n).format(\nprompt=p)\n"), formatted);
    check(&format!("class A:\n    X = ('''{body}''')\ny = A.X.format(prompt=p)\n"), formatted);
    check("x = 'categories cat_winner {}'.format(p)", "categories cat_winner CAT");
    check(&format!("x = '''{body}'''.replace('{{prompt}}', p)\n"), &plain);
    check(&format!("x = '''{body}'''\r\ny = 1\r\n"), &plain);
    check("x = '''categories\r\ncat_winner {caption}'''", "categories\ncat_winner CAT");
}

#[test]
fn what_could_be_read_in_two_ways_is_refused_by_line() {
    let call = |after: &str| format!("\n\nx = 'categories cat_winner {{prompt}}'{after}");
    check_refused(&call(".strip()"), "line 3: the string is changed by .strip()");
    check_refused(&call(".replace('a', 'b')"), "line 3: the string is changed by .replace()");
    check_refused(&call(" % p"), "line 3: the string is formatted with a percent sign");
    check_refused("x = dedent('categories cat_winner {prompt}')", "changed by dedent()");
    check_refused("x = 'categories' + 'cat_winner {}'.format(p)", "only the last of several");
    check_refused("x = f'categories cat_winner {p}'.format(q)", "formatted a second time");
    for change in ["p!r", "p:>8", "p="] {
        check_refused(&format!("x = f'categories cat_winner {{{change}}}'"), "changes what it puts in");
    }
    check_refused("x = 'categories cat_winner {prompt} \\N{DASH}'", "names a character");
    check_refused("x = 'categories cat_winner {prompt} \\ud83d'", "no character");
    check_refused("x = 'categories cat_winner {prompt} \\x4'", "no character");
    check_refused("x = 'categories cat_winner {p'.format(p=1)", "no partner");
    check_refused("x = 'categories cat_winner }'.format(p=1)", "no partner");
    check_refused("x = 1\ny = '''categories", "line 2: a string is never closed");
    check_refused("x = 'categories\n'", "line 1: a string is never closed");
    check_refused("x = f'categories {p'", "line 1: an f-string's brace is never closed");
    check_refused("x = f'categories cat_winner {p} {q}'", "2 places for a caption (p, q)");
    check_refused("x = f'categories cat_winner {p} {{caption}}'", "holds {caption} 2 times");
    check_refused("x = 'categories cat_winner'", "0 places for a caption");
    check_refused("print('hello')", "no string of the script names");
}

#[test]
fn several_prompts_are_told_apart_by_their_line() {
    let script =
        "'''categories\ncat_winner\n{prompt} one'''\n\nx = f'categories cat_winner {p} two'\n# winner\n";
    check_refused(script, "2 strings could be the prompt, at lines 1, 5; choose one with --at LINE");
    assert_eq!(imported("c.py", script, Some(2)), "categories\ncat_winner\nCAT one");
    assert_eq!(imported("c.py", script, Some(5)), "categories cat_winner CAT two");
    assert!(
        imported("c.py", script, Some(4))
            .starts_with("no string at line 4 names what the answer holds (categories, cat_winner, winner)")
    );
}

/// What an import gives in the manner of a built-in pack: the prompt, or the error.
fn check_like(pack: &str, file: &str, content: &str, expected: &str) {
    let like = Pack::builtin(pack).unwrap();
    let options = ImportOptions { name: "my-judge", like: &like, at: None };
    let found = match import(file, content, &options) {
        Ok(imported) => {
            assert_eq!((imported.pack.task, &imported.pack.answer), (like.task, &like.answer));
            assert_eq!(imported.pack.frames, like.frames);
            imported.prompt
        }
        Err(error) => error.to_string(),
    };
    assert!(found.starts_with(expected), "{found}");
}

#[test]
fn a_prompt_is_imported_in_the_manner_of_any_pack() {
    let sentence = "Judge {prompt}: image 1 is better or Image 2 is better";
    let sent = "Judge {caption}: image 1 is better or Image 2 is better";
    check_like("unifiedreward-image-pair", "p.txt", sentence, sent);
    check_like("unifiedreward-image-pair", "p.py", &format!("x = f'{sentence}'"), sent);
    check_like(
        "unifiedreward-image-pair",
        "p.txt",
        "Judge {prompt}",
        "no text names what the answer holds (Image 1",
    );
    let edit = "Do {instruction}? Edited image 1, Edited image 2";
    check_like("unifiedreward-edit-pair-score", "p.txt", edit, "Do {caption}? Edited");
    let quality = "Say {\"reasoning\", \"score\"}";
    check_like("unifiedreward-edit-quality-point", "p.txt", quality, quality);
    check_like(
        "unifiedreward-edit-quality-point",
        "p.py",
        "f'{x} reasoning score'",
        "the prompt has the places (x)",
    );
}

#[test]
fn a_question_and_its_answers_are_told_apart_by_name() {
    let tail = "Answer 1 is better, Answer 2 is better";
    let sent = format!("[{{question}}] 2: {{answer_2}} 1: {{answer_1}} {tail}");
    let name = "unifiedreward-image-understanding-pair";
    check_like(name, "p.txt", &sent, &sent);
    check_like(name, "p.txt", &format!("[{{query}}] 2: {{response_2}} 1: {{answer1}} {tail}"), &sent);
    let script = format!("x = f'[{{item[\"question\"]}}] 2: {{r.answer_2}} 1: {{Response1}} {tail}'");
    check_like(name, "p.py", &script, &sent);
    let unknown = format!("x = f'[{{q}}] {{a}} {{b}} {tail}'");
    check_like(
        name,
        "p.py",
        &unknown,
        "the prompt has the places (q, a, b), and must have {question}, {answer_1}",
    );
    let twice = format!("{{question}} {{query}} {{answer_1}} {{answer_2}} {tail}");
    check_like(name, "p.txt", &twice, "the prompt has the places (question, query, answer_1, answer_2)");
}

/// A text as the body of a Python literal in triple quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\r', "\\r")
}

proptest! {
    #[test]
    fn any_prompt_survives_any_way_of_writing_it(before in "(\\PC|[{}\"'\\\\\n\r]){0,30}", after in "(\\PC|[{}\"'\\\\\n\r]){0,30}") {
        let hole = |text: &str| ["{caption}", "{prompt}", "{problem}"].iter().any(|hole| text.contains(hole));
        prop_assume!(!hole(&before) && !hole(&after) && !before.contains('\0'));
        let sent = format!("{before}[CAT]{after}{KEYS}");
        let doubled = |text: &str| escaped(text).replace('{', "{{").replace('}', "}}");
        let (one, two) = (escaped(&before), escaped(&format!("{after}{KEYS}")));
        let (f1, f2) = (doubled(&before), doubled(&format!("{after}{KEYS}")));
        for script in [
            format!("x = f\"\"\"{f1}[{{item['p']}}]{f2}\"\"\"\n"),
            format!("x = \"\"\"{f1}[{{p}}]{f2}\"\"\".format(p=p)\n"),
            format!("x = (\"\"\"{one}[\"\"\" + p +\n \"\"\"]{two}\"\"\")\n"),
            format!("x = \"\"\"{one}[{{prompt}}]{two}\"\"\"\n"),
        ] {
            prop_assert_eq!(&imported("c.py", &script, None), &sent, "{}", script);
        }
        prop_assert_eq!(&imported("c.txt", &format!("{before}[{{prompt}}]{after}{KEYS}"), None), &sent);
    }

    #[test]
    fn any_script_gives_a_pack_or_a_named_error(parts in proptest::collection::vec(prop_oneof![
        Just("'"), Just("\""), Just("\"\"\""), Just("f"), Just("r"), Just("b"), Just("\\"), Just("{"), Just("}"), Just("("),
        Just(")"), Just("+"), Just("."), Just("format"), Just("="), Just("x"), Just("\n"), Just("#"), Just(","), Just("\u{e9}"),
        Just("categories cat_winner"), Just("{prompt}"), Just("\\x"), Just("\\u12"), Just("\\N"), Just(":"), Just("%"),
    ], 0..40)) {
        if let Ok(imported) = import("c.py", &parts.concat(), &options(None)) {
            prop_assert_eq!(Pack::parse(&imported.description, &imported.prompt), Ok(imported.pack));
        }
    }
}
