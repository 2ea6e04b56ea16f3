//! Attenuation as tables; the numbers are those of operator-token Part C.

use super::*;
use crate::token::scope::ScopeSet;
use serde_json::json;

const NOW: u64 = 1_800_000_000;

fn bearer(aud: &str, scope: &str) -> Claims {
    Claims {
        v: 1,
        iss: "http://127.0.0.1:1939".into(),
        sub: "ann".into(),
        aud: aud.into(),
        iat: NOW,
        nbf: NOW,
        exp: NOW + 3600,
        jti: "abcdefghijklmnopqrstuv".into(),
        client_id: "test".into(),
        scope: scope.into(),
        vault_scope: Vec::new(),
        pa_scope_set: None,
        permissions: None,
        hid: "00".into(),
    }
}

fn ask(bearer: &Claims, wanted: &Wanted) -> Result<Granted, Denied> {
    let held = Scopes::parse(&bearer.scope).expect("a good bearer");
    decide(bearer, &held, wanted, &["work", "home"].map(str::to_owned).into(), NOW)
}

fn scope(text: &str) -> Wanted {
    Wanted { scope: text.into(), ..Wanted::default() }
}

fn operator() -> Claims {
    bearer("operator", ScopeSet::Admin.scopes())
}

/// C25
#[test]
fn c25_a_keeper_of_one_vault_hands_on_that_vault_and_nothing_else() {
    let keeper = bearer("vault.work", "vault:work:admin");
    for (wanted, fault) in [
        ("vault:work:read", None),
        ("vault:work:read vault:work:write", None),
        ("vault:work:admin", None),
        ("vault:home:read", Some(Fault::Authority)),
        ("parachute:host:auth", Some(Fault::Scope)),
        ("scribe:transcribe", Some(Fault::Authority)),
        ("scribe:admin", Some(Fault::Scope)),
        ("vault:work:read vault:home:read", Some(Fault::Authority)),
        ("vault:work:read scribe:transcribe", Some(Fault::Authority)),
        ("vault:work:ADMIN", Some(Fault::Scope)),
        ("VAULT:work:admin", Some(Fault::Scope)),
        ("vault::admin", Some(Fault::Scope)),
        ("vault:work:read:admin", Some(Fault::Scope)),
        ("vault:admin", Some(Fault::Scope)),
        ("vault:nowhere:read", Some(Fault::Scope)),
        ("vault:read", Some(Fault::Authority)),
        ("", Some(Fault::Scope)),
    ] {
        assert_eq!(ask(&keeper, &scope(wanted)).map_err(|denied| denied.fault()).err(), fault, "{wanted:?}");
    }
    for wanted in ["vault:work:read", "vault:work:read vault:work:write"] {
        let granted = ask(&keeper, &scope(wanted)).expect("its own");
        assert_eq!((granted.aud.as_str(), granted.vault_scope.as_slice()), ("vault.work", &["work".to_owned()][..]));
    }
}

/// C26
#[test]
fn c26_who_holds_none_of_the_three_mints_and_revokes_nothing() {
    for held in ["vault:work:read", "parachute:host:start", "vault:admin", "hub:admin", "vault:read scribe:admin"] {
        let denied = ask(&bearer("hub", held), &scope("vault:work:read")).expect_err(held);
        assert_eq!((&denied, denied.fault()), (&Denied::Gate, Fault::Authority), "{held}");
        let held = Scopes::parse(held).expect("good");
        assert_eq!(may_revoke(&held, "vault:work:read"), Err(Denied::Gate));
    }
}

/// C27
#[test]
fn c27_what_cannot_be_asked_for_is_refused_in_any_spelling() {
    for wanted in [
        "parachute:host:admin",
        "parachute:HOST:admin",
        "parachute:host:Auth",
        "Parachute:host:admin",
        "PARACHUTE:HOST:ADMIN",
        "hub:admin",
        "hub:ADMIN",
        "hub:read",
        "operator:x",
        "scribe:admin",
        "scribe:Admin",
        "vault:admin",
        "vault:ADMIN",
        "vault:work:read parachute:host:admin",
        "vault:work:read\tparachute:host:admin",
        "vault:work:read\nparachute:host:admin",
        "vault:work:read  vault:work:write",
        " vault:work:read",
        "vault:work:read\0",
    ] {
        let denied = ask(&operator(), &scope(wanted)).expect_err(wanted);
        assert_eq!(denied.fault(), Fault::Scope, "{wanted:?}: {denied}");
    }
}

