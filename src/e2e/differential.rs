//! The same requests through the hub and through nginx to the same backend: what the backend gets and what the client
//! gets must be the same. Every difference stands in a table with its reason.

use crate::support::http::Response;
use crate::support::{Backend, Connection, Home, Hub, Recorded, Said, Spawned, eventually, free_port, http};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// What a proxy says about the way that a request took is not compared: each has its own words for it.
const OF_THE_WAY: [&str; 5] =
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-parachute-layer", "x-parachute-client-ip"];
/// What holds for one connection only.
const OF_THE_HOP: [&str; 2] = ["connection", "keep-alive"];

/// A case: its name, its requests, and their methods, after each of which an answer is awaited.
type Case = (&'static str, &'static str, &'static [&'static str]);

const HUB: &str = "hub";
const NGINX: &str = "nginx";

/// Which case, who of the two alone has it, what, and why. `*` stands for anything.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    ("*", NGINX, "answer * server: nginx*", "nginx names itself"),
    ("*", HUB, "answer * server: backend", "the hub passes on what the module says of itself"),
    ("*", NGINX, "answer * date: now", "nginx writes its own date"),
    ("*", HUB, "answer * date: Thu, 01 Jan 1970*", "the hub passes on the module's date"),
    (
        "early hints",
        HUB,
        "answer 0 date: now",
        "nginx writes its date into the interim head, which it takes for the last",
    ),
    ("post without a length", HUB, "request 0 content-length: 0", "RFC 9110 §8.6: who sends nothing is to say so"),
    ("post in chunks", HUB, "request 0 transfer-encoding: chunked", "a body keeps its framing, whenever it arrives"),
    ("post in chunks", NGINX, "request 0 content-length: 5", "nginx counts what is there already"),
    ("chunks with*", HUB, "request 0 transfer-encoding: chunked", "as above"),
    ("chunks with*", NGINX, "request 0 content-length: 3", "as above"),
    ("no chunks", HUB, "request 0 transfer-encoding: chunked", "as above"),
    ("no chunks", NGINX, "request 0 content-length: 0", "as above"),
    ("page", HUB, "answer 0 content-security-policy: frame-ancestors 'self'", "all modules share one origin"),
    ("page", HUB, "answer 0 x-content-type-options: nosniff", "as above"),
    ("upgrade without need", NGINX, "request 0 http2-settings: x", "RFC 9113 §3.1: it belongs to the refused upgrade"),
    ("hop by hop *", NGINX, "* x-hop: 1", "RFC 9110 §7.6.1: what Connection names goes no further; nginx lets it"),
    ("hop by hop request", NGINX, "request 0 trailer: X", "announces trailers, which neither passes on"),
    ("underscore", HUB, "request 0 x_under: 1", "nginx drops such names because of CGI; they are tokens"),
    ("encoded letter", HUB, "request 0: GET /web/ok HTTP/1.1", "one spelling is routed and passed on"),
    ("encoded letter", NGINX, "request 0: GET /web/%6Fk HTTP/1.1", "nginx routes one spelling and passes on another"),
    ("encoded space", HUB, "request 0: GET /web/a%20b/%C3%A9/ok HTTP/1.1", "as above"),
    ("encoded space", NGINX, "request 0: GET /web/a%20b/%c3%a9/ok HTTP/1.1", "as above"),
    ("dot segments", HUB, "request 0: GET /web/b/ok HTTP/1.1", "as above"),
    ("dot segments", NGINX, "request 0: GET /web/a/../b/./ok HTTP/1.1", "as above"),
    ("encoded slash", HUB, "answer 0: 400", "it would be one segment to us and two to the module, or the other way"),
    ("encoded slash", NGINX, "*", "nginx routes it as a slash and passes it on encoded"),
    ("another coding", HUB, "answer 0: 400", "RFC 9112 §6.1 wants 501; any doubt about framing is 400 here"),
    ("another coding", NGINX, "answer 0: 501", "as above"),
];

const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];

