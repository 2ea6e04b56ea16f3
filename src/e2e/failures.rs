//! What a command says when it fails is true, can be typed as it stands, and gives nothing away.

use crate::support::{Finished, Home, Hub, eventually, free_port, module, testchild};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

fn web() -> Hub {
    Hub::start(&[module("web", testchild(&["sleep"])).run(json!({"ready": "none"}))])
}

fn run(home: &Home, args: &[&str]) -> Finished {
    Finished::run(home.command(args))
}

/// The home's command with one more word, which need not be text.
fn with(home: &Home, args: &[&str], last: &[u8]) -> Command {
    let mut command = home.command(args);
    command.arg(OsStr::from_bytes(last));
    command
}

#[test]
fn a_path_that_is_no_text_is_one_of_a_file_all_the_same() {
    let hub = web();
    let dir = tempdir(&hub.home);
    let file = |name: &[u8]| [dir.as_bytes(), b"/", name].concat();
    for (args, name) in [
        (&["auth", "mint-token", "--scope", "scribe:transcribe", "--token-file"][..], b"t\xff"),
        (&["auth", "module-key", "web", "--key-file"], b"k\xff"),
    ] {
        let done = Finished::run(with(&hub.home, args, &file(name)));
        assert_eq!(done.status.code(), Some(0), "{args:?}: {done}");
        let path = file(name);
        assert!(fs::metadata(OsStr::from_bytes(&path)).is_ok_and(|made| made.len() > 0), "{args:?}: {done}");
    }
    // A home whose path services.json cannot name: what can be done there is done, and the rest says so.
    let home = file(b"home\xff");
    let at_home = |args: &[&str]| {
        let mut command = with(&hub.home, &["--home"], &home);
        command.args(args);
        Finished::run(command)
    };
    fs::create_dir(OsStr::from_bytes(&home)).expect("ours");
    private(&home);
    at_home(&["auth", "rotate-operator"]).succeeds();
    let refused = at_home(&["add", "wiki", "--no-start", "--", "/bin/true"]).fails_with(78);
    assert!(refused.stderr.contains("is not UTF-8, which services.json needs"), "{refused}");
    assert!(!fs::exists(OsStr::from_bytes(&[&home[..], b"/services.json"].concat())).expect("ours"), "{refused}");
}

/// A directory beside what the home holds.
fn tempdir(home: &Home) -> String {
    let path = home.path().with_file_name("beside");
    fs::create_dir(&path).expect("ours");
    path.to_str().expect("text").to_owned()
}

fn private(path: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(OsStr::from_bytes(path), fs::Permissions::from_mode(0o700)).expect("ours");
}

#[test]
fn a_token_that_is_none_is_not_shown() {
    let home = Home::new();
    for verb in ["status", "serve", "start"] {
        let mut command = home.command(&[verb]);
        command.env("PARACHUTE_OPERATOR_TOKEN", OsStr::from_bytes(b"seeecret\xff"));
        let done = Finished::run(command).fails_with(78);
        assert!(done.stderr.contains("PARACHUTE_OPERATOR_TOKEN"), "{verb}: {done}");
        assert!(!done.stdout.contains("seeecret") && !done.stderr.contains("seeecret"), "{verb}: {done}");
    }
}

#[test]
fn commands_that_are_told_to_type_are_for_the_home_that_was_named() {
    let home = Home::new();
    let elsewhere = home.path().join("else where");
    let elsewhere = elsewhere.to_str().expect("text");
    run(&home, &["--home", elsewhere, "add", "wiki", "--no-start", "--", "/bin/true"]).succeeds();
    let down = run(&home, &["--home", elsewhere, "start", "wiki"]).fails_with(5);
    let serve = format!("parachute --home '{elsewhere}' serve");
    assert!(down.stderr.contains(&serve), "{down}");
    let down = run(&home, &["start", "wiki", "--json", "--home", elsewhere]).fails_with(5);
    let told: Value = serde_json::from_str(&down.stderr).expect("one object");
    assert!(told["error"]["hint"].as_str().is_some_and(|hint| hint.contains(&serve)), "{told}");
    let down = run(&home, &["start", "wiki"]);
    assert!(!down.stderr.contains("--home"), "{down}");
}

