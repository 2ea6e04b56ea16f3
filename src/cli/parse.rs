//! Pure: argv to a plain `Command`; the only place that names `lexopt`. Opens nothing, so help works on a broken machine.

mod auth;
mod error;
mod hub;

pub(crate) use auth::{Auth, Mint, Overlapping};
pub(crate) use error::UsageError;
pub(crate) use hub::OfHub;

use super::spec::{Flag, GLOBAL_FLAGS, VERBS, Verb, Words, verb};
use super::suggest::nearest;
use crate::client::Op;
use crate::config::parse_port;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

/// `logs` starts so many lines back.
pub(crate) const DEFAULT_LINES: usize = 200;
/// More lines than any ring or five rotated files of 2 MiB hold.
const MOST_LINES: u64 = 1_000_000;
/// An hour: longer than any start or stop may take.
const LONGEST_TIMEOUT_S: u64 = 3600;
/// How much of a hostile word a message repeats.
const SHOWN_CHARS: usize = 60;

/// One run of the program, as asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Invocation {
    pub(crate) globals: Globals,
    pub(crate) command: Command,
}

/// What every verb takes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Globals {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) home: Option<PathBuf>,
    pub(crate) timeout: Option<Duration>,
}

/// A verb with everything it was given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    Help { verb: Option<&'static Verb> },
    Version,
    Completions { kind: Completions },
    Serve { port: Option<u16> },
    Lifecycle { op: Op, names: Vec<String>, wait: Wait },
    Status { names: Vec<String>, how: How },
    Logs { name: String, follow: bool, lines: usize },
    Add(Box<Add>),
    Install(Install),
    Remove { name: String },
    Check,
    Open { path: Option<String>, here: bool },
    Auth(Box<Auth>),
    Hub(OfHub),
    Doctor { fix: bool },
    Backup { file: PathBuf },
    Restore { file: PathBuf },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completions {
    Bash,
    Zsh,
    Fish,
    /// The installed modules, one a line: what the scripts themselves ask for.
    Modules,
}

/// `add`: a command becomes a module.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Add {
    pub(crate) name: String,
    /// Never empty.
    pub(crate) argv: Vec<String>,
    pub(crate) port: Option<u16>,
    pub(crate) path: Option<String>,
    pub(crate) health: Option<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Where the command runs; `None` means where `add` was run.
    pub(crate) cwd: Option<String>,
    pub(crate) strip_prefix: bool,
    pub(crate) exposure: Option<Reachable>,
    pub(crate) stop_signal: Option<String>,
    pub(crate) restart: Option<String>,
    pub(crate) ready: Option<String>,
    pub(crate) after: AfterRegistering,
}

/// Who may reach a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reachable {
    Public,
    Private,
}

/// `install`: a directory becomes a module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Install {
    pub(crate) directory: PathBuf,
    pub(crate) port: Option<u16>,
    pub(crate) after: AfterRegistering,
}

/// What `status` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Once,
    /// Once, with an exit code that wants everything well.
    Check,
    /// Until it is ended.
    Watch,
}

/// What a verb waits for before it says how it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Wait {
    /// That the hub has taken the order.
    Ordered,
    /// That it is done.
    #[default]
    Done,
    /// That it answers on its port as well.
    Reachable,
}

/// What `add` and `install` share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AfterRegistering {
    pub(crate) no_start: bool,
    pub(crate) replace: bool,
    pub(crate) wait: Wait,
}

/// A command line that cannot be understood, and how its failure is to be shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refused {
    pub(crate) error: UsageError,
    pub(crate) verb: Option<&'static Verb>,
    pub(crate) json: bool,
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(args: Vec<OsString>) -> Result<Invocation, Refused> {
    let asked = |flag: &str| args.iter().take_while(|arg| *arg != "--").any(|arg| arg == flag);
    let json = asked("--json");
    // Help wins over whatever else is wrong with the line.
    let help = asked("--help") || asked("-h");
    let mut found = Found::default();
    let command = collect(args, &mut found).and_then(|()| found.command());
    match command {
        Ok(command) => match found.globals() {
            Ok(globals) => Ok(Invocation { globals, command }),
            Err(error) => Err(Refused { error, verb: found.verb, json }),
        },
        Err(_) if help => Ok(Invocation {
            globals: Globals { json, ..Globals::default() },
            command: Command::Help { verb: found.verb },
        }),
        Err(error) => Err(Refused { error, verb: found.verb, json }),
    }
}

