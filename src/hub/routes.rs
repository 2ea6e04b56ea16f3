//! The table of the control API and the pages: method, path, access, handler. 404, 405 and the access check all come
//! from it.

use super::reply::{Outcome, Reply};
use super::request::{Method, Req, percent_decode};
use super::{api, page, redirect};
use crate::manifest::discovery::Audience;
use crate::ops::Hub;
use crate::ops::auth::Refusal;
use crate::token::scope::{HOST_ADMIN, HOST_AUTH};
use crate::wire::Code;
use std::sync::Arc;

type Handler = fn(&Arc<Hub>, &Req) -> Outcome;

pub(crate) struct Route(Accepts, &'static str, Access, Handler);

/// The methods that a route answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepts {
    /// A probe must not fail over its method (http-api §3).
    Any,
    /// And HEAD.
    Get,
    /// GET, HEAD, and OPTIONS for pages of others that ask whether they may read it.
    Public,
    Post,
}

impl Accepts {
    fn takes(self, method: Method) -> bool {
        match (self, method) {
            (Any, _)
            | (Get | Public, Method::Get | Method::Head)
            | (Public, Method::Options)
            | (Post, Method::Post) => true,
            (Get, Method::Post | Method::Options | Method::Other)
            | (Public, Method::Post | Method::Other)
            | (Post, Method::Get | Method::Head | Method::Options | Method::Other) => false,
        }
    }

    fn changes_state(self) -> bool {
        match self {
            Post => true,
            Any | Get | Public => false,
        }
    }

