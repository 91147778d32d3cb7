//! `rewardrt frames`: which frames of a video a model is shown.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use image::{ColorType, ImageError};
use rewardrt::judge::{Sampled, sample};
use rewardrt::media::video::{Isolation, VideoInput};
use rewardrt::media::{PixelRule, Rgb8};
use rewardrt_models::package::{MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest};
use rewardrt_models::prompt::pack::{FrameBounds, FrameRule, Pack};

use super::Context;
use crate::args;
use crate::failure::Failure;
use crate::output::table;

const EXAMPLES: &str = "\
A rule is linspace-trunc:8 (eight frames evenly from the first to the last,
fractions cut off), linspace-round:8, or fps:2 (two for each second). --out writes
the frames as 001.png, 002.png, .. at their decoded size, before any resize; such
a folder stands for the video in compare and rank.

Examples:
  rewardrt frames video.mp4
  rewardrt frames video.mp4 --rule fps:2 --json
  rewardrt frames video.mp4 --model judge --out frames";

/// What is shown where neither a rule nor a model is named: what the video packs show.
const DEFAULT_RULE: FrameRule = FrameRule::LinspaceTrunc(8);

/// Arguments of `frames`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FramesArgs {
    /// The video: MP4, MOV, WebM, MKV, AVI, GIF, animated PNG or WebP
    #[arg(value_name = "VIDEO")]
    video: PathBuf,
    /// Which frames [default: the rule of the named model's pack, else linspace-trunc:8]
    #[arg(long, value_name = "RULE")]
    rule: Option<FrameRule>,
    /// A folder to write the frames to, which must be new or empty
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How files become pixels
    #[arg(long, value_name = "RULE", default_value = "reference", value_parser = args::pixels())]
    pixels: PixelRule,
}

/// Decodes the frames, writes them, and prints which they are.
pub(crate) fn run(context: &Context<'_>, args: &FramesArgs) -> Result<ExitCode, Failure> {
    let rule = match (args.rule, context.global.model.as_deref()) {
        (Some(rule), _) => rule,
        (None, Some(model)) => rule_of(model)?,
        (None, None) => DEFAULT_RULE,
    };
    if let Some(folder) = &args.out {
        check_folder(folder)?;
    }
    let name = args.video.display().to_string();
    let input = VideoInput::Path(&args.video);
    let bounds = FrameBounds::default();
    let (sampled, frames) = sample(&name, input, rule, &bounds, args.pixels, Isolation::Child)?;
    if let Some(folder) = &args.out {
        write(folder, &frames)?;
        context.output.note(&format!("{} frames are in {}", frames.len(), folder.display()));
    }
    context.output.result(&sampled, || text(&sampled))?;
    Ok(ExitCode::SUCCESS)
}

/// The rule of the pack that a package is asked with, where that pack shows videos.
fn rule_of(model: &Path) -> Result<FrameRule, Failure> {
    let path = model.join(MANIFEST_FILE);
    let bytes = super::pack::read_at_most(&path, MAX_MANIFEST_BYTES as u64)?;
    let manifest = Manifest::parse(&bytes).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))?;
    let pack = Pack::builtin(&manifest.default_pack)
        .map_err(|source| Failure::Pack { place: manifest.default_pack.clone().into(), source })?;
    Ok(pack.frames.unwrap_or(DEFAULT_RULE))
}

/// The folder is new or empty, so that what lies there afterwards are the frames.
fn check_folder(folder: &Path) -> Result<(), Failure> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Usage(format!("{} is not empty; name a new folder", folder.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Failure::Write { path: folder.to_owned(), source }),
    }
}

/// Names count from 001, with as many digits as sort them.
fn write(folder: &Path, frames: &[Rgb8]) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(Failure::write(folder))?;
    let digits = frames.len().to_string().len().max(3);
    for (at, frame) in frames.iter().enumerate() {
        let path = folder.join(format!("{:0digits$}.png", at + 1));
        let written = image::save_buffer(&path, frame.data(), frame.width(), frame.height(), ColorType::Rgb8);
        written.map_err(|error| match error {
            ImageError::IoError(source) => Failure::Write { path: path.clone(), source },
            other => Failure::Other(format!("{}: {other}", path.display())),
        })?;
    }
    Ok(())
}

fn text(sampled: &Sampled) -> String {
    let s = sampled;
    let head = format!(
        "{} frames of {}x{}, {:.3} a second; rule {} shows {}:\n",
        s.frames_total,
        s.width,
        s.height,
        s.fps,
        s.rule,
        s.indices.len()
    );
    let rows = s.indices.iter().zip(&s.timestamps_s).enumerate();
    let rows: Vec<[String; 3]> =
        rows.map(|(at, (i, t))| [(at + 1).to_string(), i.to_string(), format!("{t:.3}")]).collect();
    head + &table(["shown", "frame", "seconds"], &rows)
}
