//! The origins of a hub that moves, and of one that is told another while it runs.

use super::*;
use crate::ops::auth::origins::ORIGIN_KEPT_S;

const OLD: &str = "https://old.example";
const NEW: &str = "https://new.example";
const DAY: i64 = 86_400;

fn set(authority: &Authority, origin: Option<&str>, now_unix: i64) -> OriginChange {
    authority.set_origin_at(origin, ASKER, now_unix).unwrap_or_else(|e| panic!("{e}"))
}

fn issuer_in(home: &Path) -> String {
    claims::unverified(&token_in(home)).expect("ours").iss
}

fn beside(home: &Path, configured: Option<&str>) -> Authority {
    let home = Home::open(home, Create::No).expect("a home");
    let surroundings =
        Surroundings { port: 1940, configured: configured.map(str::to_owned), ..Surroundings::default() };
    Authority::open_beside(&home, surroundings, Arc::new(|_| {})).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn a_hub_that_moved_to_another_origin_still_accepts_its_tokens() {
    let home = TestDir::new("auth-origin");
    bootstrap(&open_at(home.path(), OLD, NOW));
    let token = token_in(home.path());
    let moved = open_at(home.path(), "https://a.example", NOW + 60);
    assert_eq!(code(&moved, &token, NOW + 60), "ok");
    assert_eq!(moved.origins().issuers.first().map(String::as_str), Some("https://a.example"));
    drop(moved);
    let long_after = NOW + 60 + ORIGIN_KEPT_S - 1;
    assert!(open_at(home.path(), "https://b.example", long_after).origins().issuers.contains(&OLD.to_owned()));
    // Forgotten once no token under it can be alive.
    let later = open_at(home.path(), "https://c.example", NOW + 60 + ORIGIN_KEPT_S);
    assert!(!later.origins().issuers.contains(&OLD.to_owned()), "{:?}", later.origins());
}

#[test]
fn what_a_hub_issued_after_months_is_good_for_the_next_one_with_another_origin() {
    let home = TestDir::new("auth-origin-late");
    let authority = open_at(home.path(), OLD, NOW);
    bootstrap(&authority);
    let late = NOW + 100 * DAY;
    authority.rotate_operator_at(None, false, ASKER, late).unwrap_or_else(|e| panic!("{e}"));
    let token = token_in(home.path());
    drop(authority);
    let moved = open_at(home.path(), NEW, late + DAY);
    assert_eq!(code(&moved, &token, late + DAY), "ok");
}

#[test]
fn a_stored_origin_holds_at_once_for_all_and_the_old_tokens_stay_good() {
    let home = TestDir::new("auth-set-origin");
    let authority = open(home.path());
    bootstrap(&authority);
    let before = token_in(home.path());
    let change = set(&authority, Some(NEW), NOW + 100 * DAY - 10);
    assert_eq!((change.before.canonical.as_str(), change.now.canonical.as_str()), (ISSUER, NEW));
    // Expired by then, and so left alone.
    assert_eq!((change.notices.len(), token_in(home.path())), (0, before));
    authority.rotate_operator_at(None, false, ASKER, NOW + 100 * DAY).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(issuer_in(home.path()), NEW);
    let token = token_in(home.path());
    let now = NOW + 150 * DAY;
    let change = set(&authority, Some("https://third.example"), now);
    assert_eq!(change.notices.len(), 1, "{:?}", change.notices);
    assert_eq!(issuer_in(home.path()), "https://third.example", "healed");
    assert_eq!(code(&authority, &token, now), "ok", "for scripts that hold it");
    let healed = token_in(home.path());
    // C34: without one there is only this machine's name, and the token keeps the better.
    let change = set(&authority, None, now + 1);
    assert_eq!((change.now.canonical.as_str(), change.notices.len()), (ISSUER, 0));
    assert_eq!(token_in(home.path()), healed);
    assert_eq!(code(&authority, &healed, now + 1), "ok");
    let log = authority.audit(10).expect("read");
    let actions: Vec<_> = log.iter().map(|line| line.action.as_str()).filter(|a| a.starts_with("hub-origin")).collect();
    assert_eq!(actions, ["hub-origin.unset", "hub-origin.set", "hub-origin.set"]);
}

#[test]
fn the_same_origin_again_changes_nothing_and_what_is_none_is_refused() {
    let home = TestDir::new("auth-same-origin");
    let authority = open(home.path());
    bootstrap(&authority);
    set(&authority, Some(NEW), NOW);
    let (token, lines) = (token_in(home.path()), authority.audit(10).expect("read").len());
    let change = set(&authority, Some("HTTPS://New.example:443"), NOW);
    assert_eq!(change.before, change.now);
    for bad in ["", "new.example", "https://new.example/", "https://new.example/x", "ftp://x", "https://u@x"] {
        let refused = authority.set_origin_at(Some(bad), ASKER, NOW).err();
        assert!(matches!(refused, Some(AuthError::Origin(_))), "{bad:?}: {refused:?}");
    }
    assert_eq!((token_in(home.path()), authority.audit(10).expect("read").len()), (token, lines));
    assert_eq!(authority.origins().canonical, NEW);
}

#[test]
fn the_next_hub_and_commands_have_the_stored_origin_whatever_their_surroundings_say() {
    let home = TestDir::new("auth-stored-origin");
    let authority = open_at(home.path(), OLD, NOW);
    bootstrap(&authority);
    // Nothing is stored yet: what this process was told, then what the last hub was told.
    assert_eq!(beside(home.path(), Some("https://mine.example")).origins().canonical, "https://mine.example");
    assert_eq!(beside(home.path(), None).origins().canonical, OLD);
    set(&authority, Some(NEW), NOW);
    drop(authority);
    for configured in [None, Some("https://mine.example")] {
        assert_eq!(beside(home.path(), configured).origins().canonical, NEW, "{configured:?}");
    }
    let next = open_at(home.path(), OLD, NOW + 1);
    assert_eq!(next.origins().given, [NEW, OLD]);
    assert_eq!(set(&next, None, NOW + 2).now.canonical, OLD);
    drop(next);
    // A command that takes it back leaves no trace of it for later commands.
    let authority = beside(home.path(), None);
    set(&authority, Some(NEW), NOW);
    set(&authority, None, NOW);
    drop(authority);
    assert_eq!(beside(home.path(), None).origins().canonical, "http://127.0.0.1:1940");
}

/// Before there was any hub, or with an origin that only the command was given.
#[test]
fn what_a_command_issues_is_good_for_a_hub_that_never_had_that_origin() {
    for configured in [None, Some(OLD)] {
        let home = TestDir::new("auth-command-first");
        let command = beside(home.path(), configured);
        command.rotate_operator(None, false, ASKER).unwrap_or_else(|e| panic!("{e}"));
        drop(command);
        let now = unix_now() + 60;
        assert_eq!(issuer_in(home.path()), configured.unwrap_or("http://127.0.0.1:1940"));
        let hub = open_at(home.path(), ISSUER, now);
        assert_eq!(code(&hub, &token_in(home.path()), now), "ok", "{configured:?}");
    }
}
