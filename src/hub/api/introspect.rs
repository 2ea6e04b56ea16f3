//! `POST /oauth/introspect`: a module asks whether a token that somebody showed it is good (operator-token B9, RFC 7662).

use crate::hub::reply::{Outcome, Reply};
use crate::hub::request::{Req, percent_decode};
use crate::ops::Hub;
use crate::ops::auth::Active;
use crate::wire::Code;
use crate::wire::tokens::Introspection;
use serde_json::json;
use std::sync::Arc;

/// Longest body: the longest token, percent-encoded, and a few further parameters.
const BODY_LIMIT_BYTES: usize = 8 * 1024;
const FORM: &str = "application/x-www-form-urlencoded";

pub(in crate::hub) fn introspect(hub: &Arc<Hub>, req: &Req) -> Outcome {
    let Some(module) = &req.module else {
        return Reply::error(401, Code::Unauthenticated, "this needs a module's key").into();
    };
    let is_form = |value: &str| {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case(FORM)
    };
    if !req.content_type.as_deref().is_some_and(is_form) {
        return Reply::error(415, Code::InvalidRequest, format!("the body must be {FORM}")).into();
    }
    let Some(body) = req.body.whole().filter(|body| body.len() <= BODY_LIMIT_BYTES) else {
        return Reply::error(413, Code::TooLarge, format!("the body is larger than {BODY_LIMIT_BYTES} bytes")).into();
    };
    let Some(token) = token(body) else {
        return Reply::error(400, Code::InvalidRequest, "the body must have the parameter token, once").into();
    };
    match hub.introspect(module, &token) {
        Ok(Some(Active(claims))) => {
            let answer = Introspection {
                active: true,
                iss: &claims.iss,
                sub: &claims.sub,
                aud: &claims.aud,
                scope: &claims.scope,
                client_id: &claims.client_id,
                exp: claims.exp,
                iat: claims.iat,
                nbf: claims.nbf,
                jti: &claims.jti,
                token_type: "Bearer",
                vault_scope: &claims.vault_scope,
                permissions: claims.permissions.as_ref(),
            };
            Reply::json(200, &answer).into()
        }
        Ok(None) => Reply::json(200, &json!({ "active": false })).into(),
        Err(error) => {
            hub.log_failure(req.route, &error);
            Reply::error(503, Code::ServiceUnavailable, "the hub's database cannot be asked about the token").into()
        }
    }
}

/// The one parameter `token` of a form; `None` when there is none, or more than one, or it cannot be decoded.
fn token(body: &[u8]) -> Option<String> {
    let mut tokens = std::str::from_utf8(body).ok()?.split('&').filter_map(|pair| pair.strip_prefix("token="));
    let token = percent_decode(&tokens.next()?.replace('+', " "))?;
    tokens.next().is_none().then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_one_token() {
        for (body, expected) in [
            (&b"token=a.b.c"[..], Some("a.b.c")),
            (b"token_type_hint=access_token&token=a.b.c", Some("a.b.c")),
            (b"token=a%2Eb%2ec&x=%zz", Some("a.b.c")),
            (b"token=", Some("")),
            (b"token=a+b", Some("a b")),
            (b"", None),
            (b"token", None),
            (b"Token=a", None),
            (b"token=a&token=a", None),
            (b"token=%zz", None),
            (b"token=%00", None),
            (b"token=\xff", None),
        ] {
            assert_eq!(token(body).as_deref(), expected, "{}", body.escape_ascii());
        }
    }
}
