//! All scores of the object, each a number that stands in the answer, or none; printed, they read as themselves.

#![no_main]

mod answers;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rewardrt_models::prompt::pack::Pack;
use rewardrt_models::verdict::AnswerKind;

static PACKS: LazyLock<Vec<Pack>> = LazyLock::new(|| answers::packs(AnswerKind::EditJson));

fuzz_target!(|input: &[u8]| PACKS.iter().for_each(|pack| answers::point(pack, input, true)));