#[test]
fn what_modules_write_into_the_list_moves_no_cursor() {
    let hub = web();
    let mut list: Value = serde_json::from_str(&hub.home.read("services.json")).expect("a list");
    let rows = list["services"].as_array_mut().expect("rows");
    rows.push(json!({"name": "\u{1b}]0;PWNED\u{7}\u{9b}31mred", "port": "x"}));
    rows.push(json!({
        "name": "gone", "port": 1987, "paths": ["/gone"], "health": "/", "version": "1", "installDir": "/tmp/\u{1b}[2Jgone",
    }));
    hub.home.write("services.json", &list.to_string());
    for args in [
        &["status", "--check"][..],
        &["status"],
        &["check"],
        &["doctor"],
        &["start", "gone"],
        &["start", "\u{1b}]0;PWNED\u{7}\u{9b}31mred"],
        &["remove", "gone"],
    ] {
        let done = hub.run(args);
        let said = format!("{}{}", done.stdout, done.stderr);
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{args:?}: {said:?}");
    }
}

#[test]
fn serve_says_why_it_does_not_come_up_in_the_language_that_it_was_asked_in() {
    let hub = web();
    let locked = hub.run(&["serve", "--json"]).fails_with(8);
    let told: Value = serde_json::from_str(&locked.stderr).expect("one object");
    assert_eq!(
        (&told["ok"], &told["error"]["code"], &told["error"]["exit"]),
        (&json!(false), &json!("busy"), &json!(8))
    );
    let home = Home::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let mut command = home.command(&["serve", "--json"]);
    command.env("PORT", &port);
    let refused = Finished::run(command).fails_with(7);
    let told: Value = serde_json::from_str(&refused.stderr).expect("one object");
    assert_eq!((&told["error"]["code"], &told["error"]["exit"]), (&json!("port_in_use"), &json!(7)), "{refused}");
}

/// Nothing was asked of it, so nothing is still being done.
#[test]
fn a_hub_that_does_not_answer_is_not_ready_and_not_at_it() {
    let hub = web();
    let pid = hub.pid();
    // Or it would not be well yet at the end.
    hub.line_after("web", "ready ");
    crate::support::kill(pid, "STOP");
    // Each thread stops when it is its turn, and may answer before.
    eventually("all of it stopped", || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it is there");
        let is_stopped = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'));
        let mut stats = threads.map(|thread| fs::read_to_string(thread.expect("listed").path().join("stat")));
        stats.all(|stat| stat.is_ok_and(is_stopped)).then_some(())
    });
    for args in
        [&["start", "web", "--timeout", "1"][..], &["stop", "web"], &["auth", "list-tokens"], &["remove", "web"]]
    {
        let done = hub.run(args).fails_with(5);
        assert!(done.stderr.contains("nothing was asked of it"), "{args:?}: {done}");
    }
    let shown = hub.run(&["status"]).fails_with(1);
    assert!(shown.stdout.contains(&format!("http://127.0.0.1:{}\n", hub.port)), "its own port: {shown}");
    assert!(shown.stdout.contains("hub does not answer") && !shown.stdout.contains("hub is down;"), "{shown}");
    crate::support::kill(pid, "CONT");
    hub.run(&["status", "--check"]).succeeds();
}

#[test]
fn what_runs_can_be_stopped_whatever_the_list_says() {
    let hub = web();
    let child = hub.number_after("web", "ready ");
    hub.home.write("services.json", "{");
    let shown = hub.run(&["status", "web"]).succeeds();
    assert!(shown.stderr.contains("services.json"), "of the module it is known that it is well: {shown}");
    let done = hub.run(&["stop", "web"]).succeeds();
    assert!(done.stderr.contains("services.json"), "and the list is told of: {done}");
    assert!(!crate::support::is_alive(child), "{done}");
    let impossible = hub.run(&["stop", "no/name"]).fails_with(78);
    assert!(impossible.stderr.contains("services.json"), "{impossible}");
}

