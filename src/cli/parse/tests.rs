use super::*;
use crate::cli::spec::every_verb;
use std::os::unix::ffi::OsStringExt;

fn run(args: &[&str]) -> Result<Invocation, Refused> {
    parse(args.iter().map(OsString::from).collect())
}

fn command(args: &[&str]) -> Command {
    run(args).unwrap_or_else(|refused| panic!("{args:?}: {}", refused.error)).command
}

fn sentence(args: &[&str]) -> String {
    match run(args) {
        Ok(got) => panic!("{args:?}: {got:?}"),
        Err(refused) => refused.error.to_string(),
    }
}

fn lifecycle(op: Op, names: &[&str], wait: Wait) -> Command {
    Command::Lifecycle { op, names: names.iter().map(|name| (*name).to_owned()).collect(), wait }
}

#[test]
fn every_verb_of_the_table_becomes_its_command() {
    for (args, expected) in [
        (&[][..], Command::Help { verb: None }),
        (&["help"], Command::Help { verb: None }),
        (&["help", "logs"], Command::Help { verb: verb("logs") }),
        (&["version"], Command::Version),
        (&["--version"], Command::Version),
        (&["-v"], Command::Version),
        (&["completions", "bash"], Command::Completions { kind: Completions::Bash }),
        (&["completions", "zsh"], Command::Completions { kind: Completions::Zsh }),
        (&["completions", "fish"], Command::Completions { kind: Completions::Fish }),
        (&["completions", "modules"], Command::Completions { kind: Completions::Modules }),
        (&["serve"], Command::Serve { port: None }),
        (&["serve", "--port", "0"], Command::Serve { port: Some(0) }),
        (&["start"], lifecycle(Op::Start, &[], Wait::Done)),
        (&["start", "--wait", "vault", "scribe"], lifecycle(Op::Start, &["vault", "scribe"], Wait::Reachable)),
        (&["stop", "vault"], lifecycle(Op::Stop, &["vault"], Wait::Done)),
        (&["restart", "vault", "--wait"], lifecycle(Op::Restart, &["vault"], Wait::Reachable)),
        (&["stop", "--no-wait", "vault"], lifecycle(Op::Stop, &["vault"], Wait::Ordered)),
        (&["status", "--check"], Command::Status { names: vec![], how: How::Check }),
        (&["status", "vault", "hub"], Command::Status { names: vec!["vault".into(), "hub".into()], how: How::Once }),
        (&["status", "--watch"], Command::Status { names: vec![], how: How::Watch }),
        (&["logs", "vault"], Command::Logs { name: "vault".into(), follow: false, lines: 200 }),
        (&["logs", "-fn5", "vault"], Command::Logs { name: "vault".into(), follow: true, lines: 5 }),
        (&["logs", "vault", "--lines=0"], Command::Logs { name: "vault".into(), follow: false, lines: 0 }),
        (&["logs", "--", "-f"], Command::Logs { name: "-f".into(), follow: false, lines: 200 }),
        (
            &["install", "./x", "--port", "7", "--replace"],
            Command::Install(Install {
                directory: "./x".into(),
                port: Some(7),
                after: AfterRegistering { no_start: false, replace: true, wait: Wait::Done },
            }),
        ),
        (&["remove", "wiki"], Command::Remove { name: "wiki".into() }),
        (&["check"], Command::Check),
        (&["open"], Command::Open { path: None, here: false }),
        (&["open", "/wiki", "--here"], Command::Open { path: Some("/wiki".into()), here: true }),
        (&["doctor", "--fix"], Command::Doctor { fix: true }),
        (&["backup", "a b.tar"], Command::Backup { file: "a b.tar".into() }),
        (&["backup", "./-"], Command::Backup { file: "./-".into() }),
        (&["restore", "--", "-x"], Command::Restore { file: "-x".into() }),
    ] {
        assert_eq!(command(args), expected, "{args:?}");
    }
}

