//! Keys that follow each other, and databases that go back in time; the numbers are those of operator-token Part C.

use super::registry::{caller, mint, operator};
use super::*;
use std::time::Duration;

fn rotate(authority: &Authority, overlap: Overlap, now_unix: i64) -> KeyChange {
    authority.rotate_key_at(overlap, None, ASKER, now_unix).unwrap_or_else(|e| panic!("{e}"))
}

fn dead_keys_hold_a_secret(authority: &Authority) -> i64 {
    authority.db.number_for_test("SELECT count(*) FROM hs_keys WHERE state = 'dead' AND secret <> zeroblob(32)")
}

/// C40, C6: another authority on the same database stands for the running hub.
#[test]
fn c40_the_old_key_goes_on_for_as_long_as_it_is_told_to() {
    for (overlap, until, ending) in [
        (Overlap::Full, Some(NOW + 600), 0),
        (Overlap::Grace(Duration::from_secs(60)), Some(NOW + 60), 1),
        (Overlap::None, None, 1),
    ] {
        let home = TestDir::new("auth-rotate");
        let (authority, _) = operator(home.path());
        let old = token_in(home.path());
        let hub = open(home.path());
        assert_eq!(code(&hub, &old, NOW), "ok");
        let change = rotate(&authority, overlap, NOW);
        assert_eq!((change.verify_until, change.ending.len()), (until, ending), "{overlap:?}");
        let new = token_in(home.path());
        assert_ne!(new, old);
        assert_eq!(code(&hub, &new, NOW), "ok", "{overlap:?}: the running hub notices");
        for (at, good) in [
            (NOW, until.is_some()),
            (NOW + 59, until.is_some()),
            (NOW + 61, until == Some(NOW + 600)),
            (NOW + 600, false),
        ] {
            assert_eq!(code(&hub, &old, at) == "ok", good, "{overlap:?} at {at}");
        }
        assert_eq!(code(&hub, &new, NOW + 601), "ok");
        // A key that is over is out of memory; what was not ended at once is still on record, in case of a wrong clock.
        let dead = |hub: &Authority| hub.db.number_for_test("SELECT count(*) FROM hs_keys WHERE state = 'dead'");
        assert_eq!((dead(&hub), hub.keys().masters.len()), (i64::from(until.is_none()), 1), "{overlap:?}");
        // Opened a day later: what is over is buried, and its secret with it.
        for late in [NOW + 86_400, NOW + 86_400 + 600] {
            let later = open_at(home.path(), ISSUER, late);
            assert_eq!((dead_keys_hold_a_secret(&later), code(&later, &new, late)), (0, "ok"));
            assert_eq!(later.keys().masters.len(), 1, "{overlap:?}");
        }
        assert_eq!(dead(&hub), 1, "{overlap:?}");
    }
}

#[test]
fn what_a_key_has_taken_along_already_does_not_end_before_its_time_again() {
    let home = TestDir::new("auth-ended");
    let (authority, operator) = operator(home.path());
    let child = mint(&authority, &operator, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{e}"));
    let ended = rotate(&authority, Overlap::Grace(Duration::from_secs(60)), NOW).ending;
    assert!(ended.iter().any(|(jti, _)| *jti == child.jti), "{ended:?}");
    let next = caller(&authority, &token_in(home.path()), NOW);
    let ended = rotate(&authority, Overlap::None, NOW + 61).ending;
    assert_eq!(ended.iter().map(|(jti, _)| jti.as_str()).collect::<Vec<_>>(), [next.jti()]);
}

#[test]
fn a_key_outlives_its_last_token_and_four_are_the_most() {
    let home = TestDir::new("auth-four");
    let (authority, operator) = operator(home.path());
    mint(&authority, &operator, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{e}"));
    let change = rotate(&authority, Overlap::Full, NOW);
    assert_eq!(change.verify_until, Some(NOW + 90 * 86_400), "the child's own time, not the operator's grace");
    for number in 0..2_i64 {
        let by = caller(&authority, &token_in(home.path()), NOW);
        mint(&authority, &by, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{e}"));
        rotate(&authority, Overlap::Full, NOW + number);
    }
    let before = token_in(home.path());
    let refused = authority.rotate_key_at(Overlap::Full, None, ASKER, NOW).err();
    assert!(matches!(refused, Some(AuthError::TooManyKeys)), "{refused:?}");
    assert_eq!((token_in(home.path()), code(&authority, &before, NOW)), (before.clone(), "ok"), "nothing was changed");
    rotate(&authority, Overlap::None, NOW);
    assert_eq!((authority.keys().masters.len(), dead_keys_hold_a_secret(&authority)), (1, 0));
    assert_eq!(code(&authority, &before, NOW), "key");
}

/// C41
#[test]
fn c41_two_rotations_at_once_leave_one_active_key() {
    let home = TestDir::new("auth-two-rotations");
    let (authority, _) = operator(home.path());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| rotate(&open(home.path()), Overlap::Full, NOW));
        }
    });
    assert_eq!(authority.db.number_for_test("SELECT count(*) FROM hs_keys WHERE state = 'active'"), 1);
    assert_eq!(code(&authority, &token_in(home.path()), NOW), "ok");
}

