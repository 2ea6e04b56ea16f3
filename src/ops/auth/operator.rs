//! The life of the operator's own token: made at the first start, renewed before it expires, issued anew when the hub
//! has another origin or the operator says so (operator-token A7, A9, B7).
//!
//! Whoever replaces it holds the lock of its file, so that many at once make one new token. It never gets wider, and
//! one that is not in force is never brought back.

use super::bearer::{AUDIENCES, in_force};
use super::error::Rejection;
use super::{Asker, AuthError, Authority, CLIENT_ID, Caller, as_unix, random_jti, stamp, unix_now};
use crate::db::{CreatedVia, DbError, Entry, NewToken, Replacing, Via};
use crate::store::operator_token::{self, OperatorTokenError};
use crate::token::claims::{self, AUDIENCE_OPERATOR, Claims, OWNER_HUB};
use crate::token::keyring::Keyring;
use crate::token::mint::{self, Minted};
use crate::token::scope::ScopeSet;
use crate::token::verify::{Accept, Expect, TokenError};

/// Life of an operator token (B7).
pub(super) const TTL_S: u64 = 90 * 86_400;
/// It is renewed when no more than this is left of it, or than a quarter of the life that new ones have.
pub(super) const RENEWAL_WINDOW_S: u64 = 7 * 86_400;
/// Setting that holds what the last hub was told about that life, for commands that were not.
const TTL_KEY: &str = "operator_ttl_s";
/// What a replaced one still has, so that scripts that hold it come to their end.
pub(super) const GRACE_S: i64 = 600;
/// `sub` while there are no user accounts (B5).
const SUBJECT: &str = "operator";

/// What [`Authority::bootstrap`] found or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The file holds a token that is in force.
    Kept,
    /// It was issued under another origin and now is under ours.
    Healed,
    /// The file holds one that is not in force, and it was left alone.
    KeptUseless(TokenError),
    /// What stands in its place cannot be used or is not ours alone, and it was left alone.
    Refused,
    /// No token is accepted, because the database is an old copy.
    RolledBack,
    /// There is none, and none is made while the clock cannot be right.
    NoClock,
    /// There was none, and now there is.
    Created,
    /// There were tokens and the file with them was lost, or held another hub's: a new one was made.
    Replaced { revoked: usize },
}

/// The outcome, and the lines that the log should have of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bootstrap {
    pub(crate) outcome: Outcome,
    pub(crate) notices: Vec<String>,
}

/// A new operator token that was written to its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renewed {
    pub(crate) jti: String,
    pub(crate) set: ScopeSet,
    pub(crate) sub: String,
    /// Unix seconds.
    pub(crate) exp: u64,
    /// Earlier ones that it takes the place of.
    pub(crate) replaced: usize,
}

/// What became of a request to renew the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Renewal {
    Renewed(Renewed),
    /// Somebody else was faster, or there is time yet.
    NotDue,
    /// It is none that is renewed: another audience or an unknown set.
    NotRenewable,
}

/// What stands in the operator's file, as far as it says what a new token may be.
pub(super) enum Held {
    /// Nothing that says so.
    Nothing,
    /// An operator's token with this set, in force or not.
    Operators { set: ScopeSet, sub: String },
    /// A token for this audience, or with nothing to renew it by, that has not expired: whoever put it there meant it.
    Others { aud: String },
}

/// A token that is signed and not yet registered.
pub(super) struct Draft {
    pub(super) claims: Claims,
    pub(super) minted: Minted,
}

impl Draft {
    pub(super) fn row(&self, created_via: CreatedVia) -> NewToken<'_> {
        NewToken {
            jti: &self.claims.jti,
            sha256: &self.minted.sha256,
            kid: &self.minted.kid,
            sub: &self.claims.sub,
            aud: &self.claims.aud,
            scope: &self.claims.scope,
            client_id: &self.claims.client_id,
            created_via,
            parent_jti: None,
            iat: as_unix(self.claims.iat),
            exp: as_unix(self.claims.exp),
            permissions: None,
        }
    }

    pub(super) fn entry<'a>(&'a self, action: &'a str, asker: &Asker<'a>) -> Entry<'a> {
        let claims = &self.claims;
        let (jti, sub) = (Some(claims.jti.as_str()), Some(claims.sub.as_str()));
        Entry { action, jti, parent_jti: None, sub, via: asker.via, peer: asker.peer, result: "ok" }
    }

    pub(super) fn renewed(self, set: ScopeSet, replaced: usize) -> Renewed {
        Renewed { jti: self.claims.jti, set, sub: self.claims.sub, exp: self.claims.exp, replaced }
    }
}

