use super::*;
use proptest::prelude::*;

/// A file in; its rows as lines, then its refusals, or the error's text.
fn parsed(format: Format, text: &str) -> String {
    match format.parse(text.as_bytes()) {
        Ok(input) => {
            let rows = input.rows.iter().map(|row| serde_json::to_string(row).unwrap());
            let refused = input.refused.iter().map(|r| format!("{} refused: {}", r.id, r.reason));
            rows.chain(refused).collect::<Vec<_>>().join("\n")
        }
        Err(error) => error.to_string(),
    }
}

/// The one door: every one of the words is in what becomes of the text.
fn check(format: Format, text: &str, expected: &[&str]) {
    let got = parsed(format, text);
    for words in expected {
        assert!(got.contains(words), "{text}\n gave {got}\n not  {words}");
    }
}

const ROW: &str = r#"{"id":"7","prompt":"a fox","a":"a.png","b":"b.png","label":"a","task":"image-pair"}"#;

/// A good row with one field replaced, or added.
fn with(field: &str, value: &str) -> String {
    let mut row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(ROW).unwrap();
    row.insert(field.to_owned(), serde_json::from_str(value).unwrap());
    serde_json::to_string(&row).unwrap()
}

#[test]
fn a_row_is_read_and_written_as_it_stands() {
    check(Format::Rows, ROW, &[ROW]);
    check(Format::Rows, &with("kind", r#""count""#), &[r#""kind":"count""#]);
    check(Format::Rows, &with("kind", "null"), &[ROW]);
    check(Format::Rows, &with("a", r#"["1.png","2.png"]"#), &[r#""a":["1.png","2.png"]"#]);
    check(Format::Rows, &format!("\u{feff}{ROW}\r\n\n  \n"), &[ROW]);
}

#[test]
fn a_bad_field_is_named_with_its_line() {
    for (field, value, expected) in [
        ("id", "3", "it is a number, not a text"),
        ("id", r#""""#, "it is empty"),
        ("id", r#""a\nb""#, "control characters"),
        ("prompt", "null", "it is missing"),
        ("a", r#""""#, "it is no path"),
        ("a", "{}", "without base64 text in `bytes` and without a `path`"),
        ("a", r#""https://host/x.png""#, "it is a URL, and nothing is fetched; download the file"),
        ("b", "[]", "it lists 0 frames"),
        ("b", "[1]", "a frame is a number, not a path"),
        ("b", r#"["data:x;base64,AAAA"]"#, "name frames by path"),
        ("b", r#""data:image/png;base64,A""#, "is not base64"),
        ("b", r#""data:image/png,A""#, "not in base64"),
        ("label", r#""A""#, "give `a`, `b` or `tie`"),
        ("task", r#""video""#, "give `image-pair` or `image-pair-score` or `video-pair`"),
        ("kind", r#""""#, "it is empty"),
        ("lable", r#""a""#, "no such field is known; known are id, prompt"),
    ] {
        let text = format!("{ROW}\n\n{}", with(field, value));
        check(Format::Rows, &text, &[&format!("line 3, field `{field}`: "), expected]);
    }
    check(Format::Rows, &ROW.replace(r#""label":"a","#, ""), &["line 1, field `label`: it is missing"]);
    check(Format::Rows, &ROW.replace('}', r#","b":"c.png"}"#), &["field `b`: it stands there twice"]);
    let long = format!("\"{}\"", "x".repeat(MAX_NAME_BYTES + 1));
    check(Format::Rows, &with("id", &long), &["field `id`: it has 257 bytes, more than 256"]);
}

#[test]
fn a_line_that_is_no_object_is_named() {
    for text in ["[]", "3", "{", "{} {}", "nonsense"] {
        check(Format::Rows, &format!("{ROW}\n{text}"), &["line 2 is not the JSON object"]);
    }
    let got = Format::Rows.parse(b"\n\xff").unwrap_err().to_string();
    assert!(got.contains("line 2 is not UTF-8"), "{got}");
}

#[test]
fn ids_are_unique_and_a_file_is_never_empty() {
    check(Format::Rows, &format!("{ROW}\n{ROW}"), &["rows 1 and 2 have the same id `7`"]);
    check(Format::Rows, "\n \n", &["holds no row"]);
    check(Format::Mmrb2, r#"{"pairs":[]}"#, &["holds no row"]);
}

#[test]
fn more_rows_than_the_limit_are_refused_before_they_are_read() {
    check(Format::Rows, &"x\n".repeat(2 * MAX_ROWS + 1), &["more than 100000 rows"]);
}

#[test]
fn embedded_pictures_are_decoded_strictly() {
    let row = |media: &str| with("a", media);
    let uri = r#""a":"data:application/octet-stream;base64,AP8Q""#;
    check(Format::Rows, &row(r#""data:image/png;base64,AP8Q""#), &[uri]);
    check(Format::Rows, &row(r#"{"bytes":"AP8Q","path":"x.png"}"#), &[uri]);
    check(Format::Rows, &row(r#"{"bytes":null,"path":"x.png"}"#), &[r#""a":"x.png""#]);
    for bad in ["AP8", "AP8QA===", "AP8=AP8Q", "AP9=", "AP==", "A P8", "", "===="] {
        check(Format::Rows, &row(&format!(r#"{{"bytes":"{bad}"}}"#)), &["field `a`", "not base64"]);
    }
}

#[test]
fn genai_bench_rows_become_rows() {
    let row = |vote: &str| {
        format!(
            r#"{{"models":["x","y"],"prompt":"p","left_image":"l.png","right_image":{{"bytes":"AP8Q"}},"vote_type":"{vote}"}}"#
        )
    };
    for (vote, label) in [("leftvote", "a"), ("rightvote", "b"), ("tievote", "tie"), ("bothbad_vote", "tie")]
    {
        check(
            Format::GenaiBench,
            &row(vote),
            &[r#""id":"line-1""#, r#""a":"l.png""#, &format!(r#""label":"{label}""#)],
        );
    }
    for vote in ["", "leftright", "up"] {
        check(Format::GenaiBench, &row(vote), &["line 1, field `vote_type`: it is no vote"]);
    }
    let video = r#"{"prompt":"p","left_video":"l","right_video":"r","vote_type":"leftvote"}"#;
    check(Format::GenaiBench, video, &[r#""a":"l","b":"r","label":"a","task":"video-pair""#]);
    let url = video.replace(r#""r""#, r#""https://host/r.mp4""#);
    check(Format::GenaiBench, &url, &["line 1, field `right_video`: it is a URL"]);
    check(Format::GenaiBench, r#"{"prompt":"p"}"#, &["line 1, field `left_image`: it is missing"]);
}

#[test]
fn genai_bench_edits_are_refused_by_name() {
    let edit =
        r#"{"source_image":"s.png","left_image":"l.png","right_image":"r.png","vote_type":"leftvote"}"#;
    check(Format::GenaiBench, edit, &["line-1 refused: it has an input, `source_image`"]);
}

/// An MMRB2 document of one pair.
fn mmrb2(prompt: &str, response_a: &str, rest: &str) -> String {
    format!(
        r#"{{"pairs":[{{"prompt_content":{prompt},
        "response_a":{{"model":"m","response_content":{response_a}}},
        "response_b":{{"model":"n","response_content":[["image","b.png"]]}},{rest}}}]}}"#
    )
}

#[test]
fn mmrb2_pairs_of_one_text_and_two_pictures_become_rows() {
    let (text, image) = (r#"[["text","a fox"]]"#, r#"[["image","a.png"]]"#);
    let expected = r#"{"id":"7","prompt":"a fox","a":"a.png","b":"b.png","label":"b","task":"image-pair","kind":"wise"}"#;
    for id in [r#""id":"7""#, r#""pair_id":"7""#] {
        let rest = format!(r#"{id},"chosen":"B","prompt_source":"wise","human_annotations":[1]"#);
        check(Format::Mmrb2, &mmrb2(text, image, &rest), &[expected]);
    }
}

#[test]
fn mmrb2_pairs_that_are_no_two_pictures_are_refused_by_name() {
    let rest = r#""id":"7","chosen":"A""#;
    let (text, image) = (r#"[["text","a fox"]]"#, r#"[["image","a.png"]]"#);
    for (prompt, response, expected) in [
        (r#"[["text","t"],["image","i.png"]]"#, image, "its prompt holds input pictures"),
        (r#"[["text","t"],["text","u"]]"#, image, "its prompt is 2 texts, not one"),
        ("[]", image, "its prompt is 0 texts, not one"),
        (
            text,
            r#"[["image","a.png"],["text","t"]]"#,
            "its response_a is interleaved: 1 texts and 1 pictures",
        ),
        (text, r#"[["text","t"]]"#, "1 texts and 0 pictures"),
        (text, r#"[["image","a.png"],["image","c.png"]]"#, "0 texts and 2 pictures"),
    ] {
        check(Format::Mmrb2, &mmrb2(prompt, response, rest), &["7 refused: ", expected]);
    }
}

#[test]
fn mmrb2_faults_are_named_with_their_pair() {
    let (text, image) = (r#"[["text","a fox"]]"#, r#"[["image","a.png"]]"#);
    check(
        Format::Mmrb2,
        &mmrb2(text, image, r#""id":"7","chosen":"C""#),
        &["pair 1, field `chosen`: give `A` or `B`"],
    );
    check(Format::Mmrb2, &mmrb2(text, image, r#""chosen":"A""#), &["pair 1, field `id`: it is missing"]);
    let odd = mmrb2(text, r#"[["sound","a.wav"]]"#, r#""id":"7","chosen":"A""#);
    check(Format::Mmrb2, &odd, &["pair 1, field `response_a`, field `response_content`: a part is not"]);
    check(Format::Mmrb2, r#"{"pairs":[3]}"#, &["pair 1 is not the JSON object", "it is a number"]);
    check(Format::Mmrb2, r#"{"pairs":{}}"#, &["field `pairs`: it is an object, not a list"]);
    check(Format::Mmrb2, "[]", &["the document is not the JSON object"]);
}

fn media() -> impl Strategy<Value = Media> {
    let path = "[^\0:]{1,12}";
    prop_oneof![
        path.prop_map(Media::Path),
        proptest::collection::vec(path, 1..4).prop_map(Media::Frames),
        proptest::collection::vec(any::<u8>(), 1..40).prop_map(Media::Embedded),
    ]
}

prop_compose! {
    fn row()(
        id in "[a-z \"<&\u{e9}]{1,12}",
        prompt in any::<String>(),
        a in media(),
        b in media(),
        label in 0..3_usize,
        task in 0..2_usize,
        kind in proptest::option::of("[a-z]{1,8}"),
    ) -> Row {
        Row { id, prompt, a, b, label: Label::ALL[label].0, task: Task::ALL[task].0, kind }
    }
}

proptest! {
    #[test]
    fn a_written_row_is_read_as_the_same_row(row in row()) {
        let line = serde_json::to_string(&row).unwrap();
        let input = Format::Rows.parse(line.as_bytes()).unwrap();
        prop_assert_eq!(input.rows, vec![row]);
    }

    #[test]
    fn bytes_of_any_kind_give_rows_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in any::<usize>()) {
        let mut spoilt = ROW.as_bytes().to_vec();
        spoilt.truncate(cut % ROW.len());
        spoilt.extend(&bytes);
        for (format, _) in Format::ALL {
            for text in [&bytes, &spoilt] {
                if let Ok(input) = format.parse(text) {
                    prop_assert!(!input.rows.is_empty() || !input.refused.is_empty());
                }
            }
        }
    }
}
