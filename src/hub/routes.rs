//! The table of the control API and the pages: method, path, access, handler. 404, 405 and the access check all come
//! from it.

use super::reply::{Outcome, Reply};
use super::request::{Method, Req, percent_decode};
use super::{api, page, redirect};
use crate::manifest::Short;
use crate::manifest::discovery::Audience;
use crate::ops::Hub;
use crate::ops::auth::{Caller, Refusal};
use crate::ops::login::LOGIN_PATH;
use crate::ops::tokens::NotAnswered;
use crate::token::scope::{HOST_ADMIN, HOST_AUTH, HOST_START};
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
    Put,
}

impl Accepts {
    fn takes(self, method: Method) -> bool {
        match (self, method) {
            (Any, _)
            | (Get | Public, Method::Get | Method::Head)
            | (Public, Method::Options)
            | (Post, Method::Post)
            | (Put, Method::Put) => true,
            (Get, Method::Post | Method::Put | Method::Options | Method::Other)
            | (Public, Method::Post | Method::Put | Method::Other)
            | (Post, Method::Get | Method::Head | Method::Put | Method::Options | Method::Other)
            | (Put, Method::Get | Method::Head | Method::Post | Method::Options | Method::Other) => false,
        }
    }

    fn changes_state(self) -> bool {
        match self {
            Post | Put => true,
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
            Put => Some("PUT"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Open,
    /// A token with one of these scopes; none: any good token, and the handler looks further.
    Scopes(&'static [&'static str]),
    /// The same, and shown as a token: what this gives outlives a browser's session, which a page of any module could
    /// use.
    Bearer(&'static [&'static str]),
    /// A token with one of these scopes, or none for programs on this machine.
    LocalOr(&'static [&'static str]),
    /// The key of a module, from a program on this machine.
    ModuleKey,
}

/// Who was let in.
enum Visitor {
    Anybody,
    Caller(Caller),
    Module(Short),
}

impl Access {
    /// Who asks, as far as this route wants to know. The reason of a refusal is in the log; the answer does not tell it.
    fn admit(self, hub: &Hub, req: &Req) -> Result<Visitor, Reply> {
        let scopes = match self {
            Open => return Ok(Visitor::Anybody),
            ModuleKey => return admit_module(hub, req).map(Visitor::Module),
            LocalOr(_) if req.sender.audience == Audience::Local => return Ok(Visitor::Anybody),
            Bearer(_) if req.bearer.is_none() => return Err(Reply::unauthenticated()),
            Scopes(scopes) | Bearer(scopes) | LocalOr(scopes) => scopes,
        };
        let admitted = match (&req.bearer, &req.session) {
            (None, Some(session)) => hub.authorize_session(session, scopes),
            (bearer, _) => hub.authorize(bearer.as_deref(), scopes, req.sender.client()),
        };
        admitted.map(Visitor::Caller).map_err(|refusal| {
            hub.log_refusal(req.route, &refusal);
            refused(&refusal)
        })
    }
}

fn admit_module(hub: &Hub, req: &Req) -> Result<Short, Reply> {
    if !req.sender.is_program_here() {
        hub.log_stranger(req.route);
        return Err(Reply::error(403, Code::LocalOnly, "only programs on this machine may ask this, and directly"));
    }
    hub.module_of_key(req.route, req.bearer.as_deref()).map_err(|refusal| match refusal {
        NotAnswered::Unknown => Reply::unauthenticated(),
        NotAnswered::Unavailable => unavailable(),
    })
}

use Accepts::{Any, Get, Post, Public, Put};
use Access::{Bearer, LocalOr, ModuleKey, Open, Scopes};

/// Starting, stopping, restarting and reading the output of a module (operator-token A3).
const START: Access = Scopes(&[HOST_START, HOST_ADMIN]);
const ADMIN: Access = Scopes(&[HOST_ADMIN]);
const AUTH: Access = Scopes(&[HOST_AUTH]);
const ANY_TOKEN: Access = Scopes(&[]);

/// A name in braces stands for one segment; what it matched is decoded.
const ROUTES: &[Route] = &[
    Route(Get, "/", Open, page::home),
    Route(Get, "/hub.html", Open, page::home),
    Route(Get, LOGIN_PATH, Open, page::login::login),
    Route(Post, "/admin/logout", Open, page::login::logout),
    Route(Any, "/health", Open, api::health),
    Route(Get, "/api/ready", Open, api::ready),
    Route(Get, "/api/hub", ADMIN, api::info),
    Route(Get, "/api/modules", AUTH, api::modules::list),
    Route(Get, "/api/modules/{short}", AUTH, api::modules::show),
    Route(Post, "/api/modules/{short}/start", START, api::modules::start),
    Route(Post, "/api/modules/{short}/stop", START, api::modules::stop),
    Route(Post, "/api/modules/{short}/restart", START, api::modules::restart),
    Route(Get, "/api/modules/{short}/logs", START, api::logs::logs),
    Route(Post, "/api/auth/mint-token", Bearer(&[]), api::tokens::mint),
    Route(Post, "/api/auth/revoke-token", ANY_TOKEN, api::tokens::revoke),
    Route(Post, "/api/auth/revoke-all", AUTH, api::tokens::revoke_all),
    Route(Post, "/api/auth/operator/rotate", Bearer(&[]), api::tokens::renew),
    Route(Post, "/api/auth/open", Bearer(&[HOST_ADMIN]), api::tokens::open),
    Route(Get, "/api/auth/tokens", AUTH, api::tokens::list),
    Route(Get, "/api/auth/tokens/{jti}", AUTH, api::tokens::show),
    Route(Get, "/api/auth/log", AUTH, api::tokens::log),
    Route(Get, "/api/settings/hub-origin", ADMIN, api::settings::origin),
    Route(Put, "/api/settings/hub-origin", Bearer(&[HOST_ADMIN]), api::settings::set_origin),
    Route(Post, "/oauth/introspect", ModuleKey, api::introspect::introspect),
    Route(Get, "/metrics", LocalOr(&[HOST_AUTH]), api::metrics::metrics),
    Route(Public, "/.well-known/parachute.json", Open, api::well_known::parachute),
    Route(Public, "/.well-known/jwks.json", Open, api::well_known::jwks),
    Route(Public, "/.well-known/parachute-revocation.json", Open, api::well_known::revocations),
];

