//! `doctor`: what `check` finds in the files, what only shows beside them and in the running hub, and, with `--fix`,
//! mending what can be mended without losing anything.

mod auth;

use super::check::{self, Findings};
use super::remove;
use crate::cli::exit::{Exit, Failure};
use crate::cli::out::{Out, Report, printable};
use crate::cli::reach::{self, HEALTH_TIMEOUT};
use crate::client::{Client, ClientError};
use crate::config::Config;
use crate::db;
use crate::manifest::Problem;
use crate::manifest::services::Listing;
use crate::store::identity::{self, HubLock};
use crate::store::services::{EditError, Services};
use crate::store::{Create, Home, StoreError, atomic, private};
use crate::sys::fs;
use crate::wire::Code;
use serde_json::{Value, json};
use std::path::Path;
use std::time::SystemTime;

/// Files that hold secrets, beside every module's `.env`.
const SECRETS: &[&str] = &["operator.token", "hub.db", "hub.db-wal", "hub.db-shm"];

pub(super) fn run(fix: bool, config: &Config, out: &mut Out) -> Result<Report, Failure> {
    let mended = if fix { mend(config) } else { Vec::new() };
    for line in &mended {
        out.done(&format!("✓ mended: {}", printable(line)));
    }
    let (mut findings, home) = check::files(config);
    if let Some(home) = &home {
        beside(home, &mut findings);
        if !findings.is_bad(&home.path().join("hub.db")) {
            auth::files(home, config, &mut findings);
        }
        hub(home, config, &mut findings);
    }
    let findings = findings.at_home(out);
    out.data(&findings.text(config));
    let mut data = findings.data(config);
    if let Value::Object(data) = &mut data {
        data.insert("mended".into(), json!(mended));
    }
    let wrong = findings.invalid();
    let failure = (wrong > 0).then(|| {
        let plural = if wrong == 1 { "" } else { "s" };
        let hint = match fix {
            true => "what is left needs a decision; correct it, then: parachute doctor",
            false => "correct it; what is safe to mend is mended by: parachute doctor --fix",
        };
        Failure::new(Code::InvalidConfig, format!("{wrong} problem{plural} found"), hint).with_exit(Exit::Unhealthy)
    });
    Ok(Report { data, failure })
}

/// What a look at the single files does not show.
fn beside(home: &Home, findings: &mut Findings) {
    let names = fs::names(home.path()).unwrap_or_default();
    for name in names.iter().filter(|name| name.to_string_lossy().contains(".corrupt-")) {
        findings.note(&home.path().join(name), "could not be used and was kept; look at it, then move it away");
    }
}

/// Whether the hub that the files name is there, is this home's, and takes the operator's token.
fn hub(home: &Home, config: &Config, findings: &mut Findings) {
    let file = home.run_dir().join("hub.port");
    let Some(identity) = identity::read(home) else {
        if let Some((file, pid)) = identity::living(home) {
            return findings.bad(&file, &ClientError::CutOff { pid }.to_string());
        }
        // A hub of another home on our port is in the way of the next start.
        if let Err(ClientError::WrongHub { found: Some(_), .. }) = Client::reach(config.port, None, HEALTH_TIMEOUT) {
            findings.note(
                home.path(),
                &format!("its hub is down, and another hub has port {}; stop that one or set PORT", config.port),
            );
        }
        return;
    };
    match reach::hub(home, HEALTH_TIMEOUT) {
        Ok(Some(up)) => auth::running(home, config, up, findings),
        Ok(None) => findings.note(
            &file,
            &format!("names a hub (pid {}) that is gone; the next parachute serve replaces it", identity.pid),
        ),
        Err(error) => findings.bad(&file, &error.to_string()),
    }
}

