//! A running hub in a home of its own.

use super::home::{Home, through};
use super::http::{self, Response};
use super::module::{Module, free_port};
use super::process::{Spawned, complete_lines, kill, with_home};
use super::run::Finished;
use super::secrets;
use super::wait::{eventually, within};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

/// How long the last of a hub's processes may take to vanish once the hub has gone.
const LEFTOVER_GRACE: Duration = Duration::from_secs(5);

/// As on most machines: what belongs to a module is known by all else that tells it.
pub(crate) const WITHOUT_GROUPS: &[(&str, &str)] = &[("PARACHUTE_CGROUPS", "off")];

#[track_caller]
pub(crate) fn start_without_groups(modules: &[Module]) -> Hub {
    Hub::start_with(modules, WITHOUT_GROUPS)
}

/// A hub that answers on a port of its own. Dropping it ends it, checks that nothing of it is left and removes the home.
pub(crate) struct Hub {
    // Dropped first: the home outlives the process.
    serve: Spawned,
    pub(crate) home: Home,
    pub(crate) port: u16,
    environment: Vec<(String, String)>,
}

/// A `serve` that ended instead of listening.
pub(crate) struct Refused {
    pub(crate) home: Home,
    pub(crate) status: ExitStatus,
    /// All that it printed.
    pub(crate) output: String,
}

impl Hub {
    /// Starts a hub with these modules installed; returns once it listens.
    #[track_caller]
    pub(crate) fn start(modules: &[Module]) -> Self {
        Self::start_with(modules, &[])
    }

    /// The same with these variables beside PATH, HOME, PARACHUTE_HOME and PORT.
    #[track_caller]
    pub(crate) fn start_with(modules: &[Module], environment: &[(&str, &str)]) -> Self {
        let home = Home::new();
        for module in modules {
            home.install(module);
        }
        Self::start_in(home, environment)
    }

    /// Starts a hub in a home that a test has prepared.
    #[track_caller]
    pub(crate) fn start_in(home: Home, environment: &[(&str, &str)]) -> Self {
        let environment: Vec<_> = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let port = free_port();
        let mut hub = Self { serve: serve(&home, port, &environment), home, port, environment };
        hub.until_it_listens();
        hub
    }

    /// Starts a hub in a home that a test has prepared, by way of a program that becomes it.
    #[track_caller]
    pub(crate) fn start_through(wrapper: &[&str], home: Home) -> Self {
        let port = free_port();
        let mut command = home.command(&["serve"]);
        command.env("PORT", port.to_string());
        let serve = Spawned::spawn(through(wrapper, &command));
        let mut hub = Self { serve, home, port, environment: Vec::new() };
        hub.until_it_listens();
        hub
    }

    /// Starts a hub in a home that may not do; returns once it listens or has ended.
    #[track_caller]
    pub(crate) fn try_start_in(home: Home, environment: &[(&str, &str)]) -> Result<Self, Refused> {
        let environment: Vec<_> = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let port = free_port();
        let mut serve = serve(&home, port, &environment);
        let ended = eventually("the hub listening or gone", || {
            // The port answers a little earlier; from this line on nothing can keep the hub from running.
            let listens = complete_lines(&serve.output()).any(|line| line.starts_with("[hub] listening on "));
            serve.ended().map(Some).or(listens.then_some(None))
        });
        match ended {
            None => Ok(Self { serve, home, port, environment }),
            Some(status) => Err(Refused { output: serve.whole_output(), home, status }),
        }
    }

