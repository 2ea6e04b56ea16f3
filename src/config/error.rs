//! Why the surroundings do not do, in words.

use std::fmt;
use std::path::PathBuf;

/// Why the surroundings do not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigError {
    /// Neither `PARACHUTE_HOME` nor `HOME` says where the home is.
    NoHome,
    /// The home is not an absolute path.
    RelativeHome { variable: &'static str, value: PathBuf },
    /// A secret that cannot be one; it is not shown.
    NotText { variable: &'static str },
    /// A variable holds a value that cannot be used.
    Invalid { variable: &'static str, value: String, expected: &'static str },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHome => write!(f, "neither PARACHUTE_HOME nor HOME is set; set PARACHUTE_HOME to an absolute path"),
            Self::RelativeHome { variable, value } => {
                write!(f, "{variable} is {}, which is not absolute; set it to an absolute path", value.display())
            }
            Self::NotText { variable } => write!(f, "{variable} is not UTF-8 text, which a token is"),
            Self::Invalid { variable, value, expected } => {
                write!(f, "{variable} is {value:?}; it must be {expected}")
            }
        }
    }
}
