//! No secret of a home anywhere but where it belongs: looked for when a hub of a test ends, and in what every command
//! prints, whatever the test was about.

use super::process::with_home;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Less than any secret has, and more than what a test puts in the place of one.
const SHORTEST_BYTES: usize = 32;

const PID: &str = "hub/run/hub.pid";
const VERIFY_KEYS: &str = "run/verify-keys.json";
/// The key of an earlier child, at the place that it had for its time.
const SPARE_KEY: &str = "run/hub.key.spare";

/// How every token of a hub begins: `{"alg":"HS256","typ":"JWT","kid":"`, in base64url,
/// but for the end, which depends on what follows.
const TOKEN_START: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6I";
/// Of a SHA-256 MAC in base64url; without it a token is good for nothing.
const MAC_CHARS: usize = 43;
/// Of 32 bytes in base64url.
const KEY_CHARS: usize = 43;

/// The secrets of each home that were met: keys of earlier children, and what is shown once and stands in no file.
static MET: Mutex<BTreeMap<PathBuf, BTreeSet<String>>> = Mutex::new(BTreeMap::new());

/// From now on none of `secrets` may be anywhere in this home, or in what is printed there.
pub(crate) fn remember(home: &Path, secrets: impl IntoIterator<Item = String>) {
    let mut met = MET.lock().unwrap_or_else(PoisonError::into_inner);
    let secrets = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST_BYTES);
    met.entry(home.to_owned()).or_default().extend(secrets);
}

/// All that there are, and all that were met so far.
pub(super) fn of(home: &Path) -> Vec<String> {
    remember(home, current(home));
    let met = MET.lock().unwrap_or_else(PoisonError::into_inner);
    met.get(home).into_iter().flatten().cloned().collect()
}

/// No test has this home any more.
pub(super) fn forget(home: &Path) {
    MET.lock().unwrap_or_else(PoisonError::into_inner).remove(home);
}

/// The master secrets of the hub's tokens, as text: nobody is ever shown one. Empty where no database can be read.
pub(super) fn masters(home: &Path) -> Vec<String> {
    let database = home.join("hub.db");
    if !is_file(&database) {
        return Vec::new();
    }
    let script = "import base64, sqlite3, sys\n\
        db = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)\n\
        for secret, in db.execute('SELECT secret FROM hs_keys WHERE state <> \"dead\"'):\n    \
        text = base64.urlsafe_b64encode(secret).decode()\n    \
        print(text.rstrip('='), base64.b64encode(secret).decode().rstrip('='), secret.hex(), secret.hex().upper())";
    let mut python = Command::new("/usr/bin/python3");
    let read = python.args(["-I", "-S", "-c", script]).arg(database).stderr(Stdio::null()).output();
    let read = read.map(|done| done.stdout).unwrap_or_default();
    String::from_utf8_lossy(&read).split_whitespace().map(str::to_owned).collect()
}

/// The operator's token, the keys of the modules that run, those that they check tokens with, and by what the hub proves
/// who it is.
fn current(home: &Path) -> Vec<String> {
    let files = holders(home).into_iter().filter(|path| is_file(path));
    let secrets = files.flat_map(|path| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        if path.ends_with(PID) {
            // The words before it are no secrets. A hub of before there were proofs has none.
            return text.split_whitespace().nth(3).map(str::to_owned).into_iter().collect();
        }
        if path.ends_with(VERIFY_KEYS) {
            return keys_in(&text);
        }
        vec![text.trim().to_owned()]
    });
    secrets.filter(|secret| secret.len() >= SHORTEST_BYTES).collect()
}

fn keys_in(verify_keys: &str) -> Vec<String> {
    let document: serde_json::Value = serde_json::from_str(verify_keys).unwrap_or_default();
    let keys = document["keys"].as_array().into_iter().flatten();
    keys.filter_map(|key| key["k"].as_str().map(str::to_owned)).collect()
}

