//! `hub`: what the hub is called. A running hub is asked; while it is down its database is, by the same functions.

use super::auth::desk::{BY_COMMAND, auth_failure, look, open};
use super::discovery;
use crate::cli::exit::Failure;
use crate::cli::out::{Out, Report};
use crate::cli::parse::OfHub;
use crate::cli::reach::{self, HEALTH_TIMEOUT, OP_TIMEOUT};
use crate::config::Config;
use crate::ops::auth::AuthError;
use crate::ops::origin;
use crate::origin::to_store;
use crate::store::services::Services;
use crate::store::{Create, Home};
use crate::wire::Code;
use crate::wire::origin::OriginReply;
use serde_json::json;
use std::time::Duration;

pub(super) fn run(
    of_hub: &OfHub,
    timeout: Option<Duration>,
    config: &Config,
    out: &mut Out,
) -> Result<Report, Failure> {
    let home = Home::open(&config.home, Create::No).map_err(|error| reach::store_failure(&error))?;
    let reply = match of_hub {
        OfHub::ShowOrigin => show(&home, timeout, config, out)?,
        OfHub::SetOrigin { origin } => {
            let origin = origin.as_deref().map(to_store).transpose().map_err(|error| {
                let hint = "see: parachute hub set-origin --help";
                Failure::new(Code::InvalidHubOrigin, error.to_string(), hint)
            })?;
            let reply = set(&home, origin.as_deref(), timeout, config, out)?;
            discovery::refresh(&home, config, out);
            reply
        }
    };
    say(of_hub, &reply, out);
    Ok(Report::of(json!({
        "hub_origin": reply.hub_origin,
        "resolved_issuer": reply.resolved_issuer,
        "source": reply.source,
        "changed": reply.changed,
        "notes": reply.notes,
    })))
}

fn show(home: &Home, timeout: Option<Duration>, config: &Config, out: &mut Out) -> Result<OriginReply, Failure> {
    if let Some(mut up) = reach::hub(home, HEALTH_TIMEOUT).map_err(|error| Failure::of_client(&error))? {
        up.authorise(home, config, out)?;
        up.client.set_timeout(timeout.unwrap_or(OP_TIMEOUT));
        return up.client.origin().map_err(|error| Failure::of_client(&error));
    }
    let authority = look(home, config, out)?;
    origin::shown(&authority).map_err(|error| auth_failure(&AuthError::Db(error)))
}

fn set(
    home: &Home,
    origin: Option<&str>,
    timeout: Option<Duration>,
    config: &Config,
    out: &mut Out,
) -> Result<OriginReply, Failure> {
    if let Some(mut up) = reach::hub(home, HEALTH_TIMEOUT).map_err(|error| Failure::of_client(&error))? {
        up.authorise(home, config, out)?;
        up.client.set_timeout(timeout.unwrap_or(OP_TIMEOUT));
        return up.client.set_origin(origin).map_err(|error| Failure::of_client(&error));
    }
    let document = Services::new(home.clone()).read().map_err(|error| reach::store_failure(&error))?;
    let authority = open(home, config, out)?;
    origin::set(&authority, home, Some(&document), origin, BY_COMMAND).map_err(|error| auth_failure(&error))
}

fn say(of_hub: &OfHub, reply: &OriginReply, out: &mut Out) {
    match of_hub {
        OfHub::ShowOrigin => out.data(&format!("{}\n", reply.resolved_issuer)),
        OfHub::SetOrigin { .. } if !reply.changed => {
            out.done(&format!("the origin is {} already", reply.resolved_issuer));
        }
        OfHub::SetOrigin { .. } => {
            out.done(&format!("✓ the origin is {}", reply.resolved_issuer));
            reply.notes.iter().for_each(|note| out.done(&format!("  {note}")));
            out.done("  other modules are told at their next start: parachute restart MODULE");
        }
    }
}
