//! `rewardrt pack`: import, list, show.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use rewardrt_models::prompt::import::{ImportError, ImportOptions, MAX_IMPORT_BYTES, import};
use rewardrt_models::prompt::pack::{
    MAX_PACK_BYTES, MAX_PROMPT_BYTES, PACK_FILE, PROMPT_FILE, Pack, Task, builtin_names,
};
use rewardrt_models::verdict::Protocol;
use serde_json::json;

use super::Context;
use crate::args;
use crate::failure::Failure;
use crate::output::table;

const IMPORT_EXAMPLES: &str = "\
A script is read and never run: the prompt is the string in it that asks for the
answer of the task's built-in pack, or of the pack that --like names. Its hash is pinned in the new pack, so that a checkpoint is asked in
exactly the words it was trained on.

Examples:
  rewardrt pack import inference.py --name flex-original --task image-pair --out flex-original
  rewardrt pack import inference.py --name flex-original --task image-pair --out flex-original --at 41
  rewardrt pack import prompt.txt --name acs-original --like unifiedreward-image-acs --out acs-original
  rewardrt compare --model judge --pack flex-original --prompt \"a red fox\" first.png second.png";

/// What can be done with packs.
#[derive(Subcommand)]
pub(crate) enum PackCommand {
    /// Make a pack of a prompt that you have, in a client's script or a text file
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// List the built-in packs
    #[command(after_help = "Example:\n  rewardrt pack list")]
    List,
    /// Print a pack's description and prompt
    #[command(after_help = "\
Examples:
  rewardrt pack show unifiedreward-flex-image
  rewardrt pack show path/to/pack --json")]
    Show {
        /// Name of a built-in pack, or a pack's folder
        #[arg(value_name = "NAME|DIR")]
        pack: PathBuf,
    },
}

/// Arguments of `pack import`.
#[derive(clap::Args)]
pub(crate) struct ImportArgs {
    /// A client's script (.py), or a text file with the prompt
    file: PathBuf,
    /// Name of the new pack: lower-case letters, digits and hyphens
    #[arg(long)]
    name: String,
    /// What the prompt asks to judge
    #[arg(long, value_parser = args::task(), required_unless_present = "like")]
    task: Option<Task>,
    /// The pack whose answer the prompt asks for, built-in or a folder [default: the built-in pack of the task]
    #[arg(long, value_name = "NAME|DIR")]
    like: Option<PathBuf>,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A line of the string to take, when several could be the prompt
    #[arg(long, value_name = "LINE")]
    at: Option<usize>,
}

/// Runs one of them.
pub(crate) fn run(context: &Context<'_>, command: &PackCommand) -> Result<ExitCode, Failure> {
    match command {
        PackCommand::Import(args) => run_import(context, args)?,
        PackCommand::List => list(context)?,
        PackCommand::Show { pack } => show(context, pack)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The pack of that name or in that folder. A folder wins, and says so by a separator or by being there.
pub(crate) fn find(place: &Path) -> Result<Pack, Failure> {
    let refuse = |source| Failure::Pack { place: place.to_owned(), source };
    match place.to_str() {
        Some(name) if !place.is_dir() && !name.contains(std::path::is_separator) => {
            Pack::builtin(name).map_err(refuse)
        }
        _ => {
            let description = read_text(&place.join(PACK_FILE), MAX_PACK_BYTES as u64)?;
            let prompt = read_text(&place.join(PROMPT_FILE), MAX_PROMPT_BYTES as u64)?;
            Pack::parse(&description, &prompt).map_err(refuse)
        }
    }
}

/// Bytes of a file that may have at most `limit` of them.
pub(crate) fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let file = fs::File::open(path).map_err(Failure::read(path))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Failure::read(path))?;
    match bytes.len() as u64 > limit {
        true => {
            Err(Failure::Input(format!("{}: more than {limit} bytes; is it the right file?", path.display())))
        }
        false => Ok(bytes),
    }
}

fn read_text(path: &Path, limit: u64) -> Result<String, Failure> {
    let refuse = |_| Failure::Input(format!("{} is not UTF-8 text; save it as UTF-8", path.display()));
    String::from_utf8(read_at_most(path, limit)?).map_err(refuse)
}

fn run_import(context: &Context<'_>, args: &ImportArgs) -> Result<(), Failure> {
    let content = read_text(&args.file, MAX_IMPORT_BYTES as u64)?;
    let file_name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let like = model_pack(args)?;
    let options = ImportOptions { name: &args.name, like: &like, at: args.at };
    let imported = import(&file_name, &content, &options).map_err(|source| match source {
        ImportError::Pack(source) => Failure::Pack { place: args.out.clone(), source },
        source => Failure::Import { file: args.file.clone(), source },
    })?;
    write(&args.out, &[(PACK_FILE, &imported.description), (PROMPT_FILE, &imported.prompt)])?;
    let pack = &imported.pack;
    let document = json!({
        "path": args.out,
        "name": pack.name,
        "version": pack.version,
        "task": pack.task,
        "prompt_sha256": pack.prompt_sha256,
        "prompt_bytes": pack.prompt.len(),
    });
    context.output.result(&document, || {
        format!(
            "{}: pack {} for {}, a prompt of {} bytes with SHA-256 {}\nUse it with --pack {}",
            args.out.display(),
            pack.name,
            pack.task,
            pack.prompt.len(),
            pack.prompt_sha256,
            args.out.display(),
        )
    })
}

