//! Tokens as people and programs come by them, and what modules ask about them.

use super::{Hub, Module, http, module, testchild};
use serde_json::Value;

/// The header of a form.
pub(crate) const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// The module that they are for.
pub(crate) fn web() -> Module {
    module("web", testchild(&["http"]))
}

/// A token for the module `web` or whomever the scope names.
#[track_caller]
pub(crate) fn mint(hub: &Hub, scope: &str) -> String {
    let minted = hub.run(&["auth", "mint-token", "--scope", scope, "--ephemeral"]).succeeds();
    let token = minted.stdout.trim_end().to_owned();
    assert!(token.split('.').count() == 3 && !token.contains(char::is_whitespace), "nothing but the token: {minted}");
    token
}

pub(crate) fn module_key(hub: &Hub, name: &str) -> String {
    hub.home.read(&format!("{name}/run/hub.key")).trim().to_owned()
}

/// A module's question about a token, with further headers.
pub(crate) fn introspect_with(hub: &Hub, key: &str, headers: &[(&str, &str)], token: &str) -> http::Response {
    let bearer = format!("Bearer {key}");
    let headers: Vec<_> = [("Authorization", bearer.as_str()), FORM].iter().chain(headers).copied().collect();
    let body = format!("token={token}");
    http::request(hub.port, "POST", "/oauth/introspect", &headers, body.as_bytes()).expect("an answer")
}

pub(crate) fn introspect(hub: &Hub, key: &str, token: &str) -> http::Response {
    introspect_with(hub, key, &[], token)
}

#[track_caller]
pub(crate) fn post(hub: &Hub, path: &str, bearer: &str, body: &Value) -> http::Response {
    let bearer = format!("Bearer {bearer}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    http::request(hub.port, "POST", path, &headers, body.to_string().as_bytes())
        .unwrap_or_else(|error| panic!("POST {path}: {error}"))
}
