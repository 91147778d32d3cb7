//! `rewardrt compare`: which of two is better for a prompt?

mod show;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use rewardrt::Comparison;
use rewardrt::judge::{Candidate, CompareOptions, Sampling};
use rewardrt::media::PixelRule;
use rewardrt_models::prompt::pack::{Pack, Task};

use super::Context;
use super::sampling::Source;
use crate::args;
use crate::failure::Failure;

const EXAMPLES: &str = "\
A and B are pictures (PNG, JPEG, WebP). For the video task they are folders that
hold the frames to show, named so that they sort: 001.png, 002.png, ..

Examples:
  rewardrt compare --model judge --prompt \"a red fox in the snow\" first.png second.png
  rewardrt compare --model judge --prompt \"a red fox\" a.png b.png --both-orders --json
  rewardrt compare --model judge --prompt \"a red fox\" a.png b.png --verdict-only
  rewardrt compare --model judge --task video-pair --prompt \"a fox runs\" frames-a frames-b

Exit code 0 says that the model answered; whether its answer holds a verdict is in `status`.";

/// Arguments of `compare`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// The first candidate
    #[arg(value_name = "A")]
    first: PathBuf,
    /// The second candidate
    #[arg(value_name = "B")]
    second: PathBuf,
    /// What both were made for
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// What is judged [default: what A and B are]
    #[arg(long, value_parser = args::task())]
    task: Option<Task>,
    /// How the model is asked: a built-in pack, or a pack's folder [default: the package's own]
    #[arg(long, value_name = "NAME|DIR")]
    pack: Option<PathBuf>,
    /// Ask for A and B, then for B and A, and combine the two
    #[arg(long)]
    both_orders: bool,
    /// Skip the report and weigh the two winners only: faster, and not what the model was trained to do
    #[arg(long)]
    verdict_only: bool,
    /// Sample with values from elsewhere instead of taking the most probable token
    #[arg(long, value_name = "SOURCE", conflicts_with = "verdict_only")]
    sampling: Option<Source>,
    /// Seed of the random stream [default: 0]
    #[arg(long, value_name = "S", requires = "sampling")]
    seed: Option<u64>,
    /// Most tokens of an answer, when fewer than the pack allows
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<NonZeroUsize>,
    /// How files become pixels
    #[arg(long, value_name = "RULE", default_value = "reference", value_parser = args::pixels())]
    pixels: PixelRule,
}

/// Compares, and prints the verdict.
pub(crate) fn run(context: &Context<'_>, args: &CompareArgs) -> Result<ExitCode, Failure> {
    let (first, second) = (Candidate::open(&args.first)?, Candidate::open(&args.second)?);
    let pack = choose_pack(args, &first, &second)?;
    let judge = context.judge(pack)?;
    let comparison = Comparison {
        prompt: args.prompt.clone(),
        first: first.pictures(),
        second: second.pictures(),
        options: options(args),
    };
    let verdict = judge.compare(&comparison)?;
    context.output.result(&verdict, || show::text(&verdict, [&args.first, &args.second]))?;
    if args.verdict_only {
        context.output.note(show::VERDICT_ONLY);
    }
    context.output.note(&super::spent(&verdict.usage, &verdict.timing_ms));
    Ok(ExitCode::SUCCESS)
}

fn options(args: &CompareArgs) -> CompareOptions {
    CompareOptions {
        both_orders: args.both_orders,
        verdict_only: args.verdict_only,
        sampling: match args.sampling {
            Some(Source::Checkpoint) => Sampling::Checkpoint { seed: args.seed.unwrap_or(0) },
            None => Sampling::Greedy,
        },
        max_new_tokens: args.max_new_tokens.map(NonZeroUsize::get),
        pixels: args.pixels,
    }
}

/// The pack that was named, or the built-in one for videos; `None` leaves it to the package. Task, pack and
/// candidates must belong together.
fn choose_pack(args: &CompareArgs, first: &Candidate, second: &Candidate) -> Result<Option<Pack>, Failure> {
    let given = first.task();
    if second.task() != given {
        let message = format!(
            "{} is {}, {} is {}; give two of a kind",
            args.first.display(),
            first.kind(),
            args.second.display(),
            second.kind()
        );
        return Err(Failure::Input(message));
    }
    let named = args.pack.as_deref().map(super::pack::find).transpose()?;
    let task = args.task.or(named.as_ref().map(|p| p.task)).unwrap_or(given);
    let pack = super::pack::for_task(named, task)?;
    if task != given {
        let takes = match task {
            Task::ImagePair => "two pictures",
            Task::VideoPair => "two folders of frames",
        };
        return Err(Failure::Input(format!(
            "{task} takes {takes}, and {} is {}",
            args.first.display(),
            first.kind()
        )));
    }
    if let Some(rule) = pack.as_ref().and_then(|pack| pack.frames) {
        first.check_frames(&args.first.to_string_lossy(), rule)?;
        second.check_frames(&args.second.to_string_lossy(), rule)?;
    }
    Ok(pack)
}
