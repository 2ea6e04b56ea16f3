//! Who may mint and revoke what, asked by way of the control API; the numbers are those of operator-token Part C.
//!
//! Minting makes no bearer for the hub itself but the operator's, so the narrow ones are put on record here.

use super::*;
use crate::ops::testing::now_unix;
use crate::token::claims::{self, Claims};

const MINT: &str = "/api/auth/mint-token";
const REVOKE: &str = "/api/auth/revoke-token";

fn vaults() -> Value {
    json!([{"name": "parachute-vault", "port": 1940, "paths": ["/vault/work", "/vault/home"], "health": "/health",
            "version": "0.5.1"}])
}

fn post(fixture: &Fixture, path: &str, token: &str, body: &Value) -> (Reply, Value) {
    let mut req = request("POST", path, Some(token));
    req.body = Body::new(body.to_string().into_bytes(), false);
    let Outcome::Done(reply) = answer(&fixture.hub, req) else { panic!("{path} is answered at once") };
    let body = serde_json::from_slice(&reply.body).expect("every answer is JSON");
    (reply, body)
}

/// Claims for a bearer of these scopes.
fn holding(fixture: &Fixture, scope: &str) -> Claims {
    Claims { scope: scope.into(), ..fixture.claims() }
}

/// Asks, and has it refused without a trace in the registry.
#[track_caller]
fn refused(fixture: &Fixture, bearer: &str, path: &str, body: &Value, expected: (u16, &str)) {
    let before = fixture.tokens();
    let (reply, said) = post(fixture, path, bearer, body);
    assert_eq!((reply.status, said["error"].as_str()), (expected.0, Some(expected.1)), "{body}: {said}");
    assert!(said.get("token").is_none(), "{body}: {said}");
    assert_eq!(fixture.tokens(), before, "{body}: no row is written");
}

/// What was minted says of itself.
#[track_caller]
fn minted(fixture: &Fixture, bearer: &str, body: &Value) -> Claims {
    let (reply, said) = post(fixture, MINT, bearer, body);
    assert_eq!(reply.status, 200, "{body}: {said}");
    claims::unverified(said["token"].as_str().expect("a token")).expect("one of ours")
}

#[test]
fn c25_the_admin_of_a_vault_has_nothing_else_minted_by_the_api() {
    let fixture = Fixture::new(&vaults());
    let keeper = fixture.issue(&holding(&fixture, "vault:work:admin"));
    for (scope, expected) in [
        ("vault:home:read", (403, "insufficient_scope")),
        ("vault:home:admin", (403, "insufficient_scope")),
        ("parachute:host:auth", (400, "invalid_scope")),
        ("parachute:host:admin", (400, "invalid_scope")),
        ("hub:admin", (400, "invalid_scope")),
        ("scribe:transcribe", (403, "insufficient_scope")),
        ("scribe:admin", (400, "invalid_scope")),
        ("vault:work:read vault:home:read", (403, "insufficient_scope")),
        ("vault:work:read scribe:transcribe", (403, "insufficient_scope")),
        ("vault:work:read parachute:host:start", (400, "invalid_scope")),
        ("vault:work:ADMIN", (400, "invalid_scope")),
        ("vault:work:Read", (400, "invalid_scope")),
        ("VAULT:work:admin", (400, "invalid_scope")),
        ("Vault:work:read", (400, "invalid_scope")),
        ("vault::admin", (400, "invalid_scope")),
        ("vault:work:read:admin", (400, "invalid_scope")),
        ("vault:work:", (400, "invalid_scope")),
        ("vault:admin", (400, "invalid_scope")),
        ("vault:read", (403, "insufficient_scope")),
        ("vault:nowhere:read", (400, "invalid_scope")),
        ("", (400, "invalid_scope")),
    ] {
        refused(&fixture, &keeper, MINT, &json!({ "scope": scope }), expected);
    }
    let own = minted(&fixture, &keeper, &json!({"scope": "vault:work:read"}));
    assert_eq!((own.aud.as_str(), own.vault_scope.as_slice()), ("vault.work", &["work".to_owned()][..]));
}

#[test]
fn c26_who_may_only_read_or_start_mints_and_revokes_nothing() {
    let fixture = Fixture::new(&vaults());
    let target = holding(&fixture, "vault:work:read");
    let reader = fixture.issue(&target);
    let starter = Claims {
        aud: "operator".into(),
        pa_scope_set: Some("start".into()),
        ..holding(&fixture, "parachute:host:start")
    };
    for bearer in [
        reader,
        fixture.issue(&starter),
        fixture.issue(&holding(&fixture, "parachute:host:start")),
        fixture.issue(&holding(&fixture, "vault:admin vault:read")),
    ] {
        for body in [json!({"scope": "vault:work:read"}), json!({"scope": "parachute:host:start"})] {
            refused(&fixture, &bearer, MINT, &body, (403, "insufficient_scope"));
        }
        // Also what it holds itself; and nobody learns which tokens there are.
        for jti in [target.jti.as_str(), "abcdefghijklmnopqrstuv", "not a jti"] {
            refused(&fixture, &bearer, REVOKE, &json!({ "jti": jti }), (403, "insufficient_scope"));
        }
    }
    let (_, shown) = ask(&fixture, "GET", &format!("/api/auth/tokens/{}", target.jti), Some(&fixture.token));
    assert_eq!(shown["revoked_at"], Value::Null, "{shown}");
}

