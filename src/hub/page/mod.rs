//! The hub's own pages, readable without a script. Strangers learn nothing from them but what this is.

mod html;
pub(super) mod login;

use super::reply::{Outcome, Reply};
use super::request::Req;
use crate::html::escape;
use crate::manifest::discovery::{Audience, is_for_people, spelled};
use crate::ops::Hub;
use crate::token::scope::HOST_AUTH;
use crate::wire::{ModuleInfo, ModuleList, Status};
use html::{link, page};
use std::sync::Arc;

/// `/` and `/hub.html`: the modules, for whoever sits at this machine (http-api §4.2).
pub(super) fn home(hub: &Arc<Hub>, req: &Req) -> Outcome {
    match req.sender.audience {
        Audience::Local => modules(&hub.modules()).into(),
        Audience::Remote if is_let_in(hub, req) => modules(&hub.modules()).into(),
        Audience::Remote => welcome().into(),
    }
}

/// Whether it is the browser of somebody who may see the modules.
fn is_let_in(hub: &Hub, req: &Req) -> bool {
    req.session.as_deref().is_some_and(|session| hub.authorize_session(session, &[HOST_AUTH]).is_ok())
}

/// What a browser is shown where there is nothing.
pub(super) fn not_found(path: &str) -> Reply {
    let body = format!(
        "<h1>Nothing here</h1>\n<p>There is nothing at <code>{}</code>.</p>\n<p>{}</p>\n",
        escape(path),
        link("/", "To the start page")
    );
    page(404, "Nothing here", &body)
}

fn welcome() -> Reply {
    let body = "<h1>Parachute</h1>\n<p>Truly personal computing.</p>\n<h2>Sign in</h2>\n\
        <p>There are no accounts. Whoever runs this hub opens this page on the machine itself, or uses the command \
        <code>parachute open</code> there; programs send the operator's token as \
        <code>Authorization: Bearer</code>.</p>\n";
    page(200, "Parachute", body)
}

fn modules(list: &ModuleList) -> Reply {
    let mut body = String::from("<h1>Parachute</h1>\n");
    if let Some(problem) = &list.problem {
        body.push_str(&format!("<p><strong>{}</strong></p>\n", escape(problem)));
    } else if list.modules.is_empty() {
        body.push_str("<p>No module is installed. Add one: <code>parachute add NAME -- COMMAND</code></p>\n");
    }
    if !list.modules.is_empty() {
        body.push_str("<table>\n<tr><th>Module</th><th>State</th><th>Version</th><th>At</th></tr>\n");
        list.modules.iter().for_each(|module| body.push_str(&row(module)));
        body.push_str("</table>\n");
    }
    body.push_str(&format!(
        "<footer>parachute {} · {} · {}</footer>\n",
        escape(env!("CARGO_PKG_VERSION")),
        link("/.well-known/parachute.json", "discovery document"),
        link("/metrics", "metrics")
    ));
    page(200, "Parachute", &body)
}

fn row(module: &ModuleInfo) -> String {
    let mounts: Vec<&str> = module.paths.iter().map(String::as_str).filter(|path| is_for_people(path)).collect();
    let name = module.display_name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(&module.short);
    let title = match (&module.ui_url, mounts.first()) {
        (Some(to), _) => link(to, name),
        (None, Some(mount)) => link(&spelled(mount), name),
        (None, None) => escape(name),
    };
    let at: Vec<String> = mounts.iter().map(|mount| link(&spelled(mount), mount)).collect();
    let version = module.installed_version.as_deref().unwrap_or_default();
    format!(
        "<tr><td>{title}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        escape(&state(module)),
        escape(version),
        at.join("<br>")
    )
}

/// The words of `parachute status`, with the reason where there is one.
fn state(module: &ModuleInfo) -> String {
    let word = match (&module.problem, module.supervisor_status) {
        (Some(problem), None) => return format!("cannot be used: {problem}"),
        (_, None) => "not run by the hub".to_owned(),
        (_, Some(Status::Running)) if !module.ready => "running, not ready".to_owned(),
        (_, Some(status)) => status.as_str().to_owned(),
    };
    match &module.supervisor_start_error {
        Some(error) if module.supervisor_status == Some(Status::Crashed) => {
            format!("{word}: {}", error.error_description)
        }
        _ => word,
    }
}

#[cfg(test)]
mod tests;
