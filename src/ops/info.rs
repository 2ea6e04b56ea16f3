//! How the hub itself is: alive, ready, which one.

use super::{Hub, lock};
use crate::manifest::Short;
use crate::supervisor::{Snapshot, StartErrorKind, Status};
use crate::token::proof::Challenge;
use crate::wire::{Health, HubInfo, Ready};
use std::collections::BTreeSet;
use std::path::Path;

/// The home of a container image, by which one is known (http-api §7).
const CONTAINER_HOME: &str = "/parachute";

impl Hub {
    /// Always an answer while the process lives; what is wrong with the database is said in it. To a challenge it has
    /// the proof that this is the hub of its home.
    pub(crate) fn health(&self, challenge: Option<&Challenge>) -> Health {
        let identity = &self.parts.identity;
        if self.parts.authority.db_lost().is_some() {
            self.parts.supervisor.look_at_home();
        }
        Health {
            status: "ok".to_owned(),
            service: "parachute-hub".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            db: self.parts.authority.db_health().to_string(),
            instance: identity.instance.clone(),
            proof: challenge.and_then(|challenge| Some(identity.secret.as_ref()?.proof(challenge, identity.port))),
        }
    }

    /// Whether all modules that should run can be used.
    pub(crate) fn ready(&self) -> Ready {
        // A services.json that cannot be read changes nothing about what runs; what should is not known without one.
        let is_known = self.reconcile().is_ok() || lock(&self.reconciled).is_some();
        let ready = ready(&self.parts.supervisor.snapshots(), &self.parts.intent.stopped());
        Ready { ready: ready.ready && is_known, ..ready }
    }

    pub(crate) fn info(&self) -> HubInfo {
        let identity = &self.parts.identity;
        let container = self.parts.home.path() == Path::new(CONTAINER_HOME);
        HubInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: identity.instance.clone(),
            pid: identity.pid,
            port: identity.port,
            started_at: identity.started_at.clone().unwrap_or_default(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            source: if container { "container" } else { "binary" }.to_owned(),
            container_build_time: self.parts.build_time.clone().filter(|_| container),
            control_groups: self.parts.supervisor.groups_directory().map(|directory| directory.display().to_string()),
        }
    }
}

/// Counts what should run: a module that was stopped on purpose, or has ended and is not to be restarted, holds nobody
/// up (http-api H3).
fn ready(snapshots: &[Snapshot], stopped: &BTreeSet<Short>) -> Ready {
    let (mut ready, mut transient, mut persistent) = (Vec::new(), Vec::new(), Vec::new());
    for snapshot in snapshots.iter().filter(|snapshot| !stopped.contains(&snapshot.short)) {
        let unbound =
            snapshot.start_error.as_ref().is_some_and(|error| error.kind == StartErrorKind::StartedButUnbound);
        let list = match (snapshot.status, snapshot.ready) {
            (Status::Stopped, _) => continue,
            (Status::Running, true) => &mut ready,
            (Status::Crashed, _) => &mut persistent,
            (Status::Running, false) if unbound => &mut persistent,
            (Status::Running | Status::Starting | Status::Restarting, _) => &mut transient,
        };
        list.push(snapshot.short.to_string());
    }
    Ready {
        ready: transient.is_empty() && persistent.is_empty(),
        ready_modules: ready,
        transient_modules: transient,
        persistent_modules: persistent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::state::tests::snapshot;
    use crate::supervisor::StartError;
    use std::time::SystemTime;

    #[test]
    fn only_modules_that_should_run_count() {
        let unbound = StartError {
            kind: StartErrorKind::StartedButUnbound,
            description: String::new(),
            binary: None,
            at: SystemTime::UNIX_EPOCH,
        };
        for (what, status, is_ready, error, stopped, expected) in [
            ("bound", Status::Running, true, None, false, Some("ready")),
            ("bound and an old note", Status::Running, true, Some(&unbound), false, Some("ready")),
            ("not bound yet", Status::Running, false, None, false, Some("transient")),
            ("never bound", Status::Running, false, Some(&unbound), false, Some("persistent")),
            ("starting", Status::Starting, false, None, false, Some("transient")),
            ("restarting", Status::Restarting, false, None, false, Some("transient")),
            ("crashed", Status::Crashed, false, None, false, Some("persistent")),
            ("ended for good", Status::Stopped, false, None, false, None),
            ("stopped by hand", Status::Stopped, false, None, true, None),
            ("crashed, then stopped by hand", Status::Crashed, false, None, true, None),
        ] {
            let snapshot = Snapshot { ready: is_ready, start_error: error.cloned(), ..snapshot("m", status) };
            let intent = stopped.then(|| snapshot.short.clone()).into_iter().collect();
            let found = ready(std::slice::from_ref(&snapshot), &intent);
            let list = |name| if expected == Some(name) { vec!["m".to_owned()] } else { Vec::new() };
            let whole = Ready {
                ready: !matches!(expected, Some("transient" | "persistent")),
                ready_modules: list("ready"),
                transient_modules: list("transient"),
                persistent_modules: list("persistent"),
            };
            assert_eq!(found, whole, "{what}");
        }
        assert!(ready(&[], &BTreeSet::new()).ready, "nothing to wait for");
    }
}
