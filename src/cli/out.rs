//! stdout, stderr, `--json` and closed pipes. Data goes to stdout, everything else to stderr.

use super::at_home::at_home;
use super::exit::{Exit, Failure};
use crate::sys::poll::PollSet;
use crate::sys::signals;
use crate::wire::{Code, SCHEMA_VERSION};
use serde_json::{Map, Value};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::thread;

/// How much a verb says, and in which language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

/// What a verb leaves behind when it came to its end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    /// `data` of `--json`; null when all of it was printed, an object a line.
    pub(crate) data: Value,
    /// Why the exit code is not 0 all the same.
    pub(crate) failure: Option<Failure>,
}

impl Report {
    pub(crate) fn of(data: Value) -> Self {
        Self { data, failure: None }
    }

    /// Each object was printed when it came ([`Out::object`]).
    pub(crate) fn streamed() -> Self {
        Self::of(Value::Null)
    }
}

/// The two streams of one run of the program.
pub(crate) struct Out {
    style: Style,
    stdout: Box<dyn Write>,
    stderr: Box<dyn Write>,
    /// Why stdout takes no more; what comes later is thrown away.
    broken: Option<ErrorKind>,
    /// With `--json`: for the object at the end.
    warnings: Vec<String>,
    /// The verb whose lines have no end: its warnings do not wait for one.
    followed: Option<&'static str>,
    /// The streams are those of the process.
    of_process: bool,
    /// What `--home` named, as a word of a shell.
    home: Option<String>,
}

impl Out {
    pub(crate) fn of_process(style: Style) -> Self {
        Self { of_process: true, ..Self::new(style, Box::new(io::stdout()), Box::new(io::stderr())) }
    }

    pub(crate) fn new(style: Style, stdout: Box<dyn Write>, stderr: Box<dyn Write>) -> Self {
        Self {
            style,
            stdout,
            stderr,
            broken: None,
            warnings: Vec::new(),
            followed: None,
            of_process: false,
            home: None,
        }
    }

    /// The commands that are told to type from now on are for this home, a word of a shell.
    pub(crate) fn set_home(&mut self, home: Option<String>) {
        self.home = home;
    }

    /// Says nothing to anybody.
    pub(crate) fn silent() -> Self {
        Self::new(Style { json: false, quiet: true }, Box::new(io::sink()), Box::new(io::sink()))
    }

    pub(crate) fn is_json(&self) -> bool {
        self.style.json
    }

    /// Whether somebody looks at the lines as they come.
    pub(crate) fn is_terminal(&self) -> bool {
        self.of_process && !self.style.json && io::stdout().is_terminal()
    }

    /// Whether the reader has gone: a follower ends then.
    pub(crate) fn is_closed(&self) -> bool {
        self.broken.is_some()
    }

    /// What was asked for: a table, log lines, a help page. Printed with `--quiet` too, not with `--json`.
    pub(crate) fn data(&mut self, text: &str) {
        if !self.style.json {
            self.print(text);
        }
    }

    /// One line of what was done. Silent with `--quiet` and with `--json`.
    pub(crate) fn done(&mut self, line: &str) {
        if !self.style.json && !self.style.quiet {
            let line = self.told(line);
            self.print(&format!("{line}\n"));
        }
    }

    /// One object of a stream of them (`logs --json`).
    pub(crate) fn object(&mut self, object: &Value) {
        self.print(&format!("{object}\n"));
    }

    /// From now on lines come until the reader or the verb is ended: with `--json` each warning is an object of its own on
    /// stderr. The program ends with its reader, also when there is no line for a long time, and well on SIGINT (cli §5):
    /// what was printed until then has left it.
    pub(crate) fn follow(&mut self, command: &'static str) {
        self.followed = Some(command);
        if self.of_process {
            signals::end_well_on_interrupt();
            // Without it the next line ends the program.
            let _ = thread::Builder::new().name("reader".to_owned()).spawn(end_with_reader);
        }
    }

    /// Something to know that stops nothing. Silent with `--quiet`; part of the object with `--json`.
    pub(crate) fn warn(&mut self, text: &str) {
        let text = self.told(text);
        if self.style.json {
            self.warnings.push(text);
            if let Some(command) = self.followed {
                let object = self.envelope(command, true, Value::Null);
                self.complain(&format!("{object}\n"));
            }
        } else if !self.style.quiet {
            self.complain(&format!("⚠ {text}\n"));
        }
    }

