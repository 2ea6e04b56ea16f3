//! Orders from several callers at once, crashes and killed hubs, in random sequence with real children; and what holds
//! of each module whenever nobody gives any.

use crate::support::{
    Home, Hub, Module, eventually, free_port, http, is_alive, is_free, kill, module, pid_of, testchild,
};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::Path;
use std::thread;

const SEEDS: u64 = 3;
const CALLERS: u64 = 4;
const ORDERS_EACH: usize = 15;
const COMINGS: usize = 6;
/// Exit codes of the command.
const DONE: i32 = 0;
const NOT_STARTED: i32 = 6;
const CONFLICT: i32 = 7;
const NOT_INSTALLED: i32 = 9;
/// What the hub prints while the first few orders are carried out.
const SOME_OUTPUT_BYTES: usize = 1_500;

/// What happens to the hub while it is given orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    None,
    /// KILL, in the middle of it.
    Killed,
    /// The kernel refuses these calls of the hub now and then, in the words of strace(1).
    Refused(&'static str, &'static str),
}

/// The same sequence for the same seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// A command of which every process holds a lock for as long as it lives: a child that comes while one is left says so.
fn alone(name: &str, subcommand: &str, locks: &Path) -> Vec<String> {
    let program = &testchild(&[])[0];
    let lock = locks.join(name);
    let script = format!(
        "exec 9>>{lock:?}; flock -n 9 || echo $$ >>{:?}; exec {program:?} {subcommand}",
        locks.join("overlaps")
    );
    ["/bin/sh", "-c", &script].map(str::to_owned).to_vec()
}

fn modules(locks: &Path) -> Vec<Module> {
    let alone = |name, subcommand| module(name, alone(name, subcommand, locks));
    vec![
        alone("web", "http"),
        alone("late", "bind-late 80"),
        alone("slow", "slow-term 120").run(json!({ "ready": "none" })),
        alone("deaf", "fork-and-ignore-term").run(json!({ "stopTimeoutMs": 100 })),
        alone("daemon", "daemonize stay").run(json!({ "stopTimeoutMs": 300 })),
        alone("chain", "chain 5").run(json!({ "stopTimeoutMs": 100, "dependsOn": ["web"] })),
        alone("crashes", "exit 3 20").run(json!({ "ready": "none" })),
        alone("ends", "exit 0 20").run(json!({ "ready": "none", "restart": "on-failure" })),
    ]
}

/// One caller: orders to modules that it picks, until it is done or the hub is gone.
fn give_orders(hub: &Hub, names: &[String], seed: u64, trouble: Trouble) -> io::Result<()> {
    let mut random = Random::new(seed);
    let token = hub.token();
    let bearer = format!("Bearer {token}");
    let ask = |method: &str, path: &str| http::request(hub.port, method, path, &[("Authorization", &bearer)], b"");
    for turn in 0..ORDERS_EACH {
        let name = &names[random.below(names.len())];
        let context = format!("seed {seed}, turn {turn}, {name}, {trouble:?}");
        let answer = match random.below(8) {
            0..=1 => ask("POST", &format!("/api/modules/{name}/start"))?,
            2..=3 => ask("POST", &format!("/api/modules/{name}/stop"))?,
            4..=5 => ask("POST", &format!("/api/modules/{name}/restart"))?,
            6 => ask("GET", &format!("/api/modules/{name}/logs?after=0"))?,
            _ => {
                let state = ask("GET", &format!("/api/modules/{name}"))?;
                if let Some(pid) = state.json()["pid"].as_u64() {
                    kill(u32::try_from(pid).expect("a pid"), "KILL");
                }
                state
            }
        };
        // 409: it came to nothing, or another caller wanted something else meanwhile; both say how the module is.
        let is_good = matches!(answer.status, 200 | 202 | 409);
        let is_absent = name == "guest" && matches!(answer.status, 400 | 404);
        let is_refused = matches!(trouble, Trouble::Refused(..));
        assert!(is_good || is_absent || is_refused, "{context}: {} {}", answer.status, answer.text());
        assert!(answer.json().is_object(), "{context}: {}", answer.text());
    }
    Ok(())
}

/// Another caller: a module that comes and goes.
fn come_and_go(hub: &Hub, command: &[String], trouble: Trouble) {
    let is_refused = matches!(trouble, Trouble::Refused(..));
    let port = free_port().to_string();
    let add: Vec<&str> =
        ["add", "guest", "--port", &port, "--"].into_iter().chain(command.iter().map(String::as_str)).collect();
    for turn in 0..COMINGS {
        let added = hub.run(&add);
        // Whoever orders something else meanwhile may be the one who is right.
        let is_good = matches!(added.code(), Some(DONE | NOT_STARTED | CONFLICT));
        assert!(is_good || is_refused, "turn {turn}: {added}");
        eventually("the guest removed", || {
            let removed = hub.run(&["remove", "guest"]);
            let is_gone = matches!(removed.code(), Some(DONE | NOT_INSTALLED));
            assert!(is_gone || removed.code() == Some(CONFLICT) || is_refused, "turn {turn}: {removed}");
            is_gone.then_some(())
        });
        eventually("nothing left of the guest", || hub.processes("guest").is_empty().then_some(()));
    }
}

