//! Pure: what the bearer of one token may have minted, and which tokens it may revoke (operator-token A10, B10).
//!
//! Nobody hands on more than they hold: no further scope, no longer life, no wider vault pin, no other permissions.

use super::claims::{AUDIENCE_HUB, AUDIENCE_OPERATOR, Claims, owner_of};
use super::scope::{HOST_ADMIN, HOST_AUTH, Scopes};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;

/// Life of a token that asks for none in particular.
pub(crate) const LIFETIME_DEFAULT_S: u64 = 90 * 86_400;
/// Longest life that can be asked for.
pub(crate) const LIFETIME_MAX_S: u64 = 365 * 86_400;
/// Life of what is minted for one sitting (`--ephemeral`).
pub(crate) const LIFETIME_EPHEMERAL_S: u64 = 3_600;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Separated by single spaces.
    pub(crate) scope: String,
    /// Otherwise what the scopes imply.
    pub(crate) audience: Option<String>,
    pub(crate) expires_in_s: Option<u64>,
    /// Otherwise the bearer's own.
    pub(crate) subject: Option<String>,
    pub(crate) permissions: Option<Map<String, Value>>,
}

/// What is minted for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) scope: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    /// Unix seconds.
    pub(crate) exp: u64,
    pub(crate) vault_scope: Vec<String>,
    pub(crate) permissions: Option<Map<String, Value>>,
}

/// Why it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The bearer may mint nothing, and revoke nothing.
    Gate,
    /// The text is no list of scopes.
    Grammar,
    /// A scope of a vault that is not spelled `vault:NAME:VERB`.
    VaultShape {
        scope: String,
    },
    /// Only the operator's own token has it.
    NotRequestable {
        scope: String,
    },
    /// No module has a vault of this name.
    UnknownVault {
        name: String,
    },
    /// The bearer does not hold what it takes.
    NotGrantable {
        scope: String,
    },
    /// The scopes are for different modules.
    MixedOwners,
    /// The scopes do not name this audience, or it is the hub's own.
    Audience {
        audience: String,
    },
    Lifetime,
    Subject,
    /// The bearer is held to permissions, and these are others.
    Permissions,
    /// The bearer is pinned to vaults, and this reaches past them.
    Pin,
}

/// What a denial is to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 400: nobody could have it.
    Request,
    /// 400, and it is the scope.
    Scope,
    /// 403.
    Authority,
}

impl Denied {
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Grammar | Self::VaultShape { .. } | Self::NotRequestable { .. } | Self::UnknownVault { .. } => {
                Fault::Scope
            }
            Self::MixedOwners | Self::Audience { .. } | Self::Lifetime => Fault::Request,
            Self::Gate | Self::NotGrantable { .. } | Self::Subject | Self::Permissions | Self::Pin => Fault::Authority,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate => write!(f, "this needs scope {HOST_AUTH}, {HOST_ADMIN} or vault:NAME:admin"),
            Self::Grammar => {
                f.write_str("scope is not a list of scopes such as vault:work:read, separated by single spaces")
            }
            Self::VaultShape { scope } => {
                write!(f, "{scope} is no scope of a vault; write vault:NAME:read, vault:NAME:write or vault:NAME:admin")
            }
            Self::NotRequestable { scope } => {
                write!(f, "{scope} cannot be asked for; only the operator's token has it")
            }
            Self::UnknownVault { name } => write!(f, "there is no vault called {name}; see: parachute status"),
            Self::NotGrantable { scope } => write!(f, "the token at hand may not hand on {scope}"),
            Self::MixedOwners => f.write_str("the scopes are for different modules; mint one token for each"),
            Self::Audience { audience } => write!(f, "the scopes are not for the audience {audience}"),
            Self::Lifetime => write!(f, "a token lives between 1 and {LIFETIME_MAX_S} seconds"),
            Self::Subject => write!(f, "naming another subject needs scope {HOST_AUTH} or {HOST_ADMIN}"),
            Self::Permissions => {
                f.write_str("the token at hand has permissions, which can only be handed on as they are")
            }
            Self::Pin => f.write_str("the token at hand is pinned to vaults, and this reaches past them"),
        }
    }
}

/// Whether the bearer may mint or revoke anything at all.
pub(crate) fn gate(bearer: &Scopes) -> Result<(), Denied> {
    let of_vault = |scope: &str| matches!(named_vault(scope), Some((_, "admin")));
    let passes = bearer.contains(HOST_AUTH) || bearer.contains(HOST_ADMIN) || bearer.iter().any(of_vault);
    if passes { Ok(()) } else { Err(Denied::Gate) }
}

