use super::*;
use crate::supervisor::plan::tests::{facts, inputs};
use std::collections::BTreeMap;

fn built(inputs: &Inputs, facts: &Facts) -> BTreeMap<String, String> {
    let short = Short::parse("wiki").expect("a good name");
    let text = |text: &OsStr| text.to_str().expect("text").to_owned();
    build(inputs, facts, &short, "1944").iter().map(|(name, value)| (text(name), text(value))).collect()
}

#[test]
fn later_layers_win_and_the_port_is_the_rows() {
    let hub = facts(&[("PATH", "/bin"), ("PORT", "1939"), ("A", "hub"), ("B", "hub"), ("C", "hub")]);
    let mut given = inputs();
    given.run.env.set = vec![("B".into(), "run".into()), ("C".into(), "run".into()), ("PORT".into(), "1".into())];
    given.dotenv = vec![("C".into(), "dotenv".into()), ("PORT".into(), "2".into()), ("PATH".into(), "/mine".into())];
    given.origin = Some("https://a.example".into());
    given.dotenv.push(("PARACHUTE_HUB_ORIGIN".into(), "http://stale".into()));
    let environment = built(&given, &hub);
    for (name, expected) in [
        ("A", "hub"),
        ("B", "run"),
        ("C", "dotenv"),
        ("PORT", "1944"),
        ("PATH", "/mine"),
        ("PARACHUTE_HUB_ORIGIN", "https://a.example"),
        ("PARACHUTE_HOME", "/home/op/.parachute"),
        ("PARACHUTE_MODULE", "wiki"),
        (LINEAGE, "i1/wiki"),
    ] {
        assert_eq!(environment.get(name).map(String::as_str), Some(expected), "{name}");
    }
}

#[test]
fn the_hubs_secrets_and_its_keepers_words_stay_with_the_hub() {
    let hidden = [
        "PARACHUTE_INITIAL_ADMIN_PASSWORD",
        "PARACHUTE_OPERATOR_TOKEN",
        "PARACHUTE_OPERATOR_TOKEN_FILE",
        "PARACHUTE_SIGNING_KEY_FILE",
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "WATCHDOG_USEC",
    ];
    let pairs: Vec<(&str, &str)> = hidden.iter().map(|name| (*name, "secret")).chain([("GROQ_API_KEY", "k")]).collect();
    let environment = built(&inputs(), &facts(&pairs));
    for name in hidden {
        assert!(!environment.contains_key(name), "{name}");
    }
    assert_eq!(environment.get("GROQ_API_KEY").map(String::as_str), Some("k"), "containers hand keys in that way");
}

#[test]
fn without_inheritance_only_the_basics_are_left() {
    let hub = facts(&[("PATH", "/bin"), ("LC_ALL", "C"), ("https_proxy", "p"), ("GROQ_API_KEY", "k"), ("TZ", "UTC")]);
    let mut given = inputs();
    given.run.env.inherit = false;
    let environment = built(&given, &hub);
    for (name, there) in
        [("PATH", true), ("LC_ALL", true), ("https_proxy", true), ("TZ", true), ("GROQ_API_KEY", false)]
    {
        assert_eq!(environment.contains_key(name), there, "{name}");
    }
}

#[test]
fn the_search_path_keeps_the_operators_order_and_each_directory_once() {
    let mut hub = facts(&[("PATH", "/usr/bin::/bin:/usr/bin")]);
    hub.extra_path = vec!["/extra".into(), "/bin".into()];
    hub.usual_path = vec!["/home/op/.local/bin".into(), "/extra".into()];
    assert_eq!(built(&inputs(), &hub)["PATH"], "/extra:/bin:/usr/bin:/home/op/.local/bin");
}

#[test]
fn a_hub_inside_a_module_is_still_of_the_outer_hubs_lineage() {
    let lineage = &built(&inputs(), &facts(&[(LINEAGE, "outer/hub")]))[LINEAGE];
    assert!(is_of_lineage(lineage, "outer/hub") && is_of_lineage(lineage, "i1/wiki"), "{lineage}");
    assert!(!is_of_lineage(lineage, "i1/wik") && !is_of_lineage(lineage, "1/wiki"), "{lineage}");
}
