//! Pure: what it takes to see the page that a path leads to (http-api §9.7).
//!
//! The longest page that the path is in decides, as with mounts. But the module reads the path once more, and may take
//! for one what are two here: many servers know no case, decode every escape, or leave the parameters of a segment out.
//! So a path is looked for as it is spelled and as it may be read, and has to satisfy both. To a server that does only
//! some of that it may be in a page above the one that is found so, which has to be satisfied as well. What different
//! servers read as altogether different paths, such as one with an empty segment, takes what the narrowest pages of the
//! module do.
//!
//! Where mounts are taken off, or rows share a process, different paths can come to the module as the same. There the
//! path that the module sees is looked for as well, among the pages as the module sees them.

#[cfg(test)]
mod tests;

use super::path;
use crate::manifest::gates::{Gate, Needs, Served, Way, Whom};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
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
        let (mut spelled, mut read): (HashMap<_, Taken>, HashMap<_, Taken>) = (HashMap::new(), HashMap::new());
        for Way { path, strip } in rows.iter().flat_map(|row| &row.ways) {
            let Some(spelling) = path::of_mount(path) else { continue };
            // Of two that claim the same the first has it. Two that are only read as the same are there both.
            let Entry::Vacant(new) = spelled.entry(spelling.as_bytes().to_vec()) else { continue };
            new.insert(Taken::default()).add(*strip);
            if let Some(path) = as_read(&spelling) {
                read.entry(path).or_default().add(*strip);
            }
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
        let spelled = self.spelled.find(path.as_bytes());
        let least = spelled.map_or(0, |(page, _)| depth(page));
        // The longest page as it may be read, and those above it up to the depth of the one as it is spelled: who does
        // only some of that finds one of these.
        let read = self.read.above(&read).enumerate();
        let read = read.take_while(|(number, (page, _))| *number == 0 || depth(page) >= least).map(|(_, found)| found);
        let found = spelled.into_iter().chain(read).map(|(_, needs)| Some(Arc::clone(needs)));
        found.fold(None, both).filter(|needs| needs.whom != Whom::Anybody)
    }
}

/// How many segments a page has.
fn depth(page: &[u8]) -> usize {
    page.iter().filter(|byte| **byte == b'/').count()
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

/// What becomes of a way on the way to the process; both, where ways that are read as the same differ in it.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    off: bool,
    along: bool,
}

impl Taken {
    fn add(&mut self, strip: bool) {
        self.off |= strip;
        self.along |= !strip;
    }
}

/// A row's pages where its process sees them. `ways` lead to the process.
fn behind(pages: &Tree<Arc<Needs>>, ways: &Tree<Taken>) -> Tree<Arc<Needs>> {
    let mut by_path: HashMap<Vec<u8>, Needs> = HashMap::new();
    let mut kept: Vec<&[u8]> =
        ways.by_path.iter().filter(|(_, way)| way.along).map(|(way, _)| way.as_slice()).collect();
    kept.sort_unstable();
    let has_kept_below = |page: &[u8]| {
        let page = [page, b"/"].concat();
        kept.get(kept.partition_point(|way| *way < page.as_slice())).is_some_and(|way| way.starts_with(&page))
    };
    for (page, needs) in &pages.by_path {
        let (below, whole) = match ways.find(page) {
            Some((way, taken)) => (page.get(way.len()..).filter(|_| taken.off), taken.along),
            // No request for it comes here itself, but one for something below it may. Nothing else is opened by it.
            None if needs.whom == Whom::Anybody => (None, has_kept_below(page)),
            None => (None, !kept.is_empty()),
        };
        for seen in below.into_iter().chain(whole.then_some(page.as_slice())) {
            by_path.entry(seen.to_vec()).or_insert(Needs::NONE).add(needs);
        }
    }
    // What is behind a way within a page is of that page, and where the way is taken off, that is all of the process.
    // Each page once, however many ways there are.
    let taken_off = ways.by_path.iter().filter(|(_, taken)| taken.off).filter_map(|(way, _)| Some(pages.find(way)?.1));
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
        self.above(path).next()
    }

    /// All of its paths that `path` is in, the longest first.
    fn above<'p>(&self, path: &'p [u8]) -> impl Iterator<Item = (&'p [u8], &T)> {
        let shorter = |path: &&'p [u8]| path.get(..path.iter().rposition(|byte| *byte == b'/')?);
        let candidates = std::iter::successors(Some(path), shorter).filter(|path| path.len() <= self.longest);
        candidates.filter_map(|path| Some((path, self.by_path.get(path)?)))
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
        read.extend(without_case(name));
    }
    Some(read)
}

/// As whoever folds the letters of all scripts reads it: some letters have one upper case, some only one lower case.
fn without_case(name: &[u8]) -> Vec<u8> {
    match str::from_utf8(name) {
        Ok(text) if !text.is_ascii() => text.to_uppercase().to_lowercase().into_bytes(),
        _ => name.to_ascii_lowercase(),
    }
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