/// Whose doing a renewal is, and why.
struct Cause<'a> {
    created_via: CreatedVia,
    action: &'a str,
    replacing: Replacing<'a>,
    asker: Asker<'a>,
}

impl Authority {
    /// Sees to it that whoever owns the home has an operator token: makes one at the first start, when its file was
    /// lost, and when the file's token was never this hub's; issues it anew when it names another origin. A token that
    /// expired or was revoked is left alone, and so is a file that must not or cannot hold one. Only the hub that holds
    /// the home's lock may call it.
    pub(crate) fn bootstrap(&self) -> Result<Bootstrap, AuthError> {
        self.bootstrap_at(unix_now())
    }

    pub(super) fn bootstrap_at(&self, now_unix: i64) -> Result<Bootstrap, AuthError> {
        let _lock = operator_token::lock(&self.home)?;
        let path = operator_token::path(&self.home);
        let live = self.db.tokens().count_live(AUDIENCE_OPERATOR, now_unix)?;
        let mut notices = Vec::new();
        let found = operator_token::read(&self.home);
        if let Some(rolled_back) = self.rolled_back() {
            notices.push(rolled_back.to_string());
            return Ok(Bootstrap { outcome: Outcome::RolledBack, notices });
        }
        let why = match found {
            Ok(found) => {
                notices.extend(found.warnings);
                match self.examine_own(&found.text, now_unix) {
                    Ok(claims) => {
                        let outcome = match self.heal(&claims, &mut notices, now_unix) {
                            Ok(healed) => healed,
                            Err(error) => {
                                notices.push(format!("the operator token names another origin and stays so: {error}"));
                                Outcome::Kept
                            }
                        };
                        return Ok(Bootstrap { outcome, notices });
                    }
                    Err(Rejection::Db(error)) => return Err(error.into()),
                    Err(Rejection::RolledBack(rolled_back)) => return Err(AuthError::RolledBack(rolled_back)),
                    // Nobody holds a token of this hub, so this one can only have come from another.
                    Err(Rejection::Token {
                        error: error @ (TokenError::Key | TokenError::Signature | TokenError::Encoding),
                        ..
                    }) if live == 0 && !self.is_for_a_module(&found.text, now_unix) => {
                        format!("the one in {} was refused ({error})", path.display())
                    }
                    Err(Rejection::Token { error, .. }) => {
                        notices.push(format!(
                            "the operator token in {} is refused ({error}); make a new one with: parachute auth \
                             rotate-operator",
                            path.display()
                        ));
                        return Ok(Bootstrap { outcome: Outcome::KeptUseless(error), notices });
                    }
                }
            }
            Err(OperatorTokenError::Missing { .. }) if live == 0 => "there was none".to_owned(),
            Err(OperatorTokenError::Missing { .. }) => format!("{} was lost", path.display()),
            // It may be a secret that somebody else has put there or could read: it is neither taken nor replaced. The
            // modules do not need it.
            Err(error) => {
                notices.push(format!(
                    "{error}; it is left as it is, and modules run all the same, but commands that need it do not: move it \
                     away, then: parachute auth rotate-operator"
                ));
                return Ok(Bootstrap { outcome: Outcome::Refused, notices });
            }
        };
        let lost = Replacing::Now { aud: AUDIENCE_OPERATOR, reason: "operator token file lost" };
        let replacing = if live > 0 { lost } else { Replacing::Nothing };
        let cause = Cause {
            created_via: if live > 0 { CreatedVia::Rotate } else { CreatedVia::OperatorMint },
            action: "operator.create",
            replacing,
            asker: Asker { via: Via::Hub, peer: None },
        };
        // What was narrowed stays narrow, also under keys that nobody has any more.
        let set = match self.held(now_unix) {
            Held::Operators { set, .. } => set,
            Held::Nothing | Held::Others { .. } => ScopeSet::Admin,
        };
        let made = match self.renew(set, SUBJECT, cause, now_unix) {
            // A small machine may not know the time before it has a network, and its modules do not wait for that.
            Err(error @ AuthError::Clock { .. }) => {
                notices.push(format!(
                    "{error}: parachute auth rotate-operator; modules run all the same, commands that need a token do not"
                ));
                return Ok(Bootstrap { outcome: Outcome::NoClock, notices });
            }
            made => made?,
        };
        notices.push(format!(
            "wrote a new operator token to {} because {why}: jti {}, set {}, valid for {} h; revoked {} earlier",
            path.display(),
            made.jti,
            made.set.name(),
            self.operator_ttl_s()? / 3_600,
            made.replaced
        ));
        let outcome = if live > 0 { Outcome::Replaced { revoked: made.replaced } } else { Outcome::Created };
        Ok(Bootstrap { outcome, notices })
    }

