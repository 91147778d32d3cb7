//! The only place that prints. Results go to stdout; notes, logs, progress and errors to stderr.

use std::borrow::Cow;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use rewardrt::ErrorClass;
use rewardrt_server::LogFormat;
use serde::Serialize;
use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::failure::{Failure, code};

/// Environment variable with the log filter, such as `debug` or `rewardrt=trace`.
const LOG_VARIABLE: &str = "REWARDRT_LOG";

/// How this run speaks.
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    /// JSON or text, with notes or without.
    pub(crate) fn new(json: bool, quiet: bool) -> Output {
        Output { json, quiet }
    }

    /// Sends the process's log to stderr: warnings, with `--quiet` nothing, or what the variable says.
    pub(crate) fn start_log(&self) {
        let default = if self.quiet { "off" } else { "warn" };
        let wanted = std::env::var(LOG_VARIABLE).ok();
        let filter = wanted.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| default.into());
        // The first log of the process is this one; a second could only come from a test.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .without_time()
            .try_init();
    }

    /// Sends a server's log to stderr, with times: what became of requests, or what the variable says.
    pub(crate) fn start_server_log(&self, format: LogFormat) {
        let wanted = std::env::var(LOG_VARIABLE).ok();
        let default = if self.quiet { "warn" } else { "warn,rewardrt_server=info" };
        let filter = wanted.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| default.into());
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        // The first log of the process is this one; a second could only come from a test.
        let _ = match format {
            LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
            LogFormat::Json => log.json().flatten_event(true).try_init(),
        };
    }

    /// Whether bars may be drawn.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// The result of a command: one JSON document, or the text.
    pub(crate) fn result(
        &self,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let printed = match self.json {
            true => {
                serde_json::to_string(document).map_err(|e| Failure::Other(format!("the result: {e}")))?
            }
            false => text(),
        };
        print(&printed)
    }

    /// A remark that is no part of the result.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            complain(text);
        }
    }

    /// The end of a command that failed; its exit code.
    pub(crate) fn failure(&self, failure: &Failure) -> ExitCode {
        error(self.json, failure.class(), &failure.to_string())
    }
}

/// The end of a run whose arguments cannot be parsed, or that only asks for help.
pub(crate) fn usage(error_of_clap: &clap::Error) -> ExitCode {
    if !error_of_clap.use_stderr() {
        // Help and version, coloured where the terminal takes it. A closed pipe has read enough.
        let _ = error_of_clap.print();
        return ExitCode::SUCCESS;
    }
    // The flags could not be parsed, so this one is looked for by hand.
    if std::env::args_os().any(|arg| arg == "--json") {
        let text = error_of_clap.render().to_string();
        return error(true, ErrorClass::Usage, text.trim_start_matches("error: ").trim_end());
    }
    let _ = error_of_clap.print();
    ExitCode::from(ErrorClass::Usage.exit_code())
}

fn error(json: bool, class: ErrorClass, message: &str) -> ExitCode {
    if json {
        complain(&json!({ "error": { "code": code(class), "message": message } }).to_string());
    } else {
        complain(&format!("error: {message}"));
    }
    ExitCode::from(class.exit_code())
}

/// Writes a line to stdout. A reader that has gone away has read enough.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Failure::Other(format!("stdout: {e}"))),
        _ => Ok(()),
    }
}

/// Writes a line to stderr. When that fails there is nobody left to tell.
fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Columns with two spaces between them, the first to the left and the others to the right; no trailing spaces.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head = head.map(str::to_owned);
    let lines = std::iter::once(&head).chain(rows).map(|row| {
        let cells = row.iter().zip(widths).enumerate().map(|(i, (cell, width))| match i {
            0 => format!("{cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        });
        cells.collect::<String>().trim_end().to_owned() + "\n"
    });
    lines.collect()
}

/// Bytes for people.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let (mut value, mut unit) = (n as f64 / 1e3, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1e3, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// The text without control characters: what a model or a file says must not drive a terminal.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n' && c != '\t';
    match text.contains(bad) {
        true => Cow::Owned(text.replace(bad, "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(got: &str, expected: &str) {
        assert_eq!(got, expected);
    }

    #[test]
    fn bytes_keep_four_digits_at_most() {
        check(&bytes(0), "0 B");
        check(&bytes(999), "999 B");
        check(&bytes(1_000), "1.0 kB");
        check(&bytes(999_949), "999.9 kB");
        check(&bytes(999_951), "1.0 MB");
        check(&bytes(4_300_000_000), "4.3 GB");
        check(&bytes(u64::MAX), "18446744.1 TB");
    }

    #[test]
    fn columns_line_up_by_characters() {
        let rows = [["ä".to_owned(), "1".to_owned()], ["bbb".to_owned(), "22".to_owned()]];
        check(&table(["n", "size"], &rows), "n    size\nä       1\nbbb    22\n");
        check(&table(["n", "x"], &[["a".to_owned(), String::new()]]), "n  x\na\n");
    }

    #[test]
    fn terminals_are_not_driven_by_a_models_words() {
        check(&plain("a\u{1b}[31m\u{9b}b\tc\nd"), "a\u{fffd}[31m\u{fffd}b\tc\nd");
        assert!(matches!(plain("plain"), Cow::Borrowed("plain")));
    }
}
