//! What a child was given is good for nothing once it is dead, although its module comes back.

use crate::support::tokens::{introspect, mint, module_key, web};
use crate::support::{Hub, eventually, kill};

/// How often the machine may have been too slow for anything to be seen between a death and the next child.
const TRIES: usize = 5;

/// C44
#[test]
fn c44_a_dead_childs_key_is_void_before_the_next_child_runs() {
    let seen = (0..TRIES).any(|_| {
        let hub = Hub::start(&[web()]);
        let first = hub.until_ready("web");
        let token = mint(&hub, "web:read");
        // The second death in a row is followed by a longer pause.
        kill(first, "KILL");
        let second = hub.until_replaced("web", first);
        let key = module_key(&hub, "web");
        assert_eq!(introspect(&hub, &key, &token).status, 200);
        kill(second, "KILL");
        eventually("its key is void", || (introspect(&hub, &key, &token).status == 401).then_some(()));
        let module = hub.module("web");
        let is_between = module["pid"].is_null();
        hub.until_replaced("web", second);
        is_between
    });
    assert!(seen, "a key was refused only when the next child ran, {TRIES} times");
}
