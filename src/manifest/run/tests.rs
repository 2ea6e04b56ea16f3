use super::*;
use serde_json::json;

#[test]
fn nothing_said_means_the_defaults() {
    let run = Run::resolve(None, None).expect("defaults");
    assert_eq!(run, Run::default());
    let expected = Run {
        restart: Restart::Always,
        give_up: false,
        stop_signal: StopSignal::Term,
        stop_timeout: Duration::from_secs(5),
        depends_on: Vec::new(),
        ready: Ready { probe: Probe::Port, timeout: Duration::from_secs(4) },
        live: None,
        essential: false,
        limits: Limits::default(),
        user: None,
        group: None,
        umask: None,
        cwd: None,
        logs: LogSettings { max_bytes: 2_097_152, files: 5, file: true, console: true },
        env: EnvSettings { inherit: true, set: Vec::new() },
        watch: Vec::new(),
        hold: Duration::from_secs(5),
        hub_credentials: false,
        verify_keys: false,
        proof_headers: false,
    };
    assert_eq!(run, expected);
    assert_eq!(Run::resolve(Some(&json!({})), Some(&json!({}))), Ok(run));
    let (interval, timeout) = (Duration::from_secs(10), Duration::from_secs(1));
    let looked_at = Run::resolve(Some(&json!({ "live": {} })), None).expect("good settings").live;
    assert_eq!(looked_at, Some(Live { probe: Probe::Http, interval, timeout, failures: 3 }));
}

#[test]
fn every_key_is_read() {
    let all = json!({
        "restart": "on-failure", "giveUp": true, "stopSignal": "SIGINT", "stopTimeoutMs": 0,
        "dependsOn": ["vault", "notes"], "ready": { "probe": "http", "timeoutMs": 100 },
        "live": { "probe": "port", "intervalMs": 500, "timeoutMs": 50, "failures": 7 },
        "essential": true,
        "limits": { "nofile": 1024, "core": 0, "fsize": 1, "as": 2, "nproc": 3, "cpu": 4, "memlock": 5, "stack": 6 },
        "user": "nobody", "group": "nogroup", "umask": "027", "cwd": "/srv",
        "logs": { "maxBytes": 65536, "files": 1, "file": false, "console": false },
        "env": { "inherit": false, "set": { "A": "1", "B": "" } }, "watch": ["config.json"],
        "holdMs": 7, "hubCredentials": true, "verifyKeys": true,
        "proofHeaders": true
    });
    let expected = Run {
        restart: Restart::OnFailure,
        give_up: true,
        stop_signal: StopSignal::Int,
        stop_timeout: Duration::ZERO,
        depends_on: ["vault", "notes"].map(|name| Short::parse(name).expect("a short")).to_vec(),
        ready: Ready { probe: Probe::Http, timeout: Duration::from_millis(100) },
        live: Some(Live {
            probe: Probe::Port,
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(50),
            failures: 7,
        }),
        cwd: Some("/srv".into()),
        essential: true,
        limits: Limits {
            nofile: Some(1024),
            core: Some(0),
            fsize: Some(1),
            as_bytes: Some(2),
            nproc: Some(3),
            cpu: Some(4),
            memlock: Some(5),
            stack: Some(6),
        },
        user: Some("nobody".into()),
        group: Some("nogroup".into()),
        umask: Some(0o027),
        logs: LogSettings { max_bytes: 65536, files: 1, file: false, console: false },
        env: EnvSettings { inherit: false, set: vec![("A".into(), "1".into()), ("B".into(), String::new())] },
        watch: vec!["config.json".into()],
        hold: Duration::from_millis(7),
        hub_credentials: true,
        verify_keys: true,
        proof_headers: true,
    };
    assert_eq!(Run::resolve(Some(&all), None), Ok(expected.clone()));
    assert_eq!(Run::resolve(None, Some(&all)), Ok(expected));
}

#[test]
fn every_signal_has_its_name() {
    for (name, expected) in [
        ("TERM", StopSignal::Term),
        ("INT", StopSignal::Int),
        ("HUP", StopSignal::Hup),
        ("QUIT", StopSignal::Quit),
        ("USR1", StopSignal::Usr1),
        ("USR2", StopSignal::Usr2),
        ("KILL", StopSignal::Kill),
        ("WINCH", StopSignal::Winch),
    ] {
        for name in [name.to_owned(), format!("SIG{name}")] {
            let run = Run::resolve(Some(&json!({ "stopSignal": name })), None).expect("a signal");
            assert_eq!(run.stop_signal, expected, "{name}");
        }
    }
}

/// The least and the most of what may be said.
#[test]
fn a_value_at_its_limit_is_good() {
    for layer in [
        json!({ "umask": "0" }),
        json!({ "umask": "0777" }),
        json!({ "ready": { "timeoutMs": 1 } }),
        json!({ "live": { "timeoutMs": 1, "failures": 1 } }),
        json!({ "logs": { "files": 1 } }),
        json!({ "env": { "set": { "_": "", "a1_": "" } } }),
    ] {
        assert!(Run::resolve(Some(&layer), None).is_ok(), "{layer}");
    }
}

