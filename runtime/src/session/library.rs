//! Finding and loading the ONNX Runtime library, once per process, with telemetry off.
//!
//! One of the two files with unsafe code: it sets an environment variable, asks a library for its version, and
//! reads the node placement from the raw table.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::AsPointer;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use rewardrt_models::package::parse_version;

use super::provider::Nodes;

/// Environment variable with the library's path.
pub const PATH_VARIABLE: &str = "ORT_DYLIB_PATH";
/// File name of the library beside the executable.
pub const FILE_NAME: &str = "libonnxruntime.so";
/// Lowest minor version of ONNX Runtime 1 whose function table the binding can read.
const LOWEST_MINOR: u32 = ort_sys::ORT_API_VERSION;

/// Why ONNX Runtime is not there. (Exit code 5.)
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// No file at any of the places.
    #[error(
        "ONNX Runtime was not found at {looked}; run `make setup` (deploy/setup.sh fetches it), \
         or set {PATH_VARIABLE} to a libonnxruntime.so"
    )]
    NotFound {
        /// The places.
        looked: String,
    },
    /// A file that is no usable ONNX Runtime.
    #[error("{path} cannot be used: {reason}; run `make setup` for the pinned ONNX Runtime")]
    Unusable {
        /// The file.
        path: String,
        /// What the loader said.
        reason: String,
    },
}

/// The loaded library and its environment. Cheap to clone; there is one per process.
#[derive(Debug, Clone)]
pub struct Library {
    environment: Environment,
    path: PathBuf,
    version: String,
}

/// The one library of the process. It is never dropped: sessions hold the environment, and the runtime's own
/// threads must not outlive it at exit.
static LOADED: Mutex<Option<Library>> = Mutex::new(None);

/// Loads ONNX Runtime from `path`, else from the file named by `ORT_DYLIB_PATH`, else from beside the executable.
/// Telemetry is switched off before the library is loaded, and again in its environment. Once a library is
/// loaded, later calls return it whatever they ask for: a process has one.
///
/// # Errors
/// [`LibraryError`] with the places that were tried and the way to get the library.
pub fn load(path: Option<&Path>) -> Result<Library, LibraryError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = loaded.as_ref() {
        return Ok(library.clone());
    }
    let path = find(path, std::env::var_os(PATH_VARIABLE).map(PathBuf::from))?;
    disable_telemetry();
    let version = probe(&path)?;
    let environment = start(&path)?;
    tracing::debug!(path = %path.display(), version, "ONNX Runtime loaded");
    Ok(loaded.insert(Library { environment, path, version }).clone())
}

impl Library {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Folder of the file; providers are loaded from there too.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// `major.minor.patch`.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

fn find(explicit: Option<&Path>, variable: Option<PathBuf>) -> Result<PathBuf, LibraryError> {
    let beside = || std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(FILE_NAME)));
    let (place, origin) = match (explicit, variable.filter(|v| !v.as_os_str().is_empty())) {
        (Some(path), _) => (Some(path.to_owned()), "the given path"),
        (None, Some(path)) => (Some(path), PATH_VARIABLE),
        (None, None) => (beside(), "the executable's folder"),
    };
    let looked = |path: &Path| format!("{} ({origin})", path.display());
    match place {
        Some(path) if path.is_file() => std::path::absolute(&path)
            .map_err(|e| LibraryError::Unusable { path: looked(&path), reason: e.to_string() }),
        Some(path) => Err(LibraryError::NotFound { looked: looked(&path) }),
        None => Err(LibraryError::NotFound { looked: origin.to_owned() }),
    }
}