/// Where one of them or any token is found, minted, replaced or expired: in what the hub printed, and in other files of
/// the home than their own.
pub(super) fn leaked(secrets: &[String], home: &Path, output: &str) -> Vec<String> {
    let printed = holds(secrets, output);
    let mut found: Vec<String> = printed.then(|| "the hub's output".to_owned()).into_iter().collect();
    let holders = holders(home);
    let belongs =
        |file: &String| holders.iter().any(|holder| Path::new(file) == holder || is_left_of(Path::new(file), holder));
    let token = format!("{TOKEN_START}[A-Za-z0-9_-]+[.][A-Za-z0-9_-]+[.][A-Za-z0-9_-]{{{MAC_CHARS}}}");
    for (kind, patterns) in [("-F", secrets.join("\n")), ("-E", token)] {
        let files = holding(home, kind, &patterns);
        found.extend(files.into_iter().filter(|file| !belongs(file)));
    }
    found.dedup();
    found
}

/// What a writer that was killed left beside the file that it wrote, the new content or the old: as private as that.
fn is_left_of(file: &Path, written: &Path) -> bool {
    let name = written.file_name().unwrap_or_default().to_string_lossy();
    let is_named_so = file.file_name().is_some_and(|left| left.to_string_lossy().starts_with(&format!(".{name}.")));
    let is_private = || fs::metadata(file).is_ok_and(|facts| facts.permissions().mode() & 0o077 == 0);
    file.parent() == written.parent() && is_named_so && is_private()
}

/// Whether one of them or any token is in `text`.
fn holds(secrets: &[String], text: &str) -> bool {
    secrets.iter().any(|secret| text.contains(secret.as_str())) || has_token(text)
}

/// Where one of them or any token is found in arguments and environments: everybody on the machine, or every process of
/// the same user, can read those.
pub(super) fn carried(secrets: &[String], home: &Path) -> Vec<String> {
    let living = with_home(home).into_iter().flat_map(|(pid, _)| ["cmdline", "environ"].map(|name| (pid, name)));
    let text = |pid: u32, name: &str| {
        // One that ends meanwhile has nothing any more.
        String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default()).into_owned()
    };
    let carries = living.filter(|(pid, name)| holds(secrets, &text(*pid, name)));
    carries.map(|(pid, name)| format!("{name} of process {pid}")).collect()
}

/// Checks what a call of the binary has printed, unless to print a secret is what it is for.
#[track_caller]
pub(super) fn not_printed(command: &Command, stdout: &str, stderr: &str) {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let is_ours = command.get_program().to_str() == Some(env!("CARGO_BIN_EXE_parachute"));
    let is_for_it = words.iter().any(|word| matches!(&**word, "mint-token" | "module-key"));
    let home = command.get_envs().find(|(name, _)| *name == "PARACHUTE_HOME").and_then(|(_, home)| home);
    let Some(home) = home.filter(|_| is_ours).map(Path::new) else { return };
    let secrets = of(home);
    for (place, text) in [("stdout", stdout), ("stderr", stderr)] {
        let is_meant = is_for_it && place == "stdout";
        assert!(is_meant || !holds(&secrets, text), "a secret is on {place} of {words:?}:\n{text}");
    }
    remember(home, shown_once(&words, stdout));
}

/// What a command has printed because that is what it is for, and what is nowhere else to be found in the clear.
fn shown_once(words: &[Cow<'_, str>], stdout: &str) -> Option<String> {
    let start = match words {
        _ if words.iter().any(|word| word == "module-key") => "",
        _ if words.iter().any(|word| word == "open") => "/admin/login?code=",
        _ => return None,
    };
    let at = stdout.find(start)? + start.len();
    let rest = &stdout[at..];
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let key = &rest[..rest.find(|c| !is_of_key(c)).unwrap_or(rest.len())];
    (key.len() == KEY_CHARS).then(|| key.to_owned())
}

fn has_token(text: &str) -> bool {
    text.match_indices(TOKEN_START).any(|(at, _)| {
        let mut parts = text[at..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
        parts.nth(2).is_some_and(|mac| mac.len() >= MAC_CHARS)
    })
}

fn holders(home: &Path) -> Vec<PathBuf> {
    let modules = fs::read_dir(home).into_iter().flatten().flatten().map(|module| module.path());
    let modules = modules.flat_map(|module| ["run/hub.key", SPARE_KEY, VERIFY_KEYS].map(|name| module.join(name)));
    modules.chain([home.join("operator.token"), home.join(PID)]).collect()
}

/// A test may have put a pipe there.
fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.is_file())
}

