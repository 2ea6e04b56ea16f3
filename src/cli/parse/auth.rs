//! Pure: what `auth` was asked for.

use super::{Found, UsageError, bad};
use crate::token::grant::LIFETIME_MAX_S;
use crate::token::scope::ScopeSet;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::time::Duration;

/// `auth log` shows so many lines.
const LOG_LINES: u32 = 100;
const LOG_LINES_MAX: u64 = 10_000;
/// Longest grace of a key: as long as any token lives.
const GRACE_MAX_S: u64 = LIFETIME_MAX_S;

/// A verb behind `auth` with everything it was given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Auth {
    Mint(Mint),
    List { revoked: Option<bool>, active: Option<bool>, subject: Option<String>, via: Option<String> },
    Show { jti: Option<String> },
    Revoke { jti: String, cascade: bool },
    RevokeAll { subject: String },
    RotateOperator { set: Option<ScopeSet>, keep_old: bool },
    RotateKey { overlap: Overlapping, set: Option<ScopeSet> },
    ModuleKey { name: String, file: Option<PathBuf>, remove: bool },
    Log { lines: u32 },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mint {
    pub(crate) scope: String,
    pub(crate) aud: Option<String>,
    pub(crate) expires_in_s: Option<u64>,
    pub(crate) ephemeral: bool,
    pub(crate) sub: Option<String>,
    pub(crate) permissions: Option<Map<String, Value>>,
    pub(crate) file: Option<PathBuf>,
}

/// How long the key before stays good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlapping {
    UntilTokensExpire,
    For(Duration),
    NotAtAll,
}

impl Auth {
    /// `command` of `--json`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Mint(_) => "auth mint-token",
            Self::List { .. } => "auth list-tokens",
            Self::Show { .. } => "auth show-token",
            Self::Revoke { .. } => "auth revoke-token",
            Self::RevokeAll { .. } => "auth revoke-all",
            Self::RotateOperator { .. } => "auth rotate-operator",
            Self::RotateKey { .. } => "auth rotate-key",
            Self::ModuleKey { .. } => "auth module-key",
            Self::Log { .. } => "auth log",
        }
    }
}

impl Found {
    pub(super) fn auth(&self, name: &str) -> Result<Auth, UsageError> {
        match name {
            "mint-token" => self.mint().map(Auth::Mint),
            "list-tokens" => {
                let [active, revoked] = ["active", "revoked"].map(|flag| self.has(flag).then_some(true));
                if active.is_some() && revoked.is_some() {
                    return Err(UsageError::Together { one: "active", other: "revoked" });
                }
                Ok(Auth::List { revoked, active, subject: self.text("subject")?, via: self.text("via")? })
            }
            "show-token" => Ok(Auth::Show { jti: self.names()?.into_iter().next() }),
            "revoke-token" => Ok(Auth::Revoke { jti: self.name()?, cascade: !self.has("no-cascade") }),
            "revoke-all" => {
                let subject = self.text("subject")?.ok_or(UsageError::MissingFlag { flag: "subject" })?;
                Ok(Auth::RevokeAll { subject })
            }
            "rotate-operator" => Ok(Auth::RotateOperator { set: self.set()?, keep_old: self.has("keep-old") }),
            "rotate-key" => Ok(Auth::RotateKey { overlap: self.overlap()?, set: self.set()? }),
            "module-key" => {
                let (file, remove) = (self.file("key-file"), self.has("remove"));
                match (&file, remove) {
                    (Some(_), true) => return Err(UsageError::Together { one: "key-file", other: "remove" }),
                    (None, false) if self.has("json") => return Err(UsageError::SecretInJson { flag: "key-file" }),
                    _ => {}
                }
                Ok(Auth::ModuleKey { name: self.name()?, file, remove })
            }
            // `log`, and nothing else: the table and this match are compared by a test.
            _ => {
                let lines = self.number("lines", 1, LOG_LINES_MAX)?;
                Ok(Auth::Log { lines: lines.and_then(|lines| u32::try_from(lines).ok()).unwrap_or(LOG_LINES) })
            }
        }
    }

