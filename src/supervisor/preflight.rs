//! Looks whether a planned command can work, before anything is forked: exactly as exec will look for it, with the
//! child's `PATH` and directory.

use super::plan::Plan;
use super::{StartError, StartErrorKind};
use crate::sys::fs;
use crate::sys::process::is_executable;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The kernel reads this much of a script to find its interpreter (execve(2)).
const SHEBANG_BYTES: u64 = 256;

/// The file that exec is to run, absolute or relative to the child's directory as it was written.
pub(crate) fn resolve(plan: &Plan<'_>) -> Result<PathBuf, StartError> {
    let problem = |kind, binary: Option<&str>, description: String| StartError {
        kind,
        description,
        binary: binary.map(str::to_owned),
        at: SystemTime::now(),
    };
    if let Some(cwd) = &plan.cwd {
        match std::fs::metadata(cwd) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let text = format!("its directory {} is not a directory", cwd.display());
                return Err(problem(StartErrorKind::MissingCwd, None, text));
            }
            Err(error) => {
                let text = format!(
                    "its directory {} cannot be used: {error}; bring it back or install the module anew",
                    cwd.display()
                );
                return Err(problem(StartErrorKind::MissingCwd, None, text));
            }
        }
    }
    // The plan has refused an empty command.
    let name = plan.argv.first().map_or("", String::as_str);
    let within = |path: &Path| match &plan.cwd {
        Some(cwd) => cwd.join(path),
        None => path.to_owned(),
    };

    if name.contains('/') {
        let found = within(Path::new(name));
        return match std::fs::metadata(&found) {
            Err(error) => Err(problem(
                StartErrorKind::MissingDependency,
                Some(name),
                format!("its command {} cannot be found: {error}", found.display()),
            )),
            Ok(_) => usable(&found, name).map(|()| found).map_err(|(kind, text)| problem(kind, Some(name), text)),
        };
    }

    let path = plan.environment.get("PATH").unwrap_or_default();
    let mut first_unusable = None;
    for directory in std::env::split_paths(path) {
        let found = within(&directory).join(name);
        if !found.exists() {
            continue;
        }
        match usable(&found, name) {
            Ok(()) => return Ok(found),
            // exec goes on searching behind a file that it may not execute.
            Err(unusable) => first_unusable = first_unusable.or(Some(unusable)),
        }
    }
    Err(match first_unusable {
        Some((kind, text)) => problem(kind, Some(name), text),
        None => problem(
            StartErrorKind::MissingDependency,
            Some(name),
            format!(
                "{name} was not found on its PATH ({}); install it, or add its directory to PARACHUTE_EXTRA_PATH",
                path.to_string_lossy()
            ),
        ),
    })
}

/// A file that is there: regular, executable, and with its interpreter in place when it is a script.
fn usable(file: &Path, name: &str) -> Result<(), (StartErrorKind, String)> {
    let is_file = std::fs::metadata(file).is_ok_and(|found| found.is_file());
    if !is_file {
        let text = format!("its command {} is not a regular file", file.display());
        return Err((StartErrorKind::NonExecutable, text));
    }
    if !is_executable(file) {
        let text = format!("its command {} is not executable; allow it with: chmod +x {0}", file.display());
        return Err((StartErrorKind::NonExecutable, text));
    }
    if let Some(interpreter) = interpreter(file)
        && !interpreter.exists()
    {
        let text = format!(
            "{name} is a script for {}, which is not installed; install it or correct the first line of {}",
            interpreter.display(),
            file.display()
        );
        return Err((StartErrorKind::MissingDependency, text));
    }
    Ok(())
}

/// What the first line of a script names; `None` for other files and for those that may not be read.
fn interpreter(file: &Path) -> Option<PathBuf> {
    let mut head = Vec::new();
    fs::read_into(&fs::open_read(file).ok()?, SHEBANG_BYTES, &mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim();
    let interpreter = line.split([' ', '\t']).next()?;
    interpreter.starts_with('/').then(|| PathBuf::from(interpreter))
}
