//! Minting, listing and taking back, with a real database; the numbers are those of operator-token Part C.

use super::*;
use crate::db::{Filter, Listed};
use crate::token::grant::{Denied, Wanted};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A hub with an operator token, and who shows it.
pub(super) fn operator(home: &Path) -> (Authority, Caller) {
    let authority = open(home);
    bootstrap(&authority);
    let caller = caller(&authority, &token_in(home), NOW);
    (authority, caller)
}

/// Who shows `token`. That it was used is on record when this returns, so that then nothing is written to the database
/// but by the test itself.
pub(super) fn caller(authority: &Authority, token: &str, now_unix: i64) -> Caller {
    let caller = authority.authorize_at(Some(token), &[], now_unix).unwrap_or_else(|refusal| panic!("{refusal}"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while authority.noting_use.load(Ordering::Acquire) {
        assert!(Instant::now() < deadline, "the use of a token is not noted");
        crate::sys::fs::pause(Duration::from_millis(1));
    }
    caller
}

fn wanted(scope: &str) -> Wanted {
    Wanted { scope: scope.to_owned(), ..Wanted::default() }
}

pub(super) fn mint(authority: &Authority, by: &Caller, scope: &str, now_unix: i64) -> Result<Handed, TokenOpError> {
    authority.mint_at(by, &wanted(scope), &["work".to_owned()].into(), ASKER, now_unix)
}

/// A token for the hub itself that minting would never make.
fn hub_token(authority: &Authority, scope: &str, parent: Option<&str>) -> String {
    let claims = Claims { scope: scope.into(), ..claims_of(authority) };
    let minted = sign(&claims, &authority.keys().hub).expect("minted");
    let kid = minted.kid.clone();
    let row = NewToken {
        jti: &claims.jti,
        sha256: &minted.sha256,
        kid: &kid,
        sub: &claims.sub,
        aud: &claims.aud,
        scope: &claims.scope,
        client_id: &claims.client_id,
        created_via: CreatedVia::CliMint,
        parent_jti: parent,
        iat: as_unix(claims.iat),
        exp: as_unix(claims.exp),
        permissions: None,
    };
    authority.db.tokens().register(&row, Replacing::Nothing, &ENTRY, NOW).expect("registered");
    minted.text
}

fn rows(authority: &Authority) -> usize {
    authority.list(Filter::default(), None).unwrap_or_else(|e| panic!("{e}")).tokens.len()
}

#[test]
fn a_minted_token_is_on_record_with_its_parent_and_good_for_its_module() {
    let home = TestDir::new("auth-mint");
    let (authority, operator) = operator(home.path());
    let permissions = json!({"tags": ["a"]});
    let asked = Wanted {
        permissions: permissions.as_object().cloned(),
        subject: Some("ann".into()),
        expires_in_s: Some(60),
        ..wanted("vault:work:read")
    };
    let handed =
        authority.mint_at(&operator, &asked, &["work".to_owned()].into(), ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    let row = authority.show(&handed.jti).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((row.sub.as_str(), row.aud.as_str(), row.exp), ("ann", "vault.work", NOW + 60));
    assert_eq!((row.parent_jti.as_deref(), row.created_via.as_str()), (Some(operator.jti()), "cli_mint"));
    assert_eq!(row.permissions.map(|text| serde_json::from_str::<Value>(&text).expect("JSON")), Some(permissions));
    assert_eq!(code(&authority, &handed.token, NOW), "key", "no hub API takes it");

    let log = authority.audit(10).unwrap_or_else(|e| panic!("{e}"));
    let newest = log.first().expect("a line");
    assert_eq!(
        (newest.action.as_str(), newest.result.as_str(), newest.jti.as_deref()),
        ("token.mint", "ok", Some(handed.jti.as_str()))
    );
    assert!(log.iter().all(|line| !format!("{line:?}").contains(&handed.token)));
}

/// C25, C26: a refusal leaves no row, and a line in the audit log.
#[test]
fn c25_c26_what_is_refused_leaves_no_row() {
    let home = TestDir::new("auth-mint-refused");
    let (authority, _) = operator(home.path());
    let keeper = caller(&authority, &hub_token(&authority, "vault:work:admin", None), NOW);
    let narrow = caller(&authority, &hub_token(&authority, "parachute:host:start", None), NOW);
    let before = rows(&authority);
    for (by, scope) in [
        (&keeper, "vault:home:read"),
        (&keeper, "parachute:host:auth"),
        (&keeper, "scribe:transcribe"),
        (&keeper, "vault:work:ADMIN"),
        (&keeper, "vault:nowhere:read"),
        (&narrow, "vault:work:read"),
    ] {
        let refused = mint(&authority, by, scope, NOW).err();
        assert!(matches!(refused, Some(TokenOpError::Denied(_))), "{scope}: {refused:?}");
        let log = authority.audit(1).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(log.first().map(|line| line.result.as_str()), Some("denied"), "{scope}");
    }
    assert_eq!(rows(&authority), before);
    let refused = authority.revoke_at(&narrow, keeper.jti(), true, ASKER, NOW).err();
    assert!(matches!(refused, Some(TokenOpError::Denied(Denied::Gate))), "{refused:?}");
    assert_eq!(authority.show(keeper.jti()).unwrap_or_else(|e| panic!("{e}")).revoked_at, None);
}

/// C23, C24
#[test]
fn c23_c24_a_revocation_reaches_all_descendants_and_happens_once() {
    for cascade in [true, false] {
        let home = TestDir::new("auth-cascade");
        let (authority, operator) = operator(home.path());
        let parent = hub_token(&authority, "vault:work:admin parachute:host:auth", Some(operator.jti()));
        let by_parent = caller(&authority, &parent, NOW);
        let child = hub_token(&authority, HOST_AUTH, Some(by_parent.jti()));
        let by_child = caller(&authority, &child, NOW);
        let grandchild = hub_token(&authority, HOST_AUTH, Some(by_child.jti()));
        assert!(authority.authorize_at(Some(&grandchild), &[HOST_AUTH], NOW).is_ok());

        let revoke =
            |jti: &str, now| authority.revoke_at(&operator, jti, cascade, ASKER, now).map(|(_, revoked)| revoked);
        let first = revoke(by_parent.jti(), NOW + 1).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((first.at, first.count), (NOW + 1, if cascade { 3 } else { 1 }));
        let good = |token: &str| authority.authorize_at(Some(token), &[], NOW + 2).is_ok();
        assert_eq!(
            (good(&parent), good(&child), good(&grandchild)),
            (false, !cascade, !cascade),
            "at the very next call"
        );
        let again = revoke(by_parent.jti(), NOW + 9).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((again.at, again.count), (NOW + 1, 0), "the first time stays");
        assert!(good(&token_in(home.path())), "the one that asked");

        let long = "x".repeat(257);
        for (jti, not_found) in [
            ("abcdefghijklmnopqrstuv", true),
            ("x", true),
            ("' OR 1=1 --", false),
            (long.as_str(), false),
            ("a\nb", false),
            ("", false),
            ("a\0", false),
        ] {
            let refused = revoke(jti, NOW).expect_err("no such token");
            assert_eq!(matches!(refused, TokenOpError::NotFound), not_found, "{jti:.20}: {refused}");
            assert_eq!(matches!(refused, TokenOpError::BadJti), !not_found, "{jti:.20}: {refused}");
        }
    }
}

/// C23: the parent was looked at, and is gone by the time that its child is registered.
#[test]
fn c23_no_child_is_registered_for_a_parent_that_is_over() {
    let late = NOW + 90 * 86_400;
    let grace = Overlap::Grace(std::time::Duration::from_secs(60));
    for (how, at) in [
        ("revoked", NOW),
        ("replaced", NOW + 600),
        ("expired", late),
        ("key withdrawn", NOW),
        ("its key is over", NOW + 60),
    ] {
        let home = TestDir::new("auth-late-child");
        let (authority, operator) = operator(home.path());
        match how {
            "revoked" => drop(authority.revoke_at(&operator, operator.jti(), true, ASKER, NOW)),
            "replaced" => drop(authority.rotate_key_at(Overlap::Full, None, ASKER, NOW)),
            "key withdrawn" => drop(authority.rotate_key_at(Overlap::None, None, ASKER, NOW)),
            "its key is over" => drop(authority.rotate_key_at(grace, None, ASKER, NOW)),
            _ => {}
        }
        if at > NOW {
            assert_eq!(authority.is_in_force_at(&operator, at - 1).ok(), Some(true), "{how}: a second earlier");
        }
        assert_eq!(authority.is_in_force_at(&operator, at).ok(), Some(false), "{how}: nor is its session good");
        let before = rows(&authority);
        let refused = mint(&authority, &operator, "vault:work:read", at).err();
        assert!(matches!(refused, Some(TokenOpError::ParentOver)), "{how}: {refused:?}");
        assert_eq!(rows(&authority), before, "{how}");
    }
}

#[test]
fn c23_a_revocation_beside_a_mint_leaves_no_living_child() {
    let home = TestDir::new("auth-mint-race");
    let (authority, operator) = operator(home.path());
    for round in 0..20_i64 {
        let parent = hub_token(&authority, "vault:work:admin parachute:host:auth", Some(operator.jti()));
        let parent = caller(&authority, &parent, NOW);
        let together = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                together.wait();
                while mint(&authority, &parent, "vault:work:read", NOW).is_ok() {}
            });
            scope.spawn(|| {
                together.wait();
                authority.revoke_at(&operator, parent.jti(), true, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
            });
        });
        let alive = format!("SELECT count(*) FROM tokens WHERE parent_jti = '{}' AND revoked_at IS NULL", parent.jti());
        assert_eq!(authority.db.number_for_test(&alive), 0, "round {round}");
    }
}

