//! `rewardrt export`: a checkpoint becomes a package, and on request is compared with its own float weights.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use rewardrt::session::library;
use rewardrt::verify::{self, ComponentError};
use rewardrt_export::Options;
use rewardrt_export::seal::SealedPackage;
use rewardrt_models::package::Precision;
use rewardrt_models::prompt::pack::Pack;
use serde::Serialize;
use serde_json::json;

use super::Context;
use crate::args;
use crate::failure::Failure;
use crate::output::{bytes, table};
use crate::progress::Progress;

const EXAMPLES: &str = "\
The package is written beside DIR and takes its name only when it is whole.

Examples:
  rewardrt export path/to/checkpoint --out judge
  rewardrt export path/to/checkpoint --out judge-int4 --precision int4 --verify
  rewardrt export path/to/checkpoint --out judge --force --json

fp32 holds the checkpoint's values unchanged; fp16, bf16, int8 and int4 are smaller,
w8a8 is also faster where many tokens are read at a time, and --verify says what they
cost in accuracy. `rewardrt doctor` says which suits this machine. On a card
(--provider cuda) run fp16, bf16, int8 and int4 packages; a processor runs all.";

/// A component whose error is as large as the values themselves says nothing any more: zeros would do as well.
const USELESS: f64 = 1.0;

/// Arguments of `export`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// The checkpoint folder, with config.json and the weights
    checkpoint: PathBuf,
    /// The package folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How weights are stored
    #[arg(long, default_value = "fp32", value_parser = args::precision())]
    precision: Precision,
    /// Run the package and its float weights on a built-in input, and print the error of each component. For this
    /// an fp32 package is made beside DIR and removed again. Needs ONNX Runtime
    #[arg(long)]
    verify: bool,
    /// Replace a package that is already there
    #[arg(long)]
    force: bool,
    /// Name of the model [default: the checkpoint folder's name]
    #[arg(long)]
    name: Option<String>,
    /// The built-in pack that the model is asked with when the caller names none [default: the family's usual one]
    #[arg(long, value_name = "NAME")]
    pack: Option<String>,
}

/// What `--verify` found.
#[derive(Serialize)]
struct Verification {
    /// What the package was compared with.
    against: &'static str,
    components: Vec<ComponentError>,
}

/// Exports, and verifies on request.
pub(crate) fn run(context: &Context<'_>, args: ExportArgs) -> Result<ExitCode, Failure> {
    if args.verify {
        // Better to hear now that it is missing than after the export.
        library::load(context.global.ort_lib.as_deref()).map_err(rewardrt::Error::from)?;
    }
    if let Some(name) = &args.pack {
        Pack::builtin(name).map_err(|source| Failure::Pack { place: name.into(), source })?;
    }
    let started = Instant::now();
    let options = Options {
        checkpoint: args.checkpoint,
        out: args.out,
        precision: args.precision,
        name: args.name,
        pack: args.pack,
        force: args.force,
    };
    let sealed = export(context, &options)?;
    let wall = started.elapsed().as_secs_f64();
    let verification = if args.verify { Some(verify(context, &options)?) } else { None };
    let document = json!({
        "path": sealed.path,
        "name": sealed.manifest.name,
        "precision": sealed.manifest.precision,
        "package_sha256": sealed.sha256,
        "bytes": super::inspect::total(&sealed.manifest),
        "files": sealed.manifest.files,
        "wall_s": wall,
        "verify": verification,
    });
    context.output.result(&document, || text(&sealed, wall, verification.as_ref()))?;
    match verification.iter().flat_map(|v| &v.components).find(|c| c.rel_rms >= USELESS) {
        None => Ok(ExitCode::SUCCESS),
        Some(bad) => Err(Failure::Other(format!(
            "{}: the error of {} is as large as its values; the package at {} does not stand for the checkpoint: \
             export it in a higher precision",
            options.precision.name(),
            bad.component,
            options.out.display()
        ))),
    }
}

fn export(context: &Context<'_>, options: &Options) -> Result<SealedPackage, Failure> {
    let mut progress = Progress::bytes(context.output);
    Ok(rewardrt_export::export(options, &mut |p| progress.set(p.stage, p.done, p.total))?)
}

fn verify(context: &Context<'_>, options: &Options) -> Result<Verification, Failure> {
    if options.precision == Precision::Fp32 {
        // These are the float weights: what can be shown is that they run, and give the same twice.
        let components = verify::compare(&options.out, &options.out, context.threads())?;
        if let Some(bad) = components.iter().find(|c| c.max_abs != 0.0) {
            let message = format!(
                "two runs of {} differ by {:.1e}; this is a fault of the runtime",
                bad.component, bad.max_abs
            );
            return Err(Failure::Other(message));
        }
        return Ok(Verification {
            against: "a second run of itself, fp32 being the float weights",
            components,
        });
    }
    let twin = Twin::export(context, options)?;
    let components = verify::compare(&twin.path, &options.out, context.threads())?;
    Ok(Verification { against: "the float weights", components })
}

/// The same checkpoint in fp32, in a folder that goes when this value goes.
struct Twin {
    path: PathBuf,
}

impl Twin {
    fn export(context: &Context<'_>, options: &Options) -> Result<Twin, Failure> {
        // Named like the partial folder of an export to the same place: should this process be killed, the next
        // export removes it.
        let name = options.out.file_name().unwrap_or_default().to_string_lossy();
        let path = options.out.with_file_name(format!(".{name}.partial-{}", std::process::id()));
        let float = Options { out: path, precision: Precision::Fp32, force: false, ..options.clone() };
        export(context, &float)?;
        Ok(Twin { path: float.out })
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        // The next export to the same place removes what cannot be removed now.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn text(sealed: &SealedPackage, wall: f64, verification: Option<&Verification>) -> String {
    let manifest = &sealed.manifest;
    let files: Vec<_> =
        manifest.files.iter().map(|f| [f.path.clone(), bytes(f.size), f.sha256.clone()]).collect();
    let mut out = format!(
        "{}: {} in {}, {} in {wall:.1} s\nsha256 {}\n\n{}",
        sealed.path.display(),
        manifest.name,
        manifest.precision.name(),
        bytes(super::inspect::total(manifest)),
        sealed.sha256,
        table(["file", "size", "sha256"], &files),
    );
    if let Some(verification) = verification {
        let number = |c: &ComponentError| {
            [c.component.clone(), format!("{:.2e}", c.max_abs), format!("{:.2e}", c.rel_rms)]
        };
        let rows: Vec<_> = verification.components.iter().map(number).collect();
        out += &format!("\nAgainst {}:\n", verification.against);
        out += &table(["component", "max abs error", "relative rms error"], &rows);
    }
    out
}
