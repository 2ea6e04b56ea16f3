//! `open`: an address that lets a browser in. It is printed and not given to a program that would open it, because
//! everybody on the machine can read the arguments of programs.

use crate::cli::exit::Failure;
use crate::cli::out::{Out, Report};
use crate::cli::reach::{self, HEALTH_TIMEOUT, OP_TIMEOUT};
use crate::config::Config;
use crate::store::{Create, Home};
use serde_json::json;
use std::time::Duration;

pub(super) fn run(
    path: Option<&str>,
    here: bool,
    timeout: Option<Duration>,
    config: &Config,
    out: &mut Out,
) -> Result<Report, Failure> {
    let home = Home::open(&config.home, Create::No).map_err(|error| reach::store_failure(&error))?;
    let up = reach::hub(&home, HEALTH_TIMEOUT).map_err(|error| Failure::of_client(&error))?;
    let mut up = up.ok_or_else(|| reach::down(&home, config))?;
    up.authorise(&home, config, out)?;
    up.client.set_timeout(timeout.unwrap_or(OP_TIMEOUT));
    let open = up.client.open_login(path, here).map_err(|error| Failure::of_client(&error))?;
    out.data(&format!("{}\n", open.url));
    Ok(Report::of(json!({ "url": open.url, "expires_at": open.expires_at })))
}
