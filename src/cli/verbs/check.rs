//! `check`: reads every file of the home as the hub would, and says what is wrong with it. Changes nothing.

use super::auth::desk::NEW_DATABASE;
use crate::cli::exit::{Failure, NEW_TOKEN};
use crate::cli::out::{Out, Report, printable};
use crate::cli::reach;
use crate::config::Config;
use crate::db::{self, DbError};
use crate::manifest::circles::{Waiting, circles, told};
use crate::manifest::run::Run;
use crate::manifest::services::{Listing, Row};
use crate::manifest::{Short, known};
use crate::ops::auth::{RolledBack, check_key_file};
use crate::shell;
use crate::store::intent::Intent;
use crate::store::operator_token::{self, OperatorTokenError};
use crate::store::services::Services;
use crate::store::{Create, Home, StoreError, children, dotenv, epoch, exposure, identity, modules};
use crate::sys::fs::may_change;
use crate::token::verify as token;
use crate::wire::Code;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What a missing token comes to while no hub runs.
pub(super) const NO_TOKEN: &str = "is not there; parachute serve writes one when it starts";

/// A file of the hub's own is a file: never a link, a directory or a FIFO.
const NOT_REGULAR: &str = "is not a regular file; move it away";

/// Directories that the hub goes through, but not through links.
const OWN_DIRECTORIES: [&str; 2] = ["hub", "hub/run"];

/// Files that the hub replaces or locks, whatever is in them.
const OWN_FILES: [&str; 9] = [
    "hub-instance.json",
    "hub/run/hub.port",
    "hub/run/hub.pid",
    "hub/run/hub.lock",
    "hub/run/intent.lock",
    "hub/run/operator.lock",
    "hub/run/services.gate",
    "services.json.lock",
    "services.json.removed",
];

/// Files of each module, below its directory.
const MODULE_FILES: [&str; 2] = ["run/hub.key", "run/verify-keys.json"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Well,
    /// Only worth knowing.
    Note,
    /// Something will not work.
    Invalid,
}

/// What was found about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    weight: Weight,
    file: PathBuf,
    /// Names the field where there is one.
    text: String,
}

pub(super) fn run(config: &Config, out: &mut Out) -> Result<Report, Failure> {
    let (mut findings, home) = files(config);
    home.iter().for_each(|home| older_copy(home, &mut findings));
    let findings = findings.at_home(out);
    let invalid = findings.invalid();
    out.data(&findings.text(config));
    let data = findings.data(config);
    let failure = (invalid > 0).then(|| {
        let plural = if invalid == 1 { "" } else { "s" };
        Failure::new(
            Code::InvalidConfig,
            format!("{invalid} problem{plural} found"),
            "correct the files, then: parachute check",
        )
    });
    Ok(Report { data, failure })
}

/// What the files say by themselves; and the home, where there is one that can be used.
pub(super) fn files(config: &Config) -> (Findings, Option<Home>) {
    let mut findings = Findings::default();
    let home = match Home::open(&config.home, Create::No) {
        Ok(home) => {
            let hub_port = identity::read(&home).map_or(config.port, |identity| identity.port);
            look(&home, hub_port, &mut findings);
            signing_key(&home, config, &mut findings);
            Some(home)
        }
        Err(StoreError::NoHome { path }) => {
            findings.note(&path, "does not exist yet; the first parachute serve makes it");
            None
        }
        Err(error) => {
            findings.bad(error.path(), &error.to_string());
            None
        }
    };
    (findings, home)
}

