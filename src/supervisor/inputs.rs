//! Pure: what a child is made of.

use crate::manifest::run::Run;
use crate::manifest::services::Row;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// What the files of the home say of one module, read for one spawn.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    pub(crate) row: Arc<Row>,
    /// As written; `{port}` in it is replaced.
    pub(crate) argv: Vec<String>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) run: Run,
    /// `<home>/<short>/.env`, last value of each name.
    pub(crate) dotenv: Vec<(String, String)>,
    pub(crate) origin: Option<String>,
    pub(crate) origins: Vec<String>,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) home: PathBuf,
    pub(crate) log_dir: PathBuf,
}

/// How a child shows the hub which module it is. The values are in files, because an environment can be looked at.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) introspection_url: String,
    pub(crate) key_file: PathBuf,
    pub(crate) verify_keys_file: Option<PathBuf>,
    /// Whether the hub proves to it who its callers are.
    pub(crate) proofs: bool,
}

/// What holds for every child of this hub.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The hub's own environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Put before `PATH`.
    pub(crate) extra_path: Vec<OsString>,
    /// Put behind `PATH`: directories that were there when the hub started.
    pub(crate) usual_path: Vec<OsString>,
    /// This boot's number.
    pub(crate) instance: String,
}
