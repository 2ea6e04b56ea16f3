//! What is taken back counts, and stands in the log together with everything else that was done.

use super::*;
use crate::db::{Filter, Listed, Retire};

/// With a key `k1`, an operator's token `a`, and one of somebody else's, `b`, which descends from it.
fn made(dir: &TestDir) -> Db {
    let db = open(&dir.join("hub.db"));
    db.keys().ensure_active("k1", &[1; 32], 0, NOW, NOW).expect("stored");
    let child = NewToken { sub: "ann", aud: "vault.work", parent_jti: Some("a"), ..token("b", &[2; 32]) };
    for token in [token("a", &[1; 32]), child] {
        db.tokens().register(&token, Replacing::Nothing, &ENTRY, NOW).expect("stored");
    }
    db
}

fn rotate(db: &Db, retire: Retire, now_unix: i64) -> (Option<i64>, Vec<String>) {
    let operator = NewToken { kid: "k2", iat: now_unix, exp: now_unix + 100, ..token("next", &[9; 32]) };
    let rotated = db.keys().rotate("k2", &[2; 32], retire, &operator, now_unix + 50, 0, &ENTRY, now_unix);
    let rotated = rotated.expect("rotated").expect("there is room");
    (rotated.verify_until, rotated.ending.into_iter().map(|(jti, _)| jti).collect())
}

/// The state of each token in a word, and why it ended.
fn states(db: &Db, now_unix: i64) -> Vec<(String, String, Option<String>)> {
    let mut all = db.tokens().list(&Filter::default(), 9, now_unix).expect("read");
    all.sort_by(|one, other| one.jti.cmp(&other.jti));
    all.into_iter().map(|token| (token.jti, token.state, token.revoke_reason)).collect()
}

fn row(jti: &str, state: &str, reason: Option<&str>) -> (String, String, Option<String>) {
    (jti.to_owned(), state.to_owned(), reason.map(str::to_owned))
}

/// One thing that is done to the database.
type Act = fn(&Db);

#[test]
fn the_epoch_counts_what_is_taken_back_and_the_log_has_all_that_was_done() {
    let acts: [(&str, Act, bool, bool); 9] = [
        (
            "a new token",
            |db| drop(db.tokens().register(&token("c", &[3; 32]), Replacing::Nothing, &ENTRY, NOW)),
            false,
            true,
        ),
        (
            "one in the place of the live ones",
            |db| {
                let lost = Replacing::Now { aud: "operator", reason: "lost" };
                drop(db.tokens().register(&token("c", &[3; 32]), lost, &ENTRY, NOW));
            },
            true,
            true,
        ),
        (
            "one in the place of none",
            |db| {
                let lost = Replacing::Now { aud: "hub", reason: "lost" };
                drop(db.tokens().register(&token("c", &[3; 32]), lost, &ENTRY, NOW));
            },
            false,
            true,
        ),
        ("a token is revoked", |db| drop(db.tokens().revoke("b", false, &ENTRY, NOW)), true, true),
        ("nobody's token is revoked", |db| drop(db.tokens().revoke("nobody", true, &ENTRY, NOW)), false, false),
        ("a subject is revoked", |db| drop(db.tokens().revoke_subject("ann", None, &ENTRY, NOW)), true, true),
        ("nobody is revoked", |db| drop(db.tokens().revoke_subject("nobody", None, &ENTRY, NOW)), false, true),
        ("the key is changed", |db| drop(rotate(db, Retire::WithLastToken, NOW)), true, true),
        ("the key is withdrawn", |db| drop(rotate(db, Retire::Now, NOW)), true, true),
    ];
    for (what, act, counts, is_logged) in acts {
        let dir = TestDir::new("db-taken-back");
        let db = made(&dir);
        let facts = || (db.epoch().expect("read"), db.auth_log().newest(99).expect("read").len());
        let (epoch, lines) = facts();
        act(&db);
        assert_eq!(facts(), (epoch + u64::from(counts), lines + usize::from(is_logged)), "{what}");
    }
    // What was taken back before is not taken back again.
    let dir = TestDir::new("db-taken-back");
    let db = made(&dir);
    db.tokens().revoke("b", false, &ENTRY, NOW).expect("revoked");
    let facts = || (db.epoch().expect("read"), db.auth_log().newest(99).expect("read").len());
    let before = facts();
    let again = db.tokens().revoke("b", false, &ENTRY, NOW + 1).expect("known").expect("there");
    assert_eq!((again.at, again.count, facts()), (NOW, 0, before));
}