/// `@` stands for the end of a line, `Host` and the last empty line are added to every head.
const CASES: &[Case] = &[
    ("plain", "GET /web/ok HTTP/1.1@", GET),
    ("query", "GET /web/ok?a=1&b=%20c&&=?x HTTP/1.1@", GET),
    ("empty query", "GET /web/ok? HTTP/1.1@", GET),
    ("unknown method", "BREW /web/ok HTTP/1.1@", &["BREW"]),
    ("options", "OPTIONS /web/ok HTTP/1.1@", &["OPTIONS"]),
    ("delete", "DELETE /web/ok HTTP/1.1@", &["DELETE"]),
    ("propfind", "PROPFIND /web/ok HTTP/1.1@Depth: 1@", &["PROPFIND"]),
    ("put", "PUT /web/ok HTTP/1.1@Content-Length: 3@@abc", &["PUT"]),
    ("patch", "PATCH /web/ok HTTP/1.1@Content-Length: 3@@abc", &["PATCH"]),
    ("delete with a body", "DELETE /web/ok HTTP/1.1@Content-Length: 3@@abc", &["DELETE"]),
    ("get with a body", "GET /web/ok HTTP/1.1@Content-Length: 3@@abc", GET),
    ("post of a length", "POST /web/ok HTTP/1.1@Content-Type: text/plain@Content-Length: 3@@abc", POST),
    ("post of nothing", "POST /web/ok HTTP/1.1@Content-Length: 0@@", POST),
    ("post without a length", "POST /web/ok HTTP/1.1@", POST),
    ("post in chunks", "POST /web/ok HTTP/1.1@Transfer-Encoding: chunked@@3@abc@2@de@0@@", POST),
    ("chunks with an extension", "POST /web/ok HTTP/1.1@Transfer-Encoding: chunked@@3;a=b@abc@0@@", POST),
    ("chunks with a trailer", "POST /web/ok HTTP/1.1@Transfer-Encoding: chunked@@3@abc@0@X-Trailer: t@@", POST),
    ("no chunks", "POST /web/ok HTTP/1.1@Transfer-Encoding: chunked@@0@@", POST),
    ("expect", "POST /web/ok HTTP/1.1@Expect: 100-continue@Content-Length: 3@@abc", POST),
    ("head", "HEAD /web/ok HTTP/1.1@", &["HEAD"]),
    ("head of chunks", "HEAD /web/chunked HTTP/1.1@", &["HEAD"]),
    ("chunked answer", "GET /web/chunked HTTP/1.1@", GET),
    ("answer until the end", "GET /web/close HTTP/1.1@", GET),
    ("answer of nothing", "GET /web/empty HTTP/1.1@", GET),
    ("no content", "GET /web/204 HTTP/1.1@", GET),
    ("not modified", "GET /web/304 HTTP/1.1@If-None-Match: \"x\"@", GET),
    ("not found", "GET /web/404 HTTP/1.1@", GET),
    ("error of the module", "GET /web/500 HTTP/1.1@", GET),
    ("redirect", "GET /web/301 HTTP/1.1@", GET),
    ("partial content", "GET /web/206 HTTP/1.1@Range: bytes=0-2@", GET),
    ("early hints", "GET /web/103 HTTP/1.1@", GET),
    ("page", "GET /web/html HTTP/1.1@", GET),
    ("cookies", "GET /web/cookies HTTP/1.1@Cookie: a=1; b=2@", GET),
    ("hop by hop answer", "GET /web/hop HTTP/1.1@", GET),
    (
        "hop by hop request",
        "GET /web/ok HTTP/1.1@Connection: X-Hop@X-Hop: 1@TE: trailers@Keep-Alive: 5@Trailer: X@",
        GET,
    ),
    ("upgrade without need", "GET /web/ok HTTP/1.1@Connection: Upgrade@Upgrade: h2c@HTTP2-Settings: x@", GET),
    ("end to end", "GET /web/ok HTTP/1.1@Accept: */*@Accept-Encoding: gzip@Authorization: Bearer x@X-Empty:@", GET),
    ("same name twice", "GET /web/ok HTTP/1.1@X-Two: 1@X-Two: 2@", GET),
    ("underscore", "GET /web/ok HTTP/1.1@X_Under: 1@", GET),
    ("not ascii", "GET /web/ok HTTP/1.1@X-Name: caf\u{e9}@", GET),
    ("encoded letter", "GET /web/%6Fk HTTP/1.1@", GET),
    ("encoded space", "GET /web/a%20b/%c3%a9/ok HTTP/1.1@", GET),
    ("dot segments", "GET /web/a/../b/./ok HTTP/1.1@", GET),
    ("double slash", "GET /web//a//ok HTTP/1.1@", GET),
    ("encoded slash", "GET /web/a%2Fok HTTP/1.1@", GET),
    ("encoded nul", "GET /web/a%00/ok HTTP/1.1@", GET),
    ("bare space", "GET /web/a b/ok HTTP/1.1@", GET),
    ("absolute form", "GET http://127.0.0.1/web/ok HTTP/1.1@", GET),
    ("old protocol", "GET /web/ok HTTP/1.0@", GET),
    ("old protocol, chunks", "GET /web/chunked HTTP/1.0@", GET),
    ("old protocol, kept alive", "GET /web/ok HTTP/1.0@Connection: keep-alive@", GET),
    (
        "pipelined",
        "GET /web/ok?1 HTTP/1.1@\u{1}HEAD /web/ok?2 HTTP/1.1@\u{1}GET /web/chunked?3 HTTP/1.1@",
        &["GET", "HEAD", "GET"],
    ),
    (
        "pipelined behind a body",
        "POST /web/ok?1 HTTP/1.1@Content-Length: 3@@abc\u{1}GET /web/ok?2 HTTP/1.1@",
        &["POST", "GET"],
    ),
    ("length and chunks", "POST /web/ok HTTP/1.1@Content-Length: 3@Transfer-Encoding: chunked@@0@@", POST),
    ("two lengths", "POST /web/ok HTTP/1.1@Content-Length: 3@Content-Length: 3@@abc", POST),
    ("another coding", "POST /web/ok HTTP/1.1@Transfer-Encoding: gzip, chunked@@0@@", POST),
    ("broken chunk", "POST /web/ok HTTP/1.1@Transfer-Encoding: chunked@@x@abc@0@@", POST),
    ("space before the colon", "GET /web/ok HTTP/1.1@X-Bad : 1@", GET),
    ("continued line", "GET /web/ok HTTP/1.1@X-Bad: 1@ 2@", GET),
    ("lying length", "GET /web/short HTTP/1.1@", GET),
];

