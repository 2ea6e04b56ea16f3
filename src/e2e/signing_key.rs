//! A signing key from outside the home.

use crate::support::{Finished, Home, Hub, module, testchild};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const VARIABLE: &str = "PARACHUTE_SIGNING_KEY_FILE";

/// A file beside the home, as a container's secret is.
fn key_file(home: &Home) -> PathBuf {
    let path = home.path().parent().expect("a home is in a directory").join("key");
    fs::write(&path, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n").expect("the directory is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    path
}

#[test]
fn a_home_whose_keys_are_bound_to_a_file_is_of_no_use_without_it() {
    let home = Home::new();
    home.install(&module("web", testchild(&["http"])));
    let file = key_file(&home);
    let named = file.to_str().expect("UTF-8").to_owned();
    let mut hub = Hub::start_in(home, &[(VARIABLE, &named)]);
    let environ = fs::read(format!("/proc/{}/environ", hub.until_ready("web"))).expect("it runs");
    assert!(!String::from_utf8_lossy(&environ).contains(VARIABLE), "no module is told where the key is");
    // Whoever asks the hub needs no key; whoever works on its database does.
    hub.run(&["auth", "list-tokens"]).succeeds();
    let rotate = |named: Option<&str>| {
        let mut command = hub.home.command(&["auth", "rotate-operator"]);
        command.envs(named.map(|named| (VARIABLE, named)));
        Finished::run(command)
    };
    let refused = rotate(None).fails_with(78);
    assert!(refused.stderr.contains(VARIABLE), "{refused}");
    rotate(Some(&named)).succeeds();
    hub.run(&["status"]).succeeds();
    // The hub that runs has it.
    let look = |hub: &Hub, named: Option<&str>| {
        ["check", "doctor"].map(|verb| {
            let mut command = hub.home.command(&[verb]);
            command.envs(named.map(|named| (VARIABLE, named)));
            Finished::run(command)
        })
    };
    look(&hub, None).into_iter().for_each(|told| drop(told.succeeds()));

    hub.end();
    look(&hub, Some(&named)).into_iter().for_each(|told| drop(told.succeeds()));
    for told in look(&hub, None) {
        assert!(told.code() != Some(0) && told.stdout.contains(VARIABLE), "{told}");
    }
    let refused = Finished::run(hub.home.command(&["serve", "--port", "0"])).fails_with(78);
    assert!(refused.stderr.contains(VARIABLE), "{refused}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let mut open = hub.home.command(&["serve", "--port", "0"]);
    open.env(VARIABLE, &named);
    let refused = Finished::run(open).fails_with(78);
    assert!(refused.stderr.contains("chmod 0600"), "{refused}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let token = hub.token();
    hub.start_again();
    hub.run(&["status"]).succeeds();
    assert!(hub.token() == token, "the token that it had is good still");
}
