//! `rewardrt doctor`: what this machine offers, and the way out of each problem.

mod machine;
mod precision;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use rewardrt::ErrorClass;
use rewardrt::session::{Library, Provider, library};
use rewardrt_models::package::{MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest};
use serde::Serialize;
use serde_json::json;

use super::Context;
use super::inspect::total;
use crate::failure::Failure;
use crate::output::{bytes, plain};

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Check {
    name: &'static str,
    status: State,
    found: String,
    /// What to do about it; null when nothing needs doing.
    way_out: Option<String>,
}

/// Whether it is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Not there, and not needed for judging.
    Note,
    /// Models cannot run until it is solved.
    Problem,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, status: State::Ok, found: found.into(), way_out: None }
    }

    fn note(name: &'static str, found: impl Into<String>, way_out: impl Into<String>) -> Check {
        Check { name, status: State::Note, found: found.into(), way_out: Some(way_out.into()) }
    }

    fn problem(name: &'static str, found: impl Into<String>, way_out: impl Into<String>) -> Check {
        Check { name, status: State::Problem, found: found.into(), way_out: Some(way_out.into()) }
    }
}

/// Looks at everything; exit code 5 when models cannot run here.
pub(crate) fn run(context: &Context<'_>) -> Result<ExitCode, Failure> {
    let loaded = library::load(context.global.ort_lib.as_deref());
    let mut checks = vec![match &loaded {
        Ok(library) => {
            Check::ok("onnxruntime", format!("{} at {}", library.version(), library.path().display()))
        }
        Err(error) => {
            let way_out = "run `make setup`, or name the library with --ort-lib or ORT_DYLIB_PATH";
            Check::problem("onnxruntime", error.to_string(), way_out)
        }
    }];
    if let Ok(library) = &loaded {
        checks.push(telemetry());
        checks.extend([Provider::Cpu, Provider::Cuda, Provider::TensorRt].map(|p| provider(p, library)));
    }
    checks.extend([machine::processor(), machine::cores(), machine::memory(), machine::disk(), libav()]);
    checks.push(precision::precision());
    checks.push(model(context.global.model.as_deref()));
    let ready = checks.iter().all(|c| c.status != State::Problem);
    let document = json!({ "ready": ready, "version": env!("CARGO_PKG_VERSION"), "checks": checks });
    context.output.result(&document, || text(&checks, ready))?;
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::from(ErrorClass::Provider.exit_code()) })
}

/// The library was loaded with its telemetry off; this is what its own switch says now.
fn telemetry() -> Check {
    match env::var("ORT_DISABLE_TELEMETRY").as_deref() {
        Ok("1") => Check::ok("telemetry", "off, since before the library was loaded"),
        _ => Check::problem(
            "telemetry",
            "not known to be off",
            "set ORT_DISABLE_TELEMETRY=1 and report this fault",
        ),
    }
}

/// A provider needs its plugin beside the library. Whether it also finds its card shows when a model is opened.
fn provider(provider: Provider, library: &Library) -> Check {
    let name = match provider {
        Provider::Cpu => "provider cpu",
        Provider::Cuda => "provider cuda",
        Provider::TensorRt => "provider tensorrt",
    };
    let Some((plugin, _)) = provider.library() else { return Check::ok(name, "built into the library") };
    if library.folder().join(plugin).is_file() {
        return Check::ok(
            name,
            format!("{plugin} is there; `rewardrt inspect --nodes --provider {provider}` tries it"),
        );
    }
    let way_out = format!("for NVIDIA cards, use an ONNX Runtime with {plugin} beside it; see deploy/gpu");
    Check::note(name, format!("{plugin} is not beside the library"), way_out)
}

/// libav is linked, so a program that runs has it; which decoders it has is another matter.
#[cfg(feature = "video")]
fn libav() -> Check {
    let found = rewardrt::media::video::libraries();
    let versions: Vec<String> =
        found.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let text = format!("{}; decodes {}", versions.join(", "), found.decoders.join(", "));
    match found.missing.is_empty() {
        true => Check::ok("libav", text),
        false => Check::note(
            "libav",
            format!("{text}; does not decode {}", found.missing.join(", ")),
            "use Debian's libavcodec, or one that is built with these decoders",
        ),
    }
}

#[cfg(not(feature = "video"))]
fn libav() -> Check {
    Check::note(
        "libav",
        "this program was built without the cargo feature `video` and decodes no video files",
        "build it with the feature (README.md says what it needs), or give videos as folders of frames",
    )
}

/// The manifest only: verifying every byte is what `inspect` does.
fn model(model: Option<&Path>) -> Check {
    let Some(path) = model else {
        let way_out =
            "for your own, give --model DIR or set REWARDRT_MODEL; `rewardrt export` makes packages";
        return Check::note("model", "none is named: the built-in shapes judge is used", way_out);
    };
    let manifest = super::pack::read_at_most(&path.join(MANIFEST_FILE), MAX_MANIFEST_BYTES as u64)
        .map_err(|e| e.to_string())
        .and_then(|bytes| Manifest::parse(&bytes).map_err(|e| e.to_string()));
    match manifest {
        Err(error) => Check::problem("model", error, "name a folder that `rewardrt export` made"),
        Ok(m) => {
            let size = bytes(total(&m));
            let name = plain(&m.name);
            Check::ok("model", format!("{}: {name}, {}, {size}", path.display(), m.precision.name()))
        }
    }
}

fn text(checks: &[Check], ready: bool) -> String {
    let rows: Vec<_> = checks
        .iter()
        .map(|c| {
            let mark = match c.status {
                State::Ok => "ok",
                State::Note => "note",
                State::Problem => "PROBLEM",
            };
            let way_out = c.way_out.as_ref().map_or_else(String::new, |w| format!("\n{:<27}-> {w}", ""));
            format!("{mark:<8}{:<18} {}{way_out}\n", c.name, c.found)
        })
        .collect();
    let end =
        if ready { "Models can run here." } else { "Models cannot run here until the problems are solved." };
    format!("{}\n{end}\n", rows.concat())
}
