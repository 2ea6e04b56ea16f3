//! Pure: what it takes to see the page that a path leads to (http-api §9.7).
//!
//! The longest page that the path is in decides, as with mounts. But the module reads the path once more, and may take
//! for one what are two here: many servers know no case, decode every escape, or leave the parameters of a segment out.
//! So a path is looked for as it is spelled and as it may be read, and has to satisfy both. What different servers read
//! as altogether different paths, such as one with an empty segment, takes what the narrowest pages of the module do.
//!
//! Where mounts are taken off, or rows share a process, different paths can come to the module as the same. There the
//! path that the module sees is looked for as well, among the pages as the module sees them.

use super::path;
use crate::manifest::gates::{Gate, Needs, Served, Way, Whom};
use std::collections::HashMap;
use std::sync::Arc;

/// The pages of one module.
#[derive(Debug)]
pub(crate) struct Gates {
    spelled: Tree<Arc<Needs>>,
    read: Tree<Arc<Needs>>,
    narrowest: Arc<Needs>,
}

/// What holds at paths and below them.
#[derive(Debug)]
struct Tree<T> {
    by_path: HashMap<Vec<u8>, T>,
    longest: usize,
}

impl Gates {
    pub(crate) fn new(gates: &[Gate]) -> Self {
        // Of two pages at the same path each has to be satisfied.
        let (mut spelled, mut read) = (HashMap::new(), HashMap::new());
        let mut narrowest = Needs::NONE;
        for Gate { path, needs } in gates {
            narrowest.add(needs);
            let spelling = match path::of_mount(path) {
                Some(spelling) => spelling,
                None if needs.whom == Whom::Anybody => continue,
                // It is `/`, or no request can spell it and nobody knows what it was meant for: all of the module.
                None => Box::default(),
            };
            read.entry(as_read(&spelling).unwrap_or_default()).or_insert(Needs::NONE).add(needs);
            spelled.entry(spelling.as_bytes().to_vec()).or_insert(Needs::NONE).add(needs);
        }
        Self { spelled: shared(spelled), read: shared(read), narrowest: Arc::new(narrowest) }
    }

    /// The pages of each of these rows, which are all of a process, where the process sees them.
    pub(crate) fn seen(rows: &[Served]) -> Vec<Self> {
        let (mut spelled, mut read) = (HashMap::new(), HashMap::new());
        for Way { path, strip } in rows.iter().flat_map(|row| &row.ways) {
            let Some(spelling) = path::of_mount(path) else { continue };
            // Of two that claim the same the first has it.
            as_read(&spelling).map(|path| read.entry(path).or_insert(*strip));
            spelled.entry(spelling.as_bytes().to_vec()).or_insert(*strip);
        }
        let (spelled, read) = (Tree::new(spelled), Tree::new(read));
        let gates = rows.iter().filter_map(|row| row.gates.as_deref()).map(Self::new);
        let behind = |gates: Self| Self {
            spelled: behind(&gates.spelled, &spelled),
            read: behind(&gates.read, &read),
            narrowest: gates.narrowest,
        };
        gates.map(behind).collect()
    }

    /// What it takes to see what is at `path`, in its one spelling; `None` when that is nothing.
    pub(crate) fn needs(&self, path: &str) -> Option<Arc<Needs>> {
        let Some(read) = as_read(path) else { return Some(Arc::clone(&self.narrowest)) };
        let [spelled, read] =
            [self.spelled.find(path.as_bytes()), self.read.find(&read)].map(|found| Some(Arc::clone(found?.1)));
        both(spelled, read).filter(|needs| needs.whom != Whom::Anybody)
    }
}

/// What it takes to satisfy both.
pub(crate) fn both(one: Option<Arc<Needs>>, other: Option<Arc<Needs>>) -> Option<Arc<Needs>> {
    match (one, other) {
        (one, None) => one,
        (None, other) => other,
        (Some(one), Some(other)) if one == other => Some(one),
        (Some(one), Some(other)) => {
            let mut both = Needs::clone(&one);
            both.add(&other);
            Some(Arc::new(both))
        }
    }
}

