//! `backup` and `restore`: a home as one archive, and an archive as a home.

use crate::archive::{self, ArchiveError, Contents};
use crate::cli::exit::Failure;
use crate::cli::out::{Out, Report, printable};
use crate::cli::reach::{self, HEALTH_TIMEOUT};
use crate::client::ClientError;
use crate::config::Config;
use crate::store::{Create, Home, StoreError};
use crate::wire::Code;
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use std::time::SystemTime;

pub(super) fn write(file: &Path, config: &Config, out: &mut Out) -> Result<Report, Failure> {
    let home = Home::open(&config.home, Create::No).map_err(|error| reach::store_failure(&error))?;
    let written = archive::write(&home, file, SystemTime::now()).map_err(|error| failure(&error))?;
    for reason in written.left_out.iter().chain(&written.missing) {
        out.warn(&printable(reason));
    }
    if let Ok(Some(_)) | Err(ClientError::Silent { .. } | ClientError::CutOff { .. }) =
        reach::hub(&home, HEALTH_TIMEOUT)
    {
        out.warn(
            "the hub runs: what its modules wrote during the backup may be half of it; stop them for an exact one",
        );
    }
    let Contents { files, bytes, .. } = written.contents;
    let (mark, verdict) =
        if written.missing.is_empty() { ("✓ ", "and is whole") } else { ("", "and can be restored") };
    out.done(&format!("{mark}{} holds {files} files, {bytes} bytes; it was read back {verdict}", file.display()));
    out.done("  everybody who can read it holds the keys of this hub");
    Ok(Report {
        data: json!({
            "left_out": written.left_out, "missing": written.missing, "archive": about(file, &written.contents),
        }),
        failure: written.unsettled.map(|error| unsettled(file, &error)).or_else(|| incomplete(file, &written.missing)),
    })
}

/// An archive that lacks something is better than none, and not what was asked for.
fn incomplete(file: &Path, missing: &[String]) -> Option<Failure> {
    let what = match missing {
        [] => return None,
        [_] => "one thing".to_owned(),
        more => format!("{} things", more.len()),
    };
    let message = format!("{} lacks {what} of the home", file.display());
    Some(Failure::new(Code::Failed, message, "mend what the warnings name, then write another archive"))
}

pub(super) fn restore(file: &Path, config: &Config, out: &mut Out) -> Result<Report, Failure> {
    let restored = archive::unpack(file, &config.home).map_err(|error| match &error {
        ArchiveError::Exists { .. } => Failure::new(
            Code::Conflict,
            format!("{} holds something already, and restore overwrites nothing", config.home.display()),
            "stop its hub and move it away, or restore elsewhere: parachute --home DIR restore FILE",
        ),
        ArchiveError::Store(error @ StoreError::ForeignOwner { .. }) => reach::store_failure(error),
        other => failure(other),
    })?;
    let contents = &restored.contents;
    // The archive says these, and may be anybody's.
    let [version, created_at] = [&contents.version, &contents.created_at].map(|said| printable(said));
    let files = contents.files;
    out.done(&format!("✓ {} is as it was at {created_at} (release {version}, {files} files)", config.home.display()));
    if let (Some(from), rows @ 1..) = (&contents.home, restored.moved_rows) {
        let rows = if rows == 1 { "1 row names".to_owned() } else { format!("{rows} rows name") };
        out.done(&format!(
            "  the home was {}: {rows} its places at the new path now",
            printable(&from.to_string_lossy())
        ));
    }
    out.done("  start it with: parachute serve");
    for warning in &restored.warnings {
        out.warn(&printable(warning));
    }
    // The registry of tokens is an old one, and only a new key makes void what came between.
    if restored.is_older_copy {
        out.warn(&format!(
            "no token is accepted until the key is changed, because those revoked after {created_at} would be good \
             again; run: parachute auth rotate-key --now"
        ));
    }
    Ok(Report {
        data: json!({
            "home": config.home.to_string_lossy(), "moved_rows": restored.moved_rows, "archive": about(file, contents),
        }),
        failure: restored.unsettled.as_ref().map(|error| unsettled(&config.home, error)),
    })
}

/// All was done, and nobody can promise that it lasts.
fn unsettled(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Code::Failed,
        format!("{} is there and whole, and a power failure may still take it back: {error}", path.display()),
        "check the disk; until then keep what it was made of",
    )
}

fn about(file: &Path, contents: &Contents) -> Value {
    let Contents { version, created_at, home, files, bytes } = contents;
    let home = home.as_ref().map(|home| home.to_string_lossy());
    json!({
        "file": file.to_string_lossy(), "version": version, "created_at": created_at, "home": home, "files": files,
        "bytes": bytes,
    })
}

fn failure(error: &ArchiveError) -> Failure {
    let (code, hint) = match error {
        ArchiveError::Exists { .. } | ArchiveError::InsideHome { .. } => {
            (Code::Conflict, "name a file that is not there yet")
        }
        ArchiveError::Database(error) if error.is_busy() => (Code::Busy, "try again in a moment"),
        ArchiveError::Malformed { .. } => (Code::InvalidConfig, "take another copy of the archive"),
        ArchiveError::Read { .. }
        | ArchiveError::Write { .. }
        | ArchiveError::Torn { .. }
        | ArchiveError::Database(_)
        | ArchiveError::Store(_) => (Code::Failed, "check the path, its permissions and space"),
    };
    Failure::new(code, printable(&error.to_string()), hint)
}
