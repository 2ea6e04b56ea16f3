//! Pure: which upstream a request goes to, by host, distance and path (design §5, "Host"; http-api §9.1).

use super::gates::{self, Gates};
use super::head;
use super::layer::Layer;
use super::own_hosts::OwnHosts;
use super::path;
use super::places::{Place, Places};
use crate::manifest::Short;
use crate::manifest::gates::{Gate, Needs};
use crate::manifest::mounts::Mount;
use crate::manifest::services::{is_hub_mount, is_vault_itself};
use crate::supervisor::standing::{Board, Standing};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Where a request goes.
#[derive(Debug)]
pub(crate) enum Target {
    /// The hub's private socket.
    Hub,
    Module(Arc<Module>),
    Refuse(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The host is none of ours: a page that points its own name at this machine, or a proxy nobody told us about.
    ForeignHost,
}

/// A mount, and how the module behind it stands.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) mount: Mount,
    /// The mount as paths spell it.
    pub(crate) spelling: Box<str>,
    /// `None`: everybody may see all of it.
    gates: Option<Arc<Gates>>,
    /// What the rows of its process say of the paths that this sees; `None`: no more than the gates.
    seen: Option<Arc<[Gates]>>,
    board: Arc<Board>,
    /// Of requests that wait for it, and for any module.
    waiting: Places,
    waiting_overall: Places,
}

impl Module {
    /// Whether a request of this method for this path is about a vault as such. Programs that take the vault's own path
    /// for that of its protocol are told the right one, which is the hub's to say (http-api §9.8).
    pub(crate) fn misses_suffix(&self, method: &str, path: &str) -> bool {
        method == "POST" && *self.spelling == *path && is_vault_itself(&self.mount.path)
    }

    /// What it takes to see what is at this path of it; `None` when that is nothing.
    pub(crate) fn needs(&self, path: &str) -> Option<Arc<Needs>> {
        let own = self.gates.as_ref().and_then(|gates| gates.needs(path));
        let Some(seen) = &self.seen else { return own };
        let path = if self.mount.strip { path::below(path, &self.spelling) } else { path };
        seen.iter().map(|gates| gates.needs(path)).fold(own, gates::both)
    }

    /// `None`: nobody supervises it.
    pub(crate) fn standing(&self) -> Option<Standing> {
        self.board.get()
    }

    /// A place to wait for it among `most`, if there is one. How it stands has to be asked again then: only who has a
    /// place is told of a change.
    pub(crate) fn wait(&self, most: usize) -> Option<(Place, Place)> {
        Some((self.waiting.take(most)?, self.waiting_overall.take(usize::MAX)?))
    }
}

/// All mounts as they are now. Replaced as a whole; what runs keeps the one that it began with.
#[derive(Debug, Default)]
pub(crate) struct Table {
    by_path: HashMap<Box<str>, Arc<Module>>,
    longest: usize,
    /// Of requests that wait for any module.
    waiting: Places,
}

impl Table {
    /// Without mounts; requests that wait are counted in `waiting`.
    pub(crate) fn empty(waiting: Places) -> Self {
        Self { waiting, ..Self::default() }
    }

