//! `rewardrt serve`: a judge over HTTP.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use rewardrt_models::prompt::pack::Task;
use rewardrt_server::{Config, ConfigError, Ended, MAX_CONFIG_BYTES, ServeError};
use serde_json::json;

use super::Context;
use super::question::Chosen;
use crate::args;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Settings come from --config, then from the environment (REWARDRT_SERVE_ and the key in
capitals), then from the flags; --print-config shows all of them as such a file.

Examples:
  rewardrt serve --model judge
  rewardrt serve --model judge --listen 0.0.0.0:8080 --token-file tokens --config serve.toml
  rewardrt serve --print-config > serve.toml
  curl -F prompt=\"a red fox\" -F first=@a.png -F second=@b.png 127.0.0.1:8080/v1/compare

The first SIGTERM lets requests at work end, the second ends at once.";

/// Arguments of `serve`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// A file of settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings as a file, and end
    #[arg(long)]
    print_config: bool,
    /// The task of requests that fit several, and of /compute [default: the package's own]
    #[arg(long, value_parser = args::task())]
    task: Option<Task>,
    /// How the model is asked: a built-in pack, or a pack's folder [default: the package's own]
    #[arg(long, value_name = "NAME|DIR", conflicts_with = "task")]
    pack: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// A flag for each row of the server's table, as it was given.
struct Settings(Vec<(&'static str, String)>);

impl clap::Args for Settings {
    fn augment_args(command: Command) -> Command {
        let flags = Config::TABLE.iter().filter(|setting| !setting.secret).map(|setting| {
            Arg::new(setting.key)
                .long(setting.flag)
                .value_name("VALUE")
                .help(setting.help.trim())
                .help_heading("Settings")
        });
        command.args(flags)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Settings::augment_args(command)
    }
}

impl clap::FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Settings, clap::Error> {
        let keys = Config::TABLE.iter().filter(|setting| !setting.secret).map(|setting| setting.key);
        let given = keys.filter_map(|key| Some((key, matches.get_one::<String>(key)?.clone())));
        Ok(Settings(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Settings::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Serves until a signal.
pub(crate) fn run(context: &Context<'_>, args: &ServeArgs) -> Result<ExitCode, Failure> {
    let mut config = configured(args)?;
    if args.print_config {
        let text = config.print();
        context.output.result(&json!({ "config": text }), || text.clone())?;
        return Ok(ExitCode::SUCCESS);
    }
    config.check().map_err(ServeError::from)?;
    context.output.start_server_log(config.log);
    // The built-in model knows the questions of its own pack and no others.
    config.only_own_pack |= context.global.model.is_none();
    let pack = args.pack.as_deref().map(super::pack::find).transpose()?;
    let chosen = match (pack, args.task) {
        (Some(pack), _) => Some(Chosen::Pack(Box::new(pack))),
        (None, task) => task.map(Chosen::Task),
    };
    let builder = context.builder(chosen)?.slots(config.slots).queue(config.queue).tokens(config.tokens);
    let judge = builder.vision_cache(config.vision_cache_bytes).open(&context.model()?)?;
    let mut told = Ok(());
    let ended = rewardrt_server::serve(config, judge.clone(), |address| {
        let (name, pack) = (judge.model().name, &judge.pack().name);
        let document = json!({ "address": address.to_string(), "model": name, "pack": pack });
        told = context.output.result(&document, || {
            format!("{name} answers at http://{address} (pack {pack}; Ctrl-C ends it)")
        });
    })?;
    let failure = match ended {
        Ended::Drained => return told.map(|()| ExitCode::SUCCESS),
        Ended::Abandoned { requests } => format!("ended before {requests} requests were answered"),
        Ended::Fault { reason } => format!("the judge has stopped: {reason}; start the server anew"),
    };
    // What is left behind may hang, and would be waited for.
    let code = context.output.failure(&Failure::Other(failure));
    std::process::exit(if code == ExitCode::SUCCESS { 0 } else { 1 })
}

/// The settings of the file, the environment and the flags, later ones over earlier ones.
fn configured(args: &ServeArgs) -> Result<Config, Failure> {
    let mut config = Config::default();
    if let Some(path) = &args.config {
        config.read_toml(&read(path)?).map_err(|error| named(path, &error))?;
    }
    config.read_environment(|name| std::env::var(name).ok()).map_err(ServeError::from)?;
    for (key, value) in &args.settings.0 {
        config.set(key, value).map_err(ServeError::from)?;
    }
    Ok(config)
}

fn named(path: &Path, error: &ConfigError) -> Failure {
    Failure::Usage(format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = super::pack::read_at_most(path, MAX_CONFIG_BYTES as u64)?;
    String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{}: the file is not UTF-8", path.display())))
}
