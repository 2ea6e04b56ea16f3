//! `expose-state.json`: how the hub is exposed beyond this machine, as whoever exposed it wrote it down (files §9).

use super::{Problem, json};
use serde_json::{Map, Value};

const VERSION: i64 = 1;

/// What of it counts here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exposure {
    /// Under which origin, as it is written.
    pub(crate) origin: String,
}

impl Exposure {
    /// Reads the whole file, of which every field must be as it was agreed: of a record that cannot be trusted in one
    /// thing nothing is.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let tree = json::parse(bytes)?;
        let Value::Object(state) = &tree else { return Err(Problem::new("", "must be an object")) };
        if state.get("version").and_then(Value::as_i64) != Some(VERSION) {
            return Err(Problem::new("version", "must be 1"));
        }
        one_of(state, "layer", ["tailnet", "public"])?;
        one_of(state, "mode", ["path", "subdomain"])?;
        let name = text(state, "canonicalFqdn")?;
        if !state.get("port").is_some_and(|port| port.is_i64() || port.is_u64()) {
            return Err(Problem::new("port", "must be an integer"));
        }
        if !state.get("funnel").is_some_and(Value::is_boolean) {
            return Err(Problem::new("funnel", "must be true or false"));
        }
        let Some(Value::Array(entries)) = state.get("entries") else {
            return Err(Problem::new("entries", "must be a list"));
        };
        for (at, entry) in entries.iter().enumerate() {
            self::entry(entry).map_err(|problem| problem.within(&format!("entries[{at}]")))?;
        }
        let origin = match state.get("hubOrigin") {
            None => format!("https://{name}"),
            Some(_) => text(state, "hubOrigin")?.to_owned(),
        };
        Ok(Self { origin })
    }
}

fn entry(entry: &Value) -> Result<(), Problem> {
    let Value::Object(entry) = entry else { return Err(Problem::new("", "must be an object")) };
    one_of(entry, "kind", ["proxy", "file"])?;
    if !text(entry, "mount")?.starts_with('/') {
        return Err(Problem::new("mount", "must begin with /"));
    }
    text(entry, "target")?;
    text(entry, "service").map(drop)
}

fn text<'a>(object: &'a Map<String, Value>, field: &str) -> Result<&'a str, Problem> {
    let text = object.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| Problem::new(field, "must be a text that is not empty"))
}

fn one_of(object: &Map<String, Value>, field: &str, allowed: [&str; 2]) -> Result<(), Problem> {
    let found = object.get(field).and_then(Value::as_str);
    match found.is_some_and(|found| allowed.contains(&found)) {
        true => Ok(()),
        false => Err(Problem::new(field, format!("must be {} or {}", allowed[0], allowed[1]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state() -> Value {
        json!({
            "version": 1, "layer": "public", "mode": "path", "canonicalFqdn": "box.tail.example", "port": 443,
            "funnel": true, "hubOrigin": "https://hub.example",
            "entries": [{"kind": "proxy", "mount": "/", "target": "http://127.0.0.1:1939/", "service": "hub"}],
        })
    }

    #[test]
    fn the_origin_is_the_one_that_is_written_or_the_name() {
        let parse = |state: &Value| Exposure::parse(state.to_string().as_bytes()).map(|exposure| exposure.origin);
        assert_eq!(parse(&state()).as_deref(), Ok("https://hub.example"));
        let mut unnamed = state();
        unnamed.as_object_mut().expect("an object").remove("hubOrigin");
        unnamed["later"] = json!([1, {"x": null}]);
        assert_eq!(parse(&unnamed).as_deref(), Ok("https://box.tail.example"), "unknown fields are no mistake");
    }

    /// files §15, case 15
    #[test]
    fn each_bad_field_is_named() {
        let good = state();
        let names: Vec<String> = good.as_object().expect("an object").keys().cloned().collect();
        let wrong = [json!(null), json!(2), json!("x"), json!(""), json!([]), json!({}), json!(1.5)];
        for name in names {
            let mut refused = 0;
            for value in &wrong {
                let mut state = good.clone();
                state[&name] = value.clone();
                match Exposure::parse(state.to_string().as_bytes()) {
                    Ok(_) => {}
                    Err(problem) => {
                        assert!(problem.field == name || problem.field.starts_with(&name), "{name}: {problem}");
                        refused += 1;
                    }
                }
            }
            assert!(refused >= 5, "{name}: {refused} of {}", wrong.len());
            let mut state = good.clone();
            state.as_object_mut().expect("an object").remove(&name);
            let is_optional = name == "hubOrigin";
            assert_eq!(Exposure::parse(state.to_string().as_bytes()).is_ok(), is_optional, "{name} is missing");
        }
        for (field, value) in [("kind", "pipe"), ("mount", "x"), ("mount", ""), ("target", ""), ("service", "")] {
            let mut state = good.clone();
            state["entries"][0][field] = json!(value);
            let problem = Exposure::parse(state.to_string().as_bytes()).expect_err("refused");
            assert_eq!(problem.field, format!("entries[0].{field}"));
        }
        let whole: &[&[u8]] = &[b"", b"[]", b"null", b"{", b"\xff", b"{\"version\":1}", b"\0"];
        for bytes in whole {
            assert!(Exposure::parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
