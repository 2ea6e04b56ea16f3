use super::*;
use crate::manifest::services::Document;

const ORIGIN: &str = "https://h.example";

/// The usable rows of these, in their order.
fn rows(rows: &[Value]) -> Vec<std::sync::Arc<Row>> {
    let document = Document::parse(json!({ "services": rows }).to_string().as_bytes()).expect("a document");
    document.entries().iter().filter_map(|entry| entry.row.clone().ok()).collect()
}

fn document_of(values: &[Value], manifest: Option<&Manifest>, audience: Audience) -> Value {
    let rows = rows(values);
    document(rows.iter().map(|row| (row.as_ref(), manifest)), ORIGIN, audience)
}

fn row(name: &str, port: u16, paths: &[&str]) -> Value {
    json!({ "name": name, "port": port, "paths": paths, "health": "/health", "version": "1.2.3" })
}

fn manifest(ui_url: &str, management_url: &str) -> Manifest {
    let value = json!({
        "name": "any", "manifestName": "any", "port": 1, "paths": [], "health": "/health",
        "displayName": "Shown", "uiUrl": ui_url, "managementUrl": management_url
    });
    Manifest::from_value(&value).expect("a good manifest")
}

#[test]
fn an_address_spells_what_a_path_may_hold_and_an_address_may_not() {
    for (path, spelled_as) in
        [("/a b", "/a%20b"), ("/ä", "/%C3%A4"), ("/%41", "/%41"), ("/a%20b", "/a%20b"), ("/~a;b=c", "/~a;b=c")]
    {
        assert_eq!(spelled(path), spelled_as);
        let mut wiki = row("wiki", 4000, &[path]);
        wiki["uis"] = json!({"main": {"displayName": "Main", "path": format!("{path}/app")}});
        let said = document_of(&[wiki], Some(&manifest("app", "app")), Audience::Remote);
        let service = &said["services"][0];
        let url = format!("{ORIGIN}{spelled_as}");
        assert_eq!((&service["url"], &service["path"]), (&json!(url), &json!(path)));
        assert_eq!(service["infoUrl"], json!(format!("{url}/.parachute/info")));
        assert_eq!(service["uiUrl"], json!(format!("{url}/app")));
        assert_eq!(service["uis"][0]["url"], json!(format!("{url}/app")));
        assert_eq!(said["wiki"][0]["url"], json!(url));
    }
}

#[test]
fn the_document_reads_as_the_contract_has_it() {
    let mut wiki = row("parachute-wiki", 4000, &["/wiki/", "/more"]);
    wiki["tagline"] = json!("for all");
    wiki["displayName"] = json!("Row's name");
    wiki["uis"] =
        json!({"main": {"displayName": "Main", "path": "/wiki/app", "iconUrl": "/i.png", "status": "disabled"}});
    let rows = [row("parachute-vault", 1940, &["/vault/default", "/vault/work"]), wiki, row("tool", 4001, &[])];
    assert_eq!(
        document_of(&rows, None, Audience::Remote),
        json!({
            "vaults": [
                {"name": "default", "url": "https://h.example/vault/default", "version": "1.2.3"},
                {"name": "work", "url": "https://h.example/vault/work", "version": "1.2.3"}
            ],
            "services": [
                {"name": "parachute-vault", "url": "https://h.example/vault/default", "path": "/vault/default",
                 "version": "1.2.3", "infoUrl": "https://h.example/vault/default/.parachute/info"},
                {"name": "parachute-vault", "url": "https://h.example/vault/work", "path": "/vault/work",
                 "version": "1.2.3", "infoUrl": "https://h.example/vault/work/.parachute/info"},
                {"name": "parachute-wiki", "url": "https://h.example/wiki", "path": "/wiki", "version": "1.2.3",
                 "infoUrl": "https://h.example/wiki/.parachute/info", "displayName": "Row's name", "tagline": "for all",
                 "uis": [{"name": "main", "displayName": "Main", "path": "/wiki/app",
                          "url": "https://h.example/wiki/app", "iconUrl": "/i.png", "status": "inactive"}]},
                {"name": "tool", "url": "https://h.example/", "path": "/", "version": "1.2.3",
                 "infoUrl": "https://h.example/.parachute/info"}
            ],
            "wiki": [{"url": "https://h.example/wiki", "version": "1.2.3"}],
            "tool": [{"url": "https://h.example/", "version": "1.2.3"}]
        })
    );
}

