//! The command line as types: parsing, help and completions come from this one place.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use rewardrt::eval::Format;
use rewardrt::judge::{Constrain, Pairs};
use rewardrt::media::PixelRule;
use rewardrt::session::Providers;
use rewardrt_models::package::Precision;
use rewardrt_models::prompt::pack::Task;
use rewardrt_models::verdict::Ending;

use crate::commands::{
    bench, compare, completions, eval, export, frames, generate, inspect, pack, rank, score, serve,
};

const EXAMPLES: &str = "\
Examples:
  rewardrt export path/to/checkpoint --out judge --precision int4
  rewardrt compare --model judge --prompt \"a red fox in the snow\" first.png second.png
  rewardrt rank --model judge --prompt \"a red fox in the snow\" *.png
  rewardrt generate --model judge --messages chat.json --json
  rewardrt doctor

Exit codes: 0 done, 2 usage, 3 bad package, 4 bad input, 5 provider or library missing, 1 other.";

/// Runs vision reward models: a checkpoint becomes a package, and the package judges pictures.
#[derive(Parser)]
#[command(name = "rewardrt", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The package to use, a folder made by `rewardrt export` [default: the built-in shapes judge]
    #[arg(long, global = true, value_name = "DIR", env = "REWARDRT_MODEL", hide_env_values = true)]
    pub(crate) model: Option<PathBuf>,
    /// Where to compute: cpu, cuda, tensorrt, or a list of them, best first. Nothing outside the list is used
    #[arg(long, global = true, value_name = "LIST", default_value = "cpu")]
    pub(crate) provider: Providers,
    /// Threads of an operator [default: all cores]
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// The ONNX Runtime library [default: ORT_DYLIB_PATH, else libonnxruntime.so beside this program]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ort_lib: Option<PathBuf>,
    /// Write every token in a run of its own, without drafts: the same answers, later
    #[arg(long, global = true)]
    pub(crate) no_speculation: bool,
    /// Print one JSON document on stdout and nothing else; errors are JSON on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress, notes or warnings on stderr
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
}

/// What can be done.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Turn a checkpoint folder into a sealed package
    Export(export::ExportArgs),
    /// Verify a package and say what is in it
    Inspect(inspect::InspectArgs),
    /// Continue a chat with pictures
    Generate(generate::GenerateArgs),
    /// Judge two pictures, videos, edits, or answers, for a prompt
    Compare(compare::CompareArgs),
    /// Put many pictures, videos, or edits in order, by judging pairs of them
    Rank(rank::RankArgs),
    /// Score one picture, video, edit, or answer, for a prompt
    Score(score::ScoreArgs),
    /// Answer requests over HTTP
    Serve(Box<serve::ServeArgs>),
    /// Show which frames of a video a model is shown, and write them as pictures
    Frames(frames::FramesArgs),
    /// Measure how well a package judges labelled pairs
    Eval(eval::EvalArgs),
    /// Measure how fast a package judges on this machine
    Bench(bench::BenchArgs),
    /// Packs: the prompts and answer protocols of reward models
    #[command(subcommand)]
    Pack(pack::PackCommand),
    /// Say what this machine offers, and how to get what is missing
    #[command(after_help = "\
Examples:
  rewardrt doctor
  rewardrt doctor --json

Exit code 0 when models can run here, 5 otherwise.")]
    Doctor,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Reads a precision.
pub(crate) fn precision() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::ALL.map(Precision::name)).try_map(|name| {
        let found = Precision::ALL.into_iter().find(|p| p.name() == name);
        found.ok_or_else(|| format!("{name} is not a precision"))
    })
}

/// Reads the name of a task.
pub(crate) fn task() -> impl TypedValueParser<Value = Task> {
    let names = Task::ALL.map(|(_, name)| name);
    PossibleValuesParser::new(names)
        .try_map(|name| Task::from_name(&name).ok_or_else(|| format!("{name} is not a task")))
}

