use super::*;
use crate::ops::discovery::Asked;
use crate::ops::testing::Fixture;
use crate::token::claims::{AUDIENCE_HUB, Claims};
use serde_json::json;

/// Bad tokens of one address in a minute, as the fixture has it.
const BAD_TOKENS: usize = 10;

fn fixture() -> Fixture {
    Fixture::new(&json!([]))
}

fn wiki() -> Short {
    Short::parse("wiki").expect("a name")
}

fn needs(whom: Whom, scopes: &[&str]) -> Needs {
    Needs { whom, scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect() }
}

/// A token on record.
fn issued(fixture: &Fixture, aud: &str, scope: &str) -> String {
    fixture.issue(&Claims { aud: aud.to_owned(), scope: scope.to_owned(), ..fixture.claims() })
}

/// The cookie of a browser that the bearer of this token has let in.
fn session(fixture: &Fixture, token: &str) -> String {
    let hub = &fixture.hub;
    let caller = hub.authorize(Some(token), &[], None).expect("a good token");
    let open = hub.open_login(&caller, None, true).expect("a page of ours");
    let code = open.url.split_once("code=").expect("a code").1;
    let asked = Asked { host: Some("127.0.0.1:1939"), forwarded_proto: None };
    let Ok(session) = hub.login(code, asked, true, None) else { panic!("the code is good") };
    session.secret
}

/// What comes of it, in words.
fn admitted(fixture: &Fixture, needs: &Needs, bearer: Option<&str>, session: Option<&str>) -> String {
    match fixture.hub.admit(&wiki(), needs, Shown { bearer, session }, None) {
        Ok(By::Token) => "by token".to_owned(),
        Ok(By::Session) => "by session".to_owned(),
        Err(Refusal::InsufficientScope { required, .. }) => format!("lacks {required}"),
        Err(refusal) => refusal.cause().to_owned(),
    }
}

#[test]
fn each_audience_lets_in_whom_it_is_for() {
    let fixture = fixture();
    let users = needs(Whom::HubUsers, &[]);
    let readers = needs(Whom::HubUsers, &["wiki:read"]);
    let both = needs(Whom::HubUsers, &["wiki:*", "wiki:write"]);
    let operator = needs(Whom::Operator, &[]);
    let anybody = needs(Whom::Anybody, &[]);
    let (hub, elsewhere) = (fixture.claims(), "lacks parachute:host:admin");
    let expired = fixture.issue(&Claims { iat: hub.iat - 60, exp: hub.iat + 1, ..fixture.claims() });
    let unknown = fixture.sign("wiki", &Claims { aud: "wiki".to_owned(), ..fixture.claims() }.to_json());
    for (what, token, expected) in [
        ("the operator's", fixture.token.clone(), ["by token", "lacks wiki:read", "lacks wiki:*", "by token"]),
        (
            "the hub's, narrow",
            issued(&fixture, AUDIENCE_HUB, "parachute:host:auth"),
            ["by token", "lacks wiki:read", "lacks wiki:*", elsewhere],
        ),
        (
            "the hub's, with the scope",
            issued(&fixture, AUDIENCE_HUB, "wiki:read"),
            ["by token", "by token", "lacks wiki:write", elsewhere],
        ),
        (
            "the module's",
            issued(&fixture, "wiki", "wiki:read"),
            ["by token", "by token", "lacks wiki:write", elsewhere],
        ),
        (
            "the module's, of a part",
            issued(&fixture, "wiki.pages", "wiki:read wiki:write"),
            ["by token", "by token", "by token", elsewhere],
        ),
        (
            "the module's, without the scope",
            issued(&fixture, "wiki", "wiki:other"),
            ["by token", "lacks wiki:read", "lacks wiki:write", elsewhere],
        ),
        // Whatever a module's token says that it may do with the hub.
        (
            "the module's, forward",
            issued(&fixture, "wiki", "parachute:host:admin"),
            ["by token", "lacks wiki:read", "lacks wiki:*", elsewhere],
        ),
        ("another module's", issued(&fixture, "other", "wiki:read"), ["key"; 4]),
        ("over", expired, ["expired"; 4]),
        ("not on record", unknown, ["unregistered"; 4]),
        ("junk", "x.y.z".to_owned(), ["key"; 4]),
        ("none that can be made out", String::new(), ["malformed"; 4]),
    ] {
        let found = [&users, &readers, &both, &operator].map(|needs| admitted(&fixture, needs, Some(&token), None));
        assert_eq!(found, expected, "{what}");
    }
    for needs in [&users, &readers, &operator, &anybody] {
        assert_eq!(admitted(&fixture, needs, None, None), "missing");
    }
}

