//! A browser that is let in, and out again.

use super::html::{link, page};
use crate::hub::reply::{Outcome, Reply};
use crate::hub::request::{Method, Req, SESSION_COOKIE};
use crate::manifest::discovery::Audience;
use crate::ops::Hub;
use crate::ops::login::{NoLogin, SESSION_LIFE};
use std::sync::Arc;

/// `GET /admin/login?code=...`: the code becomes a cookie, and the address with it is left at once.
pub(in crate::hub) fn login(hub: &Arc<Hub>, req: &Req) -> Outcome {
    // Looking whether there is something must not use the code up.
    if req.method == Method::Head {
        return page(200, "Sign in", "").into();
    }
    let is_here = req.sender.audience == Audience::Local;
    let code = req.query("code").unwrap_or_default();
    let refused = match hub.login(code, req.sender.asked(), is_here, req.sender.client()) {
        Ok(session) => {
            let max_age = SESSION_LIFE.as_secs();
            return to(&session.path, &cookie(&session.secret, max_age, session.is_secure)).into();
        }
        // The same address once more, such as by going back.
        Err(NoLogin::BadCode) if super::is_let_in(hub, req) => return Reply::see_other("/").into(),
        Err(refused) => refused,
    };
    let again = "<p>Make a new address, where the hub runs: <code>parachute open</code></p>\n";
    match refused {
        NoLogin::BadCode => {
            let body = format!("<h1>Not signed in</h1>\n<p>This address was used already, or is too old.</p>\n{again}");
            page(403, "Not signed in", &body).into()
        }
        NoLogin::Elsewhere => {
            let body = "<h1>Not signed in</h1>\n<p>Browsers are let in on the machine itself, or under the origin that \
                was set with <code>parachute hub set-origin</code>.</p>\n";
            page(403, "Not signed in", body).into()
        }
        NoLogin::TooManyFailures { retry_after } => {
            // Rounded up, so that whoever waits as long as told is let in.
            let seconds = retry_after.as_secs() + 1;
            let body = format!("<h1>Not signed in</h1>\n<p>Too many bad codes came from your address.</p>\n{again}");
            page(429, "Not signed in", &body).with_header("retry-after", seconds.to_string()).into()
        }
    }
}

/// `POST /admin/logout`: the browser's time is over now.
pub(in crate::hub) fn logout(hub: &Arc<Hub>, req: &Req) -> Outcome {
    let Some(session) = &req.session else {
        return page(200, "Signed out", &format!("<p>{}</p>\n", link("/", "To the start page"))).into();
    };
    hub.logout(session);
    to("/", &cookie("", 0, false)).into()
}

fn to(path: &str, cookie: &str) -> Reply {
    Reply::see_other(path).with_header("set-cookie", cookie).with_header("referrer-policy", "no-referrer")
}

/// No script reads it, and no foreign page's form, frame or script makes the browser send it.
fn cookie(value: &str, max_age_s: u64, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{SESSION_COOKIE}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{secure}")
}