#[test]
fn a_module_that_could_not_be_removed_is_said_to_be_stopped() {
    let hub = web();
    fs::create_dir(hub.home.path().join("services.json.removed")).expect("ours");
    let failed = hub.run(&["remove", "web"]).fails_with(78);
    assert!(failed.stderr.contains("web keeps its row and is stopped"), "{failed}");
    assert!(failed.stderr.contains("to have it run: parachute start web"), "{failed}");
    assert!(hub.home.read("services.json").contains("\"web\""));
    hub.until_status("web", "stopped");
}

#[test]
fn a_module_cannot_take_the_place_of_a_word_or_a_file_of_the_hub() {
    let home = Home::new();
    for name in ["hub", "services.json.removed", "services.json.lock", "hub.db-wal", "operator.token"] {
        let refused = run(&home, &["add", name, "--no-start", "--", "/bin/true"]).fails_with(2);
        // No name that a command is added under has a dot, whomever it belongs to.
        let why = if name.contains('.') { "NAME must be a lower case letter" } else { "belongs to the hub" };
        assert!(refused.stderr.contains(why), "{name}: {refused}");
    }
    run(&home, &["add", "helpful", "--no-start", "--", "/bin/true"]).succeeds();
}

#[test]
fn an_add_that_cannot_write_the_row_leaves_the_command_as_it_was() {
    let home = Home::new();
    run(&home, &["add", "wiki", "--no-start", "--", "/bin/sleep", "1111"]).succeeds();
    let manifest = |name: &str| home.read(&format!("modules/{name}/.parachute/module.json"));
    let (row, before) = (home.read("services.json"), manifest("wiki"));
    let broken = ["-e", "trace=renameat2", "-e", "inject=renameat2:error=EIO"];
    // The manifest has its place by then: its rename is the plain one.
    let args = ["add", "wiki", "--replace", "--path", "/other", "--no-start", "--", "/bin/sleep", "2222"];
    let failed = home.traced(&broken, &args).fails_with(1);
    assert!(failed.stderr.contains("it is as it was before"), "{failed}");
    assert_eq!((home.read("services.json"), manifest("wiki")), (row, before), "{failed}");
    home.traced(&broken, &["add", "new", "--no-start", "--", "/bin/true"]).fails_with(1);
    assert_eq!(manifest("new"), "", "nothing that a recovery could bring back");
}

#[test]
fn a_list_that_cannot_be_read_is_not_one_of_modules_that_are_all_well() {
    let mut hub = web();
    hub.end();
    let list = hub.home.path().join("services.json");
    fs::remove_file(&list).expect("ours");
    fs::create_dir(&list).expect("ours");
    hub.start_again();
    for (args, exit) in [(&["status"][..], 1), (&["status", "--check"], 6)] {
        let done = hub.run(args).fails_with(exit);
        assert!(done.stderr.contains("services.json"), "{args:?}: {done}");
        assert_eq!(done.stdout.matches("is not a regular file").count(), 1, "{args:?}, once: {done}");
    }
    assert_eq!(hub.get("/api/ready").status, 503, "who should run is not known");
    fs::remove_dir(&list).expect("ours");
    hub.home.write("services.json", "{\"services\": []}\n");
    assert_eq!(hub.get("/api/ready").status, 200);
}

#[test]
fn a_token_that_nobody_got_is_good_for_nothing() {
    let hub = web();
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let mut command = hub.home.command(&["auth", "mint-token", "--scope", "scribe:transcribe", "--sub", "lost"]);
    command.stdout(full);
    let done = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("could not be printed and was revoked"), "{said}");
    let listed = hub.run(&["auth", "list-tokens", "--subject", "lost", "--json"]).succeeds().json();
    let tokens = listed["data"]["tokens"].as_array().expect("a list");
    assert_eq!(tokens.len(), 1, "{listed}");
    assert_eq!(tokens[0]["state"], "revoked", "{listed}");
}