    fn mint(&self) -> Result<Mint, UsageError> {
        let (file, ephemeral) = (self.file("token-file"), self.has("ephemeral"));
        if file.is_none() && self.has("json") {
            return Err(UsageError::SecretInJson { flag: "token-file" });
        }
        let expires_in_s = self.number("expires-in", 1, LIFETIME_MAX_S)?;
        if ephemeral && expires_in_s.is_some() {
            return Err(UsageError::Together { one: "ephemeral", other: "expires-in" });
        }
        Ok(Mint {
            scope: self.text("scope")?.ok_or(UsageError::MissingFlag { flag: "scope" })?,
            aud: self.text("aud")?,
            expires_in_s,
            ephemeral,
            sub: self.text("sub")?,
            permissions: self.permissions()?,
            file,
        })
    }

    fn permissions(&self) -> Result<Option<Map<String, Value>>, UsageError> {
        let Some(text) = self.text("permissions")? else { return Ok(None) };
        match serde_json::from_str(&text) {
            Ok(Value::Object(map)) => Ok(Some(map)),
            Ok(_) | Err(_) => Err(bad("permissions", &text, "a JSON object")),
        }
    }

    fn set(&self) -> Result<Option<ScopeSet>, UsageError> {
        // The table has let through the names of sets only.
        Ok(self.text("scope-set")?.and_then(|name| ScopeSet::parse(&name)))
    }

    fn overlap(&self) -> Result<Overlapping, UsageError> {
        match (self.text("grace")?, self.has("now")) {
            (Some(_), true) => Err(UsageError::Together { one: "grace", other: "now" }),
            (None, true) => Ok(Overlapping::NotAtAll),
            (None, false) => Ok(Overlapping::UntilTokensExpire),
            (Some(text), false) => match duration(&text) {
                Some(grace) => Ok(Overlapping::For(grace)),
                None => Err(bad("grace", &text, "a time such as 90s, 15m, 24h or 7d, 365d at most")),
            },
        }
    }

    fn file(&self, long: &str) -> Option<PathBuf> {
        self.raw(long).map(|(_, value)| PathBuf::from(value))
    }
}

