//! Rows and manifests that cannot be used: each is shown with its reason, everywhere, and the others run.

use crate::support::{Home, Hub, eventually, kill, module, testchild};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A module that only has to be there.
fn sleeper(name: &str) -> crate::support::Module {
    module(name, testchild(&["sleep"])).run(json!({"ready": "none"}))
}

/// What the hub, `status` and `check` say about one module or row.
struct Told {
    api: String,
    status: String,
    check: String,
}

/// The last lines of the story are in every message.
impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "api: {}\nstatus: {}\ncheck: {}", self.api, self.status, self.check)
    }
}

/// A hub with these rows beside two good modules, one before and one after; returns once both run.
fn hub_with_rows(rows: &[Value]) -> Hub {
    let home = Home::new();
    home.install(&sleeper("first"));
    home.install(&sleeper("last"));
    let mut document: Value = serde_json::from_str(&home.read("services.json")).expect("written above");
    let all = document["services"].as_array_mut().expect("rows");
    let last = all.pop().expect("two rows");
    all.extend(rows.iter().cloned());
    all.push(last);
    home.write("services.json", &document.to_string());
    let hub = Hub::start_in(home, &[]);
    for good in ["first", "last"] {
        hub.line_after(good, "ready ");
    }
    hub
}

/// Looks everywhere. The good modules must run whatever the others are.
fn told(hub: &Hub, what: &str) -> Told {
    let answer = hub.api("GET", "/api/modules");
    assert_eq!(answer.status, 200, "{what}: {answer:?}");
    let list = answer.json();
    for good in ["first", "last"] {
        let of = |module: &&Value| module["short"] == good;
        let module = list["modules"].as_array().and_then(|all| all.iter().find(of)).cloned().unwrap_or_default();
        assert_eq!(module["supervisor_status"], "running", "{what}: {good} runs: {module}");
    }
    let status = hub.run(&["status", "--json"]);
    let check = hub.run(&["check"]).fails_with(78);
    Told { api: answer.text(), status: format!("{}{}", status.stdout, status.stderr), check: check.stdout }
}

fn row() -> Value {
    json!({
        "name": "odd", "port": crate::support::free_port(), "paths": ["/odd"], "health": "/health", "version": "1",
    })
}

#[test]
fn a_row_that_cannot_be_used_is_shown_with_its_field_and_the_others_run() {
    type Break = fn(&mut Value);
    let remove = |row: &mut Value, field: &str| drop(row.as_object_mut().and_then(|map| map.remove(field)));
    let rows: &[(&str, Break, &str)] = &[
        ("port missing", |row| drop(row.as_object_mut().and_then(|map| map.remove("port"))), "port"),
        ("port 0", |row| row["port"] = json!(0), "port"),
        ("port 65536", |row| row["port"] = json!(65536), "port"),
        ("port negative", |row| row["port"] = json!(-1), "port"),
        ("port broken", |row| row["port"] = json!(1940.5), "port"),
        ("port a string", |row| row["port"] = json!("1940"), "port"),
        ("port null", |row| row["port"] = Value::Null, "port"),
        ("paths a string", |row| row["paths"] = json!("/odd"), "paths"),
        ("paths of numbers", |row| row["paths"] = json!([1]), "paths[0]"),
        ("health relative", |row| row["health"] = json!("health"), "health"),
        ("health null", |row| row["health"] = Value::Null, "health"),
        ("version a number", |row| row["version"] = json!(1), "version"),
        ("installDir relative", |row| row["installDir"] = json!("here"), "installDir"),
        ("installDir with NUL", |row| row["installDir"] = json!("/a\0b"), "installDir"),
        ("run a list", |row| row["run"] = json!([]), "run"),
        ("stripPrefix a word", |row| row["stripPrefix"] = json!("yes"), "stripPrefix"),
        ("exposure unknown", |row| row["publicExposure"] = json!("everybody"), "publicExposure"),
    ];
    let missing = ["paths", "health", "version"];
    let mut broken: Vec<(String, Value, &str)> = Vec::new();
    for (index, (what, make, field)) in rows.iter().enumerate() {
        let mut row = row();
        row["name"] = json!(format!("odd{index}"));
        make(&mut row);
        broken.push(((*what).to_owned(), row, field));
    }
    for (index, field) in missing.into_iter().enumerate() {
        let mut row = row();
        row["name"] = json!(format!("less{index}"));
        remove(&mut row, field);
        broken.push((format!("{field} missing"), row, field));
    }
    let hub = hub_with_rows(&broken.iter().map(|(_, row, _)| row.clone()).collect::<Vec<_>>());
    let told = told(&hub, "every bad row at once");
    let modules = hub.api("GET", "/api/modules").json();
    let status = hub.run(&["status", "--json"]).json();
    for (what, row, field) in &broken {
        let name = row["name"].as_str().expect("a name");
        let module = modules["modules"].as_array().expect("a list").iter().find(|module| module["name"] == name);
        let problem = module.map(|module| module["problem"].to_string()).unwrap_or_default();
        assert!(problem.contains(field), "{what}: the API names {field}: {problem}\n{told}");
        assert!(told.check.lines().any(|line| line.contains(name) && line.contains(field)), "{what}: check\n{told}");
        let shown = find_named(&status, name).unwrap_or_default();
        assert!(shown.to_string().contains("invalid") && shown.to_string().contains(field), "{what}: {shown}");
    }
}