/// The pack that the new one is made after.
fn model_pack(args: &ImportArgs) -> Result<Pack, Failure> {
    let named = args.like.as_deref().map(find).transpose()?;
    match (named, args.task) {
        (Some(pack), Some(task)) if pack.task != task => {
            Err(Failure::Usage(format!("pack {} is for {}, not for {task}", pack.name, pack.task)))
        }
        (Some(pack), _) => Ok(pack),
        (None, Some(task)) => {
            Pack::for_task(task).map_err(|source| Failure::Pack { place: task.name().into(), source })
        }
        (None, None) => Err(Failure::Usage("give --task TASK or --like PACK".to_owned())),
    }
}

/// Makes a folder of files that is there whole or not at all.
fn write(out: &Path, files: &[(&str, &String)]) -> Result<(), Failure> {
    if fs::symlink_metadata(out).is_ok() {
        return Err(Failure::Usage(format!("{} exists; choose another name, or remove it", out.display())));
    }
    let name = out.file_name().ok_or_else(|| Failure::Usage(format!("{} is no name", out.display())))?;
    let partial = out.with_file_name(format!(".{}.partial-{}", name.to_string_lossy(), std::process::id()));
    fs::create_dir(&partial).map_err(Failure::write(&partial))?;
    let filled = files.iter().try_for_each(|(name, content)| {
        let path = partial.join(name);
        fs::write(&path, content).map_err(Failure::write(&path))
    });
    let placed = filled.and_then(|()| fs::rename(&partial, out).map_err(Failure::write(out)));
    if placed.is_err() {
        // What cannot be removed is named after this process and hidden; the first error is the one to tell.
        let _ = fs::remove_dir_all(&partial);
    }
    placed
}

fn list(context: &Context<'_>) -> Result<(), Failure> {
    let packs = builtin_names().map(|name| find(Path::new(name))).collect::<Result<Vec<_>, _>>()?;
    let document: Vec<_> = packs
        .iter()
        .map(|p| {
            json!({
                "name": p.name,
                "version": p.version,
                "task": p.task,
                "answer": p.answer.kind().name(),
                "prompt_sha256": p.prompt_sha256,
            })
        })
        .collect();
    context.output.result(&document, || {
        let row = |p: &Pack| {
            [p.name.clone(), p.version.to_string(), p.task.to_string(), p.answer.kind().name().to_owned()]
        };
        let rows: Vec<_> = packs.iter().map(row).collect();
        table(["name", "version", "task", "answer"], &rows)
    })
}

fn show(context: &Context<'_>, place: &Path) -> Result<(), Failure> {
    let pack = find(place)?;
    let categories = match &pack.answer {
        Protocol::Report(answer) => answer.categories.as_slice(),
        _ => &[],
    };
    let document = json!({
        "name": pack.name,
        "version": pack.version,
        "task": pack.task,
        "answer": pack.answer.kind().name(),
        "frames": pack.frames.map(|rule| rule.to_string()),
        "max_new_tokens": pack.max_new_tokens,
        "categories": categories,
        "prompt_sha256": pack.prompt_sha256,
        "prompt": pack.prompt,
    });
    context.output.result(&document, || format!("{}\n# {PROMPT_FILE}\n\n{}", pack.to_toml(), pack.prompt))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(place: &Path, expected: &str) {
        let got = find(place).map_or_else(|e| e.to_string(), |pack| pack.name);
        assert!(got.contains(expected), "{}: {got}", place.display());
    }

    #[test]
    fn a_pack_is_found_by_name_or_folder_and_refused_by_place() {
        check(Path::new("unifiedreward-flex-image"), "unifiedreward-flex-image");
        check(Path::new("no-such-pack"), "no built-in pack is named `no-such-pack`");
        check(Path::new("no/such"), PACK_FILE);
        let dir = tempfile::tempdir().unwrap();
        let pack = Pack::builtin("unifiedreward-flex-video").unwrap();
        let out = dir.path().join("mine");
        write(&out, &[(PACK_FILE, &pack.to_toml()), (PROMPT_FILE, &pack.prompt)]).unwrap();
        check(&out, "unifiedreward-flex-video");
        fs::write(out.join(PROMPT_FILE), "another {caption}").unwrap();
        check(&out, "restore the prompt");
    }

    #[test]
    fn a_folder_that_exists_is_left_alone_and_nothing_partial_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (content, out) = ("x".to_owned(), dir.path().join("p"));
        write(&out, &[("a", &content)]).unwrap();
        assert!(write(&out, &[("b", &content)]).unwrap_err().to_string().contains("exists"));
        assert!(write(&dir.path().join("q"), &[("no/such/folder", &content)]).is_err());
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["p"]);
    }

    #[test]
    fn a_file_over_the_limit_is_refused_and_not_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_at_most(&path, 5).unwrap(), b"12345");
        assert!(read_at_most(&path, 4).unwrap_err().to_string().contains("more than 4 bytes"));
    }
}
