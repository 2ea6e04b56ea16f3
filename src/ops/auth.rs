//! Who may ask the hub for what: the token design of operator-token Part B, with the database behind it.
//!
//! `token` decides what is genuine, `db` knows what was issued and revoked; here the two meet. A token that was accepted
//! is remembered by its hash for as long as nobody writes to the database, so that a request costs one hash and one
//! look at a counter.

mod error;
mod failures;
#[cfg(test)]
mod tests;

pub(crate) use error::{AuthError, Reason, Refusal};
pub(super) use failures::Failures;

use error::Rejection;

use crate::db::{CreatedVia, Db, DbError, DbHealth, KeyState, NewToken, TokenRow, Version};
use crate::store::Home;
use crate::store::operator_token::{self, OperatorTokenError};
use crate::sys::random;
use crate::token::claims::{self, Claims};
use crate::token::keyring::{Keyring, Master, MasterState, Secret};
use crate::token::scope::{ADMIN_SET, ADMIN_SET_NAME, Scopes};
use crate::token::verify::{self, Expect, TokenError, Verified};
use crate::token::{TOKEN_LIMIT_BYTES, b64, mint, same_hash, sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The database's name below the home.
const DATABASE_NAME: &str = "hub.db";
/// Life of an operator token (B7).
const OPERATOR_TTL_S: u64 = 90 * 86_400;
/// `client_id` of what the hub mints for itself.
const CLIENT_ID: &str = "parachute-hub";
/// `sub` while there are no user accounts (B5).
const SUBJECT: &str = "operator";
/// What the management API accepts (B4, step 7).
const AUDIENCES: [&str; 2] = [claims::AUDIENCE_OPERATOR, claims::AUDIENCE_HUB];
/// Accepted tokens that are remembered; more than ever are in use at once.
const REMEMBERED_LIMIT: usize = 64;
/// An unknown key may have been made by another process a moment ago; that is looked up at most this often (B8).
const KEY_LOOKUP_INTERVAL: Duration = Duration::from_secs(1);
/// Setting that holds the hub's id.
const HID_KEY: &str = "hid";
/// Settings that hold the origins this hub has had, one each.
const ORIGIN_PREFIX: &str = "origin:";
/// An earlier origin's tokens are accepted for as long as an operator token lives (B5).
const ORIGIN_KEPT_S: i64 = 90 * 86_400;
/// Earlier origins that are accepted: a hub on changing ports must not collect them without end.
const ORIGINS_LIMIT: u32 = 64;
/// The stored time of the present origin is renewed when it is older: not a write at every start.
const ORIGIN_RENEWED_AFTER_S: i64 = 86_400;
/// Outside of 2024 to 2100 the clock was never set, and a token minted now would be of no use once it is.
const PLAUSIBLE_UNIX: std::ops::Range<i64> = 1_704_067_200..4_102_444_800;

/// Decides about bearers. Shared by all threads that answer requests.
pub(crate) struct Authority {
    db: Db,
    home: Home,
    hid: String,
    issuers: Vec<String>,
    canonical_issuer: String,
    state: Mutex<State>,
}

/// What was read from the database, and what of it.
struct State {
    version: Version,
    looked_at: Instant,
    keyring: Arc<Keyring>,
    remembered: HashMap<[u8; 32], Remembered>,
}

#[derive(Clone)]
struct Remembered {
    caller: Caller,
    /// The state of the database that this was true of.
    version: Version,
    /// First second at which it is no longer good.
    until_unix: i64,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) jti: String,
    pub(crate) sub: String,
    pub(crate) scopes: Scopes,
}

/// What [`Authority::bootstrap`] found or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The file holds a token that is in force.
    Kept,
    /// The file holds one that is not, and it was left alone.
    KeptUseless(TokenError),
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

