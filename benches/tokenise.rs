//! From a chat to token ids: the report prompt of the image pair pack (about 500 tokens of a real vocabulary)
//! with two pictures, rendered, cut into segments and encoded.
//!
//! The demo checkpoint's vocabulary is small, so the prompt has more tokens than a real one. Name another
//! `tokenizer.json` in `REWARDRT_BENCH_TOKENIZER` to measure with that.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rewardrt::text::{ChatTemplate, Message, Part, PromptEncoder, RenderOptions, Role, Tokenizer};
use rewardrt_benches::demo_checkpoint;
use rewardrt_models::prompt::segment::MediaTokens;

const PROMPT: &str = include_str!("../models/packs/unifiedreward-flex-image/prompt.txt");
const CAPTION: &str = "three red circles left of a blue square, soft evening light, café in the background";

/// Vision tokens of a 512x512 picture in patches of 16, merged by 2.
const PICTURE: usize = 256;

fn encoder() -> PromptEncoder {
    let own = std::env::var_os("REWARDRT_BENCH_TOKENIZER").map(PathBuf::from);
    let file = own.unwrap_or_else(|| demo_checkpoint().join("tokenizer.json"));
    let tokenizer =
        Tokenizer::from_json(&std::fs::read(file).expect("a tokenizer.json")).expect("a tokenizer");
    let template =
        std::fs::read_to_string(demo_checkpoint().join("chat_template.jinja")).expect("a template");
    let template = ChatTemplate::new(&template, BTreeMap::new()).expect("a template that compiles");
    let media = MediaTokens { image: tokenizer.controls().id("<|image_pad|>"), video: None };
    PromptEncoder::new(tokenizer, template, media).expect("a placeholder token")
}

fn tokenise(c: &mut Criterion) {
    let encoder = encoder();
    let text = PROMPT.replace("{caption}", CAPTION);
    let parts = vec![Part::Image(0), Part::Image(1), Part::Text(text)];
    let chat = [Message::parts(Role::User, parts)];
    let options = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
    let run = || {
        let segments = encoder.segments(&chat, &options).expect("segments");
        encoder.encode(&segments, &[PICTURE; 2]).expect("ids")
    };
    let prompt = run();
    let mut group = c.benchmark_group("tokenise");
    group.throughput(Throughput::Elements((prompt.ids.len() - prompt.vision_tokens()) as u64));
    group.bench_function("report prompt", |b| b.iter(|| black_box(run())));
    group.bench_function("decode", |b| b.iter(|| black_box(encoder.tokenizer().decode(&prompt.ids, true))));
    group.finish();
}

criterion_group!(benches, tokenise);
criterion_main!(benches);
