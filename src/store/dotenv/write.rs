//! Setting one variable of a `.env` that belongs to the module and its operator: every other byte stays (files §14.6).

use super::{DOTENV_MAX_BYTES, assignment, is_blank};
use crate::manifest::{Problem, Short, json};
use crate::store::atomic::{Links, PRIVATE, Target};
use crate::store::{Home, StoreError};
use crate::sys::fs::Rename;
use std::path::Path;

/// How often a change is made anew because the module wrote in between.
const TRIES: u32 = 5;
/// What a shell would take for more than itself without quotes.
const PLAIN: &[u8] = b"_./:=@%+,-";

/// Sets the variable in `<home>/<short>/.env`, or takes it away with `None`; whether the file changed. A link is
/// resolved once. Nothing is written when nothing changes.
pub(crate) fn set(home: &Home, short: &Short, name: &str, value: Option<&str>) -> Result<bool, StoreError> {
    let relative = Path::new(short.as_str()).join(".env");
    let mut path = home.path().join(&relative);
    for _ in 0..TRIES {
        if value.is_some() {
            home.make_dir(Path::new(short.as_str()))?;
        }
        let Some(target) = Target::locate(home, &relative, Links::Follow)? else { return Ok(false) };
        let (bytes, stat) = target.read(DOTENV_MAX_BYTES)?.map_or((Vec::new(), None), |(b, stat)| (b, Some(stat)));
        let text = std::str::from_utf8(&bytes).map_err(|_| StoreError::NotUtf8 { path: target.path().to_owned() })?;
        let syntax = |problem| StoreError::Syntax { path: target.path().to_owned(), problem };
        let Some(changed) = changed(text, name, value).map_err(syntax)? else { return Ok(false) };
        if changed.len() as u64 > DOTENV_MAX_BYTES {
            return Err(StoreError::Overfull { path: target.path().to_owned(), limit_bytes: DOTENV_MAX_BYTES });
        }
        let staged = target.stage(changed.as_bytes(), PRIVATE)?;
        if target.stat()? == stat {
            staged.commit(Rename::Replace).map_err(|source| target.write_error(source))?;
            return staged.settle().map(|()| true);
        }
        path = target.path().to_owned();
    }
    Err(StoreError::Contended { path, tries: TRIES })
}

/// Pure: the text with the variable set or gone; `None` when it is so already. The last of several lines of the name
/// stays in its place, the others go.
fn changed(text: &str, name: &str, value: Option<&str>) -> Result<Option<String>, Problem> {
    let line = value.map(|value| written(name, value)).transpose()?;
    // As the reader has it: a byte order mark is no part of the first name.
    let (mark, body) = match json::text(text.as_bytes()) {
        Ok(body) => text.split_at(text.len() - body.len()),
        Err(_) => ("", text),
    };
    let is_ours = |line: &str| !is_blank(line) && assignment(line).is_some_and(|(found, _)| found == name);
    let last = body.split_inclusive('\n').filter(|line| is_ours(line)).count().checked_sub(1);
    let mut result = mark.to_owned();
    let mut seen = 0;
    for old in body.split_inclusive('\n') {
        if !is_ours(old) {
            result.push_str(old);
            continue;
        }
        if let Some(line) = line.as_ref().filter(|_| Some(seen) == last) {
            result.push_str(line);
            // The end of the line as the file has it, if it has one.
            result.push_str(old.get(old.trim_end_matches(['\r', '\n']).len()..).unwrap_or_default());
        }
        seen += 1;
    }
    if let (Some(line), None) = (&line, last) {
        if !result.ends_with('\n') && result != mark {
            result.push('\n');
        }
        result.push_str(line);
        result.push('\n');
    }
    Ok((result != text).then_some(result))
}

