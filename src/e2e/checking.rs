//! What `testdata/checking-tokens.md` asks of a module that checks tokens, held against both examples. The hub that they
//! ask is the test, and so is their clock: it stands still until the test moves it.

use crate::support::{Backend, Connection, Home, Recorded, Said, Spawned, eventually, free_port, http};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Seconds since 1970, when each test begins.
const BEGIN_S: f64 = 1_800_000_000.0;
/// `exp` of a token that a test does not let end.
const FAR_S: f64 = BEGIN_S + 100_000.0;

/// Runs the example that the first argument names, unchanged, with a clock that shows what is in the file `CLOCK`.
const NODE: [&str; 3] = [
    "node",
    "-e",
    "const { readFileSync } = require('fs'); \
     Date.now = () => Math.round(Number(readFileSync(process.env.CLOCK, 'utf8')) * 1000); \
     require(process.argv[1]);",
];
const PYTHON: [&str; 3] = [
    "/usr/bin/python3",
    "-c",
    "import os, runpy, sys, time; \
     time.time = lambda: float(open(os.environ['CLOCK']).read()); \
     runpy.run_path(sys.argv[1], run_name='__main__')",
];

/// How the hub behaves to who asks it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Hub {
    Answers,
    /// And closes the connection, which it has not announced.
    AnswersOnce,
    HangsUp,
    Says(u16),
    SaysJunk,
}

struct State {
    hub: Hub,
    exp_s: f64,
    /// So many questions are answered now, and the others wait.
    answers: usize,
    asked: HashMap<String, usize>,
    under_way: HashMap<String, usize>,
    /// The most questions about one token that there were at a time.
    most: usize,
}

struct Asked {
    state: Mutex<State>,
    changed: Condvar,
}

impl Asked {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Recorded) -> Said {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let token = form.strip_prefix("token=").unwrap_or_default();
        let mut state = self.state();
        *state.asked.entry(token.to_owned()).or_default() += 1;
        let under_way = state.under_way.entry(token.to_owned()).or_default();
        *under_way += 1;
        state.most = (*under_way).max(state.most);
        state = self.changed.wait_while(state, |state| state.answers == 0).unwrap_or_else(PoisonError::into_inner);
        state.answers -= 1;
        *state.under_way.get_mut(token).expect("it was put there") -= 1;
        let told = if token.starts_with("good") {
            json!({ "active": true, "sub": "ann", "scope": "checks:read", "aud": "checks", "exp": state.exp_s as u64 })
        } else {
            json!({ "active": false })
        };
        let bytes = |status: u16, body: &str| {
            let length = body.len();
            format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
                .into_bytes()
        };
        match state.hub {
            Hub::Answers => Said::AndWaits(bytes(200, &told.to_string())),
            Hub::AnswersOnce => Said::AndHangsUp(bytes(200, &told.to_string())),
            Hub::HangsUp => Said::AndHangsUp(Vec::new()),
            Hub::Says(status) => Said::AndWaits(bytes(status, "{}")),
            Hub::SaysJunk => Said::AndWaits(bytes(200, "{\"active\":")),
        }
    }
}

/// An example that runs, and the hub that it asks.
struct Example {
    name: &'static str,
    module: Spawned,
    port: u16,
    hub: Backend,
    asked: Arc<Asked>,
    home: Home,
}

impl Example {
    #[track_caller]
    fn start(name: &'static str, file: &str, clocked: [&str; 3]) -> Self {
        let state = State {
            hub: Hub::Answers,
            exp_s: FAR_S,
            answers: usize::MAX,
            asked: HashMap::new(),
            under_way: HashMap::new(),
            most: 0,
        };
        let asked = Arc::new(Asked { state: Mutex::new(state), changed: Condvar::new() });
        let answering = Arc::clone(&asked);
        let hub = Backend::start(move |request| answering.answer(request));
        let (home, port) = (Home::new(), free_port());
        home.write("hub.key", &format!("{}\n", "k".repeat(43)));
        let mut command = Command::new(clocked[0]);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/modules").join(name).join(file);
        command.args(&clocked[1..]).arg(source);
        command.env("PORT", port.to_string()).env("PARACHUTE_MODULE", "checks");
        command.env("PARACHUTE_HUB_INTROSPECTION_URL", format!("http://127.0.0.1:{}/oauth/introspect", hub.port));
        command.env("PARACHUTE_MODULE_KEY_FILE", home.path().join("hub.key")).env("CLOCK", clock(&home));
        set_clock(&home, 0.0);
        let module = Spawned::spawn(command);
        let example = Self { name, module, port, hub, asked, home };
        eventually(&format!("{name} answering"), || {
            http::get(port, "/checks/health").is_ok_and(|answer| answer.status == 200).then_some(())
        });
        example
    }

