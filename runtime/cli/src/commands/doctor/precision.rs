//! Which precision suits this machine, and why, in one line.

use rewardrt::session::IntegerUnits;
use rewardrt_models::package::Precision;

use super::{Check, machine};

/// Free memory below which only the smallest weights leave room for slots and pictures: a judge of 2 billion weights
/// takes 3 GB in int4 and 4 GB in the 8-bit precisions, one of 8 billion 6 and 10.
const SHORT_MEMORY: u64 = 5 << 30;

/// What `export --precision` is best told here.
pub(super) fn precision() -> Check {
    let (precision, reason) = choose(IntegerUnits::here(), machine::usable());
    Check::ok("precision", format!("{} suits this machine: {reason}", precision.name()))
}

/// The choice for a processor and the free memory, bytes.
fn choose(units: IntegerUnits, usable: Option<u64>) -> (Precision, String) {
    if usable.is_some_and(|free| free < SHORT_MEMORY) {
        return (Precision::Int4, "its memory is short, and 4 bits need the least".to_owned());
    }
    let reason = match units {
        IntegerUnits::Matrix | IntegerUnits::Dot => {
            format!("{units} multiplies 8-bit numbers, which no other precision makes full use of")
        }
        IntegerUnits::None => {
            "as exact as int8 and faster at prompts and pictures; int4 writes faster and is less exact"
                .to_owned()
        }
    };
    (Precision::W8a8, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(units: IntegerUnits, usable: Option<u64>, expected: (Precision, &str)) {
        let (precision, reason) = choose(units, usable);
        assert_eq!(precision, expected.0);
        assert!(reason.contains(expected.1), "{reason} lacks {}", expected.1);
    }

    #[test]
    fn units_and_memory_decide() {
        check(IntegerUnits::Matrix, Some(64 << 30), (Precision::W8a8, "multiplies 8-bit numbers"));
        check(IntegerUnits::Dot, None, (Precision::W8a8, "multiplies 8-bit numbers"));
        check(IntegerUnits::None, Some(64 << 30), (Precision::W8a8, "int4 writes faster"));
        check(IntegerUnits::Matrix, Some(2 << 30), (Precision::Int4, "memory is short"));
    }
}
