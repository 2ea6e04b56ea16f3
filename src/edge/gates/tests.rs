use super::*;
use Whom::{Anybody, HubUsers, Operator};
use std::collections::BTreeSet;

fn gate(path: &str, whom: Whom, scopes: &[&str]) -> Gate {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    Gate { path: path.to_owned(), needs: Needs { whom, scopes } }
}

/// What a request for `target` takes; `None` when anybody may.
fn takes(gates: &[Gate], target: &str) -> Option<(Whom, BTreeSet<String>)> {
    let path = path::normalise(target).unwrap_or_else(|bad| panic!("{target}: {bad}")).path;
    Gates::new(gates).needs(&path).map(|needs| (needs.whom, needs.scopes.clone()))
}

fn whom(gates: &[Gate], target: &str) -> Whom {
    takes(gates, target).map_or(Anybody, |(whom, _)| whom)
}

#[test]
fn the_longest_page_on_a_segment_boundary_decides() {
    let gates = [
        gate("/wiki/app", HubUsers, &[]),
        gate("/wiki/app/help", Anybody, &[]),
        gate("/wiki/app/help/internal", Operator, &[]),
        gate("/wiki/caf\u{e9} x/", Operator, &[]),
    ];
    for (target, expected) in [
        ("/wiki", Anybody),
        ("/wiki/", Anybody),
        ("/wiki/other", Anybody),
        ("/wiki/apps", Anybody),
        ("/wiki/app.js", Anybody),
        ("/wiki/app", HubUsers),
        ("/wiki/app/", HubUsers),
        ("/wiki/app?x=/wiki/app/help", HubUsers),
        ("/wiki/app/x/y", HubUsers),
        ("/wiki/app/helpful", HubUsers),
        ("/wiki/app/help", Anybody),
        ("/wiki/app/help/x", Anybody),
        ("/wiki/app/help/internal", Operator),
        ("/wiki/app/help/internal/x", Operator),
        ("/wiki/app/../x", Anybody),
        ("/wiki/x/../app", HubUsers),
        ("/wiki/app/help/../x", HubUsers),
        ("/wiki/./app", HubUsers),
        ("/wiki/%2e%2E/wiki/app", HubUsers),
        ("/wiki/%61pp", HubUsers),
        ("/wiki/caf%c3%a9%20x", Operator),
        ("/wiki/caf%C3%A9%20x/y", Operator),
        ("/wiki/caf%C3%A9%20xy", Anybody),
        ("/wiki/CAF%C3%89%20x", Operator),
        ("/wi%E2%84%AAi/app", HubUsers),
        ("/wiki/caf%c3%a9%20x%ff", Anybody),
    ] {
        assert_eq!(whom(&gates, target), expected, "{target}");
    }
}

#[test]
fn a_path_that_a_module_may_read_as_another_takes_what_that_one_does() {
    let gates = [
        gate("/wiki/app", HubUsers, &[]),
        gate("/wiki/app/Help", Anybody, &[]),
        gate("/wiki/@admin;v=1/x", Operator, &[]),
        gate("/wiki/a&b", Operator, &[]),
    ];
    for (target, expected) in [
        ("/wiki/APP/x", HubUsers),
        ("/WIKI/app", HubUsers),
        ("/wiki/app;jsessionid=1/x", HubUsers),
        ("/wiki/app;", HubUsers),
        ("/wiki/app%3Bx/y", HubUsers),
        ("/wiki/app/Help", Anybody),
        // As it is spelled it is not that page.
        ("/wiki/app/help", HubUsers),
        ("/wiki/app/Help;x", HubUsers),
        // Who knows no case and does not leave out the rest sees something else below `app`.
        ("/wiki/APP/Help;x", HubUsers),
        ("/wiki/APP/Help%3bx", HubUsers),
        ("/wiki/app;x/HELP", HubUsers),
        ("/wiki/%40admin/x", Operator),
        ("/wiki/@admin/x", Operator),
        ("/wiki/@ADMIN;v=2/X/y", Operator),
        ("/wiki/a%26b", Operator),
        ("/wiki/a&B", Operator),
        // Which path this is depends on who reads it.
        ("/wiki//app", Operator),
        ("/wiki//", Operator),
        ("/wiki/app//Help", Operator),
        ("/wiki/app/Help//x", Operator),
        ("/wiki/;x/app", Operator),
        ("/wiki/x/..;/app", Operator),
        ("/wiki/x/..%3b/app", Operator),
        ("/wiki/.;x/app", Operator),
        ("/wiki/x/;", Operator),
        ("/wiki/x/", Anybody),
        ("/wiki/x/...;", Anybody),
    ] {
        assert_eq!(whom(&gates, target), expected, "{target}");
    }
}

