//! `rewardrt`: export a checkpoint, look into a package, judge pictures.
//!
//! This file is the table of contents: a command a module. What is absent: no mathematics, no parsing of models'
//! words, no ONNX Runtime; those are the libraries'. Everything printed goes through [`output`].

mod args;
mod commands;
mod embedded;
mod failure;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use commands::Context;
use failure::Failure;
use output::Output;

fn main() -> ExitCode {
    #[cfg(feature = "video")]
    rewardrt::media::video::worker_main();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return output::usage(&error),
    };
    let output = Output::new(args.global.json, args.global.quiet);
    // A server's log is told by its configuration, which is read by then.
    if !matches!(args.command, Command::Serve(_)) {
        output.start_log();
    }
    match run(args, &output) {
        Ok(code) => code,
        Err(failure) => output.failure(&failure),
    }
}

fn run(args: Args, output: &Output) -> Result<ExitCode, Failure> {
    let context = Context { global: &args.global, output };
    match args.command {
        Command::Export(args) => commands::export::run(&context, args),
        Command::Inspect(args) => commands::inspect::run(&context, &args),
        Command::Generate(args) => commands::generate::run(&context, &args),
        Command::Compare(args) => commands::compare::run(&context, &args),
        Command::Rank(args) => commands::rank::run(&context, &args),
        Command::Score(args) => commands::score::run(&context, &args),
        Command::Serve(args) => commands::serve::run(&context, &args),
        Command::Frames(args) => commands::frames::run(&context, &args),
        Command::Eval(args) => commands::eval::run(&context, &args),
        Command::Bench(args) => commands::bench::run(&context, &args),
        Command::Pack(command) => commands::pack::run(&context, &command),
        Command::Doctor => commands::doctor::run(&context),
        Command::Completions(args) => commands::completions::run(&context, &args),
    }
}
