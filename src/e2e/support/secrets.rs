//! No secret of a home anywhere but where it belongs: looked for when a hub of a test ends, whatever the test was about.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Less than any secret has, and more than what a test puts in the place of one.
const SHORTEST_BYTES: usize = 32;

const PID: &str = "hub/run/hub.pid";

/// The operator's token, the keys of the modules that run, and by what the hub proves who it is.
pub(super) fn of(home: &Path) -> Vec<String> {
    let files = holders(home).into_iter().filter(|path| is_file(path));
    let secrets = files.filter_map(|path| {
        let text = fs::read_to_string(&path).ok()?;
        // The words before it are no secrets. A hub of before there were proofs has none.
        let secret = if path.ends_with(PID) { text.split_whitespace().nth(3)? } else { text.trim() };
        Some(secret.to_owned())
    });
    secrets.filter(|secret| secret.len() >= SHORTEST_BYTES).collect()
}

/// Where one of them is found: in what the hub printed, and in other files of the home than their own.
pub(super) fn leaked(secrets: &[String], home: &Path, output: &str) -> Vec<String> {
    if secrets.is_empty() {
        return Vec::new();
    }
    let printed = secrets.iter().filter(|secret| output.contains(secret.as_str()));
    let mut found: Vec<String> = printed.map(|_| "the hub's output".to_owned()).collect();
    let holders = holders(home);
    let files = holding(home, &secrets.join("\n"));
    found.extend(files.into_iter().filter(|file| !holders.iter().any(|holder| Path::new(file) == holder)));
    found
}

fn holders(home: &Path) -> Vec<PathBuf> {
    let modules = fs::read_dir(home).into_iter().flatten().flatten().map(|module| module.path().join("run/hub.key"));
    modules.chain([home.join("operator.token"), home.join(PID)]).collect()
}

/// A test may have put a pipe there.
fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.is_file())
}

/// The regular files below `home` that hold one of the lines of `patterns`.
fn holding(home: &Path, patterns: &str) -> Vec<String> {
    let grep = Command::new("grep")
        .args(["-rlF", "-D", "skip", "-f", "-", "--"])
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
    home.write(PID, &format!("4711 99 {} {}\n", secret('i'), secret('b')));
    let secrets = of(home.path());
    assert_eq!(secrets, [secret('k'), secret('t'), secret('b')], "{secrets:?}");
    assert_eq!(leaked(&secrets, home.path(), "all is well"), [] as [&str; 0]);
    home.write("web/logs/web.log", &format!("said {}", secret('k')));
    let log = home.path().join("web/logs/web.log").to_string_lossy().into_owned();
    let expected = ["the hub's output".to_owned(), log];
    assert_eq!(leaked(&secrets, home.path(), &format!("token {}", secret('t'))), expected);
}