/// The first object anywhere in `value` with this name.
fn find_named(value: &Value, name: &str) -> Option<Value> {
    match value {
        Value::Object(map) if map.get("name").is_some_and(|it| it == name) => Some(value.clone()),
        Value::Object(map) => map.values().find_map(|below| find_named(below, name)),
        Value::Array(items) => items.iter().find_map(|below| find_named(below, name)),
        _ => None,
    }
}

#[test]
fn rows_that_are_no_modules_are_shown_and_kept() {
    let rows = [json!(null), json!(7), json!("row"), json!([]), json!({}), json!({"name": ""}), json!({"name": 7})];
    let hub = hub_with_rows(&rows);
    let told = told(&hub, "rows that are none");
    for number in 1..=rows.len() {
        assert!(told.check.lines().count() >= rows.len(), "row {number}: {told}");
    }
    let document: Value = serde_json::from_str(&hub.home.read("services.json")).expect("still JSON");
    for row in &rows {
        assert!(document["services"].as_array().expect("rows").contains(row), "{row} is kept: {document}");
    }
    hub.run(&["remove", "first"]).succeeds();
    let document: Value = serde_json::from_str(&hub.home.read("services.json")).expect("still JSON");
    for row in &rows {
        assert!(document["services"].as_array().expect("rows").contains(row), "{row} survives an edit: {document}");
    }
}

#[test]
fn a_second_row_of_a_name_or_a_port_is_the_one_that_is_refused() {
    let (one, mut same_port) = (row(), row());
    same_port["name"] = json!("rival");
    same_port["port"] = one["port"].clone();
    let mut same_name = row();
    same_name["paths"] = json!(["/elsewhere"]);
    let hub = hub_with_rows(&[one.clone(), same_port, same_name]);
    let told = told(&hub, "duplicates");
    let port = one["port"].to_string();
    let says = |first: &str, second: &str| {
        told.check.lines().any(|line| line.contains(first) && line.contains(second) && line.contains("already"))
    };
    assert!(says("rival", &port), "the port: {told}");
    assert!(says("odd", "already the module"), "the name: {told}");
    assert!(told.api.contains("already the port of"), "{told}");
    assert!(told.status.contains("already the port of"), "{told}");
}