#[test]
fn the_row_wins_key_by_key() {
    let manifest = json!({
        "restart": "never", "giveUp": true, "ready": { "probe": "http", "timeoutMs": 9 }, "live": "http",
        "limits": { "nofile": 1, "core": 2 }, "env": { "set": { "A": "1", "B": "2" } }, "dependsOn": ["vault"]
    });
    let row = json!({
        "restart": "always", "ready": "none", "live": "none", "limits": { "core": 3 },
        "env": { "set": { "B": "3", "C": "4" } }, "dependsOn": []
    });
    let run = Run::resolve(Some(&manifest), Some(&row)).expect("good settings");
    assert_eq!((run.restart, run.give_up, run.live), (Restart::Always, true, None));
    assert_eq!(run.ready, Ready { probe: Probe::None, timeout: Duration::from_millis(9) });
    assert_eq!(run.limits, Limits { nofile: Some(1), core: Some(3), ..Limits::default() });
    assert_eq!(run.env.set, [("A", "1"), ("B", "3"), ("C", "4")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    assert!(run.env.inherit && run.depends_on.is_empty());
}

#[test]
fn a_bad_value_names_its_key() {
    for (layer, field) in [
        (json!([]), "run"),
        (json!(null), "run"),
        (json!({ "restarts": "never" }), "run.restarts"),
        (json!({ "restart": "sometimes" }), "run.restart"),
        (json!({ "restart": null }), "run.restart"),
        (json!({ "giveUp": 1 }), "run.giveUp"),
        (json!({ "stopSignal": "STOP" }), "run.stopSignal"),
        (json!({ "stopSignal": 15 }), "run.stopSignal"),
        (json!({ "stopTimeoutMs": -1 }), "run.stopTimeoutMs"),
        (json!({ "stopTimeoutMs": 3_600_001 }), "run.stopTimeoutMs"),
        (json!({ "stopTimeoutMs": "5s" }), "run.stopTimeoutMs"),
        (json!({ "dependsOn": "vault" }), "run.dependsOn"),
        (json!({ "dependsOn": ["vault", "../x"] }), "run.dependsOn[1]"),
        (json!({ "ready": "tcp" }), "run.ready"),
        (json!({ "ready": { "probe": "tcp" } }), "run.ready.probe"),
        (json!({ "ready": { "timeoutMs": 0 } }), "run.ready.timeoutMs"),
        (json!({ "ready": { "timeout": 1 } }), "run.ready.timeout"),
        (json!({ "live": true }), "run.live"),
        (json!({ "live": { "failures": 0 } }), "run.live.failures"),
        (json!({ "live": { "timeoutMs": 0 } }), "run.live.timeoutMs"),
        (json!({ "live": { "intervalMs": 1 } }), "run.live.intervalMs"),
        (json!({ "essential": "yes" }), "run.essential"),
        (json!({ "limits": { "files": 1 } }), "run.limits.files"),
        (json!({ "limits": { "nofile": -1 } }), "run.limits.nofile"),
        (json!({ "user": "" }), "run.user"),
        (json!({ "group": 0 }), "run.group"),
        (json!({ "umask": 27 }), "run.umask"),
        (json!({ "umask": "+27" }), "run.umask"),
        (json!({ "umask": "089" }), "run.umask"),
        (json!({ "umask": "1000" }), "run.umask"),
        (json!({ "umask": "" }), "run.umask"),
        (json!({ "umask": "00777" }), "run.umask"),
        (json!({ "logs": { "maxBytes": 1 } }), "run.logs.maxBytes"),
        (json!({ "logs": { "files": 0 } }), "run.logs.files"),
        (json!({ "logs": false }), "run.logs"),
        (json!({ "env": { "inherit": "no" } }), "run.env.inherit"),
        (json!({ "env": { "PATH": "/" } }), "run.env.PATH"),
        (json!({ "env": { "set": { "1A": "" } } }), "run.env.set.1A"),
        (json!({ "env": { "set": { "A-B": "" } } }), "run.env.set.A-B"),
        (json!({ "env": { "set": { "A": 1 } } }), "run.env.set.A"),
        (json!({ "env": { "set": { "A": "\0" } } }), "run.env.set.A"),
        (json!({ "env": { "set": { "PORT": "1" } } }), "run.env.set.PORT"),
        (json!({ "watch": [""] }), "run.watch[0]"),
    ] {
        for (manifest, row) in [(Some(&layer), None), (None, Some(&layer))] {
            assert_eq!(Run::resolve(manifest, row).expect_err(&layer.to_string()).field, field, "{layer}");
        }
    }
}