#[test]
fn no_name_of_a_row_changes_what_the_documents_own_keys_mean() {
    let names =
        ["services", "vaults", "parachute-services", "parachute-vaults", "parachute-", "wiki", "parachute-wiki"];
    let rows: Vec<_> = (4000..).zip(names).map(|(port, name)| row(name, port, &["/x"])).collect();
    let document = document_of(&rows, None, Audience::Local);
    assert_eq!(document["vaults"], json!([]), "{document}");
    assert_eq!(document["services"].as_array().map(Vec::len), Some(names.len()), "each is listed: {document}");
    let keys: Vec<_> = document.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["vaults", "services", "wiki"]);
    assert_eq!(document["wiki"].as_array().map(Vec::len), Some(2), "two of one name are both there: {document}");
}

#[test]
fn a_vault_is_called_by_its_mount_then_by_its_row() {
    for (name, path, expected) in [
        ("parachute-vault", "/vault/work", "work"),
        ("parachute-vault", "/vault/work/", "work"),
        ("parachute-vault", "/vault/work/deep", "work"),
        ("parachute-vault-home", "/vault/work", "work"),
        ("parachute-vault-home", "/vault", "home"),
        ("parachute-vault-home", "/elsewhere", "home"),
        ("parachute-vault", "/vault/", "default"),
        ("parachute-vault-", "/elsewhere", "default"),
    ] {
        let document = document_of(&[row(name, 1940, &[path])], None, Audience::Local);
        assert_eq!(document["vaults"][0]["name"], expected, "{name} at {path}");
    }
}

#[test]
fn a_vault_that_is_not_there_yet_is_not_told() {
    let mut placeholder = row("parachute-vault", 1940, &["/vault/default"]);
    placeholder["version"] = json!(PLACEHOLDER_VERSION);
    for (what, row, vaults, services) in [
        ("no mount", row("parachute-vault", 1940, &[]), 0, 0),
        ("a mount that it may not have", row("parachute-vault", 1940, &["/admin"]), 0, 0),
        ("placeholder", placeholder, 0, 1),
    ] {
        let document = document_of(&[row], None, Audience::Local);
        let count = |key: &str| document[key].as_array().map(Vec::len);
        assert_eq!((count("vaults"), count("services")), (Some(vaults), Some(services)), "{what}: {document}");
    }
}

#[test]
fn links_of_a_manifest_lead_where_they_say() {
    for (name, link, expected) in [
        ("tool", "https://elsewhere.example/x", "https://elsewhere.example/x"),
        ("tool", "/console", "https://h.example/console"),
        ("tool", "console/", "https://h.example/m/console/"),
        ("tool", "/admin", "https://h.example/admin"),
        ("tool", "?tab=1", "https://h.example/m/?tab=1"),
        ("parachute-vault", "/admin", "https://h.example/m/admin"),
        ("parachute-vault", "/admin/", "https://h.example/m/admin/"),
        ("parachute-vault", "/admin/x", "https://h.example/admin/x"),
        ("parachute-vault", "admin", "https://h.example/m/admin"),
    ] {
        let manifest = manifest(link, link);
        let document = document_of(&[row(name, 1940, &["/m/"])], Some(&manifest), Audience::Local);
        assert_eq!(document["services"][0]["uiUrl"], expected, "{name} {link}");
        assert_eq!(document["services"][0]["displayName"], "Shown");
        if name == "parachute-vault" {
            assert_eq!(document["vaults"][0]["managementUrl"], expected, "{name} {link}");
        }
    }
}

#[test]
fn what_is_for_this_machine_is_told_to_nobody_else() {
    for (exposure, remote) in [(None, 1), (Some("allowed"), 1), (Some("auth-required"), 1), (Some("loopback"), 0)] {
        for (name, path) in [("tool", "/tool"), ("parachute-vault", "/vault/default")] {
            let mut row = row(name, 1940, &[path]);
            if let Some(exposure) = exposure {
                row["publicExposure"] = json!(exposure);
            }
            for (audience, expected) in [(Audience::Local, 1), (Audience::Remote, remote)] {
                let document = document_of(std::slice::from_ref(&row), None, audience);
                assert_eq!(document["services"].as_array().map(Vec::len), Some(expected), "{exposure:?} {audience:?}");
                let told = document.to_string().contains(path);
                assert_eq!(told, expected == 1, "{exposure:?} {audience:?}: {document}");
            }
        }
    }
}

#[test]
fn people_find_a_module_at_its_first_mount_that_is_not_the_protocols() {
    for (paths, expected) in [
        (&["/.parachute", "/surface/"][..], Some("/surface")),
        (&["/.parachute/x"], None),
        (&["/.parachutes"], Some("/.parachutes")),
        (&[], None),
    ] {
        let rows = rows(&[row("surface", 4000, paths)]);
        assert_eq!(rows.first().and_then(|row| user_mount(row)), expected, "{paths:?}");
    }
}