#[test]
fn a_program_that_cannot_be_run_is_named_with_what_it_lacks() {
    type Make = fn(&Path);
    let rows: &[(&str, Make, u32, &str, &str)] = &[
        ("not executable", |path| fs::write(path, "#!/bin/sh\n").expect("ours"), 0o644, "non_executable", "chmod +x"),
        ("a directory", |path| fs::create_dir(path).expect("ours"), 0o755, "non_executable", "not a regular file"),
        (
            "no such interpreter",
            |path| fs::write(path, "#!/opt/none -x\n").expect("ours"),
            0o755,
            "missing_dependency",
            "/opt/none is missing",
        ),
        (
            "lines with CR",
            |path| fs::write(path, "#!/bin/sh\r\nexit\r\n").expect("ours"),
            0o755,
            "missing_dependency",
            "/bin/sh\\r is missing",
        ),
        (
            "a program that env does not find",
            |path| fs::write(path, "#!/usr/bin/env no-such-node\n").expect("ours"),
            0o755,
            "missing_dependency",
            "no-such-node is missing",
        ),
        ("no program", |path| fs::write(path, "\0\0nothing").expect("ours"), 0o755, "non_executable", "exec of "),
        (
            "a loader that is missing",
            |path| {
                let elf = fs::read("/bin/ls").expect("a program");
                let at = elf.windows(6).position(|bytes| bytes == b"/lib64").expect("a dynamic program for x86-64");
                let mut broken = elf;
                broken[at + 1] = b'x';
                fs::write(path, broken).expect("ours");
            },
            0o755,
            "non_executable",
            "exec of ",
        ),
    ];
    let home = Home::new();
    for (index, (_, make, mode, ..)) in rows.iter().enumerate() {
        let name = format!("odd{index}");
        home.install(&module(&name, vec!["./run".to_owned()]));
        let program = home.package(&name).join("run");
        make(&program);
        fs::set_permissions(&program, fs::Permissions::from_mode(*mode)).expect("ours");
    }
    let hub = Hub::start_in(home, &[]);
    for (index, (what, _, _, error_type, shown)) in rows.iter().enumerate() {
        let name = format!("odd{index}");
        let start = hub.run(&["start", &name]).fails_with(6);
        let error = hub.api("GET", &format!("/api/modules/{name}")).json()["supervisor_start_error"].clone();
        assert_eq!(error["error_type"], *error_type, "{what}: {error}\n{start}");
        assert!(start.stderr.contains("/run"), "{what}: start names the file: {start}");
        let status = hub.run(&["status"]);
        let line =
            status.stdout.lines().skip_while(|line| !line.starts_with(&name)).find(|line| line.contains("failed to"));
        assert!(line.is_some_and(|line| line.contains(shown)), "{what}: {line:?}\n{status}");
        assert!(!status.stdout.contains("./run is missing"), "{what}: {status}");
    }
}

#[test]
fn a_directory_that_vanished_is_told_at_every_start() {
    let hub = Hub::start(&[sleeper("web"), sleeper("other")]);
    let pid = hub.number_after("web", "ready ");
    let package = hub.home.package("web");
    fs::rename(&package, package.with_extension("elsewhere")).expect("ours");
    kill(pid, "KILL");
    let error = eventually("the crash is told", || {
        let error = hub.api("GET", "/api/modules/web").json()["supervisor_start_error"].clone();
        error.is_object().then_some(error)
    });
    assert_eq!(error["error_type"], "missing_cwd", "{error}");
    let answer = hub.api("POST", "/api/modules/web/start");
    assert_eq!(answer.status, 409, "{answer:?}");
    let start = hub.run(&["start", "web"]).fails_with(6);
    assert!(start.stderr.contains(&*package.to_string_lossy()), "{start}");
    fs::rename(package.with_extension("elsewhere"), &package).expect("ours");
    hub.run(&["start", "web"]).succeeds();
    eventually("another child", || (hub.number_after("web", "ready ") != pid).then_some(()));
}

#[test]
fn a_mount_that_belongs_to_the_hub_is_refused_and_its_module_runs() {
    let home = Home::new();
    for name in ["first", "last"] {
        home.install(&sleeper(name));
    }
    let claims = json!(["/api", "/api/modules", "/health", "/admin", "/", "/../etc", "//host", "relative", "/mine"]);
    home.install(&sleeper("greedy").row("paths", claims.clone()));
    let hub = Hub::start_in(home, &[]);
    for name in ["first", "last", "greedy"] {
        hub.line_after(name, "ready ");
    }
    let told = told(&hub, "reserved paths");
    for claim in claims.as_array().expect("a list").iter().filter(|claim| **claim != "/mine") {
        let claim = claim.as_str().expect("a path");
        assert!(told.check.contains(&format!("\"{claim}\"")), "check names {claim}: {told}");
        assert!(told.status.contains(&format!("\\\"{claim}\\\"")), "status names {claim}: {told}");
    }
    assert!(!told.check.contains("\"/mine\""), "{told}");
    assert_eq!(hub.get("/health").json()["service"], hub.get("/health").json()["service"]);
    assert_eq!(hub.get("/api/modules").status, 401, "the hub's own API answers there");
}

