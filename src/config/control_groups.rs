//! Whether modules get control groups of their own.

use super::ConfigError;
use super::variables::Variables;

const EXPECTED: &str = "auto, on or off";

/// `PARACHUTE_CGROUPS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlGroups {
    /// Where it can be told that they may be made.
    Auto,
    /// Also where nobody has said so.
    On,
    Off,
}

impl ControlGroups {
    pub(super) fn read(variables: &Variables) -> Result<Self, ConfigError> {
        let setting = variables.parsed("PARACHUTE_CGROUPS", EXPECTED, |value| match value {
            "auto" => Some(Self::Auto),
            "on" => Some(Self::On),
            "off" => Some(Self::Off),
            _ => None,
        })?;
        Ok(setting.unwrap_or(Self::Auto))
    }
}
