//! A server in trouble: too many callers, callers that go or dawdle, faults of the engine, and its own end.

// The helpers below are test code too, which the lint cannot see.
#![allow(clippy::unwrap_used)]

mod drive;
mod http;
mod script;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;

use http::{Gate, Reply, Running, judge, pair, posted, wait_for};
use rewardrt::Judge;
use rewardrt_server::{Config, ConfigError, Ended, ServeError, Server};
use script::{Says, Stage};
use serde_json::json;

const TOKEN: &str = "0123456789abcdef";

/// The value of a line of the counters.
fn counter(server: &Running, line: &str) -> Option<f64> {
    let page = server.get("/metrics").body;
    page.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' ')?.parse().ok())
}

/// L2: with as many at work and waiting as may be, exactly the surplus is refused, before a picture is opened.
#[test]
fn exactly_the_surplus_is_told_to_come_back() {
    let gate = Gate::default();
    let server = Running::new(judge(1, 2, &gate), Config::default());
    thread::scope(|scope| {
        let taken: Vec<_> =
            (0..3).map(|_| scope.spawn(|| server.post("/v1/compare", &pair(50, 1)))).collect();
        server.until("all that may be are at work", |stats| stats.calls == 3);
        let surplus: Vec<_> = (0..8)
            .map(|_| {
                let mut ask = pair(50, 1);
                // It would be refused as broken if it were opened.
                ask["shown"] = json!(["AAAA"]);
                scope.spawn(|| {
                    let ask = ask;
                    server.post("/v1/compare", &ask)
                })
            })
            .collect();
        for refused in surplus {
            let reply = refused.join().unwrap();
            reply.is(429, "busy");
            let after = reply.head.split("retry-after: ").nth(1).unwrap().split("\r\n").next().unwrap();
            assert!(after.parse::<u64>().unwrap() >= 1);
        }
        gate.open();
        taken.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap().status, 200));
    });
    assert_eq!(server.judge.stats().refused, 8);
    assert_eq!(counter(&server, "rewardrt_requests_total{route=\"/v1/compare\",status=\"429\"}"), Some(8.0));
    server.is_as_new();
}

/// L4: a deadline ends a request wherever it is, and one that has passed costs no step.
#[test]
fn a_deadline_ends_a_request_wherever_it_is() {
    let server =
        Running::new(judge(1, 4, &Gate::default()), Config { deadline_seconds: 1, ..Config::default() });
    let chat =
        json!({ "messages": [{ "role": "user", "content": "go on" }], "max_tokens": 8000 }).to_string();
    server
        .post_with("/v1/compare", "x-deadline-ms: 0\r\n", &pair(1, 2).to_string())
        .is(504, "deadline_exceeded");
    assert_eq!((server.judge.stats().steps, server.judge.stats().expired), (0, 1));
    server.post_with("/v1/chat/completions", "x-deadline-ms: 5\r\n", &chat).is(504, "deadline_exceeded");
    server.post_with("/v1/compare", "x-deadline-ms: soon\r\n", "{}").is(400, "bad_request");
    server.is_as_new();
}

/// L5: a client that goes takes its request with it.
#[test]
fn a_client_that_goes_is_not_worked_for() {
    let gate = Gate::default();
    let server = Running::new(judge(1, 8, &gate), Config::default());
    let waiting: Vec<_> = (0..3)
        .map(|_| server.connect(posted("/v1/compare", "", &pair(50, 1).to_string()).as_bytes()))
        .collect();
    server.until("all are taken", |stats| stats.calls == 3);
    drop(waiting);
    server.until("all are let go", |stats| stats.cancelled == 3);
    gate.open();
    // One that goes while its body comes was never asked.
    drop(server.connect(posted("/v1/compare", "", &pair(1, 2).to_string()).split_at(900).0.as_bytes()));
    let gone = "rewardrt_requests_total{route=\"/v1/compare\",status=\"499\"}";
    wait_for("they are counted", || counter(&server, gone).is_some_and(|count| count >= 3.0));
    let stream =
        json!({ "messages": [{ "role": "user", "content": "x" }], "max_tokens": 8000, "stream": true });
    let mut reader = server.connect(posted("/v1/chat/completions", "", &stream.to_string()).as_bytes());
    reader.read_exact(&mut [0; 300]).unwrap();
    drop(reader);
    server.until("the stream is let go", |stats| stats.cancelled == 4);
    assert_eq!(server.judge.stats().entered, 4);
    server.is_as_new();
}