/// C28
#[test]
fn c28_a_child_lives_no_longer_and_has_no_more_than_its_parent() {
    let keeper = bearer("vault.work", "vault:work:admin");
    for (parent, seconds, exp) in [
        (&keeper, Some(31_536_000), Ok(keeper.exp)),
        (&keeper, Some(60), Ok(NOW + 60)),
        (&keeper, Some(1), Ok(NOW + 1)),
        (&keeper, None, Ok(keeper.exp)),
        (&keeper, Some(0), Err(Denied::Lifetime)),
        (&keeper, Some(31_536_001), Err(Denied::Lifetime)),
        (&keeper, Some(u64::MAX), Err(Denied::Lifetime)),
        (&operator(), Some(31_536_000), Ok(NOW + 31_536_000)),
        (&operator(), None, Ok(NOW + LIFETIME_DEFAULT_S)),
    ] {
        let wanted = Wanted { expires_in_s: seconds, ..scope("vault:work:read") };
        assert_eq!(ask(parent, &wanted).map(|granted| granted.exp), exp, "{seconds:?}");
    }

    let map = |value: Value| value.as_object().cloned();
    let held = Claims { permissions: map(json!({"tags": ["a"]})), ..keeper.clone() };
    for (permissions, good) in [
        (None, false),
        (map(json!({})), false),
        (map(json!({"tags": ["a", "b"]})), false),
        (map(json!({"tags": ["a"]})), true),
    ] {
        let wanted = Wanted { permissions: permissions.clone(), ..scope("vault:work:read") };
        let found = ask(&held, &wanted);
        let expected = if good { Ok(permissions.clone()) } else { Err(Denied::Permissions) };
        assert_eq!(found.map(|granted| granted.permissions), expected, "{permissions:?}");
        let free = ask(&keeper, &wanted).map(|granted| granted.permissions);
        assert_eq!(free, Ok(permissions), "whoever is free hands on what they like");
    }

    let pinned = Claims { vault_scope: vec!["work".into()], ..bearer("hub", "parachute:host:auth vault:home:admin") };
    for (wanted, good) in [("vault:work:read", true), ("vault:home:read", false), ("scribe:transcribe", false)] {
        let found = ask(&pinned, &scope(wanted));
        assert_eq!(found.is_ok(), good, "{wanted}: {found:?}");
    }
    assert_eq!(ask(&pinned, &scope("vault:work:read")).expect("inside").vault_scope, ["work"]);
}

/// C29
#[test]
fn c29_the_audience_is_what_the_scopes_name() {
    for (scopes, wanted, aud) in [
        ("scribe:transcribe", None, Some("scribe")),
        ("scribe:transcribe", Some("scribe"), Some("scribe")),
        ("scribe:transcribe", Some("scribe.x"), Some("scribe.x")),
        ("scribe:transcribe", Some("operator"), None),
        ("scribe:transcribe", Some("hub"), None),
        ("scribe:transcribe", Some("vault"), None),
        ("scribe:transcribe", Some("scribex"), None),
        ("scribe:transcribe", Some(""), None),
        ("scribe:transcribe", Some("scribe.a.b"), None),
        ("scribe:box:read", None, Some("scribe")),
        ("scribe:box:read:all", Some("scribe.box"), Some("scribe.box")),
        ("vault:work:read", None, Some("vault.work")),
        ("vault:read", None, Some("vault")),
        ("vault:work:read", Some("vault.work"), Some("vault.work")),
        ("vault:work:read", Some("vault"), Some("vault")),
        ("vault:work:read", Some("vault.home"), None),
        ("vault:work:read vault:home:read", None, Some("vault.work")),
        ("vault:work:read vault:home:read", Some("vault.home"), Some("vault.home")),
        ("vault:work:read scribe:transcribe", None, None),
    ] {
        let found = ask(&operator(), &Wanted { audience: wanted.map(str::to_owned), ..scope(scopes) });
        assert_eq!(found.as_ref().ok().map(|granted| granted.aud.as_str()), aud, "{scopes} {wanted:?}: {found:?}");
        assert!(found.err().is_none_or(|denied| denied.fault() == Fault::Request), "{scopes} {wanted:?}");
    }
}

/// C30
#[test]
fn c30_only_the_host_names_another_subject() {
    let wanted = |subject: &str| Wanted { subject: Some(subject.into()), ..scope("vault:work:read") };
    let keeper = bearer("vault.work", "vault:work:admin");
    assert_eq!(ask(&keeper, &wanted("bob")), Err(Denied::Subject));
    assert_eq!(Denied::Subject.fault(), Fault::Authority);
    assert_eq!(ask(&keeper, &wanted("ann")).map(|granted| granted.sub), Ok("ann".to_owned()));
    for host in
        [operator(), bearer("hub", "parachute:host:auth"), bearer("hub", "parachute:host:admin vault:work:admin")]
    {
        assert_eq!(ask(&host, &wanted("bob")).map(|granted| granted.sub), Ok("bob".to_owned()), "{}", host.scope);
    }
    assert_eq!(ask(&keeper, &scope("vault:work:read")).map(|granted| granted.sub), Ok("ann".to_owned()));
}

#[test]
fn the_admin_of_a_vault_comes_from_the_host_or_from_that_vault() {
    for (held, wanted, pin) in [
        ("parachute:host:auth", "vault:work:admin", None),
        ("parachute:host:admin", "vault:work:admin", Some(&["work"][..])),
        ("parachute:host:admin", "vault:work:read", None),
        ("parachute:host:auth", "vault:work:read", Some(&[])),
        ("vault:work:admin", "vault:work:admin", Some(&["work"])),
        ("scribe:transcribe vault:work:admin", "vault:work:read", Some(&["work"])),
    ] {
        let found = ask(&bearer("hub", held), &scope(wanted)).ok().map(|granted| granted.vault_scope);
        let pin = pin.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(found, pin, "{held} asks for {wanted}");
    }
}

#[test]
fn revoking_takes_what_minting_would() {
    for (held, target, good) in [
        ("parachute:host:auth", "parachute:host:admin hub:admin", true),
        ("parachute:host:auth", "", true),
        ("parachute:host:admin", "vault:work:admin", true),
        ("parachute:host:admin", "vault:work:read", false),
        ("vault:work:admin", "vault:work:read", true),
        ("vault:work:admin", "vault:work:read vault:home:read", false),
        ("vault:work:admin", "parachute:host:auth", false),
        ("vault:work:admin", "", false),
    ] {
        let held_scopes = Scopes::parse(held).expect("good");
        assert_eq!(may_revoke(&held_scopes, target).is_ok(), good, "{held} revokes {target:?}");
    }
}
