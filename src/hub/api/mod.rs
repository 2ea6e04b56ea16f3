//! Handlers: a request in, what the hub says out. No decisions about modules.

pub(super) mod introspect;
pub(super) mod logs;
pub(super) mod metrics;
pub(super) mod modules;
pub(super) mod settings;
pub(super) mod tokens;
pub(super) mod well_known;

use super::reply::{Outcome, Reply};
use super::request::{BadNumber, Req};
use crate::manifest::Short;
use crate::ops::Hub;
use crate::token::proof::Challenge;
use crate::token::scope::HOST_AUTH;
use crate::wire::Code;
use std::sync::Arc;

/// Always 200 while the process lives (http-api §3), unless it is asked to prove something that is no challenge.
pub(super) fn health(hub: &Arc<Hub>, req: &Req) -> Outcome {
    match req.query("challenge").map(Challenge::parse) {
        None => Reply::json(200, &hub.health(None)).into(),
        Some(Some(challenge)) => Reply::json(200, &hub.health(Some(&challenge))).into(),
        Some(None) => {
            let description = "parameter \"challenge\" must be 1 to 64 letters, digits, hyphens and underscores";
            Reply::error(400, Code::InvalidRequest, description).into()
        }
    }
}

/// 503 while a module that should run is not ready; which ones, only for somebody with a token (http-api H3).
pub(super) fn ready(hub: &Arc<Hub>, req: &Req) -> Outcome {
    let mut ready = hub.ready();
    if hub.authorize(req.bearer.as_deref(), &[HOST_AUTH], req.sender.client()).is_err() {
        ready.ready_modules.clear();
        ready.transient_modules.clear();
        ready.persistent_modules.clear();
    }
    let reply = Reply::json(if ready.ready { 200 } else { 503 }, &ready);
    if ready.ready { reply.into() } else { reply.with_header("retry-after", "1").into() }
}

pub(super) fn info(hub: &Arc<Hub>, _req: &Req) -> Outcome {
    Reply::json(200, &hub.info()).into()
}

/// The module that the path names. A name that no module can have is one that is not there.
fn short(req: &Req) -> Result<Short, Reply> {
    let name = req.params.first().map_or("", String::as_str);
    Short::parse(name)
        .map_err(|problem| Reply::error(404, Code::NotFound, format!("no module can be called {name:?}: {problem}")))
}

fn bad_number(bad: BadNumber) -> Reply {
    Reply::error(400, Code::InvalidRequest, bad.to_string())
}
