//! Pure: the table as help pages.

use super::exit::EXITS;
use super::spec::{Flag, GLOBAL_FLAGS, VERBS, Verb, Words};

/// Where the second column of flags begins.
const FLAG_COLUMN: usize = 28;
const VERB_COLUMN: usize = 15;
/// The same for the verbs behind another one.
const SUB_COLUMN: usize = 19;

/// The page of one verb, or of the whole program.
pub(crate) fn page(verb: Option<&Verb>) -> String {
    match verb {
        Some(verb) => verb_page(verb),
        None => program_page(),
    }
}

fn program_page() -> String {
    let mut page = String::from(
        "parachute supervises a handful of services on one machine and serves them\nunder one origin.\n\n\
         First steps:\n  parachute serve\n  parachute add wiki --strip-prefix -- python3 -m http.server '{port}'\n  parachute status\n\n\
         Usage: parachute COMMAND [ARGUMENTS]\n\nCommands:\n",
    );
    for verb in VERBS {
        page.push_str(&row(&format!("  {}", verb.name), verb.about, VERB_COLUMN));
    }
    page.push_str("\nFlags of every command:\n");
    flags(&mut page, GLOBAL_FLAGS);
    page.push_str("\nExit codes:\n");
    for (exit, meaning) in EXITS {
        page.push_str(&format!("  {:>3}  {meaning}\n", exit.number()));
    }
    page.push_str("\nMore: parachute help COMMAND\n");
    page
}

fn verb_page(verb: &Verb) -> String {
    let mut page = format!("Usage: {}\n\n{}.\n", usage(verb), verb.about);
    for note in verb.notes {
        page.push_str(note);
        page.push('\n');
    }
    if !verb.subs.is_empty() {
        page.push_str("\nCommands:\n");
        for sub in verb.subs {
            page.push_str(&row(&format!("  {}", sub.name), sub.about, SUB_COLUMN));
        }
    }
    if !verb.flags.is_empty() {
        page.push_str("\nFlags:\n");
        flags(&mut page, verb.flags);
    }
    page.push_str("\nFlags of every command:\n");
    flags(&mut page, GLOBAL_FLAGS);
    if !verb.examples.is_empty() {
        page.push_str("\nExamples:\n");
        for example in verb.examples {
            page.push_str(&format!("  {example}\n"));
        }
    }
    page
}

/// `parachute logs [FLAGS] MODULE`, for help and for the last line of a usage failure.
pub(crate) fn usage(verb: &Verb) -> String {
    let mut line = format!("parachute {}", verb.path());
    if !verb.flags.is_empty() && verb.words != Words::NewName {
        line.push_str(" [FLAGS]");
    }
    if !verb.args.is_empty() {
        line.push(' ');
        line.push_str(verb.args);
    }
    line
}

fn flags(page: &mut String, flags: &[Flag]) {
    for flag in flags {
        let short = flag.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
        let value = flag.value.map_or(String::new(), |value| format!(" {value}"));
        page.push_str(&row(&format!("  {short}--{}{value}", flag.long), flag.about, FLAG_COLUMN));
    }
}

fn row(left: &str, right: &str, column: usize) -> String {
    format!("{left:<column$}{right}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::spec::every_verb;

    #[test]
    fn every_page_fits_eighty_columns() {
        for verb in every_verb().map(Some).chain([None]) {
            let name = verb.map_or("program", |verb| verb.name);
            for line in page(verb).lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
                assert_eq!(line.trim_end(), line, "{name}: {line}");
            }
        }
    }

    #[test]
    fn columns_do_not_run_into_each_other() {
        for verb in every_verb() {
            let column = if verb.group.is_some() { SUB_COLUMN } else { VERB_COLUMN };
            assert!(verb.name.len() + 2 < column, "{}", verb.name);
            for flag in verb.all_flags() {
                let left = 8 + flag.long.len() + flag.value.map_or(0, |value| value.len() + 1);
                assert!(left < FLAG_COLUMN, "{} --{}", verb.name, flag.long);
            }
        }
    }

    #[test]
    fn the_page_of_logs_is_this_one() {
        assert_eq!(
            page(super::super::spec::verb("logs")),
            "Usage: parachute logs [FLAGS] MODULE\n\
             \n\
             Show what a module printed.\n\
             Asks the hub, and the log file for older lines or with the hub down.\n\
             \n\
             Flags:\n\
             \u{20} -f, --follow              Keep printing new lines\n\
             \u{20} -n, --lines N             Start N lines back [200]\n\
             \n\
             Flags of every command:\n\
             \u{20}     --json                Print one JSON object instead of text\n\
             \u{20}     --home DIR            Use this home instead of $PARACHUTE_HOME\n\
             \u{20} -q, --quiet               Print only failures and what was asked for\n\
             \u{20}     --timeout SEC         Wait this long for an answer of the hub [60]\n\
             \u{20} -h, --help                Print help and do nothing\n\
             \u{20} -v, --version             Print the version and do nothing\n\
             \n\
             Examples:\n\
             \u{20} parachute logs vault\n\
             \u{20} parachute logs -f -n 20 vault\n"
        );
    }
}
