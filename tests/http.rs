//! A server in this process, and the plainest of clients: what goes over the wire is what a test wrote.

// Each test file uses a part of this.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rewardrt::schedule::Stats;
use rewardrt::{Judge, JudgeBuilder};
use rewardrt_server::{Config, Ended, Handle, Server};
use rewardrt_tests::root;
use serde_json::{Value, json};

use crate::script::{Says, Stage};

/// The pack of the judges here: answers to a question about a picture.
pub(crate) const PACK: &str = "unifiedreward-image-understanding-pair";
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A door that a judge waits at before it answers.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets the judge go on, for good.
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(open, |open| !*open).unwrap());
    }
}

/// A judge of answers such as `no 7`, who prefers the higher number, falls at 99, and waits at the gate before 50. Any
/// other text it is asked about it continues with `ab` without an end.
pub(crate) fn judge(slots: usize, queue: usize, gate: &Gate) -> Judge {
    judge_with(Judge::builder().queue(queue), slots, gate)
}

pub(crate) fn judge_with(builder: JudgeBuilder, slots: usize, gate: &Gate) -> Judge {
    let gate = gate.clone();
    Stage::new().judge_with(builder, PACK, slots, move |_, prompt| {
        let number = |of: &str| -> Option<u32> {
            let digits = prompt.split_once(of)?.1.chars().take_while(char::is_ascii_digit);
            digits.collect::<String>().parse().ok()
        };
        let Some((a, b)) = number("Answer 1: no ").zip(number("Answer 2: no ")) else {
            return Says { text: "ab".repeat(5000), verdict: [0.0; 2], ends: false };
        };
        assert!(a != 99, "ninety-nine");
        if a == 50 {
            gate.wait();
        }
        Says::words(&format!("Answer {} is better.", if a > b { 1 } else { 2 }))
    })
}

/// A picture in base64.
pub(crate) fn picture() -> String {
    encoded(&std::fs::read(root().join("models/demo/ocean-1.webp")).unwrap())
}

/// Base64, as another than the server's.
pub(crate) fn encoded(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = ALPHABET[(group >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// The question which of two answers is better.
pub(crate) fn pair(a: u32, b: u32) -> Value {
    json!({ "prompt": "which is it?", "shown": [picture()], "answers": [format!("no {a}"), format!("no {b}")] })
}

/// A server that runs.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) judge: Judge,
    thread: Option<JoinHandle<Ended>>,
}

impl Running {
    /// Starts one on a port of the system's choice.
    pub(crate) fn new(judge: Judge, config: Config) -> Running {
        let config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..config };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(Server::bind(config, judge.clone())).unwrap();
        let (address, handle) = (server.address().unwrap(), server.handle());
        let thread = thread::spawn(move || {
            let ended = runtime.block_on(server.run());
            runtime.shutdown_background();
            ended
        });
        Running { address, handle, judge, thread: Some(thread) }
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        self.thread.take().unwrap().join().unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_with(path, "", &body.to_string())
    }

    /// Posts a body with more lines in its head.
    pub(crate) fn post_with(&self, path: &str, lines: &str, body: &str) -> Reply {
        self.send(&posted(path, lines, body))
    }

    pub(crate) fn send(&self, request: &str) -> Reply {
        Reply::of(self.connect(request.as_bytes()))
    }

    /// A connection on which this was sent.
    pub(crate) fn connect(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A server that has refused may have closed its side.
        let _ = stream.write_all(bytes);
        stream
    }

    /// Waits until the judge's counters are so.
    pub(crate) fn until(&self, what: &str, reached: impl Fn(&Stats) -> bool) {
        wait_for(what, || reached(&self.judge.stats()));
    }

    /// Nothing is held for anyone, and all that was taken has ended.
    pub(crate) fn is_as_new(&self) {
        let held = |s: &Stats| (s.calls, s.queued, s.waiting, s.running, s.kv_reserved) != (0, 0, 0, 0, 0);
        self.until("the judge is idle", |stats| !held(stats));
        let stats = self.judge.stats();
        assert_eq!(stats.entered, stats.done + stats.failed + stats.cancelled + stats.expired);
        wait_for("bodies are given back", || self.get("/metrics").body.contains("\nrewardrt_body_bytes 0\n"));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.end();
    }
}

/// A request with a JSON body.
pub(crate) fn posted(path: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    let kind = if lines.contains("content-type") { "" } else { "content-type: application/json\r\n" };
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{kind}{lines}\r\n{body}"
    )
}

/// Waits for what must come.
pub(crate) fn wait_for(what: &str, mut come: impl FnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 5 {
        if come() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("waited in vain until {what}");
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// Reads until the connection ends.
    pub(crate) fn of(mut stream: TcpStream) -> Reply {
        let mut bytes = Vec::new();
        // A connection that is reset after its answer has still answered.
        let _ = stream.read_to_end(&mut bytes);
        let _ = stream.shutdown(Shutdown::Both);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let head = head.to_lowercase();
        let body =
            if head.contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() };
        Reply { status, head, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Whether it is this refusal; every refusal has the four fields, and tells nothing of the inside.
    pub(crate) fn is(&self, status: u16, code: &str) -> Value {
        let error = self.json()["error"].clone();
        assert_eq!((self.status, error["code"].as_str()), (status, Some(code)), "{self:?}");
        let mut fields: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["code", "message", "param", "request_id"]);
        assert!(error["request_id"].as_str().is_some_and(|id| self.head.contains(id)), "{self:?}");
        for inside in ["src/", ".rs:", "0x", "panicked", "ninety-nine", "thread '"] {
            assert!(!self.body.contains(inside), "{inside} in {self:?}");
        }
        error
    }
}

/// A body that came in chunks.
fn unchunked(body: &str) -> String {
    let (mut rest, mut whole) = (body, String::new());
    while let Some((length, more)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        let Some(chunk) = more.get(..length).filter(|_| length > 0) else { break };
        whole += chunk;
        rest = &more[length + 2..];
    }
    whole
}
