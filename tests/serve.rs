//! The routes of a server, asked over the wire: what they answer, what they refuse, and with which words.

// The helpers below are test code too, which the lint cannot see.
#![allow(clippy::unwrap_used)]

mod drive;
mod http;
mod script;

use http::{Gate, PACK, Running, encoded, judge, pair, picture, posted};
use rewardrt::{Comparison, Picture};
use rewardrt_server::Config;
use rewardrt_tests::root;
use script::{CAPTION, Says, Stage, report};
use serde_json::{Value, json};

fn running() -> Running {
    Running::new(judge(2, 20, &Gate::default()), Config::default())
}

/// Documents of lines or events.
fn documents(body: &str) -> Vec<Value> {
    let lines = body.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
    lines.filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn probes_and_documents_are_there() {
    let server = running();
    assert_eq!(server.get("/livez").json(), json!({ "status": "ok" }));
    assert_eq!(server.get("/readyz").json(), json!({ "status": "ready" }));
    assert_eq!(server.get("/health").json(), json!({ "status": "ok" }));
    assert_eq!(server.get("/v1/models").json()["data"][0]["id"], server.judge.model().name);
    let info = server.get("/info").json();
    assert_eq!(info["model"]["package_sha256"], server.judge.model().package_sha256);
    assert!(server.get("/metrics").body.contains("\nrewardrt_slots_free 2\n"));
    assert!(server.get("/openapi.json").json()["paths"]["/v1/compare"]["post"].is_object());
    let page = server.get("/");
    assert!(
        page.head.contains("content-security-policy: default-src 'none'") && page.body.contains("</html>")
    );
    server.get("/nowhere").is(404, "not_found");
    server.get("/v1/compare").is(405, "method_not_allowed");
}

#[test]
fn a_comparison_is_answered_as_the_library_answers() {
    let server = running();
    let file = Picture::Path(root().join("models/demo/ocean-1.webp"));
    let expected =
        server.judge.compare(&Comparison::answers("which is it?", vec![file], "no 3", "no 8")).unwrap();
    let reply = server.post("/v1/compare", &pair(3, 8));
    let got = reply.json();
    assert_eq!((reply.status, got["winner"].as_str()), (200, Some("second")), "{reply:?}");
    let mut expected = serde_json::to_value(expected).unwrap();
    for changes in ["timing_ms", "orders", "usage"] {
        assert!(got[changes].is_array() || got[changes].is_object());
        expected[changes] = got[changes].clone();
    }
    assert_eq!(got, expected);
    server.is_as_new();
}

#[test]
fn a_form_asks_what_json_asks() {
    let server = running();
    let mut body = Vec::new();
    let mut part = |head: &str, content: &[u8]| {
        body.extend_from_slice(format!("--sep\r\ncontent-disposition: form-data; {head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    part("name=\"prompt\"", b"which is it?");
    part("name=\"answers\"", b"[\"no 9\", \"no 8\"]");
    part("name=\"both_orders\"", b"true");
    part(
        "name=\"shown\"; filename=\"a.webp\"",
        &std::fs::read(root().join("models/demo/ocean-1.webp")).unwrap(),
    );
    body.extend_from_slice(b"--sep--\r\n");
    let head = format!(
        "POST /v1/compare HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\
         content-type: multipart/form-data; boundary=sep\r\n\r\n",
        body.len()
    );
    let reply = http::Reply::of(server.connect(&[head.as_bytes(), &body].concat()));
    assert_eq!(reply.json()["winner"], "first", "{reply:?}");
    assert_eq!(reply.json()["orders"].as_array().unwrap().len(), 2);
}

#[test]
fn a_group_is_ranked_whole_or_pair_by_pair() {
    let server = running();
    let mut ask =
        json!({ "prompt": "which is it?", "shown": [picture()], "answers": ["no 3", "no 8", "no 5"] });
    let whole = server.post("/v1/rank", &ask).json();
    assert_eq!(whole["order"], json!([1, 2, 0]));
    ask["stream"] = json!(true);
    for (accept, kind) in [("*/*", "application/x-ndjson"), ("text/event-stream", "text/event-stream")] {
        let reply = server.post_with("/v1/rank", &format!("accept: {accept}\r\n"), &ask.to_string());
        assert!(reply.head.contains(kind), "{reply:?}");
        let lines = documents(&reply.body);
        let done: Vec<_> = lines.iter().map(|line| line["done"].as_u64()).collect();
        assert_eq!(done, [Some(1), Some(2), Some(3), None]);
        assert_eq!(lines[3]["ranking"]["order"], json!([1, 2, 0]));
    }
    // A refusal before the first pair is one, and no stream.
    ask["answers"] = json!(["no 1"]);
    server.post("/v1/rank", &ask).is(422, "not_askable");
    server.is_as_new();
}

#[test]
fn a_chat_is_continued_whole_or_as_it_is_written() {
    let server = running();
    let image = json!({ "type": "image_url", "image_url": { "url": format!("data:image/webp;base64,{}", picture()) } });
    let mut ask = json!({
        "messages": [{ "role": "user", "content": [image, { "type": "text", "text": "say something" }] }],
        "max_tokens": 5, "do_sample": false, "logprobs": true,
    });
    let whole = server.post("/v1/chat/completions", &ask).json();
    let choice = &whole["choices"][0];
    assert_eq!(choice["message"]["content"], "ababa", "{whole}");
    assert_eq!(
        (choice["finish_reason"].as_str(), whole["usage"]["completion_tokens"].as_u64()),
        (Some("length"), Some(5))
    );
    assert_eq!(choice["logprobs"]["content"][1]["token"], "b");
    ask["stream"] = json!(true);
    ask["stream_options"] = json!({ "include_usage": true });
    for logprobs in [true, false] {
        ask["logprobs"] = json!(logprobs);
        let reply = server.post("/v1/chat/completions", &ask);
        let chunks = documents(&reply.body);
        let text: String =
            chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!((text.as_str(), reply.body.ends_with("data: [DONE]\n\n")), ("ababa", true), "{reply:?}");
        assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "length");
        assert_eq!(chunks[chunks.len() - 1]["usage"]["completion_tokens"], 5);
    }
    ask["stop"] = json!(["bab"]);
    for stream in [true, false] {
        ask["stream"] = json!(stream);
        ask["stream_options"] = json!(null);
        let reply = server.post("/v1/chat/completions", &ask);
        assert!(
            reply.body.contains("\"content\":\"a\"") && reply.body.contains("\"finish_reason\":\"stop\""),
            "{reply:?}"
        );
        assert!(!reply.body.contains("\"content\":\"b"), "{reply:?}");
    }
    server.is_as_new();
}

#[test]
fn a_trainers_batch_is_asked_by_the_pack_or_refused() {
    let server = running();
    let batch = json!({ "prompt": ["a", "a"], "image": [picture(), picture()] });
    let error = server.post("/compute", &batch).is(422, "not_askable");
    assert!(error["message"].as_str().unwrap().contains(PACK));
}

#[test]
fn neighbours_of_one_prompt_are_ranked_and_rewarded() {
    let says = |_: usize, _: &str| Says::report(report("7", "Image 1", "Image 1"));
    let server = Running::new(Stage::new().judge("unifiedreward-flex-image", 2, says), Config::default());
    let batch = json!({ "prompt": [CAPTION, CAPTION], "image": [picture(), picture()], "video": null });
    let reply = server.post("/compute", &batch).json();
    let rewards: Vec<f64> = serde_json::from_value(reply["rewards"].clone()).unwrap();
    assert!(rewards.len() == 2 && rewards[0] > rewards[1], "{reply}");
    let alone = json!({ "prompt": [CAPTION], "image": [picture()] });
    assert_eq!(server.post("/compute", &alone).is(422, "group_unfit")["param"], "/prompt/0");
    server.is_as_new();
}

/// A body is refused with this status and code at this place.
fn check(server: &Running, body: &str, (status, code, param): (u16, &str, &str)) {
    let error = server.post_with("/v1/compare", "", body).is(status, code);
    assert_eq!(error["param"].as_str().unwrap_or_default(), param, "{body:.200}: {error}");
    assert!(!error["message"].as_str().unwrap().contains("sesame"), "{error}");
}

#[test]
fn bodies_that_are_none_are_refused_with_their_place() {
    let server = running();
    let bad = |param| (400, "bad_request", param);
    check(&server, "", bad(""));
    check(&server, "\u{feff}{}", bad(""));
    check(&server, "[]", bad(""));
    check(&server, "{\"prompt\":\"\0\"}", bad("/prompt"));
    check(&server, r#"{"prompt":"\ud800"}"#, bad("/prompt"));
    check(&server, r#"{"prompt":"p","prompt":"sesame"}"#, bad("/prompt"));
    check(&server, r#"{"prompt":["sesame"]}"#, bad("/prompt"));
    check(&server, r#"{"prompt":"p","max_new_tokens":1e999}"#, bad("/max_new_tokens"));
    check(&server, r#"{"prompt":"p","colour":"sesame"}"#, bad("/colour"));
    let cut = format!("/{}", "k".repeat(64));
    check(&server, &format!("{{\"{}\":1}}", "k".repeat(1 << 20)), (400, "bad_request", &cut));
    check(&server, &format!("{{\"shown\":{}", "[".repeat(129)), bad("/shown/0"));
    check(&server, r#"{"prompt":"p","task":"sesame"}"#, bad("/task"));
    check(&server, r#"{"prompt":"p"}"#, bad(""));
    check(&server, r#"{"prompt":"p","shown":[{"part":0}],"answers":["a","b"]}"#, bad("/shown/0"));
    let bytes = posted("/v1/compare", "", "{\"prompt\":\"...\"}");
    let bytes = [bytes.as_bytes()].concat();
    let at = bytes.len() - 4;
    let bytes: Vec<u8> = bytes.iter().enumerate().map(|(i, b)| if i == at { 0xFF } else { *b }).collect();
    http::Reply::of(server.connect(&bytes)).is(400, "bad_request");
    assert_eq!(server.judge.stats().entered, 0);
    server.is_as_new();
}

#[test]
fn pictures_that_are_none_are_refused_with_their_place() {
    let server = running();
    let ask = |media: &str| {
        json!({ "prompt": "sesame", "shown": [picture(), media], "answers": ["a", "b"] }).to_string()
    };
    let whole = picture();
    let at = "/shown/1";
    check(&server, &ask("data:image/png"), (400, "media_corrupt", at));
    check(&server, &ask("data:image/png;base64,A"), (400, "media_corrupt", at));
    check(&server, &ask(&format!("data:image/webp;base64, {whole}")), (400, "media_corrupt", at));
    check(&server, &ask(""), (400, "media_corrupt", at));
    check(&server, &ask("http://127.0.0.1:1/a.png"), (400, "media_url_off", at));
    check(&server, &ask("/etc/passwd"), (400, "media_corrupt", at));
    check(&server, &ask(&encoded(b"%PDF-1.7 is no picture")), (415, "media_unsupported", ""));
    check(&server, &ask(&whole[..whole.len() / 8 * 4]), (400, "media_corrupt", ""));
    let many = json!({ "prompt": "p", "shown": vec!["AAAA"; 257], "answers": ["a", "b"] }).to_string();
    check(&server, &many, (413, "too_many_media", "/shown/256"));
    server.is_as_new();
}

#[test]
fn questions_that_cannot_be_asked_are_refused_by_name() {
    let server =
        Running::new(judge(1, 4, &Gate::default()), Config { only_own_pack: true, ..Config::default() });
    let refused = |field: &str, value: Value, status, code: &str| {
        let mut ask = pair(1, 2);
        ask[field] = value;
        server.post("/v1/compare", &ask).is(status, code)["message"].to_string()
    };
    assert!(refused("model", json!("another"), 404, "model_not_found").contains("no other model"));
    assert!(refused("task", json!("image-pair"), 422, "not_askable").contains("is not its pack"));
    assert!(refused("pack", json!("no-such"), 422, "text_unfit").contains("no-such"));
    assert!(refused("max_new_tokens", json!(5000), 422, "not_askable").contains("max_new_tokens"));
    assert!(refused("prompt", json!("x".repeat(17 << 10)), 422, "text_unfit").contains("over the limit"));
    assert!(refused("seed", json!(1), 400, "bad_request").contains("sampling"));
    assert_eq!(server.post("/v1/compare", &pair(2, 1)).json()["winner"], "first");
    server.is_as_new();
}
