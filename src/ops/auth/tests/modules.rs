//! Modules and what they are told; the numbers are those of operator-token Part C.

use super::registry::{mint, operator};
use super::*;
use crate::manifest::Short;
use crate::store::module_secrets;
use crate::token::attest::Attested;
use crate::token::keyring::{Key, Secret};

fn short(name: &str) -> Short {
    Short::parse(name).expect("a short name")
}

/// The key that the next child of a module finds in its file.
fn issue(authority: &Authority, module: &Short) -> String {
    authority.issue_module_key(module, Grants::default()).unwrap_or_else(|e| panic!("{e}"));
    let key_file = module_secrets::key_file(&authority.home, module);
    assert_eq!(fs::metadata(&key_file).expect("there").permissions().mode() & 0o7777, 0o600);
    fs::read_to_string(&key_file).expect("there").trim().to_owned()
}

fn owner(authority: &Authority, key: &str) -> Option<KeyOwner> {
    authority.owner_of_key(key).unwrap_or_else(|e| panic!("{e}"))
}

fn told(authority: &Authority, module: &Short, token: &str, now_unix: i64) -> Result<Box<Claims>, String> {
    let told = authority.introspect_at(module, token, now_unix).unwrap_or_else(|e| panic!("{e}"));
    told.map(|Active(claims)| claims).map_err(|rejected| rejected.text)
}

/// C44
#[test]
fn c44_a_key_is_good_for_one_child_of_one_module() {
    let home = TestDir::new("auth-module-key");
    let (authority, _) = operator(home.path());
    let (vault, scribe) = (short("vault"), short("scribe"));
    let first = issue(&authority, &vault);
    authority.module_spawned(&vault);
    let child = || Some(KeyOwner::Child(vault.clone()));
    assert_eq!(owner(&authority, &first), child());
    let others = issue(&authority, &scribe);
    assert_eq!(owner(&authority, &others), None, "nobody has it who lives");
    authority.module_spawned(&scribe);
    assert_eq!(owner(&authority, &others), Some(KeyOwner::Child(scribe)));

    // While the next one is prepared the old child runs on.
    let unused = issue(&authority, &vault);
    let second = issue(&authority, &vault);
    assert_eq!((owner(&authority, &first), owner(&authority, &unused)), (child(), None));
    authority.module_spawned(&vault);
    assert_eq!((owner(&authority, &first), owner(&authority, &second)), (None, child()), "a dead child's key is void");
    authority.module_ended(&vault);
    let third = issue(&authority, &vault);
    let gone = Some(KeyOwner::Gone(vault.clone()));
    assert_eq!((owner(&authority, &second), owner(&authority, &third)), (gone, None), "between death and respawn");
    authority.module_spawned(&vault);
    assert_eq!((owner(&authority, &second), owner(&authority, &third)), (None, child()));
    let long = "x".repeat(10_000);
    let (cut, added) = (&second[1..], format!("{second}A"));
    for junk in ["", "x", cut, added.as_str(), long.as_str(), "\0"] {
        assert_eq!(owner(&authority, junk), None, "{junk:.50}");
    }
    assert_eq!(owner(&open(home.path()), &second), None, "another hub has never heard of it");
}

#[test]
fn of_a_module_that_is_forgotten_only_a_dead_child_is() {
    let home = TestDir::new("auth-forgotten");
    let (authority, _) = operator(home.path());
    let vault = short("vault");
    let first = issue(&authority, &vault);
    authority.module_spawned(&vault);
    authority.forget_dead_child(&vault);
    assert_eq!(owner(&authority, &first), Some(KeyOwner::Child(vault.clone())), "it lives");
    authority.module_ended(&vault);
    let second = issue(&authority, &vault);
    authority.forget_dead_child(&vault);
    authority.module_spawned(&vault);
    assert_eq!(owner(&authority, &second), Some(KeyOwner::Child(vault.clone())), "it was on its way");
    authority.module_ended(&vault);
    assert_eq!(owner(&authority, &second), Some(KeyOwner::Gone(vault.clone())));
    authority.forget_dead_child(&vault);
    assert_eq!(owner(&authority, &second), None);
}

