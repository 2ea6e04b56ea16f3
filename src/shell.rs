//! Pure: words as a shell takes them, for commands that somebody copies from a message.

use std::path::Path;

/// The path as one word: in single quotes where a shell would make something else of it.
pub(crate) fn word(path: &Path) -> String {
    let text = path.display().to_string();
    // At its beginning a dash would make it a flag.
    quoted(&if text.starts_with('-') { format!("./{text}") } else { text })
}

/// Any word, a flag too.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_shell_makes_the_path_of_it_again() {
        assert_eq!(word(Path::new("/home/op/.parachute/modules/a-b_c+1.2")), "/home/op/.parachute/modules/a-b_c+1.2");
        assert_eq!(word(Path::new("/a b")), "'/a b'");
        for path in ["/it's", "$(echo x)", "`echo x`", "a;b", "~", "*", "", "a\nb", "\"", "\\", "ä", "#", "!x", "a'b'"]
        {
            let done = Command::new("/bin/sh").args(["-c", &format!("printf %s {}", word(Path::new(path)))]).output();
            assert_eq!(done.expect("a shell").stdout, path.as_bytes(), "{path:?}");
        }
        assert_eq!(word(Path::new("-rf")), "./-rf");
    }
}