/// What the holder of `bearer` gets for `wanted` at `now_unix`. `vaults` are those that there are.
pub(crate) fn decide(
    bearer: &Claims,
    held: &Scopes,
    wanted: &Wanted,
    vaults: &BTreeSet<String>,
    now_unix: u64,
) -> Result<Granted, Denied> {
    gate(held)?;
    let scopes = Scopes::parse(&wanted.scope).ok_or(Denied::Grammar)?;
    let mut named = Vec::new();
    let mut pinned = Vec::new();
    for scope in scopes.iter() {
        check_shape(scope)?;
        check_requestable(scope)?;
        if let Some((vault, _)) = named_vault(scope) {
            if !vaults.contains(vault) {
                return Err(Denied::UnknownVault { name: vault.to_owned() });
            }
            remember(&mut named, vault);
        }
        match by_what(held, scope) {
            None => return Err(Denied::NotGrantable { scope: scope.to_owned() }),
            Some(Authority::Host) => {}
            Some(Authority::Vault(vault)) => remember(&mut pinned, vault),
        }
    }
    if !bearer.vault_scope.is_empty() {
        let inside = |vault: &String| bearer.vault_scope.contains(vault);
        if named.is_empty() || !named.iter().all(inside) {
            return Err(Denied::Pin);
        }
        pinned.clone_from(&named);
    }
    let (is_operator, lifetime_s) =
        (bearer.aud == AUDIENCE_OPERATOR, wanted.expires_in_s.unwrap_or(LIFETIME_DEFAULT_S));
    if !(1..=LIFETIME_MAX_S).contains(&lifetime_s) {
        return Err(Denied::Lifetime);
    }
    let exp = now_unix.saturating_add(lifetime_s);
    Ok(Granted {
        scope: wanted.scope.clone(),
        aud: audience(&scopes, &named, wanted.audience.as_deref())?,
        sub: subject(bearer, held, wanted)?,
        exp: if is_operator { exp } else { exp.min(bearer.exp) },
        vault_scope: pinned,
        permissions: permissions(bearer, wanted)?,
    })
}

/// Whether the holder of these scopes may revoke a token that has those of `target`.
pub(crate) fn may_revoke(held: &Scopes, target: &str) -> Result<(), Denied> {
    gate(held)?;
    if held.contains(HOST_AUTH) {
        return Ok(());
    }
    let scopes = Scopes::parse(target).ok_or(Denied::Gate)?;
    let beyond = scopes.iter().find(|scope| check_requestable(scope).is_err() || by_what(held, scope).is_none());
    beyond.map_or(Ok(()), |scope| Err(Denied::NotGrantable { scope: scope.to_owned() }))
}

/// By what a bearer may hand on a scope.
enum Authority<'a> {
    Host,
    /// As the keeper of this vault; the child is pinned to it.
    Vault(&'a str),
}

fn by_what<'a>(held: &Scopes, scope: &'a str) -> Option<Authority<'a>> {
    match named_vault(scope) {
        Some((vault, _)) if held.contains(&format!("vault:{vault}:admin")) => Some(Authority::Vault(vault)),
        Some((vault, "admin")) => held.contains(HOST_ADMIN).then_some(Authority::Vault(vault)),
        _ => held.contains(HOST_AUTH).then_some(Authority::Host),
    }
}

/// `vault:NAME:VERB`.
fn named_vault(scope: &str) -> Option<(&str, &str)> {
    let (name, verb) = scope.strip_prefix("vault:")?.split_once(':')?;
    matches!(verb, "read" | "write" | "admin").then_some((name, verb))
}

fn check_shape(scope: &str) -> Result<(), Denied> {
    let is_vault = scope.split(':').next().is_some_and(|service| service.eq_ignore_ascii_case("vault"));
    if is_vault && scope.split(':').count() >= 3 && named_vault(scope).is_none() {
        return Err(Denied::VaultShape { scope: scope.to_owned() });
    }
    Ok(())
}

/// What opens the hub itself, or all of a module at once, is the operator's alone.
fn check_requestable(scope: &str) -> Result<(), Denied> {
    let lower = scope.to_ascii_lowercase();
    let service = lower.split(':').next().unwrap_or_default();
    let reserved = matches!(service, "parachute" | AUDIENCE_HUB | AUDIENCE_OPERATOR)
        || matches!(lower.as_str(), "vault:admin" | "scribe:admin");
    if reserved { Err(Denied::NotRequestable { scope: scope.to_owned() }) } else { Ok(()) }
}

/// The one audience that the scopes are for, or the one that was asked for if it is among them.
fn audience(scopes: &Scopes, vaults: &[String], wanted: Option<&str>) -> Result<String, Denied> {
    let service = |scope: &str| scope.split(':').next().unwrap_or_default().to_owned();
    let owners: BTreeSet<String> = scopes.iter().map(service).collect();
    let owner = match (owners.first(), owners.len()) {
        (Some(owner), 1) => owner,
        _ => return Err(Denied::MixedOwners),
    };
    let Some(wanted) = wanted else {
        return Ok(vaults.first().map_or_else(|| owner.clone(), |vault| format!("{owner}.{vault}")));
    };
    let refused = || Denied::Audience { audience: wanted.to_owned() };
    if matches!(wanted, AUDIENCE_OPERATOR | AUDIENCE_HUB) || owner_of(wanted) != Some(owner) {
        return Err(refused());
    }
    match wanted.split_once('.') {
        Some((_, resource)) if !vaults.is_empty() && !vaults.iter().any(|vault| vault == resource) => Err(refused()),
        _ => Ok(wanted.to_owned()),
    }
}

fn subject(bearer: &Claims, held: &Scopes, wanted: &Wanted) -> Result<String, Denied> {
    match &wanted.subject {
        None => Ok(bearer.sub.clone()),
        Some(subject) if *subject == bearer.sub || held.contains(HOST_AUTH) || held.contains(HOST_ADMIN) => {
            Ok(subject.clone())
        }
        Some(_) => Err(Denied::Subject),
    }
}

fn permissions(bearer: &Claims, wanted: &Wanted) -> Result<Option<Map<String, Value>>, Denied> {
    match (&bearer.permissions, &wanted.permissions) {
        (None, free) => Ok(free.clone()),
        (Some(held), Some(same)) if held == same => Ok(Some(held.clone())),
        (Some(_), _) => Err(Denied::Permissions),
    }
}

fn remember(list: &mut Vec<String>, name: &str) {
    if !list.iter().any(|other| other == name) {
        list.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests;
