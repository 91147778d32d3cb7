//! `rewardrt completions SHELL`.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use super::Context;
use crate::args::Args;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  rewardrt completions bash > ~/.local/share/bash-completion/completions/rewardrt
  rewardrt completions zsh > ~/.zfunc/_rewardrt
  rewardrt completions fish > ~/.config/fish/completions/rewardrt.fish";

/// Arguments of `completions`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(context: &Context<'_>, args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "rewardrt", &mut script);
    let script = String::from_utf8_lossy(&script);
    context
        .output
        .result(&json!({ "shell": args.shell.to_string(), "script": script }), || script.to_string())?;
    Ok(ExitCode::SUCCESS)
}
