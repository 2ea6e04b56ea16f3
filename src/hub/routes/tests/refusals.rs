//! Refused tokens: the same from outside whatever the cause, and exact in the hub's log. The numbers are those of
//! operator-token Part C.

use super::*;
use crate::ops::testing::now_unix;
use crate::token::claims::{Claims, Shape};
use crate::token::verify::TokenError;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// Where a token can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Api,
    /// A module asks about it.
    Introspection,
}

impl Place {
    const BOTH: [Self; 2] = [Self::Api, Self::Introspection];

    /// Whose key signs what is good there.
    fn owner(self) -> &'static str {
        match self {
            Self::Api => "hub",
            Self::Introspection => "vault",
        }
    }

    /// Claims that would be good there.
    fn claims(self, fixture: &Fixture) -> Claims {
        match self {
            Self::Api => fixture.claims(),
            Self::Introspection => {
                Claims { aud: "vault.work".into(), scope: "vault:work:read".into(), ..fixture.claims() }
            }
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Api => "/api/modules",
            Self::Introspection => "/oauth/introspect",
        }
    }

    /// What the hub answers to a token; `key` is the module's.
    fn show(self, fixture: &Fixture, key: &str, token: &str) -> Reply {
        match self {
            Self::Api => ask(fixture, "GET", self.path(), Some(token)).0,
            Self::Introspection => introspect(fixture, &[LOCAL, HOST], key, token),
        }
    }
}

pub(super) fn introspect(fixture: &Fixture, from: &[(&str, &str)], key: &str, token: &str) -> Reply {
    let bearer = format!("Bearer {key}");
    let headers = from.iter().copied().chain([("Authorization", bearer.as_str()), FORM]);
    let mut req = Req::from_head("POST", "/oauth/introspect", headers).expect("a good target");
    req.body = Body::new(format!("token={token}").into_bytes(), false);
    let Outcome::Done(reply) = answer(&fixture.hub, req) else { panic!("it is answered at once") };
    reply
}

