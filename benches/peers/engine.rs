//! The slot engine of the library beside the peers: ids in, ids out, one JSON line a case. `run.py` starts it.

// What this program is for is the lines on its standard output.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use rewardrt::decode::{Engine, Event, Request, Ticket};
use rewardrt::load::Package;
use rewardrt::session::{OrtDecoder, SessionOptions, library};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Slots = Engine<OrtDecoder>;

/// Tokens that a sequence may make while the prompts of others are still read, between whose parts it goes on.
const SLACK: usize = 64;
/// Tokens before the first case, which are not measured.
const WARM_UP: (usize, usize, usize) = (1, 16, 3);

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let package = args.next().ok_or("usage: engine PACKAGE CASES")?;
    let cases: Vec<Value> = serde_json::from_str(&args.next().ok_or("usage: engine PACKAGE CASES")?)?;
    let number = |case: &Value, key: &str| case[key].as_u64().map(|n| n as usize).ok_or(key.to_owned());
    for case in &cases {
        let (batch, prompt) = (number(case, "batch")?, number(case, "prompt")?);
        let steps = number(case, "steps")?;
        let mut engine = open(Path::new(&package), batch, prompt + SLACK + steps)?;
        measure(&mut engine, WARM_UP)?;
        let line = measure(&mut engine, (batch, prompt, steps))?;
        println!("{line}");
    }
    Ok(())
}

fn open(package: &Path, slots: usize, tokens: usize) -> Result<Slots> {
    let library = library::load(None)?;
    let package = Package::open(package)?;
    let decoder = OrtDecoder::open(&library, &package, &SessionOptions::default(), (slots, tokens))?;
    Ok(Engine::new(decoder, &package.manifest().decoder.position))
}

/// The same ids as in `worker.py`.
fn ids(row: usize, prompt: usize) -> Vec<u32> {
    (0..prompt).map(|i| (10 + (i * 31 + row * 7919) % 1000) as u32).collect()
}

/// Reads the prompts, then times steps that make a token for every sequence.
fn measure(engine: &mut Slots, (batch, prompt, steps): (usize, usize, usize)) -> Result<Value> {
    let start = Instant::now();
    let admit = |row| engine.admit(Request::text(ids(row, prompt), SLACK + steps, Vec::new()));
    let tickets: Vec<Ticket> = (0..batch).map(admit).collect::<std::result::Result<_, _>>()?;
    let (mut next, mut begun) = (None, BTreeSet::new());
    while begun.len() < batch {
        for (ticket, event) in engine.step() {
            let Event::Token { id, .. } = event else { return Err("a prompt ended early".into()) };
            next = next.or((ticket == tickets[0]).then_some(id));
            begun.insert(ticket);
        }
    }
    let prefill = start.elapsed();
    let mut times: Vec<Duration> = Vec::with_capacity(steps);
    for _ in 0..steps {
        let start = Instant::now();
        let made = engine.step().len();
        times.push(start.elapsed());
        if made != batch {
            return Err(format!("a step made {made} tokens for {batch} sequences").into());
        }
    }
    for ticket in tickets {
        engine.cancel(ticket);
    }
    let steps: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    Ok(json!({ "prefill_s": prefill.as_secs_f64(), "steps_s": steps, "next": next }))
}