    fn both() -> [Self; 2] {
        [Self::start("checks-node", "server.js", NODE), Self::start("checks-python", "server.py", PYTHON)]
    }

    /// So long after the beginning.
    fn at(&self, seconds: f64) -> &Self {
        set_clock(&self.home, seconds);
        self
    }

    fn hub_is(&self, hub: Hub) {
        self.asked.state().hub = hub;
    }

    /// Lets so many questions be answered, and the others wait.
    fn hub_answers(&self, count: usize) {
        self.asked.state().answers = count;
        self.asked.changed.notify_all();
    }

    /// What a caller with this token gets.
    #[track_caller]
    fn lets_in(&self, token: &str) -> (u16, Value) {
        let bearer = format!("Bearer {token}");
        let answer = http::request(self.port, "GET", "/checks/page", &[("Authorization", &bearer)], b"");
        let answer = answer.unwrap_or_else(|error| panic!("{}, {token}: {error}\n{}", self.name, self.module.output()));
        (answer.status, answer.json()["error"].clone())
    }

    /// How often the hub was asked about it.
    fn questions(&self, token: &str) -> usize {
        self.asked.state().asked.get(token).copied().unwrap_or_default()
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.module.pid())).expect("it runs, and is ours").count()
    }
}

fn clock(home: &Home) -> PathBuf {
    home.path().join("clock")
}

fn set_clock(home: &Home, seconds: f64) {
    home.write("clock.next", &format!("{:.3}", BEGIN_S + seconds));
    fs::rename(home.path().join("clock.next"), clock(home)).expect("the directory is ours");
}

#[test]
fn a_good_answer_is_believed_for_5_s_and_a_bad_one_for_1_s_and_none_past_the_end_of_its_token() {
    for example in Example::both() {
        for (token, exp_s, status, at_s, questions) in [
            ("good", FAR_S, 200, 0.0, 1),
            ("good", FAR_S, 200, 4.999, 1),
            ("good", FAR_S, 200, 5.0, 2),
            ("good", FAR_S, 200, 9.999, 2),
            ("good", FAR_S, 200, 10.0, 3),
            ("bad", FAR_S, 401, 20.0, 1),
            ("bad", FAR_S, 401, 20.999, 1),
            ("bad", FAR_S, 401, 21.0, 2),
            ("good-short", BEGIN_S + 32.0, 200, 30.0, 1),
            ("good-short", BEGIN_S + 32.0, 200, 31.999, 1),
            ("good-short", BEGIN_S + 32.0, 200, 32.0, 2),
        ] {
            example.asked.state().exp_s = exp_s;
            let (told, _) = example.at(at_s).lets_in(token);
            assert_eq!((told, example.questions(token)), (status, questions), "{}: {token}, {at_s} s", example.name);
        }
    }
}