fn disable_telemetry() {
    // SAFETY: The standard library locks its own readers of the environment. Foreign code that calls `getenv` at
    // this very moment on another thread would race; ONNX Runtime, the only such code here, is not loaded yet, and
    // the caller holds the lock under which it is loaded.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}

/// Loads the file and reads its version, so that every way in which it can be wrong is an error here and not a
/// panic in the binding.
fn probe(path: &Path) -> Result<String, LibraryError> {
    let unusable = |reason: String| LibraryError::Unusable { path: path.display().to_string(), reason };
    // SAFETY: Loading runs the file's initialisers. The file is the one that the operator named as ONNX Runtime;
    // the binding loads it the same way a moment later.
    let file = unsafe { libloading::Library::new(path) }.map_err(|e| unusable(e.to_string()))?;
    // SAFETY: The symbol has had this signature since ONNX Runtime 1.0; the pointer it returns is to a static.
    let version = unsafe {
        let base = file
            .get::<unsafe extern "C" fn() -> *const ort_sys::OrtApiBase>(b"OrtGetApiBase\0")
            .map_err(|_| unusable("it does not export OrtGetApiBase".into()))?;
        match base().as_ref() {
            Some(base) => CStr::from_ptr((base.GetVersionString)()).to_string_lossy().into_owned(),
            None => return Err(unusable("OrtGetApiBase returned nothing".into())),
        }
    };
    // The binding keeps its own handle; closing this one only lowers the count, and never unloading spares the
    // runtime's background threads from code that vanishes.
    std::mem::forget(file);
    match parse_version(&version) {
        Some((1, minor, _)) if minor >= LOWEST_MINOR => Ok(version),
        _ => Err(unusable(format!("it is version {version}, at least 1.{LOWEST_MINOR} is needed"))),
    }
}

fn start(path: &Path) -> Result<Environment, LibraryError> {
    let unusable = |reason: String| LibraryError::Unusable { path: path.display().to_string(), reason };
    let environment = ort::init_from(path)
        .map_err(|e| unusable(e.to_string()))?
        .with_name("rewardrt")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|e| unusable(e.message().to_owned()))?;
    environment.set_log_level(LogLevel::Warning);
    Ok(environment)
}

/// Hands the runtime's own log lines to the process's log.
fn log(level: LogLevel, category: &str, _id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => {
            tracing::error!(target: "onnxruntime", category, location, "{message}")
        }
        LogLevel::Warning => tracing::warn!(target: "onnxruntime", category, location, "{message}"),
        LogLevel::Info | LogLevel::Verbose => {
            tracing::trace!(target: "onnxruntime", category, location, "{message}")
        }
    }
}

/// Number of nodes by provider and operator. The session must have been made with
/// `session.record_ep_graph_assignment_info`.
pub(crate) fn assigned_nodes(session: &Session) -> Result<Nodes, ort::Error> {
    let api = ort::api();
    let text = |name: *const c_char| {
        // SAFETY: The runtime's names end in a zero byte and live as long as the session.
        unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
    };
    let mut out = Nodes::new();
    // SAFETY: The table is that of the loaded library, which has the functions since the version that `probe`
    // demands. The runtime owns both arrays and the names; they live as long as the session, which is borrowed.
    unsafe {
        let (mut graphs, mut count) = (std::ptr::null(), 0);
        let status = (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &mut graphs, &mut count);
        ort::Error::result_from_status(status)?;
        for i in 0..count {
            let graph = *graphs.add(i);
            let mut name: *const c_char = std::ptr::null();
            ort::Error::result_from_status((api.EpAssignedSubgraph_GetEpName)(graph, &mut name))?;
            let (mut nodes, mut size) = (std::ptr::null(), 0);
            ort::Error::result_from_status((api.EpAssignedSubgraph_GetNodes)(graph, &mut nodes, &mut size))?;
            let operators = out.entry(text(name)).or_default();
            for k in 0..size {
                let mut operator: *const c_char = std::ptr::null();
                let status = (api.EpAssignedNode_GetOperatorType)(*nodes.add(k), &mut operator);
                ort::Error::result_from_status(status)?;
                *operators.entry(text(operator)).or_default() += 1;
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(explicit: Option<&str>, variable: Option<&str>, expected: &str) {
        let error = find(explicit.map(Path::new), variable.map(PathBuf::from)).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("make setup"), "{error}");
    }

    #[test]
    fn a_missing_library_names_the_place_and_the_way_out() {
        check(Some("no/such.so"), Some("other.so"), "no/such.so (the given path)");
        check(None, Some("no/such.so"), "no/such.so (ORT_DYLIB_PATH)");
        check(None, Some(""), "libonnxruntime.so (the executable's folder)");
        check(None, None, "libonnxruntime.so (the executable's folder)");
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error_and_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        std::fs::write(&path, b"not an elf file").unwrap();
        let error = probe(&path).unwrap_err();
        assert!(matches!(&error, LibraryError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains(FILE_NAME), "{error}");
    }
}
