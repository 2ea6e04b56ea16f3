//! `install`: a directory that holds `.parachute/module.json` becomes a module, in place.

use super::ports::Wish;
use super::program;
use super::register::{self, CORRECT, Change, Extras, Wanted};
use crate::cli::exit::Failure;
use crate::cli::out::{Out, Report, printable};
use crate::cli::parse::Install;
use crate::cli::reach;
use crate::config::Config;
use crate::manifest::module::Manifest;
use crate::manifest::run::Run;
use crate::manifest::{Short, known};
use crate::store::modules;
use crate::sys::fs;
use crate::wire::Code;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// As large as a manifest may be.
const PACKAGE_LIMIT_BYTES: u64 = 256 * 1024;
/// What a row says of a package without a version.
const NO_VERSION: &str = "0.0.0";

pub(super) fn run(
    install: &Install,
    timeout: Option<Duration>,
    config: &Config,
    out: &mut Out,
) -> Result<Report, Failure> {
    let directory = directory(&install.directory)?;
    // It is no file of the home yet, so that a check would not see it.
    let manifest = modules::read_manifest(&directory)
        .map_err(|error| Failure { hint: CORRECT.to_owned(), ..reach::store_failure(&error) })?;
    let manifest = manifest.ok_or_else(|| {
        Failure::new(
            Code::InvalidConfig,
            format!("{} has no .parachute/module.json, so it is no module", directory.display()),
            "register its command instead: parachute add NAME -- COMMAND",
        )
    })?;
    let short = short(&manifest)?;
    Run::of(Some(&manifest), None).map_err(|problem| {
        let file = directory.join(".parachute/module.json");
        Failure::new(Code::InvalidConfig, format!("{}: {problem}", file.display()), CORRECT)
    })?;
    program::find(&start_command(&manifest, &short, &directory)?, &directory, config)?;
    let home = register::home(config)?;
    let wanted = Wanted {
        name: manifest.manifest_name.clone(),
        short,
        port: install.port.map_or(Wish::Preferably(manifest.port.get()), Wish::Exactly),
        paths: manifest.paths.clone(),
        health: manifest.health.clone(),
        version: version(&directory),
        install_dir: directory,
        extras: Extras::AsTheyAre,
    };
    let replace = install.after.replace;
    // What stood in the manifest before is not known, so that with --replace it counts as changed. It is not ours to write.
    let outcome = register::register(&home, config, &wanted, replace, &|_, _| Ok(replace), out)?;
    // A row that is there keeps its port, whoever has the manifest's.
    if install.port.is_none() && outcome.1 == Change::Added && outcome.0 != manifest.port.get() {
        out.warn(&format!("{}: port {} is taken, it gets {}", wanted.short, manifest.port, outcome.0));
    }
    register::finish(&home, config, &wanted, outcome, install.after, timeout, out)
}

fn directory(given: &Path) -> Result<PathBuf, Failure> {
    let fail = |why: &str| {
        Failure::new(
            Code::Usage,
            format!("install: {} {why}", printable(&given.to_string_lossy())),
            "this release installs directories only; see: parachute install --help",
        )
    };
    let path = given.canonicalize().map_err(|error| fail(&format!("cannot be opened: {error}")))?;
    if !path.is_dir() {
        return Err(fail("is not a directory"));
    }
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(fail("is not UTF-8, which services.json needs")),
    }
}

/// The short name that the row will go by. Nobody else may call himself like a known module.
fn short(manifest: &Manifest) -> Result<Short, Failure> {
    let of_row = known::short_of_row_name(&manifest.manifest_name);
    if let Some(known) = known::by_short(manifest.name.as_str()).filter(|known| known.short != of_row) {
        return Err(Failure::new(
            Code::Conflict,
            format!("\"{}\" is the name of a first-party module ({})", manifest.name, known.package),
            "give the module another name in its .parachute/module.json",
        ));
    }
    Short::parse(of_row).map_err(|problem| {
        Failure::new(
            Code::InvalidConfig,
            format!("manifestName {}: {}", printable(&manifest.manifest_name), problem.reason),
            CORRECT,
        )
    })
}

fn start_command(manifest: &Manifest, short: &Short, directory: &Path) -> Result<Vec<String>, Failure> {
    known::start_command(short, Some(manifest)).ok_or_else(|| {
        Failure::new(
            Code::NoStartCmd,
            format!(
                "{} has no startCmd, so nothing says how to start it",
                directory.join(".parachute/module.json").display()
            ),
            "give it one: \"startCmd\": [\"program\", \"argument\"]",
        )
    })
}

/// The version in `package.json`, where there is one.
fn version(directory: &Path) -> String {
    let path = directory.join("package.json");
    // Reading a FIFO would wait for its writer.
    let file = path.is_file().then(|| fs::open_read(&path).ok()).flatten();
    let bytes = file.and_then(|file| fs::read_to_limit(&file, PACKAGE_LIMIT_BYTES).ok().flatten());
    let package = bytes.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let version = package.as_ref().and_then(|package| package.get("version")).and_then(Value::as_str);
    version.map_or_else(|| NO_VERSION.to_owned(), str::to_owned)
}