    /// Starts the next hub in the same home, after `end` or `kill`.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        self.go_on_as(serve_command(&self.home, self.port, &self.environment));
    }

    /// The same by way of a program that becomes it.
    #[track_caller]
    pub(crate) fn start_again_through(&mut self, wrapper: &[&str]) {
        self.go_on_as(through(wrapper, &serve_command(&self.home, self.port, &self.environment)));
    }

    #[track_caller]
    fn go_on_as(&mut self, serve: Command) {
        assert!(self.serve.ended().is_some(), "the hub before this one is still there");
        self.serve = Spawned::spawn(serve);
        self.until_it_listens();
    }

    #[track_caller]
    fn until_it_listens(&mut self) {
        let pid = self.pid().to_string();
        eventually("the hub listening", || {
            if let Some(status) = self.serve.ended() {
                panic!("serve ended with {status} before it listened");
            }
            // The first word of the pid file tells this hub's boot from an earlier one's.
            let ours = self.home.read("hub/run/hub.pid").split_whitespace().next() == Some(&pid);
            (ours && http::get(self.port, "/health").is_ok_and(|reply| reply.status == 200)).then_some(())
        });
    }

    pub(crate) fn pid(&self) -> u32 {
        self.serve.pid()
    }

    /// Asks the hub to end with TERM and waits for it.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        // Those of this boot are looked for at the end of the last one, too.
        secrets::of(self.home.path());
        kill(self.pid(), "TERM");
        self.until_it_ends()
    }

    /// Waits for the hub to end by itself, and for all that it has printed.
    #[track_caller]
    pub(crate) fn until_it_ends(&mut self) -> ExitStatus {
        let status = self.serve.wait();
        self.serve.whole_output();
        status
    }

    /// Ends the hub, and only the hub, with KILL.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        secrets::of(self.home.path());
        kill(self.pid(), "KILL");
        self.until_it_ends();
    }

    /// Runs the binary with these arguments in the hub's home.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        // What it replaces is still there.
        secrets::of(self.home.path());
        Finished::run(self.home.command(args))
    }

    /// What the hub has printed.
    pub(crate) fn output(&self) -> String {
        self.serve.output()
    }

    /// The first whole line of what it has printed that has these words.
    pub(crate) fn line_with(&self, words: &str) -> Option<String> {
        complete_lines(&self.output()).find(|line| line.contains(words)).map(str::to_owned)
    }

    /// Waits for such a line: what happened may be seen before the console, which has a thread of its own, has told it.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) -> String {
        eventually(&format!("the hub saying {words:?}"), || self.line_with(words))
    }

    /// All that follows `key` at the start of a line of this module, oldest first.
    pub(crate) fn lines_after(&self, short: &str, key: &str) -> Vec<String> {
        let start = format!("[{short}] {key}");
        complete_lines(&self.output()).filter_map(|line| line.strip_prefix(&start)).map(str::to_owned).collect()
    }

    /// Waits for a line of this module that begins with `key`; the rest of the newest one.
    #[track_caller]
    pub(crate) fn line_after(&self, short: &str, key: &str) -> String {
        eventually(&format!("a line of {short} that begins with {key:?}"), || self.lines_after(short, key).pop())
    }

    /// The same, once it is another than `before`: of the next child, whose start is told before it has said anything.
    #[track_caller]
    pub(crate) fn next_line_after(&self, short: &str, key: &str, before: &str) -> String {
        eventually(&format!("a line of {short} that begins with {key:?} and does not end with {before:?}"), || {
            self.lines_after(short, key).pop().filter(|newest| newest != before)
        })
    }

    /// What [`Hub::line_after`] finds, as a number.
    #[track_caller]
    pub(crate) fn number_after(&self, short: &str, key: &str) -> u32 {
        let text = self.line_after(short, key);
        text.parse().unwrap_or_else(|_| panic!("{short} said {key:?} and {text:?}, which is not a number"))
    }

    /// A request without a token.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        http::get(self.port, path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// A request with the operator's token.
    #[track_caller]
    pub(crate) fn api(&self, method: &str, path: &str) -> Response {
        let bearer = format!("Bearer {}", self.token());
        http::request(self.port, method, path, &[("Authorization", &bearer)], b"")
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The operator's token.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        let token = self.home.read("operator.token").trim().to_owned();
        assert!(!token.is_empty(), "the home has no operator.token");
        token
    }

    /// What would help to understand a failure; a test's own output is shown only when it fails.
    #[expect(clippy::print_stderr, reason = "the test harness captures what this macro prints, and nothing else")]
    fn show(&self) {
        eprintln!("=== output of the hub\n{}\n=== files\n{}", self.output(), self.home.show());
    }
}

fn serve(home: &Home, port: u16, environment: &[(String, String)]) -> Spawned {
    Spawned::spawn(serve_command(home, port, environment))
}

fn serve_command(home: &Home, port: u16, environment: &[(String, String)]) -> Command {
    let mut command = home.command(&["serve"]);
    command.env("PORT", port.to_string());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

impl Drop for Hub {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show();
        }
        let home = self.home.path();
        let mut secrets = secrets::of(home);
        secrets.extend(secrets::masters(home));
        let carried = secrets::carried(&secrets, home);
        self.serve.finish();
        let mut leaked = secrets::leaked(&secrets, home, &self.output());
        leaked.extend(carried);
        let gone = within(LEFTOVER_GRACE, || with_home(home).is_empty().then_some(())).is_some();
        // The environment of each names this test's own home: nothing of anybody else is hit.
        let left = if gone { Vec::new() } else { with_home(home) };
        for (pid, _) in &left {
            kill(*pid, "KILL");
        }
        if thread::panicking() {
            return;
        }
        assert!(left.is_empty(), "processes outlived the hub: {left:?}\n{}", self.output());
        assert!(leaked.is_empty(), "a secret of this home is in {leaked:?}");
    }
}
