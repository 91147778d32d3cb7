//! The machine that was measured on.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::text::strftime::strftime;

/// What a figure depends on besides the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Name of the processor; null where the system does not tell.
    pub processor: Option<String>,
    /// Instruction set, such as `x86_64`.
    pub architecture: &'static str,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in bytes, of the container when it has less; null where the system does not tell.
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// This one.
    pub fn here() -> Machine {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let limit = read("/sys/fs/cgroup/memory.max").trim().parse().ok();
        let memory = kilobytes(&read("/proc/meminfo"), "MemTotal");
        Machine {
            processor: field(&read("/proc/cpuinfo"), "model name").map(str::to_owned),
            architecture: std::env::consts::ARCH,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory.map(|memory| limit.unwrap_or(u64::MAX).min(memory)),
        }
    }
}

/// A time in UTC, as in `2026-11-24 15:04:05`; a clock before 1970 says 1970.
pub fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // The directives are constants of this line; were one not known, the seconds would do.
    strftime(seconds, "%Y-%m-%d %H:%M:%S").unwrap_or_else(|_| seconds.to_string())
}

/// The most memory that this process has held at a time, in bytes; none where the system does not tell.
pub fn peak_memory() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM")
}

/// The first value of a key in a table of `key : value` lines.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let pair = |line: &'a str| line.split_once(':').filter(|(name, _)| name.trim() == key);
    text.lines().find_map(pair).map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    field(text, key)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A table and a key in; the value as text and in bytes out.
    fn check(text: &str, key: &str, expected: (Option<&str>, Option<u64>)) {
        assert_eq!((field(text, key), kilobytes(text, key)), expected, "{key} of {text:?}");
    }

    #[test]
    fn dates_have_their_seconds_and_the_zone_is_utc() {
        let date = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(date(1_795_531_445), "2026-11-24 14:44:05");
        assert_eq!(date(0), "1970-01-01 00:00:00");
    }

    #[test]
    fn the_systems_tables_are_read_or_said_to_be_unknown() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz: rev 1\nmodel name\t: Other\n";
        check(cpuinfo, "model name", (Some("Some CPU @ 2 GHz: rev 1"), None));
        check(cpuinfo, "model", (None, None));
        check("MemTotal:   16 kB\nVmHWM:\t 3 kB\n", "VmHWM", (Some("3 kB"), Some(3072)));
        check("MemTotal: x kB\n", "MemTotal", (Some("x kB"), None));
        check("MemTotal:\n", "MemTotal", (None, None));
        check(&format!("MemTotal: {} kB", u64::MAX), "MemTotal", (Some(&format!("{} kB", u64::MAX)), None));
    }
}