/// Reads which pairs of a group are judged.
pub(crate) fn pairs() -> impl TypedValueParser<Value = Pairs> {
    let values = Pairs::ALL.map(|(pairs, name)| {
        PossibleValue::new(name).help(match pairs {
            Pairs::All => "every two candidates",
            Pairs::Circular => "each candidate and the next, the last and the first",
            Pairs::Swiss => "in rounds, neighbours by win rate who have not met",
        })
    });
    PossibleValuesParser::new(values).try_map(|name| {
        let found = Pairs::ALL.into_iter().find(|(_, known)| *known == name);
        found.map(|(pairs, _)| pairs).ok_or_else(|| format!("{name} is no choice of pairs"))
    })
}

/// Reads the name of a format of labelled pairs.
pub(crate) fn format() -> impl TypedValueParser<Value = Format> {
    let names = Format::ALL.map(|(_, name)| name);
    PossibleValuesParser::new(names).try_map(|name| {
        let found = Format::ALL.into_iter().find(|(_, known)| *known == name);
        found.map(|(format, _)| format).ok_or_else(|| format!("{name} is not a format"))
    })
}

/// Reads the rule by which files become pixels.
pub(crate) fn pixels() -> impl TypedValueParser<Value = PixelRule> {
    let reference =
        PossibleValue::new("reference").help("what the models' own client sees: no rotation, alpha dropped");
    let displayed =
        PossibleValue::new("displayed").help("what a person sees: rotated by EXIF, alpha over white");
    PossibleValuesParser::new([reference, displayed]).map(|name| match name.as_str() {
        "displayed" => PixelRule::Displayed,
        _ => PixelRule::Reference,
    })
}

/// Reads how much of an answer is waited for.
pub(crate) fn ending() -> impl TypedValueParser<Value = Ending> {
    let written = PossibleValue::new("written").help("all that the model writes");
    let complete = PossibleValue::new("complete").help("the whole answer, and nothing behind it");
    let decided = PossibleValue::new("decided").help("as much of the answer as decides the verdict");
    PossibleValuesParser::new([written, complete, decided]).map(|name| match name.as_str() {
        "complete" => Ending::Complete,
        "decided" => Ending::Decided,
        _ => Ending::Written,
    })
}