impl Authority {
    /// Opens the home's database, creating it, the hub's id and the signing key where they are missing. `issuers` are
    /// the origins that hold now; those of the last 90 days are accepted as well.
    pub(crate) fn open(home: &Home, issuers: Vec<String>, canonical_issuer: String) -> Result<Self, AuthError> {
        Self::open_at(home, issuers, canonical_issuer, unix_now())
    }

    fn open_at(home: &Home, issuers: Vec<String>, canonical_issuer: String, now_unix: i64) -> Result<Self, AuthError> {
        let db = Db::open(&home.path().join(DATABASE_NAME))?;
        let hid = db.settings().get_or_insert(HID_KEY, &random::hex(16), now_unix)?;
        let mut secret = [0; 32];
        random::fill(&mut secret);
        let secret = Secret::take(&mut secret);
        db.keys().ensure_active(&random_name::<8>(), secret.expose(), now_unix)?;
        db.tokens().purge(now_unix)?;

        let issuers = with_earlier_origins(&db, issuers, &canonical_issuer, now_unix)?;
        let version = db.version()?;
        let keyring = Arc::new(load_keyring(&db, now_unix)?);
        let state = State { version, looked_at: Instant::now(), keyring, remembered: HashMap::new() };
        Ok(Self { db, home: home.clone(), hid, issuers, canonical_issuer, state: Mutex::new(state) })
    }

    /// What opening had to put right, as sentences for the log.
    pub(crate) fn notices(&self) -> &[String] {
        self.db.notices()
    }

    /// For `/health`.
    pub(crate) fn db_health(&self) -> DbHealth {
        self.db.check()
    }

    /// Sees to it that whoever owns the home has an operator token: makes one at the first start, when its file was
    /// lost, and when the file's token was never this hub's. A token that merely expired or was revoked is left alone.
    /// Only the hub that holds the home's lock may call it.
    pub(crate) fn bootstrap(&self) -> Result<Bootstrap, AuthError> {
        self.bootstrap_at(unix_now())
    }

    fn bootstrap_at(&self, now_unix: i64) -> Result<Bootstrap, AuthError> {
        let path = operator_token::path(&self.home);
        let live = self.db.tokens().count_live(claims::AUDIENCE_OPERATOR, now_unix)?;
        let mut notices = Vec::new();
        let why = match operator_token::read(&self.home) {
            Ok(found) => {
                notices.extend(found.warnings);
                match self.examine(&found.text, now_unix) {
                    Ok(_) => return Ok(Bootstrap { outcome: Outcome::Kept, notices }),
                    Err(Rejection::Db(error)) => return Err(error.into()),
                    // Nobody holds a token of this hub, so this one can only have come from another.
                    Err(Rejection::Token {
                        error: error @ (TokenError::Key | TokenError::Signature | TokenError::Encoding),
                        ..
                    }) if live == 0 => format!("the one in {} was refused ({error})", path.display()),
                    Err(Rejection::Token { error, .. }) => {
                        notices.push(format!(
                            "the operator token in {} is refused ({error}); remove the file and start parachute serve \
                             again to get a new one",
                            path.display()
                        ));
                        return Ok(Bootstrap { outcome: Outcome::KeptUseless(error), notices });
                    }
                }
            }
            Err(OperatorTokenError::Missing { .. }) if live == 0 => "there was none".to_owned(),
            Err(OperatorTokenError::Missing { .. }) => format!("{} was lost", path.display()),
            Err(error) => return Err(error.into()),
        };
        let replacing = (live > 0).then_some("operator token file lost");
        let (jti, revoked) = self.mint_operator(replacing, now_unix)?;
        notices.push(format!(
            "wrote a new operator token to {} because {why}: jti {jti}, set {ADMIN_SET_NAME}, valid for {} days; revoked {revoked} \
             earlier",
            path.display(),
            OPERATOR_TTL_S / 86_400,
        ));
        let outcome = if replacing.is_some() { Outcome::Replaced { revoked } } else { Outcome::Created };
        Ok(Bootstrap { outcome, notices })
    }

