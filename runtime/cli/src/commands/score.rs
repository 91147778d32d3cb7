//! `rewardrt score`: how good is one candidate?

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rewardrt::judge::{Candidate, ScoreOptions};
use rewardrt::media::PixelRule;
use rewardrt::{Item, Picture, Score};
use rewardrt_models::prompt::pack::{FrameRule, Task};
use rewardrt_models::verdict::{Ending, NamedScore};

use super::Context;
use super::question::Given;
use super::sampling::Source;
use crate::args;
use crate::failure::Failure;
use crate::output::{plain, table};

const EXAMPLES: &str = "\
ITEM is a picture (PNG, JPEG, WebP), or a video: a file, or a folder that holds the
frames to show. With --source it is an edit of that picture; with --answer it is what
the question in --prompt is about.

Examples:
  rewardrt score --model judge --prompt \"a red fox in the snow\" picture.png
  rewardrt score --model judge --prompt \"a fox runs\" video.mp4 --json
  rewardrt score --model judge --prompt \"make the fox white\" --source before.png after.png
  rewardrt score --model judge --prompt \"what is it?\" --answer \"a fox\" picture.png
  rewardrt score --model judge --pack unifiedreward-edit-quality-point after.png

Exit code 0 says that the model answered; whether its answer holds scores is in `status`.";

/// Arguments of `score`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ScoreArgs {
    /// The candidate, or what the question is about
    #[arg(value_name = "ITEM")]
    item: PathBuf,
    /// What the item was made for: a caption, an instruction, or a question
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prompt: String,
    /// The picture that was edited
    #[arg(long, value_name = "FILE", conflicts_with = "answer")]
    source: Option<PathBuf>,
    /// The answer to be scored; ITEM is then what the question is about
    #[arg(long, value_name = "TEXT")]
    answer: Option<String>,
    /// What is judged [default: what the arguments are]
    #[arg(long, value_parser = args::task())]
    task: Option<Task>,
    /// How the model is asked: a built-in pack, or a pack's folder [default: the package's own when it is
    /// for the task, else the task's built-in one]
    #[arg(long, value_name = "NAME|DIR")]
    pack: Option<PathBuf>,
    /// Which frames of a video file are shown [default: the pack's rule]
    #[arg(long, value_name = "RULE")]
    rule: Option<FrameRule>,
    /// Sample with values from elsewhere instead of taking the most probable token
    #[arg(long, value_name = "SOURCE")]
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
    /// How files become pixels
    #[arg(long, value_name = "RULE", default_value = "reference", value_parser = args::pixels())]
    pixels: PixelRule,
}

/// Scores, and prints the scores.
pub(crate) fn run(context: &Context<'_>, args: &ScoreArgs) -> Result<ExitCode, Failure> {
    let item = Candidate::open(&args.item)?.with_rule(args.rule);
    let given = Given {
        media: vec![(&args.item, &item)],
        candidates: 1,
        source: args.source.is_some(),
        answers: args.answer.is_some(),
    };
    let chosen = given.choose(args.task, args.pack.as_deref())?;
    if args.prompt.is_empty() && !chosen.task().shape().holes.is_empty() {
        return Err(Failure::Usage(format!("{} needs --prompt TEXT", chosen.task())));
    }
    given.make_ready();
    let judge = context.judge(Some(chosen))?;
    given.check_frames(judge.pack(), args.rule)?;
    let score = judge.score(&assembled(args, item))?;
    context.output.result(&score, || text(&score, &args.item))?;
    context.output.note(&super::spent(&score.usage, &score.timing_ms));
    Ok(ExitCode::SUCCESS)
}

fn assembled(args: &ScoreArgs, item: Candidate) -> Item {
    let (prompt, mut pictures) = (args.prompt.clone(), item.pictures());
    let mut item = match (&args.answer, &args.source, pictures.len()) {
        (Some(answer), ..) => Item::answer(prompt, pictures, answer.clone()),
        (None, Some(source), 1) => Item::edit(prompt, Picture::Path(source.clone()), pictures.remove(0)),
        _ => Item::frames(prompt, pictures),
    };
    item.options = ScoreOptions {
        sampling: Source::choice(args.sampling, args.seed),
        max_new_tokens: args.max_new_tokens.map(NonZeroUsize::get),
        ending: args.ending,
        pixels: args.pixels,
    };
    item
}

/// The scores for people.
fn text(score: &Score, name: &Path) -> String {
    let head = match &score.problem {
        None => format!("{}\n", name.display()),
        Some(problem) => format!("There is no score: {problem}\n"),
    };
    let bound = |bound: Option<f64>| bound.map_or_else(|| "..".to_owned(), |bound| bound.to_string());
    let row = |s: &NamedScore| {
        [s.name.clone(), s.value.to_string(), format!("{} to {}", bound(s.low), bound(s.high))]
    };
    let rows: Vec<_> = score.scores.iter().map(row).collect();
    let scores = if rows.is_empty() { String::new() } else { table(["score", "value", "range"], &rows) };
    let pack = score.pack.as_ref().map_or_else(String::new, |pack| format!(", pack {}", pack.name));
    let words = score.text.as_ref().filter(|_| score.problem.is_some());
    let words = words.map_or_else(String::new, |text| format!("\nThe model wrote:\n{}\n", plain(text)));
    format!("{head}{scores}status {}{pack}\n{words}", super::status(score.status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rewardrt::judge::{ModelInfo, Timing, Usage};
    use rewardrt_models::verdict::{Problem, Status};

    fn score(scores: Vec<NamedScore>, problem: Option<Problem>) -> Score {
        Score {
            status: if problem.is_none() { Status::Ok } else { Status::Invalid },
            scores,
            problem,
            text: Some("I think\u{1b}".to_owned()),
            finish_reason: None,
            pack: None,
            pixels: PixelRule::Reference,
            sampling: None,
            videos: Vec::new(),
            usage: Usage::default(),
            timing_ms: Timing::default(),
            model: ModelInfo { name: "m".to_owned(), package_sha256: String::new(), precision: "fp32" },
        }
    }

    #[test]
    fn scores_are_a_table_and_a_refusal_shows_what_was_written() {
        let named =
            |name: &str, value, high| NamedScore { name: name.to_owned(), value, low: Some(1.0), high };
        let got = text(
            &score(vec![named("style", 3.25, Some(5.0)), named("free", 4.0, None)], None),
            Path::new("a.png"),
        );
        assert_eq!(
            got,
            "a.png\nscore  value    range\nstyle   3.25   1 to 5\nfree       4  1 to ..\nstatus ok\n"
        );
        let problem = Problem::MissingScore { place: "style".to_owned() };
        let got = text(&score(Vec::new(), Some(problem)), Path::new("a.png"));
        assert!(got.starts_with("There is no score: the answer has no score for style;"), "{got}");
        assert!(got.ends_with("status invalid\n\nThe model wrote:\nI think\u{fffd}\n"), "{got}");
    }
}
