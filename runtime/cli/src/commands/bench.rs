//! `rewardrt bench`: how fast does a package judge on this machine?

use std::fs::File;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use rewardrt::bench::{
    self, Asked, Benchmark, Inputs, Latency, Load, Machine, Offered, Pictures, Rate, Sample, Software,
    Throughput, html,
};
use rewardrt::judge::{CompareOptions, DEFAULT_SLOTS, Mode};
use rewardrt::session::library;
use rewardrt::{Judge, Picture};
use rewardrt_models::prompt::pack::Task;

use super::Context;
use super::question::Chosen;
use crate::failure::Failure;
use crate::output::{plain, table};
use crate::progress::Progress;

const EXAMPLES: &str = "\
Measures pairs one after the other, then a group of pictures, then, with --rate, pairs
that arrive at random instants whether or not the earlier ones are done. A percentile
is shown when one judgement is expected above it: p50 takes 2, p95 20 and p99 100.

Examples:
  rewardrt bench
  rewardrt bench --model judge --count 100 --html report.html
  rewardrt bench --model judge --group 9 --slots 1,2,4,8 --json
  rewardrt bench --model judge --rate 0.5 --count 200 a.png b.png c.png

Exit code 0 says that it was measured; judgements that failed are counted in the result.";

/// Pictures of a group, at most: 190 pairs.
const MAX_GROUP: usize = 20;
/// Slots of a sweep, at most.
const MAX_SLOTS: usize = 64;
/// Clients, at most: each is a thread.
const MAX_CLIENTS: usize = 1024;
const PROMPT: &str = "three red circles left of one blue square";

/// Arguments of `bench`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// Pictures to judge, two or more, over and over [default: drawn ones, every one another]
    #[arg(value_name = "PICTURE", num_args = 2.., conflicts_with = "size")]
    pictures: Vec<PathBuf>,
    /// Size of drawn pictures, in pixels
    #[arg(long, value_name = "WxH", default_value = "512x512")]
    size: Pictures,
    /// What the pictures are judged against
    #[arg(long, value_name = "TEXT", default_value = PROMPT)]
    prompt: String,
    /// Judgements that are measured, one after the other and again at the rate
    #[arg(long, value_name = "N", default_value = "20")]
    count: NonZeroUsize,
    /// Pictures of the group
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u8).range(2..=MAX_GROUP as i64))]
    group: u8,
    /// Sequences that decode together; with several numbers the group is judged with each, the rest with the first
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [DEFAULT_SLOTS as u8],
        value_parser = clap::value_parser!(u8).range(1..=MAX_SLOTS as i64))]
    slots: Vec<u8>,
    /// Judgements that arrive in a second, on average, whether or not the earlier ones are done
    #[arg(long, value_name = "R")]
    rate: Option<Rate>,
    /// Threads that ask at the rate; each waits for its answer
    #[arg(long, value_name = "N", default_value = "16", requires = "rate",
        value_parser = clap::value_parser!(u16).range(1..=MAX_CLIENTS as i64))]
    clients: u16,
    /// Seed of drawn pictures and of arrivals
    #[arg(long, value_name = "S", default_value = "0")]
    seed: u64,
    /// Skip the reports and weigh the two winners only
    #[arg(long, conflicts_with = "max_new_tokens")]
    verdict_only: bool,
    /// Most tokens of an answer, when fewer than the pack allows: what a model with random weights writes
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<NonZeroUsize>,
    /// Write a report with plots: one page that opens without a network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Measures, and prints the figures.
pub(crate) fn run(context: &Context<'_>, args: &BenchArgs) -> Result<ExitCode, Failure> {
    // Opened before the work, so that a place that cannot be written to costs no hours.
    let page = args.html.as_ref().map(|path| File::create(path).map_err(Failure::write(path))).transpose()?;
    let date = bench::date(SystemTime::now());
    let inputs = inputs(args);
    let measured = measure(context, args, &inputs)?;
    let benchmark = document(context, args, &inputs, (date, &measured))?;
    if let (Some(path), Some(mut file)) = (&args.html, page) {
        let page = html::page(&benchmark, &measured.latency, &measured.load);
        file.write_all(page.as_bytes()).map_err(Failure::write(path))?;
    }
    context.output.result(&benchmark, || text(&benchmark))?;
    for warning in benchmark.warnings() {
        context.output.note(&plain(&warning));
    }
    Ok(ExitCode::SUCCESS)
}

fn inputs(args: &BenchArgs) -> Inputs {
    let pictures = match (&args.size, args.pictures.as_slice()) {
        (Pictures::Drawn { width, height, .. }, []) => {
            Pictures::Drawn { width: *width, height: *height, seed: args.seed }
        }
        (_, paths) => Pictures::Given(paths.iter().cloned().map(Picture::Path).collect()),
    };
    let options = CompareOptions {
        verdict_only: args.verdict_only,
        max_new_tokens: args.max_new_tokens.map(NonZeroUsize::get),
        ..CompareOptions::default()
    };
    Inputs { options, ..Inputs::new(args.prompt.clone(), pictures) }
}

