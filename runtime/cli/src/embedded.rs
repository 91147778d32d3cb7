//! The model that is built in: the shapes judge, for the first minute and wherever no model is named.
//!
//! The program carries the checkpoint, which is half as large as its package. The package is exported once into a
//! cache folder, named after the checkpoint's content and the exporter's version, and used from there. A package that
//! does not verify any more is made again.

use std::fs;
use std::path::{Path, PathBuf};

use rewardrt::load::Package;
use rewardrt_export::Options;
use rewardrt_models::package::{Precision, hex};
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;

/// Name of the model, and of the built-in pack that it is asked with.
pub(crate) const NAME: &str = "shapes-judge";
/// Environment variable with the folder for what can be made again.
const CACHE_VARIABLE: &str = "REWARDRT_CACHE";
/// Said on stderr whenever the built-in model is used.
pub(crate) const NOTE: &str = "no --model was given: judging with the built-in shapes judge, which knows drawn scenes \
    of coloured shapes and nothing else";

macro_rules! checkpoint {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../../models/shapes-judge/checkpoint/", $name)).as_slice())),*]
    };
}

/// The checkpoint: file names and contents.
const CHECKPOINT: [(&str, &[u8]); 7] = checkpoint![
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];

/// The folder of the built-in package, made on first use.
pub(crate) fn package(output: &Output) -> Result<PathBuf, Failure> {
    let cache = cache()?;
    fs::create_dir_all(&cache).map_err(Failure::write(&cache))?;
    let out = cache.join(format!("{NAME}-{}", identity()));
    if Package::open(&out).is_ok() {
        return Ok(out);
    }
    match export(output, &cache, &out) {
        // Another process may have made it meanwhile.
        Err(_) if Package::open(&out).is_ok() => Ok(out),
        other => other.map(|()| out),
    }
}

/// `REWARDRT_CACHE`, or `rewardrt` in the user's cache folder.
fn cache() -> Result<PathBuf, Failure> {
    let folder = |variable: &str| std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    let users = || folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    folder(CACHE_VARIABLE).or_else(|| Some(users()?.join("rewardrt"))).ok_or_else(|| {
        Failure::Usage(format!(
            "the built-in model needs a folder for its package, and there is no HOME: set {CACHE_VARIABLE} to a folder, \
             or give --model DIR"
        ))
    })
}

/// The start of a SHA-256 over the checkpoint and the version of this program.
fn identity() -> String {
    let mut hash = Sha256::new_with_prefix(env!("CARGO_PKG_VERSION"));
    for (name, content) in CHECKPOINT {
        hash.update(name);
        hash.update(content);
    }
    hex(&hash.finalize())[..16].to_owned()
}

fn export(output: &Output, cache: &Path, out: &Path) -> Result<(), Failure> {
    let checkpoint = Unpacked::new(cache)?;
    let options = Options {
        checkpoint: checkpoint.0.clone(),
        out: out.to_owned(),
        precision: Precision::Fp32,
        name: Some(NAME.to_owned()),
        pack: Some(NAME.to_owned()),
        force: true,
    };
    let mut progress = Progress::bytes(output);
    rewardrt_export::export(&options, &mut |p| progress.set(p.stage, p.done, p.total))?;
    Ok(())
}

/// The checkpoint as a folder, which goes when this value goes.
struct Unpacked(PathBuf);

impl Unpacked {
    fn new(cache: &Path) -> Result<Unpacked, Failure> {
        let folder = Unpacked(cache.join(format!(".{NAME}-{}", std::process::id())));
        // What a killed process of the same number left is of no use.
        let _ = fs::remove_dir_all(&folder.0);
        fs::create_dir(&folder.0).map_err(Failure::write(&folder.0))?;
        for (name, content) in CHECKPOINT {
            let path = folder.0.join(name);
            fs::write(&path, content).map_err(Failure::write(&path))?;
        }
        Ok(folder)
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // A folder that stays behind costs 5 MB and no correctness.
        let _ = fs::remove_dir_all(&self.0);
    }
}