#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// How many of them keep something from working.
    pub(super) fn invalid(&self) -> usize {
        self.0.iter().filter(|finding| finding.weight == Weight::Invalid).count()
    }

    /// Whether something of this file will not work.
    pub(super) fn is_bad(&self, file: &Path) -> bool {
        self.0.iter().any(|finding| finding.weight == Weight::Invalid && finding.file == file)
    }

    /// With commands that are for the home that was named.
    pub(super) fn at_home(mut self, out: &Out) -> Self {
        self.0.iter_mut().for_each(|finding| finding.text = out.at_home(&finding.text));
        self
    }

    pub(super) fn text(&self, config: &Config) -> String {
        let mut text = String::new();
        for finding in &self.0 {
            let mark = match finding.weight {
                Weight::Well => '✓',
                Weight::Note => '⚠',
                Weight::Invalid => '✗',
            };
            text.push_str(&format!("{mark} {}\n", printable(&format!("{}: {}", finding.file.display(), finding.text))));
        }
        if self.0.iter().all(|finding| finding.weight == Weight::Well) {
            text.push_str(&format!("✓ {}: nothing is wrong\n", config.home.display()));
        }
        text
    }

    pub(super) fn data(&self, config: &Config) -> Value {
        json!({
            "home": config.home.to_string_lossy(),
            "invalid": self.invalid(),
            "findings": self.0.iter().map(|finding| json!({
                "invalid": finding.weight == Weight::Invalid, "well": finding.weight == Weight::Well,
                "file": finding.file.to_string_lossy(), "text": finding.text,
            })).collect::<Vec<_>>(),
        })
    }

    pub(super) fn bad(&mut self, file: &Path, text: &str) {
        self.push(Weight::Invalid, file, text);
    }

    pub(super) fn note(&mut self, file: &Path, text: &str) {
        self.push(Weight::Note, file, text);
    }

    pub(super) fn well(&mut self, file: &Path, text: &str) {
        self.push(Weight::Well, file, text);
    }

    /// Takes back what was found about a file.
    pub(super) fn forget(&mut self, file: &Path, text: &str) {
        self.0.retain(|finding| finding.file != file || finding.text != text);
    }

    /// The file stands before the text: one that begins with it would say it twice.
    fn push(&mut self, weight: Weight, file: &Path, text: &str) {
        let rest = text.strip_prefix(&*file.to_string_lossy());
        let rest = rest.and_then(|rest| rest.strip_prefix(": ").or_else(|| rest.strip_prefix(' ')));
        self.0.push(Finding { weight, file: file.to_owned(), text: rest.unwrap_or(text).to_owned() });
    }

    fn store(&mut self, error: &StoreError) {
        self.bad(error.path(), &error.to_string());
    }
}

fn look(home: &Home, hub_port: u16, findings: &mut Findings) {
    for warning in home.warnings() {
        findings.note(home.path(), warning);
    }
    let below = OWN_DIRECTORIES.iter().map(|name| home.path().join(name)).filter(|directory| directory.is_dir());
    for directory in std::iter::once(home.path().to_owned()).chain(below) {
        can_be_changed(&directory, findings);
    }
    let services = Services::new(home.clone());
    match services.read() {
        Ok(document) => rows(home, hub_port, &document, findings),
        Err(error) => findings.store(&error),
    }
    token(home, findings);
    database(home, findings);
    own_files(home, &services, findings);
    if let Some(warning) = Intent::load(home).warning() {
        findings.bad(&home.path().join("hub/intent.json"), &warning);
    }
}

/// What the hub keeps for itself, beside the list of modules and the database.
fn own_files(home: &Home, services: &Services, findings: &mut Findings) {
    for name in OWN_DIRECTORIES {
        if !is_directory(&home.path().join(name), findings) {
            return;
        }
    }
    for name in OWN_FILES {
        is_file(&home.path().join(name), findings);
    }
    let socket = home.path().join("hub/run/hub.sock");
    if fs::symlink_metadata(&socket).is_ok_and(|facts| !facts.file_type().is_socket()) {
        findings.bad(&socket, "is in the way of the hub's socket; move it away");
    }
    let read = [
        services.look_at_backup(),
        services.look_at_journal(),
        children::read_previous(home).map(drop),
        epoch::read(home).map(drop),
        exposure::read(home).map(drop),
    ];
    read.iter().filter_map(|outcome| outcome.as_ref().err()).for_each(|error| findings.store(error));
}

/// Whether the commands and the hub, run by who runs this, can write files into it.
fn can_be_changed(directory: &Path, findings: &mut Findings) {
    if let Err(error) = may_change(directory) {
        let text = format!("cannot be written to: {error}; check its file system, or run: chmod u+rwx");
        findings.bad(directory, &format!("{text} {}", shell::word(directory)));
    }
}