#[test]
fn a_browser_is_a_user_and_the_operator_where_it_stands_for_it() {
    let fixture = fixture();
    let narrow = issued(&fixture, AUDIENCE_HUB, "parachute:host:auth");
    let (operators, others) = (session(&fixture, &fixture.token), session(&fixture, &narrow));
    let readers = needs(Whom::HubUsers, &["wiki:read"]);
    let operator = needs(Whom::Operator, &[]);
    for (what, cookie, expected) in [
        ("the operator's", operators.as_str(), ["by session", "by session"]),
        ("of a narrow token", &others, ["by session", "lacks parachute:host:admin"]),
        ("none of ours", &"A".repeat(43), ["session", "session"]),
        ("too short", "A", ["session", "session"]),
        ("several", "", ["session", "session"]),
    ] {
        let found = [&readers, &operator].map(|needs| admitted(&fixture, needs, None, Some(cookie)));
        assert_eq!(found, expected, "{what}");
    }
    fixture.hub.logout(&others);
    assert_eq!(admitted(&fixture, &readers, None, Some(&others)), "session");
    // It ends with its token.
    let jti = fixture.hub.authorize(Some(&fixture.token), &[], None).expect("good").jti().to_owned();
    fixture.execute(&format!("UPDATE tokens SET revoked_at = 1 WHERE jti = '{jti}'"));
    assert_eq!(admitted(&fixture, &readers, None, Some(&operators)), "session");
    assert_eq!(admitted(&fixture, &readers, Some(&fixture.token), Some(&operators)), "revoked");
}

#[test]
fn of_a_token_and_a_cookie_the_good_one_counts() {
    let fixture = fixture();
    let cookie = session(&fixture, &fixture.token);
    let (good, bad) = (issued(&fixture, "wiki", "wiki:read"), "x.y.z");
    let none = "A".repeat(43);
    let (readers, operator) = (needs(Whom::HubUsers, &["wiki:read"]), needs(Whom::Operator, &[]));
    for (needs, bearer, session, expected) in [
        (&readers, good.as_str(), cookie.as_str(), "by token"),
        (&readers, bad, &cookie, "by session"),
        (&readers, &good, &none, "by token"),
        (&readers, bad, &none, "key"),
        (&operator, &good, &cookie, "by session"),
        (&operator, &good, &none, "lacks parachute:host:admin"),
    ] {
        let found = admitted(&fixture, needs, Some(bearer), Some(session));
        assert_eq!(found, expected, "{:?} with {bearer} and {session}", needs.whom);
    }
}

#[test]
fn only_what_lets_nobody_in_counts_as_a_bad_token() {
    let fixture = fixture();
    let cookie = session(&fixture, &fixture.token);
    let from = Some(IpAddr::from([203, 0, 113, 7]));
    let users = needs(Whom::HubUsers, &[]);
    let try_with = |bearer, session: Option<&str>, from| {
        let shown = Shown { bearer, session };
        fixture.hub.admit(&wiki(), &users, shown, from).map_err(|refusal| refusal.cause())
    };
    for _ in 0..BAD_TOKENS * 2 {
        assert_eq!(try_with(Some("x.y.z"), Some(&cookie), from), Ok(By::Session));
        assert_eq!(try_with(None, Some("stale"), from), Err("session"));
        assert_eq!(try_with(Some("x.y.z"), None, None), Err("key"), "nobody is held to account");
    }
    for _ in 0..BAD_TOKENS {
        assert_eq!(try_with(Some("x.y.z"), None, from), Err("key"));
    }
    assert_eq!(try_with(Some(&fixture.token), None, from), Err("too_many_failures"), "nor is a good one looked at");
    assert_eq!(try_with(Some(&fixture.token), Some(&cookie), from), Ok(By::Session));
    assert_eq!(try_with(Some(&fixture.token), None, Some(IpAddr::from([203, 0, 113, 8]))), Ok(By::Token));
    // They are the same attempts as those at the hub's own API.
    assert!(matches!(fixture.hub.authorize(Some("x.y.z"), &[], from), Err(Refusal::TooManyFailures { .. })));
}

#[test]
fn without_a_database_nobody_is_let_in() {
    let fixture = fixture();
    let cookie = session(&fixture, &fixture.token);
    let module = issued(&fixture, "wiki", "wiki:read");
    fixture.execute("DROP TABLE tokens");
    let users = needs(Whom::HubUsers, &[]);
    for (bearer, session) in [
        (Some(fixture.token.as_str()), None),
        (Some(&module), None),
        (None, Some(cookie.as_str())),
        (Some(&fixture.token), Some(&cookie)),
    ] {
        assert_eq!(admitted(&fixture, &users, bearer, session), "unavailable", "{bearer:?} {session:?}");
    }
}