    /// Issues the operator's token anew under our origin (A9). Never under a name that holds on this machine only.
    fn heal(&self, claims: &Claims, notices: &mut Vec<String>, now_unix: i64) -> Result<Outcome, AuthError> {
        let origins = self.origins();
        let Some(issuer) = origins.public().filter(|issuer| *issuer != claims.iss) else { return Ok(Outcome::Kept) };
        let Some(set) = renewable(claims) else { return Ok(Outcome::Kept) };
        let cause = Cause {
            created_via: CreatedVia::Heal,
            action: "operator.heal",
            replacing: grace("issued anew", now_unix),
            asker: Asker { via: Via::Hub, peer: None },
        };
        let healed = self.renew(set, &claims.sub, cause, now_unix)?;
        notices.push(format!(
            "the operator token named the origin {} and was issued anew under {}: jti {}, set {}",
            claims.iss,
            issuer,
            healed.jti,
            set.name()
        ));
        Ok(Outcome::Healed)
    }

    /// Has the token in the file follow a changed origin; what was done, as sentences for the log. A token that is not
    /// ours and in force, or not there, is left alone.
    pub(super) fn follow_origin(&self, now_unix: i64) -> Result<Vec<String>, AuthError> {
        let _lock = operator_token::lock(&self.home)?;
        let mut notices = Vec::new();
        let Ok(found) = operator_token::read(&self.home) else { return Ok(notices) };
        match self.examine_own(&found.text, now_unix) {
            Ok(claims) => {
                self.heal(&claims, &mut notices, now_unix)?;
                Ok(notices)
            }
            Err(Rejection::Db(error)) => Err(error.into()),
            Err(Rejection::RolledBack(_) | Rejection::Token { .. }) => Ok(notices),
        }
    }

    /// Renews the operator's token when little is left of it (A7). `caller` has shown it, or an earlier one.
    pub(crate) fn renew_if_due(&self, caller: &Caller, asker: Asker<'_>) -> Result<Renewal, AuthError> {
        self.renew_if_due_at(caller, asker, unix_now())
    }

    pub(super) fn renew_if_due_at(
        &self,
        caller: &Caller,
        asker: Asker<'_>,
        now_unix: i64,
    ) -> Result<Renewal, AuthError> {
        if renewable(&caller.claims).is_none() {
            return Ok(Renewal::NotRenewable);
        }
        let _lock = operator_token::lock(&self.home)?;
        // What stands in the file now counts: somebody may have renewed it while we waited for the lock.
        let found = operator_token::read(&self.home)?;
        let claims = match self.examine_own(&found.text, now_unix) {
            Ok(claims) => claims,
            Err(Rejection::Db(error)) => return Err(error.into()),
            Err(Rejection::RolledBack(rolled_back)) => return Err(AuthError::RolledBack(rolled_back)),
            Err(Rejection::Token { .. }) => return Ok(Renewal::NotRenewable),
        };
        let Some(set) = renewable(&claims) else { return Ok(Renewal::NotRenewable) };
        if as_unix(claims.exp) - now_unix > as_unix(RENEWAL_WINDOW_S.min(self.operator_ttl_s()? / 4)) {
            return Ok(Renewal::NotDue);
        }
        let cause = Cause {
            created_via: CreatedVia::Rotate,
            action: "operator.renew",
            replacing: grace("renewed", now_unix),
            asker,
        };
        self.renew(set, &claims.sub, cause, now_unix).map(Renewal::Renewed)
    }