    /// A failure's own layout, in text only.
    pub(crate) fn problem(&mut self, text: &str) {
        if !self.style.json {
            let text = self.told(text);
            self.complain(&text);
        }
    }

    /// Prints what is left to say and returns the exit code.
    pub(crate) fn finish(&mut self, command: &str, outcome: Result<Report, Failure>) -> Exit {
        let failure = match outcome {
            Ok(report) => {
                if self.style.json {
                    let is_streamed = report.data.is_null();
                    let has_more = !is_streamed || !self.warnings.is_empty();
                    let object = has_more.then(|| self.envelope(command, report.failure.is_none(), report.data));
                    match object {
                        Some(object) if is_streamed => self.complain(&format!("{object}\n")),
                        Some(object) => self.object(&object),
                        None => {}
                    }
                }
                report.failure
            }
            Err(failure) => Some(failure),
        };
        if let Err(error) = self.stdout.flush() {
            self.broken.get_or_insert(error.kind());
        }
        let failure = failure.or_else(|| match self.broken {
            None | Some(ErrorKind::BrokenPipe) => None,
            Some(kind) => Some(Failure::new(
                Code::Failed,
                format!("cannot write to standard output: {kind}"),
                "is the disk full? only what was to be printed is lost",
            )),
        });
        match failure {
            None => Exit::Success,
            Some(failure) => {
                self.fail(&failure);
                failure.exit
            }
        }
    }

    fn fail(&mut self, failure: &Failure) {
        if self.style.json {
            let (message, hint) = (self.told(&failure.message), self.told(&failure.hint));
            let mut object = Failure { message, hint, ..failure.clone() }.to_json();
            // What was not said with the data, because there was none.
            if !self.warnings.is_empty() {
                object["warnings"] = std::mem::take(&mut self.warnings).into();
            }
            self.complain(&format!("{object}\n"));
        } else if !failure.shown {
            let text = self.told(&format!("parachute: {}\n  {}\n", failure.message, failure.hint));
            self.complain(&text);
        }
    }

    /// A sentence of ours as it is said: what stands in it may be from a file or a module, and commands in it are for the
    /// home that this one was for.
    fn told(&self, text: &str) -> String {
        self.at_home(&tame(text))
    }

    /// Commands that stand in data, for the home that this one was for; what is printed otherwise has it already.
    pub(crate) fn at_home(&self, text: &str) -> String {
        match &self.home {
            Some(home) => at_home(text, home),
            None => text.to_owned(),
        }
    }

    fn envelope(&mut self, command: &str, ok: bool, data: Value) -> Value {
        let mut object = Map::new();
        object.insert("ok".into(), ok.into());
        object.insert("schema_version".into(), SCHEMA_VERSION.into());
        object.insert("command".into(), command.into());
        object.insert("data".into(), data);
        if !self.warnings.is_empty() {
            object.insert("warnings".into(), std::mem::take(&mut self.warnings).into());
        }
        Value::Object(object)
    }

    fn print(&mut self, text: &str) {
        if self.broken.is_some() {
            return;
        }
        if let Err(error) = self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.flush()) {
            self.broken = Some(error.kind());
        }
    }

    /// Nothing is left to tell when stderr fails: the exit code still says it.
    fn complain(&mut self, text: &str) {
        let _ = self.stderr.write_all(text.as_bytes()).and_then(|()| self.stderr.flush());
    }
}

/// Ends the program as a closed pipe does once nobody can read what it prints.
fn end_with_reader() {
    let stdout = io::stdout();
    let mut set = PollSet::default();
    let slot = set.abandoned(stdout.as_fd());
    if set.wait(None).is_ok() && set.is_ready(slot) {
        std::process::exit(Exit::Success.number().into());
    }
}

/// `text` without what could move a terminal's cursor or more; lines and columns stay.
fn tame(text: &str) -> String {
    without_controls(text, &['\n', '\t'])
}

/// `text` as one line of a terminal: control characters from files and modules could move its cursor.
pub(crate) fn printable(text: &str) -> String {
    without_controls(text, &[])
}