#[test]
fn a_manifest_that_cannot_be_read_is_invalid_to_every_verb() {
    let hub = web();
    let file = hub.home.package("web").join(".parachute/module.json");
    let good = fs::read(&file).expect("there");
    fs::write(&file, "{").expect("ours");
    for op in ["start", "restart"] {
        let refused = hub.run(&[op, "web", "--json"]).fails_with(78);
        let told: Value = serde_json::from_str(&refused.stderr).expect("one object");
        assert_eq!(told["error"]["code"], "invalid_config", "{refused}");
        assert!(told["error"]["message"].as_str().is_some_and(|said| said.contains("module.json")), "{refused}");
        let answer = hub.api("POST", &format!("/api/modules/web/{op}"));
        assert_eq!((answer.status, &answer.json()["error"]), (422, &json!("invalid_config")), "{op}");
    }
    fs::write(&file, good).expect("ours");
    hub.run(&["restart", "web"]).succeeds();
}

#[test]
fn what_is_no_program_is_not_called_missing() {
    let home = Home::new();
    home.write("plain", "#!/bin/sh\n");
    let plain = home.path().join("plain").to_string_lossy().into_owned();
    for (program, code, said) in [
        ("/etc", "non_executable", "/etc is not a regular file"),
        (&*plain, "non_executable", "is not executable"),
        ("/no/such/program", "missing_dependency", "there is no /no/such/program"),
    ] {
        let refused = run(&home, &["add", "odd", "--json", "--", program]).fails_with(3);
        let told: Value = serde_json::from_str(&refused.stderr).expect("one object");
        assert_eq!(told["error"]["code"], code, "{refused}");
        assert!(told["error"]["message"].as_str().is_some_and(|message| message.contains(said)), "{refused}");
    }
}

#[test]
fn a_home_that_is_a_file_is_invalid_to_every_verb() {
    let home = Home::new();
    let file = home.path().with_file_name("file");
    fs::write(&file, "precious").expect("ours");
    for args in [&["serve"][..], &["status"], &["check"], &["start"], &["add", "new", "--", "/bin/true"]] {
        let mut command = home.command(args);
        command.env("PARACHUTE_HOME", &file);
        let refused = Finished::run(command).fails_with(78);
        // `check` names the file before it says what is wrong with it.
        let said = format!("{}{}", refused.stdout, refused.stderr).replace(": is not", " is not");
        assert!(said.contains(&format!("{} is not a directory", file.display())), "{refused}");
    }
    assert_eq!(fs::read(&file).expect("there"), b"precious");
}

/// A module that was stopped stays so, whatever hub comes up.
#[test]
fn a_hub_that_is_up_is_not_said_to_have_started_what_was_stopped() {
    let hub = web();
    hub.run(&["stop", "web"]).succeeds();
    let up = hub.run(&["start"]).succeeds();
    assert!(up.stdout.contains("hub is up on ") && up.stdout.contains("parachute status"), "{up}");
    assert!(!up.stdout.contains("every"), "{up}");
}

#[test]
fn a_module_that_is_installed_again_keeps_its_port_and_nobody_is_said_to_have_the_other() {
    let home = Home::new();
    let (manifests, given) = (free_port(), free_port());
    home.install(&module("wiki", testchild(&["sleep"])).manifest("port", json!(manifests)));
    let package = home.package("wiki").to_string_lossy().into_owned();
    run(&home, &["remove", "wiki"]).succeeds();
    let given = given.to_string();
    run(&home, &["install", &package, "--no-start", "--port", &given]).succeeds();
    let again = run(&home, &["install", &package, "--no-start"]).succeeds();
    assert!(again.stdout.contains(&given) && !again.stderr.contains("taken"), "{again}");
    run(&home, &["remove", "wiki"]).succeeds();
    let _holder = TcpListener::bind((Ipv4Addr::LOCALHOST, manifests)).expect("free");
    let elsewhere = run(&home, &["install", &package, "--no-start"]).succeeds();
    assert!(elsewhere.stderr.contains(&format!("port {manifests} is taken")), "{elsewhere}");
}

#[test]
fn who_has_the_port_that_is_asked_for_is_named() {
    let home = Home::new();
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = holder.local_addr().expect("bound").port().to_string();
    let refused = run(&home, &["add", "wiki", "--port", &port, "--", "/bin/true"]).fails_with(7);
    let said = format!("port {port} is already held by process {} (", std::process::id());
    assert!(refused.stderr.contains(&said), "{refused}");
}