#[test]
fn c27_what_cannot_be_asked_for_is_refused_in_any_spelling_by_the_api() {
    let fixture = Fixture::new(&vaults());
    for scope in [
        "parachute:host:admin",
        "PARACHUTE:HOST:ADMIN",
        "Parachute:Host:Auth",
        "parachute:host:start",
        "Hub:Admin",
        "scribe:ADMIN",
        "vault:work:read\tparachute:host:admin",
        "vault:work:read\nparachute:host:admin",
        "vault:work:read\r\nhub:admin",
        "\tparachute:host:admin",
    ] {
        refused(&fixture, &fixture.token, MINT, &json!({ "scope": scope }), (400, "invalid_scope"));
    }
}

#[test]
fn c28_a_child_gets_no_more_time_permissions_or_vaults_than_its_parent_by_the_api() {
    let fixture = Fixture::new(&vaults());
    let hour = holding(&fixture, "vault:work:admin");
    let hour = Claims { exp: hour.iat + 3_600, ..hour };
    let bearer = fixture.issue(&hour);
    let year = json!({"scope": "vault:work:read", "expires_in": 31_536_000});
    assert_eq!(minted(&fixture, &bearer, &year).exp, hour.exp, "clamped");
    assert_eq!(
        minted(&fixture, &bearer, &json!({"scope": "vault:work:read"})).exp,
        hour.exp,
        "the usual life is longer"
    );

    let permissions = json!({"tags": ["a"]});
    let held = Claims { permissions: permissions.as_object().cloned(), ..holding(&fixture, "vault:work:admin") };
    let bearer = fixture.issue(&held);
    for wanted in [Value::Null, json!({}), json!({"tags": ["a", "b"]}), json!({"tags": []})] {
        let body = json!({"scope": "vault:work:read", "permissions": wanted});
        refused(&fixture, &bearer, MINT, &body, (403, "insufficient_scope"));
    }
    refused(&fixture, &bearer, MINT, &json!({"scope": "vault:work:read"}), (403, "insufficient_scope"));
    let same = json!({"scope": "vault:work:read", "permissions": permissions});
    assert_eq!(minted(&fixture, &bearer, &same).permissions, held.permissions);

    let pinned = Claims { vault_scope: vec!["work".into()], ..holding(&fixture, "parachute:host:auth") };
    let bearer = fixture.issue(&pinned);
    for scope in ["scribe:transcribe", "vault:read", "vault:home:read", "vault:work:read vault:home:read"] {
        refused(&fixture, &bearer, MINT, &json!({ "scope": scope }), (403, "insufficient_scope"));
    }
    assert_eq!(minted(&fixture, &bearer, &json!({"scope": "vault:work:read"})).vault_scope, ["work"]);
}

#[test]
fn c29_no_audience_is_had_that_the_scopes_do_not_name_by_the_api() {
    let fixture = Fixture::new(&vaults());
    for audience in ["operator", "hub", "scribe", "vault.home", "vaultx", "vault.work.x", ""] {
        let body = json!({"scope": "vault:work:read", "audience": audience});
        refused(&fixture, &fixture.token, MINT, &body, (400, "invalid_request"));
    }
}

#[test]
fn c30_the_admin_of_a_vault_names_no_other_subject_by_the_api() {
    let fixture = Fixture::new(&vaults());
    let keeper = Claims { sub: "ann".into(), ..holding(&fixture, "vault:work:admin") };
    let bearer = fixture.issue(&keeper);
    for subject in ["bob", "operator", "Ann", "ann "] {
        let body = json!({"scope": "vault:work:read", "subject": subject});
        refused(&fixture, &bearer, MINT, &body, (403, "insufficient_scope"));
    }
    for body in [json!({"scope": "vault:work:read"}), json!({"scope": "vault:work:read", "subject": "ann"})] {
        assert_eq!(minted(&fixture, &bearer, &body).sub, "ann", "{body}");
    }
    let by_host = json!({"scope": "vault:work:read", "subject": "bob"});
    assert_eq!(minted(&fixture, &fixture.token, &by_host).sub, "bob");
}

