//! Whether a module's program can be started at all, asked before anything is registered.

use crate::cli::exit::Failure;
use crate::config::Config;
use crate::shell;
use crate::wire::Code;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// `./server` means the caller's directory, which the module's own is not.
pub(super) fn absolute(argv: &[String]) -> Vec<String> {
    let mut argv = argv.to_vec();
    if let Some(program) = argv.first_mut().filter(|program| program.contains('/')) {
        // What is not UTF-8 stays as it was written, and is not found.
        if let Some(path) = std::path::absolute(&*program).ok().and_then(|path| path.to_str().map(str::to_owned)) {
            *program = path;
        }
    }
    argv
}

/// Looks for `argv`'s program as the hub will: beside the package, then on the path that children get.
pub(super) fn find(argv: &[String], install_dir: &Path, config: &Config) -> Result<PathBuf, Failure> {
    let program = argv.first().map_or("", String::as_str);
    if program.contains('/') {
        let path = install_dir.join(program);
        return match judge(&path) {
            Found::Program => Ok(path),
            Found::Unusable(lack) => Err(unusable(&path, lack)),
            Found::Nothing => Err(missing(
                program,
                &format!("there is no {}", path.display()),
                "install it there, or correct its path",
            )),
        };
    }
    let mut first_unusable = None;
    for dir in search_path(install_dir, config) {
        let path = dir.join(program);
        match judge(&path) {
            Found::Program => return Ok(path),
            Found::Unusable(lack) => drop(first_unusable.get_or_insert((path, lack))),
            Found::Nothing => {}
        }
    }
    Err(match first_unusable {
        Some((path, lack)) => unusable(&path, lack),
        None => {
            let hint = "install it, or put its directory into PARACHUTE_EXTRA_PATH of the hub";
            missing(program, "it was not found on PATH", hint)
        }
    })
}

fn search_path(install_dir: &Path, config: &Config) -> Vec<PathBuf> {
    let variable =
        |name: &str| config.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str());
    let mut dirs = vec![install_dir.join("node_modules/.bin")];
    dirs.extend(config.extra_path.iter().map(PathBuf::from));
    dirs.extend(std::env::split_paths(variable("PATH").unwrap_or(OsStr::new(""))));
    dirs.extend(variable("HOME").map(|home| Path::new(home).join(".local/bin")));
    // An empty entry means the current directory, which is not the module's.
    dirs.retain(|dir| dir.is_absolute());
    dirs
}

enum Found {
    Program,
    Unusable(Lack),
    Nothing,
}

/// Why what is there is no program.
#[derive(Debug, Clone, Copy)]
enum Lack {
    RegularFile,
    Permission,
}

fn judge(path: &Path) -> Found {
    match fs::metadata(path) {
        Ok(facts) if !facts.is_file() => Found::Unusable(Lack::RegularFile),
        Ok(facts) if facts.permissions().mode() & 0o111 == 0 => Found::Unusable(Lack::Permission),
        Ok(_) => Found::Program,
        Err(_) => Found::Nothing,
    }
}

fn missing(program: &str, why: &str, hint: &str) -> Failure {
    Failure::new(
        Code::MissingDependency,
        format!("{program} is required to run the module, but {why}; nothing was registered"),
        hint,
    )
}

/// In the words of the hub's own look before a start.
fn unusable(path: &Path, lack: Lack) -> Failure {
    let (what, hint) = match lack {
        Lack::RegularFile => ("is not a regular file", "name the file of the program itself".to_owned()),
        Lack::Permission => ("is not executable", format!("run: chmod +x {}", shell::word(path))),
    };
    Failure::new(Code::NonExecutable, format!("{} {what}; nothing was registered", path.display()), hint)
}
