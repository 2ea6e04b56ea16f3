use super::*;
use crate::wire::{LastExit, OpReply};
use std::collections::BTreeMap;

fn short() -> Short {
    Short::parse("vault").expect("valid")
}

fn state(status: Status, start_error: Option<StartError>) -> ModuleState {
    ModuleState {
        short: "vault".into(),
        status,
        ready: status == Status::Running && start_error.is_none(),
        pid: (status == Status::Running).then_some(4711),
        started_at: None,
        restarts_in_window: 0,
        restarts_total: 0,
        last_crash_at: None,
        last_exit_code: None,
        last_exit: Some(LastExit { code: Some(3), signal: None, at: String::new() }),
        next_retry_at: None,
        start_error,
    }
}

fn error(kind: &str, text: &str) -> StartError {
    StartError {
        error_type: kind.into(),
        error_description: text.into(),
        binary: None,
        why: None,
        docs_url: None,
        install: None,
        sysadmin_hint: None,
        at: String::new(),
    }
}

fn reply(stopped: Option<bool>, state: Option<ModuleState>) -> Answer {
    Ok(OpReply { short: "vault".into(), stopped, state, warnings: Vec::new() })
}

fn refusal(code: &str, text: &str) -> ErrorBody {
    ErrorBody { error: code.into(), error_description: text.into(), error_detail: None, request_id: None, state: None }
}

fn refused(status: u16, body: ErrorBody) -> Answer {
    Err(ClientError::Refused { status, given_by: None, body: Box::new(body) })
}

fn words(verdict: &Verdict) -> (char, String, u8) {
    match verdict {
        Verdict::Done { line, .. } => ('✓', line.clone(), 0),
        Verdict::Warned { line, .. } => ('⚠', line.clone(), 0),
        Verdict::Failed { failure, .. } => ('✗', failure.message.clone(), failure.exit.number()),
    }
}

