//! The authority with a real database and a real token file.
//!
//! Where the cases of operator-token Part C are tested, by their numbers:
//!
//! | Cases | Tests |
//! |---|---|
//! | 1–5, 7–11 | `token::tests`; 8 also `token::tests::fuzz`, 5 also `database` |
//! | 6, 40–42, 54 | `keys`; 6 also `token::tests`, 40, 41 also `e2e::tokens` |
//! | 12, 50 | `token::tests`; 12 also `e2e::attacks`, `e2e::access`, 50 also `e2e::tokens` |
//! | 13–18 | `token::tests::payload`; 13 also `token::tests::fuzz` |
//! | 19, 48, 49 | `e2e::tokens`; 48 also `hub::routes::tests::refusals`, and at the end of every hub and command of a test, `e2e::support::secrets` |
//! | 20, 44, 45 | `hub::routes::tests::refusals`, `e2e::introspection`, `modules`; 20 also `token::tests`, 44 also `e2e::dead_child` |
//! | 21, 22 | here |
//! | 23, 24, 52 | `registry`, `e2e::tokens`; 23 also here |
//! | 25–30, 53 | `hub::routes::tests::minting`, by the API; 25–30 also `token::grant::tests`, 25, 26, 53 also `registry` |
//! | 31, 33–36 | `life`; 35, 36 also, with processes, `e2e::operator_token` |
//! | 32 | here, `cli::tests`, `e2e::operator_token` |
//! | 37 | `e2e::tokens`, `e2e::operator_token` as another user than root, `store::atomic::secret` |
//! | 38 | `store::atomic::tests`, `store::operator_token`, `e2e::operator_token` as the kernel sees it |
//! | 39 | `database`, `db::tests`, `hub::routes::tests::minting`, `e2e::operator_token` |
//! | 43 | here, `keys` |
//! | 46 | here, `database`, `modules`, `e2e::introspection` |
//! | 51 | `modules`, `token::tests` |
//!
//! That every refusal looks the same from outside and has its cause in the log: `hub::routes::tests::refusals`.
//!
//! 47 is no test, because a time measured on a busy machine must decide nothing: `scripts/bench timing` measures it. MACs
//! are compared by `Mac::verify_slice`, hashes by `same_hash`, and module keys are looked up by their SHA-256, which
//! whoever guesses cannot steer.

use super::bearer::{AUDIENCES, REMEMBERED_LIMIT, in_force};
use super::operator::{Outcome, TTL_S};
use super::*;
use crate::db::{CreatedVia, Entry, NewToken, Replacing, TokenRow, Tokens};
use crate::store::operator_token::{self, OperatorTokenError};
use crate::store::{Create, StoreError};
use crate::sys::testdir::TestDir;
use crate::token::claims::Claims;
use crate::token::mint::sign;
use crate::token::scope::{HOST_ADMIN, HOST_AUTH, Scopes};
use crate::token::sha256;
use crate::token::verify::Accept;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

mod database;
mod forge;
mod keys;
mod life;
mod modules;
mod origins;
mod registry;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "http://127.0.0.1:1939";

fn open_at(home: &Path, issuer: &str, now_unix: i64) -> Authority {
    let home = Home::open(home, Create::No).unwrap_or_else(|e| panic!("{e}"));
    let configured = (issuer != ISSUER).then(|| issuer.to_owned());
    Authority::open_at(
        &home,
        Surroundings { port: 1939, configured, ..Surroundings::default() },
        Arc::new(|_| {}),
        now_unix,
    )
    .unwrap_or_else(|e| panic!("{e}"))
}

/// What the audit log has of tests.
const ASKER: Asker<'static> = Asker { via: Via::Cli, peer: None };
const ENTRY: Entry<'static> =
    Entry { action: "test", jti: None, parent_jti: None, sub: None, via: Via::Cli, peer: None, result: "ok" };

fn open(home: &Path) -> Authority {
    open_at(home, ISSUER, NOW)
}

fn bootstrap(authority: &Authority) -> Outcome {
    let done = authority.bootstrap_at(NOW).unwrap_or_else(|e| panic!("{e}"));
    done.outcome
}

fn token_in(home: &Path) -> String {
    let home = Home::open(home, Create::No).unwrap_or_else(|e| panic!("{e}"));
    operator_token::read(&home).unwrap_or_else(|e| panic!("{e}")).text
}

fn code(authority: &Authority, token: &str, now_unix: i64) -> &'static str {
    match authority.authorize_at(Some(token), &[HOST_ADMIN], now_unix) {
        Ok(_) => "ok",
        Err(refusal) => refusal.cause(),
    }
}