/// Tokens that were minted with the fixture's, by SQL: without a sync for each.
fn children(fixture: &Fixture, count: u32, iat: i64, exp: i64) {
    let parent = claims::unverified(&fixture.token).expect("the operator's").jti;
    fixture.execute(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO tokens SELECT 'c{iat}.' || i, randomblob(32), kid, 's', 'vault', 'vault:work:read', 'c', \
         'cli_mint', '{parent}', {iat}, {exp}, NULL, NULL, NULL, NULL, NULL FROM n, hs_keys"
    ));
}

#[test]
fn c53_the_sixty_first_in_a_minute_and_the_1001st_child_are_told_to_wait() {
    let fixture = Fixture::new(&vaults());
    let now = now_unix();
    let wanted = json!({"scope": "vault:work:read"});
    let retry_after = |reply: &Reply| header(reply, "retry-after").and_then(|text| text.parse::<i64>().ok());
    let parent_is_good = |when: &str| {
        assert_eq!(ask(&fixture, "GET", "/api/modules", Some(&fixture.token)).0.status, 200, "{when}");
    };

    children(&fixture, 60, now + 3_600, now + 9_000);
    assert_eq!(
        post(&fixture, MINT, &fixture.token, &wanted).0.status,
        200,
        "those were made by a clock that was wrong"
    );
    children(&fixture, 58, now_unix(), now + 9_000);
    assert_eq!(post(&fixture, MINT, &fixture.token, &wanted).0.status, 200, "the sixtieth");
    let (reply, said) = post(&fixture, MINT, &fixture.token, &wanted);
    assert_eq!((reply.status, retry_after(&reply)), (429, Some(60)), "{said}");
    refused(&fixture, &fixture.token, MINT, &wanted, (429, "too_many_tokens"));
    parent_is_good("61 in a minute");
    let other = fixture.issue(&holding(&fixture, "parachute:host:auth"));
    assert_eq!(post(&fixture, MINT, &other, &wanted).0.status, 200, "each parent has a rate of its own");

    fixture.execute("DELETE FROM tokens WHERE parent_jti IS NOT NULL");
    children(&fixture, 999, now - 3_600, now + 9_000);
    assert_eq!(post(&fixture, MINT, &fixture.token, &wanted).0.status, 200, "the thousandth");
    refused(&fixture, &fixture.token, MINT, &wanted, (429, "too_many_tokens"));
    let (reply, said) = post(&fixture, MINT, &fixture.token, &wanted);
    let wait_s = retry_after(&reply).unwrap_or_else(|| panic!("{said}"));
    assert!((1..=9_000).contains(&wait_s), "until the first of them expires: {wait_s}");
    parent_is_good("1001 children");
    let (reply, said) = post(&fixture, REVOKE, &fixture.token, &json!({"jti": format!("c{}.1", now - 3_600)}));
    assert_eq!((reply.status, &said["revoked"]), (200, &json!(1)), "{said}");
    assert_eq!(post(&fixture, MINT, &fixture.token, &wanted).0.status, 200, "there is room again");
}

/// A database that cannot be asked or written to: nobody is let in on trust and nothing is minted, and the log has why.
#[test]
fn c39_without_its_database_the_hub_mints_and_accepts_nothing() {
    let wanted = json!({"scope": "vault:work:read"});
    let fixture = Fixture::new(&vaults());
    fixture.execute("PRAGMA query_only = 1");
    let (reply, said) = post(&fixture, MINT, &fixture.token, &wanted);
    assert_eq!((reply.status, said["error"].as_str()), (503, Some("service_unavailable")), "{said}");
    let log = fixture.said();
    assert!(
        log.iter().any(|line| line.contains(MINT) && line.contains("hub.db") && line.contains("readonly")),
        "{log:#?}"
    );
    assert_eq!(ask(&fixture, "GET", "/api/modules", Some(&fixture.token)).0.status, 200, "reading goes on");

    let fixture = Fixture::new(&vaults());
    let key = fixture.module_key("vault");
    fixture.execute("DROP TABLE tokens");
    for (method, path) in [("GET", "/api/modules"), ("POST", MINT), ("POST", REVOKE)] {
        let (reply, said) = ask(&fixture, method, path, Some(&fixture.token));
        assert_eq!((reply.status, said["error"].as_str()), (503, Some("service_unavailable")), "{path}: {said}");
    }
    let shown = fixture.sign("vault", &Claims { aud: "vault".into(), ..fixture.claims() }.to_json());
    let reply = super::refusals::introspect(&fixture, &[LOCAL, HOST], &key, &shown);
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(ask(&fixture, "GET", "/api/modules", Some("junk")).0.status, 401, "junk is junk first");
    let log = fixture.said();
    for path in ["/api/modules", "/oauth/introspect"] {
        let named = |line: &&String| line.contains(path) && line.contains("hub.db") && line.contains("tokens");
        assert!(log.iter().any(|line| named(&line)), "{path}: {log:#?}");
    }
}
