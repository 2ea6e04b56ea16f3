//! Pure: text into HTML, for the pages of the hub and for those that the edge shows in the place of a module.
#![forbid(unsafe_code)]

/// Text for between tags and inside of quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Overrides of the writing direction can make one name look like another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_module_says_becomes_markup() {
        for (text, expected) in [
            ("plain", "plain"),
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onclick=\"x", "&quot; onclick=&quot;x"),
            ("' onclick='x", "&#39; onclick=&#39;x"),
            ("&lt;", "&amp;lt;"),
            ("a\u{202e}b\u{2066}c", "abc"),
            ("a\0b\u{1b}[31mc", "a\u{fffd}b\u{fffd}[31mc"),
            ("é 日本", "é 日本"),
        ] {
            assert_eq!(escape(text), expected, "{text:?}");
        }
    }
}
