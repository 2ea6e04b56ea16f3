//! Whether a bearer is let in: the verification order of B4, and what is remembered of those that were.

use super::error::Rejection;
use super::{Authority, Reason, Refusal, as_unix, unix_now};
use crate::db::{TokenRow, Tokens, Version};
use crate::token::claims::{self, Claims};
use crate::token::keyring;
use crate::token::scope::Scopes;
use crate::token::verify::{Accept, Expect, TokenError, Verified};
use crate::token::{TOKEN_LIMIT_BYTES, same_hash, sha256};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// What the management API accepts (B4, step 7).
pub(super) const AUDIENCES: [&str; 2] = [claims::AUDIENCE_OPERATOR, claims::AUDIENCE_HUB];
/// Accepted tokens that are remembered; more than ever are in use at once.
pub(super) const REMEMBERED_LIMIT: usize = 64;
/// An unknown key may have been made by another process a moment ago (B8). That is looked up so many times in this
/// span, so that a new key holds at once and junk in the shape of ours cannot keep the database busy.
pub(super) const LOOKUPS: u32 = 8;
pub(super) const LOOKUP_SPAN: Duration = Duration::from_secs(1);
/// Stack of the thread that notes a use: SQLite writes on it.
const STACK_BYTES: usize = 256 * 1024;

#[derive(Clone)]
pub(super) struct Remembered {
    pub(super) caller: Caller,
    /// The state of the database that this was true of.
    pub(super) version: Version,
    /// First second at which it is no longer good.
    pub(super) until_unix: i64,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) claims: Arc<Claims>,
    pub(crate) scopes: Scopes,
}

impl Caller {
    pub(crate) fn jti(&self) -> &str {
        &self.claims.jti
    }
}

