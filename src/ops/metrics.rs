//! The numbers that a monitoring system asks for.

use super::Hub;
use super::state::status;
use crate::supervisor::Snapshot;
use crate::sys::proc::{self, OwnUse};
use crate::wire::Status;
use std::time::Duration;

/// Every state, so that each has a series from the beginning.
const STATES: [Status; 5] = [Status::Starting, Status::Running, Status::Stopped, Status::Crashed, Status::Restarting];

/// Numbers of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Gauge,
    /// Never falls while the hub lives; its name ends with `_total`.
    Counter,
}

/// One number; the labels tell it from the others of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) value: Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    Whole(u64),
    Seconds(Duration),
}

/// What goes through the edge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) connections: u64,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) waiting: u64,
    pub(crate) websockets: u64,
}

impl Hub {
    /// All numbers, as they are now. Blocks for some reads of /proc.
    pub(crate) fn metrics(&self) -> Vec<Family> {
        // A services.json that cannot be read changes nothing about what runs.
        let _unchanged = self.reconcile();
        let mut families = of_hub(self.started.elapsed(), &proc::own_use());
        families.extend(of_traffic(&(self.parts.traffic)()));
        families.extend(of_modules(&self.parts.supervisor.snapshots()));
        families
    }
}

fn of_hub(uptime: Duration, used: &OwnUse) -> Vec<Family> {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    let plain = |value: Option<u64>| value.map(|value| Sample { labels: Vec::new(), value: Number::Whole(value) });
    let gauge = |name, help, sample: Option<Sample>| Family {
        name,
        help,
        kind: Kind::Gauge,
        samples: sample.into_iter().collect(),
    };
    let uptime = Sample { labels: Vec::new(), value: Number::Seconds(uptime) };
    vec![
        gauge(
            "parachute_build_info",
            "The version of the hub; always 1.",
            Some(Sample { labels: version, value: Number::Whole(1) }),
        ),
        gauge("parachute_uptime_seconds", "Time since the hub started.", Some(uptime)),
        gauge("parachute_process_open_fds", "Descriptors that the hub has open.", plain(used.descriptors)),
        gauge("parachute_process_resident_memory_bytes", "Memory of the hub in RAM.", plain(used.resident_bytes)),
        gauge("parachute_process_threads", "Threads of the hub.", plain(used.threads)),
    ]
}

fn of_traffic(traffic: &Traffic) -> Vec<Family> {
    let family = |name, help, kind, value| Family {
        name,
        help,
        kind,
        samples: vec![Sample { labels: Vec::new(), value: Number::Whole(value) }],
    };
    vec![
        family("parachute_edge_connections", "Connections that are open.", Kind::Gauge, traffic.connections),
        family("parachute_edge_requests_total", "Requests, refused ones included.", Kind::Counter, traffic.requests),
        family("parachute_edge_refused_total", "Clients without a place.", Kind::Counter, traffic.refused),
        family("parachute_edge_waiting", "Requests that wait for a module.", Kind::Gauge, traffic.waiting),
        family("parachute_edge_websockets", "WebSockets that are open.", Kind::Gauge, traffic.websockets),
    ]
}

fn of_modules(snapshots: &[Snapshot]) -> Vec<Family> {
    let each = |value: fn(&Snapshot) -> u64| -> Vec<Sample> {
        snapshots.iter().map(|snapshot| sample(snapshot, None, value(snapshot))).collect()
    };
    let family = |name, help, kind, samples| Family { name, help, kind, samples };
    let states = snapshots.iter().flat_map(|snapshot| {
        let present = status(snapshot.status);
        STATES.map(|state| sample(snapshot, Some(state), u64::from(state == present)))
    });
    vec![
        family(
            "parachute_module_up",
            "Whether the module's process lives.",
            Kind::Gauge,
            each(|snapshot| u64::from(snapshot.pid.is_some())),
        ),
        family(
            "parachute_module_ready",
            "Whether the module can be used.",
            Kind::Gauge,
            each(|snapshot| u64::from(snapshot.ready)),
        ),
        family(
            "parachute_module_restarts_total",
            "How often the hub has restarted the module.",
            Kind::Counter,
            each(|snapshot| snapshot.restarts_total),
        ),
        family("parachute_module_state", "1 for the state that the module is in.", Kind::Gauge, states.collect()),
    ]
}

fn sample(snapshot: &Snapshot, state: Option<Status>, value: u64) -> Sample {
    let mut labels = vec![("module", snapshot.short.to_string())];
    labels.extend(state.map(|state| ("state", state.as_str().to_owned())));
    Sample { labels, value: Number::Whole(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::state::tests::snapshot;
    use crate::supervisor;
    use std::collections::HashSet;

    #[test]
    fn every_module_has_each_series_once_and_is_in_one_state() {
        let running =
            Snapshot { pid: Some(7), ready: true, restarts_total: 3, ..snapshot("wiki", supervisor::Status::Running) };
        let families = of_modules(&[running, snapshot("tool", supervisor::Status::Crashed)]);
        let mut seen = HashSet::new();
        for family in &families {
            for sample in &family.samples {
                assert!(seen.insert((family.name, sample.labels.clone())), "{} {sample:?} is there twice", family.name);
            }
        }
        let value = |name: &str, labels: &[&str]| {
            let family = families.iter().find(|family| family.name == name).expect("a family");
            let has =
                |sample: &&Sample| sample.labels.iter().map(|(_, value)| value.as_str()).eq(labels.iter().copied());
            family.samples.iter().find(has).map(|sample| sample.value)
        };
        for (name, labels, expected) in [
            ("parachute_module_up", &["wiki"][..], 1),
            ("parachute_module_up", &["tool"], 0),
            ("parachute_module_ready", &["wiki"], 1),
            ("parachute_module_restarts_total", &["wiki"], 3),
            ("parachute_module_state", &["wiki", "running"], 1),
            ("parachute_module_state", &["wiki", "crashed"], 0),
            ("parachute_module_state", &["tool", "crashed"], 1),
            ("parachute_module_state", &["tool", "starting"], 0),
        ] {
            assert_eq!(value(name, labels), Some(Number::Whole(expected)), "{name} {labels:?}");
        }
        assert_eq!(seen.len(), 2 * (3 + STATES.len()));
    }

    #[test]
    fn what_the_kernel_does_not_say_has_no_number() {
        let families = of_hub(Duration::from_millis(1500), &OwnUse::default());
        let lengths: Vec<_> = families.iter().map(|family| family.samples.len()).collect();
        assert_eq!(lengths, [1, 1, 0, 0, 0]);
    }
}