#[test]
fn only_the_child_that_was_promised_proofs_gets_them_and_under_its_own_key() {
    let home = TestDir::new("auth-proofs");
    let (authority, caller) = operator(home.path());
    let (web, scribe) = (short("web"), short("scribe"));
    let Handed { token, .. } = mint(&authority, &caller, "web:read", NOW).unwrap_or_else(|e| panic!("{e}"));
    let active = Active(told(&authority, &web, &token, NOW).expect("good"));
    let with = Grants { proofs: true, ..Grants::default() };
    let issue = |grants| {
        authority.issue_module_key(&web, grants).unwrap_or_else(|e| panic!("{e}"));
        let text = fs::read_to_string(module_secrets::key_file(&authority.home, &web)).expect("there");
        let mut key: [u8; 32] = b64::decode(text.trim().as_bytes()).expect("base64url").try_into().expect("32 bytes");
        Secret::take(&mut key)
    };
    let proof = || authority.prove(&web, &active, "GET", "/a?b");
    let is_under = |key: &Secret| {
        let Some(Proof { at, mac }) = proof() else { return false };
        let Active(claims) = &active;
        Attested { method: "GET", target: "/a?b", claims, at }.under(key) == mac
    };

    let first = issue(with);
    assert_eq!(proof(), None, "the child is not there yet");
    authority.module_spawned(&web);
    assert!(is_under(&first));
    let second = issue(with);
    assert!(is_under(&first), "while the next one is prepared");
    authority.module_spawned(&web);
    assert!(is_under(&second) && !is_under(&first));
    assert_eq!(authority.prove(&scribe, &active, "GET", "/a?b"), None);
    issue(Grants::default());
    authority.module_spawned(&web);
    assert_eq!(proof(), None, "this one was promised none");
}

#[test]
fn a_module_that_something_else_runs_has_a_key_until_it_is_taken_back() {
    let home = TestDir::new("auth-external");
    let (hub, _) = operator(home.path());
    let command = open(home.path());
    let vault = short("vault");
    // What was taken back must not come back with an older copy of the database.
    let epochs = || {
        let noted = fs::read_to_string(home.join("hub/run/epoch")).expect("noted");
        (command.db.epoch().expect("read"), noted.trim().parse().expect("a number"))
    };
    let key = command.make_external_key(&vault, ASKER).unwrap_or_else(|e| panic!("{e}"));
    let seen = open(home.path());
    assert_eq!(owner(&seen, &key), Some(KeyOwner::External(vault.clone())));
    assert_eq!(epochs(), (0, 0), "nothing was taken back");
    let other = command.make_external_key(&vault, ASKER).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(owner(&seen, &key), None, "a new one takes its place");
    assert_eq!(epochs(), (1, 1));
    assert!(command.remove_external_key(&vault, ASKER).unwrap_or_else(|e| panic!("{e}")));
    assert_eq!(epochs(), (2, 2));
    assert!(!command.remove_external_key(&vault, ASKER).unwrap_or_else(|e| panic!("{e}")));
    assert_eq!(epochs(), (2, 2));
    assert_eq!(owner(&open(home.path()), &other), None);
    let stored = fs::read(home.join("hub.db")).expect("there");
    assert!(!stored.windows(key.len()).any(|window| window == key.as_bytes()), "only a hash is kept");
    drop(hub);
}

