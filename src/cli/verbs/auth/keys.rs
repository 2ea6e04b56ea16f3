//! What mends or makes secrets, on the database itself: it has to work with no token, with a bad one and with the hub
//! down. A running hub notices at the next token that it is shown.

use super::desk::{BY_COMMAND, auth_failure, open};
use super::secret_file::SecretFile;
use crate::cli::exit::Failure;
use crate::cli::out::{Out, Report};
use crate::cli::parse::Overlapping;
use crate::config::Config;
use crate::manifest::Short;
use crate::manifest::services::Listing;
use crate::ops::auth::{KeyChange, Overlap, Renewed};
use crate::ops::tokens::iso;
use crate::ops::verify_keys;
use crate::store::services::Services;
use crate::store::{Home, operator_token};
use crate::token::scope::ScopeSet;
use crate::wire::Code;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Tokens that are named one by one; the rest is a number.
const NAMED: usize = 20;

pub(super) fn rotate_operator(
    home: &Home,
    config: &Config,
    set: Option<ScopeSet>,
    keep_old: bool,
    out: &mut Out,
) -> Result<Report, Failure> {
    let authority = open(home, config, out)?;
    let made = authority.rotate_operator(set, keep_old, BY_COMMAND).map_err(|error| auth_failure(&error))?;
    out.done(&format!("✓ new operator token in {}", operator_token::path(home).display()));
    out.done(&format!("  subject {}, set {}, valid until {}", made.sub, made.set.name(), until(&made)));
    if keep_old {
        out.done("  earlier ones stay good until they expire");
    } else {
        out.done(&format!("  revoked {} earlier", made.replaced));
    }
    Ok(Report::of(operator(home, &made)))
}

fn until(made: &Renewed) -> String {
    iso(i64::try_from(made.exp).unwrap_or(i64::MAX))
}

fn operator(home: &Home, made: &Renewed) -> Value {
    json!({
        "path": operator_token::path(home).to_string_lossy(),
        "jti": made.jti,
        "subject": made.sub,
        "scope_set": made.set.name(),
        "expires_at": until(made),
        "replaced": made.replaced,
    })
}

pub(super) fn rotate_key(
    home: &Home,
    config: &Config,
    overlap: Overlapping,
    set: Option<ScopeSet>,
    out: &mut Out,
) -> Result<Report, Failure> {
    let authority = open(home, config, out)?;
    let overlap = match overlap {
        Overlapping::UntilTokensExpire => Overlap::Full,
        Overlapping::For(grace) => Overlap::Grace(grace),
        Overlapping::NotAtAll => Overlap::None,
    };
    let change = authority.rotate_key(overlap, set, BY_COMMAND).map_err(|error| auth_failure(&error))?;
    let done = modules(home, out).map(|document| verify_keys::renew(&authority, &document)).unwrap_or_default();
    let renewed = done.into_iter().filter_map(|(short, done)| match done {
        Ok(renewed) => renewed.then(|| short.to_string()),
        Err(error) => {
            out.warn(&format!("{short} still has the old keys to check tokens with: {error}"));
            None
        }
    });
    let renewed: Vec<String> = renewed.collect();
    say(&change, out);
    Ok(Report::of(json!({
        "kid": change.kid,
        "created_at": iso(change.created_at),
        "old_key_until": change.verify_until.map(iso),
        "ending_early": change.ending.iter().map(|(jti, sub)| json!({ "jti": jti, "subject": sub })).collect::<Vec<_>>(),
        "operator": operator(home, &change.operator),
        "verify_keys": renewed,
    })))
}

fn say(change: &KeyChange, out: &mut Out) {
    out.done(&format!("✓ new key {}, made {}", change.kid, iso(change.created_at)));
    match change.verify_until {
        Some(until) => out.done(&format!("  tokens of the old key are good until {}", iso(until))),
        None => out.done("  tokens of the old key are void"),
    }
    if !change.ending.is_empty() {
        out.done(&format!("  {} tokens end before their time:", change.ending.len()));
        for (jti, sub) in change.ending.iter().take(NAMED) {
            out.done(&format!("    {jti}  {sub}"));
        }
    }
    out.done(&format!(
        "  new operator token, set {}, valid until {}",
        change.operator.set.name(),
        until(&change.operator)
    ));
}

/// The modules; `None` when their list cannot be read, which is said.
fn modules(home: &Home, out: &mut Out) -> Option<Arc<Listing>> {
    let read = Services::new(home.clone()).read();
    read.inspect_err(|error| out.warn(&format!("keys that modules check tokens with stay as they are: {error}"))).ok()
}

pub(super) fn module_key(
    home: &Home,
    config: &Config,
    name: &str,
    file: Option<&Path>,
    remove: bool,
    out: &mut Out,
) -> Result<Report, Failure> {
    let short = Short::parse(name).map_err(|problem| {
        let message = format!("no module can be called {name:?}: {problem}");
        Failure::new(Code::UnknownService, message, "see: parachute status")
    })?;
    let authority = open(home, config, out)?;
    if remove {
        let removed = authority.remove_external_key(&short, BY_COMMAND).map_err(|error| auth_failure(&error))?;
        out.done(if removed { "✓ the key is void" } else { "there was no key" });
        return Ok(Report::of(json!({ "module": short.as_str(), "removed": removed })));
    }
    let file = file.map(|path| SecretFile::create(path).map(|made| (path, made))).transpose()?;
    let key = authority.make_external_key(&short, BY_COMMAND).map_err(|error| auth_failure(&error))?;
    match file {
        Some((path, file)) => {
            file.fill(&key)?;
            out.done(&format!("✓ key of {short} in {}", path.display()));
            Ok(Report::of(json!({ "module": short.as_str(), "key_file": path.to_string_lossy() })))
        }
        None => {
            out.data(&format!("{key}\n"));
            Ok(Report::of(json!({ "module": short.as_str() })))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::tests::pages;
    use crate::store::Create;
    use crate::sys::testdir::TestDir;

    #[test]
    fn a_broken_list_of_modules_does_not_stop_a_rotation() {
        let dir = TestDir::new("auth-keys");
        std::fs::write(dir.join("services.json"), "{").expect("written");
        let home = Home::open(dir.path(), Create::No).expect("a home");
        let (mut out, _, complaints) = pages(false, false);
        assert!(modules(&home, &mut out).is_none());
        assert!(complaints.text().contains("services.json"), "{}", complaints.text());
    }
}
