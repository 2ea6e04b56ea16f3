//! What the authority asks of its database, and what it does without; the numbers are those of operator-token Part C.

use super::registry::{mint, operator};
use super::*;
use crate::manifest::Short;
use crate::ops::auth::bearer::{LOOKUP_SPAN, LOOKUPS};
use crate::ops::auth::modules::Rejected;
use std::os::unix::fs::chown;

/// A token that could be one of ours but for the number of its key.
pub(super) fn of_unknown_key(number: usize, owner: &str) -> String {
    let header = format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{number:011}.{owner}"}}"#);
    format!("{}.e30.{}", b64::encode(header.as_bytes()), b64::encode(&[0; 32]))
}

fn vault() -> Short {
    Short::parse("vault").expect("a short name")
}

/// Leaves no look at the database for this span, which does not end while the test runs.
fn spend(authority: &Authority) {
    authority.current_state().lookups = (Instant::now() + Duration::from_secs(3_600), LOOKUPS);
}

/// C46: whoever asks the database while it is held waits for ever.
#[test]
fn c46_a_flood_in_the_shape_of_ours_is_answered_from_memory() {
    let home = TestDir::new("auth-flood");
    let (authority, _) = operator(home.path());
    spend(&authority);
    authority.db.while_held(|| {
        for number in 0..10_000 {
            assert_eq!(code(&authority, &of_unknown_key(number, "hub"), NOW), "key");
        }
        for number in 0..1_000 {
            let told = authority.introspect_at(&vault(), &of_unknown_key(number, "vault"), NOW).expect("answered");
            assert!(matches!(told, Err(Rejected { cause: "key", .. })), "{number}");
            assert_eq!(authority.owner_of_key(&format!("{number:043}")).expect("answered"), None, "{number}");
        }
    });
}

#[test]
fn c46_the_database_is_asked_for_its_version_eight_times_a_second_and_for_no_more_unless_it_changed() {
    let home = TestDir::new("auth-lookups");
    let (authority, _) = operator(home.path());
    authority.refresh(NOW).expect("looked at");
    let start = Instant::now() + Duration::from_secs(60);
    for (ms, allowed) in [(0, 8), (999, 0), (1_000, 8), (1_500, 0), (9_000, 8)] {
        let now = start + Duration::from_millis(ms);
        let found = (0..100).filter(|_| authority.may_look_up(now)).count();
        assert_eq!(found, allowed, "after {ms} ms");
    }
    // The tables are left alone while nobody writes: the keys are the very same ones, and not read anew.
    authority.current_state().lookups = (Instant::now(), 0);
    let before = authority.keys();
    assert_eq!(code(&authority, &of_unknown_key(1, "hub"), NOW), "key");
    assert!(authority.current_state().lookups.1 > 0, "it was asked");
    assert!(Arc::ptr_eq(&before, &authority.keys()));
    authority.db.settings().put("x", "1", NOW).expect("stored");
    assert_eq!(code(&authority, &of_unknown_key(1, "hub"), NOW), "key");
    assert!(!Arc::ptr_eq(&before, &authority.keys()));
}

/// C46: a flood that takes every look hides a new key for what is left of the span, and a token under a known key ends
/// even that.
#[test]
fn c46_a_new_key_is_learned_of_in_spite_of_a_flood() {
    let home = TestDir::new("auth-flooded");
    let (hub, _) = operator(home.path());
    let command = open(home.path());
    command.rotate_key_at(Overlap::Full, None, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    let new = token_in(home.path());
    spend(&hub);
    assert_eq!(code(&hub, &new, NOW), "key", "every look of this span was taken");
    // The next span.
    hub.current_state().lookups = (Instant::now() - LOOKUP_SPAN, LOOKUPS);
    assert_eq!(code(&hub, &of_unknown_key(1, "hub"), NOW), "key");
    spend(&hub);
    assert_eq!(code(&hub, &new, NOW), "ok", "whoever was looked up for, all new keys are known");

    let external = command.make_external_key(&vault(), ASKER).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(hub.owner_of_key(&external).expect("answered"), None);
    assert_eq!(code(&hub, &new, NOW), "ok", "a good token is looked up in any case");
    assert_eq!(hub.owner_of_key(&external).expect("answered"), Some(KeyOwner::External(vault())));
}

/// C39: another program holds the write lock for longer than we wait.
#[test]
fn c39_while_another_program_writes_nothing_is_minted_and_what_was_goes_on() {
    let home = TestDir::new("auth-locked");
    let (authority, operator) = operator(home.path());
    let token = token_in(home.path());
    let child = mint(&authority, &operator, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{e}"));
    let rows = "SELECT count(*) FROM tokens";
    let before = authority.db.number_for_test(rows);
    authority.db.execute_for_test("PRAGMA busy_timeout = 20");
    let other = open(home.path());
    other.db.execute_for_test("BEGIN IMMEDIATE");
    let refused = [
        mint(&authority, &operator, "vault:work:read", NOW).err().map(|e| e.to_string()),
        authority.rotate_operator_at(None, false, ASKER, NOW).err().map(|e| e.to_string()),
        authority.rotate_key_at(Overlap::None, None, ASKER, NOW).err().map(|e| e.to_string()),
        authority.revoke_at(&operator, &child.jti, true, ASKER, NOW).err().map(|e| e.to_string()),
    ];
    for refused in refused {
        let text = refused.expect("somebody else writes");
        assert!(text.contains("hub.db") && text.contains("locked"), "{text}");
    }
    assert_eq!((token_in(home.path()), code(&authority, &token, NOW)), (token.clone(), "ok"));
    assert!(authority.introspect_at(&vault(), &child.token, NOW).expect("answered").is_ok());
    other.db.execute_for_test("ROLLBACK");
    assert_eq!(authority.db.number_for_test(rows), before);
    authority.rotate_operator_at(None, false, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
}

/// C39: before a key is made or used, the file is one that nobody else can read. Only root can give one away.
#[test]
fn c39_a_database_that_others_own_or_could_read_signs_nothing() {
    let try_open = |home: &TestDir| {
        let home = Home::open(home.path(), Create::No).expect("a home");
        Authority::open_at(&home, Surroundings { port: 1939, ..Surroundings::default() }, Arc::new(|_| {}), NOW)
    };
    let home = TestDir::new("auth-loose-db");
    drop(operator(home.path()));
    let path = home.join("hub.db");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
    let opened = try_open(&home).unwrap_or_else(|e| panic!("{e}"));
    let said = opened.notices().join("\n");
    assert!(said.contains("hub.db") && said.contains("from 0644 to 0600"), "{said}");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o600);
    drop(opened);

    if chown(&path, Some(65_534), None).is_ok() {
        let before = fs::read(&path).expect("read");
        let refused = try_open(&home).err();
        assert!(matches!(refused, Some(AuthError::Db(DbError::ForeignOwner { uid: 65_534, .. }))), "{refused:?}");
        assert_eq!(fs::read(&path).expect("read"), before);
    }
}
