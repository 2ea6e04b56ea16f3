//! Whether requests are logged, where and how.

use super::ConfigError;
use super::variables::{Variables, invalid};
use std::path::{Path, PathBuf};

/// The access log below the home.
const ACCESS_LOG: &str = "hub/logs/access.log";
const FORMAT_EXPECTED: &str = "combined or json";
const ALONE_EXPECTED: &str = "unset unless PARACHUTE_ACCESS_LOG is combined or json";
const FILE_EXPECTED: &str = "an absolute path of a file, or - for standard output";

/// Where and how requests are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessLog {
    /// `PARACHUTE_ACCESS_LOG`.
    pub(crate) format: AccessFormat,
    /// `PARACHUTE_ACCESS_LOG_FILE`, absolute; `None`, which is `-`: the hub's standard output.
    pub(crate) file: Option<PathBuf>,
}

impl AccessLog {
    /// `None` when none is asked for.
    pub(super) fn read(variables: &Variables, home: &Path) -> Result<Option<Self>, ConfigError> {
        let file = variables.get("PARACHUTE_ACCESS_LOG_FILE");
        let refused = |expected| {
            let file = file.unwrap_or_default().to_string_lossy();
            Err(invalid("PARACHUTE_ACCESS_LOG_FILE", &file, expected))
        };
        let format = variables.parsed("PARACHUTE_ACCESS_LOG", FORMAT_EXPECTED, |format| match format {
            "combined" => Some(AccessFormat::Combined),
            "json" => Some(AccessFormat::Json),
            _ => None,
        })?;
        match (format, file.map(Path::new)) {
            (None, None) => Ok(None),
            // Whoever names the file alone believes that it is written.
            (None, Some(_)) => refused(ALONE_EXPECTED),
            (Some(format), None) => Ok(Some(Self { format, file: Some(home.join(ACCESS_LOG)) })),
            (Some(format), Some(path)) if path == Path::new("-") => Ok(Some(Self { format, file: None })),
            (Some(format), Some(path)) if path.is_absolute() && path.file_name().is_some() => {
                Ok(Some(Self { format, file: Some(path.to_owned()) }))
            }
            (Some(_), Some(_)) => refused(FILE_EXPECTED),
        }
    }
}

/// How the access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessFormat {
    /// As Apache and nginx call it.
    Combined,
    /// One object a line.
    Json,
}
