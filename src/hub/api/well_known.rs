//! `/.well-known/*`: what pages and programs of anybody may read. The only answers with CORS headers (http-api §11).

use crate::hub::reply::{Outcome, Reply};
use crate::hub::request::{Method, Req};
use crate::ops::Hub;
use crate::wire::Code;
use serde_json::json;
use std::sync::Arc;

/// Where the modules are (http-api §4.1).
pub(in crate::hub) fn parachute(hub: &Arc<Hub>, req: &Req) -> Outcome {
    readable_by_all(req, || match hub.discovery(req.sender.asked(), req.sender.audience) {
        Ok(document) => Reply::json(200, &document),
        // Which file of ours cannot be read is nobody's business; `parachute status` says it.
        Err(_) => Reply::error(500, Code::InternalError, "well-known build failed: the list of modules cannot be read"),
    })
}

/// Our tokens are signed with a secret, so there is no key that anybody else could check them with (design §6).
pub(in crate::hub) fn jwks(_hub: &Arc<Hub>, req: &Req) -> Outcome {
    readable_by_all(req, || Reply::json(200, &json!({ "keys": [] })))
}

/// The tokens that were taken back, for modules that check tokens themselves (operator-token A11).
pub(in crate::hub) fn revocations(hub: &Arc<Hub>, req: &Req) -> Outcome {
    readable_by_all(req, || match hub.revocations() {
        Ok(list) => Reply::json(200, &list).with_header("cache-control", "public, max-age=60"),
        Err(_) => Reply::error(503, Code::ServiceUnavailable, "the hub's database cannot be asked what was revoked"),
    })
}

fn readable_by_all(req: &Req, answer: impl FnOnce() -> Reply) -> Outcome {
    let reply = if req.method == Method::Options { Reply::no_content() } else { answer() };
    reply
        .with_header("access-control-allow-origin", "*")
        .with_header("access-control-allow-methods", "GET, OPTIONS")
        .into()
}