    /// Registers and then writes an operator token of the admin set. Its jti, and how many it replaced.
    fn mint_operator(&self, replacing: Option<&str>, now_unix: i64) -> Result<(String, usize), AuthError> {
        let iat = match u64::try_from(now_unix) {
            Ok(iat) if PLAUSIBLE_UNIX.contains(&now_unix) => iat,
            _ => return Err(AuthError::Clock { now_unix }),
        };
        let claims = Claims {
            v: claims::VERSION,
            iss: self.canonical_issuer.clone(),
            sub: SUBJECT.to_owned(),
            aud: claims::AUDIENCE_OPERATOR.to_owned(),
            iat,
            nbf: iat,
            exp: iat + OPERATOR_TTL_S,
            jti: random_name::<16>(),
            client_id: CLIENT_ID.to_owned(),
            scope: ADMIN_SET.to_owned(),
            vault_scope: Vec::new(),
            pa_scope_set: Some(ADMIN_SET_NAME.to_owned()),
            permissions: None,
            hid: self.hid.clone(),
        };
        let minted = mint::sign(&claims, &self.keyring())?;
        let row = NewToken {
            jti: &claims.jti,
            sha256: &minted.sha256,
            kid: &minted.kid,
            sub: &claims.sub,
            aud: &claims.aud,
            scope: &claims.scope,
            client_id: &claims.client_id,
            created_via: if replacing.is_some() { CreatedVia::Rotate } else { CreatedVia::OperatorMint },
            iat: as_unix(claims.iat),
            exp: as_unix(claims.exp),
        };
        let revoked = self.db.tokens().register(&row, replacing, now_unix)?;
        operator_token::write(&self.home, &minted.text)?;
        Ok((claims.jti, revoked))
    }

    /// Whether the bearer of this token may do what needs `required_scope`. `bearer` is the token itself; see
    /// [`crate::token::from_authorization`]. Waits for at most the database's busy timeout, and junk not even that.
    pub(crate) fn authorize(&self, bearer: Option<&str>, required_scope: &str) -> Result<Caller, Refusal> {
        self.authorize_at(bearer, required_scope, unix_now())
    }

    fn authorize_at(&self, bearer: Option<&str>, required_scope: &str, now_unix: i64) -> Result<Caller, Refusal> {
        let token = bearer.ok_or(Refusal::Unauthenticated { reason: Reason::Missing, jti: None })?;
        if token.len() > TOKEN_LIMIT_BYTES {
            return Err(Rejection::from(TokenError::Encoding).into());
        }
        let caller = match self.recall(&sha256(token.as_bytes()), now_unix)? {
            Some(caller) => caller,
            None => self.examine(token, now_unix)?,
        };
        if caller.scopes.contains(required_scope) {
            Ok(caller)
        } else {
            Err(Refusal::InsufficientScope { required: required_scope.to_owned(), jti: caller.jti })
        }
    }

    /// The caller behind an accepted token, while it is in force and nobody has written to the database since.
    fn recall(&self, hash: &[u8; 32], now_unix: i64) -> Result<Option<Caller>, Refusal> {
        let Some(known) = self.current_state().remembered.get(hash).cloned() else { return Ok(None) };
        let unchanged = self.refresh(now_unix)? == known.version;
        Ok((unchanged && now_unix < known.until_unix).then_some(known.caller))
    }