    /// `board_of` says how a module stands. Requests that wait are counted on from `before`. A mount that no path
    /// could ever spell is left out.
    pub(crate) fn new(mounts: Vec<Mount>, board_of: impl Fn(&Short) -> Arc<Board>, before: &Self) -> Self {
        let waiting: HashMap<&Short, &Places> =
            before.by_path.values().map(|module| (&module.mount.process, &module.waiting)).collect();
        let mut counted: HashMap<Short, Places> = HashMap::new();
        let mut by_path: HashMap<Box<str>, Arc<Module>> = HashMap::with_capacity(mounts.len());
        // All mounts of a row have the same.
        let mut last: Option<(Arc<[Gate]>, Arc<Gates>)> = None;
        let mut compiled = |gates: &Arc<[Gate]>| match &last {
            Some((same, known)) if Arc::ptr_eq(same, gates) => Arc::clone(known),
            _ => {
                let new = Arc::new(Gates::new(gates));
                last = Some((Arc::clone(gates), Arc::clone(&new)));
                new
            }
        };
        // All mounts of a process have the same.
        let mut by_process: HashMap<Short, Arc<[Gates]>> = HashMap::new();
        for mount in mounts {
            let Some(spelling) = path::of_mount(&mount.path) else { continue };
            let places = counted.entry(mount.process.clone());
            let waiting = places.or_insert_with_key(|short| waiting.get(short).copied().cloned().unwrap_or_default());
            let (board, waiting) = (board_of(&mount.process), waiting.clone());
            let (waiting_overall, gates) = (before.waiting.clone(), mount.gates.as_ref().map(&mut compiled));
            let seen = mount.served.as_ref().map(|rows| {
                let seen = by_process.entry(mount.process.clone()).or_insert_with(|| Gates::seen(rows).into());
                Arc::clone(seen)
            });
            by_path
                .entry(spelling.clone())
                .or_insert_with(|| Arc::new(Module { mount, spelling, gates, seen, board, waiting, waiting_overall }));
        }
        let longest = by_path.keys().map(|path| path.len()).max().unwrap_or_default();
        Self { by_path, longest, waiting: before.waiting.clone() }
    }

    /// What stands in the place of this module now, if that differs from it in the port at most.
    pub(crate) fn successor(&self, module: &Arc<Module>) -> Option<&Arc<Module>> {
        let now = self.by_path.get(&module.spelling)?;
        let is_same = Arc::ptr_eq(now, module) || now.mount == Mount { port: now.mount.port, ..module.mount.clone() };
        is_same.then_some(now)
    }

    /// The longest mount that the path is in; segments are never cut.
    fn find(&self, path: &str) -> Option<&Arc<Module>> {
        let mut candidate = path;
        loop {
            if candidate.len() <= self.longest
                && let Some(module) = self.by_path.get(candidate)
            {
                return Some(module);
            }
            candidate = candidate.get(..candidate.rfind('/')?)?;
        }
    }
}

/// The names and addresses under which we answer.
#[derive(Debug)]
pub(crate) struct Hosts {
    own: OwnHosts,
    /// The ones that are allowed besides; lower case.
    allowed: Vec<String>,
    listening: Vec<IpAddr>,
}

impl Hosts {
    /// `allowed` are names with or without a port; what is none is left out.
    pub(crate) fn new(own: OwnHosts, allowed: &[String], listening: Vec<IpAddr>) -> Self {
        let allowed = allowed.iter().filter_map(|host| head::host_name(host).map(str::to_ascii_lowercase)).collect();
        // A wildcard is no address of ours: browsers connect to 0.0.0.0 on behalf of any page.
        Self { own, allowed, listening: listening.into_iter().filter(|ip| !ip.is_unspecified()).collect() }
    }

    pub(super) fn is_configured(&self, name: &str) -> bool {
        self.own.has(name) || self.allowed.iter().any(|host| host.eq_ignore_ascii_case(name))
    }

    /// What a field says of the host, if that is a name or an address of ours.
    pub(super) fn own<'a>(&self, value: &'a [u8]) -> Option<&'a str> {
        let text = std::str::from_utf8(value).ok()?;
        head::host_name(text).filter(|name| self.is_configured(name) || self.is_local(name)).map(|_| text)
    }

    pub(super) fn is_local(&self, name: &str) -> bool {
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        name.parse::<IpAddr>()
            .is_ok_and(|address| super::layer::is_loopback(address) || self.listening.contains(&address))
    }
}