/// Mends, one after the other, and says what; what fails shows in the look that follows.
fn mend(config: &Config) -> Vec<String> {
    let mut mended = Vec::new();
    let Ok(home) = Home::open(&config.home, Create::No) else { return mended };
    if home.make_private().unwrap_or(false) {
        mended.push(format!("{}: nobody else may write it any more", home.path().display()));
    }
    // Who may read another program's database is for that one to say.
    let is_foreign = db::verify(&home.path().join("hub.db")).is_err_and(|error| error.is_foreign());
    for name in SECRETS.iter().filter(|name| !(is_foreign && name.starts_with("hub.db"))) {
        tighten(&home, Path::new(name), &mut mended);
    }
    recover(&home, &mut mended);
    if let Ok(document) = Services::new(home.clone()).read() {
        for short in document.entries().iter().filter_map(|entry| entry.short.as_ref()) {
            tighten(&home, &Path::new(short.as_str()).join(".env"), &mut mended);
        }
    }
    set_aside_obsolete(&home, &mut mended);
    if let Ok(swept @ 1..) = atomic::sweep(&home, SystemTime::now(), atomic::Sweep::Everywhere) {
        mended.push(format!("{}: {swept} files of writers that died are gone", home.path().display()));
    }
    if let Some(identity) = identity::read(&home)
        && let Ok(_nobody_else) = HubLock::acquire(&home)
        && identity::clear(&home, &identity.instance).is_ok()
    {
        mended.push(format!("{}: it named a hub that is gone", home.run_dir().display()));
    }
    mended
}

fn tighten(home: &Home, relative: &Path, mended: &mut Vec<String>) {
    if let Ok(Some(mode)) = private::tighten(home, relative) {
        mended.push(format!("{}: mode {mode:04o} is now 0600", home.path().join(relative).display()));
    }
}

/// A list of modules that cannot be used is kept aside, and its backup takes its place.
fn recover(home: &Home, mended: &mut Vec<String>) {
    let services = Services::new(home.clone());
    if matches!(services.read(), Err(StoreError::Syntax { .. })) {
        // What fails shows in the look that follows.
        let _ = services.edit(|_| Ok(()));
        mended.extend(services.take_recoveries().iter().map(ToString::to_string));
    }
}