/// What was measured.
struct Measured {
    /// The judge with the first number of slots.
    judge: Judge,
    latency: Vec<Sample>,
    throughput: Vec<Throughput>,
    load: Vec<Sample>,
}

fn measure(context: &Context<'_>, args: &BenchArgs, inputs: &Inputs) -> Result<Measured, Failure> {
    let mut progress = Progress::items(context.output);
    let mut show = |stage, done: usize, of: usize| progress.set(stage, done as u64, of as u64);
    let package = context.model()?;
    let open = |slots: u8| -> Result<Judge, Failure> {
        let judge = context.builder(Some(Chosen::Task(Task::ImagePair)))?.slots(slots.into());
        let judge = judge.open(&package)?;
        bench::warm_up(&judge, inputs)?;
        Ok(judge)
    };
    let slots = args.slots.split_first();
    let (first, others) = slots.ok_or_else(|| Failure::Usage("--slots needs a number".to_owned()))?;
    let judge = open(*first)?;
    let count = args.count.get();
    let latency = bench::latency(&judge, inputs, 0..count, &mut |done, of| show("single pairs", done, of));
    let load = match offered(args) {
        Some(offered) => bench::load(&judge, inputs, offered, &mut |done, of| show("at the rate", done, of)),
        None => Vec::new(),
    };
    // Pictures behind those of all pairs before.
    let numbers = 4 * count..4 * count + usize::from(args.group);
    let mut group = |judge: &Judge, slots: u8| {
        let size = (usize::from(slots), numbers.clone());
        bench::throughput(judge, inputs, size, &mut |done, of| show("group", done, of))
    };
    let mut throughput = vec![group(&judge, *first)?];
    for slots in others {
        throughput.push(group(&open(*slots)?, *slots)?);
    }
    Ok(Measured { judge, latency, throughput, load })
}

fn offered(args: &BenchArgs) -> Option<Offered> {
    let (count, clients, seed) = (args.count.get(), args.clients.into(), args.seed);
    // Its pairs are behind those that were judged one after the other.
    args.rate.map(|rate| Offered { rate, first: count, count, clients, seed })
}

fn document(
    context: &Context<'_>,
    args: &BenchArgs,
    inputs: &Inputs,
    (date, measured): (String, &Measured),
) -> Result<Benchmark, Failure> {
    let Measured { judge, latency, throughput, load } = measured;
    let library = library::load(context.global.ort_lib.as_deref()).map_err(rewardrt::Error::from)?;
    let placements = judge.placements().iter();
    let software = Software {
        rewardrt: env!("CARGO_PKG_VERSION").to_owned(),
        onnxruntime: library.version().to_owned(),
        providers: placements.map(|p| format!("{} on {}", p.component, p.provider)).collect(),
        threads: context.threads().get(),
    };
    let pack = judge.pack();
    let most = args.max_new_tokens.map_or(pack.max_new_tokens as usize, NonZeroUsize::get);
    let asked = Asked {
        prompt: inputs.prompt.clone(),
        pictures: inputs.pictures.to_string(),
        mode: if args.verdict_only { Mode::VerdictOnly } else { Mode::Report },
        max_new_tokens: if args.verdict_only { 0 } else { most },
        slots: throughput.first().map_or(0, |first| first.slots),
        warm_up: bench::WARM_UP,
        seed: args.seed,
    };
    Ok(Benchmark {
        date,
        model: judge.model(),
        pack: pack.identity(),
        software,
        machine: Machine::here(),
        asked,
        load_ms: judge.load_ms(),
        latency: Latency::of(latency),
        throughput: throughput.clone(),
        load: offered(args).map(|offered| Load::of(offered, load)),
        peak_memory_bytes: bench::peak_memory(),
    })
}

/// The figures for people.
fn text(benchmark: &Benchmark) -> String {
    let lines = benchmark.lines();
    let width = lines.iter().map(|[name, _]| name.chars().count()).max().unwrap_or(0);
    let mut out: String =
        lines.iter().map(|[name, value]| format!("{name:<width$}  {}\n", plain(value))).collect();
    out += &format!("\nSingle pairs\n{}", table(bench::TIMES, &benchmark.latency_rows()));
    out += &format!("\nGroups\n{}", table(bench::GROUPS, &benchmark.throughput_rows()));
    if let Some(load) = &benchmark.load {
        out += &format!("\nUnder load\n{}\n\n{}", load.sentence(), table(bench::TIMES, &load.rows()));
    }
    out
}