/// The regular files below `home` that hold one of the lines of `patterns`, which are texts (`-F`) or expressions (`-E`).
fn holding(home: &Path, kind: &str, patterns: &str) -> Vec<String> {
    if patterns.is_empty() {
        return Vec::new();
    }
    let grep = Command::new("grep")
        .args(["-rl", kind, "-D", "skip", "-f", "-", "--"])
        .arg(home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut grep = grep.expect("grep runs");
    let mut patterns_in = grep.stdin.take().expect("it was asked for");
    patterns_in.write_all(patterns.as_bytes()).expect("grep reads its patterns first");
    drop(patterns_in);
    let done = grep.wait_with_output().expect("grep ends");
    String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn a_secret_at_a_wrong_place_would_be_found() {
    let home = super::Home::new();
    let secret = |name: char| name.to_string().repeat(SHORTEST_BYTES);
    home.write("operator.token", &format!("{}\n", secret('t')));
    home.write("web/run/hub.key", &format!("{}\n", secret('k')));
    home.write(&format!("web/{VERIFY_KEYS}"), &format!(r#"{{"keys":[{{"kid":"1","k":"{}"}}]}}"#, secret('v')));
    home.write(PID, &format!("4711 99 {} {}\n", secret('i'), secret('b')));
    let mut secrets = of(home.path());
    secrets.sort();
    assert_eq!(secrets, [secret('b'), secret('k'), secret('t'), secret('v')], "{secrets:?}");
    let nothing: [&str; 0] = [];
    assert_eq!(leaked(&secrets, home.path(), "all is well"), nothing);
    let token = format!("{TOKEN_START}mE.eyJ2Ijox.{}", "m".repeat(MAC_CHARS));
    let place = home.path().join("web/logs/web.log").to_string_lossy().into_owned();
    for text in [secret('k'), token.clone()] {
        home.write("web/logs/web.log", &format!("said {text}"));
        let printed = format!("token {text}.");
        assert_eq!(leaked(&secrets, home.path(), &printed), ["the hub's output", place.as_str()], "{text}");
    }
    let mut command = home.command(&["status"]);
    for text in [secret('k'), token.clone()] {
        let printed = std::panic::catch_unwind(|| not_printed(&home.command(&["status"]), "", &text));
        assert!(printed.is_err(), "{text}");
        not_printed(&home.command(&["auth", "mint-token"]), &text, "");
    }
    not_printed(&command, "all is well", "");
    // Arguments and environment of a living process of this home.
    command = Command::new("/bin/sh");
    command.args(["-c", "echo ready; read -r word", &token]).env("PARACHUTE_HOME", home.path()).env("KEY", secret('k'));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut living = command.spawn().expect("a shell");
    let mut said = [0; 6];
    living.stdout.take().expect("asked for").read_exact(&mut said).expect("it is there");
    let found = carried(&secrets, home.path());
    drop(living.stdin.take());
    living.wait().expect("it ends");
    assert_eq!(found, ["cmdline", "environ"].map(|name| format!("{name} of process {}", living.id())));
    let cut = &token[..token.len() - 1];
    home.write("web/logs/web.log", &format!("said {cut}"));
    assert_eq!(leaked(&secrets, home.path(), cut), nothing, "nobody can use it");
}

#[test]
fn what_was_replaced_or_shown_once_and_what_nobody_is_shown_would_be_found_too() {
    let hub = super::Hub::start(&[super::module("web", super::testchild(&["http"]))]);
    let pid = hub.until_ready("web");
    let key = hub.home.read("web/run/hub.key").trim().to_owned();
    hub.run(&["restart", "web"]).succeeds();
    hub.until_replaced("web", pid);
    let external = hub.run(&["auth", "module-key", "web"]).succeeds().stdout.trim().to_owned();
    let opened = hub.run(&["open"]).succeeds().stdout;
    let code = opened.split_once("code=").expect("an address").1[..KEY_CHARS].to_owned();
    let masters = masters(hub.home.path());
    assert_eq!(masters.len(), 4, "one key, in the four ways to write it");
    let secrets = [of(hub.home.path()), masters.clone()].concat();
    for secret in [key, external, code].iter().chain(&masters) {
        let found = leaked(&secrets, hub.home.path(), &format!("said {secret}."));
        assert_eq!(found, ["the hub's output"], "{} characters", secret.len());
    }
}