/// One that is missing does as well.
fn is_file(file: &Path, findings: &mut Findings) {
    if fs::symlink_metadata(file).is_ok_and(|facts| !facts.is_file()) {
        findings.bad(file, NOT_REGULAR);
    }
}

/// Whether the hub goes through it, which it does through no link. One that is missing does as well.
fn is_directory(directory: &Path, findings: &mut Findings) -> bool {
    let is_other = fs::symlink_metadata(directory).is_ok_and(|facts| !facts.is_dir());
    if is_other {
        findings.bad(directory, "is not a directory; move it away");
    }
    !is_other
}

/// Whether the hub would take it, and whether what is in it can be used; what it says is for the hub.
fn database(home: &Home, findings: &mut Findings) {
    let files = ["hub.db", "hub.db-wal", "hub.db-shm"].map(|name| home.path().join(name));
    for file in &files {
        is_taken(home, file, findings);
    }
    let [file, ..] = &files;
    if files.iter().any(|file| findings.is_bad(file)) {
        return;
    }
    if fs::metadata(file).is_ok_and(|facts| facts.len() == 0) {
        return findings.bad(file, &format!("is empty; {NEW_DATABASE}"));
    }
    let looked = db::verify(file);
    // Who may read another program's database is for that one to say.
    if !looked.as_ref().is_err_and(DbError::is_foreign) {
        for file in &files {
            private(file, findings);
        }
    }
    match looked {
        Ok(_) => {}
        Err(error) if error.is_damage() => findings.bad(file, &format!("{error}; {NEW_DATABASE}")),
        Err(error) => findings.bad(file, &error.to_string()),
    }
}

/// Whether the next hub has the file that the keys are bound to. One that runs was told of it by its own surroundings.
fn signing_key(home: &Home, config: &Config, findings: &mut Findings) {
    if identity::living(home).is_some() || findings.is_bad(&home.path().join("hub.db")) {
        return;
    }
    if let Err(error) = check_key_file(home, &reach::surroundings(home, config)) {
        findings.bad(home.path(), &error.to_string());
    }
}

/// Whether the database is older than one that was here before; `doctor` knows it from what else it looks at in there.
fn older_copy(home: &Home, findings: &mut Findings) {
    let file = home.path().join("hub.db");
    if findings.is_bad(&file) {
        return;
    }
    if let (Ok(Some(found)), Ok(Some(seen))) = (db::verify(&file), epoch::read(home))
        && found < seen
    {
        findings.bad(&file, &RolledBack { found, seen: Some(seen) }.to_string());
    }
}

/// Whether it is a file of ours.
fn is_taken(home: &Home, file: &Path, findings: &mut Findings) {
    // The home itself is ours, or it would not be open.
    let ours = fs::metadata(home.path()).map(|facts| facts.uid()).ok();
    match fs::symlink_metadata(file) {
        Ok(facts) if !facts.is_file() => findings.bad(file, NOT_REGULAR),
        Ok(facts) if ours.is_some_and(|ours| facts.uid() != ours) => {
            findings.bad(file, &format!("belongs to user {}; run as that user, or change its owner", facts.uid()));
        }
        Ok(_) | Err(_) => {}
    }
}

fn rows(home: &Home, hub_port: u16, document: &Listing, findings: &mut Findings) {
    let file = home.services_json();
    let mut waiting = Waiting::new();
    for entry in document.entries() {
        match &entry.row {
            Err(problem) => findings.bad(&file, &format!("row {}: {problem}", entry.name)),
            Ok(row) => {
                if row.port.get() == hub_port {
                    findings.bad(&file, &format!("row {}: field \"port\" {hub_port} is the hub's own", entry.name));
                }
                for problem in &row.refused_paths {
                    findings.bad(&file, &format!("row {}: {problem}", entry.name));
                }
                let needed = module(home, &file, row, findings);
                if entry.served_by.is_none() {
                    waiting.insert(row.short.clone(), processes(document, &file, row, &needed, findings));
                }
            }
        }
        if let Some(short) = &entry.short {
            module_files(home, short, findings);
        }
    }
    for circle in circles(&waiting) {
        findings.note(&file, &told(&circle));
    }
}

