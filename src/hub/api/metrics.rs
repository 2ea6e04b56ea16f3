//! `GET /metrics`: the numbers in the text format of Prometheus, version 0.0.4.

use crate::hub::reply::{Outcome, Reply};
use crate::hub::request::Req;
use crate::ops::Hub;
use crate::ops::metrics::{Family, Kind, Number, Sample};
use std::fmt::Write;
use std::sync::Arc;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(in crate::hub) fn metrics(hub: &Arc<Hub>, _req: &Req) -> Outcome {
    let body = render(&hub.metrics()).into_bytes();
    Reply { status: 200, content_type: CONTENT_TYPE, headers: Vec::new(), body }.into()
}

/// A family without numbers is left out.
fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let (name, help) = (family.name, escaped(family.help, &['\\', '\n']));
        let kind = match family.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // Writing into a String cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        family.samples.iter().for_each(|sample| write_sample(name, sample, &mut text));
    }
    text
}

fn write_sample(name: &str, sample: &Sample, text: &mut String) {
    text.push_str(name);
    let labels: Vec<String> =
        sample.labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value, &['\\', '\n', '"']))).collect();
    if !labels.is_empty() {
        let _ = write!(text, "{{{}}}", labels.join(","));
    }
    let _ = match sample.value {
        Number::Whole(value) => writeln!(text, " {value}"),
        Number::Seconds(time) => writeln!(text, " {}.{:03}", time.as_secs(), time.subsec_millis()),
    };
}

/// `special` characters with a backslash in front, a line end as `\n`.
fn escaped(value: &str, special: &[char]) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        if special.contains(&character) {
            escaped.push('\\');
        }
        escaped.push(if character == '\n' { 'n' } else { character });
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sample(labels: &[(&'static str, &str)], value: Number) -> Sample {
        Sample { labels: labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(), value }
    }

    #[test]
    fn the_text_is_that_of_version_0_0_4() {
        let families = [
            Family {
                name: "parachute_up_seconds",
                help: "Time\\since\nthen.",
                kind: Kind::Gauge,
                samples: vec![sample(&[], Number::Seconds(Duration::from_millis(61_007)))],
            },
            Family { name: "parachute_nothing", help: "None.", kind: Kind::Gauge, samples: Vec::new() },
            Family {
                name: "parachute_x_total",
                help: "Count.",
                kind: Kind::Counter,
                samples: vec![
                    sample(&[("module", "a\"b\\c\nd"), ("state", "é")], Number::Whole(u64::MAX)),
                    sample(&[("module", "b")], Number::Whole(0)),
                ],
            },
        ];
        assert_eq!(
            render(&families),
            "# HELP parachute_up_seconds Time\\\\since\\nthen.\n# TYPE parachute_up_seconds gauge\n\
             parachute_up_seconds 61.007\n\
             # HELP parachute_x_total Count.\n# TYPE parachute_x_total counter\n\
             parachute_x_total{module=\"a\\\"b\\\\c\\nd\",state=\"é\"} 18446744073709551615\n\
             parachute_x_total{module=\"b\"} 0\n"
        );
    }
}