/// The pieces of a command line, before they mean anything.
#[derive(Default)]
struct Found {
    verb: Option<&'static Verb>,
    flags: Vec<(&'static Flag, Option<OsString>)>,
    words: Vec<OsString>,
    /// What follows `--` for a verb that takes a command.
    argv: Option<Vec<OsString>>,
}

enum Piece {
    Flag(String, Option<char>),
    Word(OsString),
}

fn collect(args: Vec<OsString>, found: &mut Found) -> Result<(), UsageError> {
    let mut parser = lexopt::Parser::from_args(args);
    loop {
        if found.verb.is_some_and(|verb| verb.words == Words::NewName) && take_dashes(&mut parser) {
            found.argv = Some(parser.raw_args().map_err(understand)?.collect());
            return Ok(());
        }
        let piece = match parser.next().map_err(understand)? {
            None => return Ok(()),
            Some(lexopt::Arg::Long(long)) => Piece::Flag(long.to_owned(), None),
            Some(lexopt::Arg::Short(short)) => Piece::Flag(String::new(), Some(short)),
            Some(lexopt::Arg::Value(word)) => Piece::Word(word),
        };
        match piece {
            Piece::Word(word) => match found.verb {
                Some(group) if !group.subs.is_empty() && found.words.is_empty() && word != "help" => {
                    found.verb = Some(find_sub(group, &word)?);
                }
                Some(_) => found.words.push(word),
                None => found.verb = Some(find_verb(&word)?),
            },
            Piece::Flag(long, short) => {
                let flag = find_flag(found.verb, &long, short)?;
                let value = match flag.value {
                    None => None,
                    Some(name) => Some(take_value(&mut parser, flag, name)?),
                };
                if !flag.repeat && value.is_some() && found.flags.iter().any(|(other, _)| *other == flag) {
                    return Err(UsageError::Repeated { flag: flag.long });
                }
                found.flags.push((flag, value));
            }
        }
    }
}

/// Consumes a `--` that comes next.
fn take_dashes(parser: &mut lexopt::Parser) -> bool {
    parser.try_raw_args().is_some_and(|mut raw| raw.next_if(|arg| arg == "--").is_some())
}

/// A value that follows as a word of its own must not look like the next flag: `--home --json` forgot it.
fn take_value(parser: &mut lexopt::Parser, flag: &Flag, name: &'static str) -> Result<OsString, UsageError> {
    let value = match parser.optional_value() {
        Some(value) => Some(value),
        None => parser.raw_args().map_err(understand)?.next_if(|arg| !arg.as_encoded_bytes().starts_with(b"--")),
    };
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| UsageError::MissingValue { flag: format!("--{}", flag.long), value: name })
}

fn find_verb(word: &OsStr) -> Result<&'static Verb, UsageError> {
    let name = word.to_string_lossy();
    verb(&name).ok_or_else(|| UsageError::UnknownVerb {
        word: shown(word),
        near: nearest(&name, VERBS.iter().map(|verb| verb.name)),
    })
}

