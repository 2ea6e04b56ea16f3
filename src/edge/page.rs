//! Pure: what a browser is shown while a module does not answer (http-api §10). Readable without JavaScript.

use super::denial::Denial;
use crate::html::escape;

/// How often the waiting page asks before it leaves it to the reader.
pub(crate) const MAX_ATTEMPTS: u32 = 5;
/// Between two attempts.
pub(crate) const RETRY_AFTER_MS: u32 = 2000;

/// A longer path is no part of a command that somebody would copy.
const PATH_SHOWN_BYTES: usize = 200;

/// The page for a module that is on its way up. It asks for itself again and again, and loads once it is another.
pub(crate) fn starting(module: &str) -> String {
    let name = escape(module);
    let every = RETRY_AFTER_MS;
    let seconds = every / 1000;
    page(
        "Just a moment",
        &format!("<noscript><meta http-equiv=\"refresh\" content=\"{seconds}\"></noscript>"),
        &format!(
            "<p><strong>{name}</strong> is starting. This page loads again by itself.</p>\
             <p id=\"late\" hidden>It takes longer than usual. <a href=\"\">Try again</a></p>\
             <script>(function(){{var n=0;function later(){{setTimeout(ask,{every})}}function ask(){{\
             if(++n>{MAX_ATTEMPTS}){{document.getElementById('late').hidden=false;return}}\
             fetch(location.href,{{method:'HEAD',cache:'no-store'}}).then(function(r){{\
             if(r.status==503)later();else location.reload()}}).catch(later)}}later()}})()</script>"
        ),
    )
}

/// The page for a module that is down.
pub(crate) fn unreachable(module: &str) -> String {
    let name = escape(module);
    page(
        "Module unreachable",
        "",
        &format!(
            "<p><strong>{name}</strong> does not answer.</p>\
             <p>On the machine that it runs on, <code>parachute status</code> or <code>parachute check</code> \
             says why and <code>parachute logs {name}</code> what it said last.</p>\
             <p><a href=\"\">Try again</a> or go to <a href=\"/\">the hub</a>.</p>"
        ),
    )
}

/// The page for a request that came to nothing although its module is there: why, as a sentence without its end.
pub(crate) fn failed(module: &str, title: &str, why: &str) -> String {
    let (name, why) = (escape(module), escape(why));
    page(
        title,
        "",
        &format!(
            "<p><strong>{name}</strong> was asked, and {why}.</p>\
             <p><a href=\"\">Try again</a> or go to <a href=\"/\">the hub</a>.</p>"
        ),
    )
}

/// The page for somebody who may not see the one at `path`: why, as a sentence without its end, and how to come in. It
/// says nothing of what is there.
pub(crate) fn denied(denial: Denial, why: &str, path: &str) -> String {
    let open = format!("<code>{}</code>", escape(&command(path)));
    let why = escape(why);
    let (title, body) = match denial {
        Denial::Unauthenticated => (
            "Sign in",
            format!(
                "<p>Not everybody may see this page. There are no accounts: whoever runs this hub prints an address \
                 for this browser, where the hub runs, with {open}.</p>\
                 <p>Programs send a token as <code>Authorization: Bearer</code>.</p>"
            ),
        ),
        Denial::NotAdmin | Denial::InsufficientScope => (
            "Not for everybody",
            format!("<p>This page is not shown: {why}.</p><p>Whoever runs this hub lets a browser in with {open}.</p>"),
        ),
        Denial::OriginRequired | Denial::OriginMismatch | Denial::TooManyFailures { .. } | Denial::Unavailable => {
            ("Not now", format!("<p>This page is not shown: {why}.</p>"))
        }
    };
    page(title, "", &format!("{body}<p><a href=\"\">Try again</a> or go to <a href=\"/\">the hub</a>.</p>"))
}

/// The command that lets a browser in. A path that means something to a shell is left out: whoever follows a link must
/// not be made to run what stands in it.
fn command(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-%".contains(&byte);
    if path.len() <= PATH_SHOWN_BYTES && path.bytes().all(is_plain) {
        format!("parachute open {path}")
    } else {
        "parachute open".to_owned()
    }
}

fn page(title: &str, head: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title>{head}\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:32em;margin:15vh auto;padding:0 1em}}\
         @media(prefers-color-scheme:dark){{body{{background:#111;color:#eee}}a{{color:#9cf}}}}</style></head>\
         <body><h1>{title}</h1>{body}</body></html>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_wherever_it_stands() {
        let hostile = "</script><img src=x onerror=\"alert('1')\">&";
        let denied = denied(Denial::InsufficientScope, hostile, hostile);
        for page in [starting(hostile), unreachable(hostile), failed(hostile, "x", hostile), denied] {
            assert!(!page.contains("<img") && !page.contains("</script><img"), "{page}");
            assert!(page.contains("&lt;/script&gt;&lt;img"), "{page}");
        }
    }

    #[test]
    fn only_the_waiting_page_loads_itself_again() {
        let waiting = starting("wiki");
        assert!(
            waiting.contains("<noscript><meta http-equiv=\"refresh\"") && waiting.contains("location.reload"),
            "{waiting}"
        );
        let down = unreachable("wiki");
        assert!(!down.contains("refresh") && !down.contains("<script"), "{down}");
        assert!(down.contains("href=\"/\""), "{down}");
    }

    #[test]
    fn a_command_that_somebody_copies_does_what_it_looks_like() {
        let long = format!("/{}", "a".repeat(PATH_SHOWN_BYTES));
        for (path, is_named) in [
            ("/wiki/app", true),
            ("/wiki/a-b_c.d%20e/", true),
            ("/wiki;reboot", false),
            ("/wiki/$(reboot)", false),
            ("/wiki/`reboot`", false),
            ("/wiki'", false),
            ("/wiki&x", false),
            ("/wiki/~x", false),
            ("/wiki/*", false),
            ("/wiki/{a,b}", false),
            ("/wiki!x", false),
            (&long, false),
        ] {
            let expected = if is_named { format!("parachute open {path}") } else { "parachute open".to_owned() };
            assert_eq!(command(path), expected);
        }
    }
}
