//! `rewardrt generate`: continue a chat.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rewardrt::Generate;
use rewardrt::media::PixelRule;
use rewardrt::text::chat::Chat;

use super::sampling::SamplingArgs;
use super::{Context, spent};
use crate::args;
use crate::failure::Failure;
use crate::output::plain;

const EXAMPLES: &str = "\
The file holds a JSON list of messages; paths are relative to the file:
  [{\"role\": \"user\", \"content\": [{\"type\": \"image\", \"path\": \"fox.png\"},
                                {\"type\": \"text\", \"text\": \"What is this?\"}]}]

Examples:
  rewardrt generate --model judge --messages chat.json
  rewardrt generate --model judge --messages chat.json --temperature 0.7 --top-p 0.8 --seed 7 --json
  rewardrt generate --model judge --messages chat.json --sampling checkpoint";

/// Longest messages file that is read: a thousand parts of a thousand words fit.
const MAX_MESSAGES_BYTES: u64 = 16 << 20;

/// Arguments of `generate`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GenerateArgs {
    /// The chat, a JSON file
    #[arg(long, value_name = "FILE")]
    messages: PathBuf,
    /// Most tokens to write
    #[arg(long, value_name = "N", default_value = "512")]
    max_new_tokens: NonZeroUsize,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// How files become pixels
    #[arg(long, value_name = "RULE", default_value = "reference", value_parser = args::pixels())]
    pixels: PixelRule,
}

/// Continues the chat.
pub(crate) fn run(context: &Context<'_>, args: &GenerateArgs) -> Result<ExitCode, Failure> {
    let request = Generate {
        chat: read_chat(&args.messages)?,
        sampling: args.sampling.choice(),
        max_new_tokens: args.max_new_tokens.get(),
        pixels: args.pixels,
    };
    let judge = context.judge(None)?;
    let generation = judge.generate(&request)?;
    context.output.result(&generation, || plain(&generation.text).into_owned())?;
    let end = format!("{:?}", generation.finish_reason).to_lowercase();
    context.output.note(&format!("ended by {end}; {}", spent(&generation.usage, &generation.timing_ms)));
    Ok(ExitCode::SUCCESS)
}

/// Reads the messages; paths in them become relative to the working folder.
fn read_chat(path: &Path) -> Result<Chat, Failure> {
    let bytes = super::pack::read_at_most(path, MAX_MESSAGES_BYTES)?;
    let mut chat = Chat::from_json(&bytes).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for file in &mut chat.media {
        let joined = folder.join(&file.path);
        let joined = joined.to_str().ok_or_else(|| {
            Failure::Input(format!("{}: the folder's name is not UTF-8; rename it", folder.display()))
        })?;
        file.path = joined.to_owned();
    }
    Ok(chat)
}