/// What becomes of a request. The method is checked before the token, so that a wrong verb is told as such.
pub(crate) fn answer(hub: &Arc<Hub>, mut req: Req) -> Outcome {
    let (route, params) = match find(req.method, &req.path) {
        Ok(found) => found,
        Err(missing) => return elsewhere(hub, &req, &missing).into(),
    };
    req.route = route.1;
    if route.0.changes_state()
        && let Some(code) = forgery(hub, &req)
    {
        let text = match code {
            Code::CsrfOriginRequired => "a browser that was let in must say from which page it asks, by Origin",
            _ => "a page of another origin may not do this; programs leave out the Origin header",
        };
        return Reply::error(403, code, text).into();
    }
    match route.2.admit(hub, &req) {
        Ok(Visitor::Anybody) => {}
        Ok(Visitor::Caller(caller)) => req.caller = Some(caller),
        Ok(Visitor::Module(module)) => req.module = Some(module),
        Err(reply) => return reply.into(),
    }
    req.params = params;
    (route.3)(hub, &req)
}

/// What makes it doubtful that whoever sends this means it. A page cannot make up a token, so that whoever shows one does.
fn forgery(hub: &Hub, req: &Req) -> Option<Code> {
    let is_own = |origin: &str| hub.is_own_origin(origin, req.sender.asked());
    if req.bearer.is_some() { None } else { req.sender.forgery(req.session.is_some(), is_own) }
}

/// What becomes of a request that no route takes.
fn elsewhere(hub: &Hub, req: &Req, missing: &Missing) -> Reply {
    if *missing != Missing::Path {
        return missing.reply(&req.path);
    }
    let is_served = |path: &str| hub.is_served(path, req.sender.audience);
    if req.method == Method::Post
        && let Some(path) = redirect::mcp(&req.path, is_served)
    {
        let url = format!("{}{path}", hub.told_origin(req.sender.asked()));
        return Reply::missing_mcp_suffix(format!("{path}{}", req.raw_query), &url);
    }
    if redirect::lacks_vault(&req.path, is_served) {
        return Reply::no_vault();
    }
    match redirect::target(&req.path, is_served) {
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
        allowed: String,
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
                    .with_header("allow", allowed)
            }
            Self::Encoding => {
                Reply::error(400, Code::InvalidRequest, "the request target holds malformed percent-encoding")
            }
        }
    }
}

fn find(method: Method, path: &str) -> Result<(&'static Route, Vec<String>), Missing> {
    let mut allowed: Vec<&str> = Vec::new();
    for route in ROUTES {
        let Some(params) = matches(route.1, path) else { continue };
        if route.0.takes(method) {
            let params = params.into_iter().map(percent_decode).collect::<Option<_>>().ok_or(Missing::Encoding)?;
            return Ok((route, params));
        }
        allowed.extend(route.0.allow());
    }
    Err(if allowed.is_empty() { Missing::Path } else { Missing::Method { allowed: allowed.join(", ") } })
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

fn refused(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::Unauthenticated { .. } => Reply::unauthenticated(),
        Refusal::InsufficientScope { required, .. } => {
            Reply::error(403, Code::InsufficientScope, format!("the token is good but lacks the scope {required}"))
                .with_header("www-authenticate", format!("Bearer error=\"insufficient_scope\", scope=\"{required}\""))
        }
        Refusal::TooManyFailures { retry_after, .. } => {
            // Rounded up, so that whoever waits as long as told is let in.
            let seconds = retry_after.as_secs() + 1;
            let description = format!("too many bad tokens came from this address; try again in {seconds} s");
            Reply::error(429, Code::TooManyFailures, description).with_header("retry-after", seconds.to_string())
        }
        Refusal::Unavailable(_) | Refusal::RolledBack(_) => unavailable(),
    }
}

fn unavailable() -> Reply {
    Reply::error(
        503,
        Code::ServiceUnavailable,
        "the hub's database cannot be asked about the token; see /health and the hub's log",
    )
}

#[cfg(test)]
mod tests;
