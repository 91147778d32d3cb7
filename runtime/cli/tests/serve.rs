//! The program as a server: the built-in model over HTTP, and the signals that end it.

// The helpers below are test code too, which the lint cannot see.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

const PROMPT: &str = "two green circles left of one yellow square";

/// A cache folder for all tests of this file: the built-in package is made once.
fn cache() -> &'static Path {
    static CACHE: OnceLock<TempDir> = OnceLock::new();
    CACHE.get_or_init(|| TempDir::new().unwrap()).path()
}

fn rewardrt(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rewardrt"));
    command.args(args).env("REWARDRT_CACHE", cache()).env_remove("REWARDRT_MODEL");
    command
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes-judge/examples").join(name)
}

/// A server, and where it answers.
struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    fn new() -> Serving {
        let mut command = rewardrt(&["serve", "--listen", "127.0.0.1:0", "--json", "--quiet"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Serving { child, address: ready["address"].as_str().unwrap().to_owned() }
    }

    fn compare(&self, first: &str, second: &str) -> Value {
        let mut body = Vec::new();
        let mut part = |head: &str, content: &[u8]| {
            let head = format!("--sep\r\ncontent-disposition: form-data; name={head}\r\n\r\n");
            body.extend([head.as_bytes(), content, b"\r\n"].concat());
        };
        part("\"prompt\"", PROMPT.as_bytes());
        part("\"first\"; filename=\"a\"", &std::fs::read(example(first)).unwrap());
        part("\"second\"; filename=\"b\"", &std::fs::read(example(second)).unwrap());
        body.extend(b"--sep--\r\n");
        let head = format!(
            "POST /v1/compare HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\
             content-type: multipart/form-data; boundary=sep\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// Sends SIGTERM and waits; gives the exit code.
    fn ended(mut self) -> Option<i32> {
        let told = Command::new("sh").args(["-c", &format!("kill {}", self.child.id())]).status().unwrap();
        assert!(told.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // One that has ended cannot be ended again.
        let _ = self.child.kill();
    }
}

#[test]
fn the_built_in_model_answers_over_http_as_on_the_command_line_and_ends_by_a_signal() {
    let serving = Serving::new();
    let got = serving.compare("0004a.png", "0004b.png");
    let (a, b) = (example("0004a.png"), example("0004b.png"));
    let args = ["compare", "--json", "--quiet", "--prompt", PROMPT, a.to_str().unwrap(), b.to_str().unwrap()];
    let expected: Value = serde_json::from_slice(&rewardrt(&args).output().unwrap().stdout).unwrap();
    for field in ["winner", "status", "report", "text", "model", "pack"] {
        assert_eq!(got[field], expected[field], "{field}");
    }
    // How many tokens a run verifies depends on time, and with it the last bits of floats.
    let p = |verdict: &Value| verdict["p_first"].as_f64().unwrap();
    assert!((p(&got) - p(&expected)).abs() < 1e-6, "{} {}", p(&got), p(&expected));
    assert_eq!(serving.ended(), Some(0));
}

#[test]
fn settings_are_printed_and_those_that_cannot_be_are_refused() {
    let print = rewardrt(&["serve", "--print-config", "--queue", "7"])
        .env("REWARDRT_SERVE_SLOTS", "3")
        .output()
        .unwrap();
    let text = String::from_utf8(print.stdout).unwrap();
    assert!(text.contains("\nqueue = 7\n") && text.contains("\nslots = 3\n"), "{text}");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("serve.toml");
    std::fs::write(&file, &text).unwrap();
    let again = rewardrt(&["serve", "--print-config", "--config", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(String::from_utf8(again.stdout).unwrap(), text);
    for (args, expected) in [
        (vec!["serve", "--listen", "0.0.0.0:0"], "name a token_file"),
        (vec!["serve", "--queue", "many"], "queue: give a whole number"),
        (vec!["serve", "--colour", "red"], "unexpected argument"),
    ] {
        let refused = rewardrt(&args).output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(2) && said.contains(expected), "{said}");
    }
}
