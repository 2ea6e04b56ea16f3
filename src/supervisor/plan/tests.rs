use super::*;
use crate::manifest::services::Document;

fn row() -> Arc<Row> {
    let text = br#"{"services":[{"name":"wiki","port":1944,"paths":["/wiki"],"health":"/health","version":"1"}]}"#;
    let document = Document::parse(text).expect("a good document");
    Arc::clone(document.entries()[0].row.as_ref().expect("a good row"))
}

pub(in crate::supervisor) fn inputs() -> Inputs {
    Inputs {
        row: row(),
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
    for (argv, word) in [(vec![], "empty"), (vec![""], "empty"), (vec!["a", "b\0c"], "NUL")] {
        let given = Inputs { argv: argv.iter().map(|word| (*word).to_owned()).collect(), ..inputs() };
        let problem = build(&given, &hub, &short).expect_err("refused");
        assert!(problem.reason.contains(word), "{argv:?}: {}", problem.reason);
    }
}