/// Answers by the last segment of the path.
fn answer(request: &Recorded) -> Said {
    let (mut answer, goes_on) = answer_of(request.name());
    if request.method() == "HEAD" {
        let head_bytes = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
        answer.truncate(head_bytes);
    }
    if goes_on { Said::AndWaits(answer) } else { Said::AndHangsUp(answer) }
}

/// The whole answer, and whether another may follow it.
fn answer_of(last: &str) -> (Vec<u8>, bool) {
    let (text, keep) = match last {
        "chunked" => ("200 OK@Content-Type: text/plain@Transfer-Encoding: chunked@@3@abc@2@de@0@@", true),
        "close" => ("200 OK@Content-Type: text/plain@Connection: close@@until the end", false),
        "empty" => ("200 OK@Content-Length: 0@@", true),
        "204" => ("204 No Content@X-Own: 1@@", true),
        "304" => ("304 Not Modified@ETag: \"x\"@@", true),
        "404" => ("404 Not Found@Content-Type: text/plain@Content-Length: 4@@none", true),
        "500" => ("500 Own Words@Content-Type: text/plain@Content-Length: 4@@oops", true),
        "301" => ("301 Moved Permanently@Location: /web/ok@Content-Length: 0@@", true),
        "206" => ("206 Partial Content@Content-Range: bytes 0-2/9@Content-Length: 3@@abc", true),
        "103" => {
            ("103 Early Hints@Link: </a.css>@@HTTP/1.1 200 OK@Content-Type: text/plain@Content-Length: 2@@ok", true)
        }
        "html" => ("200 OK@Content-Type: text/html@Content-Length: 3@@<p>", true),
        "cookies" => ("200 OK@Set-Cookie: a=1@Set-Cookie: b=2; Path=/@Content-Length: 2@@ok", true),
        "hop" => ("200 OK@Connection: X-Hop@X-Hop: 1@Keep-Alive: timeout=5@Content-Length: 2@@ok", true),
        "short" => ("200 OK@Content-Type: text/plain@Content-Length: 9@@four", false),
        _ => (
            "200 OK@Server: backend@Date: Thu, 01 Jan 1970 00:00:00 GMT@Content-Type: text/plain@\
             Cache-Control: max-age=1@X-Own: 1@X-Own: 2@Content-Length: 2@@ok",
            true,
        ),
    };
    (format!("HTTP/1.1 {text}").replace('@', "\r\n").into_bytes(), keep)
}

fn nginx(directory: &Path, backend: u16) -> (Spawned, u16) {
    let port = free_port();
    let dir = directory.to_str().expect("a temporary directory is UTF-8");
    fs::create_dir_all(directory).expect("the home is ours");
    let config = format!(
        "daemon off; master_process off; worker_processes 1; error_log stderr; pid {dir}/pid;
         events {{ worker_connections 64; }}
         http {{
           access_log off;
           client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
           uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
           server {{
             listen 127.0.0.1:{port};
             location / {{
               proxy_pass http://127.0.0.1:{backend};
               proxy_http_version 1.1;
               proxy_set_header Host $http_host;
               proxy_set_header Connection \"\";
               proxy_request_buffering off;
               proxy_buffering off;
             }}
           }}
         }}"
    );
    fs::write(directory.join("nginx.conf"), config).expect("the home is ours");
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|program| Path::new(program).exists());
    let mut command = Command::new(program.expect("nginx is missing: apt-get install nginx-light"));
    command.args(["-p", dir, "-c", "nginx.conf", "-e", "stderr"]);
    let mut nginx = Spawned::spawn(command);
    eventually("nginx listening", || {
        assert!(nginx.ended().is_none(), "nginx ended: {}", nginx.output());
        http::connect(port).ok()
    });
    (nginx, port)
}