    /// Makes a new operator token because the operator says so. Without a `set` it gets that of the token before, or the
    /// admin set when there was none; a token in the file that is no operator's needs a `set`. Earlier ones are revoked,
    /// or with `keep_old` stay as they are.
    pub(crate) fn rotate_operator(
        &self,
        set: Option<ScopeSet>,
        keep_old: bool,
        asker: Asker<'_>,
    ) -> Result<Renewed, AuthError> {
        self.rotate_operator_at(set, keep_old, asker, unix_now())
    }

    pub(super) fn rotate_operator_at(
        &self,
        set: Option<ScopeSet>,
        keep_old: bool,
        asker: Asker<'_>,
        now_unix: i64,
    ) -> Result<Renewed, AuthError> {
        if let Some(rolled_back) = self.rolled_back() {
            return Err(AuthError::RolledBack(rolled_back));
        }
        let _lock = operator_token::lock(&self.home)?;
        let (set, sub) = self.next_set(set, now_unix)?;
        let replacing = if keep_old {
            Replacing::Nothing
        } else {
            Replacing::Now { aud: AUDIENCE_OPERATOR, reason: "operator token rotated" }
        };
        let cause = Cause { created_via: CreatedVia::OperatorMint, action: "operator.rotate", replacing, asker };
        self.renew(set, &sub, cause, now_unix)
    }

    /// Set and subject of the operator token that takes the place of the one in the file.
    pub(super) fn next_set(&self, told: Option<ScopeSet>, now_unix: i64) -> Result<(ScopeSet, String), AuthError> {
        operator_token::look_at_place(&self.home)?;
        match (self.held(now_unix), told) {
            (Held::Operators { set, sub }, told) => Ok((told.unwrap_or(set), sub)),
            (Held::Others { .. } | Held::Nothing, Some(told)) => Ok((told, SUBJECT.to_owned())),
            (Held::Nothing, None) => Ok((ScopeSet::Admin, SUBJECT.to_owned())),
            (Held::Others { aud }, None) => {
                Err(AuthError::NotTheOperators { path: operator_token::path(&self.home), aud })
            }
        }
    }

    /// What the token in the file says of itself. Whether it is good does not matter: that it was revoked, or that an
    /// older copy of the database does not know it, must not widen what comes after it. Without it the set would be the
    /// widest that there is, so that even a forged one can only narrow that.
    fn held(&self, now_unix: i64) -> Held {
        let Ok(found) = operator_token::read(&self.home) else { return Held::Nothing };
        let checked = self.examine_own(&found.text, now_unix);
        match (claims::unverified(&found.text), &checked) {
            (Some(claims), _) => match renewable(&claims).filter(|_| !claims.sub.is_empty()) {
                Some(set) => {
                    let sub = checked.map_or_else(|_| SUBJECT.to_owned(), |verified| verified.sub);
                    Held::Operators { set, sub }
                }
                // Nobody has any use for it.
                None if as_unix(claims.exp) <= now_unix => Held::Nothing,
                None => Held::Others { aud: claims.aud },
            },
            // What it says makes no token, and yet it has our signature: that was looked at first.
            (None, Err(Rejection::Token { error: TokenError::Payload(_), .. })) => {
                Held::Others { aud: "nobody that is known".to_owned() }
            }
            (None, _) => Held::Nothing,
        }
    }

