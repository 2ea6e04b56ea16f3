//! `/api/auth/*`: minting, listing, showing and taking back tokens (operator-token A11).

use crate::hub::reply::{Outcome, Reply};
use crate::hub::request::Req;
use crate::ops::Hub;
use crate::ops::auth::{AuthError, Caller, TokenOpError};
use crate::ops::tokens::ListQuery;
use crate::token::grant::Fault;
use crate::wire::Code;
use crate::wire::tokens::{MintRequest, RevokeAllRequest, RevokeRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Lines of the audit log that are shown unless `n` says otherwise, and the most that are.
const LOG_LINES: u32 = 100;
const LOG_LINES_MAX: u64 = 10_000;

pub(in crate::hub) fn mint(hub: &Arc<Hub>, req: &Req) -> Outcome {
    let peer = req.sender.shown();
    with_body::<MintRequest, _>(hub, req, |caller, request| hub.mint_token(caller, Some(&peer), request))
}

pub(in crate::hub) fn revoke(hub: &Arc<Hub>, req: &Req) -> Outcome {
    let peer = req.sender.shown();
    with_body::<RevokeRequest, _>(hub, req, |caller, request| {
        hub.tokens(caller, Some(&peer)).revoke(&request.jti, request.cascade.unwrap_or(true))
    })
}

pub(in crate::hub) fn revoke_all(hub: &Arc<Hub>, req: &Req) -> Outcome {
    let peer = req.sender.shown();
    with_body::<RevokeAllRequest, _>(hub, req, |caller, request| {
        hub.tokens(caller, Some(&peer)).revoke_all(&request.subject)
    })
}

/// Renews the operator's token, which the hub writes into its file; it is not in the answer.
pub(in crate::hub) fn renew(hub: &Arc<Hub>, req: &Req) -> Outcome {
    let Some(caller) = &req.caller else { return nobody().into() };
    let peer = req.sender.shown();
    match hub.tokens(caller, Some(&peer)).renew() {
        Ok(reply) => Reply::json(200, &reply).into(),
        Err(error) => failed(hub, req, &error.into()).into(),
    }
}

/// An address that lets one browser in. Only for who shows a token: a browser cannot make its own time longer.
pub(in crate::hub) fn open(hub: &Arc<Hub>, req: &Req) -> Outcome {
    let Some(caller) = &req.caller else { return nobody().into() };
    match hub.open_login(caller, req.query("path"), req.flag("here")) {
        Some(open) => Reply::json(200, &open).into(),
        None => {
            let description = "parameter \"path\" must be a path of this hub, in ASCII, that begins with one slash";
            Reply::error(400, Code::InvalidRequest, description).into()
        }
    }
}

pub(in crate::hub) fn list(hub: &Arc<Hub>, req: &Req) -> Outcome {
    let text = |name| req.query(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let either = |what| match req.query(what) {
        None | Some("" | "all") => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(TokenOpError::BadFilter { what }),
    };
    let (revoked, active) = match (either("revoked"), either("active")) {
        (Ok(revoked), Ok(active)) => (revoked, active),
        (Err(bad), _) | (_, Err(bad)) => return answer::<()>(hub, req, Err(bad)),
    };
    let (subject, created_via, cursor) = (text("subject"), text("created_via"), text("cursor"));
    answer(hub, req, hub.list_tokens(ListQuery { revoked, active, subject, created_via, cursor }))
}

pub(in crate::hub) fn show(hub: &Arc<Hub>, req: &Req) -> Outcome {
    answer(hub, req, hub.show_token(req.params.first().map_or("", String::as_str)))
}

pub(in crate::hub) fn log(hub: &Arc<Hub>, req: &Req) -> Outcome {
    match req.number("n", LOG_LINES_MAX) {
        Ok(lines) => {
            let lines = lines.and_then(|lines| u32::try_from(lines).ok()).unwrap_or(LOG_LINES);
            answer(hub, req, hub.auth_log(lines))
        }
        Err(bad) => super::bad_number(bad).into(),
    }
}

/// Reads the body, then does it for whoever asks.
fn with_body<T: DeserializeOwned, R: Serialize>(
    hub: &Arc<Hub>,
    req: &Req,
    act: impl FnOnce(&Caller, T) -> Result<R, TokenOpError>,
) -> Outcome {
    let Some(caller) = &req.caller else { return nobody().into() };
    let Some(body) = req.body.whole() else {
        return Reply::error(413, Code::TooLarge, "the body is larger than anything that is asked here").into();
    };
    match serde_json::from_slice(body) {
        Ok(request) => answer(hub, req, act(caller, request)),
        // The parser's own words repeat what was sent, and that may be a secret.
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let description =
                format!("the body is not the JSON object that is asked for (line {line}, column {column})");
            Reply::error(400, Code::InvalidRequest, description).into()
        }
    }
}

fn answer<T: Serialize>(hub: &Arc<Hub>, req: &Req, result: Result<T, TokenOpError>) -> Outcome {
    match result {
        Ok(value) => Reply::json(200, &value).into(),
        Err(error) => failed(hub, req, &error).into(),
    }
}

/// The table gives these routes to callers only.
fn nobody() -> Reply {
    Reply::error(401, Code::Unauthenticated, "this needs a token")
}

fn failed(hub: &Arc<Hub>, req: &Req, error: &TokenOpError) -> Reply {
    let (status, code) = match error {
        TokenOpError::Denied(denied) => match denied.fault() {
            Fault::Request => (400, Code::InvalidRequest),
            Fault::Scope => (400, Code::InvalidScope),
            Fault::Authority => (403, Code::InsufficientScope),
        },
        TokenOpError::Unmintable(_)
        | TokenOpError::BadJti
        | TokenOpError::BadSubject
        | TokenOpError::BadCursor
        | TokenOpError::BadFilter { .. } => (400, Code::InvalidRequest),
        // As any other token that is not good; the log knows more.
        TokenOpError::ParentOver => {
            hub.log_failure(req.route, error);
            return Reply::unauthenticated();
        }
        TokenOpError::NotFound => (404, Code::NotFound),
        TokenOpError::TooManyChildren { .. } | TokenOpError::TooFast { .. } => (429, Code::TooManyTokens),
        TokenOpError::Auth(AuthError::TooManyKeys) => (409, Code::Conflict),
        TokenOpError::Auth(_) => (503, Code::ServiceUnavailable),
    };
    let reply = match error {
        // What is wrong with a file of ours is for the log and for commands on this machine.
        TokenOpError::Auth(error) if status == 503 => {
            hub.log_failure(req.route, error);
            Reply::error(status, code, "the hub cannot do this now; see its log and: parachute check")
        }
        _ => Reply::error(status, code, error.to_string()),
    };
    match error {
        TokenOpError::TooFast { retry_after_s, .. } | TokenOpError::TooManyChildren { retry_after_s, .. } => {
            reply.with_header("retry-after", retry_after_s.to_string())
        }
        _ => reply,
    }
}
