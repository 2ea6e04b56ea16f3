//! `/api/settings/*`: what can be set about the hub (http-api §8).

use crate::hub::reply::{Outcome, Reply};
use crate::hub::request::Req;
use crate::ops::Hub;
use crate::ops::auth::AuthError;
use crate::wire::Code;
use crate::wire::origin::OriginRequest;
use std::sync::Arc;

pub(in crate::hub) fn origin(hub: &Arc<Hub>, _req: &Req) -> Outcome {
    match hub.origin() {
        Ok(reply) => Reply::json(200, &reply).into(),
        Err(_) => unavailable().into(),
    }
}

pub(in crate::hub) fn set_origin(hub: &Arc<Hub>, req: &Req) -> Outcome {
    let Some(body) = req.body.whole() else {
        return Reply::error(413, Code::TooLarge, "the body is larger than any origin").into();
    };
    let Ok(request) = serde_json::from_slice::<OriginRequest>(body) else {
        let description = "the body must be a JSON object with the field hub_origin, a text or null";
        return Reply::error(400, Code::InvalidRequest, description).into();
    };
    match hub.set_origin(request.hub_origin.as_deref(), Some(&req.sender.shown())) {
        Ok(reply) => Reply::json(200, &reply).into(),
        Err(AuthError::Origin(error)) => Reply::error(400, Code::InvalidHubOrigin, error.to_string()).into(),
        Err(_) => unavailable().into(),
    }
}

/// What is wrong with a file of ours is for commands on this machine.
fn unavailable() -> Reply {
    Reply::error(503, Code::ServiceUnavailable, "the hub's settings cannot be used now; see: parachute doctor")
}