fn find_sub(group: &'static Verb, word: &OsStr) -> Result<&'static Verb, UsageError> {
    let name = word.to_string_lossy();
    group.subs.iter().find(|sub| sub.name == name).ok_or_else(|| UsageError::UnknownVerb {
        word: shown(word),
        near: nearest(&name, group.subs.iter().map(|sub| sub.name)),
    })
}

fn find_flag(verb: Option<&'static Verb>, long: &str, short: Option<char>) -> Result<&'static Flag, UsageError> {
    let own = verb.map_or(&[][..], |verb| verb.flags);
    let flags = || own.iter().chain(GLOBAL_FLAGS);
    match short {
        Some(short) => flags().find(|flag| flag.short == Some(short)).ok_or_else(|| UsageError::UnknownFlag {
            flag: format!("-{}", shown(short.to_string().as_ref())),
            near: None,
        }),
        None => flags().find(|flag| flag.long == long).ok_or_else(|| UsageError::UnknownFlag {
            flag: format!("--{}", shown(long.as_ref())),
            near: nearest(long, flags().map(|flag| flag.long)),
        }),
    }
}

fn understand(error: lexopt::Error) -> UsageError {
    match error {
        lexopt::Error::UnexpectedValue { option, .. } => UsageError::UnexpectedValue { flag: shown(option.as_ref()) },
        lexopt::Error::MissingValue { option } => {
            UsageError::MissingValue { flag: shown(option.unwrap_or_default().as_ref()), value: "VALUE" }
        }
        lexopt::Error::NonUnicodeValue(word) => UsageError::NotUtf8 { word: shown(&word) },
        other => UsageError::ExtraWord { word: shown(other.to_string().as_ref()) },
    }
}

/// A word of the user in a message: short, and without control characters.
fn shown(word: &OsStr) -> String {
    let text: String = super::out::printable(&word.to_string_lossy()).chars().take(SHOWN_CHARS + 1).collect();
    if text.chars().count() > SHOWN_CHARS { text.chars().take(SHOWN_CHARS).chain(['…']).collect() } else { text }
}

impl Found {
    fn has(&self, long: &str) -> bool {
        self.flags.iter().any(|(flag, _)| flag.long == long)
    }

    fn raw(&self, long: &str) -> Option<(&'static Flag, &OsStr)> {
        self.flags
            .iter()
            .find_map(|(flag, value)| Some((*flag, value.as_deref()?)).filter(|(flag, _)| flag.long == long))
    }

    fn text(&self, long: &str) -> Result<Option<String>, UsageError> {
        let Some((flag, value)) = self.raw(long) else { return Ok(None) };
        let value = utf8(value)?;
        if !flag.choices.is_empty() && !flag.choices.contains(&value.as_str()) {
            return Err(bad(flag.long, &value, &format!("one of {}", flag.choices.join(", "))));
        }
        Ok(Some(value))
    }

    fn number(&self, long: &'static str, from: u64, to: u64) -> Result<Option<u64>, UsageError> {
        let Some(text) = self.text(long)? else { return Ok(None) };
        let digits = text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(number) if digits && (from..=to).contains(&number) => Ok(Some(number)),
            _ => Err(bad(long, &text, &format!("an integer {from}..{to}"))),
        }
    }

    fn port(&self) -> Result<Option<u16>, UsageError> {
        match self.text("port")? {
            None => Ok(None),
            Some(text) => parse_port(&text).map(Some).ok_or_else(|| bad("port", &text, "an integer 1..65535")),
        }
    }

    /// Where a browser is to come to.
    fn page(&self) -> Result<Option<String>, UsageError> {
        let path = self.words.first().map(|word| utf8(word)).transpose()?;
        match path {
            Some(path) if !path.starts_with('/') => Err(UsageError::BadPath { word: shown(path.as_ref()) }),
            path => Ok(path),
        }
    }

    fn globals(&self) -> Result<Globals, UsageError> {
        Ok(Globals {
            json: self.has("json"),
            quiet: self.has("quiet"),
            home: self.raw("home").map(|(_, value)| PathBuf::from(value)),
            timeout: self.number("timeout", 1, LONGEST_TIMEOUT_S)?.map(Duration::from_secs),
        })
    }

    fn command(&self) -> Result<Command, UsageError> {
        let Some(verb) = self.verb else {
            return Ok(if self.has("version") { Command::Version } else { Command::Help { verb: None } });
        };
        if self.has("help") || (verb.name != "help" && self.words.first().is_some_and(|word| word == "help")) {
            return Ok(Command::Help { verb: Some(verb) });
        }
        if self.has("version") {
            return Ok(Command::Version);
        }
        self.check_words(verb)?;
        match verb.group {
            Some("hub") => return self.of_hub(verb.name).map(Command::Hub),
            // `auth`, and nothing else: the table and these are compared by tests.
            Some(_) => return Ok(Command::Auth(Box::new(self.auth(verb.name)?))),
            None => {}
        }
        match verb.name {
            "serve" => Ok(Command::Serve { port: self.serve_port()? }),
            "start" => Ok(Command::Lifecycle { op: Op::Start, names: self.names()?, wait: self.wait()? }),
            "stop" => Ok(Command::Lifecycle { op: Op::Stop, names: self.names()?, wait: self.wait()? }),
            "restart" => Ok(Command::Lifecycle { op: Op::Restart, names: self.names()?, wait: self.wait()? }),
            "status" => Ok(Command::Status { names: self.names()?, how: self.how()? }),
            "logs" => Ok(Command::Logs {
                name: self.name()?,
                follow: self.has("follow"),
                lines: match self.number("lines", 0, MOST_LINES)? {
                    None => DEFAULT_LINES,
                    Some(lines) => usize::try_from(lines).unwrap_or(usize::MAX),
                },
            }),
            "add" => Ok(Command::Add(Box::new(self.add()?))),
            "install" => {
                Ok(Command::Install(Install { directory: self.directory(), port: self.port()?, after: self.after()? }))
            }
            "remove" => Ok(Command::Remove { name: self.name()? }),
            "check" => Ok(Command::Check),
            "open" => Ok(Command::Open { path: self.page()?, here: self.has("here") }),
            "doctor" => Ok(Command::Doctor { fix: self.has("fix") }),
            // A file of this name would hold every secret, and was not meant.
            "backup" if self.path().as_os_str() == "-" => Err(UsageError::NoStdout),
            "backup" => Ok(Command::Backup { file: self.path() }),
            "restore" => Ok(Command::Restore { file: self.path() }),
            "version" => Ok(Command::Version),
            "completions" => Ok(Command::Completions { kind: self.completions()? }),
            // `help`, and nothing else: the table and this match are compared by a test.
            _ => match (self.words.first(), self.words.get(1)) {
                (None, _) => Ok(Command::Help { verb: None }),
                (Some(word), None) => Ok(Command::Help { verb: Some(find_verb(word)?) }),
                (Some(group), Some(word)) => {
                    let group = find_verb(group)?;
                    if group.subs.is_empty() {
                        return Err(UsageError::ExtraWord { word: shown(word) });
                    }
                    Ok(Command::Help { verb: Some(find_sub(group, word)?) })
                }
            },
        }
    }

    fn check_words(&self, verb: &Verb) -> Result<(), UsageError> {
        let (fewest, most) = verb.words.range();
        if self.words.len() < fewest {
            let what = match verb.words {
                Words::OneModule | Words::Modules => "the module's name",
                Words::NewName => "the new module's name",
                Words::Directory => "the directory",
                Words::File => "the file",
                Words::Shell => "the shell",
                Words::Jti => "the token's jti",
                Words::Sub => "the command",
                Words::MaybeJti | Words::MaybeOrigin | Words::MaybePath | Words::MaybeVerb | Words::None => {
                    "an argument"
                }
            };
            return Err(UsageError::MissingWord { what });
        }
        match self.words.get(most) {
            None => Ok(()),
            Some(word) if verb.words == Words::NewName && self.argv.is_none() => {
                Err(UsageError::CommandWithoutDashes { word: shown(word) })
            }
            Some(word) => Err(UsageError::ExtraWord { word: shown(word) }),
        }
    }

    fn names(&self) -> Result<Vec<String>, UsageError> {
        self.words.iter().map(|word| utf8(word)).collect()
    }

    fn name(&self) -> Result<String, UsageError> {
        self.words.first().map_or(Ok(String::new()), |word| utf8(word))
    }

    fn path(&self) -> PathBuf {
        self.words.first().map(PathBuf::from).unwrap_or_default()
    }

    /// `file:DIR` and `file:///DIR` are spellings of a directory (install-upgrade §12.1).
    fn directory(&self) -> PathBuf {
        let path = self.path();
        let Some(rest) = path.to_str().and_then(|text| text.strip_prefix("file:")) else { return path };
        PathBuf::from(rest.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(rest))
    }

    /// 0 asks the kernel for a free port.
    fn serve_port(&self) -> Result<Option<u16>, UsageError> {
        Ok(self.number("port", 0, 65535)?.and_then(|port| u16::try_from(port).ok()))
    }

    fn after(&self) -> Result<AfterRegistering, UsageError> {
        Ok(AfterRegistering { no_start: self.has("no-start"), replace: self.has("replace"), wait: self.wait()? })
    }

    fn how(&self) -> Result<How, UsageError> {
        Ok(self.either(("check", How::Check), ("watch", How::Watch))?.unwrap_or(How::Once))
    }

    fn wait(&self) -> Result<Wait, UsageError> {
        Ok(self.either(("wait", Wait::Reachable), ("no-wait", Wait::Ordered))?.unwrap_or_default())
    }

    /// What the one of two switches means that is given.
    fn either<T>(&self, one: (&'static str, T), other: (&'static str, T)) -> Result<Option<T>, UsageError> {
        match (self.has(one.0), self.has(other.0)) {
            (true, true) => Err(UsageError::Together { one: one.0, other: other.0 }),
            (true, false) => Ok(Some(one.1)),
            (false, true) => Ok(Some(other.1)),
            (false, false) => Ok(None),
        }
    }

    fn add(&self) -> Result<Add, UsageError> {
        let argv = self.argv.as_deref().unwrap_or_default();
        if argv.first().is_none_or(|program| program.is_empty()) {
            return Err(UsageError::NoCommand);
        }
        let exposure = self.either(("public", Reachable::Public), ("private", Reachable::Private))?;
        Ok(Add {
            name: self.name()?,
            argv: argv.iter().map(|word| utf8(word)).collect::<Result<_, _>>()?,
            port: self.port()?,
            path: self.text("path")?,
            health: self.text("health")?,
            env: self.variables()?,
            cwd: self.text("cwd")?,
            strip_prefix: self.has("strip-prefix"),
            exposure,
            stop_signal: self.text("stop-signal")?,
            restart: self.text("restart")?,
            ready: self.text("ready")?,
            after: self.after()?,
        })
    }

    fn variables(&self) -> Result<Vec<(String, String)>, UsageError> {
        let given = self.flags.iter().filter(|(flag, _)| flag.long == "env").filter_map(|(_, value)| value.as_deref());
        given
            .map(|value| {
                let value = utf8(value)?;
                match value.split_once('=') {
                    Some((key, rest)) if is_variable(key) => Ok((key.to_owned(), rest.to_owned())),
                    _ => Err(bad("env", &value, "NAME=VALUE with a name of letters, digits and _")),
                }
            })
            .collect()
    }

    fn completions(&self) -> Result<Completions, UsageError> {
        let word = self.name()?;
        match word.as_str() {
            "bash" => Ok(Completions::Bash),
            "zsh" => Ok(Completions::Zsh),
            "fish" => Ok(Completions::Fish),
            "modules" => Ok(Completions::Modules),
            _ => Err(UsageError::BadShell { word: shown(word.as_ref()) }),
        }
    }
}

fn bad(flag: &'static str, value: &str, expected: &str) -> UsageError {
    UsageError::BadValue { flag, value: shown(value.as_ref()), expected: expected.to_owned() }
}

fn utf8(word: &OsStr) -> Result<String, UsageError> {
    word.to_str().map(str::to_owned).ok_or_else(|| UsageError::NotUtf8 { word: shown(word) })
}

/// A name that a shell could assign to.
fn is_variable(name: &str) -> bool {
    name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests;
