use super::*;
use crate::manifest::services::Document;
use crate::manifest::services::Row;
use serde_json::json;
use std::ffi::OsString;
use std::sync::Arc;

pub(in crate::supervisor) fn row_on(port: u16) -> Arc<Row> {
    let row = json!({ "name": "wiki", "port": port, "paths": ["/wiki"], "health": "/health", "version": "1" });
    let text = json!({ "services": [row] }).to_string();
    let document = Document::parse(text.as_bytes()).expect("a good document");
    Arc::clone(document.entries()[0].row.as_ref().expect("a good row"))
}

pub(in crate::supervisor) fn inputs() -> Inputs {
    Inputs {
        row: row_on(1944),
        argv: vec!["wiki".into(), "--port={port}".into()],
        cwd: None,
        run: Run::default(),
        dotenv: Vec::new(),
        origin: None,
        origins: Vec::new(),
        credentials: None,
        home: "/home/op/.parachute".into(),
        log_dir: "/home/op/.parachute/wiki/logs".into(),
    }
}

pub(in crate::supervisor) fn facts(environment: &[(&str, &str)]) -> Facts {
    Facts {
        environment: environment.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))).collect(),
        extra_path: Vec::new(),
        usual_path: Vec::new(),
        instance: "i1".into(),
    }
}

#[test]
fn the_command_gets_its_port_and_a_hostile_one_is_refused() {
    let short = Short::parse("wiki").expect("a good name");
    let (given, hub) = (inputs(), facts(&[]));
    let plan = build(&given, &hub, &short).expect("a good plan");
    assert_eq!(plan.argv, ["wiki", "--port=1944"]);
    for (argv, word) in [(vec![], "empty"), (vec![""], "empty"), (vec!["", "a"], "empty"), (vec!["a", "b\0c"], "NUL")] {
        let given = Inputs { argv: argv.iter().map(|word| (*word).to_owned()).collect(), ..inputs() };
        let problem = build(&given, &hub, &short).expect_err("refused");
        assert!(problem.reason.contains(word), "{argv:?}: {}", problem.reason);
    }
}

#[test]
fn who_is_not_looked_at_has_no_time_to_become_ready() {
    let run = Run::default();
    for (probe, expected) in
        [(Probe::Port, Some(run.ready.timeout)), (Probe::Http, Some(run.ready.timeout)), (Probe::None, None)]
    {
        let mut run = run.clone();
        run.ready.probe = probe;
        assert_eq!(gate(&run), expected, "{probe:?}");
    }
}

#[test]
fn what_is_set_is_soft_and_hard_and_what_is_inherited_leaves_the_hard_one() {
    let set = Limits { nofile: Some(10), fsize: Some(20), ..Limits::default() };
    let both = |resource, value| Limit { resource, soft: value, hard: Some(value) };
    let soft = |resource, soft| Limit { resource, soft, hard: None };
    for (set, expected) in [
        (Limits::default(), vec![soft(Resource::Nofile, 1), soft(Resource::Core, 3)]),
        (set, vec![both(Resource::Nofile, 10), soft(Resource::Core, 3), both(Resource::Fsize, 20)]),
    ] {
        assert_eq!(limits(&set, Some((1, 2)), Some(3)), expected, "{set:?}");
    }
    assert_eq!(limits(&Limits::default(), None, None), []);
}
