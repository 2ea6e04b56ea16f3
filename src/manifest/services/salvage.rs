//! Pure: what can still be read of a `services.json` that cannot be parsed (files §14.4). A file that was cut off, or
//! into which a few bytes of something else came, still holds most rows as they were.

use super::{Document, Listing, name_of};
use crate::manifest::json;
use serde_json::Value;
use std::collections::HashSet;

/// No row is larger.
const ROW_MAX_BYTES: usize = 64 << 10;
/// A row stands in an array in an object; what stands deeper is a part of one. Text that lost its head has fewer levels,
/// and text with stray brackets more.
const DEPTH_MAX: usize = 8;

impl Document {
    /// Adds the rows that stand whole in `spoilt`, can be used, and have no row of their name here; returns the names.
    /// Takes time in proportion to the length.
    pub(crate) fn salvage(&mut self, spoilt: &[u8]) -> Vec<String> {
        self.add_usable(&rows_in(spoilt))
    }

    /// Adds the rows of `listing` that can be used and whose names no row has, with the fields that we know.
    pub(crate) fn add_listed(&mut self, listing: &Listing) {
        let usable = listing.entries().iter().filter_map(|entry| entry.row.as_ref().ok());
        self.add_usable(&usable.map(|row| row.to_value()).collect::<Vec<_>>());
    }

    /// Adds those of `rows` that can be used and whose names no row has; returns the names. What is there stays usable.
    pub(crate) fn add_usable(&mut self, rows: &[Value]) -> Vec<String> {
        let mut names: HashSet<&str> = self.rows().iter().filter_map(name_of).collect();
        let mut new = Vec::new();
        for row in rows {
            if name_of(row).is_some_and(|name| names.insert(name)) {
                new.push(row.clone());
            }
        }
        let mut changed = self.clone();
        changed.rows_mut().extend(new);
        changed.reread();
        let old = self.entries().len();
        let added = changed.entries().iter().skip(old);
        let bad: Vec<usize> = added.filter(|entry| entry.row.is_err()).map(|entry| entry.index).collect();
        for index in bad.into_iter().rev() {
            changed.rows_mut().remove(index);
        }
        changed.reread();
        let names = changed.entries().iter().skip(old).map(|entry| entry.name.clone()).collect();
        if self.adopt(changed).is_ok() { names } else { Vec::new() }
    }
}

