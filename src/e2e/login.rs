//! A browser that is let in by `parachute open`.

use crate::support::http::{self, Response};
use crate::support::{Home, Hub, eventually, module, remember, testchild};

const PUBLIC: &str = "https://hub.example";

/// The address that `open` prints: origin and path.
#[track_caller]
pub(crate) fn open(hub: &Hub, args: &[&str]) -> (String, String) {
    let printed = hub.run(&[&["open"], args].concat()).succeeds().stdout;
    let at = printed.find("/admin/login?code=").expect("an address");
    let (origin, path) = printed.trim_end().split_at(at);
    assert_eq!(path.len(), "/admin/login?code=".len() + 43, "{origin}");
    (origin.to_owned(), path.to_owned())
}

/// A request as a browser or a proxy would send it.
#[track_caller]
pub(crate) fn raw(hub: &Hub, request: &str, fields: &[&str]) -> Response {
    let head = format!("{request} HTTP/1.1\r\n{}\r\nConnection: close\r\n\r\n", fields.join("\r\n"));
    let answer = http::exchange(hub.port, head.as_bytes()).expect("an answer");
    let answer = Response::parse(&answer).expect("an answer");
    let session = answer.header("set-cookie").and_then(|cookie| cookie.strip_prefix("parachute_hub_session="));
    let session = session.and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
    remember(hub.home.path(), session);
    answer
}

/// Cookie and its attributes.
#[track_caller]
fn cookie(answer: &Response) -> (String, String) {
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{answer:?}");
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let (cookie, attributes) =
        answer.header("set-cookie").and_then(|cookie| cookie.split_once("; ")).expect("a cookie");
    assert_eq!(cookie.len(), "parachute_hub_session=".len() + 43, "{attributes}");
    (format!("Cookie: {cookie}"), attributes.to_owned())
}

