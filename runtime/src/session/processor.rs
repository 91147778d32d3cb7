//! What the processor offers to products of 8-bit integers.

use std::fmt;

/// How 8-bit products are summed up, from the fastest to the slowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IntegerUnits {
    /// A matrix unit: AMX on x86-64, `i8mm` on Arm.
    Matrix,
    /// Four products a lane, summed in 32 bits: VNNI on x86-64, `dotprod` on Arm.
    Dot,
    /// Nothing of the kind. On x86-64 two products are summed in 16 bits, which an unsigned and a signed operand can
    /// overflow; the sum is then cut.
    None,
}

impl IntegerUnits {
    /// Those of this machine.
    pub fn here() -> IntegerUnits {
        detect()
    }

    /// Whether ONNX Runtime's product of unsigned inputs with signed weights is wrong for large values unless it is
    /// told to keep to the slower exact one.
    pub fn saturate(self) -> bool {
        cfg!(target_arch = "x86_64") && self == IntegerUnits::None
    }
}

impl fmt::Display for IntegerUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arm = cfg!(target_arch = "aarch64");
        f.write_str(match self {
            IntegerUnits::Matrix if arm => "i8mm",
            IntegerUnits::Matrix => "AMX",
            IntegerUnits::Dot if arm => "dotprod",
            IntegerUnits::Dot => "VNNI",
            IntegerUnits::None => "no 8-bit units",
        })
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> IntegerUnits {
    // The standard library does not tell of AMX yet; the system does, and says nothing of it when it keeps it off.
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if has_flag(&flags, "amx_int8") {
        IntegerUnits::Matrix
    } else if is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni") {
        IntegerUnits::Dot
    } else {
        IntegerUnits::None
    }
}

#[cfg(target_arch = "aarch64")]
fn detect() -> IntegerUnits {
    use std::arch::is_aarch64_feature_detected;
    match (is_aarch64_feature_detected!("i8mm"), is_aarch64_feature_detected!("dotprod")) {
        (true, _) => IntegerUnits::Matrix,
        (false, true) => IntegerUnits::Dot,
        (false, false) => IntegerUnits::None,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> IntegerUnits {
    IntegerUnits::None
}

/// Whether the first processor of `/proc/cpuinfo` has a flag.
#[cfg(target_arch = "x86_64")]
fn has_flag(cpuinfo: &str, flag: &str) -> bool {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags"));
    flags.is_some_and(|flags| flags.split_whitespace().any(|found| found == flag))
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    fn check(cpuinfo: &str, expected: bool) {
        assert_eq!(has_flag(cpuinfo, "amx_int8"), expected, "{cpuinfo}");
    }

    #[test]
    fn a_flag_is_a_whole_word_of_the_flags_line() {
        check("processor\t: 0\nflags\t\t: fpu amx_bf16 amx_int8\n", true);
        check("flags\t\t: fpu amx_int8x\nbugs : amx_int8\n", false);
        check("", false);
    }
}
