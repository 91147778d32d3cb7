use rewardrt_models::prompt::segment::{MediaKind, Segment};
use serde_json::{Value, json};

use super::*;

/// The error of the changed tokenizer file.
fn check_tokenizer(change: impl FnOnce(&mut Value), expected: &str) {
    let mut file: Value = serde_json::from_slice(TOKENIZER).unwrap();
    change(&mut file);
    let error = Tokenizer::from_json(&serde_json::to_vec(&file).unwrap()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn tokenizers_with_other_rules_are_refused_by_name() {
    check_tokenizer(|t| t["decoder"] = json!({"type": "Fuse"}), "a decoder other than ByteLevel");
    check_tokenizer(
        |t| t["pre_tokenizer"] = json!({"type": "Whitespace"}),
        "a pre-tokenizer without ByteLevel",
    );
    check_tokenizer(|t| t["model"]["dropout"] = json!(0.1), "dropout");
    check_tokenizer(|t| t["model"]["byte_fallback"] = json!(true), "byte_fallback");
    check_tokenizer(|t| t["model"]["end_of_word_suffix"] = json!("</w>"), "end_of_word_suffix");
    check_tokenizer(
        |t| t["model"] = json!({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}),
        "other than BPE",
    );
    let begin = json!({"type": "TemplateProcessing", "pair": [],
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["!"]}}});
    check_tokenizer(|t| t["post_processor"] = begin, "a post-processor that adds tokens");
    check_tokenizer(|t| t["model"]["vocab"]["zz"] = json!(1 << 20), "the token id 1048576, beyond");
}

#[test]
fn added_tokens_with_other_rules_are_refused_by_name() {
    for rule in ["lstrip", "rstrip", "single_word"] {
        check_tokenizer(|t| t["added_tokens"][0][rule] = json!(true), &format!("\"<|im_end|>\" has {rule}"));
    }
    let decomposed = |t: &mut Value| {
        t["added_tokens"][0]["content"] = json!("<e\u{301}>");
        t["added_tokens"][0]["normalized"] = json!(true);
    };
    check_tokenizer(decomposed, "its own normalizer changes");
    check_tokenizer(|t| t["added_tokens"][0]["content"] = json!("<a> "), "white space");
    let reachable = |t: &mut Value| {
        t["model"]["ignore_merges"] = json!(true);
        t["model"]["vocab"]["<|im_end|>"] = json!(542);
    };
    check_tokenizer(reachable, "ordinary text can reach");
}

#[test]
fn a_broken_or_endless_tokenizer_file_is_refused() {
    for len in [0, 1, TOKENIZER.len() / 2, TOKENIZER.len() - 2] {
        let error = Tokenizer::from_json(&TOKENIZER[..len]).unwrap_err();
        assert!(matches!(error, TokenizerError::Unreadable(_)), "{error}");
    }
    let error = Tokenizer::from_json(&vec![b' '; (64 << 20) + 1]).unwrap_err();
    assert!(matches!(error, TokenizerError::TooLarge { .. }), "{error}");
}

/// What becomes of a text under a template.
fn check_template(source: &str, caption: &str, transformed: bool) {
    let chat = [Message::plain(Role::User, caption)];
    match compile(source).render(&chat, &GENERATE) {
        Ok(_) => assert!(!transformed, "{source} kept {caption:?}"),
        Err(TemplateError::TransformsText) => assert!(transformed, "{source} changed {caption:?}"),
        Err(error) => panic!("{source}: {error}"),
    }
}

#[test]
fn a_template_that_transforms_text_is_refused_when_it_does() {
    check_template("{{ messages[0].content | upper }}", "Abc", true);
    check_template("{{ messages[0].content | replace('<', '&lt;') }}", "a < b", true);
    check_template("{{ messages[0].content | replace('<', '&lt;') }}", "a b", false);
    check_template("{{ messages[0].content[:3] }}", "abcd", true);
    check_template("{{ messages[0].content | tojson }}", "a\"b", true);
    check_template("{{ messages[0].content | length }}", "abcd", true);
    check_template("{{ messages[0].content.split('</think>')[-1] }}", "x</think>y", true);
    check_template("{% if 'x' in messages[0].content %}<|im_end|>{% endif %}", "x", true);
    check_template("{% if '0' in messages[0].content %}<|im_end|>{% endif %}", "x", true);
    check_template("{{ messages[0].content | trim }}", "  a\n b \u{3000}", false);
    check_template("{{ messages[0].content.rstrip() }}", "  a  ", false);
    check_template("{{ messages[0].content }}{{ messages[0].content }}", "twice", false);
    check_template("{{ '\\ue000' }}{{ messages[0].content }}", "a", true);
    check_template("\u{E000}{{ messages[0].content }}\u{E001}", "a", false);
}