/// C42
#[test]
fn c42_an_older_copy_of_the_database_accepts_nothing_until_its_key_is_changed() {
    let home = TestDir::new("auth-restored");
    let (authority, operator) = operator(home.path());
    let token = token_in(home.path());
    let child = mint(&authority, &operator, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{e}"));
    authority.db.execute_for_test(
        "VACUUM INTO 'copy.db'".replace("copy.db", &home.join("copy.db").display().to_string()).as_str(),
    );
    authority.revoke_at(&operator, &child.jti, true, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    drop(authority);
    for name in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        let _may_be_missing = fs::remove_file(home.join(name));
    }
    fs::rename(home.join("copy.db"), home.join("hub.db")).expect("restored");

    let restored = open(home.path());
    assert_eq!(code(&restored, &token, NOW), "rolled_back");
    assert_eq!(code(&restored, "junk", NOW), "malformed", "junk is junk first");
    let newer = database::of_unknown_key(1, "hub");
    assert_eq!(code(&restored, &newer, NOW), "rolled_back", "its key may be younger than the copy");
    assert_eq!(bootstrap(&restored), Outcome::RolledBack);
    for refused in [
        restored.rotate_operator_at(None, false, ASKER, NOW).err(),
        restored.rotate_key_at(Overlap::Full, None, ASKER, NOW).err(),
    ] {
        assert!(matches!(refused, Some(AuthError::RolledBack(_))), "{refused:?}");
    }
    rotate(&restored, Overlap::None, NOW);
    assert_eq!((code(&restored, &token, NOW), code(&restored, &token_in(home.path()), NOW)), ("key", "ok"));
    assert_eq!(code(&open(home.path()), &token_in(home.path()), NOW), "ok");
}

/// Whoever cannot read what was noted does not know whether the database is an older copy.
#[test]
fn a_note_of_the_epoch_that_is_no_number_has_nothing_accepted_until_the_key_is_changed() {
    for garbage in ["", "garbage", "18446744073709551615\n", "9007199254740991\n", "9007199254740992\n"] {
        let home = TestDir::new("auth-garbled-epoch");
        let (authority, _) = operator(home.path());
        let first = token_in(home.path());
        drop(authority);
        let note = home.join("hub/run/epoch");
        fs::write(&note, garbage).expect("written");
        for _ in 0..2 {
            let garbled = open(home.path());
            assert_eq!(code(&garbled, &first, NOW), "rolled_back", "{garbage:?}");
            assert_eq!(bootstrap(&garbled), Outcome::RolledBack, "{garbage:?}");
            assert_eq!(fs::read_to_string(&note).expect("there"), garbage, "no number takes its place unasked");
        }
        let garbled = open(home.path());
        rotate(&garbled, Overlap::None, NOW);
        for authority in [garbled, open(home.path())] {
            assert_eq!(code(&authority, &first, NOW), "key", "{garbage:?}");
            assert_eq!(code(&authority, &token_in(home.path()), NOW), "ok", "{garbage:?}");
        }
    }
    // A database that is made anew knows no token of before.
    let home = TestDir::new("auth-garbled-epoch-new");
    fs::create_dir_all(home.join("hub/run")).expect("made");
    fs::write(home.join("hub/run/epoch"), "garbage").expect("written");
    let (_, _) = operator(home.path());
    assert_eq!(code(&open(home.path()), &token_in(home.path()), NOW), "ok");
}

#[test]
fn a_lost_note_of_the_epoch_is_made_again() {
    let home = TestDir::new("auth-epoch");
    let (authority, _) = operator(home.path());
    rotate(&authority, Overlap::None, NOW);
    let note = home.join("hub/run/epoch");
    let noted = fs::read_to_string(&note).expect("noted");
    fs::remove_file(&note).expect("removed");
    assert_eq!(code(&open(home.path()), &token_in(home.path()), NOW), "ok");
    assert_eq!(fs::read_to_string(&note).expect("noted"), noted);
}

/// files §14.4: a database that was lost or set aside is no older copy, whatever was revoked in it.
#[test]
fn a_new_database_goes_on_from_the_epoch_of_the_one_before() {
    for lost in ["removed", "damaged"] {
        let home = TestDir::new("auth-new-database");
        let (authority, by) = operator(home.path());
        let child = mint(&authority, &by, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{e}"));
        authority.revoke_at(&by, &child.jti, true, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
        let (old, noted) = (token_in(home.path()), fs::read_to_string(home.join("hub/run/epoch")).expect("noted"));
        drop((authority, by));
        let path = home.join("hub.db");
        match lost {
            "removed" => fs::remove_file(&path).expect("removed"),
            _ => fs::write(&path, "x".repeat(8_192)).expect("written"),
        }
        let next = open(home.path());
        assert_eq!(code(&next, &old, NOW), "key", "{lost}");
        assert_eq!(bootstrap(&next), Outcome::Created, "{lost}");
        assert_eq!(code(&next, &token_in(home.path()), NOW), "ok", "{lost}");
        assert_eq!(next.db.epoch().expect("read"), noted.trim().parse::<u64>().expect("a number"), "{lost}");
        assert_eq!(code(&open(home.path()), &token_in(home.path()), NOW), "ok", "{lost}: and stays good");
    }
}

/// C54: two homes with the same number and key, until one of them changes its key.
#[test]
fn c54_a_copied_home_is_separated_by_a_new_key() {
    let (home, copy) = (TestDir::new("auth-home"), TestDir::new("auth-copy"));
    let (authority, _) = operator(home.path());
    let token = token_in(home.path());
    authority.db.execute_for_test(&format!("VACUUM INTO '{}'", copy.join("hub.db").display()));
    fs::set_permissions(copy.join("hub.db"), fs::Permissions::from_mode(0o600)).expect("set");
    fs::write(copy.join("operator.token"), &token).expect("written");
    let cloned = open(copy.path());
    assert_eq!((cloned.hid.as_str(), code(&cloned, &token, NOW)), (authority.hid.as_str(), "ok"));
    rotate(&cloned, Overlap::None, NOW);
    assert_eq!((code(&cloned, &token, NOW), code(&authority, &token, NOW)), ("key", "ok"));
    assert_eq!(code(&authority, &token_in(copy.path()), NOW), "key");
}

/// What a container is handed.
fn key_file(home: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = home.join(name);
    fs::write(&path, format!("{}\n", b64::encode(bytes))).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
    path
}

fn told(
    home: &Path,
    file: Option<&Path>,
    open: fn(&Home, Surroundings, Log) -> Result<Authority, AuthError>,
) -> Result<Authority, AuthError> {
    let home = Home::open(home, Create::No).expect("a home");
    let signing_key_file = file.map(Path::to_owned);
    open(&home, Surroundings { port: 1939, signing_key_file, ..Surroundings::default() }, Arc::new(|_| {}))
}

fn as_hub(home: &Home, surroundings: Surroundings, log: Log) -> Result<Authority, AuthError> {
    Authority::open_at(home, surroundings, log, NOW)
}

#[test]
fn keys_that_are_bound_to_a_file_work_with_that_file_alone() {
    let home = TestDir::new("auth-key-file");
    let (one, other) = (key_file(home.path(), "one", &[1; 32]), key_file(home.path(), "other", &[2; 40]));
    let hub = |file: Option<&Path>| told(home.path(), file, as_hub);
    let command = |file: Option<&Path>| told(home.path(), file, Authority::open_beside);
    let first = hub(Some(&one)).unwrap_or_else(|e| panic!("{e}"));
    bootstrap(&first);
    let token = token_in(home.path());
    assert_eq!(code(&first, &token, NOW), "ok");
    // What the database holds is no master.
    let stored = first.db.keys().usable(NOW).expect("read");
    let raw = Master {
        kid: stored[0].kid.clone(),
        secret: Secret::take(&mut { stored[0].secret }),
        state: MasterState::Active,
    };
    let forged = sign(&claims_of(&first), &Keyring::new(&[raw], &["hub"])).expect("minted").text;
    assert_eq!(code(&first, &forged, NOW), "signature");
    first.rotate_key_at(Overlap::Full, None, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        (code(&first, &token, NOW), code(&first, &token_in(home.path()), NOW)),
        ("ok", "ok"),
        "rotation goes on"
    );
    let token = token_in(home.path());
    drop(first);

    // The same file again; none; another, for a command.
    assert_eq!(code(&command(Some(&one)).unwrap_or_else(|e| panic!("{e}")), &token, NOW), "ok");
    for refused in [hub(None).err(), command(None).err(), command(Some(&other)).err()] {
        assert!(matches!(refused, Some(AuthError::OtherKeyFile)), "{refused:?}");
    }
    let again = hub(Some(&one)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(bootstrap(&again), Outcome::Kept);
    drop(again);

    // A file that was replaced voids everything, and the operator has a new token.
    let next = hub(Some(&other)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(code(&next, &token, NOW), "key");
    assert_eq!((bootstrap(&next), code(&next, &token_in(home.path()), NOW)), (Outcome::Kept, "ok"));
    drop(next);
    assert!(command(Some(&one)).is_err());

    for (name, bytes) in [("short", &[1; 31][..]), ("empty", &[])] {
        let bad = key_file(home.path(), name, bytes);
        assert!(matches!(hub(Some(&bad)).err(), Some(AuthError::KeyFile { .. })), "{name}");
    }
    fs::write(&one, "no base64url!").expect("written");
    assert!(matches!(hub(Some(&one)).err(), Some(AuthError::KeyFile { .. })));
    assert!(matches!(hub(Some(&home.join("none"))).err(), Some(AuthError::KeyFile { .. })));
}

#[test]
fn a_home_that_had_its_keys_to_itself_can_be_bound_to_a_file_later() {
    let home = TestDir::new("auth-key-file-later");
    let before = open(home.path());
    bootstrap(&before);
    let token = token_in(home.path());
    drop(before);
    let file = key_file(home.path(), "one", &[1; 32]);
    let bound = told(home.path(), Some(&file), as_hub).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((code(&bound, &token, NOW), code(&bound, &token_in(home.path()), NOW)), ("key", "ok"));
}

/// C43: what a start with a wrong clock would delete is still there when the clock is right again.
#[test]
fn c43_a_start_far_in_the_future_costs_nothing() {
    const DAY_S: i64 = 86_400;
    for wrong in [NOW + 3 * DAY_S, NOW + 10 * 365 * DAY_S, PLAUSIBLE_UNIX.end + DAY_S] {
        let home = TestDir::new("auth-far");
        let (authority, _) = operator(home.path());
        let earlier = token_in(home.path());
        rotate(&authority, Overlap::Full, NOW);
        let (kept, rows) = (token_in(home.path()), "SELECT count(*) FROM tokens");
        let count = authority.db.number_for_test(rows);
        drop(authority);
        for issuer in ["https://other.example", ISSUER] {
            // Refused or not, whatever it does with the operator's token is tested elsewhere.
            drop(open_at(home.path(), issuer, wrong));
            let back = open_at(home.path(), ISSUER, NOW + 60);
            assert_eq!(back.db.number_for_test(rows), count, "{wrong}");
            assert_eq!((code(&back, &kept, NOW + 60), code(&back, &earlier, NOW + 60)), ("ok", "ok"), "{wrong}");
        }
    }
}

/// What is done in a home at a time.
type Meanwhile<'a> = &'a dyn Fn(&Path, i64);

/// C43: the clock is wrong while the hub runs, and whatever is done meanwhile.
#[test]
fn c43_a_clock_that_is_wrong_for_a_while_ends_no_key_for_good() {
    const DAY_S: i64 = 86_400;
    let rotate_at = |home: &Path, overlap, at| drop(rotate(&open_at(home, ISSUER, at), overlap, at));
    let meanwhile: [(&str, Meanwhile<'_>); 4] = [
        ("a request", &|_, _| ()),
        ("a start", &|home, wrong| drop(open_at(home, ISSUER, wrong))),
        ("a key", &|home, wrong| rotate_at(home, Overlap::Full, wrong)),
        ("a key that ends at once", &|home, wrong| rotate_at(home, Overlap::Grace(Duration::ZERO), wrong)),
    ];
    for (what, act) in meanwhile {
        for wrong in [NOW + 700, NOW + DAY_S, NOW + 3 * DAY_S] {
            let home = TestDir::new("auth-clock-back");
            let (hub, _) = operator(home.path());
            let (old, ahead) = (token_in(home.path()), wrong - NOW);
            let kid = hub.keys().active().expect("a key").kid.clone();
            rotate(&hub, Overlap::Grace(Duration::from_secs(600)), NOW);
            act(home.path(), wrong);
            assert_eq!(code(&hub, &old, wrong), "key", "{what}, {ahead} s ahead");
            assert!(hub.keys().masters.iter().all(|key| key.kid != kid), "{what}: it is out of memory");
            assert_eq!(code(&hub, &old, NOW + 1), "ok", "{what}, {ahead} s ahead");
            assert_eq!(code(&hub, &old, NOW + 600), "key", "{what}: its time");
        }
    }
}

#[test]
fn what_is_over_is_deleted_by_the_second_start_that_says_so() {
    let home = TestDir::new("auth-over");
    let (authority, _) = operator(home.path());
    rotate(&authority, Overlap::Full, NOW);
    drop(authority);
    let later = NOW + 400 * 86_400;
    for (start, buried) in [(later, 0), (later + 60, 1), (later + 120, 1)] {
        let authority = open_at(home.path(), ISSUER, start);
        let dead = authority.db.number_for_test("SELECT count(*) FROM hs_keys WHERE state = 'dead'");
        let tokens = authority.db.number_for_test("SELECT count(*) FROM tokens");
        assert_eq!((dead, tokens > 0), (buried, buried == 0), "{}", start - later);
    }
}
