//! A verdict after thoughts is that between its own tags; printed, it reads as itself.

#![no_main]

mod answers;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rewardrt_models::prompt::pack::Pack;
use rewardrt_models::verdict::AnswerKind;

static PACKS: LazyLock<Vec<Pack>> = LazyLock::new(|| answers::packs(AnswerKind::Think));

fuzz_target!(|input: &[u8]| PACKS.iter().for_each(|pack| answers::pair(pack, input, true)));
