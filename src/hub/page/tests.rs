use super::*;
use serde_json::{Value, json};

fn module(fields: &Value) -> ModuleInfo {
    let mut module = json!({
        "short": "wiki", "name": "wiki", "available": false, "installed": true, "installed_version": "1.2", "ready": true,
        "paths": ["/wiki"], "supervisor_status": "running", "restarts_in_window": 0, "restarts_total": 0, "uis": []
    });
    let fields = fields.as_object().expect("an object").clone();
    module.as_object_mut().expect("an object").extend(fields);
    serde_json::from_value(module).expect("a module")
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

fn list(modules: Vec<ModuleInfo>, problem: Option<&str>) -> String {
    let list = ModuleList {
        modules,
        supervised: Vec::new(),
        supervisor_available: true,
        module_install_channel: String::new(),
        problem: problem.map(str::to_owned),
    };
    text(&super::modules(&list))
}

#[test]
fn a_module_is_shown_with_its_page_mounts_state_and_version() {
    for (fields, expected) in [
        (
            json!({"display_name": "The Wiki", "paths": ["/wiki", "/.parachute", "/w"]}),
            "<td><a href=\"/wiki\">The Wiki</a></td><td>running</td><td>1.2</td>\
             <td><a href=\"/wiki\">/wiki</a><br><a href=\"/w\">/w</a></td>",
        ),
        (
            json!({"paths": ["/a b", "/ä"]}),
            "<td><a href=\"/a%20b\">wiki</a></td><td>running</td><td>1.2</td>\
             <td><a href=\"/a%20b\">/a b</a><br><a href=\"/%C3%A4\">/ä</a></td>",
        ),
        (
            json!({"ui_url": "https://elsewhere.example/ui", "ready": false}),
            "<td><a href=\"https://elsewhere.example/ui\">wiki</a></td><td>running, not ready</td><td>1.2</td>\
             <td><a href=\"/wiki\">/wiki</a></td>",
        ),
        (
            json!({"paths": [], "supervisor_status": null, "installed_version": null, "display_name": " "}),
            "<td>wiki</td><td>not run by the hub</td><td></td><td></td>",
        ),
        (
            json!({"paths": [], "supervisor_status": null, "problem": "field \"port\": is missing"}),
            "<td>wiki</td><td>cannot be used: field &quot;port&quot;: is missing</td><td>1.2</td><td></td>",
        ),
        (
            json!({"paths": [], "supervisor_status": "crashed", "supervisor_start_error":
                {"error_type": "x", "error_description": "no <program>", "at": "now"}}),
            "<td>wiki</td><td>crashed: no &lt;program&gt;</td><td>1.2</td><td></td>",
        ),
        (
            json!({"ui_url": "javascript:alert(1)", "paths": ["/\\evil.example"], "display_name": "<img src=x onerror=y>"}),
            "<td>&lt;img src=x onerror=y&gt;</td><td>running</td><td>1.2</td><td>/\\evil.example</td>",
        ),
    ] {
        assert_eq!(row(&module(&fields)), format!("<tr>{expected}</tr>\n"), "{fields}");
    }
}

#[test]
fn the_list_says_what_is_wrong_with_it_and_how_to_begin() {
    let empty = list(Vec::new(), None);
    assert!(empty.contains("parachute add") && !empty.contains("<table>"), "{empty}");
    let broken = list(Vec::new(), Some("/home/x/services.json: <bad>"));
    assert!(broken.contains("services.json: &lt;bad&gt;") && !broken.contains("parachute add"), "{broken}");
    let one = list(vec![module(&json!({}))], None);
    assert!(one.contains("<table>") && one.contains("href=\"/.well-known/parachute.json\""), "{one}");
}

#[test]
fn a_path_that_is_not_there_is_repeated_as_text() {
    let reply = not_found("/<script>alert(1)</script>");
    assert_eq!(reply.status, 404);
    assert!(text(&reply).contains("<code>/&lt;script&gt;alert(1)&lt;/script&gt;</code>"), "{}", text(&reply));
}