/// Reads what answers are held to.
pub(crate) fn constrain() -> impl TypedValueParser<Value = Constrain> {
    let report =
        PossibleValue::new("report").help("the grammar of a report that can be read and has a winner");
    PossibleValuesParser::new([report]).map(|_| Constrain::Report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Parses a line; gives the error's text, or `ok`.
    fn check(line: &str, expected: &str) {
        let got = match Args::try_parse_from(line.split(' ')) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expected), "{line}\n gave {got}\n not  {expected}");
    }

    #[test]
    fn the_table_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        fn walk(command: &clap::Command, path: &str) {
            let path = format!("{path}{} ", command.get_name());
            if command.has_subcommands() {
                command.get_subcommands().for_each(|sub| walk(sub, &path));
            } else {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains(path.trim_end()), "{path}has no example");
                assert!(command.get_about().is_some(), "{path}does not say what it does");
            }
        }
        walk(&Args::command(), "");
    }

    #[test]
    fn precisions_are_read_by_name() {
        for precision in Precision::ALL {
            check(&format!("rewardrt export c --out p --precision {}", precision.name()), "ok");
        }
        let names = "possible values: fp32, fp16, bf16, int8, int4, w8a8]";
        check("rewardrt export c --out p --precision fp8", names);
    }

    #[test]
    fn sampling_flags_that_contradict_each_other_are_refused() {
        check("rewardrt generate --messages m --temperature 0.7 --top-p 0.9 --top-k 20 --seed 7", "ok");
        check("rewardrt generate --messages m --sampling checkpoint --seed 7", "ok");
        check("rewardrt generate --messages m --sampling checkpoint --top-k 3", "cannot be used with");
        check("rewardrt generate --messages m --temperature 0", "above 0");
        check("rewardrt generate --messages m --top-p 1.5", "in (0, 1]");
        check("rewardrt generate --messages m --top-p nan", "in (0, 1]");
        check("rewardrt compare --prompt p a b --seed 7", "--sampling");
        check("rewardrt rank --prompt p a b --constrain report --no-speculation", "ok");
        check("rewardrt compare --prompt p a b --constrain json", "possible values: report]");
        check("rewardrt compare --prompt p a b --constrain report --verdict-only", "cannot be used with");
        check("rewardrt score --prompt p a --seed 7", "--sampling");
    }

    #[test]
    fn what_is_judged_is_given_in_one_way() {
        check("rewardrt compare --prompt p a b --source c", "ok");
        check("rewardrt compare --prompt p a --answer-1 x --answer-2 y", "ok");
        check("rewardrt compare --prompt p a", "required");
        check("rewardrt compare --prompt p a --answer-1 x", "--answer-2");
        check("rewardrt compare --prompt p a b --answer-1 x --answer-2 y", "cannot be used with");
        check("rewardrt compare --prompt p a --source c --answer-1 x --answer-2 y", "cannot be used with");
        check("rewardrt score --prompt p a --source c", "ok");
        check("rewardrt score a --answer x", "ok");
        check("rewardrt score --prompt p a --source c --answer x", "cannot be used with");
        check("rewardrt score --prompt p a b", "unexpected argument");
        check("rewardrt pack import f --name n --out o", "--task");
        check("rewardrt pack import f --name n --out o --like x", "ok");
    }

    #[test]
    fn a_group_has_two_items_and_its_pairs_a_name() {
        check("rewardrt rank --prompt p a b", "ok");
        check("rewardrt rank --prompt p a b c --pairs swiss --both-orders --failed tie --upstream", "ok");
        check("rewardrt rank --prompt p a", "2 values required");
        check("rewardrt rank a b", "--prompt");
        check("rewardrt rank --prompt p a b --pairs some", "possible values: all, circular, swiss");
    }

    #[test]
    fn an_evaluation_takes_its_flags_and_refuses_what_is_none() {
        check(
            "rewardrt eval p.jsonl --mode both --single-order --limit 10 --html r.html --results r.jsonl",
            "ok",
        );
        for (_, name) in Format::ALL {
            check(&format!("rewardrt eval p.jsonl --format {name} --task image-pair --pack p"), "ok");
        }
        check("rewardrt eval", "<FILE>");
        check("rewardrt eval p --format csv", "possible values: rows, genai-bench, mmrb2");
        check("rewardrt eval p --mode fast", "possible values: report, verdict-only, both");
        check("rewardrt eval p --limit 0", "--limit");
    }

    #[test]
    fn a_measurement_takes_its_flags_and_refuses_what_cannot_be_measured() {
        check("rewardrt bench", "ok");
        check(
            "rewardrt bench a b c --slots 1,2,4 --group 9 --rate 0.5 --clients 8 --count 100 --seed 7",
            "ok",
        );
        check("rewardrt bench --size 64x48 --verdict-only --html r.html --prompt p", "ok");
        check("rewardrt bench a", "2 values required");
        check("rewardrt bench a b --size 64x64", "cannot be used with");
        check("rewardrt bench --size 64", "is no size");
        check("rewardrt bench --rate 0", "is no rate");
        check("rewardrt bench --clients 8", "--rate");
        check("rewardrt bench --slots 0", "--slots");
        check("rewardrt bench --slots 1,,2", "--slots");
        check("rewardrt bench --group 1", "--group");
        check("rewardrt bench --count 0", "--count");
        check("rewardrt bench --verdict-only --max-new-tokens 3", "cannot be used with");
    }

    #[test]
    fn every_setting_of_a_server_but_its_secrets_is_a_flag() {
        for setting in rewardrt_server::Config::TABLE {
            let expected = if setting.secret { "unexpected argument" } else { "ok" };
            check(&format!("rewardrt serve --{} 1", setting.flag), expected);
        }
        check("rewardrt serve --print-config --config f --pack p", "ok");
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        check("rewardrt --json --model m inspect", "ok");
        check("rewardrt inspect --provider tensorrt,cpu --threads 2 --json", "ok");
        check("rewardrt inspect --provider gpu", "no list of providers");
        check("rewardrt inspect --threads 0", "threads");
    }
}
