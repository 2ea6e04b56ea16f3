//! Pure: what the files say and what the hub knows, to the command, the environment and the limits of a child.
//!
//! The environment is built here and nowhere else, anew at every spawn (design §4, supervisor §5).

use super::StartErrorKind;
use crate::manifest::Short;
use crate::manifest::run::{Limits, Probe, Run, StopSignal};
use crate::manifest::services::Row;
use crate::sys::process::Signal;
use crate::sys::spawn::Resource;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Names the hub's instance and the module in the environment of a child; by it descendants are known that left the
/// group. A hub inside a module puts its own word behind, so the outer hub still knows them.
pub(crate) const LINEAGE: &str = "PARACHUTE_LINEAGE";

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

/// A command that is ready to be looked at and run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) argv: Vec<String>,
    pub(crate) environment: BTreeMap<OsString, OsString>,
    pub(crate) cwd: Option<PathBuf>,
}

/// A name or value that no process can be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanProblem {
    pub(crate) kind: StartErrorKind,
    pub(crate) reason: String,
}

/// Variables of the hub that no module may see: secrets, and what the hub's own keeper told the hub alone.
fn is_denied(name: &OsStr) -> bool {
    const NAMES: &[&str] = &[
        "PARACHUTE_INITIAL_ADMIN_USERNAME",
        "PARACHUTE_INITIAL_ADMIN_PASSWORD",
        "PARACHUTE_BOOTSTRAP_TOKEN",
        "PARACHUTE_OPERATOR_TOKEN",
        "PARACHUTE_OPERATOR_TOKEN_FILE",
        "PARACHUTE_SIGNING_KEY",
        "PARACHUTE_SIGNING_KEY_FILE",
        "PARACHUTE_HUB_INTROSPECTION_URL",
        "PARACHUTE_MODULE_KEY_FILE",
        "PARACHUTE_VERIFY_KEYS_FILE",
        "NOTIFY_SOCKET",
        "JOURNAL_STREAM",
        "INVOCATION_ID",
    ];
    const PREFIXES: &[&str] = &["LISTEN_", "WATCHDOG_"];
    let Some(name) = name.to_str() else { return false };
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// What a module with `run.env.inherit: false` still gets.
fn is_basic(name: &OsStr) -> bool {
    const NAMES: &[&str] = &["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"];
    const PROXIES: &[&str] = &["http_proxy", "https_proxy", "no_proxy", "all_proxy"];
    let Some(name) = name.to_str() else { return false };
    NAMES.contains(&name) || name.starts_with("LC_") || PROXIES.contains(&name.to_ascii_lowercase().as_str())
}

/// Puts together what the child gets. Later lines win over earlier ones.
pub(crate) fn build(inputs: &Inputs, facts: &Facts, short: &Short) -> Result<Plan, PlanProblem> {
    let port = inputs.row.port.get().to_string();
    let mut environment: BTreeMap<OsString, OsString> = facts
        .environment
        .iter()
        .filter(|(name, _)| !is_denied(name) && (inputs.run.env.inherit || is_basic(name)))
        .cloned()
        .collect();
    // What a package brought along comes first (install-upgrade §12.2).
    let own = inputs.row.install_dir.as_ref().map(|dir| dir.join("node_modules/.bin").into_os_string());
    let path = search_path(own.as_ref(), environment.get(OsStr::new("PATH")), facts);
    let mut set = |name: &str, value: &OsStr| environment.insert(name.into(), value.to_owned());
    set("PATH", &path);
    for (name, value) in inputs.run.env.set.iter().chain(&inputs.dotenv) {
        set(name, value.as_ref());
    }
    // The row is the one authority for the port (supervisor §6).
    set("PORT", port.as_ref());
    set("PARACHUTE_HOME", inputs.home.as_os_str());
    set("PARACHUTE_MODULE", short.as_ref().as_ref());
    if let Some(origin) = &inputs.origin {
        set("PARACHUTE_HUB_ORIGIN", origin.as_ref());
    }
    if !inputs.origins.is_empty() {
        set("PARACHUTE_HUB_ORIGINS", inputs.origins.join(",").as_ref());
    }
    if let Some(credentials) = &inputs.credentials {
        set("PARACHUTE_HUB_INTROSPECTION_URL", credentials.introspection_url.as_ref());
        set("PARACHUTE_MODULE_KEY_FILE", credentials.key_file.as_os_str());
        if let Some(file) = &credentials.verify_keys_file {
            set("PARACHUTE_VERIFY_KEYS_FILE", file.as_os_str());
        }
    }
    let outer = facts.environment.iter().find(|(name, _)| name == LINEAGE).map(|(_, value)| value);
    let mut lineage = outer.map_or_else(OsString::new, |outer| {
        let mut lineage = outer.clone();
        lineage.push(";");
        lineage
    });
    lineage.push(lineage_word(&facts.instance, short));
    set(LINEAGE, &lineage);

    let argv: Vec<String> = inputs.argv.iter().map(|word| word.replace("{port}", &port)).collect();
    let refuse = |reason: String| Err(PlanProblem { kind: StartErrorKind::InvalidSettings, reason });
    match argv.first() {
        None => return refuse("the start command is empty".into()),
        Some(program) if program.is_empty() => return refuse("the start command's first word is empty".into()),
        Some(_) => {}
    }
    if let Some(index) = argv.iter().position(|word| word.contains('\0')) {
        return refuse(format!("word {index} of the start command holds a NUL byte"));
    }
    Ok(Plan { argv, environment, cwd: inputs.cwd.clone() })
}

/// This hub's word for a module in [`LINEAGE`].
pub(crate) fn lineage_word(instance: &str, short: &Short) -> String {
    format!("{instance}/{short}")
}

/// Whether a process with this [`LINEAGE`] descends from the module that `word` names.
pub(crate) fn is_of_lineage(lineage: &str, word: &str) -> bool {
    lineage.split(';').any(|each| each == word)
}

/// The module's own programs, `PARACHUTE_EXTRA_PATH`, the inherited `PATH`, then the usual places; each directory once.
fn search_path(own: Option<&OsString>, inherited: Option<&OsString>, facts: &Facts) -> OsString {
    let inherited: Vec<OsString> =
        inherited.map(|path| std::env::split_paths(path).map(PathBuf::into_os_string).collect()).unwrap_or_default();
    let mut seen: Vec<OsString> = Vec::new();
    for directory in own.into_iter().chain(&facts.extra_path).chain(&inherited).chain(&facts.usual_path) {
        if !directory.is_empty() && !seen.contains(directory) {
            seen.push(directory.clone());
        }
    }
    let mut path = OsString::new();
    for (index, directory) in seen.iter().enumerate() {
        if index > 0 {
            path.push(":");
        }
        path.push(directory);
    }
    path
}

/// The soft limits of a child: what the hub was started with, then what its settings say.
pub(crate) fn limits(
    limits: &Limits,
    inherited_nofile: Option<(u64, u64)>,
    inherited_core: Option<u64>,
) -> Vec<(Resource, u64)> {
    let nofile = limits.nofile.or(inherited_nofile.map(|(soft, _)| soft));
    let core = limits.core.or(inherited_core);
    [
        (Resource::Nofile, nofile),
        (Resource::Core, core),
        (Resource::Fsize, limits.fsize),
        (Resource::AddressSpace, limits.as_bytes),
        (Resource::Nproc, limits.nproc),
        (Resource::Cpu, limits.cpu),
        (Resource::Memlock, limits.memlock),
        (Resource::Stack, limits.stack),
    ]
    .into_iter()
    .filter_map(|(resource, soft)| Some((resource, soft?)))
    .collect()
}

/// The kernel's signal for the one that the settings name.
pub(crate) fn stop_signal(signal: StopSignal) -> Signal {
    match signal {
        StopSignal::Term => Signal::Term,
        StopSignal::Int => Signal::Int,
        StopSignal::Hup => Signal::Hup,
        StopSignal::Quit => Signal::Quit,
        StopSignal::Usr1 => Signal::Usr1,
        StopSignal::Usr2 => Signal::Usr2,
        StopSignal::Kill => Signal::Kill,
        StopSignal::Winch => Signal::Winch,
    }
}

/// How long the child has to become ready; `None` when nothing is looked at.
pub(crate) fn gate(run: &Run) -> Option<Duration> {
    (run.ready.probe != Probe::None).then_some(run.ready.timeout)
}

#[cfg(test)]
mod tests;
