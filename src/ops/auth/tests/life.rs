//! The operator's token renewed, healed and left alone; the numbers are those of operator-token Part C.

use super::registry::{caller, mint, operator};
use super::*;
use crate::token::scope::ScopeSet;

const TTL: i64 = 90 * 86_400;
/// So much is left when it is renewed.
const WINDOW: i64 = 7 * 86_400;

fn renew(authority: &Authority, by: &Caller, now_unix: i64) -> Renewal {
    authority.renew_if_due_at(by, ASKER, now_unix).unwrap_or_else(|e| panic!("{e}"))
}

fn put(home: &Path, token: &str) {
    let path = home.join("operator.token");
    fs::write(&path, format!("{token}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
}

/// Registers a token for the hub with exactly these claims, and puts it into the operator's file.
fn stash(authority: &Authority, home: &Path, claims: &Claims) -> String {
    let minted = sign(claims, &authority.keys().hub).expect("minted");
    register(authority, claims, &minted.sha256, claims.exp);
    put(home, &minted.text);
    minted.text
}

#[test]
fn it_is_renewed_inside_the_window_and_keeps_its_set() {
    for (set, left, due) in [
        (ScopeSet::Admin, WINDOW, true),
        (ScopeSet::Admin, WINDOW + 1, false),
        (ScopeSet::Auth, 1, true),
        (ScopeSet::Start, WINDOW, true),
    ] {
        let home = TestDir::new("auth-renew");
        let (authority, _) = operator(home.path());
        authority.rotate_operator_at(Some(set), false, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
        let old = token_in(home.path());
        let now = NOW + TTL - left;
        let by = caller(&authority, &old, now);
        let outcome = renew(&authority, &by, now);
        let Renewal::Renewed(made) = &outcome else {
            assert!(!due && outcome == Renewal::NotDue, "{set:?} {left}: {outcome:?}");
            assert_eq!(token_in(home.path()), old);
            continue;
        };
        assert!(due, "{set:?} {left}");
        assert_eq!((made.set, made.exp), (set, (now + TTL).unsigned_abs()));
        let grace = 600.min(left);
        let good = |token: &str, at| authority.authorize_at(Some(token), &[], at).is_ok();
        assert!(good(&old, now + grace - 1) && !good(&old, now + grace), "{set:?}: scripts come to their end");
        assert!(good(&token_in(home.path()), now + 601));
        let claims = claims::unverified(&token_in(home.path())).expect("ours");
        assert_eq!((claims.scope.as_str(), claims.sub.as_str()), (set.scopes(), "operator"));
    }
}

#[test]
fn its_life_is_a_setting_that_commands_follow_and_so_is_when_it_is_renewed() {
    const HOUR: i64 = 3_600;
    let home = TestDir::new("auth-ttl");
    let short = |told: Option<u64>, now| {
        let surroundings = Surroundings { port: 1939, operator_ttl_s: told, ..Surroundings::default() };
        let home = Home::open(home.path(), Create::No).expect("a home");
        Authority::open_at(&home, surroundings, Arc::new(|_| {}), now).unwrap_or_else(|e| panic!("{e}"))
    };
    let life = || {
        let claims = claims::unverified(&token_in(home.path())).expect("ours");
        as_unix(claims.exp - claims.iat)
    };
    let hub = short(Some(3_600), NOW);
    bootstrap(&hub);
    assert_eq!(life(), HOUR);
    let by = caller(&hub, &token_in(home.path()), NOW);
    assert_eq!(renew(&hub, &by, NOW + HOUR * 3 / 4 - 1), Renewal::NotDue);
    assert!(matches!(renew(&hub, &by, NOW + HOUR * 3 / 4), Renewal::Renewed(_)));
    assert_eq!(life(), HOUR);
    // A command was not told, and does as the hub was.
    let surroundings = Surroundings { port: 1939, ..Surroundings::default() };
    let opened = Home::open(home.path(), Create::No).expect("a home");
    let command = Authority::open_beside(&opened, surroundings, Arc::new(|_| {})).unwrap_or_else(|e| panic!("{e}"));
    command.rotate_operator_at(None, false, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(life(), HOUR);
    // The next hub was told nothing.
    short(None, NOW).rotate_operator_at(None, false, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(life(), TTL);
}

/// C31
#[test]
fn c31_what_somebody_put_into_the_file_never_becomes_the_operators() {
    let exp = NOW.unsigned_abs() + 3_600;
    type Change = Box<dyn Fn(Claims) -> Claims>;
    let operator_claims = |set: Option<&str>| -> Change {
        let set = set.map(str::to_owned);
        Box::new(move |claims| Claims { aud: "operator".into(), pa_scope_set: set.clone(), exp, ..claims })
    };
    let cases: [(&str, Change); 3] = [
        ("another audience", Box::new(move |claims| Claims { exp, ..claims })),
        ("an unknown set", operator_claims(Some("root"))),
        ("an upper-case set", operator_claims(Some("Admin"))),
    ];
    for (name, change) in cases {
        let home = TestDir::new("auth-stashed");
        let (authority, _) = operator(home.path());
        let token = stash(&authority, home.path(), &change(claims_of(&authority)));
        let by = caller(&authority, &token, NOW);
        assert_eq!(renew(&authority, &by, NOW), Renewal::NotRenewable, "{name}");
        let moved = open_at(home.path(), "https://a.example", NOW);
        assert_eq!(moved.bootstrap_at(NOW).expect("looked at").outcome, Outcome::Kept, "{name}");
        assert_eq!(token_in(home.path()), token, "{name}");
    }
    // Without a set, or without a subject, nothing is a token at all.
    let home = TestDir::new("auth-no-sub");
    let (authority, _) = operator(home.path());
    for claims in [
        Claims { aud: "operator".into(), ..claims_of(&authority) },
        Claims { sub: String::new(), ..claims_of(&authority) },
    ] {
        assert!(sign(&claims, &authority.keys().hub).is_err());
    }
}

/// C33, C34: each row of the table, with the file compared before and after.
#[test]
fn c33_c34_it_is_issued_anew_only_under_a_public_origin_and_only_if_it_is_good() {
    const PUBLIC: &str = "https://a.example";
    type Prepare = fn(&Authority, &Path);
    let cases: [(&str, &str, i64, Prepare, Outcome); 7] = [
        ("loopback target", "http://localhost:1939", NOW, |_, _| {}, Outcome::Kept),
        ("a public one", PUBLIC, NOW, |_, _| {}, Outcome::Healed),
        (
            "expired",
            PUBLIC,
            NOW + TTL,
            |_, _| {},
            Outcome::KeptUseless(TokenError::Expired { at_unix: (NOW + TTL).unsigned_abs() }),
        ),
        (
            "revoked",
            PUBLIC,
            NOW,
            |authority, home| {
                let by = caller(authority, &token_in(home), NOW);
                authority.revoke_at(&by, by.jti(), true, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
            },
            // Nobody holds a token, and yet this one was ours: it was taken back on purpose.
            Outcome::KeptUseless(TokenError::Revoked),
        ),
        (
            "forged",
            PUBLIC,
            NOW,
            |_, home| {
                let token = token_in(home);
                let (front, _) = token.rsplit_once('.').expect("three parts");
                put(home, &format!("{front}.{}", b64::encode(&[0; 32])));
            },
            Outcome::KeptUseless(TokenError::Signature),
        ),
        ("already so", ISSUER, NOW, |_, _| {}, Outcome::Kept),
        (
            "a narrow one",
            PUBLIC,
            NOW,
            |authority, home| {
                let claims = claims_of(authority);
                stash(authority, home, &claims);
            },
            Outcome::Kept,
        ),
    ];
    for (name, issuer, now, prepare, expected) in cases {
        let home = TestDir::new("auth-heal");
        let (authority, _) = operator(home.path());
        prepare(&authority, home.path());
        drop(authority);
        let before = token_in(home.path());
        let moved = open_at(home.path(), issuer, now);
        let done = moved.bootstrap_at(now).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(done.outcome, expected, "{name}: {:?}", done.notices);
        let after = token_in(home.path());
        assert_eq!(after == before, expected != Outcome::Healed, "{name}");
        if expected == Outcome::Healed {
            let claims = claims::unverified(&after).expect("ours");
            assert_eq!((claims.iss.as_str(), claims.scope.as_str()), (PUBLIC, ScopeSet::Admin.scopes()));
            assert_eq!(code(&moved, &before, now + 599), "ok");
            assert_eq!(code(&moved, &before, now + 600), "revoked");
            let row = moved.show(&claims.jti).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(row.created_via, "heal");
            // Back on loopback for a while: nothing is downgraded.
            let back = open_at(home.path(), ISSUER, now);
            assert_eq!(back.bootstrap_at(now).expect("looked at").outcome, Outcome::Kept);
            assert_eq!(token_in(home.path()), after);
        }
    }
}

/// C35, within one process; each has a database connection and a lock of its own, as commands have.
#[test]
fn c35_twenty_at_once_make_one_new_token_and_children_live_on() {
    let home = TestDir::new("auth-twenty");
    let (authority, first) = operator(home.path());
    let child = mint(&authority, &first, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{e}"));
    let now = NOW + TTL - 86_400;
    let before = authority.db.number_for_test("SELECT count(*) FROM tokens");
    let outcomes: Vec<Renewal> = std::thread::scope(|scope| {
        let each = |_| {
            scope.spawn(|| {
                let own = open_at(home.path(), ISSUER, now);
                let by = caller(&own, &token_in(home.path()), now);
                renew(&own, &by, now)
            })
        };
        let threads: Vec<_> = (0..20).map(each).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let renewed = outcomes.iter().filter(|outcome| matches!(outcome, Renewal::Renewed(_))).count();
    assert_eq!(renewed, 1, "{outcomes:?}");
    assert_eq!(authority.db.number_for_test("SELECT count(*) FROM tokens"), before + 1);
    assert_eq!(
        authority.show(&child.jti).unwrap_or_else(|e| panic!("{e}")).revoked_at,
        None,
        "being replaced does not cascade"
    );
}

#[test]
fn rotating_by_hand_revokes_at_once_unless_told_otherwise_and_never_widens() {
    for keep_old in [false, true] {
        let home = TestDir::new("auth-by-hand");
        let (authority, first) = operator(home.path());
        let child = mint(&authority, &first, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{e}"));
        let old = token_in(home.path());
        let made =
            authority.rotate_operator_at(Some(ScopeSet::Auth), keep_old, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((made.set, made.replaced), (ScopeSet::Auth, usize::from(!keep_old)));
        assert_eq!(code(&authority, &old, NOW), if keep_old { "ok" } else { "revoked" });
        assert_eq!(authority.show(&child.jti).unwrap_or_else(|e| panic!("{e}")).revoked_at, None);
        let again = authority.rotate_operator_at(None, keep_old, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(again.set, ScopeSet::Auth, "as it was before");
    }
    let home = TestDir::new("auth-from-nothing");
    let made = open(home.path()).rotate_operator_at(None, false, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((made.set, made.replaced), (ScopeSet::Admin, 0), "it works in an empty home");
    assert_eq!(code(&open(home.path()), &token_in(home.path()), NOW), "ok");
}

/// C36: the database has the new token and the file has the old one, or none.
#[test]
fn c36_a_power_cut_between_database_and_file_is_mended_by_rotating() {
    let home = TestDir::new("auth-cut");
    let (authority, _) = operator(home.path());
    let old = token_in(home.path());
    authority.rotate_operator_at(None, false, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    put(home.path(), &old);
    drop(authority);
    let next = open(home.path());
    let kept = next.bootstrap_at(NOW).expect("looked at");
    assert_eq!(kept.outcome, Outcome::KeptUseless(TokenError::Revoked));
    assert!(kept.notices.iter().any(|notice| notice.contains("rotate-operator")), "{:?}", kept.notices);
    let made = next.rotate_operator_at(None, false, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((made.replaced, code(&next, &token_in(home.path()), NOW)), (1, "ok"), "the orphan is revoked");
}
