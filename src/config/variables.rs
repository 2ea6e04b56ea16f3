//! The environment as it was given, asked for one variable at a time. What cannot be used is refused with its name.

use super::ConfigError;
use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The names and values of an environment; an empty value counts as unset.
pub(super) struct Variables<'a>(pub(super) &'a [(OsString, OsString)]);

impl<'a> Variables<'a> {
    pub(super) fn get(&self, variable: &str) -> Option<&'a OsStr> {
        let (_, value) = self.0.iter().find(|(name, _)| name == variable)?;
        Some(value.as_os_str()).filter(|value| !value.is_empty())
    }

    /// The value as text; `expected` says what it must be when it is none.
    pub(super) fn text(&self, variable: &'static str, expected: &'static str) -> Result<Option<&'a str>, ConfigError> {
        let Some(value) = self.get(variable) else { return Ok(None) };
        value.to_str().map(Some).ok_or_else(|| invalid(variable, &value.to_string_lossy(), expected))
    }

    /// The value as what `read` makes of it.
    pub(super) fn parsed<T>(
        &self,
        variable: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.text(variable, expected)? else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| invalid(variable, value, expected))
    }

    /// The value as a number in plain decimal digits.
    pub(super) fn number<T: FromStr + PartialOrd>(
        &self,
        variable: &'static str,
        range: &RangeInclusive<T>,
        expected: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let is_plain = |value: &str| value.bytes().all(|byte| byte.is_ascii_digit());
        self.parsed(variable, expected, |value| {
            value.parse().ok().filter(|number| is_plain(value) && range.contains(number))
        })
    }

    /// What is between the value's commas, each as what `read` makes of it. The first that is nothing is the one refused.
    pub(super) fn list<T>(
        &self,
        variable: &'static str,
        expected: &'static str,
        read: impl Fn(&'a str) -> Option<T>,
    ) -> Result<Vec<T>, ConfigError> {
        let all = self.text(variable, expected)?.unwrap_or_default();
        let given = all.split(',').map(str::trim).filter(|one| !one.is_empty());
        given.map(|one| read(one).ok_or_else(|| invalid(variable, one, expected))).collect()
    }
}

pub(super) fn invalid(variable: &'static str, value: &str, expected: &'static str) -> ConfigError {
    ConfigError::Invalid { variable, value: value.to_owned(), expected }
}
