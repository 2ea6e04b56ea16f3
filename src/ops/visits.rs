//! Who may see a page of a module that is not for everybody (http-api §9.7).
//!
//! There are no accounts. The hub's users are whoever holds a good token for the hub, or for the module whose page it is,
//! and the browser that was let in by `parachute open`, which stands for the token that asked for it. The operator is
//! whoever of these can do everything with the hub: with a token for the hub that has `parachute:host:admin`, or in a
//! browser that stands for one.

use super::Hub;
use super::auth::{Caller, Reason, Refusal};
use crate::manifest::Short;
use crate::manifest::gates::{Needs, Whom};
use crate::token;
use crate::token::claims::{OWNER_HUB, owner_of};
use crate::token::scope::HOST_ADMIN;
use std::net::IpAddr;

/// What a caller shows; both are empty where there is one that cannot be made out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// See [`token::from_authorization`].
    pub(crate) bearer: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
}

/// By what somebody was let in. A cookie is sent by the browser, whatever page had it send a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Token,
    Session,
}

impl Hub {
    /// Whether whoever shows this may see a page of the module `short` that takes `needs`. What is good of the two counts:
    /// pages have tokens of their own kind for their module, which a browser sends beside its cookie. `from` is who is
    /// held to account for bad tokens, as in [`Hub::authorize`], if nothing else lets them in. Waits for at most the
    /// database's busy timeout.
    pub(crate) fn admit(
        &self,
        short: &Short,
        needs: &Needs,
        shown: Shown<'_>,
        from: Option<IpAddr>,
    ) -> Result<By, Refusal> {
        let tried = shown.bearer.map(|bearer| self.may_try(from).and_then(|()| self.admit_token(short, needs, bearer)));
        let refused = match tried {
            Some(Ok(())) => return Ok(By::Token),
            Some(Err(refusal)) => Some(refusal),
            None => None,
        };
        let session = shown.session.map(|session| self.admit_session(needs, session));
        match (refused, session) {
            (_, Some(Ok(()))) => Ok(By::Session),
            (Some(refusal), _) => {
                self.note_failure(from, &refusal);
                Err(refusal)
            }
            (None, Some(Err(refusal))) => Err(refusal),
            (None, None) => Err(Refusal::Unauthenticated { reason: Reason::Missing, jti: None }),
        }
    }

    fn admit_token(&self, short: &Short, needs: &Needs, bearer: &str) -> Result<(), Refusal> {
        let authority = &self.parts.authority;
        let caller = match token::is_of_hub(bearer) {
            true => authority.authorize(Some(bearer), &[])?,
            false => authority.authorize_for(short, bearer)?,
        };
        match lacks(needs, &caller) {
            None => Ok(()),
            Some(scope) => Err(Refusal::InsufficientScope { required: scope.to_owned(), jti: caller.jti().to_owned() }),
        }
    }

    fn admit_session(&self, needs: &Needs, session: &str) -> Result<(), Refusal> {
        let scopes: &[&'static str] = match needs.whom {
            Whom::Operator => &[HOST_ADMIN],
            Whom::HubUsers | Whom::Anybody => &[],
        };
        self.authorize_session(session, scopes).map(drop)
    }
}

/// The first scope that the holder of a good token lacks.
fn lacks<'a>(needs: &'a Needs, caller: &Caller) -> Option<&'a str> {
    let is_for_hub = owner_of(&caller.claims.aud) == Some(OWNER_HUB);
    match needs.whom {
        Whom::Anybody => None,
        Whom::HubUsers => needs.scopes.iter().map(String::as_str).find(|scope| !caller.scopes.satisfy(scope)),
        Whom::Operator => (!is_for_hub || !caller.scopes.contains(HOST_ADMIN)).then_some(HOST_ADMIN),
    }
}

#[cfg(test)]
mod tests;