    /// Checks a token from the start: keys, claims, registry.
    fn examine(&self, token: &str, now_unix: i64) -> Result<Caller, Rejection> {
        let (mut version, keyring, looked_at) = {
            let state = self.current_state();
            (state.version, Arc::clone(&state.keyring), state.looked_at)
        };
        let expect = Expect { issuers: &self.issuers, audiences: &AUDIENCES, hid: &self.hid, now_unix };
        let mut checked = verify::check(token, &keyring, &expect);
        let database_may_know = match &checked {
            Ok(_) => true,
            Err(TokenError::Key) => looked_at.elapsed() >= KEY_LOOKUP_INTERVAL,
            Err(_) => false,
        };
        if database_may_know {
            let newest = self.refresh(now_unix)?;
            if newest != version {
                version = newest;
                checked = verify::check(token, &self.keyring(), &expect);
            }
        }
        let verified = checked?;

        let row = self.db.tokens().find(&verified.claims.jti)?;
        let until_unix = in_force(&verified, row.as_ref(), now_unix)
            .map_err(|error| Rejection::Token { error, jti: Some(verified.claims.jti.clone()) })?;
        let caller = Caller { jti: verified.claims.jti, sub: verified.claims.sub, scopes: verified.scopes };
        self.remember(verified.sha256, Remembered { caller: caller.clone(), version, until_unix });
        Ok(caller)
    }

    fn remember(&self, hash: [u8; 32], what: Remembered) {
        let mut state = self.current_state();
        if state.version != what.version {
            return;
        }
        if state.remembered.len() >= REMEMBERED_LIMIT {
            state.remembered.clear();
        }
        state.remembered.insert(hash, what);
    }

    /// Reads keys anew and forgets what was remembered when anybody has written to the database. The newest version.
    fn refresh(&self, now_unix: i64) -> Result<Version, DbError> {
        let version = self.db.version()?;
        let unchanged = {
            let mut state = self.current_state();
            state.looked_at = Instant::now();
            state.version == version
        };
        if !unchanged {
            let keyring = Arc::new(load_keyring(&self.db, now_unix)?);
            let mut state = self.current_state();
            state.version = version;
            state.keyring = keyring;
            state.remembered.clear();
        }
        Ok(version)
    }

    fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.current_state().keyring)
    }

    /// The state; never held while the database is asked.
    fn current_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Step 8 of B4: until when a genuine token is good, given its row.
fn in_force(verified: &Verified, row: Option<&TokenRow>, now_unix: i64) -> Result<i64, TokenError> {
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

fn load_keyring(db: &Db, now_unix: i64) -> Result<Keyring, DbError> {
    let masters: Vec<Master> = db
        .keys()
        .usable(now_unix)?
        .into_iter()
        .map(|mut row| Master {
            kid: row.kid,
            secret: Secret::take(&mut row.secret),
            state: match row.state {
                KeyState::Active => MasterState::Active,
                KeyState::VerifyUntil(until) => MasterState::VerifyUntil(until),
            },
        })
        .collect();
    Ok(Keyring::new(&masters, &[claims::OWNER_HUB]))
}

/// `issuers`, the canonical one, and those of the past that are kept; the canonical one is stored as of now.
fn with_earlier_origins(
    db: &Db,
    mut issuers: Vec<String>,
    canonical_issuer: &str,
    now_unix: i64,
) -> Result<Vec<String>, DbError> {
    let stored = db.settings().below(ORIGIN_PREFIX, ORIGINS_LIMIT)?;
    let renewed =
        stored.iter().any(|(origin, at)| origin == canonical_issuer && now_unix - at < ORIGIN_RENEWED_AFTER_S);
    if !renewed {
        db.settings().put(&format!("{ORIGIN_PREFIX}{canonical_issuer}"), "", now_unix)?;
        db.settings().forget_below(ORIGIN_PREFIX, now_unix - ORIGIN_KEPT_S)?;
    }
    let earlier = stored.into_iter().filter(|(_, at)| now_unix - at < ORIGIN_KEPT_S).map(|(origin, _)| origin);
    for origin in std::iter::once(canonical_issuer.to_owned()).chain(earlier) {
        if !issuers.contains(&origin) {
            issuers.push(origin);
        }
    }
    Ok(issuers)
}

/// `BYTES` random bytes in base64url.
fn random_name<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    random::fill(&mut bytes);
    b64::encode(&bytes)
}

/// Claims stay below 2^53.
fn as_unix(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn unix_now() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => as_unix(since.as_secs()),
        Err(_) => 0,
    }
}
