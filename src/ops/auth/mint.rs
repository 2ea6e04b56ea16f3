//! Tokens for others: minted, listed, shown and taken back. The command line and the control API end here alike.

use super::{AuthError, Authority, CLIENT_ID, Caller, TokenOpError, as_unix, random_jti, stamp, unix_now};
use crate::db::{CreatedVia, Entry, Filter, Listed, Logged, NewToken, Quota, Registered, Revoked, Via};
use crate::token::claims::{self, Claims, owner_of};
use crate::token::grant::{self, Denied, Granted, Wanted};
use crate::token::keyring::Keyring;
use crate::token::{b64, mint};
use std::collections::BTreeSet;

/// Live tokens that one token may have had minted (B6).
const LIVE_CHILDREN_LIMIT: u64 = 1000;
/// Tokens that one token may have minted inside the window.
const RATE_LIMIT: u64 = 60;
const RATE_WINDOW_S: i64 = 60;
/// How often a token is signed anew because the key was changed meanwhile.
const SIGNINGS: u32 = 3;
/// Longest text that can be a token's number.
const JTI_LIMIT_BYTES: usize = 256;
/// Tokens on one page of the list.
const PAGE_ROWS: u32 = 50;
/// Bytes of a cursor's mark: enough that nobody guesses one.
const MARK_BYTES: usize = 16;
/// Numbers on the revocation list; the longest living ones when there are more.
const REVOKED_LIMIT: u32 = 10_000;

/// By which way somebody asks, and from where, for the audit log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) via: Via,
    pub(crate) peer: Option<&'a str>,
}

/// A new token. Its text is in no other place than here.
pub(crate) struct Handed {
    pub(crate) jti: String,
    pub(crate) token: String,
    pub(crate) granted: Granted,
}

/// A part of the list, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) tokens: Vec<Listed>,
    /// Where the next page begins; `None` at the end.
    pub(crate) next: Option<String>,
}

impl Authority {
    /// Mints what `caller` wants, as far as they may hand it on. `vaults` are those that there are. The token is on
    /// record, durably, when this returns.
    pub(crate) fn mint(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        vaults: &BTreeSet<String>,
        asker: Asker<'_>,
    ) -> Result<Handed, TokenOpError> {
        self.mint_at(caller, wanted, vaults, asker, unix_now())
    }

    pub(super) fn mint_at(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        vaults: &BTreeSet<String>,
        asker: Asker<'_>,
        now_unix: i64,
    ) -> Result<Handed, TokenOpError> {
        let iat = stamp(now_unix)?;
        let granted = match grant::decide(&caller.claims, &caller.scopes, wanted, vaults, iat) {
            Ok(granted) => granted,
            Err(denied) => return Err(self.denied("token.mint", None, caller, denied, asker, now_unix)),
        };
        let claims = Claims {
            v: claims::VERSION,
            iss: self.origins().canonical.clone(),
            sub: granted.sub.clone(),
            aud: granted.aud.clone(),
            iat,
            nbf: iat,
            exp: granted.exp,
            jti: random_jti(),
            client_id: CLIENT_ID.to_owned(),
            scope: granted.scope.clone(),
            vault_scope: granted.vault_scope.clone(),
            pa_scope_set: None,
            permissions: granted.permissions.clone(),
            hid: self.hid.clone(),
        };
        for _ in 0..SIGNINGS {
            let (registered, token) = self.register_child(&claims, caller, asker, now_unix)?;
            match registered {
                Registered::Done => return Ok(Handed { jti: claims.jti, token, granted }),
                Registered::TooMany { until } => {
                    let retry_after_s = until.saturating_sub(now_unix).max(1).unsigned_abs();
                    return Err(TokenOpError::TooManyChildren { limit: LIVE_CHILDREN_LIMIT, retry_after_s });
                }
                Registered::TooFast => {
                    let retry_after_s = RATE_WINDOW_S.unsigned_abs();
                    return Err(TokenOpError::TooFast { limit: RATE_LIMIT, retry_after_s });
                }
                Registered::ParentOver => return Err(TokenOpError::ParentOver),
                // Somebody has changed the key since it signed.
                Registered::KeyRetired => self.refresh(now_unix).map(drop)?,
            }
        }
        Err(AuthError::NoKey.into())
    }

    /// Signs `claims` with the key of this moment and has the token registered; what came of that, and the token.
    fn register_child(
        &self,
        claims: &Claims,
        caller: &Caller,
        asker: Asker<'_>,
        now_unix: i64,
    ) -> Result<(Registered, String), TokenOpError> {
        let keys = self.keys();
        let owner = owner_of(&claims.aud).unwrap_or_default();
        let minted = mint::sign(claims, &Keyring::new(&keys.masters, &[owner])).map_err(TokenOpError::Unmintable)?;
        let permissions = claims.permissions.clone().map(|map| serde_json::Value::Object(map).to_string());
        let row = NewToken {
            jti: &claims.jti,
            sha256: &minted.sha256,
            kid: &minted.kid,
            sub: &claims.sub,
            aud: &claims.aud,
            scope: &claims.scope,
            client_id: &claims.client_id,
            created_via: CreatedVia::CliMint,
            parent_jti: Some(caller.jti()),
            iat: now_unix,
            exp: as_unix(claims.exp),
            permissions: permissions.as_deref(),
        };
        let quota = Quota {
            live_children: LIVE_CHILDREN_LIMIT,
            window_start: now_unix - RATE_WINDOW_S + 1,
            in_window: RATE_LIMIT,
        };
        let entry = Entry { jti: Some(&claims.jti), sub: Some(&claims.sub), ..by(caller, "token.mint", asker, "ok") };
        Ok((self.db.tokens().register_child(&row, quota, &entry, now_unix)?, minted.text))
    }