    /// What the token in the file says, if it is this hub's and in force, under whatever origin it was issued.
    fn examine_own(&self, token: &str, now_unix: i64) -> Result<Claims, Rejection> {
        let expect = Expect { issuers: None, audience: Accept::Named(&AUDIENCES), hid: &self.hid, now_unix };
        let (verified, row, _) = self.verify(token, OWNER_HUB, &expect)?;
        in_force(&verified, row.as_ref(), now_unix)?;
        Ok(verified.claims)
    }

    /// Whether this hub has signed it for a module, which is nothing to put another token in the place of.
    fn is_for_a_module(&self, token: &str, now_unix: i64) -> bool {
        let Some(claims) = claims::unverified(token) else { return false };
        let Some(owner) = claims::owner_of(&claims.aud) else { return false };
        let expect = Expect { issuers: None, audience: Accept::OwnedBy(owner), hid: &self.hid, now_unix };
        self.keys().check(token, owner, &expect).err().is_none_or(TokenError::is_of_a_genuine_token)
    }

    /// Registers a new operator token, then writes it. The lock of the file is held.
    fn renew(&self, set: ScopeSet, sub: &str, cause: Cause<'_>, now_unix: i64) -> Result<Renewed, AuthError> {
        // Whoever changes the key holds the lock, too: what is active now stays so until the token is registered.
        self.refresh(now_unix)?;
        let keys = self.keys();
        let draft = self.draft(&keys.hub, set, sub, now_unix)?;
        let entry = draft.entry(cause.action, &cause.asker);
        let replaced = self.db.tokens().register(&draft.row(cause.created_via), cause.replacing, &entry, now_unix)?;
        self.note_epoch();
        operator_token::write(&self.home, &draft.minted.text)?;
        Ok(draft.renewed(set, replaced))
    }

    /// How long a new one lives: what this process was told, else what the last hub was.
    fn operator_ttl_s(&self) -> Result<u64, DbError> {
        if let Some(told) = self.surroundings.operator_ttl_s {
            return Ok(told);
        }
        let stored = self.db.settings().get(TTL_KEY)?.and_then(|text| text.parse().ok());
        // Whatever else may stand there, none lives for longer.
        Ok(stored.filter(|stored| (1..=TTL_S).contains(stored)).unwrap_or(TTL_S))
    }

    /// Stores for commands what this hub was told.
    pub(super) fn remember_ttl(&self, now_unix: i64) -> Result<(), DbError> {
        let told = self.surroundings.operator_ttl_s.unwrap_or(TTL_S).to_string();
        if self.db.settings().get(TTL_KEY)?.is_none_or(|stored| stored != told) {
            self.db.settings().put(TTL_KEY, &told, now_unix)?;
        }
        Ok(())
    }

    pub(super) fn draft(&self, keyring: &Keyring, set: ScopeSet, sub: &str, now_unix: i64) -> Result<Draft, AuthError> {
        let iat = stamp(now_unix)?;
        let claims = Claims {
            v: claims::VERSION,
            iss: self.origins().canonical.clone(),
            sub: sub.to_owned(),
            aud: AUDIENCE_OPERATOR.to_owned(),
            iat,
            nbf: iat,
            exp: iat + self.operator_ttl_s()?,
            jti: random_jti(),
            client_id: CLIENT_ID.to_owned(),
            scope: set.scopes().to_owned(),
            vault_scope: Vec::new(),
            pa_scope_set: Some(set.name().to_owned()),
            permissions: None,
            hid: self.hid.clone(),
        };
        let minted = mint::sign(&claims, keyring)?;
        Ok(Draft { claims, minted })
    }
}

fn grace(reason: &str, now_unix: i64) -> Replacing<'_> {
    Replacing::Until { aud: AUDIENCE_OPERATOR, until: now_unix + GRACE_S, reason }
}

/// The set that a token may be renewed with: a narrow one that somebody put into the file never becomes the operator's.
fn renewable(claims: &Claims) -> Option<ScopeSet> {
    let set = claims.pa_scope_set.as_deref().and_then(ScopeSet::parse)?;
    (claims.aud == AUDIENCE_OPERATOR).then_some(set)
}
