//! `rewardrt rank`: the order of many for a prompt.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use rewardrt::judge::{Candidate, CompareOptions, Constrain, Pairs, RankOptions};
use rewardrt::media::PixelRule;
use rewardrt::{Group, Picture, Ranking};
use rewardrt_models::prompt::pack::{FrameRule, Task};
use rewardrt_models::verdict::{Ending, FailedPairs};

use super::Context;
use super::question::Given;
use super::sampling::Source;
use crate::args;
use crate::failure::Failure;
use crate::output::{plain, table};
use crate::progress::Progress;

const EXAMPLES: &str = "\
Each ITEM is a picture (PNG, JPEG, WebP), or a video: a file, or a folder that holds
the frames to show. With --source all are edits of that picture.

Examples:
  rewardrt rank --model judge --prompt \"a red fox in the snow\" a.png b.png c.png
  rewardrt rank --model judge --prompt \"a red fox\" *.png --both-orders --json
  rewardrt rank --model judge --prompt \"a red fox\" *.png --pairs swiss
  rewardrt rank --model judge --prompt \"make the fox white\" --source fox.png a.png b.png

Exit code 0 says that pairs were judged; those without a verdict are counted in `pairs_failed`.";

/// Most candidates whose matrix is printed: ten columns fit a terminal, and more are for `--json`.
const MAX_MATRIX: usize = 10;

/// Arguments of `rank`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RankArgs {
    /// The candidates, two or more
    #[arg(value_name = "ITEM", num_args = 2.., required = true)]
    items: Vec<PathBuf>,
    /// What all were made for: a caption, or an instruction
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// The picture that all are edits of
    #[arg(long, value_name = "FILE")]
    source: Option<PathBuf>,
    /// Which pairs are judged
    #[arg(long, value_name = "PAIRS", default_value = "all", value_parser = args::pairs())]
    pairs: Pairs,
    /// Judge each pair in both orders; both verdicts count
    #[arg(long)]
    both_orders: bool,
    /// What is judged [default: what the items are]
    #[arg(long, value_parser = args::task())]
    task: Option<Task>,
    /// How the model is asked: a built-in pack, or a pack's folder [default: the package's own when it is
    /// for the task, else the task's built-in one]
    #[arg(long, value_name = "NAME|DIR")]
    pack: Option<PathBuf>,
    /// Which frames of video files are shown [default: the pack's rule]
    #[arg(long, value_name = "RULE")]
    rule: Option<FrameRule>,
    /// Skip the reports and weigh the two winners only: faster, and not what the model was trained to do
    #[arg(long)]
    verdict_only: bool,
    /// What a pair without a verdict counts for
    #[arg(long, value_name = "POLICY", default_value = "leave-out")]
    failed: Failed,
    /// Rewards as the published trainer computes them: failed pairs are ties, scores have three decimals
    #[arg(long)]
    upstream: bool,
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

/// What a pair without a verdict counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Failed {
    /// Nothing: nobody won it
    LeaveOut,
    /// Half a win for each side
    Tie,
}

/// Ranks, and prints the order.
pub(crate) fn run(context: &Context<'_>, args: &RankArgs) -> Result<ExitCode, Failure> {
    let items: Vec<Candidate> = args
        .items
        .iter()
        .map(|path| Ok(Candidate::open(path)?.with_rule(args.rule)))
        .collect::<Result<_, Failure>>()?;
    let media = args.items.iter().map(PathBuf::as_path).zip(&items).collect();
    let given = Given { media, candidates: 2, source: args.source.is_some(), answers: false };
    let chosen = given.choose(args.task, args.pack.as_deref())?;
    given.make_ready();
    let judge = context.judge(Some(chosen))?;
    given.check_frames(judge.pack(), args.rule)?;
    let mut progress = Progress::items(context.output);
    let group = assembled(args, items);
    let ranking = judge.rank_with(&group, |pair| {
        progress.set("judging", pair.done as u64, pair.most as u64);
    })?;
    drop(progress);
    let names: Vec<String> = args.items.iter().map(|path| path.display().to_string()).collect();
    context.output.result(&ranking, || text(&ranking, &names))?;
    if args.verdict_only {
        context.output.note(super::compare::VERDICT_ONLY);
    }
    let t = &ranking.timing_ms;
    context.output.note(&format!(
        "{}; load {:.0} ms, preprocess {:.0} ms (videos {:.0}, resize {:.0}), vision {:.0} ms, pairs {:.0} ms",
        super::tokens(&ranking.usage),
        t.load,
        t.preprocess,
        t.video,
        t.resize,
        t.vision,
        t.pairs
    ));
    Ok(ExitCode::SUCCESS)
}