    /// Takes a token back, and with `cascade` all that were minted with it. A second time changes nothing.
    pub(crate) fn revoke(
        &self,
        caller: &Caller,
        jti: &str,
        cascade: bool,
        asker: Asker<'_>,
    ) -> Result<(Listed, Revoked), TokenOpError> {
        self.revoke_at(caller, jti, cascade, asker, unix_now())
    }

    pub(super) fn revoke_at(
        &self,
        caller: &Caller,
        jti: &str,
        cascade: bool,
        asker: Asker<'_>,
        now_unix: i64,
    ) -> Result<(Listed, Revoked), TokenOpError> {
        grant::gate(&caller.scopes)?;
        if jti.is_empty() || jti.len() > JTI_LIMIT_BYTES || !jti.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenOpError::BadJti);
        }
        let target = self.db.tokens().show(jti, now_unix)?.ok_or(TokenOpError::NotFound)?;
        if let Err(denied) = grant::may_revoke(&caller.scopes, &target.scope) {
            return Err(self.denied("token.revoke", Some(jti), caller, denied, asker, now_unix));
        }
        let entry = Entry { jti: Some(jti), sub: Some(&target.sub), ..by(caller, "token.revoke", asker, "ok") };
        let revoked = self.db.tokens().revoke(jti, cascade, &entry, now_unix)?.ok_or(TokenOpError::NotFound)?;
        if revoked.count > 0 {
            self.note_epoch();
        }
        Ok((target, revoked))
    }

    /// Takes back every token of a subject, with all that were minted with them, but not the one that asks for it.
    pub(crate) fn revoke_all(&self, caller: &Caller, sub: &str, asker: Asker<'_>) -> Result<u64, TokenOpError> {
        // Whatever else it is must not fill the audit log, and may be a token that was mistaken for one.
        if !claims::is_subject(sub) {
            return Err(TokenOpError::BadSubject);
        }
        let entry = Entry { sub: Some(sub), ..by(caller, "token.revoke-all", asker, "ok") };
        let count = self.db.tokens().revoke_subject(sub, Some(caller.jti()), &entry, unix_now())?;
        if count > 0 {
            self.note_epoch();
        }
        Ok(count)
    }

    /// What is on record about one token.
    pub(crate) fn show(&self, jti: &str) -> Result<Listed, TokenOpError> {
        self.db.tokens().show(jti, unix_now())?.ok_or(TokenOpError::NotFound)
    }

    /// A page of the registry, from `cursor` on.
    pub(crate) fn list(&self, filter: Filter, cursor: Option<&str>) -> Result<Page, TokenOpError> {
        self.list_at(filter, cursor, unix_now())
    }

    pub(super) fn list_at(&self, filter: Filter, cursor: Option<&str>, now_unix: i64) -> Result<Page, TokenOpError> {
        let after = match cursor {
            None => None,
            Some(cursor) => Some(self.read_cursor(cursor).ok_or(TokenOpError::BadCursor)?),
        };
        let mut tokens = self.db.tokens().list(&Filter { after, ..filter }, PAGE_ROWS + 1, now_unix)?;
        let more = tokens.len() > PAGE_ROWS as usize;
        tokens.truncate(PAGE_ROWS as usize);
        let next = tokens.last().filter(|_| more).and_then(|last| self.cursor(last.iat, &last.jti));
        Ok(Page { tokens, next })
    }

    /// The numbers of tokens that were taken back and have not expired, sorted.
    pub(crate) fn revoked(&self) -> Result<Vec<String>, TokenOpError> {
        Ok(self.db.tokens().revoked(REVOKED_LIMIT, unix_now())?)
    }

    /// The newest lines of the audit log, newest first.
    pub(crate) fn audit(&self, limit: u32) -> Result<Vec<Logged>, TokenOpError> {
        Ok(self.db.auth_log().newest(limit)?)
    }

    /// Puts a refusal into the audit log and hands it on. Only holders of genuine tokens get here.
    fn denied(
        &self,
        action: &str,
        jti: Option<&str>,
        caller: &Caller,
        denied: Denied,
        asker: Asker<'_>,
        now_unix: i64,
    ) -> TokenOpError {
        let entry = Entry { jti, ..by(caller, action, asker, "denied") };
        match self.db.auth_log().note(&entry, now_unix) {
            Ok(()) => denied.into(),
            Err(error) => error.into(),
        }
    }

    fn cursor(&self, iat: i64, jti: &str) -> Option<String> {
        let place = format!("{iat}.{jti}");
        let mark = self.keys().active()?.cursor_mark(place.as_bytes());
        let bytes = [mark.get(..MARK_BYTES)?, place.as_bytes()].concat();
        Some(b64::encode(&bytes))
    }

    /// The place that a cursor of ours stands for.
    fn read_cursor(&self, cursor: &str) -> Option<(i64, String)> {
        let bytes = b64::decode(cursor.as_bytes()).filter(|_| cursor.len() <= JTI_LIMIT_BYTES)?;
        let (mark, place) = bytes.split_at_checked(MARK_BYTES)?;
        let keys = self.keys();
        keys.masters.iter().find(|master| master.cursor_mark(place).starts_with(mark))?;
        let (iat, jti) = std::str::from_utf8(place).ok()?.split_once('.')?;
        Some((iat.parse().ok()?, jti.to_owned()))
    }
}

fn by<'a>(caller: &'a Caller, action: &'a str, asker: Asker<'a>, result: &'a str) -> Entry<'a> {
    let parent_jti = Some(caller.jti());
    Entry { action, jti: None, parent_jti, sub: None, via: asker.via, peer: asker.peer, result }
}