/// The hub signs with what it knows, and a command has just changed the key.
#[test]
fn a_child_is_signed_with_the_key_of_the_moment_in_which_it_is_registered() {
    let home = TestDir::new("auth-mint-rotate");
    let (hub, operator) = operator(home.path());
    let change = open(home.path()).rotate_key_at(Overlap::Full, None, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    let handed = mint(&hub, &operator, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{e}"));
    let kid = format!("SELECT kid = '{}' FROM tokens WHERE jti = '{}'", change.kid, handed.jti);
    assert_eq!(hub.db.number_for_test(&kid), 1);
}

#[test]
fn a_subject_loses_all_its_tokens_but_the_one_that_asks() {
    let home = TestDir::new("auth-revoke-all");
    let (authority, operator) = operator(home.path());
    let of = |sub: &str| {
        let asked = Wanted { subject: Some(sub.into()), ..wanted("vault:work:read") };
        authority.mint(&operator, &asked, &["work".to_owned()].into(), ASKER).unwrap_or_else(|e| panic!("{e}"))
    };
    let (ann, bob) = (of("ann"), of("bob"));
    let revoked = authority.revoke_all(&operator, "ann", ASKER).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(revoked, 1);
    let state = |jti: &str| authority.show(jti).unwrap_or_else(|e| panic!("{e}")).revoked_at.is_some();
    assert_eq!((state(&ann.jti), state(&bob.jti), state(operator.jti())), (true, false, false));
    assert_eq!(authority.revoked().unwrap_or_else(|e| panic!("{e}")), std::slice::from_ref(&ann.jti));
    let lines = authority.audit(100).unwrap_or_else(|e| panic!("{e}")).len();
    for none in ["", "a\nb", "ä", &"x".repeat(129), &token_in(home.path())] {
        let refused = authority.revoke_all(&operator, none, ASKER).err();
        assert!(matches!(refused, Some(TokenOpError::BadSubject)), "{none:.20}: {refused:?}");
    }
    assert_eq!(authority.audit(100).unwrap_or_else(|e| panic!("{e}")).len(), lines, "nothing of it is kept");
    let revoked = authority.revoke_all(&operator, "operator", ASKER).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((revoked, state(operator.jti())), (0, false));
}

/// C53
#[test]
fn c53_a_parent_has_so_many_children_and_no_more() {
    let home = TestDir::new("auth-quota");
    let (authority, operator) = operator(home.path());
    for number in 0..60 {
        mint(&authority, &operator, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{number}: {e}"));
    }
    let refused = mint(&authority, &operator, "vault:work:read", NOW + 59).err();
    assert!(matches!(refused, Some(TokenOpError::TooFast { .. })), "{refused:?}");
    let mut now = NOW + 60;
    mint(&authority, &operator, "vault:work:read", now).unwrap_or_else(|e| panic!("a minute later: {e}"));
    // The rest of the thousand, without a sync for each.
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 939) \
         INSERT INTO tokens SELECT 'filler' || i, randomblob(32), kid, 's', 'vault', 'vault:work:read', 'c', 'cli_mint', \
         '{}', {NOW}, {}, NULL, NULL, NULL, NULL, NULL FROM n, hs_keys",
        operator.jti(),
        NOW + 9_000
    );
    authority.db.execute_for_test(&sql);
    now += 60;
    let refused = mint(&authority, &operator, "vault:work:read", now).err();
    assert!(
        matches!(refused, Some(TokenOpError::TooManyChildren { limit: 1000, retry_after_s: 8_880 })),
        "{refused:?}"
    );
    assert_eq!(code(&authority, &token_in(home.path()), now), "ok", "the parent is not affected");
    now = NOW + 9_000;
    mint(&authority, &operator, "vault:work:read", now).unwrap_or_else(|e| panic!("once some have expired: {e}"));
}

/// C52
#[test]
fn c52_pages_neither_skip_nor_repeat_and_a_cursor_cannot_be_made_up() {
    let home = TestDir::new("auth-pages");
    let (authority, operator) = operator(home.path());
    for minute in 0..120_i64 {
        mint(&authority, &operator, "vault:work:read", NOW + minute / 2 * 60).unwrap_or_else(|e| panic!("{e}"));
    }
    let list = |cursor: Option<&str>| authority.list(Filter::default(), cursor);
    let (mut seen, mut cursor, mut pages) = (BTreeSet::new(), None, 0);
    loop {
        let page = list(cursor.as_deref()).unwrap_or_else(|e| panic!("{e}"));
        let before = seen.len();
        seen.extend(page.tokens.iter().map(|row| row.jti.clone()));
        assert_eq!(seen.len(), before + page.tokens.len(), "none twice");
        pages += 1;
        // Somebody mints while somebody else turns the page.
        mint(&authority, &operator, "vault:work:read", NOW + 90_000).unwrap_or_else(|e| panic!("{e}"));
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!((pages, seen.len()), (3, 121));

    let good = cursor.expect("there was a second page");
    for index in 0..good.len() {
        let mut bad = good.clone().into_bytes();
        bad[index] = if bad[index] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bad).expect("ASCII");
        assert!(bad == good || matches!(list(Some(&bad)), Err(TokenOpError::BadCursor)), "byte {index}");
    }
    let unmarked = b64::encode(b"1800000000.abcdefghijklmnopqrstuv");
    let long = "A".repeat(10_000);
    for bad in ["", "x", "AAAA", "===", unmarked.as_str(), long.as_str(), "\0"] {
        assert!(matches!(list(Some(bad)), Err(TokenOpError::BadCursor)), "{bad:.20}");
    }
    let filtered = Filter { subject: Some("nobody".into()), ..Filter::default() };
    assert_eq!(authority.list(filtered, None).unwrap_or_else(|e| panic!("{e}")).tokens, []);
}

/// B10: what is listed as active is what would be let in, and what is listed as revoked says so of itself.
#[test]
fn a_list_says_what_each_token_is_worth_and_has_the_good_ones_alone() {
    let home = TestDir::new("auth-states");
    let (authority, operator) = operator(home.path());
    let vaults = ["work".to_owned()].into();
    let made = |seconds: u64| {
        let wanted = Wanted { expires_in_s: Some(seconds), ..wanted("vault:work:read") };
        authority.mint_at(&operator, &wanted, &vaults, ASKER, NOW).unwrap_or_else(|e| panic!("{e}")).jti
    };
    let (short_lived, taken_back, old_key) = (made(60), made(9_000), made(9_000));
    authority.revoke_at(&operator, &taken_back, true, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    let grace = Overlap::Grace(std::time::Duration::from_secs(1_000));
    authority.rotate_key_at(grace, None, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    let operators = claims::unverified(&token_in(home.path())).expect("a token").jti;
    for (at, states) in [
        (NOW, ["good", "revoked", "good", "replaced", "good"]),
        (NOW + 60, ["expired", "revoked", "good", "replaced", "good"]),
        (NOW + 600, ["expired", "revoked", "good", "revoked", "good"]),
        (NOW + 1_000, ["expired", "revoked", "void", "revoked", "good"]),
        (NOW + 9_000, ["expired", "revoked", "expired", "revoked", "good"]),
    ] {
        let list = |active, revoked| {
            let filter = Filter { active, revoked, ..Filter::default() };
            authority.list_at(filter, None, at).unwrap_or_else(|e| panic!("{e}")).tokens
        };
        let all = list(None, None);
        let state = |jti: &str| all.iter().find(|row| row.jti == jti).map(|row| row.state.as_str());
        let jtis = [short_lived.as_str(), &taken_back, &old_key, operator.jti(), &operators];
        assert_eq!(jtis.map(state), states.map(Some), "{} s later", at - NOW);
        let good = |row: &Listed| matches!(row.state.as_str(), "good" | "replaced");
        let numbers = |rows: Vec<Listed>| rows.into_iter().map(|row| row.jti).collect::<BTreeSet<_>>();
        let (active, others): (Vec<_>, Vec<_>) = all.clone().into_iter().partition(good);
        let listed = [true, false].map(|active| numbers(list(Some(active), None)));
        assert_eq!(listed, [numbers(active), numbers(others)], "{} s later", at - NOW);
        let (revoked, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|row| row.state == "revoked");
        let listed = [true, false].map(|revoked| numbers(list(None, Some(revoked))));
        assert_eq!(listed, [numbers(revoked), numbers(others)], "{} s later", at - NOW);
        assert_eq!(code(&authority, &token_in(home.path()), at), "ok");
    }
}

#[test]
fn a_use_is_noted_once_an_hour_and_fails_nobody() {
    let home = TestDir::new("auth-use");
    let (authority, operator) = operator(home.path());
    let tokens = authority.db.tokens();
    // Another thread notes that it was used to get here.
    while authority.noting_use.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    let wrong = NOW + 10_000_000;
    for (at, noted) in
        [(NOW, NOW), (NOW + 3_599, NOW), (NOW + 3_600, NOW + 3_600), (wrong, wrong), (NOW + 3_601, NOW + 3_601)]
    {
        let row = tokens.find(operator.jti()).expect("read").expect("on record");
        assert_eq!(Tokens::is_use_worth_noting(&row, at), at == noted && at != NOW, "{at}");
        tokens.touch(operator.jti(), at).expect("noted");
        let row = authority.show(operator.jti()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(row.last_used_at, Some(noted), "{at}");
    }
}

#[test]
fn a_hub_that_runs_for_long_deletes_what_is_over_as_well() {
    const DAY: Duration = Duration::from_secs(86_400);
    let home = TestDir::new("auth-tidy");
    let (authority, operator) = operator(home.path());
    let short_lived = Wanted { expires_in_s: Some(60), ..wanted("vault:work:read") };
    let vaults = ["work".to_owned()].into();
    authority.mint_at(&operator, &short_lived, &vaults, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    let tokens = || authority.db.number_for_test("SELECT count(*) FROM tokens");
    let later = NOW + 32 * 86_400;
    let now = Instant::now();
    for (what, at, at_unix, left) in [
        ("not yet a day", now + DAY / 2, later, 2),
        ("a clock that is far ahead of the start is believed a day later", now + DAY + DAY / 2, later, 2),
        ("not yet another day", now + DAY * 2, later + 86_400, 2),
        ("another day", now + DAY * 3, later + 86_400, 1),
    ] {
        authority.tidy(at, at_unix);
        assert_eq!(tokens(), left, "{what}");
    }
    assert_eq!(code(&authority, &token_in(home.path()), later), "ok", "the operator's is not over");
}

#[test]
fn a_hub_that_runs_for_long_forgets_keys_and_origins_that_are_over_without_being_asked() {
    const DAY: Duration = Duration::from_secs(86_400);
    let home = TestDir::new("auth-tidy-keys");
    drop(open_at(home.path(), "https://old.example", NOW));
    let (authority, _) = operator(home.path());
    authority.rotate_key_at(Overlap::Full, None, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    let knows = || authority.origins().issuers.contains(&"https://old.example".to_owned());
    assert!(knows());
    let now = Instant::now();
    // The clock is believed at the second look.
    for (days, day_unix) in [(1, NOW + 91 * 86_400), (3, NOW + 91 * 86_400)] {
        authority.tidy(now + DAY * days, day_unix);
    }
    assert!(!knows(), "{:?}", authority.origins());
    assert_eq!(authority.db.number_for_test("SELECT count(*) FROM hs_keys WHERE state = 'dead'"), 1);
}
