//! What can be done with tokens, in the words of the wire.

use super::Hub;
use super::auth::{
    Active, Asker, AuthError, Authority, Caller, Handed, KeyOwner, Proof, Rejected, Renewal, TokenOpError,
};
use super::refusals::{Cause, Of};
use crate::db::{CreatedVia, DbError, Filter, Listed, Logged, Via};
use crate::manifest::Short;
use crate::manifest::discovery::vault_names;
use crate::manifest::services::Listing;
use crate::stamp;
use crate::token;
use crate::token::grant::Wanted;
use crate::wire::tokens::{
    LogEntry, LogReply, MintRequest, Minted, RenewalReply, RevocationList, RevokeAllReply, RevokeReply, TokenInfo,
    TokenList,
};
use std::collections::BTreeSet;
use std::time::SystemTime;

/// The vaults that the rows name.
pub(crate) fn vaults(document: &Listing) -> BTreeSet<String> {
    let rows = document.entries().iter().filter_map(|entry| entry.row.as_deref().ok());
    rows.flat_map(vault_names).collect()
}

/// The same calls for the control API and for commands that work while the hub is down.
pub(crate) struct TokenDesk<'a> {
    pub(crate) authority: &'a Authority,
    pub(crate) caller: &'a Caller,
    pub(crate) asker: Asker<'a>,
}

impl TokenDesk<'_> {
    pub(crate) fn mint(&self, request: MintRequest, vaults: &BTreeSet<String>) -> Result<Minted, TokenOpError> {
        let MintRequest { scope, audience, expires_in, subject, permissions } = request;
        let wanted = Wanted { scope, audience, expires_in_s: expires_in, subject, permissions };
        let Handed { jti, token, granted } = self.authority.mint(self.caller, &wanted, vaults, self.asker)?;
        Ok(Minted {
            jti,
            token,
            expires_at: iso(i64::try_from(granted.exp).unwrap_or(i64::MAX)),
            scope: granted.scope,
            audience: granted.aud,
            subject: granted.sub,
            permissions: granted.permissions,
        })
    }

    pub(crate) fn revoke(&self, jti: &str, cascade: bool) -> Result<RevokeReply, TokenOpError> {
        let (target, revoked) = self.authority.revoke(self.caller, jti, cascade, self.asker)?;
        Ok(RevokeReply {
            jti: target.jti,
            revoked_at: iso(revoked.at),
            revoked: revoked.count,
            subject: target.sub,
            scope: target.scope,
        })
    }

    pub(crate) fn revoke_all(&self, subject: &str) -> Result<RevokeAllReply, TokenOpError> {
        let revoked = self.authority.revoke_all(self.caller, subject, self.asker)?;
        Ok(RevokeAllReply { subject: subject.to_owned(), revoked })
    }

    /// Renews the operator's token if it is time to.
    pub(crate) fn renew(&self) -> Result<RenewalReply, AuthError> {
        let nothing = RenewalReply { renewed: false, reason: None, jti: None, scope_set: None, expires_at: None };
        Ok(match self.authority.renew_if_due(self.caller, self.asker)? {
            Renewal::NotDue => RenewalReply { reason: Some("not_due".to_owned()), ..nothing },
            Renewal::NotRenewable => RenewalReply { reason: Some("not_renewable".to_owned()), ..nothing },
            Renewal::Renewed(made) => RenewalReply {
                renewed: true,
                jti: Some(made.jti),
                scope_set: Some(made.set.name().to_owned()),
                expires_at: Some(iso(i64::try_from(made.exp).unwrap_or(i64::MAX))),
                ..nothing
            },
        })
    }
}

/// Which tokens are wanted; `None` is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListQuery {
    pub(crate) revoked: Option<bool>,
    /// Good at the moment.
    pub(crate) active: Option<bool>,
    pub(crate) subject: Option<String>,
    pub(crate) created_via: Option<String>,
    pub(crate) cursor: Option<String>,
}

/// A page of the registry.
pub(crate) fn list(authority: &Authority, query: ListQuery) -> Result<TokenList, TokenOpError> {
    let created_via = match query.created_via {
        None => None,
        Some(text) => Some(CreatedVia::parse(&text).ok_or(TokenOpError::BadFilter { what: "created_via" })?),
    };
    let ListQuery { revoked, active, subject, .. } = query;
    let filter = Filter { revoked, active, subject, created_via, after: None };
    let page = authority.list(filter, query.cursor.as_deref())?;
    Ok(TokenList { tokens: page.tokens.into_iter().map(token_info).collect(), next_cursor: page.next })
}

pub(crate) fn log(authority: &Authority, limit: u32) -> Result<LogReply, TokenOpError> {
    Ok(LogReply { entries: authority.audit(limit)?.into_iter().map(log_entry).collect() })
}

pub(crate) fn token_info(row: Listed) -> TokenInfo {
    TokenInfo {
        jti: row.jti,
        user_id: None,
        subject: row.sub,
        audience: row.aud,
        client_id: row.client_id,
        scopes: row.scope.split(' ').map(str::to_owned).collect(),
        created_at: iso(row.iat),
        created_via: row.created_via,
        parent_jti: row.parent_jti,
        expires_at: iso(row.exp),
        revoked_at: row.revoked_at.map(iso),
        revoke_after: row.revoke_after.map(iso),
        revoke_reason: row.revoke_reason,
        last_used_at: row.last_used_at.map(iso),
        state: row.state,
        // What does not parse was not written by us.
        permissions: row.permissions.and_then(|text| serde_json::from_str(&text).ok()),
    }
}