fn without_controls(text: &str, kept: &[char]) -> String {
    text.chars().map(|c| if c.is_control() && !kept.contains(&c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;
    use std::cell::RefCell;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;

    /// A stream that a test can read back.
    #[derive(Clone, Default)]
    pub(crate) struct Page(Rc<RefCell<Vec<u8>>>);

    impl Page {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).expect("we print UTF-8")
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An `Out` with what it printed on stdout and stderr.
    pub(crate) fn pages(json: bool, quiet: bool) -> (Out, Page, Page) {
        let (out, err) = (Page::default(), Page::default());
        (Out::new(Style { json, quiet }, Box::new(out.clone()), Box::new(err.clone())), out, err)
    }

    fn failure() -> Failure {
        Failure::new(Code::HubDown, "it is down", "start it with: parachute serve")
    }

    #[test]
    fn a_reader_that_leaves_early_ends_it_quietly() {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        theirs.shutdown(Shutdown::Both).expect("shut down");
        let err = Page::default();
        let style = Style { json: false, quiet: false };
        let mut out = Out::new(style, Box::new(ours), Box::new(err.clone()));
        out.data("one\n");
        assert!(out.is_closed());
        out.data("two\n");
        assert_eq!(out.finish("status", Ok(Report::of(Value::Null))), Exit::Success);
        assert_eq!(err.text(), "");
    }

    #[test]
    fn a_full_disk_is_a_failure() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let err = Page::default();
        let mut out = Out::new(Style { json: true, quiet: false }, Box::new(full), Box::new(err.clone()));
        assert_eq!(out.finish("status", Ok(Report::of(json!({})))), Exit::Failed);
        assert!(err.text().contains("cannot write to standard output"), "{}", err.text());
        assert!(err.text().contains("only what was to be printed is lost"), "{}", err.text());
    }

    #[test]
    fn every_kind_of_line_has_its_stream() {
        for (json, quiet, stdout, stderr) in [
            (
                false,
                false,
                "data\ndone\n",
                "⚠ careful\n✗ no\nparachute: it is down\n  start it with: parachute serve\n",
            ),
            (false, true, "data\n", "✗ no\nparachute: it is down\n  start it with: parachute serve\n"),
        ] {
            let (mut out, page, complaints) = pages(json, quiet);
            out.data("data\n");
            out.done("done");
            out.warn("careful");
            out.problem("✗ no\n");
            assert_eq!(out.finish("x", Err(failure())), Exit::HubUnreachable);
            assert_eq!((page.text().as_str(), complaints.text().as_str()), (stdout, stderr), "{json} {quiet}");
        }
    }

    #[test]
    fn json_is_one_object_on_each_stream_and_agrees_with_the_exit_code() {
        let (mut out, page, complaints) = pages(true, false);
        out.data("data\n");
        out.done("done");
        out.warn("careful");
        out.problem("✗ no\n");
        let report = Report { data: json!({"n": 1}), failure: Some(failure().already_shown()) };
        assert_eq!(out.finish("x", Ok(report)), Exit::HubUnreachable);
        assert_eq!(
            page.text(),
            "{\"ok\":false,\"schema_version\":1,\"command\":\"x\",\"data\":{\"n\":1},\"warnings\":[\"careful\"]}\n"
        );
        let error: Value = serde_json::from_str(&complaints.text()).expect("one object");
        assert_eq!((&error["error"]["exit"], error.get("warnings")), (&json!(5), None), "said already");
        let (mut out, page, complaints) = pages(true, false);
        out.warn("careful");
        assert_eq!(out.finish("x", Err(failure())), Exit::HubUnreachable);
        let error: Value = serde_json::from_str(&complaints.text()).expect("one object");
        assert_eq!((page.text().as_str(), &error["warnings"]), ("", &json!(["careful"])));
    }

    #[test]
    fn what_is_followed_has_no_end_that_a_warning_could_wait_for() {
        let (mut out, page, complaints) = pages(true, false);
        out.follow("logs");
        out.warn("careful");
        let warning =
            "{\"ok\":true,\"schema_version\":1,\"command\":\"logs\",\"data\":null,\"warnings\":[\"careful\"]}\n";
        assert_eq!((page.text().as_str(), complaints.text().as_str()), ("", warning));
        assert_eq!(out.finish("logs", Ok(Report::streamed())), Exit::Success);
        assert_eq!((page.text().as_str(), complaints.text().as_str()), ("", warning), "once");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\t"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
    }
}
