//! Programs that people run, not made for this hub: registered, asked, restarted and stopped.

use crate::support::{Hub, eventually, free_port, http, is_alive};
use serde_json::json;
use std::fs;
use std::path::Path;

/// A missing program fails its test: what nobody runs shows nothing.
#[track_caller]
fn needs(program: &str, package: &str) {
    assert!(Path::new(program).exists(), "{program} is missing; install it with: apt-get install {package}");
}

/// What every program is put through once it is registered and started. `answers` asks it on its port.
#[track_caller]
fn lives_and_ends(hub: &Hub, short: &str, port: u16, answers: impl Fn() -> bool) {
    let first = hub.until_ready(short);
    eventually(&format!("{short} answering"), || answers().then_some(()));
    hub.run(&["restart", short]).succeeds();
    hub.until_replaced(short, first);
    eventually(&format!("{short} answering after its restart"), || answers().then_some(()));
    hub.run(&["stop", short]).succeeds();
    hub.has_nothing_left(short, port);
    hub.run(&["start", short]).succeeds();
    eventually(&format!("{short} answering after its stop"), || answers().then_some(()));
}

#[test]
fn the_http_server_of_python() {
    needs("/usr/bin/python3", "python3");
    let mut hub = Hub::start(&[]);
    let port = free_port();
    let number = port.to_string();
    hub.run(&[
        "add",
        "files",
        "--port",
        &number,
        "--",
        "/usr/bin/python3",
        "-m",
        "http.server",
        "{port}",
        "--bind",
        "127.0.0.1",
    ])
    .succeeds();
    lives_and_ends(&hub, "files", port, || http::get(port, "/").is_ok_and(|reply| reply.status == 200));
    assert_eq!(hub.end().code(), Some(0));
    hub.has_nothing_left("files", port);
}

#[test]
fn the_first_module_that_help_shows_has_its_page_under_the_hub() {
    needs("/usr/bin/python3", "python3");
    let hub = Hub::start(&[]);
    let help = hub.run(&["help"]).succeeds().stdout;
    let shown = help.lines().find_map(|line| line.trim().strip_prefix("parachute add ")).expect("a first step");
    // On a port of its own, because other tests run beside this one.
    let port = free_port().to_string();
    let words = shown.split_whitespace().map(|word| word.trim_matches('\''));
    let args: Vec<&str> = ["add", "--port", &port].into_iter().chain(words).collect();
    hub.run(&args).succeeds();
    eventually("its page", || (hub.get("/wiki/").status == 200).then_some(()));
}

#[test]
fn a_server_for_node() {
    needs("/usr/bin/node", "nodejs");
    let mut hub = Hub::start(&[]);
    let port = free_port();
    let script =
        "require('http').createServer((_, reply) => reply.end('from node')).listen(+process.env.PORT, '127.0.0.1')";
    let package = hub.home.package("js");
    let manifest = json!({
        "name": "js", "manifestName": "js", "port": port, "paths": ["/js"], "health": "/",
        "startCmd": ["node", "-e", script],
        "run": { "ready": { "probe": "http", "timeoutMs": 30_000 } },
    });
    fs::create_dir_all(package.join(".parachute")).expect("the directory of the modules is ours");
    fs::write(package.join(".parachute/module.json"), manifest.to_string()).expect("the package is ours");
    hub.run(&["install", package.to_str().expect("UTF-8")]).succeeds();
    lives_and_ends(&hub, "js", port, || http::get(port, "/").is_ok_and(|reply| reply.text() == "from node"));
    assert_eq!(hub.end().code(), Some(0));
    hub.has_nothing_left("js", port);
}

#[test]
fn redis() {
    needs("/usr/bin/redis-server", "redis-server");
    let mut hub = Hub::start(&[]);
    let port = free_port();
    let number = port.to_string();
    hub.run(&[
        "add",
        "redis",
        "--port",
        &number,
        "--",
        "/usr/bin/redis-server",
        "--port",
        "{port}",
        "--save",
        "",
        "--daemonize",
        "no",
    ])
    .succeeds();
    let answers = || http::exchange(port, b"PING\r\nQUIT\r\n").is_ok_and(|reply| reply.starts_with(b"+PONG\r\n"));
    lives_and_ends(&hub, "redis", port, answers);
    assert_eq!(hub.end().code(), Some(0));
    hub.has_nothing_left("redis", port);
    let log = hub.run(&["logs", "redis"]).succeeds().stdout;
    assert!(log.contains("Ready to accept connections"), "{log}");
}

#[test]
fn nginx_with_its_workers() {
    needs("/usr/sbin/nginx", "nginx");
    let mut hub = Hub::start(&[]);
    let port = free_port();
    let dir = hub.home.package("nginx");
    fs::create_dir_all(&dir).expect("the directory of the modules is ours");
    let config = dir.join("nginx.conf");
    // Its workers run as the one who runs it: another user could not enter a directory of ours.
    let text = format!(
        "worker_processes 2;\nerror_log stderr;\npid {dir}/pid;\nevents {{ worker_connections 64; }}\n\
         http {{\n access_log off;\n client_body_temp_path {dir}/a;\n proxy_temp_path {dir}/b;\n \
         fastcgi_temp_path {dir}/c;\n uwsgi_temp_path {dir}/d;\n scgi_temp_path {dir}/e;\n \
         server {{ listen 127.0.0.1:{port}; return 200 'from nginx'; }}\n}}\n",
        dir = dir.display()
    );
    fs::write(&config, text).expect("the package is ours");
    let (number, config) = (port.to_string(), config.to_str().expect("UTF-8").to_owned());
    hub.run(&["add", "proxy", "--port", &number, "--", "/usr/sbin/nginx", "-c", &config, "-g", "daemon off;"])
        .succeeds();
    let master = hub.until_ready("proxy");
    // It writes titles over its environment, so its workers are known by their parent only.
    let workers = eventually("two workers below the master", || {
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        let workers: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        (workers.len() == 2).then_some(workers)
    });
    lives_and_ends(&hub, "proxy", port, || http::get(port, "/").is_ok_and(|reply| reply.text() == "from nginx"));
    assert!(!workers.into_iter().any(is_alive), "a worker of the first master is left");
    assert_eq!(hub.end().code(), Some(0));
    hub.has_nothing_left("proxy", port);
}
