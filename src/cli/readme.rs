//! The README's tables, compared with the program.

use super::exit::EXITS;
use super::help;
use super::spec::every_verb;
use std::collections::BTreeSet;

const README: &str = include_str!("../../README.md");
/// The files that ask for the environment.
const CONFIG: &[&str] = &[
    include_str!("../config.rs"),
    include_str!("../config/access_log.rs"),
    include_str!("../config/control_groups.rs"),
    include_str!("../config/limits.rs"),
];

/// The lines of the section with this heading.
fn section(heading: &str) -> impl Iterator<Item = &'static str> {
    let mut lines = README.lines();
    assert!(lines.any(|line| line == heading), "README.md has no section {heading:?}");
    lines.take_while(|line| !line.starts_with("## "))
}

/// The rows of the section's tables, without heads and rules.
fn rows(heading: &str) -> Vec<&'static str> {
    let all: Vec<_> = section(heading).filter(|line| line.starts_with('|')).collect();
    let rule = all.iter().position(|line| line.starts_with("|--")).expect("a table has a rule");
    all[rule + 1..].to_vec()
}

#[test]
fn the_verbs_are_those_of_the_program() {
    let leaves = every_verb().filter(|verb| verb.subs.is_empty());
    let expected: Vec<_> = leaves.map(|verb| format!("| `{}` | {} |", help::usage(verb), verb.about)).collect();
    assert_eq!(rows("## Commands"), expected);
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let expected: Vec<_> = EXITS.iter().map(|(exit, meaning)| format!("| {} | {meaning} |", exit.number())).collect();
    assert_eq!(rows("## Exit codes"), expected);
}

#[test]
fn the_variables_are_those_that_the_program_asks_for() {
    let is_name = |word: &&str| word.len() > 3 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let asked: BTreeSet<_> = CONFIG.iter().flat_map(|file| file.split('"')).filter(is_name).collect();
    let shown: BTreeSet<_> =
        rows("## Environment").iter().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(shown, asked);
}