#[test]
fn pages_at_one_path_and_on_two_readings_add_up() {
    let gates = [
        gate("/wiki/app", HubUsers, &["a:b"]),
        gate("/wiki/app/", HubUsers, &["c:d"]),
        gate("/wiki/App/x", HubUsers, &["e:f"]),
    ];
    let scopes = |target| Vec::from_iter(takes(&gates, target).expect("closed").1).join(" ");
    assert_eq!(scopes("/wiki/app"), "a:b c:d");
    assert_eq!(scopes("/wiki/App/x"), "e:f");
    assert_eq!(scopes("/wiki/app/x"), "a:b c:d e:f");
    assert_eq!(scopes("/wiki//y"), "a:b c:d e:f");
    let gates = [gate("/wiki", Anybody, &[]), gate("/wiki/", Operator, &[])];
    assert_eq!(whom(&gates, "/wiki/x"), Operator, "open and closed at once is closed");
}

#[test]
fn what_no_request_can_spell_closes_all_of_the_module_and_opens_nothing() {
    for path in ["/", "//", "/wiki/100%", "/wiki/a%2fb", "/wiki/a\\b", "/../x"] {
        let gates = [gate(path, HubUsers, &[]), gate("/wiki/open", Anybody, &[])];
        for (target, expected) in [("/wiki", HubUsers), ("/wiki/x/y", HubUsers), ("/wiki/open/x", Anybody)] {
            assert_eq!(whom(&gates, target), expected, "{target} with {path}");
        }
        let gates = [gate(path, Anybody, &[]), gate("/wiki/app", HubUsers, &[])];
        assert_eq!((whom(&gates, "/wiki/app"), whom(&gates, "/wiki/x")), (HubUsers, Anybody), "{path}");
    }
}

#[test]
fn a_page_outside_of_the_paths_of_its_module_says_nothing_about_them() {
    let gates = [gate("/other", Operator, &[]), gate("/wiki/app/deep", HubUsers, &[])];
    for target in ["/wiki", "/wiki/other", "/wiki/app"] {
        assert_eq!(takes(&gates, target), None, "{target}");
    }
}