#[test]
fn a_template_with_an_error_is_named() {
    let error = ChatTemplate::new("{% for %}", BTreeMap::new()).unwrap_err().to_string();
    assert!(error.starts_with("the chat template cannot be used: syntax error"), "{error}");
    let chat = [Message::plain(Role::User, "x")];
    let error = compile("{{ raise_exception('not like this') }}").render(&chat, &GENERATE).unwrap_err();
    assert!(
        error.to_string().contains("refuses these messages: invalid operation: not like this"),
        "{error}"
    );
}

fn check_encode(parts: Vec<Part>, lengths: &[usize], expected: &str) {
    let got = ENCODER.segments(&user(parts), &GENERATE).and_then(|s| ENCODER.encode(&s, lengths));
    let said = got.map_or_else(|error| error.to_string(), |prompt| format!("{} ids", prompt.ids.len()));
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_template_that_reads_a_token_nobody_holds_is_refused() {
    let source = "{{ bos_token }}{{ messages[0].content }}";
    let error = ChatTemplate::new(source, BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("it reads bos_token"), "{error}");
    let held = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
    assert!(ChatTemplate::new(source, held).is_ok());
}

#[test]
fn a_template_that_loops_without_end_is_refused() {
    let source = "{% for a in range(9000) %}{% for b in range(9000) %}{% for c in range(9000) %}{% endfor %}{% endfor %}{% endfor %}";
    let template = ChatTemplate::new(source, BTreeMap::new()).unwrap();
    let error = template.render(&[Message::plain(Role::User, "x")], &RenderOptions::default()).unwrap_err();
    assert!(error.to_string().contains("fuel"), "{error}");
}

#[test]
fn lengths_and_slots_must_fit() {
    check_encode(vec![Part::Image(0)], &[], "1 media slots, and 0 lengths");
    check_encode(vec![Part::Image(0)], &[1, 1], "1 media slots, and 2 lengths");
    check_encode(vec![Part::Image(0)], &[0], "media slot 0 has no vision tokens");
    check_encode(vec![Part::Image(1)], &[1], "slot 1 stands in the place of 0");
    check_encode(vec![Part::Image(0)], &[usize::MAX], "above the limit of 262144");
    check_encode(vec![Part::Image(0)], &[1 << 18], "above the limit of 262144");
    check_encode(vec![Part::Image(0)], &[1000], " ids");
    let twice = vec![Segment::Media { slot: 0, kind: MediaKind::Image }; 2];
    assert!(matches!(ENCODER.encode(&twice, &[1]), Err(EncodeError::SlotOrder { .. })));
}

#[test]
fn text_beyond_the_limit_is_refused_with_both_counts() {
    let fits = |extra: usize| {
        let chat = user(vec![text(&"a".repeat(MAX_TEXT_BYTES - 1 + extra))]);
        ENCODER.segments(&chat, &RenderOptions { assistant_prefix: Some("{"), ..GENERATE })
    };
    assert!(fits(0).is_ok());
    let error = fits(1).unwrap_err().to_string();
    assert!(error.contains("1048577 bytes of text, above the limit of 1048576"), "{error}");
    // One character of four bytes whose normal form has twelve, none of which merge.
    check_encode(vec![text(&"\u{1D160}".repeat(25_000))], &[], "tokens, above the limit of 262144");
}

#[test]
fn a_placeholder_must_be_a_control_token() {
    let tokenizer = Tokenizer::from_json(TOKENIZER).unwrap();
    let media = MediaTokens { image: Some(7), video: None };
    let error = PromptEncoder::new(tokenizer, compile(CHAT), media).unwrap_err();
    assert!(matches!(error, EncodeError::NoPlaceholder { kind: MediaKind::Image }), "{error}");
}

#[test]
fn media_that_a_template_does_not_place_is_refused() {
    let encoder =
        encoder("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}");
    let error = encoder.segments(&user(vec![Part::Image(0), text("x")]), &GENERATE).unwrap_err();
    assert!(error.to_string().contains("wrote 0 media placeholders for 1 media parts"), "{error}");
}