#[test]
fn a_key_goes_on_as_long_as_it_is_left() {
    for (retire, at, verify_until, ending, usable, states_now) in [
        (
            Retire::WithLastToken,
            NOW + 1,
            Some(NOW + 100),
            &[][..],
            2,
            vec![row("a", "replaced", Some("key rotated")), row("b", "good", None), row("next", "good", None)],
        ),
        (
            Retire::At(NOW + 60),
            NOW + 1,
            Some(NOW + 60),
            &["b"],
            2,
            vec![row("a", "replaced", Some("key rotated")), row("b", "good", None), row("next", "good", None)],
        ),
        (
            Retire::At(NOW + 1),
            NOW + 1,
            None,
            &["a", "b"],
            1,
            vec![row("a", "void", Some("key rotated")), row("b", "void", None), row("next", "good", None)],
        ),
        (
            Retire::Now,
            NOW + 1,
            None,
            &["a", "b"],
            1,
            vec![
                row("a", "revoked", Some("key withdrawn")),
                row("b", "revoked", Some("key withdrawn")),
                row("next", "good", None),
            ],
        ),
        // By the clock the tokens are over; if that is wrong, they are not.
        (
            Retire::WithLastToken,
            NOW + 200,
            None,
            &[],
            1,
            vec![row("a", "expired", None), row("b", "expired", None), row("next", "good", None)],
        ),
    ] {
        let dir = TestDir::new("db-rotated");
        let db = made(&dir);
        let rotated = rotate(&db, retire, at);
        assert_eq!(rotated, (verify_until, ending.iter().map(|jti| (*jti).to_owned()).collect()), "{retire:?} at {at}");
        let standing = db.keys().standing(at).expect("read");
        assert_eq!((standing.usable, standing.active_since_unix), (usable, Some(at)), "{retire:?} at {at}");
        assert_eq!(states(&db, at), states_now, "{retire:?} at {at}");
        let dead: bool = db
            .lock()
            .query_row("SELECT secret = zeroblob(32) FROM hs_keys WHERE kid = 'k1'", [], |row| row.get(0))
            .expect("on record");
        assert_eq!(dead, usable == 1 && at < NOW + 100, "{retire:?} at {at}: a dead key has no secret");
    }
}

#[test]
fn what_is_over_is_buried_and_only_the_first_key_raises_the_epoch() {
    let dir = TestDir::new("db-buried");
    let db = open(&dir.join("hub.db"));
    db.keys().ensure_active("k1", &[1; 32], 7, NOW, NOW).expect("stored");
    assert_eq!(db.epoch().expect("read"), 7);
    let until = NOW + 10;
    db.execute_for_test(&format!("UPDATE hs_keys SET state = 'verify', verify_until = {until}"));
    db.keys().ensure_active("k2", &[2; 32], 99, NOW, until - 1).expect("stored");
    let is_buried = || -> bool {
        db.lock().query_row("SELECT state = 'dead' FROM hs_keys WHERE kid = 'k1'", [], |row| row.get(0)).expect("read")
    };
    assert!(!is_buried(), "it is not over");
    assert_eq!(db.epoch().expect("read"), 7, "the database has had a key");
    db.keys().ensure_active("k3", &[3; 32], 99, NOW, until).expect("stored");
    assert!(is_buried());
    let usable: Vec<String> = db.keys().usable(NOW).expect("read").into_iter().map(|row| row.kid).collect();
    assert_eq!(usable, ["k2"], "there was an active one");
}

#[test]
fn everything_on_record_about_a_token_is_told_as_what_it_is() {
    let dir = TestDir::new("db-listed");
    let db = made(&dir);
    let child = NewToken {
        aud: "vault.work",
        scope: "vault:work:read",
        client_id: "client",
        created_via: CreatedVia::CliMint,
        parent_jti: Some("a"),
        iat: NOW + 1,
        exp: NOW + 90,
        permissions: Some("{}"),
        ..token("c", &[3; 32])
    };
    db.tokens().register(&child, Replacing::Nothing, &ENTRY, NOW).expect("stored");
    db.tokens().touch("c", NOW + 5).expect("noted");
    let until = Replacing::Until { aud: "vault.work", until: NOW + 80, reason: "replaced" };
    db.tokens().register(&token("d", &[4; 32]), until, &ENTRY, NOW + 6).expect("stored");
    db.tokens().revoke("c", false, &ENTRY, NOW + 7).expect("revoked");
    let expected = Listed {
        jti: "c".into(),
        sub: "operator".into(),
        aud: "vault.work".into(),
        scope: "vault:work:read".into(),
        client_id: "client".into(),
        created_via: "cli_mint".into(),
        parent_jti: Some("a".into()),
        iat: NOW + 1,
        exp: NOW + 90,
        permissions: Some("{}".into()),
        revoked_at: Some(NOW + 7),
        revoke_after: Some(NOW + 80),
        revoke_reason: Some("revoked".into()),
        last_used_at: Some(NOW + 5),
        state: "revoked".into(),
    };
    assert_eq!(db.tokens().show("c", NOW + 8).expect("read"), Some(expected));
    assert_eq!(db.tokens().newest_iat().expect("read"), Some(NOW + 1));
    for via in [CreatedVia::OperatorMint, CreatedVia::Rotate, CreatedVia::Heal, CreatedVia::CliMint] {
        assert_eq!(CreatedVia::parse(via.as_str()), Some(via));
    }
    assert_eq!(CreatedVia::parse(""), None);
}