/// What one side of a comparison has seen, each a line.
fn facts(backend: &[Recorded], client: &[io::Result<Response>]) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    // Refusals are compared by their status: each proxy has its own words for them.
    let refused = backend.is_empty();
    for (number, record) in backend.iter().enumerate() {
        facts.insert(format!("request {number}: {}", record.line));
        facts.insert(format!("request {number} body: {}", record.body.escape_ascii()));
        let end_to_end = record.fields.iter().filter(|(name, _)| !OF_THE_WAY.contains(&name.as_str()));
        facts.extend(by_name(&format!("request {number}"), end_to_end));
    }
    for (number, answer) in client.iter().enumerate() {
        let Ok(answer) = answer else {
            facts.insert(format!("answer {number}: none, or a part of one"));
            continue;
        };
        facts.insert(format!("answer {number}: {}", answer.status));
        if !refused {
            facts.insert(format!("answer {number} body: {}", answer.body.escape_ascii()));
            let end_to_end = answer.headers.iter().filter(|(name, _)| !OF_THE_HOP.contains(&name.as_str()));
            facts.extend(by_name(&format!("answer {number}"), end_to_end));
        }
    }
    facts
}

/// A line for each name, in which the fields of that name keep their order.
fn by_name<'a>(of: &str, fields: impl Iterator<Item = &'a (String, String)>) -> Vec<String> {
    let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in fields {
        // The only date that is not the clock's is the backend's.
        let is_now = name == "date" && !value.contains("1970");
        by_name.entry(name).or_default().push(if is_now { "now" } else { value });
    }
    by_name.into_iter().map(|(name, values)| format!("{of} {name}: {}", values.join(" | "))).collect()
}

fn through(port: u16, backend: &Backend, (_, requests, methods): &Case) -> BTreeSet<String> {
    let mut bytes = Vec::new();
    for request in requests.split('\u{1}') {
        let (line, rest) = request.split_once('@').expect("a request line");
        // A head without a body ends here; one with a body has its own empty line.
        let end = if rest.contains("@@") { "" } else { "@" };
        bytes.extend_from_slice(format!("{line}@Host: 127.0.0.1@{rest}{end}").replace('@', "\r\n").as_bytes());
    }
    let mut connection = Connection::open(port);
    connection.send(&bytes);
    let mut answers = Vec::new();
    for method in *methods {
        let mut answer = connection.answer(method);
        while answer.as_ref().is_ok_and(|answer| answer.status < 200) {
            answer = connection.answer(method);
        }
        let failed = answer.is_err();
        answers.push(answer);
        if failed {
            break;
        }
    }
    facts(&backend.take(), &answers)
}

/// Whether `pattern`, in which `*` stands for anything, is about `text`.
fn is_about(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        match text.split_once(piece) {
            Some((_, behind)) => text = behind,
            None => return false,
        }
    }
    text.ends_with(last)
}

#[test]
fn both_sides_see_what_they_would_see_through_nginx() {
    let backend = Backend::start(answer);
    let home = Home::new();
    home.write("services.json", &backend.services());
    let (_nginx, nginx_port) = nginx(&home.path().join("nginx"), backend.port);
    let hub = Hub::start_in(home, &[]);
    backend.take();

    let mut unlisted = Vec::new();
    let mut occurred = vec![false; DIFFERENCES.len()];
    for case in CASES {
        let (of_nginx, of_hub) = (through(nginx_port, &backend, case), through(hub.port, &backend, case));
        let only_nginx = of_nginx.difference(&of_hub).map(|fact| (NGINX, fact));
        for (who, fact) in only_nginx.chain(of_hub.difference(&of_nginx).map(|fact| (HUB, fact))) {
            let known = DIFFERENCES
                .iter()
                .position(|(name, by, what, _)| is_about(name, case.0) && *by == who && is_about(what, fact));
            match known {
                Some(index) => occurred[index] = true,
                None => unlisted.push(format!("({:?}, {who}, {fact:?})", case.0)),
            }
        }
    }
    let stale: Vec<_> =
        DIFFERENCES.iter().zip(&occurred).filter(|(_, occurred)| !**occurred).map(|(row, _)| row).collect();
    assert!(unlisted.is_empty(), "not in the table:\n{}", unlisted.join("\n"));
    assert!(stale.is_empty(), "in the table, and no longer so: {stale:#?}");
}