fn assembled(args: &RankArgs, items: Vec<Candidate>) -> Group {
    let mut group = Group::frames(args.prompt.clone(), items.into_iter().map(Candidate::pictures).collect());
    group.shown.extend(args.source.clone().map(Picture::Path));
    group.options = RankOptions {
        ask: CompareOptions {
            both_orders: args.both_orders,
            verdict_only: args.verdict_only,
            sampling: Source::choice(args.sampling, args.seed),
            max_new_tokens: args.max_new_tokens.map(NonZeroUsize::get),
            ending: args.ending,
            constrain: args.constrain,
            pixels: args.pixels,
        },
        pairs: args.pairs,
        failed: match args.failed {
            Failed::LeaveOut => FailedPairs::LeaveOut,
            Failed::Tie => FailedPairs::Tie,
        },
        upstream: args.upstream,
    };
    group
}

/// The order for people, best first, and what it rests on.
fn text(ranking: &Ranking, names: &[String]) -> String {
    let rewards = &ranking.rewards;
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let rows: Vec<[String; 4]> = rewards
        .order
        .iter()
        .enumerate()
        .map(|(place, &index)| {
            let item = &rewards.items[index];
            let name = format!("{}. {}", place + 1, plain(&names[index]));
            [name, index.to_string(), number(item.win_rate), number(item.score)]
        })
        .collect();
    let mut out = table(["item", "index", "win rate", "score"], &rows);
    if names.len() <= MAX_MATRIX {
        out += &format!("\nHow probably the row beats the column, by index:\n{}", matrix(&rewards.matrix));
    }
    out += &format!("\n{} pairs, {} without a verdict", rewards.pairs_run, rewards.pairs_failed);
    let failed = ranking.unanswered;
    if rewards.pairs_failed > 0 {
        out += &format!(
            " ({} truncated, {} invalid, {} not run)",
            failed.truncated, failed.invalid, failed.failed
        );
    }
    if let Some(share) = ranking.position_consistency {
        out += &format!("; in {:.0} % of the pairs both orders name the same", 100.0 * share);
    }
    let problems = ranking.pairs.iter().filter_map(|pair| Some((pair, pair.error.as_ref()?)));
    let problems: String = problems
        .map(|(pair, error)| format!("\npair {} and {}: {}", pair.first, pair.second, plain(error)))
        .collect();
    out + &format!("; pack {}{problems}\n", plain(&ranking.pack.name))
}

/// Rows and columns of equal width.
fn matrix(matrix: &[Vec<Option<f64>>]) -> String {
    let line = |cells: Vec<String>| cells.iter().map(|cell| format!("{cell:>6}")).collect::<String>() + "\n";
    let mut out =
        line(std::iter::once(String::new()).chain((0..matrix.len()).map(|j| j.to_string())).collect());
    for (i, row) in matrix.iter().enumerate() {
        let cells = row.iter().map(|p| p.map_or_else(|| "-".to_owned(), |p| format!("{p:.2}")));
        out += &line(std::iter::once(i.to_string()).chain(cells).collect());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_has_a_line_for_each_candidate_and_dashes_where_nothing_was_compared() {
        let got = matrix(&[vec![None, Some(0.875)], vec![Some(0.125), None]]);
        assert_eq!(got, "           0     1\n     0     -  0.88\n     1  0.12     -\n");
    }
}
