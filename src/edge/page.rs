//! Pure: what a browser is shown while a module does not answer (http-api §10). Readable without JavaScript.

use crate::html::escape;

/// How often the waiting page asks before it leaves it to the reader.
pub(crate) const MAX_ATTEMPTS: u32 = 5;
/// Between two attempts.
pub(crate) const RETRY_AFTER_MS: u32 = 2000;

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
             <p>On the machine that it runs on, <code>parachute status</code> says why and \
             <code>parachute logs {name}</code> what it said last.</p>\
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
        for page in [starting(hostile), unreachable(hostile), failed(hostile, "x", hostile)] {
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
}
