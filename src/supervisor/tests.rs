use super::*;
use crate::manifest::run::{self, Ready, Run};
use crate::sys::fault::{Fault, play};
use crate::sys::spawn::SpawnFailure;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant, SystemTime};

/// More than a worker takes for what it does at once.
const PATIENCE: Duration = Duration::from_secs(60);
const EMFILE: i32 = 24;

pub(super) fn short(name: &str) -> Short {
    Short::parse(name).expect("a good name")
}

#[test]
fn the_next_retry_is_told_by_the_wall_clock_of_whoever_asks() {
    let in_ten_minutes = Instant::now() + Duration::from_secs(600);
    for (retry_at, wait_s) in [(in_ten_minutes, 600), (Instant::now(), 0)] {
        let snapshot = Snapshot { retry_at: Some(retry_at), ..Snapshot::stopped(short("web")) };
        let after = SystemTime::now() + Duration::from_secs(wait_s);
        let told = snapshot.next_retry_at().expect("there is one");
        // The clocks are read one after the other, a moment apart.
        let apart = told.duration_since(after).unwrap_or_else(|early| early.duration());
        assert!(apart < PATIENCE, "{wait_s} s: {apart:?}");
    }
    assert_eq!(Snapshot::stopped(short("web")).next_retry_at(), None);
}

/// A supervisor without a main thread: nothing of it ever forks.
pub(super) fn supervisor(
    source: impl Fn(&Short) -> Result<inputs::Inputs, StartError> + Send + Sync + 'static,
) -> Supervisor {
    supervisor_that_records(source, |_, _| {})
}

fn supervisor_that_records(
    source: impl Fn(&Short) -> Result<inputs::Inputs, StartError> + Send + Sync + 'static,
    record: impl Fn(&Short, Leader) + Send + Sync + 'static,
) -> Supervisor {
    let (console, _thread) = Console::start(std::io::sink()).expect("a thread");
    let facts =
        inputs::Facts { environment: Vec::new(), extra_path: Vec::new(), usual_path: Vec::new(), instance: "x".into() };
    let hooks = Hooks {
        groups: None,
        source: Arc::new(source),
        hand_over: Arc::new(|_, _| true),
        record: Arc::new(record),
        console,
        facts,
        on_change: Arc::new(|| {}),
    };
    Supervisor::new(hooks).expect("descriptors")
}

/// What a module says whose program does nothing and is there on every machine.
pub(super) fn installed(_: &Short) -> Result<inputs::Inputs, StartError> {
    let run = Run { ready: Ready { probe: run::Probe::None, ..Ready::default() }, ..Run::default() };
    Ok(inputs::Inputs { argv: vec!["/bin/true".into()], run, ..plan::tests::inputs() })
}

/// The next fork that a worker asks for.
fn next_fork(supervisor: &Supervisor) -> (u64, Arc<Inbox<ForWorker>>) {
    let until = Instant::now() + PATIENCE;
    loop {
        for message in supervisor.context.main.take() {
            if let ForMain::Fork { child, reply_to, .. } = message {
                return (child, reply_to);
            }
        }
        assert!(Instant::now() < until, "nobody asks for a fork");
        std::thread::yield_now();
    }
}