/// The claims of a token that this hub could have minted.
fn claims_of(authority: &Authority) -> Claims {
    authority.claims_for_test(NOW)
}

fn register(authority: &Authority, claims: &Claims, sha256: &[u8; 32], exp: u64) {
    let kid = authority.db.keys().usable(NOW).expect("read").first().expect("one key").kid.clone();
    let row = NewToken {
        jti: &claims.jti,
        sha256,
        kid: &kid,
        sub: &claims.sub,
        aud: &claims.aud,
        scope: &claims.scope,
        client_id: &claims.client_id,
        created_via: CreatedVia::OperatorMint,
        parent_jti: None,
        iat: as_unix(claims.iat),
        exp: as_unix(exp),
        permissions: None,
    };
    authority.db.tokens().register(&row, Replacing::Nothing, &ENTRY, NOW).expect("registered");
}

#[test]
fn the_first_start_makes_a_token_that_opens_everything_and_later_starts_keep_it() {
    let home = TestDir::new("auth-first");
    let authority = open(home.path());
    let made = authority.bootstrap_at(NOW).expect("made");
    assert_eq!(made.outcome, Outcome::Created);
    let path = home.join("operator.token");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o600);
    let token = token_in(home.path());
    assert_eq!(fs::read_to_string(&path).expect("there"), format!("{token}\n"));
    let log = made.notices.join("\n");
    assert!(!log.contains(&token) && log.contains("jti"), "{log}");

    let caller = authority.authorize_at(Some(&token), &[HOST_ADMIN], NOW).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(caller.claims.sub, "operator");
    assert!(log.contains(caller.jti()), "{log}");
    let again = authority.authorize_at(Some(&token), &[HOST_AUTH], NOW).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(again, caller);
    assert_eq!(bootstrap(&authority), Outcome::Kept);
    drop(authority);

    let later = open(home.path());
    assert_eq!(bootstrap(&later), Outcome::Kept);
    assert_eq!(code(&later, &token, NOW), "ok");
    assert_eq!(token_in(home.path()), token);
}

#[test]
fn every_refusal_has_its_code_and_a_known_token_is_refused_as_well() {
    let home = TestDir::new("auth-refused");
    let authority = open(home.path());
    bootstrap(&authority);
    let token = token_in(home.path());
    let exp = NOW + as_unix(TTL_S);
    assert_eq!(code(&authority, &token, NOW), "ok");
    for (text, now, expected) in [
        (token.clone(), exp - 1, "ok"),
        (token.clone(), exp, "expired"),
        (format!("{token}x"), NOW, "malformed"),
        (token.replace('.', ""), NOW, "malformed"),
        (format!("x{token}"), NOW, "key"),
        (String::new(), NOW, "malformed"),
        ("x".repeat(1 << 20), NOW, "malformed"),
    ] {
        assert_eq!(code(&authority, &text, now), expected, "{text:.60} at {now}");
    }
    let refusal = authority.authorize_at(None, &[HOST_ADMIN], NOW).expect_err("no token");
    assert_eq!(refusal.cause(), "missing");

    let claims = claims_of(&authority);
    let narrow = sign(&claims, &authority.keys().hub).expect("minted");
    register(&authority, &claims, &narrow.sha256, claims.exp);
    assert!(authority.authorize_at(Some(&narrow.text), &[HOST_AUTH], NOW).is_ok());
    let refusal = authority.authorize_at(Some(&narrow.text), &[HOST_ADMIN], NOW).expect_err("too narrow");
    assert!(matches!(&refusal, Refusal::InsufficientScope { .. }), "{refusal}");
    assert!(refusal.to_string().contains(&claims.jti), "{refusal}");
}

/// C21, C22
#[test]
fn c21_c22_a_genuine_token_that_is_not_on_record_as_it_is_does_not_count() {
    let home = TestDir::new("auth-record");
    let authority = open(home.path());
    let claims = claims_of(&authority);
    let minted = sign(&claims, &authority.keys().hub).expect("minted");
    assert_eq!(code(&authority, &minted.text, NOW), "unregistered");

    let known = claims_of(&authority);
    let first = sign(&known, &authority.keys().hub).expect("minted");
    register(&authority, &known, &first.sha256, known.exp);
    let wider = Claims { scope: HOST_ADMIN.into(), ..known };
    let forged = sign(&wider, &authority.keys().hub).expect("minted");
    assert_eq!(code(&authority, &forged.text, NOW), "unregistered");
    assert_eq!(code(&authority, &first.text, NOW), "insufficient_scope");

    let longer = claims_of(&authority);
    let minted = sign(&longer, &authority.keys().hub).expect("minted");
    register(&authority, &longer, &minted.sha256, longer.exp - 1);
    assert_eq!(code(&authority, &minted.text, NOW), "unregistered");
}