/// A row's pages where its process sees them. `ways` lead to the process; whether they are taken off.
fn behind(pages: &Tree<Arc<Needs>>, ways: &Tree<bool>) -> Tree<Arc<Needs>> {
    let mut by_path: HashMap<Vec<u8>, Needs> = HashMap::new();
    let is_some_kept = ways.by_path.values().any(|strip| !strip);
    for (page, needs) in &pages.by_path {
        let seen = match ways.find(page) {
            Some((way, true)) => page.get(way.len()..).unwrap_or_default(),
            Some((_, false)) => page,
            // No request for it comes here itself, but one for something below it may.
            None if is_some_kept => page,
            None => continue,
        };
        by_path.entry(seen.to_vec()).or_insert(Needs::NONE).add(needs);
    }
    // What is behind a way within a page is of that page, and where the way is taken off, that is all of the process.
    // Each page once, however many ways there are.
    let taken_off = ways.by_path.iter().filter(|(_, strip)| **strip).filter_map(|(way, _)| Some(pages.find(way)?.1));
    let whole: HashMap<*const Needs, &Arc<Needs>> = taken_off.map(|needs| (Arc::as_ptr(needs), needs)).collect();
    for needs in whole.into_values() {
        by_path.entry(Vec::new()).or_insert(Needs::NONE).add(needs);
    }
    shared(by_path)
}

fn shared(by_path: HashMap<Vec<u8>, Needs>) -> Tree<Arc<Needs>> {
    Tree::new(by_path.into_iter().map(|(path, needs)| (path, Arc::new(needs))).collect())
}

impl<T> Tree<T> {
    fn new(by_path: HashMap<Vec<u8>, T>) -> Self {
        let longest = by_path.keys().map(Vec::len).max().unwrap_or_default();
        Self { by_path, longest }
    }

    /// The longest of its paths that `path` is in, and what holds there; segments are never cut.
    fn find<'p>(&self, path: &'p [u8]) -> Option<(&'p [u8], &T)> {
        let mut candidate = path;
        loop {
            if candidate.len() <= self.longest
                && let Some(found) = self.by_path.get(candidate)
            {
                return Some((candidate, found));
            }
            let slash = candidate.iter().rposition(|byte| *byte == b'/')?;
            candidate = candidate.get(..slash)?;
        }
    }
}

/// A path as whoever knows no case, decodes all and leaves out parameters (`;x=1`) reads it. `None` where such readers
/// do not agree: on empty segments, which some leave out, and on dots with a parameter, which some resolve.
fn as_read(path: &str) -> Option<Vec<u8>> {
    let decoded = decode(path);
    let mut read = Vec::with_capacity(decoded.len());
    let mut segments = decoded.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        let is_last = segments.peek().is_none();
        if matches!(name, b"." | b"..") || (name.is_empty() && !(is_last && segment.is_empty())) {
            return None;
        }
        read.push(b'/');
        read.extend(name.iter().map(u8::to_ascii_lowercase));
    }
    Some(read)
}

