//! The keys by which a module checks tokens itself: who has them, and until when.

use crate::support::{Home, Hub, eventually, module, testchild};
use serde_json::{Value, json};

const FILE: &str = "web/run/verify-keys.json";

/// The numbers of the keys in the file, with their end.
fn keys(hub: &Hub) -> Vec<(String, Option<i64>)> {
    let file: Value = serde_json::from_str(&hub.home.read(FILE)).expect("JSON");
    let keys = file["keys"].as_array().expect("a list").iter();
    keys.map(|key| (key["kid"].as_str().expect("a number").to_owned(), key["until"].as_i64())).collect()
}

fn is_there(hub: &Hub) -> bool {
    hub.home.path().join(FILE).exists()
}

#[test]
fn a_module_has_keys_to_check_with_for_as_long_as_it_is_to_and_knows_their_end() {
    let web = |verify: bool| module("web", testchild(&["sleep"])).run(json!({"ready": "none", "verifyKeys": verify}));
    let home = Home::new();
    home.install(&web(true));
    let hub = Hub::start_in(home, &[]);
    eventually("the first keys", || is_there(&hub).then_some(()));
    let before = keys(&hub);
    assert!(matches!(&before[..], [(_, None)]), "{before:?}");
    let minted = hub.run(&["auth", "mint-token", "--scope", "web:read"]).succeeds();
    assert!(!minted.stdout.is_empty());
    let list = |hub: &Hub| hub.get("/.well-known/parachute-revocation.json").json()["jtis"].clone();
    assert_eq!(list(&hub), json!([]));

    let rotated = hub.run(&["auth", "rotate-key", "--grace", "1s", "--json"]).succeeds().json();
    assert_eq!(rotated["data"]["verify_keys"], json!(["web"]));
    let ending = &rotated["data"]["ending_early"][0]["jti"];
    eventually("the end of the token's key, told to whoever checks by itself", || {
        list(&hub).as_array().is_some_and(|jtis| jtis.contains(ending)).then_some(())
    });
    // Whoever shows a token next makes the hub look.
    hub.run(&["auth", "list-tokens"]).succeeds();
    let after = keys(&hub);
    assert!(matches!(&after[..], [(kid, None)] if *kid == rotated["data"]["kid"]), "{after:?}");

    // The setting is taken back while the child runs: it gets no new keys, and the old ones go.
    hub.home.install(&web(false));
    let rotated = hub.run(&["auth", "rotate-key", "--json"]).succeeds().json();
    assert_eq!((&rotated["data"]["verify_keys"], is_there(&hub)), (&json!([]), false));

    hub.home.install(&web(true));
    hub.run(&["restart", "web"]).succeeds();
    assert!(is_there(&hub));
    hub.run(&["remove", "web"]).succeeds();
    assert!(!is_there(&hub), "nobody is left to check anything");
}