/// F7: an output that is no number is an error by name, and the neighbour's answer is what it was.
#[test]
fn a_model_that_gives_no_numbers_gives_no_verdict() {
    let judge = Stage::new().judge("unifiedreward-flex-image", 2, |_, prompt| {
        let verdict = if prompt.contains("bad") { [f32::NAN, 0.0] } else { [3.0, 1.0] };
        Says { text: String::new(), verdict, ends: true }
    });
    let server = Running::new(judge, Config::default());
    let ask = |prompt: &str| {
        let ask = json!({ "prompt": prompt, "first": http::picture(), "second": http::picture(), "verdict_only": true });
        server.post("/v1/compare", &ask)
    };
    let alone = ask("good").json()["p_first"].clone();
    thread::scope(|scope| {
        let bad = scope.spawn(|| ask("bad"));
        let good = scope.spawn(|| ask("good"));
        bad.join().unwrap().is(500, "model_nonfinite");
        assert_eq!(good.join().unwrap().json()["p_first"], alone);
    });
    server.is_as_new();
}

/// F8: a fault of the engine ends its requests by name, readiness goes, and the server ends to be started anew.
#[test]
fn a_fault_of_the_engine_ends_the_server() {
    let server = Running::new(judge(1, 2, &Gate::default()), Config::default());
    server.post("/v1/compare", &pair(99, 1)).is(503, "judge_stopped");
    match server.ended() {
        Ended::Fault { reason } => assert!(reason.contains("decoding a step"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// F8: an engine that hangs is noticed by how long its step lasts.
#[test]
fn an_engine_that_hangs_ends_the_server() {
    let gate = Gate::default();
    let server = Running::new(judge(1, 2, &gate), Config { step_seconds: 1, ..Config::default() });
    let waiting = server.connect(posted("/v1/compare", "", &pair(50, 1).to_string()).as_bytes());
    // Its last handle waits for the engine.
    let judge = server.judge.clone();
    match server.ended() {
        Ended::Fault { reason } => assert!(reason.contains("over the limit of 1000 ms"), "{reason}"),
        other => panic!("{other:?}"),
    }
    gate.open();
    drop((waiting, judge));
}

/// F9, D7: heads and bodies that do not come, and answers that are not taken, end their connections.
#[test]
fn clients_that_dawdle_are_let_go() {
    let config =
        Config { head_seconds: 1, body_seconds: 2, stall_seconds: 1, write_seconds: 1, ..Config::default() };
    let server = Running::new(judge(1, 2, &Gate::default()), config);
    let silent = server.connect(b"");
    let half = server.connect(b"POST /v1/compare HTTP/1.1\r\nhost:");
    let body = server.connect(posted("/v1/compare", "", &pair(1, 2).to_string()).split_at(900).0.as_bytes());
    let stuffed = server.connect("GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(4000).as_bytes());
    assert_eq!((Reply::of(silent).status, Reply::of(half).status), (0, 0));
    Reply::of(body).is(408, "body_too_slow");
    wait_for("only the asking connection is open", || counter(&server, "rewardrt_connections") == Some(1.0));
    drop(stuffed);
    server.is_as_new();
}

/// D7: heads and bodies over the limits are refused, and cost no memory.
#[test]
fn requests_over_the_limits_are_refused() {
    let config =
        Config { max_body_bytes: 4000, max_bodies_bytes: 3000, max_connections: 3, ..Config::default() };
    let server = Running::new(judge(1, 2, &Gate::default()), config);
    server.post_with("/v1/compare", "", &"x".repeat(4001)).is(413, "body_too_large");
    server.post_with("/v1/compare", "", &"x".repeat(3500)).is(429, "busy");
    let chunked = format!(
        "POST /v1/compare HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
        format!("800\r\n{}\r\n", "x".repeat(2048)).repeat(3)
    );
    server.send(&chunked).is(413, "body_too_large");
    let long = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(64 << 10));
    assert!([431, 0].contains(&server.send(&long).status));
    let many = format!("GET /livez HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: x\r\n".repeat(80));
    assert!([431, 0].contains(&server.send(&many).status));
    server.post_with("/v1/compare", "content-type: text/plain\r\n", "{}").is(415, "body_unsupported");
    server.post_with("/v1/compare", "content-encoding: gzip\r\n", "{}").is(415, "body_unsupported");
    // The connections before these may still be closing.
    let mut idle = Vec::new();
    wait_for("three are open", || {
        let mut stream = server.connect(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
        let is_taken = stream.read_exact(&mut [0; 12]).is_ok();
        idle.extend(is_taken.then_some(stream));
        idle.len() == 3
    });
    assert_eq!(server.get("/livez").status, 0);
    drop(idle);
    wait_for("there is room again", || server.get("/livez").status == 200);
    server.is_as_new();
}

/// F10: what was taken is answered, what comes is refused, and then the server ends.
#[test]
fn a_server_that_is_told_to_end_answers_what_it_took() {
    let gate = Gate::default();
    let server = Running::new(judge(1, 2, &gate), Config::default());
    let taken = server.connect(posted("/v1/compare", "", &pair(50, 1).to_string()).as_bytes());
    server.until("it is taken", |stats| stats.calls == 1);
    server.handle.drain();
    server.get("/readyz").is(503, "draining");
    assert_eq!(server.get("/livez").status, 200);
    let refused = server.post("/v1/compare", &pair(1, 2));
    refused.is(503, "draining");
    assert!(
        refused.head.contains("connection: close") && refused.head.contains("retry-after: "),
        "{refused:?}"
    );
    gate.open();
    assert_eq!(Reply::of(taken).json()["winner"], "first");
    assert_eq!(server.ended(), Ended::Drained);
}

#[test]
fn a_server_that_is_told_twice_ends_at_once() {
    let gate = Gate::default();
    let server = Running::new(judge(1, 2, &gate), Config::default());
    let taken = server.connect(posted("/v1/compare", "", &pair(50, 1).to_string()).as_bytes());
    server.until("it is taken", |stats| stats.calls == 1);
    // Its last handle waits for the engine.
    let judge = server.judge.clone();
    server.handle.drain();
    server.handle.end();
    assert_eq!(server.ended(), Ended::Abandoned { requests: 1 });
    gate.open();
    drop((taken, judge));
}

#[test]
fn the_time_for_requests_at_work_is_bounded() {
    let gate = Gate::default();
    let server = Running::new(judge(1, 2, &gate), Config { grace_seconds: 1, ..Config::default() });
    let taken = server.connect(posted("/v1/compare", "", &pair(50, 1).to_string()).as_bytes());
    server.until("it is taken", |stats| stats.calls == 1);
    let judge = server.judge.clone();
    server.handle.drain();
    assert_eq!(server.ended(), Ended::Abandoned { requests: 1 });
    gate.open();
    drop((taken, judge));
}

/// D5: every route but the probes and the page asks for a token, and so does what is no route.
#[test]
fn without_a_token_only_probes_and_the_page_are_open() {
    let config = Config { token: TOKEN.to_owned(), ..Config::default() };
    let server = Running::new(judge(1, 2, &Gate::default()), config);
    let paths = server.get("/livez");
    assert_eq!(paths.status, 200);
    let bearing = format!(
        "GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    let document = server.send(&bearing).json();
    let mut walked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let method = methods.as_object().unwrap().keys().next().unwrap().to_uppercase();
        let reply = server.send(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        if ["/", "/livez", "/readyz", "/health"].contains(&path.as_str()) {
            assert_eq!(reply.status, 200, "{path}");
        } else {
            reply.is(401, "unauthorized");
            walked += 1;
        }
    }
    assert!(walked >= 9);
    for path in ["//v1/models", "/v1/models/", "/V1/models", "/livez/../info", "/nowhere", "/livez/x"] {
        server.get(path).is(401, "unauthorized");
    }
    let odd = "GET /info HTTP/1.1\r\nhost: /livez\r\nconnection: close\r\n\r\n";
    assert!([400, 401].contains(&server.send(odd).status));
    let wrong = format!("authorization: Bearer {}\r\n", &TOKEN[..15]);
    server.post_with("/v1/compare", &wrong, "{}").is(401, "unauthorized");
    let right = format!("authorization: Bearer {TOKEN}\r\n");
    assert_eq!(server.post_with("/v1/compare", &right, &pair(2, 1).to_string()).status, 200);
}

/// D6: nobody listens beyond this machine by accident.
#[test]
fn an_address_beyond_this_machine_is_refused_without_a_token() {
    let judge: Judge = judge(1, 2, &Gate::default());
    let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let config = Config { listen, ..Config::default() };
    let refused = runtime.block_on(Server::bind(config.clone(), judge.clone())).err();
    assert!(
        matches!(refused, Some(ServeError::Config(ConfigError::Value { key: "listen", .. }))),
        "{refused:?}"
    );
    let token = Config { token: TOKEN.to_owned(), ..config };
    assert!(runtime.block_on(Server::bind(token, judge)).is_ok());
}

/// A connection that is kept answers one request after the other, and a half-closed one still gets its answer.
#[test]
fn a_connection_is_kept() {
    let server = Running::new(judge(1, 2, &Gate::default()), Config::default());
    let mut stream = server.connect(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let rest = Reply::of(stream);
    assert!(rest.body.contains("\"status\":\"ready\""), "{rest:?}");
}