/// What the hub says of a module is so.
fn is_as_said(hub: &Hub, name: &str, context: &str) {
    eventually(&format!("{name} as the hub says ({context})"), || {
        let said = hub.module(name);
        let processes = hub.processes(name);
        let agrees = match said["supervisor_status"].as_str() {
            Some("running") => is_alive(pid_of(&said)) && !processes.is_empty(),
            // One that waits for its next attempt has nothing either.
            Some("stopped" | "crashed") => processes.is_empty() && said["pid"] == Value::Null,
            _ => false,
        };
        // It must not have changed while the processes were looked for.
        (agrees && hub.module(name)["pid"] == said["pid"]).then_some(())
    });
}

fn nothing_overlapped(hub: &Hub, locks: &Path, context: &str) {
    let overlaps = fs::read_to_string(locks.join("overlaps")).unwrap_or_default();
    assert_eq!(overlaps, "", "{context}: children that came while one was left");
    let output = hub.output();
    assert!(!output.contains("panicked") && !output.contains("a bug"), "{context}: {output}");
}

/// Callers give their orders at once, while it happens to the hub.
fn orders(hub: &Hub, names: &[String], locks: &Path, seed: u64, trouble: Trouble) {
    let begun = hub.output().len();
    let refusals = match trouble {
        Trouble::Refused(calls, effect) => Some(hub.inject(calls, effect, &[])),
        Trouble::None | Trouble::Killed => None,
    };
    let everybody: Vec<String> = names.iter().cloned().chain(["guest".to_owned()]).collect();
    thread::scope(|scope| {
        let everybody = &everybody;
        if trouble != Trouble::Killed {
            scope.spawn(|| come_and_go(hub, &alone("guest", "http", locks), trouble));
        }
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| scope.spawn(move || give_orders(hub, everybody, seed * 100 + caller, trouble)))
            .collect();
        if trouble == Trouble::Killed {
            // In the middle of it: each of them is asked for some time.
            eventually("the callers at work", || (hub.output().len() > begun + SOME_OUTPUT_BYTES).then_some(()));
            kill(hub.pid(), "KILL");
        }
        for caller in callers {
            let done = caller.join().expect("no caller met an answer that it should not have");
            assert!(trouble != Trouble::None || done.is_ok(), "seed {seed}: {done:?}");
        }
    });
    if let Some(refusals) = refusals {
        refusals.end();
    }
}

/// Gives orders through each of these troubles, and looks after each of them, and at the end.
fn play(seed: u64, troubles: &[Trouble]) {
    let locks = Home::new();
    let modules = modules(locks.path());
    let names: Vec<String> = modules.iter().map(|module| module.name.clone()).collect();
    let mut hub = Hub::start(&modules);
    for trouble in troubles {
        let context = format!("seed {seed}, {trouble:?}");
        orders(&hub, &names, locks.path(), seed, *trouble);
        if *trouble == Trouble::Killed {
            hub.kill();
            hub.start_again();
        }
        for name in &names {
            is_as_said(&hub, name, &context);
        }
        eventually("the guest forgotten", || (hub.api("GET", "/api/modules/guest").status == 404).then_some(()));
        assert!(hub.processes("guest").is_empty(), "{context}: the guest");
        nothing_overlapped(&hub, locks.path(), &context);
    }
    let context = format!("seed {seed}, at the end");
    for module in &modules {
        let answer = hub.api("POST", &format!("/api/modules/{}/stop", module.name));
        assert_eq!(answer.status, 200, "{context}: {}", answer.text());
        hub.has_nothing_left(&module.name, module.port);
    }
    for name in ["web", "late", "deaf", "daemon", "chain"] {
        let answer = hub.api("POST", &format!("/api/modules/{name}/start"));
        assert_eq!(answer.status, 200, "{context}: {}", answer.text());
        hub.until_ready(name);
    }
    assert!(hub.end().success(), "{context}: {}", hub.output());
    for module in &modules {
        assert!(hub.processes(&module.name).is_empty() && is_free(module.port), "{context}: {}", module.name);
    }
    nothing_overlapped(&hub, locks.path(), &context);
}

#[test]
fn whatever_is_ordered_at_once_no_module_has_two_children_or_none_that_it_should_have() {
    for seed in 1..=SEEDS {
        play(seed, &[Trouble::None, Trouble::Killed]);
    }
}

#[test]
fn whatever_is_ordered_while_descriptors_and_processes_are_short_it_holds_again_afterwards() {
    play(1, &[Trouble::Refused("openat", "error=EMFILE:when=10+7")]);
    play(2, &[Trouble::Refused("pidfd_open", "error=EMFILE:when=1+2")]);
    play(3, &[Trouble::Refused("clone,vfork,clone3", "error=EAGAIN:when=1+3")]);
}

#[test]
fn whatever_is_ordered_while_the_hub_can_hardly_look_or_wait_it_holds_again_afterwards() {
    play(4, &[Trouble::Refused("getdents64", "error=ENOMEM:when=1+2")]);
    play(5, &[Trouble::Refused("newfstatat", "error=EIO:when=5+9")]);
    play(6, &[Trouble::Refused("poll,ppoll", "error=ENOMEM:when=3+7")]);
}