/// C45, C20
#[test]
fn c45_a_module_is_told_of_its_own_good_tokens_and_of_nothing_else() {
    let home = TestDir::new("auth-introspect");
    let (authority, operator) = operator(home.path());
    let vault = short("vault");
    let handed = mint(&authority, &operator, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{e}"));
    let claims = told(&authority, &vault, &handed.token, NOW).expect("its own");
    assert_eq!(
        (claims.aud.as_str(), claims.scope.as_str(), &claims.jti),
        ("vault.work", "vault:work:read", &handed.jti)
    );
    assert_eq!(told(&open(home.path()), &vault, &handed.token, NOW).map(|claims| claims.jti), Ok(handed.jti.clone()));

    let scribe = mint(&authority, &operator, "scribe:transcribe", NOW).unwrap_or_else(|e| panic!("{e}")).token;
    let vaultx = mint(&authority, &operator, "vaultx:read", NOW).unwrap_or_else(|e| panic!("{e}")).token;
    let operators = token_in(home.path());
    let forged = format!("{}.{}", handed.token.rsplit_once('.').expect("three parts").0, b64::encode(&[0; 32]));
    let expires = NOW + 90 * 86_400;
    for (name, token, now, code) in [
        ("another module's", scribe.as_str(), NOW, "key"),
        ("one of a like name", &vaultx, NOW, "key"),
        ("the operator's", &operators, NOW, "key"),
        ("forged", &forged, NOW, "signature"),
        ("expired", &handed.token, expires, "expired"),
        ("garbage", "garbage", NOW, "malformed"),
        ("nothing", "", NOW, "malformed"),
        ("huge", &"x".repeat(9_000), NOW, "malformed"),
    ] {
        let reason = told(&authority, &vault, token, now).expect_err(name);
        assert!(reason.starts_with(code), "{name}: {reason}");
    }
    authority.revoke_at(&operator, &handed.jti, true, ASKER, NOW).unwrap_or_else(|e| panic!("{e}"));
    let reason = told(&authority, &vault, &handed.token, NOW).expect_err("revoked");
    assert!(reason.starts_with("revoked") && reason.contains(&handed.jti), "{reason}");
}

/// C46: whoever asks the database here waits for ever.
#[test]
fn c46_junk_of_callers_and_of_modules_never_reaches_the_database() {
    let home = TestDir::new("auth-module-junk");
    let (authority, operator) = operator(home.path());
    let vault = short("vault");
    let handed = mint(&authority, &operator, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{e}"));
    let forged = format!("{}.{}", handed.token.rsplit_once('.').expect("three parts").0, b64::encode(&[0; 32]));
    authority.refresh(NOW).expect("looked at");
    authority.db.while_held(|| {
        for junk in ["", "a.b.c", "x.y", forged.as_str()] {
            assert!(told(&authority, &vault, junk, NOW).is_err(), "{junk:.20}");
        }
        assert!(told(&authority, &vault, &handed.token, NOW + 90 * 86_400).is_err(), "expired");
        assert_eq!(owner(&authority, "junk"), None);
    });
}

/// C51: a module that has its derived key forges what it can.
#[test]
fn c51_a_derived_key_opens_nothing_but_its_own_module() {
    let home = TestDir::new("auth-derived");
    let (authority, operator) = operator(home.path());
    let vault = short("vault");
    let grants = Grants { verify_keys: true, ..Grants::default() };
    authority.issue_module_key(&vault, grants).unwrap_or_else(|e| panic!("{e}"));
    let path = module_secrets::verify_keys_file(&authority.home, &vault);
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o600);
    let file: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
    let secret = b64::decode(file["keys"][0]["k"].as_str().expect("a key").as_bytes()).expect("base64url");
    let kid = file["keys"][0]["kid"].as_str().expect("a number").to_owned();
    assert_eq!((file["audience_owner"].as_str(), file["issuers"][0].as_str()), (Some("vault"), Some(ISSUER)));

    // It checks a real token with it.
    let secret: [u8; 32] = secret.try_into().expect("32 bytes");
    let key = |owner: &str| Key::for_test(&kid, owner, secret);
    let handed = mint(&authority, &operator, "vault:work:read", NOW).unwrap_or_else(|e| panic!("{e}"));
    let (signed, signature) = handed.token.rsplit_once('.').expect("three parts");
    let signature: [u8; 32] = b64::decode(signature.as_bytes()).expect("base64url").try_into().expect("32 bytes");
    assert!(key("vault").verifies(signed.as_bytes(), &signature));

    // And forges.
    let forge = |owner: &str, aud: &str| {
        let pa_scope_set = (aud == "operator").then(|| "admin".to_owned());
        let claims = Claims { aud: aud.into(), pa_scope_set, ..claims_of(&authority) };
        let key = key(owner);
        let signed = format!("{}.{}", key.header(), b64::encode(&claims.to_json()));
        format!("{signed}.{}", b64::encode(&key.sign(signed.as_bytes())))
    };
    for (owner, aud, reason) in [
        ("hub", "operator", "signature"),
        ("hub", "hub", "signature"),
        ("vault", "operator", "key"),
        ("vault", "vault", "key"),
    ] {
        assert_eq!(code(&authority, &forge(owner, aud), NOW), reason, "{owner} {aud}");
    }
    for (module, owner, aud, reason) in [
        ("scribe", "scribe", "scribe", "signature"),
        ("scribe", "vault", "scribe", "key"),
        ("vault", "vault", "scribe", "audience"),
        // For itself it could, and does not get past the registry.
        ("vault", "vault", "vault", "unregistered"),
    ] {
        let told = told(&authority, &short(module), &forge(owner, aud), NOW).expect_err("forged");
        assert!(told.starts_with(reason), "{module}: {told}");
    }

    // A new key of the hub: the file follows, and says until when the old one is good.
    let renew = |short: &Short, granted| authority.renew_verify_keys(short, granted).unwrap_or_else(|e| panic!("{e}"));
    let keys = || {
        let file: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
        let keys = file["keys"].as_array().expect("a list").iter();
        keys.map(|key| (key["kid"].as_str().expect("a number").to_owned(), key["until"].as_i64())).collect::<Vec<_>>()
    };
    let grace = Overlap::Grace(Duration::from_secs(60));
    let new = open(home.path()).rotate_key_at(grace, None, ASKER, NOW).unwrap_or_else(|e| panic!("{e}")).kid;
    let operators = token_in(home.path());
    assert_eq!(code(&authority, &operators, NOW), "ok");
    assert_eq!(keys(), [(new.clone(), None), (kid.clone(), Some(NOW + 60))], "by itself");
    assert!(renew(&vault, true) && !renew(&short("scribe"), true), "it has none");
    let revoked = |at| authority.db.tokens().revoked(10, at).expect("read");
    assert!(!revoked(NOW + 59).contains(&handed.jti));
    assert!(revoked(NOW + 60).contains(&handed.jti), "whoever checks by itself is told");
    assert_eq!(code(&authority, &operators, NOW + 60), "ok");
    assert_eq!(keys(), [(new, None)], "and its key goes");
    assert!(!renew(&vault, false) && !path.exists(), "the setting was taken back while its child runs");

    let write = |grants| authority.issue_module_key(&vault, grants).unwrap_or_else(|e| panic!("{e}"));
    write(grants);
    assert!(path.exists());
    write(Grants::default());
    assert!(!path.exists(), "taken back with the setting");
}
