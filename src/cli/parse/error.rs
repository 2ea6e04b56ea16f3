//! Pure: what is wrong with a command line, in sentences that say how it is meant.

use crate::cli::spec::SHELLS;
use std::fmt;

/// What is wrong with the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UsageError {
    UnknownVerb {
        word: String,
        near: Option<&'static str>,
    },
    UnknownFlag {
        flag: String,
        near: Option<&'static str>,
    },
    MissingValue {
        flag: String,
        value: &'static str,
    },
    UnexpectedValue {
        flag: String,
    },
    BadValue {
        flag: &'static str,
        value: String,
        expected: String,
    },
    Repeated {
        flag: &'static str,
    },
    Together {
        one: &'static str,
        other: &'static str,
    },
    MissingFlag {
        flag: &'static str,
    },
    /// A secret belongs into a file of its own and not into an object that is passed around.
    SecretInJson {
        flag: &'static str,
    },
    MissingWord {
        what: &'static str,
    },
    ExtraWord {
        word: String,
    },
    BadShell {
        word: String,
    },
    /// It is no path of the hub's.
    BadPath {
        word: String,
    },
    NotUtf8 {
        word: String,
    },
    /// What is written to a file is not written to standard output.
    NoStdout,
    NoCommand,
    CommandWithoutDashes {
        word: String,
    },
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = |f: &mut fmt::Formatter<'_>, near: &Option<&'static str>, prefix: &str| match near {
            Some(near) => write!(f, "; did you mean {prefix}{near}?"),
            None => Ok(()),
        };
        match self {
            Self::UnknownVerb { word, near } => {
                write!(f, "unknown command \"{word}\"")?;
                mean(f, near, "")
            }
            Self::UnknownFlag { flag, near } => {
                write!(f, "unknown flag {flag}")?;
                mean(f, near, "--")
            }
            Self::MissingValue { flag, value } => write!(f, "{flag} needs a value: {flag} {value}"),
            Self::UnexpectedValue { flag } => write!(f, "{flag} takes no value"),
            Self::BadValue { flag, value, expected } => write!(f, "--{flag} must be {expected}, not \"{value}\""),
            Self::Repeated { flag } => write!(f, "--{flag} is given more than once"),
            Self::Together { one, other } => write!(f, "--{one} and --{other} exclude each other"),
            Self::MissingFlag { flag } => write!(f, "--{flag} is missing"),
            Self::SecretInJson { flag } => write!(f, "--json needs --{flag}, so that the secret is in no JSON"),
            Self::MissingWord { what } => write!(f, "{what} is missing"),
            Self::ExtraWord { word } => write!(f, "unexpected argument \"{word}\""),
            Self::BadPath { word } => write!(f, "PATH must begin with a slash, such as /wiki, not \"{word}\""),
            Self::BadShell { word } => write!(f, "unknown shell \"{word}\"; known: {}", SHELLS.join(", ")),
            Self::NotUtf8 { word } => write!(f, "\"{word}\" is not valid UTF-8"),
            Self::NoStdout => {
                write!(f, "FILE must be a path; - is not standard output, and a file of this name is ./-")
            }
            Self::NoCommand => write!(f, "the module's command is missing; it goes after --"),
            Self::CommandWithoutDashes { word } => {
                write!(f, "unexpected argument \"{word}\"; the module's command goes after --")
            }
        }
    }
}
