//! Pure: the commands in a hint, for the home that `--home` named.

use super::spec::VERBS;

const PROGRAM: &str = "parachute ";

/// `text` with `--home` and `home`, a word of a shell, in every command of ours that it tells to type: typed without, it
/// would be done to another home.
pub(super) fn at_home(text: &str, home: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(PROGRAM) {
        let end = at + PROGRAM.len();
        out.push_str(&rest[..end]);
        let is_word = rest[..at].chars().next_back().is_none_or(|before| before == ' ' || before == '\n');
        rest = &rest[end..];
        let verb = rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
        // `parachute serve: it is not up` says who speaks.
        let is_command = is_word && !rest[verb.len()..].starts_with(':');
        if is_command && VERBS.iter().any(|known| known.name == verb) {
            out.push_str(&format!("--home {home} "));
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_get_the_home_and_words_do_not() {
        for (text, expected) in [
            ("start it with: parachute serve", "start it with: parachute --home '/a b' serve"),
            (
                "run: parachute auth rotate-key --now, then parachute serve",
                "run: parachute --home '/a b' auth rotate-key --now, then parachute --home '/a b' serve",
            ),
            ("parachute status\nparachute doctor", "parachute --home '/a b' status\nparachute --home '/a b' doctor"),
            ("a parachute opens late, /opt/parachute serve", "a parachute opens late, /opt/parachute serve"),
            ("parachute --home DIR", "parachute --home DIR"),
            (
                "parachute serve: not up; see: parachute check",
                "parachute serve: not up; see: parachute --home '/a b' check",
            ),
            ("parachute ", "parachute "),
            ("", ""),
        ] {
            assert_eq!(at_home(text, "'/a b'"), expected);
        }
    }
}
