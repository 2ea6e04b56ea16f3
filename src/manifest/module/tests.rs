use super::*;
use serde_json::json;
use std::path::PathBuf;

fn good() -> Value {
    json!({ "name": "wiki", "manifestName": "acme-wiki", "port": 3000, "paths": ["/wiki"], "health": "/health" })
}

fn sample(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/modules").join(name);
    std::fs::read(path.join(".parachute/module.json")).expect("a sample")
}

#[test]
fn samples_are_what_their_names_say() {
    let full = Manifest::parse(&sample("good-everything")).expect("a good manifest");
    assert_eq!((full.name.as_str(), full.manifest_name.as_str(), full.port.get()), ("wiki", "acme-wiki", 3000));
    assert_eq!(full.start_cmd.as_deref(), Some(&["./run.sh", "--port", "{port}"].map(str::to_owned)[..]));
    assert_eq!(full.run.map(|run| run.value()), Some(json!({ "stopTimeoutMs": 8000 })));
    assert!(Manifest::parse(&sample("good-small")).expect("a good manifest").start_cmd.is_none());
    for (name, field) in [
        ("bad-not-json", ""),
        ("bad-name-upper-case", "name"),
        ("bad-name-missing", "name"),
        ("bad-name-hub", "name"),
        ("bad-port-zero", "port"),
        ("bad-paths-dotdot", "paths[0]"),
        ("bad-start-cmd-shell-line", "startCmd"),
        ("bad-start-cmd-empty", "startCmd"),
        ("bad-start-cmd-no-program", "startCmd[0]"),
        ("bad-start-cmd-nul", "startCmd[0]"),
        ("bad-scope-of-another", "scopes.defines[0]"),
        ("bad-config-enum-empty", "configSchema.properties.a.enum"),
        ("bad-ui-url-other-host", "uiUrl"),
    ] {
        assert_eq!(Manifest::parse(&sample(name)).expect_err(name).field, field, "{name}");
    }
}

#[test]
fn every_field_has_its_type() {
    let schema = |rules: Value| json!({ "type": "object", "properties": { "a": rules } });
    for (field, value, ok) in [
        ("name", json!("a-1"), true),
        ("name", json!("1a"), false),
        ("name", json!("a.b"), false),
        ("name", json!(""), false),
        ("name", json!(null), false),
        ("manifestName", json!("@acme/wiki"), true),
        ("manifestName", json!(""), false),
        ("manifestName", json!(1), false),
        ("port", json!("3000"), false),
        ("port", json!(65536), false),
        ("port", json!(null), false),
        ("paths", json!([]), true),
        ("paths", json!(["wiki"]), false),
        ("paths", json!(["/wiki/./a"]), false),
        ("paths", json!([null]), false),
        ("paths", json!({}), false),
        ("health", json!("health"), false),
        ("health", json!(1), false),
        ("displayName", json!(1), false),
        ("displayName", json!(null), false),
        ("tagline", json!([]), false),
        ("startCmd", json!(["a", ""]), true),
        ("startCmd", json!(["a", 1]), false),
        ("startCmd", json!(null), false),
        ("scopes", json!({}), true),
        ("scopes", json!([]), false),
        ("scopes", json!({ "defines": ["wiki:"] }), true),
        ("scopes", json!({ "defines": [":wiki"] }), false),
        ("scopes", json!({ "defines": ["wiki"] }), false),
        ("scopes", json!({ "defines": "wiki:read" }), false),
        ("dependencies", json!({ "vault": {} }), true),
        ("dependencies", json!(["vault"]), false),
        ("dependencies", json!({ "vault": true }), false),
        ("dependencies", json!({ "vault": { "optional": "yes" } }), false),
        ("dependencies", json!({ "vault": { "scopes": [1] } }), false),
        ("configSchema", json!({ "type": "object" }), true),
        ("configSchema", json!({ "type": "array" }), false),
        ("configSchema", json!({}), false),
        ("configSchema", json!(null), false),
        ("configSchema", json!({ "type": "object", "required": ["a"] }), false),
        ("configSchema", schema(json!({ "type": "string" })), true),
        ("configSchema", schema(json!({ "type": "object" })), false),
        ("configSchema", schema(json!({})), false),
        ("configSchema", schema(json!({ "type": "string", "description": 1 })), false),
        ("configSchema", schema(json!({ "type": "string", "default": null })), false),
        ("configSchema", schema(json!({ "type": "number", "default": 1.5 })), true),
        ("configSchema", schema(json!({ "type": "string", "enum": ["a", 1] })), false),
        ("configSchema", schema(json!({ "type": "integer", "enum": [1.5] })), false),
        ("configSchema", schema(json!({ "type": "boolean", "enum": [true] })), false),
        ("managementUrl", json!("/admin"), true),
        ("managementUrl", json!("admin?x=a:b"), true),
        ("managementUrl", json!("https://acme.example/"), true),
        ("managementUrl", json!("https://"), false),
        ("managementUrl", json!("javascript:alert(1)"), false),
        ("managementUrl", json!("//acme.example"), false),
        ("managementUrl", json!("/\\acme.example"), false),
        ("managementUrl", json!("/ad\nmin"), false),
        ("managementUrl", json!(""), false),
        ("uiUrl", json!(1), false),
        ("uiUrl", json!(null), false),
        ("stripPrefix", json!("yes"), false),
        ("websocket", json!(1), false),
        ("kind", json!(null), true),
        ("events", json!("anything"), true),
    ] {
        let mut manifest = good();
        manifest[field] = value.clone();
        let outcome = Manifest::from_value(&manifest);
        assert_eq!(outcome.is_ok(), ok, "{field} = {value}: {outcome:?}");
        if let Err(problem) = outcome {
            assert!(problem.field.starts_with(field), "{field} = {value} blames {:?}", problem.field);
        }
    }
    for field in ["name", "manifestName", "port", "paths", "health"] {
        let mut manifest = good();
        manifest.as_object_mut().expect("an object").remove(field);
        assert_eq!(Manifest::from_value(&manifest), Err(Problem::new(field, "is missing")), "{field}");
    }
}
