//! One file per verb. Each `run` reads, asks the hub, prints through `Out` and leaves a `Report` or a `Failure`.

use super::exit::Failure;
use super::out::{Out, Report};
use super::parse::{Command, Globals};
use crate::config::Config;

pub(super) fn run(_command: Command, _globals: &Globals, _config: Config, _out: &mut Out) -> Result<Report, Failure> {
    Ok(Report::of(serde_json::Value::Null))
}

pub(super) fn module_names(_config: &Config, _out: &mut Out) -> Result<Report, Failure> {
    Ok(Report::of(serde_json::Value::Null))
}