/// The bytes that the escapes stand for; the path is in its one spelling, in which all of them are whole.
fn decode(path: &str) -> Vec<u8> {
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    let digit =
        |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next()).unwrap_or_default() << 4 | digit(bytes.next()).unwrap_or_default(),
            byte => byte,
        });
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use Whom::{Anybody, HubUsers, Operator};
    use std::collections::BTreeSet;

    fn gate(path: &str, whom: Whom, scopes: &[&str]) -> Gate {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Gate { path: path.to_owned(), needs: Needs { whom, scopes } }
    }

    /// What a request for `target` takes; `None` when anybody may.
    fn takes(gates: &[Gate], target: &str) -> Option<(Whom, BTreeSet<String>)> {
        let path = path::normalise(target).unwrap_or_else(|bad| panic!("{target}: {bad}")).path;
        Gates::new(gates).needs(&path).map(|needs| (needs.whom, needs.scopes.clone()))
    }

    fn whom(gates: &[Gate], target: &str) -> Whom {
        takes(gates, target).map_or(Anybody, |(whom, _)| whom)
    }

    #[test]
    fn the_longest_page_on_a_segment_boundary_decides() {
        let gates = [
            gate("/wiki/app", HubUsers, &[]),
            gate("/wiki/app/help", Anybody, &[]),
            gate("/wiki/app/help/internal", Operator, &[]),
            gate("/wiki/caf\u{e9} x/", Operator, &[]),
        ];
        for (target, expected) in [
            ("/wiki", Anybody),
            ("/wiki/", Anybody),
            ("/wiki/other", Anybody),
            ("/wiki/apps", Anybody),
            ("/wiki/app.js", Anybody),
            ("/wiki/app", HubUsers),
            ("/wiki/app/", HubUsers),
            ("/wiki/app?x=/wiki/app/help", HubUsers),
            ("/wiki/app/x/y", HubUsers),
            ("/wiki/app/helpful", HubUsers),
            ("/wiki/app/help", Anybody),
            ("/wiki/app/help/x", Anybody),
            ("/wiki/app/help/internal", Operator),
            ("/wiki/app/help/internal/x", Operator),
            ("/wiki/app/../x", Anybody),
            ("/wiki/x/../app", HubUsers),
            ("/wiki/app/help/../x", HubUsers),
            ("/wiki/./app", HubUsers),
            ("/wiki/%2e%2E/wiki/app", HubUsers),
            ("/wiki/%61pp", HubUsers),
            ("/wiki/caf%c3%a9%20x", Operator),
            ("/wiki/caf%C3%A9%20x/y", Operator),
            ("/wiki/caf%C3%A9%20xy", Anybody),
        ] {
            assert_eq!(whom(&gates, target), expected, "{target}");
        }
    }

    #[test]
    fn a_path_that_a_module_may_read_as_another_takes_what_that_one_does() {
        let gates = [
            gate("/wiki/app", HubUsers, &[]),
            gate("/wiki/app/Help", Anybody, &[]),
            gate("/wiki/@admin;v=1/x", Operator, &[]),
            gate("/wiki/a&b", Operator, &[]),
        ];
        for (target, expected) in [
            ("/wiki/APP/x", HubUsers),
            ("/WIKI/app", HubUsers),
            ("/wiki/app;jsessionid=1/x", HubUsers),
            ("/wiki/app;", HubUsers),
            ("/wiki/app%3Bx/y", HubUsers),
            ("/wiki/app/Help", Anybody),
            // As it is spelled it is not that page.
            ("/wiki/app/help", HubUsers),
            ("/wiki/app/Help;x", HubUsers),
            ("/wiki/%40admin/x", Operator),
            ("/wiki/@admin/x", Operator),
            ("/wiki/@ADMIN;v=2/X/y", Operator),
            ("/wiki/a%26b", Operator),
            ("/wiki/a&B", Operator),
            // Which path this is depends on who reads it.
            ("/wiki//app", Operator),
            ("/wiki//", Operator),
            ("/wiki/app//Help", Operator),
            ("/wiki/app/Help//x", Operator),
            ("/wiki/;x/app", Operator),
            ("/wiki/x/..;/app", Operator),
            ("/wiki/x/..%3b/app", Operator),
            ("/wiki/.;x/app", Operator),
            ("/wiki/x/;", Operator),
            ("/wiki/x/", Anybody),
            ("/wiki/x/...;", Anybody),
        ] {
            assert_eq!(whom(&gates, target), expected, "{target}");
        }
    }

    #[test]
    fn pages_at_one_path_and_on_two_readings_add_up() {
        let gates = [
            gate("/wiki/app", HubUsers, &["a:b"]),
            gate("/wiki/app/", HubUsers, &["c:d"]),
            gate("/wiki/App/x", HubUsers, &["e:f"]),
        ];
        let scopes = |target| Vec::from_iter(takes(&gates, target).expect("closed").1).join(" ");
        assert_eq!(scopes("/wiki/app"), "a:b c:d");
        assert_eq!(scopes("/wiki/App/x"), "e:f");
        assert_eq!(scopes("/wiki/app/x"), "a:b c:d e:f");
        assert_eq!(scopes("/wiki//y"), "a:b c:d e:f");
        let gates = [gate("/wiki", Anybody, &[]), gate("/wiki/", Operator, &[])];
        assert_eq!(whom(&gates, "/wiki/x"), Operator, "open and closed at once is closed");
    }

    #[test]
    fn what_no_request_can_spell_closes_all_of_the_module_and_opens_nothing() {
        for path in ["/", "//", "/wiki/100%", "/wiki/a%2fb", "/wiki/a\\b", "/../x"] {
            let gates = [gate(path, HubUsers, &[]), gate("/wiki/open", Anybody, &[])];
            for (target, expected) in [("/wiki", HubUsers), ("/wiki/x/y", HubUsers), ("/wiki/open/x", Anybody)] {
                assert_eq!(whom(&gates, target), expected, "{target} with {path}");
            }
            let gates = [gate(path, Anybody, &[]), gate("/wiki/app", HubUsers, &[])];
            assert_eq!((whom(&gates, "/wiki/app"), whom(&gates, "/wiki/x")), (HubUsers, Anybody), "{path}");
        }
    }

    #[test]
    fn a_page_outside_of_the_paths_of_its_module_says_nothing_about_them() {
        let gates = [gate("/other", Operator, &[]), gate("/wiki/app/deep", HubUsers, &[])];
        for target in ["/wiki", "/wiki/other", "/wiki/app"] {
            assert_eq!(takes(&gates, target), None, "{target}");
        }
    }

    /// The ways of a row, each with whether it is taken off, and its pages.
    type Row<'a> = (&'a [(&'a str, bool)], &'a [Gate]);
    type Expected<'a> = &'a [(&'a str, Whom)];

    /// The pages of the rows of a process as it sees them.
    fn seen(rows: &[Row<'_>]) -> Vec<Gates> {
        let row = |(ways, gates): &Row<'_>| Served {
            ways: ways.iter().map(|(path, strip)| Way { path: (*path).to_owned(), strip: *strip }).collect(),
            gates: (!gates.is_empty()).then(|| (*gates).into()),
        };
        Gates::seen(&rows.iter().map(row).collect::<Vec<_>>())
    }

    #[test]
    fn a_page_is_where_its_process_sees_it() {
        let admin = [gate("/web/admin", Operator, &[]), gate("/web/admin/help", Anybody, &[])];
        let under_its_name = [gate("/pub/admin", Operator, &[]), gate("/wiki/app", HubUsers, &[])];
        let (above, inner) = ([gate("/x", HubUsers, &[])], [gate("/web/v2/admin", Operator, &[])]);
        let of_other = [gate("/vault/a/admin", Operator, &[]), gate("/vault/b/keys", HubUsers, &[])];
        let (all, loose) = ([gate("/", HubUsers, &[])], [gate("/WEB/Admin", Operator, &[])]);
        let within = [gate("/web/a", Operator, &[]), gate("/web/open", Anybody, &[])];
        let (taken_off, kept) = ([("/web", true), ("/alt", true)], [("/vault/a", false)]);
        let rows: [(&[Row<'_>], Expected<'_>); 9] = [
            (
                &[(&taken_off, &admin)],
                &[
                    ("/admin", Operator),
                    ("/admin/x", Operator),
                    ("/admin/help", Anybody),
                    ("/ADMIN/help;x", Anybody),
                    ("/Admin", Operator),
                    ("/admin;x/y", Operator),
                    ("//admin", Operator),
                    ("/", Anybody),
                    ("/admins", Anybody),
                    ("/web/admin", Anybody),
                ],
            ),
            (
                &[(&[("/wiki", true), ("/pub", false)], &under_its_name)],
                &[("/pub/admin", Operator), ("/pub", Anybody), ("/app", HubUsers), ("/wiki/app", Anybody)],
            ),
            // A page that a way is in.
            (&[(&[("/x/y", true), ("/z", true)], &above)], &[("/", HubUsers), ("/any", HubUsers)]),
            (&[(&[("/x/y", false), ("/z", true)], &above)], &[("/x/y/q", HubUsers), ("/q", Anybody)]),
            (
                &[(&[("/web", true), ("/web/a/b", true)], &within)],
                &[("/c", Operator), ("/a", Operator), ("/open", Anybody)],
            ),
            // The longest way is the one that is taken.
            (
                &[(&[("/web", true), ("/web/v2", true)], &inner)],
                &[("/admin", Operator), ("/v2/admin", Anybody), ("/", Anybody)],
            ),
            // The rows of one process.
            (
                &[(&kept, &of_other), (&[("/vault/b", true)], &[])],
                &[("/vault/a/admin", Operator), ("/keys", HubUsers), ("/vault/a", Anybody), ("/vault//a", Operator)],
            ),
            (&[(&taken_off, &[]), (&[("/own", true)], &all)], &[("/", HubUsers), ("/x", HubUsers)]),
            (&[(&taken_off, &loose)], &[("/admin", Operator), ("/Admin", Operator), ("/x", Anybody)]),
        ];
        for (rows, paths) in rows {
            let seen = seen(rows);
            for (path, expected) in paths {
                let needs = seen.iter().map(|gates| gates.needs(path)).fold(None, both);
                assert_eq!(needs.map_or(Anybody, |needs| needs.whom), *expected, "{path} of {rows:?}");
            }
        }
    }

    #[test]
    fn ways_without_end_cost_what_they_are_and_not_their_square() {
        const EACH: usize = 7_500;
        let ways: Vec<String> = (0..EACH).map(|number| format!("/wiki/{number}")).collect();
        let pages: Vec<Gate> = (0..EACH).map(|number| gate("/wiki", HubUsers, &[&format!("wiki:{number}")])).collect();
        for strip in [true, false] {
            let ways: Vec<(&str, bool)> = ways.iter().map(|way| (way.as_str(), strip)).collect();
            let seen = seen(&[(&ways, &pages), (&[("/other", true)], &[])]);
            let needs = seen[0].needs(if strip { "/x" } else { "/wiki/1" });
            assert_eq!(needs.map(|needs| needs.scopes.len()), Some(EACH), "{strip}");
        }
    }

    /// As many as a list of modules has room for, each with a scope of its own: whoever wrote them must not hold up the edge.
    #[test]
    fn pages_without_end_cost_what_they_are_and_not_their_square() {
        const PAGES: usize = 15_000;
        for path in ["/wiki/app", "/", "/wiki/100%"] {
            let gates: Vec<Gate> =
                (0..PAGES).map(|number| gate(path, HubUsers, &[&format!("wiki:{number}")])).collect();
            let gates = Gates::new(&gates);
            assert_eq!(gates.needs("/wiki/app/x").map(|needs| needs.scopes.len()), Some(PAGES), "{path}");
        }
    }

    #[test]
    fn a_thousand_pages_are_told_apart() {
        let gates: Vec<Gate> = (0..1000)
            .map(|number| {
                let whom = [HubUsers, Anybody, Operator][number % 3];
                let depth = if number % 2 == 0 { "" } else { "/deep/er" };
                gate(&format!("/wiki/{number}{depth}"), whom, &[])
            })
            .collect();
        let gates = Gates::new(&gates);
        for number in 0..1000 {
            let depth = if number % 2 == 0 { "" } else { "/deep/er" };
            let expected = [Some(HubUsers), None, Some(Operator)][number % 3];
            for target in [format!("/wiki/{number}{depth}"), format!("/wiki/{number}{depth}/x/y")] {
                assert_eq!(gates.needs(&target).map(|needs| needs.whom), expected, "{target}");
            }
            assert_eq!(gates.needs(&format!("/wiki/{number}x")).map(|needs| needs.whom), None);
        }
    }
}