    /// For the header of that name.
    fn allow(self) -> Option<&'static str> {
        match self {
            Any => None,
            Get => Some("GET, HEAD"),
            Public => Some("GET, HEAD, OPTIONS"),
            Post => Some("POST"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Open,
    /// A token with this scope.
    Scope(&'static str),
    /// The same, and without a token for programs on this machine.
    LocalOr(&'static str),
}

impl Access {
    /// The scope that the token of this request must have; `None` when it needs no token.
    fn scope_for(self, req: &Req) -> Option<&'static str> {
        match self {
            Open => None,
            Scope(scope) => Some(scope),
            LocalOr(scope) => (req.sender.audience == Audience::Remote).then_some(scope),
        }
    }
}

use Accepts::{Any, Get, Post, Public};
use Access::{LocalOr, Open, Scope};

/// `{short}` stands for one segment; what it matched is decoded.
const ROUTES: &[Route] = &[
    Route(Get, "/", Open, page::home),
    Route(Get, "/hub.html", Open, page::home),
    Route(Any, "/health", Open, api::health),
    Route(Get, "/api/ready", Open, api::ready),
    Route(Get, "/api/hub", Scope(HOST_ADMIN), api::info),
    Route(Get, "/api/modules", Scope(HOST_AUTH), api::modules::list),
    Route(Get, "/api/modules/{short}", Scope(HOST_AUTH), api::modules::show),
    Route(Post, "/api/modules/{short}/start", Scope(HOST_ADMIN), api::modules::start),
    Route(Post, "/api/modules/{short}/stop", Scope(HOST_ADMIN), api::modules::stop),
    Route(Post, "/api/modules/{short}/restart", Scope(HOST_ADMIN), api::modules::restart),
    Route(Get, "/api/modules/{short}/logs", Scope(HOST_ADMIN), api::logs::logs),
    Route(Get, "/metrics", LocalOr(HOST_AUTH), api::metrics::metrics),
    Route(Public, "/.well-known/parachute.json", Open, api::well_known::parachute),
    Route(Public, "/.well-known/jwks.json", Open, api::well_known::jwks),
];

/// What becomes of a request. The method is checked before the token, so that a wrong verb is told as such.
pub(crate) fn answer(hub: &Arc<Hub>, mut req: Req) -> Outcome {
    let (route, params) = match find(req.method, &req.path) {
        Ok(found) => found,
        Err(missing) => return elsewhere(hub, &req, &missing).into(),
    };
    if route.0.changes_state() && is_forged(hub, &req) {
        return Reply::error(
            403,
            Code::CsrfOriginMismatch,
            "a page of another origin may not do this; programs leave out the Origin header",
        )
        .into();
    }
    if let Some(scope) = route.2.scope_for(&req)
        && let Err(refusal) = hub.authorize(req.bearer.as_deref(), scope, req.sender.client())
    {
        hub.log_refusal(&req.path, &refusal);
        return refused(&refusal, scope).into();
    }
    req.params = params;
    (route.3)(hub, &req)
}

/// Whether somebody else's page made a browser send this. A page cannot make up a token, so that whoever shows one
/// means it (http-api §11).
fn is_forged(hub: &Hub, req: &Req) -> bool {
    req.bearer.is_none() && req.sender.is_foreign_page(|origin| hub.is_own_origin(origin, req.sender.asked()))
}

/// What becomes of a request that no route takes.
fn elsewhere(hub: &Hub, req: &Req, missing: &Missing) -> Reply {
    if *missing != Missing::Path {
        return missing.reply(&req.path);
    }
    match redirect::target(&req.path, |path| hub.is_served(path, req.sender.audience)) {
        Some(target) => Reply::moved(format!("{target}{}", req.raw_query)),
        None if req.sender.accepts_html => page::not_found(&req.path),
        None => missing.reply(&req.path),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Missing {
    Path,
    /// The path is there for these.
    Method {
        allowed: &'static str,
    },
    /// A placeholder matched something that cannot be decoded.
    Encoding,
}

impl Missing {
    fn reply(&self, path: &str) -> Reply {
        match self {
            Self::Path => Reply::error(404, Code::NotFound, format!("there is nothing at {path}")),
            Self::Method { allowed } => {
                Reply::error(405, Code::MethodNotAllowed, format!("{path} answers {allowed} only"))
                    .with_header("allow", *allowed)
            }
            Self::Encoding => {
                Reply::error(400, Code::InvalidRequest, "the request target holds malformed percent-encoding")
            }
        }
    }
}

fn find(method: Method, path: &str) -> Result<(&'static Route, Vec<String>), Missing> {
    let mut other_method = None;
    for route in ROUTES {
        let Some(params) = matches(route.1, path) else { continue };
        if route.0.takes(method) {
            let params = params.into_iter().map(percent_decode).collect::<Option<_>>().ok_or(Missing::Encoding)?;
            return Ok((route, params));
        }
        other_method = route.0.allow();
    }
    Err(other_method.map_or(Missing::Path, |allowed| Missing::Method { allowed }))
}

/// What the placeholders of `pattern` stand for in `path`, not decoded; `None` when the path is another one.
fn matches<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let (mut expected, mut given) = (pattern.split('/'), path.split('/'));
    let mut params = Vec::new();
    loop {
        match (expected.next(), given.next()) {
            (None, None) => return Some(params),
            (Some(segment), Some(text)) if segment.starts_with('{') && !text.is_empty() => params.push(text),
            (Some(segment), Some(text)) if segment == text => {}
            _ => return None,
        }
    }
}

/// Every 401 reads the same; the reason is in the hub's log (operator-token B4).
fn refused(refusal: &Refusal, scope: &'static str) -> Reply {
    match refusal {
        Refusal::Unauthenticated { .. } => Reply::error(
            401,
            Code::Unauthenticated,
            "this needs a valid token (Authorization: Bearer ...); the operator's is in operator.token in the hub's home",
        )
        .with_header("www-authenticate", "Bearer error=\"invalid_token\""),
        Refusal::InsufficientScope { .. } => {
            Reply::error(403, Code::InsufficientScope, format!("the token is good but lacks the scope {scope}"))
                .with_header("www-authenticate", format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""))
        }
        Refusal::TooManyFailures { retry_after, .. } => {
            // Rounded up, so that whoever waits as long as told is let in.
            let seconds = retry_after.as_secs() + 1;
            let description = format!("too many bad tokens came from this address; try again in {seconds} s");
            Reply::error(429, Code::TooManyFailures, description).with_header("retry-after", seconds.to_string())
        }
        Refusal::Unavailable(_) => Reply::error(
            503,
            Code::ServiceUnavailable,
            "the hub's database cannot be asked about the token; see /health and the hub's log",
        ),
    }
}

#[cfg(test)]
mod tests;