/// All that goes out.
fn whole(reply: &Reply) -> (u16, &str, &[(&'static str, String)], String) {
    (reply.status, reply.content_type, &reply.headers, String::from_utf8_lossy(&reply.body).into_owned())
}

fn is_good(reply: &Reply) -> bool {
    reply.status == 200 && !whole(reply).3.contains("\"active\":false")
}

/// One token for each cause of refusal, and what the log has to say of it after the place.
fn causes(fixture: &Fixture, place: Place) -> Vec<(String, String)> {
    let now = u64::try_from(now_unix()).expect("after 1970");
    let good = || place.claims(fixture);
    let signed = |claims: Claims| fixture.sign(place.owner(), &claims.to_json());
    let text = String::from_utf8(good().to_json()).expect("JSON");
    let raw = |payload: String| fixture.sign(place.owner(), payload.as_bytes());
    let malformed = |shape| TokenError::Payload(shape).to_string();
    let with_jti = |claims: &Claims, error: TokenError| format!("{error} (jti {})", claims.jti);
    let set = if place == Place::Api { None } else { Some("admin".to_owned()) };

    let expired = Claims { iat: now - 100, nbf: now - 100, exp: now - 1, ..good() };
    let early = Claims { nbf: now + 1_800, ..good() };
    let ahead = Claims { iat: now + 8_000, nbf: now + 8_000, exp: now + 9_000, ..good() };
    let elsewhere = Claims { iss: "https://a.example".into(), ..good() };
    let others = Claims { aud: "scribe".into(), ..good() };
    let unknown = good();
    let revoked = good();
    let revoked_token = fixture.issue(&revoked);
    fixture.execute(&format!("UPDATE tokens SET revoked_at = 1 WHERE jti = '{}'", revoked.jti));
    let genuine = signed(good());
    let (front, _) = genuine.rsplit_once('.').expect("three parts");
    // Eleven characters stand where the key has its number.
    let foreign = r#"{"alg":"HS256","typ":"JWT","kid":"AAAAAAAAAAA.hub"}"#;
    let foreign = format!("{}.{}", crate::token::b64::encode(foreign.as_bytes()), "e30.AAAA");
    let unspelled = match set {
        // There is a set exactly when it is the operator's.
        None => Claims { aud: "operator".into(), ..good() },
        Some(_) => Claims { pa_scope_set: set, ..good() },
    };
    let big = serde_json::json!({ "k".repeat(65): 1 }).as_object().cloned();
    let clock = TokenError::Clock { now_unix: 0, stamp_unix: ahead.iat }.to_string();
    let (clock, _) = clock.split_once(" and").expect("two times");
    vec![
        ("junk".into(), TokenError::Encoding.to_string()),
        (raw(text.replacen("\"v\":1", "\"v\":1,\"w\":1", 1)), malformed(Shape::Json)),
        (raw(format!("{text} ")), malformed(Shape::Spelling)),
        (signed(Claims { v: 2, ..good() }), malformed(Shape::Version)),
        (signed(Claims { sub: String::new(), ..good() }), malformed(Shape::Subject)),
        (signed(Claims { exp: 1, ..good() }), malformed(Shape::Times)),
        (signed(unspelled), malformed(Shape::ScopeSet)),
        (signed(Claims { scope: "vault:work:read  x:y".into(), ..good() }), malformed(Shape::Scope)),
        (signed(Claims { permissions: big, ..good() }), malformed(Shape::Permissions)),
        (foreign, TokenError::Key.to_string()),
        (format!("{front}.{}", "A".repeat(43)), TokenError::Signature.to_string()),
        (signed(expired.clone()), with_jti(&expired, TokenError::Expired { at_unix: expired.exp })),
        (signed(early.clone()), with_jti(&early, TokenError::NotYetValid)),
        (signed(ahead), clock.to_owned()),
        (signed(elsewhere.clone()), with_jti(&elsewhere, TokenError::Issuer)),
        (signed(others.clone()), with_jti(&others, TokenError::Audience)),
        (signed(unknown.clone()), with_jti(&unknown, TokenError::Unregistered)),
        (revoked_token, with_jti(&revoked, TokenError::Revoked)),
    ]
}

/// C45, and operator-token B4: one answer for every cause, to the byte, and one line in the log for each.
#[test]
fn c45_every_refusal_looks_the_same_from_outside_and_is_exact_in_the_log() {
    for place in Place::BOTH {
        let fixture = Fixture::new(&rows());
        let key = fixture.module_key("vault");
        let good = fixture.issue(&place.claims(&fixture));
        assert!(is_good(&place.show(&fixture, &key, &good)), "{place:?}");

        let causes = causes(&fixture, place);
        let said: std::collections::HashSet<_> = causes.iter().map(|(_, line)| line).collect();
        assert_eq!(said.len(), causes.len(), "each has words of its own");
        let first = place.show(&fixture, &key, "junk");
        for (token, line) in &causes {
            let reply = place.show(&fixture, &key, token);
            assert_eq!(whole(&reply), whole(&first), "{place:?}: {line}");
            let inside = match place {
                Place::Api => line.clone(),
                Place::Introspection => format!("inactive for vault: {line}"),
            };
            let expected = format!("refused {:?}: {inside}", place.path());
            let log = fixture.said();
            assert!(log.iter().any(|said| said.starts_with(&expected)), "{expected}\n{log:#?}");
            assert!(log.iter().all(|said| token == "junk" || !said.contains(token)), "{log:#?}");
        }
        match place {
            Place::Api => assert_eq!((first.status, header(&first, "www-authenticate").is_some()), (401, true)),
            Place::Introspection => {
                assert_eq!((first.status, first.body.as_slice()), (200, &b"{\"active\":false}\n"[..]))
            }
        }
    }
}

/// C20: everything about these tokens is good but whom they are for.
#[test]
fn c20_a_token_for_anybody_else_is_refused_by_the_api_and_by_introspection() {
    let fixture = Fixture::new(&rows());
    let key = fixture.module_key("vault");
    // The module owns all that begins with its name and a dot, and is told which of it the token is for.
    for (aud, at_api, at_vault) in [
        (Some(json!("hub")), true, false),
        (Some(json!("operator")), true, false),
        (Some(json!("vault")), false, true),
        (Some(json!("vault.work")), false, true),
        (Some(json!("vault.other")), false, true),
        (None, false, false),
        (Some(json!(null)), false, false),
        (Some(json!([])), false, false),
        (Some(json!(["hub", "vault"])), false, false),
        (Some(json!(["vault"])), false, false),
        (Some(json!({ "aud": "vault" })), false, false),
        (Some(json!("")), false, false),
        (Some(json!("scribe")), false, false),
        (Some(json!("scribe.vault")), false, false),
        (Some(json!("vaultx")), false, false),
        (Some(json!("vaultx.work")), false, false),
        (Some(json!("xvault")), false, false),
        (Some(json!("Vault")), false, false),
        (Some(json!("vault.")), false, false),
        (Some(json!("vault.work.x")), false, false),
        (Some(json!("vault hub")), false, false),
        (Some(json!("hub.vault")), false, false),
        (Some(json!("operator.vault")), false, false),
        (Some(json!("hubx")), false, false),
    ] {
        // Under the key of the hub, of the module, and of whoever owns that audience.
        for owner in ["hub", "vault", "vaultx", "scribe"] {
            let pa_scope_set = (aud == Some(json!("operator"))).then(|| "auth".to_owned());
            let claims = Claims { aud: "hub".into(), pa_scope_set, ..fixture.claims() };
            let text = String::from_utf8(claims.to_json()).expect("JSON");
            let field = aud.as_ref().map_or_else(String::new, |aud| format!("\"aud\":{aud},"));
            let payload = text.replacen("\"aud\":\"hub\",", &field, 1);
            let token = fixture.sign(owner, payload.as_bytes());
            fixture.register(&claims, &token);
            for (place, good) in [(Place::Api, at_api), (Place::Introspection, at_vault)] {
                let reply = place.show(&fixture, &key, &token);
                assert_eq!(is_good(&reply), good && owner == place.owner(), "{place:?}, {aud:?} under {owner}");
                assert!(
                    is_good(&reply) || matches!((place, reply.status), (Place::Api, 401) | (Place::Introspection, 200))
                );
            }
        }
    }
    let other = Claims { aud: "vault.other".into(), ..fixture.claims() };
    let reply = Place::Introspection.show(&fixture, &key, &fixture.issue(&other));
    assert!(whole(&reply).3.contains("\"aud\":\"vault.other\""), "{reply:?}");
    let scribes = fixture.module_key("scribe");
    assert!(!is_good(&Place::Introspection.show(
        &fixture,
        &scribes,
        &fixture.issue(&Claims { jti: "A".repeat(22), ..other })
    )));
}

/// C44: whoever asks from elsewhere or through somebody, which is what the edge says, by another name or from a page.
#[test]
fn c44_introspection_is_for_programs_on_this_machine_alone() {
    let fixture = Fixture::new(&rows());
    let key = fixture.module_key("vault");
    let token = fixture.issue(&Place::Introspection.claims(&fixture));
    assert!(is_good(&introspect(&fixture, &[LOCAL, HOST], &key, &token)));
    let refused = |from: &[(&str, &str)]| {
        let reply = introspect(&fixture, from, &key, &token);
        assert_eq!(reply.status, 403, "{from:?}: {reply:?}");
        // No oracle: a bad key and a bad token are told the same.
        for (key, token) in [(key.as_str(), "junk"), ("junk", token.as_str()), ("", "")] {
            assert_eq!(whole(&introspect(&fixture, from, key, token)), whole(&reply), "{from:?}");
        }
    };
    for layer in ["public", "tailnet", "Loopback", ""] {
        refused(&[("X-Parachute-Layer", layer), HOST]);
    }
    refused(&[HOST]);
    refused(&[LOCAL]);
    for host in ["evil.example", "evil.example:1939", "127.0.0.1.evil.example", "localhost.evil.example", "", "0.0.0.0"]
    {
        refused(&[LOCAL, ("Host", host)]);
    }
    for header in [("Origin", "http://127.0.0.1:1939"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")] {
        refused(&[LOCAL, HOST, header]);
    }
    let log = fixture.said();
    assert!(log.iter().any(|line| line.contains("not a program on this machine")), "{log:?}");
}

#[test]
fn a_key_of_no_module_is_named_as_such_in_the_log() {
    let fixture = Fixture::new(&rows());
    for key in ["x", &"A".repeat(43)] {
        let (status, _, _, said) = whole(&introspect(&fixture, &[LOCAL, HOST], key, "junk"));
        assert!(status == 401 && said.contains("a module asks about tokens with its own key"), "{key}: {said}");
    }
    let log = fixture.said();
    let said: Vec<_> =
        log.iter().filter(|line| line.contains("module_key: no module of this hub has this key")).collect();
    assert_eq!(said.len(), 1, "{log:?}");
}

/// C48: whoever mistakes a token for a jti has it in the path.
#[test]
fn c48_what_stands_in_a_path_is_not_in_the_log() {
    let fixture = Fixture::new(&rows());
    let token = fixture.issue(&Place::Api.claims(&fixture));
    let path = format!("/api/auth/tokens/{token}");
    assert_eq!(ask(&fixture, "GET", &path, Some("junk")).0.status, 401);
    let log = fixture.said();
    assert!(log.iter().any(|line| line.starts_with("refused \"/api/auth/tokens/{jti}\": malformed")), "{log:?}");
    assert!(log.iter().all(|line| !line.contains(&token)), "{log:?}");
}