#[test]
fn a_browser_on_this_machine_is_let_in_once_and_acts_for_the_operator_alone() {
    let mut hub = Hub::start(&[module("web", testchild(&["http"]))]);
    hub.until_ready("web");
    let host = format!("Host: 127.0.0.1:{}", hub.port);
    let own = format!("Origin: http://127.0.0.1:{}", hub.port);
    let (origin, path) = open(&hub, &[]);
    assert_eq!(origin, format!("http://127.0.0.1:{}", hub.port));
    // Looking does not use it up; from elsewhere, and under another name, nobody is let in.
    assert_eq!(raw(&hub, &format!("HEAD {path}"), &[&host]).status, 200);
    assert_eq!(raw(&hub, &format!("GET {path}"), &["Host: 127.0.0.1", "X-Forwarded-For: 203.0.113.7"]).status, 421);
    let (cookie, attributes) = cookie(&raw(&hub, &format!("GET {path}"), &[&host]));
    assert_eq!(attributes, "Path=/; Max-Age=600; HttpOnly; SameSite=Lax");
    assert_eq!(raw(&hub, &format!("GET {path}"), &[&host]).status, 403, "used");
    for junk in
        ["", "?code=", "?code=junk", &format!("?code={}", "A".repeat(43)), &format!("?code={}", "A".repeat(4000))]
    {
        assert_eq!(raw(&hub, &format!("GET /admin/login{junk}"), &[&host]).status, 403, "{}", junk.len());
    }

    let stop = "POST /api/modules/web/stop";
    for (request, fields, status) in [
        ("GET /api/modules", &[host.as_str(), cookie.as_str()][..], 200),
        ("GET /api/hub", &[&host, &cookie], 200),
        ("GET /api/hub", &[&host], 401),
        ("GET /api/hub", &[&host, &cookie, &cookie], 401),
        ("GET /api/hub", &[&host, &cookie, "Authorization: Bearer junk"], 401),
        // Only a page of ours changes something, and a browser's time cannot be made longer by it.
        (stop, &[&host, &cookie], 403),
        (stop, &[&host, &cookie, "Origin: http://evil.example"], 403),
        (stop, &[&host, &cookie, "Origin: null"], 403),
        (stop, &[&host, &cookie, "Sec-Fetch-Site: same-origin"], 403),
        ("POST /api/auth/open", &[&host, &cookie, &own], 401),
        // Nor does it give what outlives it.
        ("POST /api/auth/mint-token", &[&host, &cookie, &own], 401),
        ("POST /api/auth/operator/rotate", &[&host, &cookie, &own], 401),
        ("PUT /api/settings/hub-origin", &[&host, &cookie, &own], 401),
        // Nor does a cookie of a module's, in whatever letters, take it away.
        ("GET /api/hub", &[&host, &format!("{cookie}; theme=d\u{fc}nkel")], 200),
        (stop, &[&host, &cookie, &own], 200),
    ] {
        let answer = raw(&hub, request, fields);
        assert_eq!(answer.status, status, "{request} {}: {answer:?}", fields.len());
        if status == 403 {
            let is_silent = !fields.iter().any(|field| field.starts_with("Origin"));
            let code = if is_silent { "csrf_origin_required" } else { "csrf_origin_mismatch" };
            assert_eq!(answer.json()["error"], code, "{fields:?}");
        }
    }

    // It ends with the token that it rests on.
    hub.run(&["auth", "rotate-operator"]).succeeds();
    assert_eq!(raw(&hub, "GET /api/hub", &[&host, &cookie]).status, 401);
    let (_, path) = open(&hub, &[]);
    let (cookie, _) = self::cookie(&raw(&hub, &format!("GET {path}"), &[&host]));
    hub.run(&["auth", "rotate-key", "--grace", "1s"]).succeeds();
    eventually("the end of the key that signed its token", || {
        (raw(&hub, "GET /api/hub", &[&host, &cookie]).status == 401).then_some(())
    });
    let (_, path) = open(&hub, &["--here"]);
    let (cookie, _) = self::cookie(&raw(&hub, &format!("GET {path}"), &[&host]));
    assert_eq!(raw(&hub, "GET /api/hub", &[&host, &cookie]).status, 200);
    assert_eq!(raw(&hub, "POST /admin/logout", &[&host, &cookie, "Origin: http://evil.example"]).status, 403);
    let out = raw(&hub, "POST /admin/logout", &[&host, &cookie, &own]);
    assert!(out.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")), "{out:?}");
    assert_eq!(raw(&hub, "GET /api/hub", &[&host, &cookie]).status, 401);

    // The next hub knows none of it.
    let (_, path) = open(&hub, &[]);
    hub.end();
    hub.start_again();
    assert_eq!(raw(&hub, &format!("GET {path}"), &[&host]).status, 403);
    for secret in [path.as_str(), &cookie["Cookie: ".len()..]] {
        assert!(!hub.output().contains(secret), "a code or a cookie is in the log");
    }
}

#[test]
fn under_the_given_origin_a_browser_is_let_in_from_anywhere_and_over_https_alone() {
    let hub =
        Hub::start_in(Home::new(), &[("PARACHUTE_HUB_ORIGIN", PUBLIC), ("PARACHUTE_ALLOWED_HOSTS", "lan.example")]);
    let (origin, path) = open(&hub, &[]);
    assert_eq!(origin, PUBLIC);
    let proxied = ["Host: hub.example", "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https"];
    // A name that is allowed and no origin of ours.
    assert_eq!(raw(&hub, &format!("GET {path}"), &["Host: lan.example", proxied[1]]).status, 403);
    assert!(raw(&hub, "GET /", &proxied).text().contains("Sign in"));
    let (cookie, attributes) = cookie(&raw(&hub, &format!("GET {path}"), &proxied));
    assert_eq!(attributes, "Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure");
    let page = raw(&hub, "GET /", &[proxied[0], proxied[1], &cookie]).text();
    assert!(page.contains("No module is installed") && !page.contains("Sign in"), "{page}");
    let (origin, _) = open(&hub, &["--here"]);
    assert_eq!(origin, format!("http://127.0.0.1:{}", hub.port));
    // Whoever guesses is soon no longer looked at.
    for _ in 0..10 {
        assert_eq!(raw(&hub, "GET /admin/login?code=junk", &proxied).status, 403);
    }
    let late = raw(&hub, "GET /admin/login?code=junk", &proxied);
    assert!(late.status == 429 && late.header("retry-after").is_some(), "{late:?}");
}

#[test]
fn a_browser_is_led_to_a_page_of_ours_and_nowhere_else() {
    let hub = Hub::start(&[]);
    let host = format!("Host: 127.0.0.1:{}", hub.port);
    for page in ["/", "/web/app?a=b&c=d%20e", "/web//x#y"] {
        let (_, path) = open(&hub, &[page]);
        assert!(!path.contains("web"), "the page is in no address that somebody could change: {path}");
        let led = raw(&hub, &format!("GET {path}&path=/elsewhere&next=//evil.example"), &[&host]);
        assert_eq!((led.status, led.header("location")), (303, Some(page)));
    }
    for page in ["//evil.example", "/\\evil.example", "/a b", "/a\r\nSet-Cookie: a=b", "/caf\u{e9}"] {
        let refused = hub.run(&["open", page]).fails_with(1);
        assert!(refused.stdout.is_empty() && refused.stderr.contains("begins with one slash"), "{refused}");
    }
    for page in ["web", "https://evil.example", ""] {
        let refused = hub.run(&["open", page]).fails_with(2);
        assert!(refused.stderr.contains("PATH must begin with a slash"), "{refused}");
    }
    hub.run(&["open", "/a", "/b"]).fails_with(2);
}