/// The objects in `text` that look like rows, in their order; of one in another the outer one. Ends where the document
/// ends, because what stands behind that is left of an older, longer one.
fn rows_in(text: &[u8]) -> Vec<Value> {
    let Some(first) = text.iter().position(|byte| matches!(byte, b'{' | b'[')) else { return Vec::new() };
    let mut rows: Vec<(usize, Value)> = Vec::new();
    let mut open: Vec<(u8, usize)> = Vec::new();
    // Of `{` and of `[`, so that nothing is looked for that is not there.
    let mut unclosed = [0_usize; 2];
    let kind = |bracket: u8| usize::from(bracket == b'[');
    let (mut in_string, mut escaped) = (false, false);
    for (at, &byte) in text.iter().enumerate().skip(first) {
        // A string holds no line end: one that never ends costs its own line only.
        if byte == b'\n' {
            (in_string, escaped) = (false, false);
        } else if escaped {
            escaped = false;
        } else if in_string {
            escaped = byte == b'\\';
            in_string = byte != b'"';
        } else if byte == b'"' {
            in_string = true;
        } else if matches!(byte, b'{' | b'[') {
            unclosed[kind(byte)] += 1;
            open.push((byte, at));
        } else if matches!(byte, b'}' | b']') {
            let opening = if byte == b'}' { b'{' } else { b'[' };
            if unclosed[kind(opening)] == 0 {
                continue;
            }
            let mut start = first;
            // What was opened in between was never closed.
            while let Some((bracket, opened_at)) = open.pop() {
                unclosed[kind(bracket)] -= 1;
                if bracket == opening {
                    start = opened_at;
                    break;
                }
            }
            let is_shallow = byte == b'}' && open.len() < DEPTH_MAX;
            if let Some(row) = is_shallow.then(|| row(&text[start..=at])).flatten() {
                while rows.last().is_some_and(|(inner, _)| *inner > start) {
                    rows.pop();
                }
                rows.push((start, row));
            }
            if start == first && !rows.is_empty() {
                break;
            }
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

fn row(span: &[u8]) -> Option<Value> {
    if span.len() > ROW_MAX_BYTES {
        return None;
    }
    let row = json::parse(span).ok()?;
    (name_of(&row).is_some() && row.get("port").is_some() && row.get("paths").is_some()).then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testrandom::Random;
    use serde_json::json;

    fn row(name: &str, port: u16) -> Value {
        json!({
            "name": name, "port": port, "paths": [format!("/{name}")], "health": "/", "version": "1",
            "mine": {"name": "inner", "port": 1, "paths": []}, "text": "}]\"\\"
        })
    }

    #[test]
    fn whole_rows_of_a_spoilt_list_come_back() {
        let whole = json!({"services": [row("a", 2001), row("b", 2002), row("c", 2003)]}).to_string();
        let pretty = String::from_utf8(json::to_bytes(&serde_json::from_str(&whole).expect("JSON"))).expect("text");
        let at = |needle: &str| whole.find(needle).expect("there");
        let rows: Vec<(&str, Vec<u8>, &[&str])> = vec![
            ("whole", whole.clone().into(), &["a", "b", "c"]),
            ("written for people", pretty.clone().into(), &["a", "b", "c"]),
            ("cut off in the last row", whole.as_bytes()[..at("2003")].into(), &["a", "b"]),
            ("without its head", whole.as_bytes()[at("2001")..].into(), &["b", "c"]),
            ("a byte that is not UTF-8", whole.replacen("2002", "20\u{1}2", 1).into(), &["a", "c"]),
            ("a row twice", format!("{whole},{}", row("d", 2004)).into(), &["a", "b", "c"]),
            ("a string that never ends", pretty.replacen("\"b\"", "\"b", 1).into(), &["a", "c"]),
            ("another program's words", format!("warning: {{low}} disk\n{whole}").into(), &["a", "b", "c"]),
            ("NUL bytes", vec![0; 4096], &[]),
            ("nothing", Vec::new(), &[]),
            ("brackets only", "[{".repeat(100_000).into(), &[]),
            ("closed brackets only", "}]".repeat(100_000).into(), &[]),
            ("closed wrongly", [&[b'{'; 500_000][..], &[b']'; 500_000]].concat(), &[]),
            ("two modules of a port", json!([row("a", 2001), row("z", 2001)]).to_string().into(), &["a"]),
            ("a row without a port", json!([{"name": "a", "paths": []}, row("b", 2002)]).to_string().into(), &["b"]),
        ];
        for (what, spoilt, expected) in rows {
            assert_eq!(Document::empty().salvage(&spoilt), expected, "{what}");
        }
    }

    #[test]
    fn what_is_there_already_stays_as_it_is() {
        let mut document =
            Document::parse(json!({"services": [row("a", 2001)]}).to_string().as_bytes()).expect("a document");
        let spoilt = json!([row("a", 3001), row("b", 2001), row("c", 2003)]).to_string();
        assert_eq!(document.salvage(spoilt.as_bytes()), ["c"], "a is known, and b wants its port");
        assert_eq!(document.named("a"), Some(&row("a", 2001)));
        assert_eq!(document.named("c"), Some(&row("c", 2003)), "every field, known or not");
    }

    #[test]
    fn a_row_within_a_row_is_none() {
        let mut outer = row("a", 2001);
        outer["mine"] = row("b", 2002);
        let spoilt = json!({ "services": [outer] }).to_string();
        assert_eq!(Document::empty().salvage(spoilt.as_bytes()), ["a"]);
    }

    #[test]
    fn a_bad_row_keeps_its_name() {
        let bad = json!({"services": [{"name": "a", "port": 0}]});
        let mut document = Document::parse(bad.to_string().as_bytes()).expect("a document");
        assert_eq!(document.add_usable(&[row("a", 2001), row("b", 2002)]), ["b"]);
    }

    #[test]
    fn a_listed_row_comes_back_with_the_fields_that_we_know() {
        let plain = json!({"name": "b", "port": 2002, "paths": ["/b"], "health": "/", "version": "1"});
        let known = json!({
            "name": "a", "port": 2001, "paths": ["/a"], "health": "/", "version": "1", "displayName": "A",
            "tagline": "t", "publicExposure": "loopback", "installDir": "/opt/a", "stripPrefix": true,
            "websocket": false, "uis": {}, "run": {"restart": "never"}
        });
        let mut row = known.clone();
        row["mine"] = json!(1);
        let listed = json!({"services": [row, plain, {"name": "bad"}]}).to_string();
        let listed = Document::parse(listed.as_bytes()).expect("a document");
        let mut document = Document::empty();
        document.add_listed(&listed);
        assert_eq!(document.rows(), [known, plain]);
    }

    #[test]
    fn any_damage_costs_only_what_it_touches() {
        let mut random = Random::new();
        let names: Vec<String> = (0..8).map(|index| format!("m{index}")).collect();
        let rows: Vec<Value> = names.iter().zip(2001..).map(|(name, port)| row(name, port)).collect();
        let whole = json::to_bytes(&json!({ "services": rows }));
        for _ in 0..2_000 {
            let mut spoilt = whole.clone();
            match random.below(3) {
                0 => spoilt.truncate(random.below(whole.len())),
                1 => spoilt[random.below(whole.len())] = b'\xff',
                _ => drop(spoilt.drain(..random.below(whole.len()))),
            }
            let mut document = Document::empty();
            for name in document.salvage(&spoilt) {
                let at = names.iter().position(|known| *known == name);
                let at = at.unwrap_or_else(|| panic!("{name:?} was no row, seed {}", random.seed));
                assert_eq!(document.named(&name), Some(&rows[at]), "seed {}", random.seed);
            }
        }
    }
}
