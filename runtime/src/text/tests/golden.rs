use super::chat::Chat;
use super::*;

#[derive(Deserialize)]
struct Golden {
    encode: Vec<EncodeCase>,
    render: Vec<RenderCase>,
    decode: Vec<DecodeCase>,
}

#[derive(Deserialize)]
struct EncodeCase {
    name: String,
    messages: serde_json::Value,
    media_lengths: Vec<usize>,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct RenderCase {
    template: String,
    messages: serde_json::Value,
    options: Options,
    text: Option<String>,
}

#[derive(Deserialize, Debug)]
struct Options {
    add_generation_prompt: bool,
    enable_thinking: Option<bool>,
}

#[derive(Deserialize)]
struct DecodeCase {
    ids: Vec<u32>,
    all: String,
    visible: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../../tests/data/text/golden.json")).unwrap()
}

fn messages(json: &serde_json::Value) -> Vec<Message> {
    Chat::from_json(json.to_string().as_bytes()).unwrap().messages
}

#[test]
fn prompt_ids_equal_the_reference() {
    let cases = golden().encode;
    assert_eq!(cases.len(), 4);
    for case in cases {
        let segments = ENCODER.segments(&messages(&case.messages), &GENERATE).unwrap();
        let prompt = ENCODER.encode(&segments, &case.media_lengths).unwrap();
        assert_eq!(prompt.ids, case.ids, "{}", case.name);
        let lengths: Vec<usize> = prompt.media_spans.iter().map(|span| span.len()).collect();
        assert_eq!(lengths, case.media_lengths);
        assert_eq!(prompt.vision_tokens(), lengths.iter().sum::<usize>());
        let pad = ENCODER.tokenizer().controls().id("<|image_pad|>").unwrap();
        let spans = prompt.media_spans.into_iter().flatten();
        assert!(spans.map(|at| prompt.ids[at]).all(|id| id == pad), "{}", case.name);
    }
}

#[test]
fn rendered_chats_equal_the_reference() {
    let cases = golden().render;
    assert_eq!(cases.iter().filter(|case| case.text.is_none()).count(), 8);
    for case in cases {
        let template = compile(if case.template == "rich.jinja" { RICH } else { CHAT });
        let options = RenderOptions {
            add_generation_prompt: case.options.add_generation_prompt,
            enable_thinking: case.options.enable_thinking,
            ..RenderOptions::default()
        };
        let got = template.render(&messages(&case.messages), &options);
        match (&case.text, &got) {
            (Some(expected), Ok(rendered)) => assert_eq!(rendered.text(), expected, "{:?}", case.options),
            (None, Err(TemplateError::Refused(_))) => {}
            (expected, got) => panic!("{}: {expected:?} became {got:?}", case.messages),
        }
    }
}

#[test]
fn decoded_texts_equal_the_reference() {
    let tokenizer = ENCODER.tokenizer();
    for case in golden().decode {
        let all = tokenizer.decode(&case.ids, false);
        assert_eq!(all.text, case.all, "{:?}", case.ids);
        assert_eq!(tokenizer.decode(&case.ids, true).text, case.visible, "{:?}", case.ids);
        let mut stream = Utf8Stream::new();
        let said: String = case.ids.iter().map(|id| stream.push(tokenizer.visible_bytes(*id))).collect();
        assert_eq!(said + &stream.finish(), case.visible, "{:?}", case.ids);
        for (id, span) in case.ids.iter().zip(&all.spans) {
            let own = String::from_utf8_lossy(tokenizer.token_bytes(*id));
            let whole = !own.contains(char::REPLACEMENT_CHARACTER);
            assert!(!whole || all.text[span.clone()] == *own, "{id} wrote {own:?}, not {span:?}");
        }
    }
}

#[test]
fn a_fork_parts_at_the_token_of_the_verdict() {
    let prompt = user(vec![Part::Image(0), text("Which?")]);
    let options = RenderOptions { assistant_prefix: Some("{\"winner\": \"Image "), ..GENERATE };
    let segments = ENCODER.segments(&prompt, &options).unwrap();
    let fork = ENCODER.fork(&segments, &[5], ["1\"}", "2\"}"]).unwrap();
    for (tail, digit) in fork.tails.iter().zip(["1", "2"]) {
        let whole: Vec<u32> = fork.prompt.ids.iter().chain(tail).copied().collect();
        let expected = format!(
            "<|im_start|>user\n<|vision_start|>{}<|vision_end|>Which?<|im_end|>\n<|im_start|>assistant\n{{\"winner\": \"Image {digit}\"}}",
            "<|image_pad|>".repeat(5)
        );
        assert_eq!(whole, FULL.encode(expected, false).unwrap().get_ids());
    }
    let firsts = fork.tails.map(|tail| ENCODER.tokenizer().token_bytes(tail[0]).to_vec());
    assert_eq!(firsts, [b"1".to_vec(), b"2".to_vec()]);
    assert_eq!(fork.prompt.vision_tokens(), 5);
}

#[test]
fn a_fork_without_a_difference_is_refused() {
    let segments = ENCODER.segments(&user(vec![text("x")]), &GENERATE).unwrap();
    for pair in [["a", "a"], ["", "a"]] {
        let error = ENCODER.fork(&segments, &[], pair).unwrap_err();
        assert!(matches!(error, EncodeError::NoFork { .. }), "{error}");
    }
}

#[test]
fn the_offset_of_a_digit_finds_its_token() {
    let answer = "Größe 🙂: \"winner\": \"Image 1\"";
    let ids = FULL.encode(answer, false).unwrap().get_ids().to_vec();
    let decoded = ENCODER.tokenizer().decode(&ids, true);
    let at = decoded.token_at(decoded.text.rfind('1').unwrap()).unwrap();
    assert_eq!(ENCODER.tokenizer().token_bytes(ids[at]), b"1");
}

#[test]
fn a_date_is_printed_from_the_clock_that_is_given() {
    let template = compile("{{ strftime_now('%d %B %Y') }}{{ messages[0].content }}");
    let chat = [Message::plain(Role::User, "!")];
    let options = RenderOptions { unix_now: Some(1_795_523_696), ..GENERATE };
    assert_eq!(template.render(&chat, &options).unwrap().text(), "24 November 2026!");
    let error = template.render(&chat, &GENERATE).unwrap_err().to_string();
    assert!(error.contains("prints the date"), "{error}");
}