/// Chooses. `name` is that of the host field, which only HTTP/1.0 may leave out: no browser does, so that a local caller
/// without one cannot be a foreign page.
pub(crate) fn target(hosts: &Hosts, table: &Table, layer: Layer, name: Option<&str>, path: &str) -> Target {
    let is_local = match (layer, name) {
        (Layer::Loopback, None) => true,
        (Layer::Loopback, Some(name)) => hosts.is_local(name) || hosts.is_configured(name),
        (Layer::Tailnet | Layer::Public, _) => false,
    };
    if layer == Layer::Loopback && !is_local {
        return Target::Refuse(Refusal::ForeignHost);
    }
    // A module that is for this machine only looks from elsewhere as if it was not there.
    let module = if is_hub_mount(path) { None } else { table.find(path) };
    if let Some(module) = module.filter(|module| is_local || !module.mount.local_only) {
        return Target::Module(Arc::clone(module));
    }
    if is_local || is_open_to_everyone(path) || name.is_some_and(|name| hosts.is_configured(name)) {
        Target::Hub
    } else {
        Target::Refuse(Refusal::ForeignHost)
    }
}

/// What the hub says to anybody who asks under any name.
fn is_open_to_everyone(path: &str) -> bool {
    path == "/health" || path.starts_with("/.well-known/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::tests::mount;
    use Layer::{Loopback, Public, Tailnet};

    fn hosts() -> Hosts {
        Hosts::new(
            OwnHosts::of(&["https://Box.example.org", "http://box.ts.net:8443/path", "nonsense//"]),
            &["lan.example:1939".to_owned(), "a b".to_owned()],
            vec!["192.168.1.5".parse().expect("address"), "0.0.0.0".parse().expect("address")],
        )
    }

    #[test]
    fn the_host_decides_before_anything_else() {
        let hosts = hosts();
        for (layer, host, path, passes) in [
            (Loopback, Some("localhost"), "/", true),
            (Loopback, Some("LOCALHOST.:1939"), "/", true),
            (Loopback, Some("127.0.0.1:1939"), "/api/modules", true),
            (Loopback, Some("127.9.9.9"), "/", true),
            (Loopback, Some("[::1]:1939"), "/", true),
            (Loopback, Some("[::ffff:127.0.0.1]"), "/", true),
            (Loopback, Some("box.example.org"), "/api/modules", true),
            (Loopback, Some("BOX.TS.NET"), "/", true),
            (Loopback, Some("lan.example"), "/", true),
            (Loopback, Some("192.168.1.5:1939"), "/", true),
            (Loopback, None, "/", true),
            (Loopback, Some("evil.example"), "/", false),
            (Loopback, Some("evil.example"), "/health", false),
            (Loopback, Some("localhost.evil.example"), "/", false),
            (Loopback, Some("127.0.0.1.evil.example"), "/", false),
            (Loopback, Some("0.0.0.0"), "/", false),
            (Loopback, Some("[::]"), "/", false),
            (Loopback, Some("192.168.1.6"), "/", false),
            (Loopback, Some("2130706433"), "/", false),
            (Public, Some("box.example.org"), "/api/modules", true),
            (Public, Some("lan.example:80"), "/", true),
            (Public, Some("localhost"), "/api/modules", false),
            (Public, Some("192.168.1.5"), "/api/modules", false),
            (Public, Some("evil.example"), "/health", true),
            (Public, Some("evil.example"), "/.well-known/parachute.json", true),
            (Public, Some("evil.example"), "/healthy", false),
            (Public, Some("evil.example"), "/.well-knownx", false),
            (Public, Some("evil.example"), "/", false),
            (Public, None, "/health", true),
            (Public, None, "/oauth/token", false),
            (Tailnet, Some("box.ts.net"), "/api/modules", true),
            (Tailnet, Some("other.ts.net"), "/api/modules", false),
        ] {
            let hub =
                matches!(target(&hosts, &Table::default(), layer, host.and_then(head::host_name), path), Target::Hub);
            assert_eq!(hub, passes, "{layer:?} {host:?} {path}");
        }
    }

    #[test]
    fn another_origin_counts_from_the_next_request_on() {
        let own = OwnHosts::of(&["https://old.example"]);
        let hosts = Hosts::new(own.clone(), &[], Vec::new());
        let passes =
            |host| matches!(target(&hosts, &Table::default(), Public, head::host_name(host), "/"), Target::Hub);
        assert!(passes("old.example") && !passes("new.example"));
        own.replace(&["https://New.example:8443".to_owned()]);
        assert!(!passes("old.example") && passes("new.example:8443"));
    }

    fn table(mounts: &[(&str, bool)]) -> Table {
        let mount = |(path, local_only): &(&str, bool)| Mount { local_only: *local_only, ..mount(path) };
        Table::new(mounts.iter().map(mount).collect(), |_| Arc::new(Board::new()), &Table::default())
    }

    fn goes(table: &Table, layer: Layer, host: &str, path: &str) -> String {
        match target(&hosts(), table, layer, head::host_name(host), path) {
            Target::Hub => "hub".to_owned(),
            Target::Module(module) => module.mount.path.clone(),
            Target::Refuse(Refusal::ForeignHost) => "refused".to_owned(),
        }
    }

    #[test]
    fn the_longest_mount_on_a_segment_boundary_wins() {
        let table = table(&[
            ("/a", false),
            ("/a/b", false),
            ("/a/b/c/d", false),
            ("/caf\u{e9} x", false),
            ("/.parachute", false),
            ("/api/mine", false),
        ]);
        for (path, expected) in [
            ("/a", "/a"),
            ("/a/", "/a"),
            ("/a/x", "/a"),
            ("/ab", "hub"),
            ("/A", "hub"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b"),
            ("/a/bc", "/a"),
            ("/a/b/c", "/a/b"),
            ("/a/b/c/d", "/a/b/c/d"),
            ("/a/b/c/d/e/f/g", "/a/b/c/d"),
            ("/a//b", "/a"),
            ("/caf%C3%A9%20x/y", "/caf\u{e9} x"),
            ("/.parachute/info", "/.parachute"),
            ("/", "hub"),
            ("*", "hub"),
            ("/api/mine", "hub"),
            ("/health", "hub"),
            ("/x/a/b", "hub"),
        ] {
            assert_eq!(goes(&table, Loopback, "localhost", path), expected, "{path}");
        }
    }

    #[test]
    fn only_a_post_to_a_vault_itself_misses_its_suffix() {
        let table =
            table(&[("/vault/default", false), ("/vault/caf\u{e9}", false), ("/vault/admin", false), ("/a", false)]);
        for (method, path, misses) in [
            ("POST", "/vault/default", true),
            ("POST", "/vault/caf%C3%A9", true),
            ("POST", "/vault/default/", false),
            ("POST", "/vault/default/mcp", false),
            ("GET", "/vault/default", false),
            ("OPTIONS", "/vault/default", false),
            ("POST", "/vault/admin", false),
            ("POST", "/a", false),
        ] {
            let Target::Module(module) = target(&hosts(), &table, Loopback, Some("localhost"), path) else {
                panic!("{path} has a module")
            };
            assert_eq!(module.misses_suffix(method, path), misses, "{method} {path}");
        }
    }

    #[test]
    fn from_elsewhere_a_local_module_looks_as_if_it_was_not_there() {
        let table = table(&[("/open", false), ("/mine", true), ("/mine/open", false)]);
        for (layer, host, path, expected) in [
            (Loopback, "localhost", "/mine", "/mine"),
            (Loopback, "localhost", "/open", "/open"),
            (Loopback, "evil.example", "/open", "refused"),
            (Loopback, "evil.example", "/mine", "refused"),
            (Tailnet, "box.ts.net", "/mine/x", "hub"),
            (Public, "box.example.org", "/mine", "hub"),
            (Public, "box.example.org", "/nothing", "hub"),
            (Public, "evil.example", "/mine", "refused"),
            (Public, "evil.example", "/nothing", "refused"),
            (Public, "evil.example", "/open", "/open"),
            (Public, "box.example.org", "/mine/open", "/mine/open"),
        ] {
            assert_eq!(goes(&table, layer, host, path), expected, "{layer:?} {host} {path}");
        }
    }
}