#[test]
fn the_state_decides_and_not_the_http_status() {
    let unbound = || error("started_but_unbound", "nothing listens on 127.0.0.1:1940");
    let crashed_body = ErrorBody {
        state: Some(state(Status::Crashed, Some(error("spawn_failed", "exited with code 3 at once")))),
        ..refusal("start_failed", "vault did not start")
    };
    for (op, answer, wait, expected) in [
        (Op::Start, reply(None, Some(state(Status::Running, None))), Wait::Done, ('✓', "vault started (pid 4711)", 0)),
        (
            Op::Restart,
            reply(None, Some(state(Status::Running, None))),
            Wait::Reachable,
            ('✓', "vault restarted (pid 4711)", 0),
        ),
        (
            Op::Start,
            reply(None, Some(state(Status::Running, Some(unbound())))),
            Wait::Done,
            ('⚠', "vault started (pid 4711), but: nothing listens on 127.0.0.1:1940", 0),
        ),
        (
            Op::Start,
            reply(None, Some(state(Status::Running, Some(unbound())))),
            Wait::Reachable,
            ('✗', "vault failed to start: nothing listens on 127.0.0.1:1940", 6),
        ),
        (
            Op::Start,
            reply(None, Some(state(Status::Crashed, None))),
            Wait::Done,
            ('✗', "vault failed to start: it is crashed: exit code 3", 6),
        ),
        (
            Op::Start,
            reply(None, Some(state(Status::Crashed, Some(error("x", "port 1940\u{1b} is in use\nmore"))))),
            Wait::Done,
            ('✗', "vault failed to start: port 1940\u{fffd} is in use", 6),
        ),
        (
            Op::Start,
            reply(None, Some(state(Status::Starting, None))),
            Wait::Done,
            ('✗', "vault failed to start: it is starting: exit code 3", 6),
        ),
        (Op::Start, reply(None, None), Wait::Done, ('✗', "vault: the hub did not say what became of it", 1)),
        (
            Op::Start,
            refused(500, crashed_body),
            Wait::Done,
            ('✗', "vault failed to start: exited with code 3 at once", 6),
        ),
        (
            Op::Start,
            refused(422, refusal("start_failed", "no reason")),
            Wait::Done,
            ('✗', "vault failed to start: no reason", 6),
        ),
        (
            Op::Start,
            refused(400, refusal("not_installed", "x")),
            Wait::Done,
            ('✗', "vault is not installed (package @openparachute/vault)", 9),
        ),
        (
            Op::Start,
            refused(422, refusal("no_start_cmd", "nothing to run")),
            Wait::Done,
            ('✗', "vault: nothing to run", 78),
        ),
        (Op::Start, refused(409, refusal("busy", "being stopped")), Wait::Done, ('✗', "vault: busy: being stopped", 8)),
        (
            Op::Start,
            Err(ClientError::BareStatus { what: "the start", status: 500 }),
            Wait::Done,
            ('✗', "vault: the hub answered the start with HTTP 500 and no reason", 1),
        ),
        (
            Op::Start,
            refused(401, refusal("token_expired", "on 2026-01-01")),
            Wait::Done,
            ('✗', "vault: operator token expired: on 2026-01-01", 11),
        ),
        (Op::Stop, reply(Some(true), Some(state(Status::Stopped, None))), Wait::Done, ('✓', "vault stopped", 0)),
        (Op::Stop, reply(Some(true), None), Wait::Done, ('✓', "vault stopped", 0)),
        (
            Op::Start,
            reply(None, Some(state(Status::Crashed, None))),
            Wait::Ordered,
            ('✓', "start of vault ordered; it was crashed", 0),
        ),
        (
            Op::Stop,
            reply(None, Some(state(Status::Running, None))),
            Wait::Ordered,
            ('✓', "stop of vault ordered; it was running", 0),
        ),
        (Op::Stop, reply(None, Some(state(Status::Stopped, None))), Wait::Ordered, ('✓', "vault was not running", 0)),
        (Op::Stop, reply(Some(false), None), Wait::Ordered, ('✓', "vault was not running", 0)),
        (
            Op::Restart,
            refused(404, refusal("not_installed", "x")),
            Wait::Ordered,
            ('✗', "vault is not installed (package @openparachute/vault)", 9),
        ),
        (Op::Stop, reply(Some(false), None), Wait::Done, ('✓', "vault was not running", 0)),
        (Op::Stop, refused(404, refusal("not_supervised", "x")), Wait::Done, ('✓', "vault was not running", 0)),
        (
            Op::Stop,
            reply(Some(true), Some(state(Status::Running, None))),
            Wait::Done,
            ('✗', "vault did not stop: it is running", 6),
        ),
        (
            Op::Stop,
            refused(500, refusal("stop_timeout", "2 processes are left")),
            Wait::Done,
            ('✗', "vault did not stop: 2 processes are left", 6),
        ),
    ] {
        let verdict = judge(op, &short(), &answer, wait);
        let (mark, text, exit) = words(&verdict);
        assert_eq!((mark, text.as_str(), exit), expected, "{op:?} {answer:?}");
    }
}

#[test]
fn a_missing_program_prints_how_to_get_it() {
    let missing = StartError {
        binary: Some("ffmpeg".into()),
        install: Some(BTreeMap::from([("linux".to_owned(), "apt-get install ffmpeg".to_owned())])),
        docs_url: Some("https://ffmpeg.org".into()),
        ..error("missing_dependency", "ffmpeg is required to convert sound, but it was not found on PATH.")
    };
    let verdict = judge(Op::Start, &short(), &reply(None, Some(state(Status::Crashed, Some(missing)))), Wait::Done);
    let Verdict::Failed { failure, .. } = &verdict else { panic!("{verdict:?}") };
    let (_, line, exit) = words(&verdict);
    assert_eq!(line, "vault failed to start: ffmpeg is required to convert sound, but it was not found on PATH.");
    assert_eq!(
        on_terminal(failure),
        "vault failed to start:\n  ffmpeg is required to convert sound, but it was not found on PATH.\n  linux: apt-get install ffmpeg\n  https://ffmpeg.org"
    );
    assert_eq!(exit, 6);
}

#[test]
fn the_failure_layout_is_the_one_that_scripts_know() {
    let lines = ["opening database", "error: address already in use"].map(str::to_owned);
    assert_eq!(
        failure_block("vault failed to start: port 1940 is already in use", &lines, "/p/vault/logs/vault.log"),
        "✗ vault failed to start: port 1940 is already in use\n  ── last 2 log line(s) (/p/vault/logs/vault.log) ──\n  │ opening database\n  │ error: address already in use\n"
    );
    assert_eq!(
        failure_block("vault failed to start: x", &[], "/p/v.log"),
        "✗ vault failed to start: x\n  it printed nothing; its log file is /p/v.log\n"
    );
}