/// What the hub keeps for a module.
fn module_files(home: &Home, short: &Short, findings: &mut Findings) {
    let directory = home.module_dir(short);
    if !is_directory(&directory, findings) {
        return;
    }
    environment(home, short, findings);
    let logs = home.log_dir(short);
    // They may well be on another disk.
    if logs.is_dir() || is_directory(&logs, findings) {
        is_file(&logs.join(format!("{short}.log")), findings);
    }
    if is_directory(&directory.join("run"), findings) {
        for name in MODULE_FILES {
            is_file(&directory.join(name), findings);
        }
    }
}

/// The modules that a row's one waits for at boot; names a name that no module has.
fn processes(document: &Listing, file: &Path, row: &Row, needed: &[Short], findings: &mut Findings) -> BTreeSet<Short> {
    let mut processes = BTreeSet::new();
    for name in needed {
        match document.dependency(name) {
            Some(process) => drop(processes.insert(process)),
            None => {
                let text =
                    format!("row {}: dependsOn names {name}, which is no module; it is not waited for", row.name);
                findings.note(file, &text);
            }
        }
    }
    processes
}

/// What is wrong with what a row names; the names that the module depends on, where they can be read.
fn module(home: &Home, file: &Path, row: &Row, findings: &mut Findings) -> Vec<Short> {
    let manifest = match row.install_dir.as_deref().map(modules::read_manifest).transpose() {
        Ok(manifest) => manifest.flatten(),
        Err(error) => {
            findings.store(&error);
            return Vec::new();
        }
    };
    if known::start_command(&row.short, manifest.as_ref()).is_none() {
        let text = match &row.install_dir {
            None => "field \"installDir\" is missing, so nothing says how to start it",
            Some(_) => "its .parachute/module.json has no startCmd, so nothing says how to start it",
        };
        findings.bad(file, &format!("row {}: {text}", row.name));
    }
    if let Err(problem) = Run::of(manifest.as_ref(), None) {
        let dir = row.install_dir.clone().unwrap_or_else(|| home.adopted_dir(&row.short));
        findings.bad(&dir.join(".parachute/module.json"), &problem.to_string());
        return Vec::new();
    }
    match Run::of(manifest.as_ref(), Some(row)) {
        Ok(run) => run.depends_on,
        Err(problem) => {
            findings.bad(file, &format!("row {}: {problem}", row.name));
            Vec::new()
        }
    }
}

fn environment(home: &Home, short: &Short, findings: &mut Findings) {
    let file = home.module_dir(short).join(".env");
    match dotenv::read(home, short) {
        Ok(read) => {
            for warning in read.warnings {
                findings.note(&file, &warning);
            }
        }
        Err(error) => findings.store(&error),
    }
    private(&file, findings);
}

/// Reading a token makes its file private; here it is only looked at.
fn token(home: &Home, findings: &mut Findings) {
    let file = operator_token::path(home);
    if private(&file, findings) {
        match operator_token::read(home) {
            Ok(found) if token::is_whole(&found.text) => {}
            Ok(_) => findings.bad(&file, &format!("holds no whole token of a hub; {NEW_TOKEN}")),
            Err(OperatorTokenError::Missing { .. }) if file.exists() => {
                findings.bad(&file, &format!("is empty; {NEW_TOKEN}"));
            }
            Err(OperatorTokenError::Missing { .. }) => {
                findings.note(&file, NO_TOKEN);
            }
            Err(error) => findings.bad(&file, &error.to_string()),
        }
    }
}

/// Whether nobody else may read it; a missing file is private.
fn private(file: &Path, findings: &mut Findings) -> bool {
    if let Some(mode) = loose_mode(file) {
        findings.note(file, &format!("others may read it (mode {mode:04o}); run: chmod 600 {}", shell::word(file)));
        return false;
    }
    true
}

/// The same, without a word about it.
pub(super) fn is_private(file: &Path) -> bool {
    loose_mode(file).is_none()
}

fn loose_mode(file: &Path) -> Option<u32> {
    let facts = fs::symlink_metadata(file).ok().filter(fs::Metadata::is_file)?;
    (facts.mode() & 0o077 != 0).then_some(facts.mode() & 0o7777)
}
