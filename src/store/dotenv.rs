//! A module's `.env`: variables that the operator and the module keep beside its data (files §7 and §14.6).

mod write;

pub(crate) use write::set;

use super::atomic::{self, Links, Target};
use super::{Home, StoreError};
use crate::manifest::{Short, is_variable_name, json};
use std::path::Path;

const DOTENV_MAX_BYTES: u64 = 256 << 10;

/// What the hub decides for every child.
const FIXED_NAMES: &[&str] = &["PORT", "PARACHUTE_HOME"];
/// What would load foreign code into every program that the module runs.
const LOADER_PREFIXES: &[&str] = &["LD_", "DYLD_"];

/// The variables, and what was left out. A warning never shows a value: most are secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DotEnv {
    /// Names are valid and unique, in the file's order; of duplicates the last value holds.
    pub(crate) pairs: Vec<(String, String)>,
    pub(crate) warnings: Vec<String>,
}

/// Reads `<home>/<short>/.env`; a missing one is empty. One bad line costs only itself.
pub(crate) fn read(home: &Home, short: &Short) -> Result<DotEnv, StoreError> {
    let relative = Path::new(short.as_str()).join(".env");
    if atomic::is_missing(home, &relative) {
        return Ok(DotEnv::default());
    }
    let Some(target) = Target::locate(home, &relative, Links::Follow)? else { return Ok(DotEnv::default()) };
    let Some((bytes, stat)) = target.read(DOTENV_MAX_BYTES)? else { return Ok(DotEnv::default()) };
    let text = json::text(&bytes).map_err(|_| StoreError::NotUtf8 { path: target.path().to_owned() })?;
    let mut env = parse(text);
    let others = if home.is_private() { 0o022 } else { 0o066 };
    if stat.mode & others != 0 {
        env.warnings.push(format!("is open to other users (mode {:04o}); run: chmod 600 on it", stat.mode));
    }
    for warning in &mut env.warnings {
        warning.insert_str(0, &format!("{}: ", target.path().display()));
    }
    Ok(env)
}

/// Pure: the lines of a `.env`. A comment begins with `#`, `export ` may stand in front, one pair of matching quotes
/// around a value is taken off, and nothing else is interpreted.
fn parse(text: &str) -> DotEnv {
    let mut env = DotEnv::default();
    for (index, line) in text.split('\n').enumerate() {
        if is_blank(line) {
            continue;
        }
        match pair(line) {
            Ok((name, value)) => {
                env.pairs.retain(|(known, _)| known != name);
                env.pairs.push((name.to_owned(), value.to_owned()));
            }
            Err(reason) => env.warnings.push(format!("line {} is ignored: {reason}", index + 1)),
        }
    }
    env
}

/// Nothing, or a comment.
fn is_blank(line: &str) -> bool {
    let text = line.trim_start();
    text.is_empty() || text.starts_with('#')
}

/// What stands before the first `=` of a line, as a name, and all that follows up to the line's end.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let (name, value) = line.strip_suffix('\r').unwrap_or(line).split_once('=')?;
    let name = name.trim();
    Some((name.strip_prefix("export ").map_or(name, str::trim_start), value))
}

fn pair(line: &str) -> Result<(&str, &str), String> {
    let (name, value) = assignment(line).ok_or("it has no \"=\"")?;
    if !is_variable_name(name) {
        return Err("what stands before \"=\" is not a variable's name".to_owned());
    }
    if FIXED_NAMES.contains(&name) {
        return Err(format!("{name} is set by the hub"));
    }
    if LOADER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(format!("{name} would load foreign code"));
    }
    if value.contains('\0') {
        return Err(format!("the value of {name} contains a NUL character"));
    }
    Ok((name, unquoted(value)))
}

