//! Pure: the frame that every page of the hub has, and what they are made of.

use crate::html::escape;
use crate::hub::reply::Reply;
use crate::token::{b64, sha256};

/// The only style there is; nothing is loaded from anywhere.
const STYLE: &str = "\
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}\
body{max-width:44rem;margin:3rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;vertical-align:top;padding:.4rem .8rem .4rem 0;border-bottom:1px solid #8886}\
footer{margin-top:2rem;font-size:.85rem;opacity:.8}";

/// A whole page. `body` is HTML; `title` is text.
pub(super) fn page(status: u16, title: &str, body: &str) -> Reply {
    let title = escape(title);
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    );
    Reply { status, content_type: "text/html; charset=utf-8", headers: Vec::new(), body: text.into_bytes() }
        .with_header("content-security-policy", policy())
        .with_header("referrer-policy", "no-referrer")
        .with_header("x-frame-options", "DENY")
}

/// Nothing but the style above, nothing sent anywhere, nobody's frame.
fn policy() -> String {
    // The same alphabet as base64 but for two letters, and without the padding of 32 bytes.
    let hash = b64::encode(&sha256(STYLE.as_bytes())).replace('-', "+").replace('_', "/");
    format!(
        "default-src 'none'; style-src 'sha256-{hash}='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// A link with this text; only the text where `to` is neither a path of ours nor a web address.
pub(super) fn link(to: &str, text: &str) -> String {
    // Browsers read a backslash as a slash, and two of them leave the origin.
    let is_path = to.starts_with('/') && !to.starts_with("//") && !to.contains('\\');
    let is_address = to.starts_with("https://") || to.starts_with("http://");
    if is_path || is_address { format!("<a href=\"{}\">{}</a>", escape(to), escape(text)) } else { escape(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_our_origin_or_to_a_web_address() {
        for (to, is_link) in [
            ("/wiki", true),
            ("/wiki?a=1&b=\"2\"", true),
            ("https://elsewhere.example/x", true),
            ("http://elsewhere.example", true),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("javascript:alert(1)", false),
            ("data:text/html,x", false),
            ("wiki", false),
            ("", false),
        ] {
            let made = link(to, "<x>");
            assert_eq!(made.starts_with("<a href=\""), is_link, "{to}: {made}");
            assert_eq!(made.matches("&lt;x&gt;").count(), 1, "{to}: {made}");
            assert_eq!(made.matches('"').count(), if is_link { 2 } else { 0 }, "{to}: {made}");
        }
    }

    #[test]
    fn a_page_allows_its_own_style_and_nothing_else() {
        let reply = page(200, "a<b", "<p>x</p>\n");
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(text.contains("<title>a&lt;b</title>"), "{text}");
        assert!(!text.contains("<script") && !text.contains("style="), "{text}");
        let policy = &reply.headers.iter().find(|(name, _)| *name == "content-security-policy").expect("a policy").1;
        // 32 bytes in the alphabet that policies have, padded.
        let hash = policy.split("'sha256-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a hash");
        assert!(hash.len() == 44 && hash.ends_with('=') && !hash.contains(['-', '_']), "{policy}");
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    }
}
