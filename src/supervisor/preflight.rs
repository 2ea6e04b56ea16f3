//! Looks whether a planned command can work, before anything is forked: exactly as exec will look for it, with the
//! child's `PATH` and directory.

use super::plan::Plan;
use super::{StartError, StartErrorKind};
use crate::shell;
use crate::sys::fs;
use crate::sys::process::is_executable;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The kernel reads this much of a script to find its interpreter (execve(2)).
const SHEBANG_BYTES: usize = 256;

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
    find(plan, name, Depth::WithInterpreter)
        .map_err(|missing| problem(missing.kind, Some(&missing.binary), missing.text))
}

/// Why a program cannot be run.
struct Unusable {
    kind: StartErrorKind,
    /// What is missing or cannot be executed.
    binary: String,
    text: String,
}

/// How far is looked. What an interpreter's own interpreter is, exec will tell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    WithInterpreter,
    FileAlone,
}

/// Finds what exec makes of `name`: a path as it is, a word on the child's `PATH`.
fn find(plan: &Plan<'_>, name: &str, depth: Depth) -> Result<PathBuf, Unusable> {
    let within = |path: &Path| match &plan.cwd {
        Some(cwd) => cwd.join(path),
        None => path.to_owned(),
    };
    let missing = |text| Unusable { kind: StartErrorKind::MissingDependency, binary: name.to_owned(), text };
    if name.contains('/') {
        let found = within(Path::new(name));
        return match std::fs::metadata(&found) {
            Err(error) => Err(missing(format!("its command {} cannot be found: {error}", found.display()))),
            Ok(metadata) => usable(plan, &found, &metadata, name, depth).map(|()| found),
        };
    }

    let path = plan.environment.get("PATH").unwrap_or_default();
    let mut first_unusable = None;
    for directory in std::env::split_paths(path) {
        let found = within(&directory).join(name);
        let Ok(metadata) = std::fs::metadata(&found) else { continue };
        match usable(plan, &found, &metadata, name, depth) {
            Ok(()) => return Ok(found),
            // exec goes on searching behind a file that it may not execute.
            Err(unusable) => first_unusable = first_unusable.or(Some(unusable)),
        }
    }
    Err(first_unusable.unwrap_or_else(|| {
        missing(format!(
            "{name} was not found on its PATH ({}); install it, or add its directory to PARACHUTE_EXTRA_PATH",
            path.to_string_lossy()
        ))
    }))
}

/// A file that is there: regular, executable, and with its interpreter in place when it is a script.
fn usable(plan: &Plan<'_>, file: &Path, metadata: &Metadata, name: &str, depth: Depth) -> Result<(), Unusable> {
    let not_executable = |text| Unusable { kind: StartErrorKind::NonExecutable, binary: name.to_owned(), text };
    if !metadata.is_file() {
        return Err(not_executable(format!("its command {} is not a regular file", file.display())));
    }
    if !is_executable(file) {
        let text =
            format!("its command {} is not executable; allow it with: chmod +x {}", file.display(), shell::word(file));
        return Err(not_executable(text));
    }
    let Some(line) = first_line(file).filter(|_| depth == Depth::WithInterpreter) else { return Ok(()) };
    let (interpreter, argument) = shebang(&line);
    let wants = |binary: &str, hint: String| Unusable {
        kind: StartErrorKind::MissingDependency,
        // A carriage return must be seen to be understood.
        binary: binary.escape_debug().to_string(),
        text: format!("{name} is a script for {}, which {hint}", binary.escape_debug()),
    };
    if interpreter.starts_with('/') && !Path::new(interpreter).exists() {
        let hint = match interpreter.ends_with('\r') {
            true => format!("is not there: its lines end in CR LF, save {} with LF alone", file.display()),
            false => format!("is not installed; install it or correct the first line of {}", file.display()),
        };
        return Err(wants(interpreter, hint));
    }
    if let Some(program) = argument.filter(|_| interpreter.ends_with("/env")).and_then(env_program)
        && let Err(unusable) = find(plan, program, Depth::FileAlone)
    {
        return Err(wants(program, format!("its first line in {} looks up: {}", file.display(), unusable.text)));
    }
    Ok(())
}

/// What stands behind `#!`; `None` for files that are no script and for those that may not be read.
fn first_line(file: &Path) -> Option<String> {
    let mut head = Vec::with_capacity(SHEBANG_BYTES + 1);
    fs::read_into(&fs::open_read(file).ok()?, SHEBANG_BYTES as u64, &mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok().map(str::to_owned)
}

/// The interpreter, and all that follows it as the one word that it is given. The kernel knows spaces and tabs only.
fn shebang(line: &str) -> (&str, Option<&str>) {
    let blank = [' ', '\t'];
    let line = line.trim_matches(blank);
    match line.split_once(blank) {
        Some((interpreter, argument)) => (interpreter, Some(argument.trim_start_matches(blank))),
        None => (line, None),
    }
}

/// The program that env(1) is to run; `None` when that takes more than a look.
fn env_program(argument: &str) -> Option<&str> {
    let split = argument.strip_prefix("-S").or_else(|| argument.strip_prefix("--split-string="));
    let program = match split {
        Some(words) => words.split_whitespace().next()?,
        None => argument,
    };
    (!program.starts_with('-') && !program.contains(['=', '$', '"', '\'', '\\'])).then_some(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_is_read_as_the_kernel_and_env_read_it() {
        for (line, expected) in [
            ("/bin/sh", ("/bin/sh", None)),
            (" /bin/sh -eu ", ("/bin/sh", Some("-eu"))),
            ("/bin/sh\r", ("/bin/sh\r", None)),
            ("/usr/bin/env node", ("/usr/bin/env", Some("node"))),
            ("/usr/bin/env\tnode --x", ("/usr/bin/env", Some("node --x"))),
        ] {
            let (interpreter, argument) = shebang(line);
            assert_eq!((interpreter, argument), expected, "{line:?}");
        }
        for (argument, expected) in [
            ("node", Some("node")),
            ("node --x", Some("node --x")),
            ("-S node --x", Some("node")),
            ("-S", None),
            ("-i node", None),
            ("A=1 node", None),
            ("-S A=1 node", None),
        ] {
            assert_eq!(env_program(argument), expected, "{argument:?}");
        }
    }
}