/// A whole number with its unit.
fn duration(text: &str) -> Option<Duration> {
    let unit_s = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = text.get(..text.len() - 1)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit_s)?;
    (1..=GRACE_MAX_S).contains(&seconds).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse::{Command, parse};

    fn auth(args: &[&str]) -> Result<Auth, String> {
        let args = [&["auth"], args].concat().iter().map(Into::into).collect();
        match parse(args) {
            Ok(invocation) => match invocation.command {
                Command::Auth(auth) => Ok(*auth),
                other => Err(format!("{other:?}")),
            },
            Err(refused) => Err(refused.error.to_string()),
        }
    }

    #[test]
    fn every_verb_of_the_table_has_its_command() {
        for verb in crate::cli::spec::every_verb().filter(|verb| verb.group == Some("auth")) {
            let mut args = vec![verb.name];
            args.extend((verb.words.range().0 > 0).then_some("x"));
            args.extend((verb.name == "mint-token").then_some("--scope=a:b"));
            args.extend((verb.name == "revoke-all").then_some("--subject=s"));
            assert_eq!(auth(&args).map(|auth| auth.name().to_owned()), Ok(verb.path()));
        }
    }

    #[test]
    fn a_line_that_cannot_be_meant_is_refused() {
        for (args, part) in [
            (&[][..], "the command is missing"),
            (&["mint-tokens"], "did you mean mint-token?"),
            (&["mint-token"], "--scope is missing"),
            (&["mint-token", "--scope", "a:b", "--json"], "--json needs --token-file"),
            (&["mint-token", "--scope", "a:b", "--ephemeral", "--expires-in", "5"], "exclude each other"),
            (&["mint-token", "--scope", "a:b", "--expires-in", "0"], "must be an integer 1..31536000"),
            (&["mint-token", "--scope", "a:b", "--expires-in", "31536001"], "must be an integer"),
            (&["mint-token", "--scope", "a:b", "--permissions", "[]"], "must be a JSON object"),
            (&["mint-token", "--scope", "a:b", "--permissions", "{"], "must be a JSON object"),
            (&["mint-token", "x", "--scope", "a:b"], "unexpected argument"),
            (&["revoke-token"], "the token's jti is missing"),
            (&["revoke-token", "a", "b"], "unexpected argument"),
            (&["revoke-token", "a", "--scope", "x"], "unknown flag"),
            (&["revoke-all"], "--subject is missing"),
            (&["rotate-operator", "--scope-set", "root"], "one of install, start, expose, auth, vault, admin"),
            (&["rotate-key", "--now", "--grace", "1h"], "exclude each other"),
            (&["rotate-key", "--grace", "1"], "such as 90s"),
            (&["rotate-key", "--grace", "+1h"], "such as 90s"),
            (&["rotate-key", "--grace", "0s"], "such as 90s"),
            (&["rotate-key", "--grace", "h"], "such as 90s"),
            (&["rotate-key", "--grace", "366d"], "such as 90s"),
            (&["rotate-key", "--grace", "99999999999999999999d"], "such as 90s"),
            (&["list-tokens", "--active", "--revoked"], "exclude each other"),
            (&["list-tokens", "--via", "magic"], "one of operator_mint"),
            (&["module-key"], "the module's name is missing"),
            (&["module-key", "m", "--json"], "--json needs --key-file"),
            (&["module-key", "m", "--key-file", "f", "--remove"], "exclude each other"),
            (&["log", "-n", "0"], "must be an integer"),
        ] {
            let refused = auth(args).expect_err(&format!("{args:?}"));
            assert!(refused.contains(part), "{args:?}: {refused}");
        }
    }

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        for (text, seconds) in
            [("1s", 1), ("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800), ("365d", 31_536_000)]
        {
            let overlap = Overlapping::For(Duration::from_secs(seconds));
            assert_eq!(auth(&["rotate-key", "--grace", text]), Ok(Auth::RotateKey { overlap, set: None }), "{text}");
        }
    }

    #[test]
    fn a_flag_says_what_its_name_says() {
        let list = |revoked, active| Auth::List { revoked, active, subject: None, via: None };
        let revoke = |cascade| Auth::Revoke { jti: "x".into(), cascade };
        for (args, expected) in [
            (&["list-tokens"][..], list(None, None)),
            (&["list-tokens", "--active"], list(None, Some(true))),
            (&["list-tokens", "--revoked"], list(Some(true), None)),
            (&["revoke-token", "x"], revoke(true)),
            (&["revoke-token", "x", "--no-cascade"], revoke(false)),
        ] {
            assert_eq!(auth(args), Ok(expected), "{args:?}");
        }
        let minted = auth(&["mint-token", "--scope=a:b", "--permissions={\"tags\":[]}", "--expires-in=1"]);
        let Ok(Auth::Mint(mint)) = minted else { panic!("{minted:?}") };
        let permissions = mint.permissions.map(Value::Object);
        assert_eq!((permissions, mint.expires_in_s), (Some(serde_json::json!({ "tags": [] })), Some(1)));
    }

    #[test]
    fn help_is_there_for_the_group_and_for_each() {
        for args in [&["--help"][..], &["help"], &["mint-token", "--help"], &["log", "help"], &["revoke-token", "-h"]] {
            assert!(auth(args).is_err_and(|other| other.starts_with("Help")), "{args:?}");
        }
        let parsed = parse(["help", "auth", "log"].map(Into::into).to_vec()).expect("help");
        assert!(matches!(parsed.command, Command::Help { verb: Some(verb) } if verb.path() == "auth log"));
        assert!(parse(["help", "start", "x"].map(Into::into).to_vec()).is_err());
    }
}