fn log_entry(line: Logged) -> LogEntry {
    LogEntry {
        id: line.id,
        at: iso(line.at),
        action: line.action,
        jti: line.jti,
        parent_jti: line.parent_jti,
        subject: line.sub,
        via: line.via,
        peer: line.peer,
        result: line.result,
    }
}

/// Unix seconds as text.
pub(crate) fn iso(unix: i64) -> String {
    stamp::iso8601(u64::try_from(unix).unwrap_or(0).saturating_mul(1000))
}

/// Why a module's question is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAnswered {
    /// Whoever asks has no key of a living module.
    Unknown,
    /// The database cannot be asked; the log has the reason.
    Unavailable,
}

impl Hub {
    /// The desk for somebody who asks over HTTP from `peer`.
    pub(crate) fn tokens<'a>(&'a self, caller: &'a Caller, peer: Option<&'a str>) -> TokenDesk<'a> {
        TokenDesk { authority: &self.parts.authority, caller, asker: Asker { via: Via::Http, peer } }
    }

    pub(crate) fn mint_token(
        &self,
        caller: &Caller,
        peer: Option<&str>,
        request: MintRequest,
    ) -> Result<Minted, TokenOpError> {
        // Without a readable list there is no vault that anybody could be given a token for.
        let vaults = self.reconcile().map(|document| vaults(&document)).unwrap_or_default();
        self.tokens(caller, peer).mint(request, &vaults)
    }

    pub(crate) fn list_tokens(&self, query: ListQuery) -> Result<TokenList, TokenOpError> {
        list(&self.parts.authority, query)
    }

    pub(crate) fn show_token(&self, jti: &str) -> Result<TokenInfo, TokenOpError> {
        self.parts.authority.show(jti).map(token_info)
    }

    pub(crate) fn auth_log(&self, limit: u32) -> Result<LogReply, TokenOpError> {
        log(&self.parts.authority, limit)
    }

    pub(crate) fn revocations(&self) -> Result<RevocationList, TokenOpError> {
        let jtis = self.parts.authority.revoked()?;
        Ok(RevocationList { generated_at: stamp::iso(SystemTime::now()), jtis })
    }

    /// The module that this key belongs to: a living child of ours, or one that another keeper runs.
    pub(crate) fn module_of_key(&self, path: &str, key: Option<&str>) -> Result<Short, NotAnswered> {
        let owner = key.map(|key| self.parts.authority.owner_of_key(key)).transpose();
        let owner = owner.map_err(|error| {
            self.say_refused(path, Cause { of: Of::Module, why: "unavailable" }, &error);
            NotAnswered::Unavailable
        })?;
        match owner.flatten() {
            Some(KeyOwner::External(short) | KeyOwner::Child(short)) => return Ok(short),
            Some(KeyOwner::Gone(short)) => {
                let gone = Cause { of: Of::Module, why: "gone" };
                self.say_refused(path, gone, &format_args!("module_key: the child of {short} that had it is gone"));
            }
            // A request without any key is no event.
            None if key.is_none() => {}
            None => {
                let unknown = Cause { of: Of::Module, why: "unknown" };
                self.say_refused(path, unknown, &"module_key: no module of this hub has this key");
            }
        }
        Err(NotAnswered::Unknown)
    }

    /// What the module is told about a token; `None` when it is not good for that module, whatever the reason.
    pub(crate) fn introspect(&self, short: &Short, token: &str) -> Result<Option<Active>, DbError> {
        self.active("/oauth/introspect", short, token)
    }

    /// What the child of `short` is told about the caller of a request for `target`, who shows `authorization`: their
    /// claims, and a proof that it is the hub who says so. `None` for anybody whose token is not good for the module.
    pub(crate) fn prove_caller(
        &self,
        short: &Short,
        authorization: &str,
        method: &str,
        target: &str,
    ) -> Result<Option<(Active, Proof)>, DbError> {
        let Some(token) = token::from_authorization(authorization) else { return Ok(None) };
        let Some(active) = self.active("a caller", short, token)? else { return Ok(None) };
        let proof = self.parts.authority.prove(short, &active, method, target);
        Ok(proof.map(|proof| (active, proof)))
    }

    fn active(&self, asked: &str, short: &Short, token: &str) -> Result<Option<Active>, DbError> {
        match self.parts.authority.introspect(short, token)? {
            Ok(active) => Ok(Some(active)),
            Err(Rejected { cause, text }) => {
                let cause = Cause { of: Of::Shown, why: cause };
                self.say_refused(asked, cause, &format_args!("inactive for {short}: {text}"));
                Ok(None)
            }
        }
    }

    /// A refusal of a request that came from where none may.
    pub(crate) fn log_stranger(&self, path: &str) {
        self.say_refused(path, Cause { of: Of::Module, why: "stranger" }, &"not a program on this machine");
    }
}
