//! Who is let in where not everybody is: the edge's question in the words of the hub, and its answer in those of the edge.

use crate::edge::{Denial, Question, Verdict, Visit};
use crate::hub::request;
use crate::hub::sender::Sender;
use crate::manifest::gates::Whom;
use crate::ops::Hub;
use crate::ops::auth::Refusal;
use crate::ops::visits::{By, Shown};
use crate::token;
use crate::wire::Code;

/// Why the caller may not see the page; `None` when it may. What a cookie lets in has to come from a page of ours if it
/// can change something, as with the hub's own API.
pub(super) fn denied(hub: &Hub, question: &Question, visit: &Visit) -> Option<Verdict> {
    let Visit { needs, cookies, sender: fields, can_change } = visit;
    let mut sender = Sender::default();
    fields.iter().for_each(|(name, value)| sender.read(name, value));
    let mut session = None;
    cookies.iter().for_each(|value| request::read_session(value, &mut session));
    let authorization = question.authorization.as_deref();
    let bearer = authorization.map(|value| token::from_authorization(value).unwrap_or_default());
    let shown = Shown { bearer, session: session.as_deref() };
    let refusal = match hub.admit(&question.module, needs, shown, sender.client()) {
        Ok(By::Session) if *can_change => {
            let is_own = |origin: &str| hub.is_own_origin(origin, sender.asked());
            let why = match sender.forgery(true, is_own)? {
                Code::CsrfOriginRequired => Denial::OriginRequired,
                _ => Denial::OriginMismatch,
            };
            return Some(Verdict::Denied { why, lacks: None });
        }
        Ok(By::Session | By::Token) => return None,
        Err(refusal) => refusal,
    };
    hub.log_refusal(&format!("a page of {}", question.module), &refusal);
    let (why, lacks) = match refusal {
        Refusal::Unauthenticated { .. } => (Denial::Unauthenticated, None),
        Refusal::InsufficientScope { .. } if needs.whom == Whom::Operator => (Denial::NotAdmin, None),
        Refusal::InsufficientScope { required, .. } => (Denial::InsufficientScope, Some(required)),
        Refusal::TooManyFailures { retry_after, .. } => {
            // Rounded up, so that whoever waits as long as told is let in.
            (Denial::TooManyFailures { retry_after_s: retry_after.as_secs() + 1 }, None)
        }
        Refusal::Unavailable(_) | Refusal::RolledBack(_) => return Some(Verdict::Unavailable),
    };
    Some(Verdict::Denied { why, lacks })
}
