//! `rewardrt eval`: how well does a package judge labelled pairs?

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use rewardrt::Judge;
use rewardrt::eval::{self, Evaluation, Format, Input, Metrics, Record, Row, Source, html};
use rewardrt::judge::CompareOptions;
use rewardrt_models::prompt::pack::Task;

use super::Context;
use super::question::Chosen;
use crate::args;
use crate::failure::Failure;
use crate::output::{plain, table};
use crate::progress::Progress;

const EXAMPLES: &str = "\
FILE has one pair a line, media named by paths relative to FILE:
  {\"id\": \"7\", \"prompt\": \"a red fox\", \"a\": \"7a.png\", \"b\": \"7b.png\", \"label\": \"a\",
   \"task\": \"image-pair\", \"kind\": \"colour\"}
label is a, b or tie; kind is optional. A video is a folder of frames, or a list of paths.

Examples:
  rewardrt eval pairs.jsonl --model judge --html report.html
  rewardrt eval pairs.jsonl --model judge --mode both --results judged.jsonl --json
  rewardrt eval t2i.json --format mmrb2 --model judge --limit 100

Exit code 0 says that the set was judged; pairs that failed are counted and named in the result.";

/// Failed pairs that are named on the terminal; the document has all.
const MAX_NAMED: usize = 10;

/// Arguments of `eval`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EvalArgs {
    /// The labelled pairs
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How FILE is written
    #[arg(long, value_name = "FORMAT", default_value = "rows", value_parser = args::format())]
    format: Format,
    /// What is judged: rows of other tasks are skipped [default: the task of the rows, which must be one]
    #[arg(long, value_parser = args::task())]
    task: Option<Task>,
    /// How the model is asked: a built-in pack, or a pack's folder [default: the package's own]
    #[arg(long, value_name = "NAME|DIR")]
    pack: Option<PathBuf>,
    /// What is asked of the model: its report, the verdict without a report, or one after the other
    #[arg(long, value_name = "MODE", default_value = "report")]
    mode: Modes,
    /// Ask for A and B only, not for B and A as well: half the time, and no position consistency
    #[arg(long)]
    single_order: bool,
    /// Judge the first N pairs only
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Write a report with plots: one page that opens without a network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write what became of every pair, one JSON document a line, as soon as it is judged
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
}

/// What is asked of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Modes {
    /// The report that it was trained to write
    Report,
    /// The two winners weighed behind a forced report: faster, and another method
    VerdictOnly,
    /// Both, each with its own figures
    Both,
}

impl Modes {
    /// Whether to skip the report, for each way to ask.
    fn verdict_only(self) -> &'static [bool] {
        match self {
            Modes::Report => &[false],
            Modes::VerdictOnly => &[true],
            Modes::Both => &[false, true],
        }
    }
}

/// Judges the pairs, and prints the figures.
pub(crate) fn run(context: &Context<'_>, args: &EvalArgs) -> Result<ExitCode, Failure> {
    let input = eval::read(&args.file, args.format)?;
    let named = args.pack.as_deref().map(super::pack::find).transpose()?;
    let task = choose_task(args.task.or(named.as_ref().map(|pack| pack.task)), &input)?;
    let chosen = Chosen::of(named, task)?;
    let (rows, source) = choose_rows(args, input, task)?;
    // Opened before the work, so that a place that cannot be written to costs no hours.
    let page = args.html.as_deref().map(|path| create(path, args)).transpose()?;
    let results = args.results.as_deref().map(|path| create(path, args)).transpose()?;

    let judge = context.judge(Some(chosen))?;
    let options = CompareOptions { both_orders: !args.single_order, ..CompareOptions::default() };
    let records = judge_all(context, args, (&judge, &options), &rows, results)?;
    let evaluation = Evaluation::new(&judge, source, &options, &records);
    if let (Some(path), Some(mut file)) = (&args.html, page) {
        file.write_all(html::page(&evaluation, &records).as_bytes()).map_err(Failure::write(path))?;
    }
    context.output.result(&evaluation, || text(&evaluation))?;
    Ok(ExitCode::SUCCESS)
}

/// The task that was asked for, or that of all rows.
fn choose_task(asked: Option<Task>, input: &Input) -> Result<Task, Failure> {
    let found: BTreeSet<Task> = input.rows.iter().map(|row| row.task).collect();
    match (asked, found.iter().copied().collect::<Vec<_>>().as_slice()) {
        (Some(task), _) => Ok(task),
        (None, [task]) => Ok(*task),
        (None, []) => {
            let why = input.refused.first().map_or(String::new(), |refusal| {
                format!(", such as {}: {}", plain(&refusal.id), plain(&refusal.reason))
            });
            let n = input.refused.len();
            Err(Failure::Input(format!("no row can be judged; {n} were refused{why}")))
        }
        (None, tasks) => {
            let names: Vec<_> = tasks.iter().map(|task| task.name()).collect();
            Err(Failure::Usage(format!("the rows are for {}; choose one with --task", names.join(" and "))))
        }
    }
}

