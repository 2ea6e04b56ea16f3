//! The operator's token renewed, healed and left alone; the numbers are those of operator-token Part C.

use super::registry::{caller, mint, operator};
use super::*;
use crate::token::claims::Shape;
use crate::token::scope::ScopeSet;
use std::os::unix::fs::MetadataExt;

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

/// What else may stand in the file: signed by us and on record, and not to be had by minting.
fn stash_payload(authority: &Authority, home: &Path, claims: &Claims) -> String {
    let token = authority.sign_for_test("hub", &claims.to_json());
    authority.register_for_test(claims, &token);
    put(home, &token);
    token
}

/// The file to the byte, and which file it is.
fn file(home: &Path) -> Option<(Vec<u8>, u64, u32)> {
    let path = home.join("operator.token");
    let facts = fs::metadata(&path).ok()?;
    Some((fs::read(&path).ok()?, facts.ino(), facts.mode()))
}

/// C31: near its end each of them, under a new origin, and with somebody who may ask for it to be renewed.
#[test]
fn c31_what_somebody_put_into_the_file_never_becomes_the_operators() {
    let exp = NOW.unsigned_abs() + 3_600;
    let kept = |shape| Outcome::KeptUseless(TokenError::Payload(shape));
    let set = |set: &str| Some(set.to_owned());
    type Change = fn(Claims) -> Claims;
    let operators: Change = |claims| Claims { aud: "operator".into(), ..claims };
    let cases: [(&str, Option<String>, Change, Outcome); 8] = [
        ("for the hub", None, |claims| claims, Outcome::Kept),
        (
            "for a module",
            None,
            |claims| Claims { aud: "vault".into(), ..claims },
            Outcome::KeptUseless(TokenError::Audience),
        ),
        ("for the hub, with a set", set("admin"), |claims| claims, kept(Shape::ScopeSet)),
        ("without a set", None, operators, kept(Shape::ScopeSet)),
        ("an unknown set", set("root"), operators, Outcome::Kept),
        ("an upper-case set", set("Admin"), operators, Outcome::Kept),
        ("an empty set", set(""), operators, Outcome::Kept),
        (
            "without a subject",
            set("admin"),
            |claims| Claims { aud: "operator".into(), sub: String::new(), ..claims },
            kept(Shape::Subject),
        ),
    ];
    for (name, pa_scope_set, change, expected) in cases {
        let home = TestDir::in_memory("auth-stashed");
        let (authority, by) = operator(home.path());
        let claims = change(Claims { exp, pa_scope_set, ..claims_of(&authority) });
        let token = stash_payload(&authority, home.path(), &claims);
        let (before, rows) = (file(home.path()), authority.db.number_for_test("SELECT count(*) FROM tokens"));
        assert_eq!(renew(&authority, &by, NOW), Renewal::NotRenewable, "{name}: the operator's own asks");
        if let Ok(by) = authority.authorize_at(Some(&token), &[], NOW) {
            assert_eq!(renew(&authority, &by, NOW), Renewal::NotRenewable, "{name}: it asks itself");
        }
        authority.set_origin_at(Some("https://b.example"), ASKER, NOW).unwrap_or_else(|e| panic!("{name}: {e}"));
        authority.set_origin_at(None, ASKER, NOW).unwrap_or_else(|e| panic!("{name}: {e}"));
        for refused in [
            authority.rotate_key_at(Overlap::Full, None, ASKER, NOW).err(),
            authority.rotate_key_at(Overlap::None, None, ASKER, NOW).err(),
            authority.rotate_operator_at(None, false, ASKER, NOW).err(),
        ] {
            assert!(matches!(refused, Some(AuthError::NotTheOperators { .. })), "{name}: {refused:?}");
        }
        let moved = open_at(home.path(), "https://a.example", NOW);
        assert_eq!(moved.bootstrap_at(NOW).expect("looked at").outcome, expected, "{name}");
        assert_eq!(file(home.path()), before, "{name}");
        assert_eq!(authority.db.number_for_test("SELECT count(*) FROM tokens"), rows, "{name}");
    }
    // Nor does minting make any of those without a set or a subject.
    let home = TestDir::new("auth-no-sub");
    let (authority, _) = operator(home.path());
    for claims in [
        Claims { aud: "operator".into(), ..claims_of(&authority) },
        Claims { sub: String::new(), ..claims_of(&authority) },
    ] {
        assert!(sign(&claims, &authority.keys().hub).is_err());
    }
}