/// The ways of a row, each with whether it is taken off, and its pages.
type Row<'a> = (&'a [(&'a str, bool)], &'a [Gate]);
type Expected<'a> = &'a [(&'a str, Whom)];

/// The pages of the rows of a process as it sees them.
fn seen(rows: &[Row<'_>]) -> Vec<Gates> {
    let row = |(ways, gates): &Row<'_>| Served {
        ways: ways.iter().map(|(path, strip)| Way { path: (*path).to_owned(), strip: *strip }).collect(),
        gates: (!gates.is_empty()).then(|| (*gates).into()),
    };
    Gates::seen(&rows.iter().map(row).collect::<Vec<_>>())
}

#[test]
fn a_page_is_where_its_process_sees_it() {
    let admin = [gate("/web/admin", Operator, &[]), gate("/web/admin/help", Anybody, &[])];
    let under_its_name = [gate("/pub/admin", Operator, &[]), gate("/wiki/app", HubUsers, &[])];
    let (above, inner) = ([gate("/x", HubUsers, &[])], [gate("/web/v2/admin", Operator, &[])]);
    let of_other = [gate("/vault/a/admin", Operator, &[]), gate("/vault/b/keys", HubUsers, &[])];
    let (all, loose) = ([gate("/", HubUsers, &[])], [gate("/WEB/Admin", Operator, &[])]);
    let within = [gate("/web/a", Operator, &[]), gate("/web/open", Anybody, &[])];
    let (taken_off, kept) = ([("/web", true), ("/alt", true)], [("/vault/a", false)]);
    let (named, capital) = ([("/wiki", true), ("/Wiki", false)], [gate("/Wiki/admin", Operator, &[])]);
    let outside = [gate("/vault/b", Operator, &[]), gate("/c", Anybody, &[]), gate("/", HubUsers, &[])];
    let of_capital = [gate("/vault/A/admin", Operator, &[])];
    let of_two_spellings = [gate("/web/Admin", Operator, &[]), gate("/web/admin/help", Anybody, &[])];
    let elsewhere = [gate("/other", Operator, &[])];
    let rows: [(&[Row<'_>], Expected<'_>); 15] = [
        (
            &[(&taken_off, &admin)],
            &[
                ("/admin", Operator),
                ("/admin/x", Operator),
                ("/admin/help", Anybody),
                ("/admin/help;x", Operator),
                ("/ADMIN/help;x", Operator),
                ("/Admin", Operator),
                ("/admin;x/y", Operator),
                ("//admin", Operator),
                ("/", Anybody),
                ("/admins", Anybody),
                ("/web/admin", Anybody),
            ],
        ),
        (
            &[(&[("/wiki", true), ("/pub", false)], &under_its_name)],
            &[("/pub/admin", Operator), ("/pub", Anybody), ("/app", HubUsers), ("/wiki/app", Anybody)],
        ),
        // A page that a way is in.
        (&[(&[("/x/y", true), ("/z", true)], &above)], &[("/", HubUsers), ("/any", HubUsers)]),
        (&[(&[("/x/y", false), ("/z", true)], &above)], &[("/x/y/q", HubUsers), ("/q", Anybody)]),
        (
            &[(&[("/web", true), ("/web/a/b", true)], &within)],
            &[("/c", Operator), ("/a", Operator), ("/open", Anybody)],
        ),
        // The longest way is the one that is taken.
        (
            &[(&[("/web", true), ("/web/v2", true)], &inner)],
            &[("/admin", Operator), ("/v2/admin", Anybody), ("/", Anybody)],
        ),
        // The rows of one process.
        (
            &[(&kept, &of_other), (&[("/vault/b", true)], &[])],
            &[("/vault/a/admin", Operator), ("/keys", HubUsers), ("/vault/a", Anybody), ("/vault//a", Operator)],
        ),
        (&[(&taken_off, &[]), (&[("/own", true)], &all)], &[("/", HubUsers), ("/x", HubUsers)]),
        // A public page that no request leads to opens nothing else.
        (
            &[(&[("/vault/a", true), ("/mcp", false)], &[]), (&[("/vault/b", true)], &outside)],
            &[("/c/x", Operator), ("/x", Operator)],
        ),
        (&[(&[("/c/d", false), ("/e", true)], &outside)], &[("/c/d/x", Anybody), ("/x", HubUsers)]),
        // Ways that are read as the same, of which one is taken off.
        (
            &[(&named, &capital)],
            &[("/Wiki/admin", Operator), ("/Wiki/admin;x", Operator), ("/WIKI/admin", Operator), ("/wiki", Anybody)],
        ),
        (
            &[(&kept, &[]), (&[("/vault/b", true), ("/vault/A", true)], &of_capital)],
            &[("/admin", Operator), ("/admin;x", Operator), ("/ADMIN", Operator), ("/vault/b/admin", Anybody)],
        ),
        (&[(&taken_off, &loose)], &[("/admin", Operator), ("/Admin", Operator), ("/x", Anybody)]),
        // What is open in one spelling is not open in that of a page that is closed.
        (&[(&taken_off, &of_two_spellings)], &[("/Admin/help", Operator), ("/admin/help", Anybody), ("/x", Anybody)]),
        // No request for what is outside of all ways gets here.
        (&[(&taken_off, &elsewhere)], &[("/other", Anybody)]),
    ];
    for (rows, paths) in rows {
        let seen = seen(rows);
        for (path, expected) in paths {
            let needs = seen.iter().map(|gates| gates.needs(path)).fold(None, both);
            assert_eq!(needs.map_or(Anybody, |needs| needs.whom), *expected, "{path} of {rows:?}");
        }
    }
}

#[test]
fn ways_without_end_cost_what_they_are_and_not_their_square() {
    const EACH: usize = 7_500;
    let ways: Vec<String> = (0..EACH).map(|number| format!("/wiki/{number}")).collect();
    let pages: Vec<Gate> = (0..EACH).map(|number| gate("/wiki", HubUsers, &[&format!("wiki:{number}")])).collect();
    for strip in [true, false] {
        let ways: Vec<(&str, bool)> = ways.iter().map(|way| (way.as_str(), strip)).collect();
        let seen = seen(&[(&ways, &pages), (&[("/other", true)], &[])]);
        let needs = seen[0].needs(if strip { "/x" } else { "/wiki/1" });
        assert_eq!(needs.map(|needs| needs.scopes.len()), Some(EACH), "{strip}");
    }
}

/// As many as a list of modules has room for, each with a scope of its own: whoever wrote them must not hold up the edge.
#[test]
fn pages_without_end_cost_what_they_are_and_not_their_square() {
    const PAGES: usize = 15_000;
    for path in ["/wiki/app", "/", "/wiki/100%"] {
        let gates: Vec<Gate> = (0..PAGES).map(|number| gate(path, HubUsers, &[&format!("wiki:{number}")])).collect();
        let gates = Gates::new(&gates);
        assert_eq!(gates.needs("/wiki/app/x").map(|needs| needs.scopes.len()), Some(PAGES), "{path}");
    }
}

#[test]
fn a_thousand_pages_are_told_apart() {
    let gates: Vec<Gate> = (0..1000)
        .map(|number| {
            let whom = [HubUsers, Anybody, Operator][number % 3];
            let depth = if number % 2 == 0 { "" } else { "/deep/er" };
            gate(&format!("/wiki/{number}{depth}"), whom, &[])
        })
        .collect();
    let gates = Gates::new(&gates);
    for number in 0..1000 {
        let depth = if number % 2 == 0 { "" } else { "/deep/er" };
        let expected = [Some(HubUsers), None, Some(Operator)][number % 3];
        for target in [format!("/wiki/{number}{depth}"), format!("/wiki/{number}{depth}/x/y")] {
            assert_eq!(gates.needs(&target).map(|needs| needs.whom), expected, "{target}");
        }
        assert_eq!(gates.needs(&format!("/wiki/{number}x")).map(|needs| needs.whom), None);
    }
}
