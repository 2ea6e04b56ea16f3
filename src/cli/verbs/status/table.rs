//! Pure: rows as text and as JSON.

use super::rows::{HubRow, ModuleRow};
use super::when::{unix_ms, uptime};
use crate::cli::out::printable;
use serde_json::{Value, json};
use std::time::Duration;

const COLUMNS: [&str; 8] = ["SERVICE", "PORT", "VERSION", "STATE", "PID", "UPTIME", "LATENCY", "SOURCE"];
const GAP: &str = "  ";

/// The table of cli §4: widths from the longest cell, each row followed by what there is to say about it.
pub(super) fn render(modules: &[ModuleRow], hub: Option<&HubRow>) -> String {
    let rows: Vec<([String; 8], Vec<String>)> = modules.iter().map(module_lines).chain(hub.map(hub_lines)).collect();
    let mut widths = COLUMNS.map(|column| column.chars().count());
    for (cells, _) in &rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = line(&COLUMNS.map(str::to_owned), &widths);
    for (cells, below) in &rows {
        text.push_str(&line(cells, &widths));
        for note in below {
            text.push_str(&format!("{GAP}{}\n", printable(note)));
        }
    }
    text
}

fn line(cells: &[String; 8], widths: &[usize; 8]) -> String {
    let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    format!("{}\n", padded.join(GAP).trim_end())
}

fn dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// `0.4 ms`.
fn latency(took: Duration) -> String {
    format!("{:.1} ms", milliseconds(took))
}

fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}

fn module_lines(row: &ModuleRow) -> ([String; 8], Vec<String>) {
    let live = row.live.as_deref();
    let cells = [
        printable(&row.name),
        dash(row.port),
        printable(&row.version),
        row.state.as_str().to_owned(),
        dash(live.and_then(|info| info.pid)),
        dash(live.filter(|info| info.pid.is_some()).and_then(|info| info.uptime_ms).map(|ms| uptime(ms / 1000))),
        dash(row.latency.map(latency)),
        printable(&row.source),
    ];
    let url = row.url.iter().map(|url| format!("→ {url}"));
    (cells, url.chain(row.notes.iter().map(|note| format!("! {note}"))).collect())
}

fn hub_lines(hub: &HubRow) -> ([String; 8], Vec<String>) {
    let cells = [
        "parachute-hub (internal)".to_owned(),
        hub.port.to_string(),
        printable(&hub.version),
        hub.state.as_str().to_owned(),
        dash(hub.pid),
        dash(hub.uptime_s.map(uptime)),
        dash(hub.latency.map(latency)),
        format!("binary ({})", printable(&hub.version)),
    ];
    let url = std::iter::once(format!("→ http://127.0.0.1:{}", hub.port));
    (cells, url.chain(hub.notes.iter().map(|note| format!("! {note}"))).collect())
}

/// The object of cli §15.3.
pub(super) fn to_json(modules: &[ModuleRow], hub: &HubRow) -> Value {
    json!({
        "hub": {
            "state": hub.state.as_str(),
            "manager": null,
            "unit": null,
            "pid": hub.pid,
            "port": hub.port,
            "uptime_s": hub.uptime_s,
            "health": hub.health,
            "latency_ms": hub.latency.map(milliseconds),
            "version": hub.version,
            "instance": hub.instance,
            "last_exit": null,
            "notes": hub.notes,
        },
        "modules": modules.iter().map(module_json).collect::<Vec<_>>(),
    })
}

fn module_json(row: &ModuleRow) -> Value {
    let live = row.live.as_deref();
    json!({
        "name": row.name,
        "short": row.short,
        "port": row.port,
        "state": row.state.as_str(),
        "status": live.and_then(|info| info.supervisor_status),
        "ready": live.is_some_and(|info| info.ready),
        "pid": live.and_then(|info| info.pid),
        "uptime_s": live.filter(|info| info.pid.is_some()).and_then(|info| info.uptime_ms).map(|ms| ms / 1000),
        "started_at": live.and_then(|info| info.started_at.as_deref()).filter(|at| unix_ms(at).is_some()),
        "latency_ms": row.latency.map(milliseconds),
        "restarts": live.map(|info| info.restarts_total),
        "last_exit": live.and_then(|info| info.last_exit.as_ref()),
        "next_retry_at": live.and_then(|info| info.next_retry_at.as_deref()),
        "start_error": row.start_error,
        "url": row.url,
        "source": row.source,
        "version": row.version,
        "notes": row.notes,
    })
}
