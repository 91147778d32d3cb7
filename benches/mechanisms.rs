//! What each mechanism of the engine adds: the same work with it and without, in turns, as ratios of their times.
//!
//! `cargo run --release -p rewardrt-benches --example mechanisms`

// What this program is for is the lines on its standard output.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::thread;

use rewardrt::decode::Options;
use rewardrt::judge::Usage;
use rewardrt::{Comparison, Group, Judge, Picture, Verdict};
use rewardrt_export::export;
use rewardrt_models::package::Precision;
use rewardrt_models::prompt::pack::Pack;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Times that each side is measured, one after the other, behind one that warms them up.
const ROUNDS: usize = 7;
/// Judgements of a round.
const JUDGEMENTS: usize = 24;
/// Prompts that the shapes judge knows, and one that it does not.
const PROMPTS: [&str; 4] = [
    "four blue triangles",
    "two red circles left of one black square",
    "one red square",
    "three large circles in a box",
];

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/shapes-judge");
    for precision in [Precision::Fp32, Precision::Int8, Precision::W8a8] {
        let package = exported(shapes.join("checkpoint"), folder.path().join(precision.name()), precision)?;
        for slots in [1, 8] {
            drafts(&package, &shapes.join("examples"), (precision, slots))?;
        }
        group_of_shapes(&package, &shapes.join("examples"), precision)?;
    }
    Ok(())
}

fn exported(checkpoint: PathBuf, out: PathBuf, precision: Precision) -> Result<PathBuf> {
    let options = rewardrt_export::Options {
        checkpoint,
        out: out.clone(),
        precision,
        name: None,
        pack: None,
        force: false,
    };
    export(&options, &mut |_| {})?;
    Ok(out)
}

/// A shapes judge with so many slots.
fn open(package: &Path, slots: usize, options: Options) -> Result<Judge> {
    let builder = Judge::builder().pack(Pack::builtin("shapes-judge")?).tokens(512).slots(slots);
    Ok(builder.decode(options).open(package)?)
}

fn plain() -> Options {
    Options { speculate: false, ..Options::default() }
}

/// Reports with drafts and without, alone and some at a time: the time of decoding where they are alone, else of all.
fn drafts(package: &Path, examples: &Path, (precision, slots): (Precision, usize)) -> Result<()> {
    let judges = [open(package, slots, Options::default())?, open(package, slots, plain())?];
    let (mut ratios, mut usage) = (Vec::new(), Usage::default());
    for round in 0..=ROUNDS {
        let [with, without] = [reports(&judges[0], examples, slots)?, reports(&judges[1], examples, slots)?];
        if round > 0 {
            ratios.push(without.1 / with.1);
            usage = [usage, with.0].into_iter().sum();
        }
    }
    let share = |n: usize| n as f64 / usage.runs as f64;
    println!(
        "{}, {slots} at a time: without drafts {} as long; {:.2} drafted and {:.2} accepted a verification, {:.2} tokens a run",
        precision.name(),
        median(ratios),
        share(usage.drafted),
        share(usage.accepted),
        share(usage.accepted) + 1.0,
    );
    Ok(())
}

/// Judgements by as many threads as slots: their tokens, and the milliseconds of decoding or of all.
fn reports(judge: &Judge, examples: &Path, slots: usize) -> Result<(Usage, f64)> {
    let picture =
        |at: usize| Picture::Path(examples.join(format!("{:04}{}.png", at / 2 % 6, ["a", "b"][at % 2])));
    let ask = |number: usize| -> Result<Verdict> {
        let (first, second) = (picture(number), picture(number + 1 + number / 12));
        Ok(judge.compare(&Comparison::images(PROMPTS[number % PROMPTS.len()], first, second))?)
    };
    let lane = |lane: usize| (lane..JUDGEMENTS).step_by(slots).map(ask).collect::<Result<Vec<Verdict>>>();
    let start = std::time::Instant::now();
    let verdicts = thread::scope(|scope| {
        let threads: Vec<_> = (0..slots).map(|n| scope.spawn(move || lane(n))).collect();
        threads.into_iter().map(|t| t.join().map_err(|_| "a thread panicked")?).collect::<Result<Vec<_>>>()
    })?
    .concat();
    let whole = start.elapsed().as_secs_f64() * 1e3;
    let decode = verdicts.iter().map(|verdict| verdict.timing_ms.decode).sum::<f64>();
    let usage = verdicts.iter().map(|verdict| verdict.usage).sum();
    Ok((usage, if slots == 1 { decode } else { whole }))
}

/// A group of nine pictures, 36 reports, with everything and with one mechanism less.
fn group_of_shapes(package: &Path, examples: &Path, precision: Precision) -> Result<()> {
    let all = Options::default();
    let ways = [
        ("drafts", 8, plain()),
        ("shared beginnings", 8, Options { reuse: false, ..all }),
        ("slots side by side", 1, all),
        ("all of these", 1, Options { reuse: false, ..plain() }),
    ];
    let pictures =
        (0..9).map(|n| Picture::Path(examples.join(format!("{:04}{}.png", n / 2, ["a", "b"][n % 2]))));
    let group = Group::images(PROMPTS[0], pictures.collect());
    let pairs = |judge: &Judge| -> Result<f64> { Ok(judge.rank(&group)?.timing_ms.pairs) };
    let judges: Vec<Judge> =
        ways.iter().map(|&(_, slots, options)| open(package, slots, options)).collect::<Result<_>>()?;
    let whole = open(package, 8, all)?;
    let mut ratios = vec![Vec::new(); ways.len()];
    for round in 0..=ROUNDS {
        for (judge, ratios) in judges.iter().zip(&mut ratios) {
            // Each is measured beside its own run of everything.
            let (with, without) = (pairs(&whole)?, pairs(judge)?);
            if round > 0 {
                ratios.push(without / with);
            }
        }
    }
    for ((name, ..), ratios) in ways.iter().zip(ratios) {
        println!("{}, 36 reports: without {name} {} as long", precision.name(), median(ratios));
    }
    Ok(())
}

/// The median, and the extremes.
fn median(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let last = ratios.len() - 1;
    format!("{:.2} x ({:.2} to {:.2})", ratios[last / 2], ratios[0], ratios[last])
}