#[test]
fn every_flag_of_every_verb_is_parsed() {
    for verb in every_verb().filter(|verb| verb.subs.is_empty()) {
        for flag in verb.all_flags() {
            let mut args: Vec<String> = verb.path().split(' ').map(str::to_owned).collect();
            match verb.words {
                Words::None
                | Words::Modules
                | Words::MaybeVerb
                | Words::MaybeJti
                | Words::MaybeOrigin
                | Words::MaybePath
                | Words::Sub => {}
                Words::OneModule | Words::NewName | Words::Directory | Words::File | Words::Jti => {
                    args.push("x".into());
                }
                Words::Shell => args.push("bash".into()),
            }
            let also = match (verb.name, flag.long) {
                ("mint-token", "scope") | ("revoke-all", "subject") => &[][..],
                ("mint-token", "json") => &["--scope=a:b", "--token-file=f"],
                ("mint-token", _) => &["--scope=a:b"],
                ("revoke-all", _) => &["--subject=s"],
                ("set-origin", "unset") => &[],
                ("set-origin", _) => &["https://a.example"],
                ("module-key", "json") => &["--key-file=f"],
                _ => &[],
            };
            args.extend(also.iter().map(|arg| (*arg).to_owned()));
            args.push(format!("--{}", flag.long));
            match flag.value {
                None => {}
                Some("K=V") => args.push("K=V".into()),
                Some("JSON") => args.push("{}".into()),
                Some("TIME") => args.push("10s".into()),
                Some(_) => args.push(flag.choices.first().copied().unwrap_or("10").into()),
            }
            if verb.words == Words::NewName {
                args.extend(["--".into(), "true".into()]);
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let parsed = run(&args).unwrap_or_else(|refused| panic!("{args:?}: {}", refused.error));
            match flag.long {
                "help" => assert_eq!(parsed.command, Command::Help { verb: Some(verb) }, "{args:?}"),
                "version" => assert_eq!(parsed.command, Command::Version, "{args:?}"),
                _ => {
                    // The flag left a trace: without it the result is another one.
                    let without: Vec<&str> =
                        args.iter().copied().filter(|arg| *arg != format!("--{}", flag.long)).collect();
                    assert_ne!(run(&without).ok().as_ref(), Some(&parsed), "{args:?}");
                }
            }
        }
    }
}

#[test]
fn add_takes_everything_after_the_dashes_as_it_is() {
    let args = [
        "add",
        "wiki",
        "--port",
        "3000",
        "--path=/wiki",
        "--health",
        "/up",
        "--env",
        "A=1",
        "--env",
        "B=x=y",
        "--env",
        "_C=",
        "--cwd",
        "/srv",
        "--strip-prefix",
        "--private",
        "--no-start",
        "--stop-signal",
        "INT",
        "--restart",
        "never",
        "--ready",
        "none",
        "--replace",
        "--",
        "python3",
        "--json",
        "-m",
        "--",
        "{port}",
        "",
    ];
    let expected = Add {
        name: "wiki".into(),
        argv: ["python3", "--json", "-m", "--", "{port}", ""].map(str::to_owned).to_vec(),
        port: Some(3000),
        path: Some("/wiki".into()),
        health: Some("/up".into()),
        env: [("A", "1"), ("B", "x=y"), ("_C", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec(),
        cwd: Some("/srv".into()),
        strip_prefix: true,
        exposure: Some(Reachable::Private),
        stop_signal: Some("INT".into()),
        restart: Some("never".into()),
        ready: Some("none".into()),
        after: AfterRegistering { no_start: true, replace: true, wait: Wait::Done },
    };
    let parsed = run(&args).expect("valid");
    assert_eq!(parsed.command, Command::Add(Box::new(expected)));
    assert!(!parsed.globals.json, "the module's own flag");
}

#[test]
fn global_flags_stand_anywhere() {
    let expected = Globals { json: true, quiet: true, home: Some("/p".into()), timeout: Some(Duration::from_secs(9)) };
    for args in [
        &["--json", "-q", "--home", "/p", "--timeout=9", "status"][..],
        &["status", "--json", "--quiet", "--home=/p", "--timeout", "9"],
        &["--json", "status", "-q", "--home", "/p", "--timeout", "9"],
        &["--json", "--json", "status", "-q", "-q", "--home", "/p", "--timeout", "9"],
    ] {
        assert_eq!(run(args).expect("valid").globals, expected, "{args:?}");
    }
}

#[test]
fn help_wins_over_whatever_else_is_wrong() {
    for (args, name) in [
        (&["logs", "--help"][..], Some("logs")),
        (&["logs", "-h"], Some("logs")),
        (&["logs", "help"], Some("logs")),
        (&["--help", "logs"], Some("logs")),
        (&["logs", "--bogus", "--help"], Some("logs")),
        (&["logs", "--bogus", "-h"], Some("logs")),
        (&["logs", "a", "b", "-h"], Some("logs")),
        (&["add", "-h"], Some("add")),
        (&["bogus", "--help"], None),
        (&["-h"], None),
        (&["--help"], None),
    ] {
        assert_eq!(command(args), Command::Help { verb: name.and_then(verb) }, "{args:?}");
    }
    assert!(matches!(command(&["add", "x", "--", "prog", "--help"]), Command::Add(_)), "the module's own flag");
}

#[test]
fn a_bad_command_line_says_what_is_wrong_with_it() {
    for (args, expected) in [
        (&["statr"][..], "unknown command \"statr\"; did you mean start?"),
        (&["frobnicate"], "unknown command \"frobnicate\""),
        (&["logs", "--folow", "x"], "unknown flag --folow; did you mean --follow?"),
        (&["logs", "-z", "x"], "unknown flag -z"),
        (&["-n", "5", "logs", "x"], "unknown flag -n"),
        (&["logs"], "the module's name is missing"),
        (&["logs", "a", "b"], "unexpected argument \"b\""),
        (&["status", "--check", "--watch"], "--check and --watch exclude each other"),
        (&["start", "--wait", "--no-wait", "vault"], "--wait and --no-wait exclude each other"),
        (&["backup", "-"], "FILE must be a path; - is not standard output, and a file of this name is ./-"),
        (&["check", "vault"], "unexpected argument \"vault\""),
        (&["serve", "x"], "unexpected argument \"x\""),
        (&["logs", "-n"], "--lines needs a value: --lines N"),
        (&["logs", "x", "--lines="], "--lines needs a value: --lines N"),
        (&["logs", "x", "--lines", "--follow"], "--lines needs a value: --lines N"),
        (&["logs", "x", "-n", "-5"], "--lines must be an integer 0..1000000, not \"-5\""),
        (&["logs", "x", "-n", "+5"], "--lines must be an integer 0..1000000, not \"+5\""),
        (&["logs", "x", "-n", "1e3"], "--lines must be an integer 0..1000000, not \"1e3\""),
        (
            &["logs", "x", "-n", "99999999999999999999"],
            "--lines must be an integer 0..1000000, not \"99999999999999999999\"",
        ),
        (&["logs", "x", "-n1", "-n2"], "--lines is given more than once"),
        (&["logs", "--follow=yes", "x"], "--follow takes no value"),
        (&["serve", "--port", "65536"], "--port must be an integer 0..65535, not \"65536\""),
        (&["install", "d", "--port", "0"], "--port must be an integer 1..65535, not \"0\""),
        (&["status", "--timeout", "0"], "--timeout must be an integer 1..3600, not \"0\""),
        (&["status", "--home="], "--home needs a value: --home DIR"),
        (&["status", "--home"], "--home needs a value: --home DIR"),
        (&["add", "x"], "the module's command is missing; it goes after --"),
        (&["add", "x", "--"], "the module's command is missing; it goes after --"),
        (&["add", "x", "--", ""], "the module's command is missing; it goes after --"),
        (&["add", "--", "prog"], "the new module's name is missing"),
        (&["add", "x", "prog"], "unexpected argument \"prog\"; the module's command goes after --"),
        (&["add", "x", "y", "--", "prog"], "unexpected argument \"y\""),
        (&["add", "x", "--public", "--private", "--", "p"], "--public and --private exclude each other"),
        (
            &["add", "x", "--env", "1A=2", "--", "p"],
            "--env must be NAME=VALUE with a name of letters, digits and _, not \"1A=2\"",
        ),
        (
            &["add", "x", "--env", "A-B=2", "--", "p"],
            "--env must be NAME=VALUE with a name of letters, digits and _, not \"A-B=2\"",
        ),
        (
            &["add", "x", "--restart", "often", "--", "p"],
            "--restart must be one of always, on-failure, never, not \"often\"",
        ),
        (&["open", "wiki"], "PATH must begin with a slash, such as /wiki, not \"wiki\""),
        (&["completions"], "the shell is missing"),
        (&["completions", "tcsh"], "unknown shell \"tcsh\"; known: bash, zsh, fish"),
        (&["help", "logs", "x"], "unexpected argument \"x\""),
        (&["help", "logz"], "unknown command \"logz\"; did you mean logs?"),
        (&["logs", "\u{1b}[2J", "b\u{7}"], "unexpected argument \"b\u{fffd}\""),
    ] {
        assert_eq!(sentence(args), expected, "{args:?}");
    }
}

#[test]
fn hostile_command_lines_are_refused_and_nothing_breaks() {
    let bad = || OsString::from_vec(vec![b'v', 0xff, 0xfe]);
    let os = |text: &str| OsString::from(text);
    for (name, args) in [
        ("verb", vec![bad()]),
        ("module", vec![os("logs"), bad()]),
        ("later module", vec![os("start"), os("a"), bad()]),
        ("flag", vec![os("logs"), OsString::from_vec(b"--\xff".to_vec())]),
        ("short flag", vec![os("logs"), OsString::from_vec(b"-\xff".to_vec())]),
        ("value", vec![os("logs"), os("x"), os("-n"), bad()]),
        ("argv", vec![os("add"), os("x"), os("--"), os("p"), bad()]),
        ("variable", vec![os("add"), os("x"), os("--env"), OsString::from_vec(b"A=\xff".to_vec()), os("--"), os("p")]),
        ("long word", vec![os(&"x".repeat(100_000))]),
        ("long flag", vec![os("logs"), os(&format!("--{}", "x".repeat(100_000)))]),
        ("many words", vec![os("x"); 10_000]),
        ("many flags", std::iter::once(os("status")).chain(std::iter::repeat_n(os("--bogus"), 10_000)).collect()),
        ("many for one", std::iter::once(os("logs")).chain(std::iter::repeat_n(os("x"), 10_000)).collect()),
        ("a cluster", vec![os("logs"), os(&format!("-{}", "f".repeat(10_000))), os("-z")]),
        ("a lone dash", vec![os("-")]),
        ("only dashes", vec![os("--"), os("--")]),
    ] {
        let error = parse(args).expect_err(name).error.to_string();
        assert!(error.chars().count() < 200 && !error.chars().any(char::is_control), "{name}: {error}");
    }
    let many: Vec<OsString> = std::iter::once(os("start")).chain((0..10_000).map(|n| os(&format!("m{n}")))).collect();
    assert!(matches!(parse(many).expect("valid").command, Command::Lifecycle { names, .. } if names.len() == 10_000));
    let home = parse(vec![os("status"), os("--home"), bad()]).expect("a path is bytes").globals.home;
    assert_eq!(home, Some(PathBuf::from(bad())));
}

#[test]
fn a_refusal_knows_how_it_is_to_be_shown() {
    let refused = run(&["logs", "--bogus", "--json"]).expect_err("unknown flag");
    assert!(refused.json && refused.verb == verb("logs"));
    let refused = run(&["add", "x", "--bogus", "--", "--json"]).expect_err("unknown flag");
    assert!(!refused.json);
}

#[test]
fn a_directory_can_be_spelled_with_its_kind() {
    for (word, expected) in [
        ("./x", "./x"),
        ("file:x/y", "x/y"),
        ("file:/x", "/x"),
        ("file:///x", "/x"),
        ("file://x/y", "//x/y"),
        ("./file:x", "./file:x"),
    ] {
        match command(&["install", word]) {
            Command::Install(install) => assert_eq!(install.directory, PathBuf::from(expected), "{word}"),
            other => panic!("{word}: {other:?}"),
        }
    }
}