/// `NAME=value`, quoted so that this program and a shell read the same.
fn written(name: &str, value: &str) -> Result<String, Problem> {
    if value.contains(['\0', '\n', '\r']) {
        return Err(Problem::new(name, "cannot be written: its value has a line break or a NUL character"));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || PLAIN.contains(&byte);
    if value.bytes().all(is_plain) {
        return Ok(format!("{name}={value}"));
    }
    if !value.contains('\'') {
        return Ok(format!("{name}='{value}'"));
    }
    // Within these a shell still looks at some characters, which the reader takes as they are.
    if !value.contains(['"', '$', '`', '\\', '!']) {
        return Ok(format!("{name}=\"{value}\""));
    }
    Err(Problem::new(name, "cannot be written: no quotes fit around its value"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dotenv::parse;
    use crate::store::testing::{TestHome, short};
    use crate::sys::random;
    use crate::sys::testrandom::Random;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    /// files §15, case 12.
    #[test]
    fn c15_12_one_variable_changes_and_every_other_byte_stays() {
        for (text, value, expected) in [
            ("", Some("1"), Some("A=1\n")),
            ("B=2", Some("1"), Some("B=2\nA=1\n")),
            ("B=2\n", Some("1"), Some("B=2\nA=1\n")),
            ("A=1\n", Some("1"), None),
            ("A=0\nB=2\n", Some("1"), Some("A=1\nB=2\n")),
            ("A=0\nB=2\nA=9\n", Some("1"), Some("B=2\nA=1\n")),
            ("A=0\r\nB=2\r\n", Some("1"), Some("A=1\r\nB=2\r\n")),
            ("A=0", Some("1"), Some("A=1")),
            ("export A=0\n# A=7\n", Some("1"), Some("A=1\n# A=7\n")),
            ("# A=7\n", Some("1"), Some("# A=7\nA=1\n")),
            ("AA=0\n A = 0\n", Some("1"), Some("AA=0\nA=1\n")),
            ("\u{feff}A=0\n", Some("1"), Some("\u{feff}A=1\n")),
            ("\u{feff}", Some("1"), Some("\u{feff}A=1\n")),
            ("no pair\n=\n\n", Some("1"), Some("no pair\n=\n\nA=1\n")),
            ("B=2\nA=0\n\nA=1\n", None, Some("B=2\n\n")),
            ("B=2\n", None, None),
            ("", None, None),
            ("", Some("two words"), Some("A='two words'\n")),
            ("", Some("it's"), Some("A=\"it's\"\n")),
            ("", Some(""), Some("A=\n")),
        ] {
            assert_eq!(changed(text, "A", value).expect("it fits").as_deref(), expected, "{text:?} {value:?}");
        }
        for value in ["a\nb", "a\rb", "a\0b", "it's $5", "'\"'", "'`'", "'\\'"] {
            assert!(changed("", "A", Some(value)).is_err(), "{value:?}");
        }
    }

    /// files §15, case 12: what is written means the same to a shell.
    #[test]
    fn c15_12_a_shell_and_this_program_read_the_same() {
        let seed = random::hex(8);
        let alphabet: Vec<char> = " #'\"$`\\!;&|<>()*?[]{}~=%ä\tax".chars().collect();
        let mut values: Vec<String> =
            ["a b", "#", "$HOME", "`id`", "it's", "\"", "*", "~", "a=b", "\\", ""].map(str::to_owned).into();
        let mut bytes = [0; 256];
        for _ in 0..24 {
            random::fill(&mut bytes[..8]);
            values.push(bytes[..8].iter().map(|byte| alphabet[usize::from(*byte) % alphabet.len()]).collect());
        }
        let mut script = String::new();
        let mut fitting = Vec::new();
        for value in &values {
            let Ok(Some(text)) = changed("B=2\n", "A", Some(value)) else { continue };
            assert_eq!(
                parse(&text).pairs.last().map(|pair| pair.1.as_str()),
                Some(value.as_str()),
                "{value:?}, {seed}"
            );
            script.push_str(&format!("{text}printf '%s\\0' \"$A\"\n"));
            fitting.push(value.clone());
        }
        assert!(fitting.len() > 10, "{values:?}");
        let shell = Command::new("/bin/sh").arg("-c").arg(&script).output().expect("a shell");
        let read = String::from_utf8(shell.stdout).expect("UTF-8");
        let read: Vec<&str> = read.split_terminator('\0').collect();
        assert_eq!(read, fitting, "{script}");
    }

    /// files §15, case 12: whatever a shell can read that stands around it, `. file` gives what we read. In a file with
    /// CRLF a shell has the CR in every value, in ours as well, because the line keeps its end.
    #[test]
    fn c15_12_sh_sources_the_file_and_reads_what_we_wrote() {
        const FILES: &[&str] = &[
            "",
            "B=2",
            "B='two words'\n",
            "# A=7\n  # A=8\n\nB=2\n",
            "A=old\nB=2\nA=older\nA='oldest'\n",
            "export A=old\nexport B=\"x y\"",
        ];
        #[rustfmt::skip]
        const VALUES: &[&str] = &[
            "plain", "", " ", "two words", "#", "a#b", "a #b", "$HOME", "${A}", "`id`", "$(id)", "it's", "\"q\"", "*", "~",
            "a=b", "\\", "\\n", "tab\there", "a;b", "a|b&c", "(", "!x", "ä€", "https://a.example:1/x?y=1&z=2%20",
        ];
        let wiki = short("wiki");
        for (text, value) in FILES.iter().flat_map(|text| VALUES.iter().map(move |value| (*text, *value))) {
            let home = TestHome::in_memory();
            let path = home.put("wiki/.env", text);
            set(&home, &wiki, "A", Some(value)).expect("written");
            let read = crate::store::dotenv::read(&home, &wiki).expect("readable").pairs;
            let ours = |name: &str| {
                let pair = read.iter().find(|(found, _)| found == name);
                pair.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            let script = r#"unset A B; . "$1"; printf '%s\0%s\0' "$A" "${B-}""#;
            let shell = Command::new("/bin/sh").args(["-euc", script, "sh"]).arg(&path).output().expect("a shell");
            let shown = String::from_utf8(shell.stdout).expect("UTF-8");
            let what = format!("{text:?}, {value:?}: {:?}", home.text("wiki/.env"));
            assert_eq!(shown, format!("{value}\0{}\0", ours("B")), "{what}");
            assert_eq!(ours("A"), value, "{what}");
        }
    }

    /// files §15, case 12.
    #[test]
    fn c15_12_the_mode_is_kept_where_it_is_stricter_and_never_looser_than_0600() {
        for (before, after) in [(0o600, 0o600), (0o400, 0o400), (0o644, 0o600), (0o666, 0o600), (0o640, 0o600)] {
            let home = TestHome::new();
            let path = home.put("wiki/.env", "B=2\n");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(before)).expect("a mode");
            for value in [Some("1"), Some("2"), None] {
                assert!(set(&home, &short("wiki"), "A", value).expect("written"));
                let mode = std::fs::metadata(&path).expect("there").permissions().mode() & 0o7777;
                assert_eq!(mode, after, "{before:o} {value:?}");
            }
            assert_eq!(home.text("wiki/.env"), "B=2\n");
        }
    }

    #[test]
    fn the_file_is_private_and_a_link_stays_one() {
        let (home, disk) = (TestHome::new(), TestHome::new());
        let wiki = short("wiki");
        assert!(!set(&home, &wiki, "A", None).expect("nothing to do"));
        assert_eq!(home.names(), [] as [String; 0]);
        assert!(set(&home, &wiki, "A", Some("1")).expect("written"));
        assert!(!set(&home, &wiki, "A", Some("1")).expect("it is so"));
        let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode(&home.path().join("wiki/.env")), 0o600);
        let real = disk.put("real.env", "B=2\n");
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o400)).expect("a mode");
        std::fs::create_dir(home.path().join("notes")).expect("a directory");
        symlink(&real, home.path().join("notes/.env")).expect("a link");
        assert!(set(&home, &short("notes"), "A", Some("1")).expect("written"));
        assert!(home.path().join("notes/.env").is_symlink());
        assert_eq!((disk.text("real.env").as_str(), mode(&real)), ("B=2\nA=1\n", 0o400));
        let line = format!("B={}\n", "x".repeat((256 << 10) - 3));
        home.put("wiki/.env", &line);
        assert!(matches!(set(&home, &wiki, "A", Some("1")), Err(StoreError::Overfull { .. })));
        assert_eq!(home.text("wiki/.env"), line);
        home.put("wiki/.env", b"\xff=1\n");
        assert!(matches!(set(&home, &wiki, "A", Some("1")), Err(StoreError::NotUtf8 { .. })));
    }

    /// Reading and writing agree on whatever a file may hold. Bounded; the seed is in the message.
    #[test]
    fn any_text_keeps_its_other_variables() {
        let pieces = ["A=1", "A='x", "\n", "\r\n", "B=2\n", "export ", "#", "=", " ", "\"", "C='a b'\n", "\0", "A"];
        let mut random = Random::new();
        let seed = random.seed;
        for round in 0..2_000 {
            // A byte order mark is one at the very beginning only; there it stays.
            let mark = if round % 4 == 0 { "\u{feff}" } else { "" };
            let text: String = (0..12).map(|_| random.pick(&pieces)).collect();
            let text = format!("{mark}{text}");
            let others = |text: &str| -> Vec<_> {
                let read = parse(json::text(text.as_bytes()).expect("UTF-8"));
                read.pairs.into_iter().filter(|(name, _)| name != "A").collect()
            };
            for value in [Some("new value"), None] {
                let after = changed(&text, "A", value).expect("it fits").unwrap_or_else(|| text.clone());
                let read = parse(json::text(after.as_bytes()).expect("UTF-8"));
                let found = read.pairs.iter().find(|(name, _)| name == "A").map(|(_, value)| value.as_str());
                assert_eq!(found, value, "round {round}, seed {seed}: {text:?} to {after:?}");
                assert_eq!(others(&after), others(&text), "round {round}, seed {seed}: {text:?} to {after:?}");
                assert_eq!(changed(&after, "A", value).expect("it fits"), None, "{after:?}");
            }
        }
    }
}
