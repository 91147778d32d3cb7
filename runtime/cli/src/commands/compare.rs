//! `rewardrt compare`: which of two is better for a prompt?

mod show;

pub(crate) use show::VERDICT_ONLY;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rewardrt::judge::{Candidate, CompareOptions, Constrain};
use rewardrt::media::PixelRule;
use rewardrt::{Comparison, Picture};
use rewardrt_models::prompt::pack::{FrameRule, Task};
use rewardrt_models::verdict::Ending;

use super::Context;
use super::question::Given;
use super::sampling::Source;
use crate::args;
use crate::failure::Failure;

const EXAMPLES: &str = "\
A and B are pictures (PNG, JPEG, WebP), or videos: files (MP4, MOV, WebM, MKV, AVI,
GIF), of which the pack's rule chooses frames, or folders that hold the frames to
show, named so that they sort: 001.png, 002.png, .. With
--source they are edits of that picture. With two answers to the question in
--prompt, A is what it is about, and there is no B.

Examples:
  rewardrt compare --model judge --prompt \"a red fox in the snow\" first.png second.png
  rewardrt compare --model judge --prompt \"a red fox\" a.png b.png --both-orders --json
  rewardrt compare --model judge --prompt \"a red fox\" a.png b.png --verdict-only
  rewardrt compare --model judge --prompt \"a fox runs\" a.mp4 b.mp4
  rewardrt compare --model judge --prompt \"make the fox white\" --source fox.png a.png b.png
  rewardrt compare --model judge --prompt \"what is it?\" --answer-1 \"a fox\" --answer-2 \"a dog\" fox.png

Exit code 0 says that the model answered; whether its answer holds a verdict is in `status`.";

/// Arguments of `compare`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// The first candidate, or what the question is about
    #[arg(value_name = "A")]
    first: PathBuf,
    /// The second candidate
    #[arg(value_name = "B", required_unless_present = "answer_1", conflicts_with = "answer_1")]
    second: Option<PathBuf>,
    /// What both were made for: a caption, an instruction, or a question
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// The picture that both are edits of
    #[arg(long, value_name = "FILE", conflicts_with = "answer_1")]
    source: Option<PathBuf>,
    /// The first of two answers to the question
    #[arg(long, value_name = "TEXT", requires = "answer_2")]
    answer_1: Option<String>,
    /// The second of two answers to the question
    #[arg(long, value_name = "TEXT", requires = "answer_1")]
    answer_2: Option<String>,
    /// What is judged [default: what A and B are]
    #[arg(long, value_parser = args::task())]
    task: Option<Task>,
    /// How the model is asked: a built-in pack, or a pack's folder [default: the package's own when it is
    /// for the task, else the task's built-in one]
    #[arg(long, value_name = "NAME|DIR")]
    pack: Option<PathBuf>,
    /// Which frames of video files are shown [default: the pack's rule]
    #[arg(long, value_name = "RULE")]
    rule: Option<FrameRule>,
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
    /// How much of an answer is waited for
    #[arg(long, value_name = "PART", default_value = "written", value_parser = args::ending())]
    ending: Ending,
    /// What answers are held to while they are written [default: nothing]
    #[arg(long, value_name = "FORM", value_parser = args::constrain(), conflicts_with = "verdict_only")]
    constrain: Option<Constrain>,
    /// How files become pixels
    #[arg(long, value_name = "RULE", default_value = "reference", value_parser = args::pixels())]
    pixels: PixelRule,
}

/// Compares, and prints the verdict.
pub(crate) fn run(context: &Context<'_>, args: &CompareArgs) -> Result<ExitCode, Failure> {
    let open = |path: &Path| Ok::<_, Failure>(Candidate::open(path)?.with_rule(args.rule));
    let first = open(&args.first)?;
    let second = args.second.as_deref().map(open).transpose()?;
    let mut media = vec![(args.first.as_path(), &first)];
    media.extend(args.second.as_deref().zip(second.as_ref()));
    let (source, answers) = (args.source.is_some(), args.answer_1.is_some());
    let given = Given { media, candidates: 2, source, answers };
    let chosen = given.choose(args.task, args.pack.as_deref())?;
    given.make_ready();
    let judge = context.judge(Some(chosen))?;
    given.check_frames(judge.pack(), args.rule)?;
    let verdict = judge.compare(&assembled(args, first, second))?;
    let names = match &args.second {
        Some(second) => [&args.first, second].map(|path| path.display().to_string()),
        None => [&args.answer_1, &args.answer_2].map(|answer| answer.clone().unwrap_or_default()),
    };
    context.output.result(&verdict, || show::text(&verdict, names.each_ref().map(String::as_str)))?;
    if args.verdict_only {
        context.output.note(VERDICT_ONLY);
    }
    context.output.note(&super::spent(&verdict.usage, &verdict.timing_ms));
    Ok(ExitCode::SUCCESS)
}

fn assembled(args: &CompareArgs, first: Candidate, second: Option<Candidate>) -> Comparison {
    let (prompt, first) = (args.prompt.clone(), first.pictures());
    let mut comparison = match (&args.answer_1, &args.answer_2, second) {
        (Some(one), Some(two), _) => Comparison::answers(prompt, first, one.clone(), two.clone()),
        (_, _, second) => {
            Comparison::frames(prompt, first, second.map(Candidate::pictures).unwrap_or_default())
        }
    };
    comparison.shown.extend(args.source.clone().map(Picture::Path));
    comparison.options = CompareOptions {
        both_orders: args.both_orders,
        verdict_only: args.verdict_only,
        sampling: Source::choice(args.sampling, args.seed),
        max_new_tokens: args.max_new_tokens.map(NonZeroUsize::get),
        ending: args.ending,
        constrain: args.constrain,
        pixels: args.pixels,
    };
    comparison
}