#[test]
fn while_the_hub_is_away_a_good_answer_holds_for_30_s_and_then_nobody_is_told_that_his_token_is_bad() {
    let away = [Hub::HangsUp, Hub::Says(503), Hub::Says(401), Hub::Says(403), Hub::SaysJunk];
    let unavailable = (503, json!("auth_unavailable"));
    for example in Example::both() {
        for (round, hub) in away.into_iter().enumerate() {
            let begin_s = round as f64 * 1000.0;
            let case = format!("{}, {hub:?}", example.name);
            let token = |kind: &str| format!("{kind}-{round}");
            let (good, ends) = (token("good"), token("good-ends"));
            example.hub_is(Hub::Answers);
            assert_eq!(example.at(begin_s).lets_in(&good).0, 200, "{case}");
            example.asked.state().exp_s = BEGIN_S + begin_s + 10.0;
            assert_eq!(example.lets_in(&ends).0, 200, "{case}");
            example.asked.state().exp_s = FAR_S;
            assert_eq!(example.lets_in(&token("bad")).0, 401, "{case}");

            example.hub_is(hub);
            assert_eq!(example.lets_in(&token("good-new")), unavailable, "{case}: never seen before");
            for (token, after_s, expected) in [
                (token("bad"), 0.999, 401),
                (token("bad"), 1.0, 503),
                (good.clone(), 4.999, 200),
                (good.clone(), 5.0, 200),
                (ends.clone(), 9.999, 200),
                (ends, 10.0, 503),
                (good.clone(), 29.999, 200),
                (good.clone(), 30.0, 503),
            ] {
                let told = example.at(begin_s + after_s).lets_in(&token);
                let error = if expected == 503 { unavailable.1.clone() } else { told.1.clone() };
                assert_eq!(told, (expected, error), "{case}: {token} after {after_s} s");
            }
            assert!(example.questions(&good) > 1, "{case}: it goes on asking");
            example.hub_is(Hub::Answers);
            assert_eq!(example.lets_in(&good).0, 200, "{case}: the hub is back");
        }
    }
}

#[test]
fn no_more_than_1024_answers_are_remembered_and_the_oldest_go() {
    const MOST: usize = 1_024;
    for example in Example::both() {
        let token = |number: usize| format!("good-{number}");
        for number in 0..=MOST {
            assert_eq!(example.lets_in(&token(number)).0, 200, "{}, {number}", example.name);
        }
        for (number, questions) in [(MOST, 1), (2, 1), (1, 1), (0, 2), (1, 2), (3, 1), (MOST, 1)] {
            assert_eq!(example.lets_in(&token(number)).0, 200, "{}, {number}", example.name);
            assert_eq!(example.questions(&token(number)), questions, "{}: {number}", example.name);
        }
    }
}

#[test]
fn callers_with_the_same_token_wait_for_one_question() {
    const CALLERS: usize = 8;
    for (hub, status) in [(Hub::Answers, 200), (Hub::Says(503), 503)] {
        for example in Example::both() {
            let case = format!("{}, {hub:?}", example.name);
            let is_well = || assert_eq!(http::get(example.port, "/checks/health").expect("an answer").status, 200);
            let before = example.descriptors();
            example.hub_is(hub);
            example.hub_answers(0);
            thread::scope(|scope| {
                let callers = [(); CALLERS].map(|()| scope.spawn(|| example.lets_in("good").0));
                // Their connections and that to the hub are there, and whoever comes after them is answered.
                eventually("all of them", || (example.descriptors() > before + CALLERS).then_some(()));
                is_well();
                assert!(!callers.iter().any(|caller| caller.is_finished()), "{case}: an answer before its time");
                example.hub_answers(1);
                eventually("an answer", || callers.iter().any(|caller| caller.is_finished()).then_some(()));
                // Who comes now finds an answer, or asks once more, but not beside somebody else.
                let mut late = Connection::open(example.port);
                late.ask("GET", "/checks/page", "Authorization: Bearer good\r\n");
                if hub != Hub::Answers {
                    eventually("the next question", || (example.questions("good") > 1).then_some(()));
                }
                is_well();
                is_well();
                example.hub_answers(usize::MAX);
                assert_eq!(late.answer("GET").expect("an answer").status, status, "{case}");
                for caller in callers {
                    assert_eq!(caller.join().expect("a caller does not panic"), status, "{case}");
                }
            });
            assert_eq!(example.asked.state().most, 1, "{case}");
            assert!(hub != Hub::Answers || example.questions("good") == 1, "{case}: {}", example.questions("good"));
        }
    }
}

#[test]
fn the_hub_is_asked_on_a_connection_that_is_kept() {
    for example in Example::both() {
        for number in 0..20 {
            assert_eq!(example.lets_in(&format!("good-{number}")).0, 200, "{}", example.name);
        }
        assert_eq!(example.hub.connections(), 1, "{}", example.name);
        // One that is gone is not the end of it, at whatever moment it is noticed.
        example.hub_is(Hub::AnswersOnce);
        for number in 20..40 {
            assert_eq!(example.lets_in(&format!("good-{number}")).0, 200, "{}", example.name);
        }
        assert_eq!(example.hub.connections(), 20, "{}", example.name);
    }
}