impl Authority {
    /// Whether the bearer of this token has one of `scopes`; none of them means that any good token does. `bearer` is
    /// the token itself; see [`crate::token::from_authorization`]. Waits for at most the database's busy timeout, and
    /// junk not even that.
    pub(crate) fn authorize(&self, bearer: Option<&str>, scopes: &[&'static str]) -> Result<Caller, Refusal> {
        self.authorize_at(bearer, scopes, unix_now())
    }

    pub(super) fn authorize_at(
        &self,
        bearer: Option<&str>,
        scopes: &[&'static str],
        now_unix: i64,
    ) -> Result<Caller, Refusal> {
        let token = bearer.ok_or(Refusal::Unauthenticated { reason: Reason::Missing, jti: None })?;
        if token.len() > TOKEN_LIMIT_BYTES {
            return Err(Rejection::from(TokenError::Encoding).into());
        }
        let caller = match self.recall(&sha256(token.as_bytes()), now_unix)? {
            Some(caller) => caller,
            None => self.examine(token, now_unix)?,
        };
        match scopes.first() {
            Some(first) if !scopes.iter().any(|scope| caller.scopes.contains(scope)) => {
                Err(Refusal::InsufficientScope { required: (*first).to_owned(), jti: caller.jti().to_owned() })
            }
            _ => Ok(caller),
        }
    }

    /// The caller behind an accepted token, while it is in force and nobody has written to the database since.
    fn recall(&self, hash: &[u8; 32], now_unix: i64) -> Result<Option<Caller>, Refusal> {
        let Some(known) = self.current_state().remembered.get(hash).cloned() else { return Ok(None) };
        let unchanged = self.refresh(now_unix)? == known.version;
        Ok((unchanged && now_unix < known.until_unix).then_some(known.caller))
    }

    /// Whether the token that a caller has shown earlier still stands, and its key with it.
    pub(crate) fn is_in_force(&self, caller: &Caller) -> Result<bool, Refusal> {
        self.is_in_force_at(caller, unix_now())
    }

    pub(super) fn is_in_force_at(&self, caller: &Caller, now_unix: i64) -> Result<bool, Refusal> {
        self.refresh(now_unix)?;
        if let Some(rolled_back) = self.rolled_back() {
            return Err(Refusal::RolledBack(rolled_back));
        }
        Ok(self.db.tokens().is_good(caller.jti(), now_unix)?)
    }

    /// Checks a token for the management API from the start: keys, claims, registry.
    fn examine(&self, token: &str, now_unix: i64) -> Result<Caller, Rejection> {
        let origins = self.origins();
        let expect =
            Expect { issuers: Some(&origins.issuers), audience: Accept::Named(&AUDIENCES), hid: &self.hid, now_unix };
        let (verified, row, version) = self.verify(token, claims::OWNER_HUB, &expect)?;
        let jti = verified.claims.jti.clone();
        let until_unix =
            in_force(&verified, row.as_ref(), now_unix).map_err(|error| Rejection::Token { error, jti: Some(jti) })?;
        let caller = Caller { claims: Arc::new(verified.claims), scopes: verified.scopes };
        self.remember(verified.sha256, Remembered { caller: caller.clone(), version, until_unix });
        if let Some(row) = row {
            self.note_use(caller.jti(), &row, now_unix);
        }
        Ok(caller)
    }

    /// Everything about a token of `owner` that does not depend on its row, and the row. Junk is refused without a
    /// look at the database, but for a look once a second whether there are new keys.
    pub(super) fn verify(
        &self,
        token: &str,
        owner: &str,
        expect: &Expect<'_>,
    ) -> Result<(Verified, Option<TokenRow>, Version), Rejection> {
        let (mut version, keys) = {
            let state = self.current_state();
            (state.version, Arc::clone(&state.keys))
        };
        let mut checked = keys.check(token, owner, expect);
        let database_may_know = match &checked {
            // One under an origin that we do not know was signed by us all the same: another process may have issued it.
            Ok(_) | Err(TokenError::Issuer) => true,
            Err(TokenError::Key) => keyring::is_shaped_like_ours(token) && self.may_look_up(Instant::now()),
            Err(_) => false,
        };
        if database_may_know {
            let newest = self.refresh(expect.now_unix)?;
            let (origins, newest_keys) = (self.origins(), self.keys());
            let are_other_keys = !Arc::ptr_eq(&keys, &newest_keys);
            if newest != version || are_other_keys || expect.issuers.is_some_and(|known| known != origins.issuers) {
                version = newest;
                let issuers = expect.issuers.map(|_| origins.issuers.as_slice());
                checked = newest_keys.check(token, owner, &Expect { issuers, ..*expect });
            }
        }
        let rolled_back = self.rolled_back();
        if let (Some(rolled_back), Err(TokenError::Key)) = (rolled_back, &checked) {
            // The copy may be older than the key: to ask for another token would help nobody.
            return Err(Rejection::RolledBack(rolled_back));
        }
        let verified = checked.map_err(|error| {
            let said = error.is_of_a_genuine_token().then(|| claims::unverified(token)).flatten();
            let jti = said.map(|claims| claims.jti).filter(|jti| claims::is_jti(jti));
            Rejection::Token { error, jti }
        })?;
        if let Some(rolled_back) = rolled_back {
            return Err(Rejection::RolledBack(rolled_back));
        }
        let row = self.db.tokens().find(&verified.claims.jti)?;
        Ok((verified, row, version))
    }

    /// Whether the database may be asked about something unknown now.
    pub(super) fn may_look_up(&self, now: Instant) -> bool {
        let mut state = self.current_state();
        let (began, count) = &mut state.lookups;
        if now.saturating_duration_since(*began) >= LOOKUP_SPAN {
            (*began, *count) = (now, 0);
        }
        *count += 1;
        *count <= LOOKUPS
    }

    pub(super) fn remember(&self, hash: [u8; 32], what: Remembered) {
        let mut state = self.current_state();
        if state.version != what.version {
            return;
        }
        if state.remembered.len() >= REMEMBERED_LIMIT {
            state.remembered.clear();
        }
        state.remembered.insert(hash, what);
    }

    /// Notes on a thread of its own that a token was used, at most once an hour. Whether that works matters to nobody.
    pub(super) fn note_use(&self, jti: &str, row: &TokenRow, now_unix: i64) {
        if !Tokens::is_use_worth_noting(row, now_unix) || self.noting_use.swap(true, Ordering::AcqRel) {
            return;
        }
        let (db, jti, noting) = (Arc::clone(&self.db), jti.to_owned(), Arc::clone(&self.noting_use));
        let note = move || {
            // It is for people to look at; a full disk must not fail what the token was used for.
            let _noted = db.tokens().touch(&jti, now_unix);
            noting.store(false, Ordering::Release);
        };
        let spawned = thread::Builder::new().name("hub/use".to_owned()).stack_size(STACK_BYTES).spawn(note);
        if spawned.is_err() {
            self.noting_use.store(false, Ordering::Release);
        }
    }
}

/// Step 8 of B4: until when a genuine token is good, given its row.
pub(super) fn in_force(verified: &Verified, row: Option<&TokenRow>, now_unix: i64) -> Result<i64, TokenError> {
    let exp = as_unix(verified.claims.exp);
    let row = row
        .filter(|row| same_hash(&row.sha256, &verified.sha256) && row.exp == exp && row.kid == verified.kid)
        .ok_or(TokenError::Unregistered)?;
    let ends_early = row.revoke_after.unwrap_or(exp);
    if row.revoked_at.is_some() || now_unix >= ends_early {
        return Err(TokenError::Revoked);
    }
    Ok(exp.min(ends_early).min(verified.key_usable_until.unwrap_or(exp)))
}