/// C23: the one who revokes is another process, and the token was accepted a moment ago.
#[test]
fn c23_a_revoked_token_is_refused_at_the_very_next_call() {
    let home = TestDir::new("auth-revoked");
    let authority = open(home.path());
    bootstrap(&authority);
    let token = token_in(home.path());
    assert_eq!(code(&authority, &token, NOW), "ok");

    let other = open(home.path());
    assert_eq!(code(&other, &token, NOW), "ok");
    fs::remove_file(home.join("operator.token")).expect("removed");
    assert_eq!(bootstrap(&other), Outcome::Replaced { revoked: 1 });
    assert_eq!(code(&authority, &token, NOW), "revoked");
    assert_eq!(code(&other, &token, NOW), "revoked");
    let replacement = token_in(home.path());
    assert_ne!(replacement, token);
    assert_eq!(code(&authority, &replacement, NOW), "ok");
}

#[test]
fn a_row_decides_from_when_on_a_token_is_revoked() {
    let home = TestDir::new("auth-row");
    let authority = open(home.path());
    let claims = claims_of(&authority);
    let minted = sign(&claims, &authority.keys().hub).expect("minted");
    let issuers = [ISSUER.to_owned()];
    let expect =
        Expect { issuers: Some(&issuers), audience: Accept::Named(&AUDIENCES), hid: &authority.hid, now_unix: NOW };
    let verified = verify::check(&minted.text, &authority.keys().hub, &expect).expect("genuine");
    let exp = as_unix(claims.exp);
    let row = TokenRow {
        sha256: minted.sha256,
        kid: minted.kid.clone(),
        exp,
        revoked_at: None,
        revoke_after: None,
        last_used_at: None,
    };
    let mut other_hash = minted.sha256;
    other_hash[31] ^= 1;
    for (name, row, expected) in [
        ("none", None, Err(TokenError::Unregistered)),
        ("good", Some(row.clone()), Ok(exp)),
        ("hash", Some(TokenRow { sha256: other_hash, ..row.clone() }), Err(TokenError::Unregistered)),
        ("kid", Some(TokenRow { kid: "x".into(), ..row.clone() }), Err(TokenError::Unregistered)),
        ("exp", Some(TokenRow { exp: exp + 1, ..row.clone() }), Err(TokenError::Unregistered)),
        ("revoked", Some(TokenRow { revoked_at: Some(NOW), ..row.clone() }), Err(TokenError::Revoked)),
        ("later", Some(TokenRow { revoke_after: Some(NOW + 1), ..row.clone() }), Ok(NOW + 1)),
        ("now", Some(TokenRow { revoke_after: Some(NOW), ..row.clone() }), Err(TokenError::Revoked)),
        ("after its end", Some(TokenRow { revoke_after: Some(exp + 1), ..row.clone() }), Ok(exp)),
    ] {
        assert_eq!(in_force(&verified, row.as_ref(), NOW), expected, "{name}");
    }
    let retiring = Verified { key_usable_until: Some(NOW + 5), ..verified };
    assert_eq!(in_force(&retiring, Some(&row), NOW), Ok(NOW + 5));
}

#[test]
fn a_file_that_cannot_help_is_replaced_only_while_nobody_holds_a_token() {
    let home = TestDir::new("auth-other-hub");
    let elsewhere = TestDir::new("auth-elsewhere");
    let other_hub = open(elsewhere.path());
    bootstrap(&other_hub);
    let foreign = token_in(elsewhere.path());

    for (name, text) in
        [("another hub's", foreign.as_str()), ("no token at all", "hello"), ("empty", ""), ("blank", " \n")]
    {
        let home = TestDir::new("auth-useless");
        fs::write(home.join("operator.token"), text).expect("written");
        let authority = open(home.path());
        assert_eq!(bootstrap(&authority), Outcome::Created, "{name}");
        assert_eq!(code(&authority, &token_in(home.path()), NOW), "ok", "{name}");
    }

    let authority = open(home.path());
    bootstrap(&authority);
    fs::write(home.join("operator.token"), &foreign).expect("written");
    let kept = authority.bootstrap_at(NOW).expect("looked at");
    assert_eq!(kept.outcome, Outcome::KeptUseless(TokenError::Key));
    assert!(kept.notices.iter().any(|notice| notice.contains("rotate-operator")), "{:?}", kept.notices);
    assert_eq!(token_in(home.path()), foreign);
}

