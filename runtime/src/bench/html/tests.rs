use rewardrt_models::prompt::pack::PackIdentity;

use super::*;
use crate::bench::document::tests::sample;
use crate::bench::{Answers, Asked, Latency, Machine, Offered, Software};
use crate::figures::page::tests::check_page;
use crate::judge::{Mode, ModelInfo};

const HOSTILE: &str = "</title><script>alert(1)</script><img src=x onerror=\"y\">'&\u{1b}[31m";

/// The page of a measurement whose every text is `text`, with this many judgements.
fn made(text: &str, count: u64) -> String {
    let samples: Vec<Sample> = (0..count).map(|i| sample([i, i, 30 + 2 * i], 9.0, 4)).collect();
    let offered = Offered { rate: "3".parse().unwrap(), first: 0, count: samples.len(), clients: 2, seed: 0 };
    let answers = Answers { verdicts: 5, truncated: 1, ..Answers::default() };
    let group = |slots| Throughput {
        slots,
        items: 4,
        pairs: 6,
        answers,
        seconds: 2.0,
        verdicts_per_second: slots as f64,
        written_per_second: 10.0,
        prompt_per_second: 100.0,
        new_tokens: 20,
        prompt_tokens: 200,
    };
    let mut latency = Latency::of(&samples);
    (latency.error, latency.answers.failed) = (Some(text.to_owned()), 1);
    let benchmark = Benchmark {
        date: text.to_owned(),
        model: ModelInfo { name: text.to_owned(), package_sha256: "0".to_owned(), precision: "fp32" },
        pack: PackIdentity { name: text.to_owned(), version: 1, prompt_sha256: String::new() },
        software: Software {
            rewardrt: text.to_owned(),
            onnxruntime: text.to_owned(),
            providers: vec![text.to_owned()],
            threads: 2,
        },
        machine: Machine {
            processor: Some(text.to_owned()),
            architecture: "x86_64",
            cores: 2,
            memory_bytes: None,
        },
        asked: Asked {
            prompt: text.to_owned(),
            pictures: text.to_owned(),
            mode: Mode::Report,
            max_new_tokens: 4,
            slots: 1,
            warm_up: 2,
            seed: 0,
        },
        load_ms: 1.0,
        latency,
        throughput: vec![group(1), group(2)],
        load: Some(Load::of(offered, &samples)),
        peak_memory_bytes: Some(3_000_000_000),
    };
    page(&benchmark, &samples, &samples)
}

#[test]
fn a_page_is_whole_loads_nothing_and_keeps_hostile_texts_texts() {
    check_page(&made("plain", 20), &made(HOSTILE, 20));
}

#[test]
fn all_tables_plots_and_warnings_are_there() {
    let page = made("plain", 20);
    for words in [
        "each token after it",
        "Latency of a verdict",
        "Mean time of each phase",
        "Verdicts per second by slots",
        "2 slots",
        "20 judgements offered at 3 a second by 2 clients",
        "Latency by time of arrival",
        "p95 ",
        "of 20 judgements not every percentile is shown: p99 takes 100.",
        "group with 2 slots: 1 of 6 were cut by the token limit.",
        "latency: 1 of 21 failed and have no time: plain.",
        "3.00 GB",
    ] {
        assert!(page.contains(words), "{words} is not in the page");
    }
}

#[test]
fn few_or_no_judgements_have_finite_places() {
    for count in [0, 1, 2] {
        let page = made("plain", count);
        assert!(page.contains("Latency") && !page.contains("NaN") && !page.contains("inf"), "{count}");
    }
}