fn not_installed(_: &Short) -> Result<inputs::Inputs, StartError> {
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

/// Whoever asks for a start while a module is being forgotten is answered by the one that comes after it.
#[test]
fn a_start_behind_the_last_stop_begins_anew() {
    let (go_on, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    // The first worker is held up, so that what is asked meanwhile lies in its inbox.
    let supervisor = supervisor(move |short| {
        let _ = held.lock().unwrap_or_else(PoisonError::into_inner).recv();
        not_installed(short)
    });
    let web = short("web");
    supervisor.start(&web, Answer::AtOnce).expect("registered");
    let ring = supervisor.ring(&web).expect("its output");
    std::thread::scope(|scope| {
        let forgotten = scope.spawn(|| supervisor.forget(&web));
        let leaves = || supervisor.modules().get(&web).is_some_and(|handle| handle.leaving.is_some());
        eventually("it is being forgotten", leaves);
        let started = scope.spawn(|| supervisor.start(&web, Answer::WhenDone));
        let waits = || supervisor.modules().get(&web).and_then(|handle| handle.leaving.as_ref().map(Vec::len));
        eventually("the start waits", || waits() == Some(1));
        assert!(supervisor.forget(&short("nobody")).is_err(), "nobody knows it");
        drop(go_on);
        assert!(forgotten.join().expect("no panic").is_ok());
        let Err(OpFailure::NotStarted(tried)) = started.join().expect("no panic") else { panic!("there is no row") };
        assert_eq!(tried.start_error.map(|error| error.kind), Some(StartErrorKind::NotInstalled));
    });
    let anew = supervisor.ring(&web).expect("it is registered");
    assert!(!Arc::ptr_eq(&ring, &anew), "another worker has answered");
    supervisor.close();
}

/// The main thread forks whatever was asked before: nobody may be gone who is to look after the child.
#[test]
fn a_worker_that_is_told_to_quit_waits_for_the_fork_that_it_has_asked_for() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let supervisor = supervisor_that_records(installed, move |_, leader| hears.lock().expect("no panic").push(leader));
    let mut handle = supervisor.start_worker(&short("wiki")).expect("a thread");
    handle.inbox.send(ForWorker::Start(None));
    let (child, reply_to) = next_fork(&supervisor);
    handle.inbox.send(ForWorker::Quit);
    let _ = reply_to.deliver(ForWorker::Forked { child, result: Err(SpawnFailure::cancelled()) });
    handle.thread.take().expect("a thread").join().expect("no panic");
    assert_eq!(*heard.lock().expect("no panic"), [Leader::Forking, Leader::Over]);
    assert_eq!(handle.published.get().status, Status::Stopped);
    assert!(reply_to.deliver(ForWorker::Look).is_err(), "whoever sends it something is told that nobody reads it");
}

/// Somebody may stop it while its turn is on its way.
#[test]
fn a_turn_that_comes_behind_an_order_changes_nothing() {
    let supervisor = supervisor(installed);
    for is_stopped in [false, true] {
        let handle = supervisor.start_worker(&short("wiki")).expect("a thread");
        if is_stopped {
            let (reply, stopped) = mpsc::sync_channel(1);
            handle.inbox.send(ForWorker::Stop(Some(reply)));
            assert!(stopped.recv().expect("an answer").is_ok());
        }
        handle.inbox.send(ForWorker::Turn);
        if !is_stopped {
            let (child, reply_to) = next_fork(&supervisor);
            reply_to.send(ForWorker::Forked { child, result: Err(SpawnFailure::cancelled()) });
        }
        handle.inbox.send(ForWorker::Quit);
        // It would not while a fork is outstanding.
        eventually("its thread ends", || handle.thread.as_ref().is_some_and(JoinHandle::is_finished));
    }
}

/// The child may have bound its port before its worker hears that it is there.
#[test]
fn a_restart_while_a_child_is_being_forked_does_not_take_it_for_a_stranger() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let supervisor = supervisor(move |short| {
        Ok(inputs::Inputs { run: Run::default(), row: plan::tests::row_on(port), ..installed(short)? })
    });
    let handle = supervisor.start_worker(&short("wiki")).expect("a thread");
    handle.inbox.send(ForWorker::Start(None));
    let (child, reply_to) = next_fork(&supervisor);
    let _bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody has it");
    let (restart, restarted) = mpsc::sync_channel(1);
    let (stop, stopped) = mpsc::sync_channel(1);
    handle.inbox.send(ForWorker::Restart(Some(restart)));
    handle.inbox.send(ForWorker::Stop(Some(stop)));
    let answer = restarted.recv().expect("an answer");
    assert!(matches!(answer, Err(OpFailure::Superseded(_))), "it was not refused: {answer:?}");
    reply_to.send(ForWorker::Forked { child, result: Err(SpawnFailure::cancelled()) });
    assert!(stopped.recv().expect("an answer").is_ok());
    handle.inbox.send(ForWorker::Quit);
}

#[test]
fn the_boot_is_over_without_those_that_stay_stopped() {
    let supervisor = supervisor(installed);
    let (stays, web) = (short("stays"), short("web"));
    for known in [&stays, &web] {
        supervisor.register(known).expect("a thread");
    }
    supervisor.boot(vec![(web.clone(), Vec::new())]);
    assert_eq!(*supervisor.booting(), BTreeSet::from([web]));
    supervisor.close();
}
