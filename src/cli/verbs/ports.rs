//! Pure: which port a module gets (files §6 and §14.6). Whether a port is free, and who has it, is asked through functions.

use crate::cli::exit::Failure;
use crate::cli::out::printable;
use crate::wire::Code;
use std::collections::BTreeMap;

/// Tried first, in this order; 1945 belongs to a known module, runner.
const RESERVED: [u16; 4] = [1944, 1947, 1948, 1949];
/// Where the walk goes on.
const FIRST_FREE: u16 = 1950;

/// Which port is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// This one or none.
    Exactly(u16),
    /// This one if it can be had: the manifest's.
    Preferably(u16),
    Any,
}

/// What is known about the other ports.
pub(super) struct Surroundings<'a> {
    /// The module's own row has this one already.
    pub(super) own: Option<u16>,
    /// Ports of other rows and who has them.
    pub(super) rows: &'a BTreeMap<u16, String>,
    pub(super) hub: u16,
    /// Whether it is the canonical port of a first-party module that is not this one: it may be installed later.
    pub(super) is_anothers: &'a dyn Fn(u16) -> bool,
    /// Whether nobody listens there.
    pub(super) is_free: &'a dyn Fn(u16) -> bool,
    /// Who listens there, as far as the kernel tells us.
    pub(super) holder: &'a dyn Fn(u16) -> Option<Holder>,
}

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: i32,
    pub(super) command: Option<String>,
}

/// The port. One that the module has already is kept without asking whether it is free: the module may be using it.
pub(super) fn choose(wish: Wish, around: &Surroundings<'_>) -> Result<u16, Failure> {
    let taken = |port: u16| port == around.hub || around.rows.contains_key(&port);
    let can_have = |port: u16| around.own == Some(port) || !taken(port) && (around.is_free)(port);
    match (wish, around.own) {
        (Wish::Exactly(port), _) if can_have(port) => Ok(port),
        (Wish::Exactly(port), _) => Err(not_to_be_had(port, around)),
        (Wish::Preferably(_) | Wish::Any, Some(own)) => Ok(own),
        (Wish::Preferably(port), None) if !(around.is_anothers)(port) && can_have(port) => Ok(port),
        (Wish::Preferably(_) | Wish::Any, None) => {
            let mut walk = RESERVED.into_iter().chain(FIRST_FREE..=u16::MAX);
            walk.find(|port| !(around.is_anothers)(*port) && can_have(*port)).ok_or_else(|| {
                Failure::new(Code::Conflict, "no port from 1944 to 65535 is free", "give one with: --port N")
            })
        }
    }
}

fn not_to_be_had(port: u16, around: &Surroundings<'_>) -> Failure {
    let another = "give another with: --port N, or leave --port out";
    match around.rows.get(&port) {
        _ if port == around.hub => Failure::new(Code::Conflict, format!("port {port} is the hub's own"), another),
        Some(holder) => Failure::new(Code::Conflict, format!("port {port} is already the port of {holder}"), another),
        None => match (around.holder)(port) {
            Some(Holder { pid, command }) => {
                let command = command.map_or(String::new(), |command| format!(" ({})", printable(&command)));
                let message = format!("port {port} is already held by process {pid}{command}");
                Failure::new(Code::PortInUse, message, format!("stop that program, or {another}"))
            }
            None => Failure::new(
                Code::PortInUse,
                format!("port {port} is in use by a program that the hub does not know"),
                format!("stop it (lsof -ti:{port} names it), or {another}"),
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_kept_wished_for_or_found() {
        let vault: &[(u16, &str)] = &[(1940, "parachute-vault")];
        let slots: &[(u16, &str)] = &[(1944, "a"), (1947, "b"), (1948, "c"), (1949, "d")];
        for (name, wish, own, rows, busy, expected) in [
            ("first slot", Wish::Any, None, vault, &[][..], Ok(1944)),
            ("slot in use", Wish::Any, None, vault, &[1944], Ok(1947)),
            ("runner's own port is not handed out", Wish::Any, None, &[(1944, "a")][..], &[], Ok(1947)),
            ("slots full", Wish::Any, None, slots, &[], Ok(1950)),
            ("slots full and busy", Wish::Any, None, slots, &[1950, 1951], Ok(1952)),
            ("kept though busy", Wish::Any, Some(3000), vault, &[3000], Ok(3000)),
            ("kept against the manifest", Wish::Preferably(1943), Some(3000), vault, &[], Ok(3000)),
            ("manifest's", Wish::Preferably(4000), None, vault, &[], Ok(4000)),
            ("manifest's taken", Wish::Preferably(1940), None, vault, &[], Ok(1944)),
            ("manifest's, which is the vault's", Wish::Preferably(1940), None, &[], &[], Ok(1944)),
            ("the vault's, asked for", Wish::Exactly(1940), None, &[], &[], Ok(1940)),
            ("manifest's busy", Wish::Preferably(4000), None, vault, &[4000], Ok(1944)),
            ("asked for", Wish::Exactly(3000), None, vault, &[], Ok(3000)),
            ("asked for and its own", Wish::Exactly(3000), Some(3000), vault, &[3000], Ok(3000)),
            ("asked for, taken", Wish::Exactly(1940), None, vault, &[], Err(Code::Conflict)),
            ("asked for, busy", Wish::Exactly(3000), None, vault, &[3000], Err(Code::PortInUse)),
            ("asked for, the hub's", Wish::Exactly(1939), None, vault, &[], Err(Code::Conflict)),
        ] {
            let rows: BTreeMap<u16, String> = rows.iter().map(|(port, holder)| (*port, (*holder).to_owned())).collect();
            let is_free = |port: u16| !busy.contains(&port);
            let around = Surroundings {
                own,
                rows: &rows,
                hub: 1939,
                is_anothers: &|port| port == 1940,
                is_free: &is_free,
                holder: &|_| None,
            };
            assert_eq!(choose(wish, &around).map_err(|failure| failure.code), expected, "{name}");
        }
    }

    #[test]
    fn the_walk_ends_when_everything_is_taken() {
        let rows = BTreeMap::new();
        let around = Surroundings {
            own: None,
            rows: &rows,
            hub: 1939,
            is_anothers: &|_| false,
            is_free: &|_| false,
            holder: &|_| None,
        };
        assert_eq!(choose(Wish::Any, &around).map_err(|failure| failure.exit.number()), Err(7));
        let last = Surroundings { is_free: &|port| port == u16::MAX, ..around };
        assert_eq!(choose(Wish::Any, &last).ok(), Some(u16::MAX));
    }
}