fn unquoted(value: &str) -> &str {
    let between = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    between('"').or_else(|| between('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Create;
    use crate::store::testing::{TestHome, short, testdata};

    fn read_sample(name: &str) -> Result<DotEnv, StoreError> {
        let home = TestHome::new();
        home.put("wiki/.env", std::fs::read(testdata("env").join(name)).expect("a sample"));
        read(&home, &short("wiki"))
    }

    #[test]
    fn good_lines_are_read_as_they_are_meant() {
        let env = read_sample("good-everything.env").expect("a good file");
        let expected = [
            ("PLAIN", "1"),
            ("EXPORTED", "two words"),
            ("DOUBLE", "quoted # value"),
            ("SINGLE", "it is"),
            ("HALF", "\"half"),
            ("EMPTY", ""),
            ("EQUALS", "a=b=c"),
            ("SPACED", " kept "),
            ("TWICE", "last"),
        ];
        assert_eq!(env.pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(env.warnings, [] as [String; 0]);
        let crlf = read_sample("good-crlf.env").expect("a good file");
        let expected = [("CRLF", "yes"), ("LAST", "no newline")];
        assert_eq!(crlf.pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_bad_line_costs_only_itself_and_its_value_is_not_shown() {
        for name in ["sets-port", "sets-loader", "no-equals", "name-begins-with-digit", "no-name", "nul"] {
            let env = read_sample(&format!("bad-{name}.env")).expect(name);
            assert_eq!(env.pairs, [("GOOD".to_owned(), "1".to_owned())], "{name}");
            let [warning] = &env.warnings[..] else { panic!("{name}: {:?}", env.warnings) };
            assert!(warning.contains("wiki/.env: line 2 is ignored: "), "{warning}");
            assert!(!warning.contains("9999") && !warning.contains("x.so"), "{warning}");
        }
        assert!(matches!(read_sample("bad-not-utf8.env"), Err(StoreError::NotUtf8 { .. })));
    }

    /// files §15, case 12: the table of §7 and §14.6, read.
    #[test]
    fn c15_12_every_rule_of_reading() {
        const LOADERS: &str =
            "PORT=1\nexport PORT=2\nPARACHUTE_HOME=/x\nLD_PRELOAD=x\nLD_AUDIT=x\nDYLD_LIBRARY_PATH=x\n";
        for (text, pairs, warnings) in [
            ("A=1", &[("A", "1")][..], 0),
            ("A=1\r\nB=\r\n", &[("A", "1"), ("B", "")], 0),
            ("A=1\r\r\n", &[("A", "1\r")], 0),
            ("A='x y'\r\n", &[("A", "x y")], 0),
            ("A=1\nB=2\nA=3\n", &[("B", "2"), ("A", "3")], 0),
            ("A=1\nexport A=2\nA =3", &[("A", "3")], 0),
            ("# A=1\n#A=2\n \t# A=3\n#\n", &[], 0),
            ("A=a#b # c=d", &[("A", "a#b # c=d")], 0),
            ("A=b=c=", &[("A", "b=c=")], 0),
            ("  A  = 1 ", &[("A", " 1 ")], 0),
            ("A=\"\"", &[("A", "")], 0),
            ("A=\"a\\nb\"", &[("A", "a\\nb")], 0),
            ("_a9=1", &[("_a9", "1")], 0),
            ("\n\n \t\r\nA=1\n\n", &[("A", "1")], 0),
            ("=1\nno pair\n1A=1\nA-B=1\nA.B=1\nä=1\nA B=1\n", &[], 7),
            (LOADERS, &[], 6),
            ("port=1\nPORTS=2\nLDX=3\n", &[("port", "1"), ("PORTS", "2"), ("LDX", "3")], 0),
            ("A=1\nA=\0\n", &[("A", "1")], 1),
        ] {
            let env = parse(text);
            let found: Vec<_> = env.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!((found.as_slice(), env.warnings.len()), (pairs, warnings), "{text:?}: {:?}", env.warnings);
        }
    }

    #[test]
    fn quotes_come_off_in_pairs() {
        for (text, value) in [
            ("A='x'", "x"),
            ("A=\"\"", ""),
            ("A=\"", "\""),
            ("A='x\"", "'x\""),
            ("A=\"'x'\"", "'x'"),
            ("A=x # y", "x # y"),
            ("\texport\tA=x", "?"),
            ("export  A=x", "x"),
        ] {
            let env = parse(text);
            assert_eq!(env.pairs.first().map_or("?", |(_, value)| value.as_str()), value, "{text:?}");
        }
    }

    #[test]
    fn no_file_is_no_variables_and_a_huge_one_is_an_error() {
        let home = TestHome::new();
        assert_eq!(read(&home, &short("wiki")).expect("nothing"), DotEnv::default());
        home.put("wiki/.env", vec![b'\n'; 256 << 10]);
        assert_eq!(read(&home, &short("wiki")).expect("blank lines").pairs, []);
        home.put("wiki/.env", vec![b'\n'; (256 << 10) + 1]);
        assert!(matches!(read(&home, &short("wiki")), Err(StoreError::TooLarge { .. })));
    }

    #[test]
    fn a_file_that_others_can_write_is_read_with_a_warning() {
        use std::os::unix::fs::PermissionsExt;
        let private = TestHome::new();
        let path = private.put("wiki/.env", "A=1\n");
        std::fs::set_permissions(private.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let open = Home::open(private.path(), Create::No).expect("a home");
        for (mode, warned, warned_in_an_open_home) in [
            (0o600, false, false),
            (0o640, false, true),
            (0o604, false, true),
            (0o620, true, true),
            (0o602, true, true),
            (0o666, true, true),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
            for (home, warned) in [(&*private, warned), (&open, warned_in_an_open_home)] {
                let env = read(home, &short("wiki")).expect("a good file");
                assert_eq!((env.pairs.len(), !env.warnings.is_empty()), (1, warned), "{mode:o}");
            }
        }
    }

    /// Whatever stands there: what comes out of it can be given to a child, and no value is told to anybody else.
    #[test]
    fn a_mutated_file_gives_only_variables_that_a_child_can_have() {
        use crate::sys::testrandom::Random;
        const ROUNDS: usize = 5_000;
        const SPICE: &[&[u8]] = &[
            b"\n",
            b"\r\n",
            b"=",
            b"==",
            b"export ",
            b"#",
            b"\"",
            b"'",
            b"\0",
            b"PORT=1\n",
            b"LD_PRELOAD=x\n",
            b"$(x)",
            "é=é".as_bytes(),
            b"\xff",
            b"\xef\xbb\xbf",
            b" ",
            b"\t",
            b"\\",
        ];
        let good = std::fs::read(testdata("env/good-everything.env")).expect("a sample");
        let mut random = Random::new();
        let seed = random.seed;
        for round in 0..ROUNDS {
            let bytes = random.mutated(&good, SPICE);
            let Ok(text) = json::text(&bytes) else { continue };
            let env = parse(text);
            let what = format!("{text:?}, round {round}, seed {seed}");
            for (index, (name, value)) in env.pairs.iter().enumerate() {
                assert!(is_variable_name(name) && !value.contains(['\0', '\n']), "{what}");
                assert!(name != "PORT" && !name.starts_with("LD_"), "{what}");
                assert!(!env.pairs.iter().skip(index + 1).any(|(other, _)| other == name), "{name} twice: {what}");
            }
            // One line, one variable or one warning at most.
            assert!(env.pairs.len() + env.warnings.len() <= text.split('\n').count(), "{what}");
        }
    }
}
