//! Pure: from what the user calls a module to its short name, before anything is asked of a hub.

use crate::cli::exit::Failure;
use crate::cli::out::printable;
use crate::cli::suggest::nearest;
use crate::manifest::Short;
use crate::manifest::known::{self, KNOWN};
use crate::manifest::services::Listing;
use crate::wire::Code;

/// The word for the hub itself among modules.
pub(super) const HUB: &str = "hub";
/// How many names an "unknown module" message lists.
const LISTED: usize = 20;

/// The short names of the rows, in the file's order.
pub(super) fn installed(document: &Listing) -> impl Iterator<Item = &str> {
    document.entries().iter().filter_map(|entry| entry.short.as_ref().map(Short::as_str))
}

/// The module that `name` means: a short name or a row's name.
pub(super) fn resolve(document: &Listing, name: &str) -> Result<Short, Failure> {
    let by_short = |entry: &&_| -> bool {
        let entry: &crate::manifest::services::Entry = entry;
        entry.short.as_ref().is_some_and(|short| short.as_str() == name)
    };
    let entries = document.entries();
    let entry = entries.iter().find(by_short).or_else(|| entries.iter().find(|entry| entry.name == name));
    match entry {
        Some(entry) => match (&entry.short, &entry.row) {
            (Some(short), _) => Ok(short.clone()),
            (None, Err(problem)) => Err(Failure::new(
                Code::InvalidRow,
                format!("the row {} of services.json cannot be used: {problem}", printable(name)),
                "correct it, then: parachute check",
            )),
            (None, Ok(row)) => Ok(row.short.clone()),
        },
        None => Err(unknown(document, name)),
    }
}

pub(super) fn unknown(document: &Listing, name: &str) -> Failure {
    if let Some(known) = KNOWN.iter().find(|known| known.short == name || known.manifest_name == name) {
        return not_installed(known.short);
    }
    let shown = printable(&name.chars().take(64).collect::<String>());
    let installed: Vec<&str> = installed(document).collect();
    if installed.is_empty() {
        return Failure::new(
            Code::UnknownService,
            format!("unknown module \"{shown}\"; none is installed"),
            "add one: parachute add NAME -- COMMAND, or parachute install DIRECTORY",
        );
    }
    let listed: Vec<&str> = installed.iter().copied().take(LISTED).collect();
    let more = if installed.len() > LISTED { ", …" } else { "" };
    let mean = match nearest(name, installed.iter().copied().chain(KNOWN.iter().map(|known| known.short))) {
        Some(near) => format!("; did you mean {near}?"),
        None => String::new(),
    };
    let message = format!("unknown module \"{shown}\"{mean} known: {}{more}", listed.join(", "));
    let message = if mean.is_empty() { message.replacen("\" known", "\"; known", 1) } else { message };
    Failure::new(Code::UnknownService, message, "see: parachute status")
}

/// A module that the hub could run and that has no row.
pub(super) fn not_installed(short: &str) -> Failure {
    let package = known::by_short(short).map_or(String::new(), |known| format!(" (package {})", known.package));
    Failure::new(
        Code::NotInstalled,
        format!("{short} is not installed{package}"),
        format!("install it: parachute install DIRECTORY, then: parachute start {short}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::services::Document;

    fn document() -> Document {
        Document::parse(
            br#"{"services":[
                {"name":"parachute-vault","port":1940,"paths":[],"health":"/","version":"1"},
                {"name":"wiki","port":"bad"},
                {"name":"!!","port":2,"paths":[],"health":"/","version":"1"}]}"#,
        )
        .expect("a list")
    }

    #[test]
    fn a_module_goes_by_its_short_or_its_rows_name() {
        for (name, expected) in [("vault", "vault"), ("parachute-vault", "vault"), ("wiki", "wiki")] {
            assert_eq!(resolve(&document(), name).map(|short| short.to_string()), Ok(expected.to_owned()), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_says_what_could_be_meant() {
        let empty = Document::empty();
        for (document, name, exit, message) in [
            (&document(), "vualt", 9, "unknown module \"vualt\"; did you mean vault? known: vault, wiki"),
            (&document(), "zzz", 9, "unknown module \"zzz\"; known: vault, wiki"),
            (&document(), "scribe", 9, "scribe is not installed (package @openparachute/scribe)"),
            (&document(), "../x", 9, "unknown module \"../x\"; known: vault, wiki"),
            (&document(), "", 9, "unknown module \"\"; known: vault, wiki"),
            (&document(), "a\u{1b}[2J", 9, "unknown module \"a\u{fffd}[2J\"; known: vault, wiki"),
            (&document(), "!!", 78, "the row !! of services.json cannot be used: field \"name\": must be"),
            (&empty, "x", 9, "unknown module \"x\"; none is installed"),
        ] {
            let failure = resolve(document, name).expect_err(name);
            assert!(failure.message.starts_with(message), "{name}: {}", failure.message);
            assert_eq!(failure.exit.number(), exit, "{name}");
            assert!(!failure.hint.is_empty());
        }
    }
}