const PUBLIC: &str = "https://a.example";

/// C33: each row of the table, for a hub that starts under a public origin and for one that is told of it while it runs,
/// with the file compared before and after.
#[test]
fn c33_each_row_of_the_table_leaves_the_file_as_it_says() {
    type Prepare = fn(&Authority, &Path);
    type Row = (&'static str, &'static str, i64, Prepare, Outcome);
    let kept = |shape| Outcome::KeptUseless(TokenError::Payload(shape));
    let expired = TokenError::Expired { at_unix: (NOW + TTL).unsigned_abs() };
    fn stash_operators(authority: &Authority, home: &Path, set: Option<&str>, sub: &str) {
        let pa_scope_set = set.map(str::to_owned);
        let claims = Claims { aud: "operator".into(), pa_scope_set, sub: sub.into(), ..claims_of(authority) };
        stash_payload(authority, home, &claims);
    }
    let cases: [Row; 13] = [
        ("2: a loopback target", "http://localhost:1939", NOW, |_, _| {}, Outcome::Kept),
        ("3: expired", PUBLIC, NOW + TTL, |_, _| {}, Outcome::KeptUseless(expired)),
        (
            "3: revoked",
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
            "3: forged",
            PUBLIC,
            NOW,
            |_, home| {
                let token = token_in(home);
                let (front, _) = token.rsplit_once('.').expect("three parts");
                put(home, &format!("{front}.{}", b64::encode(&[0; 32])));
            },
            Outcome::KeptUseless(TokenError::Signature),
        ),
        (
            "3: an unknown key",
            PUBLIC,
            NOW,
            |_, home| {
                let token = token_in(home);
                let (_, rest) = token.split_once('.').expect("three parts");
                let header = r#"{"alg":"HS256","typ":"JWT","kid":"AAAAAAAAAAA.hub"}"#;
                put(home, &format!("{}.{rest}", b64::encode(header.as_bytes())));
            },
            Outcome::KeptUseless(TokenError::Key),
        ),
        (
            "3: on no record",
            PUBLIC,
            NOW,
            |authority, home| {
                let claims =
                    Claims { aud: "operator".into(), pa_scope_set: Some("admin".into()), ..claims_of(authority) };
                put(home, &authority.sign_for_test("hub", &claims.to_json()));
            },
            Outcome::KeptUseless(TokenError::Unregistered),
        ),
        ("4: already so", ISSUER, NOW, |_, _| {}, Outcome::Kept),
        (
            "4: already so, and public",
            PUBLIC,
            NOW,
            |authority, _| {
                let moved = authority.set_origin_at(Some(PUBLIC), ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
                assert_eq!(moved.now.canonical, PUBLIC);
            },
            Outcome::Kept,
        ),
        (
            "5: for another audience",
            PUBLIC,
            NOW,
            |authority, home| drop(stash_payload(authority, home, &claims_of(authority))),
            Outcome::Kept,
        ),
        ("6: no subject", PUBLIC, NOW, |a, home| stash_operators(a, home, Some("admin"), ""), kept(Shape::Subject)),
        ("7: no set", PUBLIC, NOW, |a, home| stash_operators(a, home, None, "operator"), kept(Shape::ScopeSet)),
        ("7: an unknown set", PUBLIC, NOW, |a, home| stash_operators(a, home, Some("root"), "operator"), Outcome::Kept),
        ("8", PUBLIC, NOW, |_, _| {}, Outcome::Healed),
    ];
    for (name, issuer, now, prepare, expected) in cases {
        for starts in [true, false] {
            let home = TestDir::in_memory("auth-heal");
            let (authority, _) = operator(home.path());
            prepare(&authority, home.path());
            let before = file(home.path());
            if starts {
                drop(authority);
                let moved = open_at(home.path(), issuer, now);
                let done = moved.bootstrap_at(now).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!(done.outcome, expected, "{name}: {:?}", done.notices);
            } else {
                authority.set_origin_at(Some(issuer), ASKER, now).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
            assert_eq!(file(home.path()) == before, expected != Outcome::Healed, "{name}, at a start: {starts}");
        }
    }

    // Row 1: a hub that runs makes none where there is none.
    let home = TestDir::new("auth-heal-absent");
    let (authority, _) = operator(home.path());
    fs::remove_file(home.join("operator.token")).expect("removed");
    authority.set_origin_at(Some(PUBLIC), ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(file(home.path()), None);
}

/// C34
#[test]
fn c34_what_is_issued_anew_keeps_its_set_and_is_never_downgraded() {
    for set in [ScopeSet::Admin, ScopeSet::Start] {
        let home = TestDir::new("auth-healed");
        let (authority, _) = operator(home.path());
        authority.rotate_operator_at(Some(set), false, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
        drop(authority);
        let before = token_in(home.path());
        let moved = open_at(home.path(), PUBLIC, NOW);
        assert_eq!(bootstrap(&moved), Outcome::Healed);
        let after = token_in(home.path());
        let claims = claims::unverified(&after).expect("ours");
        assert_eq!((claims.iss.as_str(), claims.scope.as_str()), (PUBLIC, set.scopes()));
        let good = |token: &str, at| moved.authorize_at(Some(token), &[], at).is_ok();
        assert!(good(&before, NOW + 599) && !good(&before, NOW + 600) && good(&after, NOW + 600));
        assert_eq!(moved.show(&claims.jti).unwrap_or_else(|e| panic!("{e}")).created_via, "heal");
        // Back on loopback for a while.
        let back = open_at(home.path(), ISSUER, NOW);
        assert_eq!((bootstrap(&back), token_in(home.path())), (Outcome::Kept, after));
    }
}

/// C31: whoever has put a module's token there has no use for one that opens everything, also when no operator's token
/// lives any more.
#[test]
fn c31_a_token_of_ours_for_a_module_stays_in_the_file_when_no_other_is_left() {
    let home = TestDir::new("auth-stashed-module");
    let (authority, by) = operator(home.path());
    let narrow = mint(&authority, &by, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{e}"));
    put(home.path(), &narrow.token);
    authority.revoke_at(&by, by.jti(), false, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    drop(authority);
    let before = file(home.path());
    for now in [NOW, NOW + 2 * TTL] {
        let next = open_at(home.path(), ISSUER, now);
        let kept = next.bootstrap_at(now).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(kept.outcome, Outcome::KeptUseless(TokenError::Key), "{:?}", kept.notices);
        assert_eq!(file(home.path()), before);
        assert!(kept.notices.iter().any(|notice| notice.contains("rotate-operator")), "{:?}", kept.notices);
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

/// B7, A9: what a token opened that is in force no more still says how much the next one may.
#[test]
fn a_new_token_or_key_never_widens_the_set_of_a_token_that_is_not_in_force() {
    type Spoil = fn(&Authority, &Path);
    let revoke: Spoil = |authority, home| {
        let by = caller(authority, &token_in(home), NOW);
        authority.db.tokens().revoke(by.jti(), true, &ENTRY, NOW).expect("revoked").expect("it was there");
    };
    // As an older copy of the database has it.
    let roll_back: Spoil = |_, home| fs::write(home.join("hub/run/epoch"), "99\n").expect("written");
    let lose: Spoil = |_, home| fs::remove_file(home.join("hub.db")).expect("removed");
    let cases: [(&str, Spoil, i64); 4] = [
        ("revoked", revoke, NOW),
        ("expired", |_, _| {}, NOW + TTL),
        ("rolled back", roll_back, NOW),
        ("lost", lose, NOW),
    ];
    for (name, spoil, now) in cases {
        for new_key in [true, false] {
            let home = TestDir::new("auth-never-wider");
            let (authority, _) = operator(home.path());
            authority.rotate_operator_at(Some(ScopeSet::Start), false, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
            spoil(&authority, home.path());
            drop(authority);
            let next = open_at(home.path(), ISSUER, now);
            let made = if new_key {
                next.rotate_key_at(Overlap::None, None, ASKER, now).map(|change| change.operator)
            } else if name == "rolled back" {
                continue;
            } else if name == "lost" {
                next.bootstrap_at(now).unwrap_or_else(|e| panic!("{e}"));
                next.rotate_operator_at(None, false, ASKER, now)
            } else {
                next.rotate_operator_at(None, false, ASKER, now)
            };
            assert_eq!(made.unwrap_or_else(|e| panic!("{e}")).set, ScopeSet::Start, "{name}, a new key: {new_key}");
        }
    }
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