/// The rows to judge, and what stays out.
fn choose_rows(args: &EvalArgs, input: Input, task: Task) -> Result<(Vec<Row>, Source), Failure> {
    let all = input.rows.len();
    let limit = args.limit.map_or(usize::MAX, NonZeroUsize::get);
    let rows: Vec<Row> = input.rows.into_iter().filter(|row| row.task == task).take(limit).collect();
    if rows.is_empty() {
        return Err(Failure::Input(format!("{} holds no row for {task}", args.file.display())));
    }
    let file = args.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (judged, skipped) = (rows.len(), all - rows.len());
    Ok((rows, Source { file, format: args.format, task, judged, skipped, refused: input.refused }))
}

/// Makes or empties an output file, which must not be the pairs themselves.
fn create(path: &Path, args: &EvalArgs) -> Result<File, Failure> {
    let same = |other: &Path| match (fs::canonicalize(path), fs::canonicalize(other)) {
        (Ok(one), Ok(two)) => one == two,
        _ => path == other,
    };
    let twice = args.html.is_some() && args.html == args.results;
    if same(&args.file) || twice {
        return Err(Failure::Usage(format!(
            "{} is named twice; give each file its own name",
            path.display()
        )));
    }
    File::create(path).map_err(Failure::write(path))
}

fn judge_all(
    context: &Context<'_>,
    args: &EvalArgs,
    (judge, options): (&Judge, &CompareOptions),
    rows: &[Row],
    mut results: Option<File>,
) -> Result<Vec<Record>, Failure> {
    let mut progress = Progress::items(context.output);
    let ways = args.mode.verdict_only();
    let mut records = Vec::with_capacity(rows.len() * ways.len());
    for (at, row) in rows.iter().enumerate() {
        progress.set("judging", at as u64, rows.len() as u64);
        for &verdict_only in ways {
            let options = CompareOptions { verdict_only, ..options.clone() };
            let mut record = eval::examine(judge, row, &args.file, &options);
            if let (Some(path), Some(file)) = (&args.results, &mut results) {
                let line = serde_json::to_string(&record)
                    .map_err(|e| Failure::Other(format!("the result of {}: {e}", record.id)))?;
                writeln!(file, "{line}").map_err(Failure::write(path))?;
            }
            // No figure needs the answers' texts, and of a large set they would be most of the memory.
            record.orders.iter_mut().for_each(|order| order.text = String::new());
            records.push(record);
        }
    }
    Ok(records)
}

/// The figures for people.
fn text(evaluation: &Evaluation) -> String {
    let Evaluation { source, model, pack, .. } = evaluation;
    let mut out = format!(
        "{}: {} pairs for {}, {} skipped, {} refused; model {} in {}, pack {}\n",
        plain(&source.file),
        source.judged,
        source.task,
        source.skipped,
        source.refused.len(),
        plain(&model.name),
        model.precision,
        plain(&pack.name),
    );
    let modes = [("Written reports", &evaluation.report), ("Verdict only", &evaluation.verdict_only)];
    for (name, metrics) in modes {
        if let Some(metrics) = metrics {
            out += &format!("\n{name}\n");
            out += &figures(metrics);
        }
    }
    let lists = [
        ("failed", evaluation.errors.iter().map(|e| (&e.id, &e.error)).collect::<Vec<_>>()),
        ("refused", source.refused.iter().map(|r| (&r.id, &r.reason)).collect()),
    ];
    for (what, rows) in lists {
        for (id, reason) in rows.iter().take(MAX_NAMED) {
            out += &format!("{what}: {}: {}\n", plain(id), plain(reason));
        }
        if let Some(rest) = rows.len().checked_sub(MAX_NAMED).filter(|rest| *rest > 0) {
            out += &format!("{what}: {rest} more, see --json\n");
        }
    }
    out
}

fn figures(metrics: &Metrics) -> String {
    let lines = metrics.lines();
    let width = lines.iter().map(|[name, _]| name.chars().count()).max().unwrap_or(0);
    let mut out: String = lines.iter().map(|[name, value]| format!("  {name:<width$}  {value}\n")).collect();
    if metrics.by_kind.iter().any(|kind| kind.kind.is_some()) {
        let percent = |share: Option<rewardrt::eval::Share>| {
            share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", 100.0 * share.share))
        };
        let rows: Vec<[String; 4]> = metrics
            .by_kind
            .iter()
            .map(|kind| {
                let name = kind.kind.as_deref().unwrap_or("(none)");
                [
                    plain(name).into_owned(),
                    kind.pairs.to_string(),
                    percent(kind.accuracy),
                    percent(kind.position_consistency),
                ]
            })
            .collect();
        out += &format!("\n{}", table(["kind", "pairs", "accuracy", "consistency"], &rows));
    }
    out + "\n"
}
