//! The machine: processor, cores, memory, disk.

use std::fs;
use std::process::Command;

use super::Check;
use crate::output::bytes;

/// Memory below which even a small model and its pictures do not fit.
const LITTLE_MEMORY: u64 = 1 << 30;
/// Room below which no package of a real checkpoint can be written.
const LITTLE_DISK: u64 = 1 << 30;

/// Which of the instructions that ONNX Runtime's kernels choose by are there.
pub(super) fn processor() -> Check {
    let found = features();
    let has = |name| found.iter().any(|(n, there)| *n == name && *there);
    let list: Vec<_> = found.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    let shown = format!(
        "{}: {}",
        std::env::consts::ARCH,
        if list.is_empty() { "none of note".into() } else { list.join(" ") }
    );
    if has("avx2") || has("dotprod") {
        Check::ok("processor", shown)
    } else {
        Check::note(
            "processor",
            shown,
            "without AVX2 (or dotprod on Arm) everything works, several times slower",
        )
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<(&'static str, bool)> {
    vec![
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<(&'static str, bool)> {
    use std::arch::is_aarch64_feature_detected;
    vec![
        ("dotprod", is_aarch64_feature_detected!("dotprod")),
        ("i8mm", is_aarch64_feature_detected!("i8mm")),
        ("fp16", is_aarch64_feature_detected!("fp16")),
        ("bf16", is_aarch64_feature_detected!("bf16")),
        ("sve", is_aarch64_feature_detected!("sve")),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<(&'static str, bool)> {
    Vec::new()
}

/// Cores that this process may use.
pub(super) fn cores() -> Check {
    match std::thread::available_parallelism() {
        Ok(n) => Check::ok("cores", format!("{n}; --threads changes how many are used")),
        Err(error) => Check::note("cores", format!("not known: {error}"), "give --threads"),
    }
}

/// Memory that is free for a model, bytes: of the machine, and of the container when that has less.
pub(super) fn usable() -> Option<u64> {
    let free = kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    Some(limit().unwrap_or(u64::MAX).min(free))
}

/// What a container may take at most, bytes.
fn limit() -> Option<u64> {
    fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok())
}

/// Memory of the machine, and of the container when it has less.
pub(super) fn memory() -> Check {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let limit = limit();
    let (Some(total), Some(free)) = (kilobytes(&text, "MemTotal:"), kilobytes(&text, "MemAvailable:")) else {
        return Check::note("memory", "not known", "make sure that a package's size fits twice");
    };
    let usable = limit.unwrap_or(u64::MAX).min(free);
    let mut found = format!("{} free of {}", bytes(free), bytes(total));
    if let Some(limit) = limit.filter(|limit| *limit < total) {
        found += &format!(", at most {} for this container", bytes(limit));
    }
    match usable < LITTLE_MEMORY {
        true => Check::note("memory", found, "free some: a model needs its package's size and more"),
        false => Check::ok("memory", found),
    }
}

/// Room on the disk of the working folder.
pub(super) fn disk() -> Check {
    let output = Command::new("df").args(["-Pk", "."]).output();
    let free = output.ok().and_then(|o| available(&String::from_utf8_lossy(&o.stdout)));
    match free {
        None => {
            Check::note("disk", "not known", "make sure that a package's size fits beside the checkpoint")
        }
        Some(free) if free < LITTLE_DISK => {
            Check::note("disk", format!("{} free here", bytes(free)), "free some before an export")
        }
        Some(free) => Check::ok("disk", format!("{} free here", bytes(free))),
    }
}

/// A line of `/proc/meminfo`, in bytes.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The fourth column of what `df -Pk` prints, in bytes. The first may hold spaces, so it is counted from the
/// percentage.
fn available(text: &str) -> Option<u64> {
    let words: Vec<_> = text.lines().nth(1)?.split_whitespace().collect();
    let percent = words.iter().position(|w| w.strip_suffix('%').is_some_and(|n| n.parse::<u8>().is_ok()))?;
    words.get(percent.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(got: Option<u64>, expected: Option<u64>) {
        assert_eq!(got, expected);
    }

    #[test]
    fn the_systems_tables_are_read_or_said_to_be_unknown() {
        let meminfo = "MemTotal:       16 kB\nMemFree:   1 kB\nMemAvailable:    8 kB\n";
        check(kilobytes(meminfo, "MemAvailable:"), Some(8192));
        check(kilobytes(meminfo, "SwapTotal:"), None);
        check(kilobytes("MemTotal: x kB", "MemTotal:"), None);
        let df = "Filesystem 1024-blocks Used Available Capacity Mounted on\n//a share 10 4 6 40% /mnt/x y\n";
        check(available(df), Some(6144));
        check(available("Filesystem\n"), None);
        check(available("h\n40%\n"), None);
    }
}
