use super::*;
use crate::sys::fault::{Fault, play};
use std::io;
use std::time::{Duration, Instant};

/// More than a worker takes for what it does at once.
const PATIENCE: Duration = Duration::from_secs(60);
const EMFILE: i32 = 24;

fn short(name: &str) -> Short {
    Short::parse(name).expect("a good name")
}

/// A supervisor without a main thread: nothing of it ever forks.
fn supervisor(source: impl Fn(&Short) -> Result<plan::Inputs, StartError> + Send + Sync + 'static) -> Supervisor {
    let (console, _thread) = Console::start(std::io::sink()).expect("a thread");
    let facts =
        plan::Facts { environment: Vec::new(), extra_path: Vec::new(), usual_path: Vec::new(), instance: "x".into() };
    let hooks = Hooks {
        source: Arc::new(source),
        hand_over: Arc::new(|_, _| true),
        record: Arc::new(|_, _| {}),
        console,
        facts,
        on_change: Arc::new(|| {}),
    };
    Supervisor::new(hooks).expect("descriptors")
}

fn not_installed(_: &Short) -> Result<plan::Inputs, StartError> {
    let (kind, at) = (StartErrorKind::NotInstalled, SystemTime::now());
    Err(StartError { kind, description: "no row".into(), binary: None, at })
}

#[track_caller]
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn whose_worker_has_ended_by_a_bug_holds_nobody_up() {
    let supervisor = supervisor(|short| match short.as_ref() {
        "broken" => panic!("a bug, as the test wants it"),
        _ => not_installed(short),
    });
    let (broken, well) = (short("broken"), short("well"));
    for name in [&broken, &well] {
        assert!(matches!(supervisor.start(name, Answer::WhenDone), Err(OpFailure::NotStarted(_))), "{name}");
    }
    for (what, answer) in [
        ("start", supervisor.start(&broken, Answer::WhenDone)),
        ("stop", supervisor.stop(&broken, Answer::WhenDone)),
        ("restart", supervisor.restart(&broken, Answer::WhenDone)),
    ] {
        let Err(OpFailure::NotStarted(snapshot)) = answer else { panic!("{what}: {answer:?}") };
        let error = snapshot.start_error.expect("a reason");
        assert!(error.description.contains("bug of the hub"), "{what}: {error:?}");
    }
    assert!(supervisor.forget(&broken).is_ok() && supervisor.snapshot(&broken).is_none());
    assert!(
        supervisor.start(&broken, Answer::WhenDone).is_err() && supervisor.snapshot(&broken).is_some(),
        "it has a new worker"
    );

    supervisor.begin_shutdown();
    let rests = |short: &Short| supervisor.snapshot(short).is_some_and(|last| last.status == Status::Stopped);
    eventually("the other one told to stop", || rests(&well));
    assert!(!supervisor.all_rest(&BTreeSet::new()), "of the other one nobody has heard yet");
    assert!(supervisor.all_rest(&BTreeSet::from([well])));
    supervisor.close();
}

#[test]
fn who_cannot_be_registered_holds_up_nobody_and_says_why() {
    let supervisor = supervisor(not_installed);
    let (base, top) = (short("base"), short("top"));
    let boot = || supervisor.boot(vec![(base.clone(), Vec::new()), (top.clone(), vec![base.clone()])]);
    let played = play(1, Fault::Errno(EMFILE), boot);
    assert_eq!(played.calls.first(), Some(&"eventfd"));
    let tried = |short: &Short| supervisor.snapshot(short).is_some_and(|last| last.start_error.is_some());
    eventually("a start of the one that needs it", || tried(&top));
    assert!(supervisor.snapshot(&base).is_none());

    let Err(OpFailure::NotStarted(refused)) =
        play(1, Fault::Errno(EMFILE), || supervisor.start(&base, Answer::WhenDone)).outcome
    else {
        panic!("it was registered without a descriptor");
    };
    let error = refused.start_error.expect("a reason");
    let no_room = io::Error::from_raw_os_error(EMFILE).to_string();
    assert!(error.description.contains(&no_room), "{error:?}");
    // A start by hand registers it, once there is room.
    let Err(OpFailure::NotStarted(tried)) = supervisor.start(&base, Answer::WhenDone) else {
        panic!("there is no row")
    };
    assert_eq!(tried.start_error.map(|error| error.kind), Some(StartErrorKind::NotInstalled));
    supervisor.close();
}