/// C32
#[test]
fn c32_an_expired_token_is_never_brought_back() {
    let home = TestDir::new("auth-expired");
    let authority = open(home.path());
    bootstrap(&authority);
    let before = token_in(home.path());
    let late = NOW + as_unix(TTL_S);
    let kept = authority.bootstrap_at(late).expect("looked at");
    assert_eq!(kept.outcome, Outcome::KeptUseless(TokenError::Expired { at_unix: late.unsigned_abs() }));
    assert_eq!(token_in(home.path()), before);
    fs::remove_file(home.join("operator.token")).expect("removed");
    assert_eq!(authority.bootstrap_at(late).expect("made").outcome, Outcome::Created);
    assert_eq!(code(&authority, &token_in(home.path()), late), "ok");
}

#[test]
fn a_token_file_that_is_not_ours_alone_is_neither_taken_nor_replaced() {
    let home = TestDir::new("auth-link");
    let authority = open(home.path());
    bootstrap(&authority);
    let (token, target) = (home.join("operator.token"), home.join("target"));
    // Even one that would be good where it belongs.
    fs::rename(&token, &target).expect("ours");
    let before = fs::read(&target).expect("there");
    symlink(&target, &token).expect("linked");
    let done = authority.bootstrap_at(NOW).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(done.outcome, Outcome::Refused);
    let [notice] = &done.notices[..] else { panic!("one notice: {:?}", done.notices) };
    assert!(notice.contains("operator.token is a symbolic link") && notice.contains("rotate-operator"), "{notice}");
    assert_eq!((fs::read(&target).expect("there"), fs::read_link(&token).ok()), (before, Some(target)));
    let refused = authority.rotate_operator_at(None, false, ASKER, NOW).err();
    assert!(matches!(refused, Some(AuthError::OperatorToken(OperatorTokenError::Store(StoreError::Symlink { .. })))));
}

#[test]
fn a_loose_token_file_is_tightened_and_said() {
    let home = TestDir::new("auth-loose");
    let authority = open(home.path());
    bootstrap(&authority);
    let path = home.join("operator.token");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
    let kept = authority.bootstrap_at(NOW).expect("looked at");
    assert_eq!(kept.outcome, Outcome::Kept);
    assert_eq!(kept.notices, [format!("tightened {} from 0644 to 0600", path.display())]);
}

/// C43
#[test]
fn c43_nothing_is_minted_while_the_clock_cannot_be_right() {
    for now in [-1, 0, 86_400, PLAUSIBLE_UNIX.start - 1, PLAUSIBLE_UNIX.end, i64::MAX / 2] {
        let home = TestDir::new("auth-clock");
        let authority = open_at(home.path(), ISSUER, now);
        let super::operator::Bootstrap { outcome, notices } =
            authority.bootstrap_at(now).expect("the hub runs all the same");
        assert_eq!((outcome, notices.len()), (Outcome::NoClock, 1), "{now}: {notices:?}");
        assert!(notices[0].contains(&format!("the clock says {now} ")), "{notices:?}");
        assert!(!home.join("operator.token").exists(), "{now}");
        assert_eq!(bootstrap(&authority), Outcome::Created, "recovers");
    }
}

/// C46: whoever asks the database here waits for ever.
#[test]
fn c46_junk_never_reaches_the_database() {
    let home = TestDir::new("auth-junk");
    let authority = open(home.path());
    bootstrap(&authority);
    let token = token_in(home.path());
    let (front, _) = token.rsplit_once('.').expect("three parts");
    let forged = format!("{front}.{}", b64::encode(&[0; 32]));
    let exp = NOW + as_unix(TTL_S);
    authority.db.while_held(|| {
        for (junk, now, expected) in [
            ("", NOW, "malformed"),
            ("a.b.c", NOW, "key"),
            (forged.as_str(), NOW, "signature"),
            (token.as_str(), exp, "expired"),
        ] {
            assert_eq!(code(&authority, junk, now), expected, "{junk:.20}");
        }
    });
}

#[test]
fn a_number_is_one_and_never_looks_like_a_flag() {
    for _ in 0..2_000 {
        let jti = random_jti();
        assert!(claims::is_jti(&jti) && !jti.starts_with('-'), "{jti}");
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let home = TestDir::new("auth-bounded");
    let authority = open(home.path());
    let version = authority.db.version().expect("asked");
    let scopes = Scopes::parse(HOST_AUTH).expect("a scope");
    let caller = Caller { claims: Arc::new(claims_of(&authority)), scopes };
    for number in 0..=REMEMBERED_LIMIT {
        let what = Remembered { caller: caller.clone(), version, until_unix: NOW };
        authority.remember(sha256(&number.to_le_bytes()), what);
        assert!(authority.current_state().remembered.len() <= REMEMBERED_LIMIT);
    }
}
