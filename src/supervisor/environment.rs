//! Pure: the environment of a child. It is built here and nowhere else, anew at every spawn (design §4, supervisor §5).
//!
//! It borrows from what it is made of: every module builds one, and copies of each name and value, freed in as many
//! threads as there are modules, would stay in the allocator's cache of each thread.

use super::inputs::{Facts, Inputs};
use crate::manifest::Short;
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Names the hub's instance and the module in the environment of a child; by it descendants are known that left the
/// group. A hub inside a module puts its own word behind, so the outer hub still knows them.
pub(crate) const LINEAGE: &str = "PARACHUTE_LINEAGE";

/// As many as the hub itself adds, so that adding them moves nothing.
const OWN_VARIABLES: usize = 10;

/// Variables in the order of their names, each name once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Environment<'a>(Vec<(Cow<'a, OsStr>, Cow<'a, OsStr>)>);

impl<'a> Environment<'a> {
    fn with_capacity(variables: usize) -> Self {
        Self(Vec::with_capacity(variables))
    }

    /// Replaces an earlier value.
    fn set(&mut self, name: &'a OsStr, value: impl Into<Cow<'a, OsStr>>) {
        let (name, value) = (Cow::Borrowed(name), value.into());
        match self.place(&name) {
            Ok(index) => self.0[index].1 = value,
            Err(index) => self.0.insert(index, (name, value)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        let index = self.place(OsStr::new(name)).ok()?;
        self.0.get(index).map(|(_, value)| &**value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    fn place(&self, name: &OsStr) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }
}

/// What the module gets. Later lines win over earlier ones; the caller gives the `port` as text.
pub(super) fn build<'a>(inputs: &'a Inputs, facts: &'a Facts, short: &'a Short, port: &str) -> Environment<'a> {
    let room = facts.environment.len() + inputs.run.env.set.len() + inputs.dotenv.len() + OWN_VARIABLES;
    let mut environment = Environment::with_capacity(room);
    for (name, value) in &facts.environment {
        if !is_denied(name) && (inputs.run.env.inherit || is_basic(name)) {
            environment.set(name, value.as_os_str());
        }
    }
    // What a package brought along comes first (install-upgrade §12.2).
    let own = inputs.row.install_dir.as_ref().map(|dir| dir.join("node_modules/.bin").into_os_string());
    let path = search_path(own.as_deref(), environment.get("PATH"), facts);
    environment.set(OsStr::new("PATH"), path);
    for (name, value) in inputs.run.env.set.iter().chain(&inputs.dotenv) {
        environment.set(name.as_ref(), OsStr::new(value));
    }
    // The row is the one authority for the port (supervisor §6).
    environment.set(OsStr::new("PORT"), OsString::from(port));
    environment.set(OsStr::new("PARACHUTE_HOME"), inputs.home.as_os_str());
    environment.set(OsStr::new("PARACHUTE_MODULE"), OsStr::new(short.as_ref()));
    if let Some(origin) = &inputs.origin {
        environment.set(OsStr::new("PARACHUTE_HUB_ORIGIN"), OsStr::new(origin));
    }
    if !inputs.origins.is_empty() {
        environment.set(OsStr::new("PARACHUTE_HUB_ORIGINS"), OsString::from(inputs.origins.join(",")));
    }
    if let Some(credentials) = &inputs.credentials {
        environment.set(OsStr::new("PARACHUTE_HUB_INTROSPECTION_URL"), OsStr::new(&credentials.introspection_url));
        environment.set(OsStr::new("PARACHUTE_MODULE_KEY_FILE"), credentials.key_file.as_os_str());
        if let Some(file) = &credentials.verify_keys_file {
            environment.set(OsStr::new("PARACHUTE_VERIFY_KEYS_FILE"), file.as_os_str());
        }
    }
    environment.set(OsStr::new(LINEAGE), lineage(facts, short));
    environment
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
    NAMES.contains(&name) || name.starts_with("LC_") || PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}

fn lineage(facts: &Facts, short: &Short) -> OsString {
    let outer = facts.environment.iter().find(|(name, _)| name == LINEAGE).map(|(_, value)| value);
    let mut lineage = outer.map_or_else(OsString::new, |outer| {
        let mut lineage = outer.clone();
        lineage.push(";");
        lineage
    });
    lineage.push(lineage_word(&facts.instance, short));
    lineage
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
fn search_path(own: Option<&OsStr>, inherited: Option<&OsStr>, facts: &Facts) -> OsString {
    let inherited = inherited.unwrap_or_default().as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes);
    let extra = facts.extra_path.iter().map(OsString::as_os_str);
    let usual = facts.usual_path.iter().map(OsString::as_os_str);
    let mut directories: Vec<&OsStr> = Vec::new();
    for directory in own.into_iter().chain(extra).chain(inherited).chain(usual) {
        if !directory.is_empty() && !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    directories.join(OsStr::new(":"))
}

#[cfg(test)]
mod tests;