#[test]
fn a_manifest_with_a_bad_field_is_named_and_costs_only_its_module() {
    let nul = json!(["/bin/echo", "a\0b"]);
    let rows: &[(&str, &str, Option<Value>)] = &[
        ("name missing", "name", None),
        ("name in capitals", "name", Some(json!("Odd"))),
        ("manifestName missing", "manifestName", None),
        ("manifestName a number", "manifestName", Some(json!(5))),
        ("port missing", "port", None),
        ("port 0", "port", Some(json!(0))),
        ("port 65536", "port", Some(json!(65536))),
        ("port a string", "port", Some(json!("1940"))),
        ("port null", "port", Some(Value::Null)),
        ("paths missing", "paths", None),
        ("paths an object", "paths", Some(json!({}))),
        ("health missing", "health", None),
        ("health a list", "health", Some(json!([]))),
        ("startCmd a line", "startCmd", Some(json!("sleep 1"))),
        ("startCmd empty", "startCmd", Some(json!([]))),
        ("startCmd of nothing", "startCmd", Some(json!([""]))),
        ("startCmd of numbers", "startCmd", Some(json!(["sleep", 1]))),
        ("startCmd with NUL", "startCmd", Some(nul)),
        ("stripPrefix null", "stripPrefix", Some(Value::Null)),
        ("run a word", "run", Some(json!("always"))),
        ("run with an unknown key", "restartPolicy", Some(json!({"restartPolicy": "always"}))),
        ("run.restart unknown", "restart", Some(json!({"restart": "sometimes"}))),
        ("run.stopTimeoutMs negative", "stopTimeoutMs", Some(json!({"stopTimeoutMs": -1}))),
        ("run.env.set of PORT", "PORT", Some(json!({"env": {"set": {"PORT": "1"}}}))),
        ("run.env.set with NUL", "KEY", Some(json!({"env": {"set": {"KEY": "a\0b"}}}))),
        ("run.umask a number", "umask", Some(json!({"umask": 22}))),
        ("run.dependsOn a word", "dependsOn", Some(json!({"dependsOn": "first"}))),
    ];
    let home = Home::new();
    for name in ["first", "last"] {
        home.install(&sleeper(name));
    }
    for (index, (what, field, value)) in rows.iter().enumerate() {
        let name = format!("odd{index}");
        home.install(&module(&name, testchild(&["sleep"])));
        let path = home.package(&name).join(".parachute/module.json");
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).expect("installed")).expect("JSON");
        let map = manifest.as_object_mut().expect("an object");
        let key = if what.starts_with("run") { "run" } else { field };
        match value {
            Some(value) => drop(map.insert(key.to_owned(), value.clone())),
            None => drop(map.remove(key)),
        }
        std::fs::write(&path, manifest.to_string()).expect("the package is ours");
    }
    let hub = Hub::start_in(home, &[]);
    for name in ["first", "last"] {
        hub.line_after(name, "ready ");
    }
    let told = told(&hub, "every bad manifest at once");
    for (index, (what, field, _)) in rows.iter().enumerate() {
        let name = format!("odd{index}");
        let manifest = hub.home.package(&name).join(".parachute/module.json");
        let manifest = manifest.to_string_lossy();
        let line = told.check.lines().find(|line| line.contains(&*manifest)).unwrap_or_default();
        assert!(line.contains(field), "{what}: check names file and field: {line}\n{told}");
        eventually(&format!("{what}: the API says why"), || {
            hub.api("GET", &format!("/api/modules/{name}")).text().contains(field).then_some(())
        });
        let start = hub.run(&["start", &name]);
        assert_ne!(start.status.code(), Some(0), "{what}: {start}");
        assert!(start.stderr.contains(field), "{what}: start says why: {start}");
    }
    let status = hub.run(&["status"]);
    for (index, (what, field, _)) in rows.iter().enumerate() {
        let told = status.stdout.contains(&format!("odd{index}")) && status.stdout.contains(field);
        assert!(told, "{what}: status shows it: {status}");
    }
}