/// Rows that can never be used again are kept aside; and a list without a backup gets one.
fn set_aside_obsolete(home: &Home, mended: &mut Vec<String>) {
    let services = Services::new(home.clone());
    let file = home.services_json();
    if !file.exists() {
        return;
    }
    let mut kept = Vec::new();
    let outcome = services.edit(|document| {
        let taken = document.take_obsolete();
        let new: Vec<Value> = taken.iter().filter(|row| !kept.contains(*row)).cloned().collect();
        // Before the rows are gone: they are in one place at least.
        if let Err(error) = remove::keep(home, &new) {
            return Err(Problem::new("", error.to_string()));
        }
        kept.extend(new);
        Ok(taken.len())
    });
    match outcome {
        Ok(taken @ 1..) => mended.push(format!("{}: {taken} obsolete rows are kept aside", file.display())),
        Ok(_) | Err(EditError::Store(_) | EditError::Refused(_)) => {}
    }
    if let Ok(document) = services.read()
        && !document.entries().is_empty()
        && !home.path().join("services.json.bak").exists()
        && services.save_backup(&Listing::default()).is_ok()
    {
        mended.push(format!("{}: it has a backup now", file.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::tests::pages;
    use crate::store::identity::Identity;
    use crate::sys::testdir::TestDir;
    use std::os::unix::fs::PermissionsExt;

    fn config(home: &Path) -> Config {
        let variables = [("PARACHUTE_HOME", home.as_os_str().to_owned()), ("PORT", "1".into())];
        Config::from_environment(variables.map(|(name, value)| (name.into(), value)).into()).expect("a configuration")
    }

    fn doctor(fix: bool, home: &Path) -> (Report, String) {
        let (mut out, page, _) = pages(false, false);
        let report = run(fix, &config(home), &mut out).unwrap_or_else(|failure| panic!("{}", failure.message));
        (report, page.text())
    }

    fn put(path: &Path, text: &str, mode: u32) {
        std::fs::create_dir_all(path.parent().expect("below")).expect("made");
        std::fs::write(path, text).expect("written");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    }

    #[test]
    fn a_missing_and_a_fresh_home_are_well() {
        let dir = TestDir::new("doctor");
        for home in [dir.join("missing"), dir.path().to_owned()] {
            let (report, text) = doctor(false, &home);
            assert_eq!(report.failure, None, "{text}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 0, "looking changes nothing");
    }

    #[test]
    fn fix_mends_what_loses_nothing_and_says_what_is_left() {
        let dir = TestDir::new("doctor-fix");
        let row = |name: &str, port: u16| json!({"name": name, "port": port, "paths": [format!("/{name}")], "health": "/", "version": ""});
        let rows = [row("wiki", 3000), row("parachute-wiki", 3000), row("agent", 1944), row("other", 3000)];
        put(&dir.join("services.json"), &json!({"services": rows}).to_string(), 0o644);
        put(&dir.join("operator.token"), "a.b.c\n", 0o644);
        put(&dir.join("wiki/.env"), "A=1\n", 0o666);
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("set");
        let mode = |name: &str| std::fs::metadata(dir.join(name)).expect("there").permissions().mode() & 0o777;

        let (report, text) = doctor(false, dir.path());
        assert_eq!(report.failure.as_ref().map(|failure| failure.exit.number()), Some(6), "{text}");
        assert_eq!((mode("operator.token"), mode("wiki/.env")), (0o644, 0o666), "looking changes nothing");

        let (report, text) = doctor(true, dir.path());
        assert_eq!((mode(""), mode("operator.token"), mode("wiki/.env")), (0o700, 0o600, 0o600), "{text}");
        let removed = std::fs::read_to_string(dir.join("services.json.removed")).expect("kept");
        assert_eq!(removed, format!("{}\n{}\n", row("wiki", 3000), row("agent", 1944)), "{text}");
        // Which of two modules a port belongs to is nobody's guess.
        assert!(text.contains("other"), "{text}");
        assert!(report.failure.is_some(), "{text}");
        let mended = report.data.pointer("/mended").and_then(Value::as_array).map(Vec::len);
        assert_eq!(mended, Some(5), "{text}");

        let (report, text) = doctor(true, dir.path());
        assert_eq!(report.data.pointer("/mended"), Some(&json!([])), "a second time there is nothing to mend: {text}");
    }

    #[test]
    fn an_unusable_list_gets_its_backup_back() {
        let dir = TestDir::new("doctor-list");
        let row = json!({"name": "wiki", "port": 3000, "paths": [], "health": "/", "version": ""});
        put(&dir.join("services.json.bak"), &json!({"services": [row]}).to_string(), 0o600);
        put(&dir.join("services.json"), "{\"services\":[", 0o600);
        let (_, text) = doctor(false, dir.path());
        let file = dir.join("services.json").display().to_string();
        assert!(text.contains(&format!("✗ {file}: cannot be used: ")), "the file is named once: {text}");
        let (report, text) = doctor(true, dir.path());
        assert!(text.contains("its backup took its place"), "{text}");
        assert!(text.contains("could not be used and was kept"), "{text}");
        // Nothing says how to start this one.
        assert!(report.failure.is_some_and(|failure| failure.message == "1 problem found"), "{text}");
        assert!(std::fs::read_to_string(dir.join("services.json")).expect("there").contains("wiki"));
    }

    #[test]
    fn a_damaged_database_and_a_hub_that_is_gone_are_told() {
        let dir = TestDir::new("doctor-db");
        put(&dir.join("hub.db"), &"x".repeat(8192), 0o600);
        let home = Home::open(dir.path(), Create::No).expect("a home");
        let gone = Identity {
            instance: "gone".into(),
            secret: None,
            pid: 1,
            start_ticks: 1,
            port: 1,
            started_at: Some("2026-05-20T10:00:00.000Z".into()),
        };
        identity::publish(&home, &gone).expect("published");
        let (report, text) = doctor(false, dir.path());
        assert!(report.failure.is_some() && text.contains("hub.db"), "{text}");
        for line in text.lines() {
            let (_, file) = line.split_once(' ').expect("a mark");
            let (file, text) = file.split_once(": ").expect("a file");
            assert!(!text.starts_with(file), "{line}");
        }
        assert!(text.contains("names a hub (pid 1) that is gone"), "{text}");
        let (_, text) = doctor(true, dir.path());
        assert!(text.contains("it named a hub that is gone"), "{text}");
        assert_eq!(identity::read(&home), None);
        assert_eq!(std::fs::read(dir.join("hub.db")).expect("there"), [b'x'; 8192], "a database is not mended");
    }
}
