//! Tokens that were handed out: made, shown, taken back.

use super::desk::Desk;
use super::secret_file::SecretFile;
use crate::cli::exit::{Failure, NEW_TOKEN, other_token};
use crate::cli::out::{Out, Report, printable};
use crate::cli::parse::Mint;
use crate::cli::reach;
use crate::config::Config;
use crate::ops::tokens::{ListQuery, iso};
use crate::store::Home;
use crate::token::claims;
use crate::token::grant::LIFETIME_EPHEMERAL_S;
use crate::wire::Code;
use crate::wire::tokens::{LogEntry, MintRequest, TokenInfo};
use serde_json::json;

/// Pages that are asked for; ten thousand tokens are more than anybody reads.
const PAGES_LIMIT: usize = 200;

/// With a file the token goes there and nowhere else; otherwise it is all that goes to standard output.
pub(super) fn mint(desk: &Desk, mint: Mint, out: &mut Out) -> Result<Report, Failure> {
    let file = mint.file.as_deref().map(|path| SecretFile::create(path).map(|made| (path, made))).transpose()?;
    let expires_in = if mint.ephemeral { Some(LIFETIME_EPHEMERAL_S) } else { mint.expires_in_s };
    let minted = desk.mint(MintRequest {
        scope: mint.scope,
        audience: mint.aud,
        expires_in,
        subject: mint.sub,
        permissions: mint.permissions,
    })?;
    let mut data = json!({
        "jti": minted.jti,
        "expires_at": minted.expires_at,
        "scope": minted.scope,
        "audience": minted.audience,
        "subject": minted.subject,
        "permissions": minted.permissions,
    });
    match file {
        Some((path, file)) => {
            file.fill(&minted.token)?;
            out.done(&format!("✓ token {} for {} in {}", minted.jti, minted.audience, path.display()));
            out.done(&format!("  subject {}, valid until {}", printable(&minted.subject), minted.expires_at));
            data["token_file"] = json!(path.to_string_lossy());
        }
        None => {
            out.data(&format!("{}\n", minted.token));
            if out.is_closed() {
                // Nobody has it, and nobody would know of it.
                let revoked = desk.revoke(&minted.jti, false);
                let what = revoked.map_or("is good all the same; revoke it", |_| "was revoked");
                return Err(Failure::new(
                    Code::Failed,
                    format!("token {} could not be printed and {what}", minted.jti),
                    "have it written instead: parachute auth mint-token --token-file FILE",
                ));
            }
        }
    }
    Ok(Report::of(data))
}

pub(super) fn list(desk: &Desk, mut query: ListQuery, out: &mut Out) -> Result<Report, Failure> {
    let mut tokens = Vec::new();
    for _ in 0..PAGES_LIMIT {
        let page = desk.list(query.clone())?;
        tokens.extend(page.tokens);
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    if query.cursor.is_some() {
        out.warn("there are more tokens; narrow the list with --active or --subject");
    }
    out.data(&table(&tokens));
    Ok(Report::of(json!({ "tokens": tokens })))
}

fn table(tokens: &[TokenInfo]) -> String {
    let mut rows = vec![["JTI", "SUBJECT", "FOR", "EXPIRES", "STATE", "SCOPES"].map(str::to_owned)];
    rows.extend(tokens.iter().map(|token| {
        [
            token.jti.clone(),
            printable(&token.subject),
            token.audience.clone(),
            token.expires_at.get(..10).unwrap_or_default().to_owned(),
            printable(&token.state),
            token.scopes.join(" "),
        ]
    }));
    columns(&rows)
}

/// Each column as wide as its widest cell, the last one as it is.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn show(desk: &Desk, jti: &str, out: &mut Out) -> Result<Report, Failure> {
    let token = desk.show(jti)?;
    let optional = |value: &Option<String>| value.as_deref().map_or("-".to_owned(), printable);
    let lines = [
        ("jti", token.jti.clone()),
        ("subject", printable(&token.subject)),
        ("for", token.audience.clone()),
        ("scopes", token.scopes.join(" ")),
        ("made", format!("{} ({})", token.created_at, token.created_via)),
        ("parent", optional(&token.parent_jti)),
        ("expires", token.expires_at.clone()),
        ("state", printable(&token.state)),
        ("revoked", optional(&token.revoked_at)),
        ("ends early", optional(&token.revoke_after)),
        ("reason", optional(&token.revoke_reason)),
        ("last used", optional(&token.last_used_at)),
        ("permissions", token.permissions.as_ref().map_or("-".to_owned(), |set| printable(&set.to_string()))),
    ];
    out.data(&lines.map(|(name, value)| format!("{name:12}{value}\n")).concat());
    Ok(Report::of(json!(token)))
}

/// The operator's own token by its own word; its signature stays where it is.
pub(super) fn show_own(home: &Home, config: &Config, out: &mut Out) -> Result<Report, Failure> {
    let (token, _) = reach::operator_token(home, config, out)?;
    let claims = claims::unverified(&token).ok_or_else(|| {
        let hint = other_token(config.operator_token_variable(), NEW_TOKEN);
        Failure::new(Code::Unauthenticated, "the operator token is none of a hub like this one", hint)
    })?;
    let time = |unix: u64| iso(i64::try_from(unix).unwrap_or(i64::MAX));
    let lines = [
        ("jti", claims.jti.clone()),
        ("subject", printable(&claims.sub)),
        ("for", claims.aud.clone()),
        ("set", claims.pa_scope_set.clone().unwrap_or("-".to_owned())),
        ("scopes", claims.scope.clone()),
        ("issuer", printable(&claims.iss)),
        ("made", time(claims.iat)),
        ("expires", time(claims.exp)),
    ];
    out.data(&lines.map(|(name, value)| format!("{name:12}{value}\n")).concat());
    Ok(Report::of(json!({ "claims": claims })))
}

pub(super) fn revoke(desk: &Desk, jti: &str, cascade: bool, out: &mut Out) -> Result<Report, Failure> {
    let reply = desk.revoke(jti, cascade)?;
    let (subject, scope) = (printable(&reply.subject), &reply.scope);
    if reply.revoked == 0 {
        out.done(&format!("{jti} of {subject} was revoked already, on {}", reply.revoked_at));
    } else {
        out.done(&format!("✓ revoked {jti} of {subject}: {scope}"));
    }
    if reply.revoked > 1 {
        out.done(&format!("  and {} that were minted with it", reply.revoked - 1));
    }
    Ok(Report::of(json!(reply)))
}

pub(super) fn revoke_all(desk: &Desk, subject: &str, out: &mut Out) -> Result<Report, Failure> {
    let reply = desk.revoke_all(subject)?;
    out.done(&format!("✓ revoked {} tokens", reply.revoked));
    Ok(Report::of(json!(reply)))
}

pub(super) fn log(desk: &Desk, lines: u32, out: &mut Out) -> Result<Report, Failure> {
    let reply = desk.log(lines)?;
    out.data(&reply.entries.iter().map(log_line).collect::<String>());
    Ok(Report::of(json!({ "entries": reply.entries })))
}

fn log_line(entry: &LogEntry) -> String {
    let mut line = format!("{} {:8} {} via {}", entry.at, entry.result, entry.action, entry.via);
    for (name, value) in
        [("jti", &entry.jti), ("by", &entry.parent_jti), ("subject", &entry.subject), ("from", &entry.peer)]
    {
        if let Some(value) = value {
            line.push_str(&format!(", {name} {}", printable(value)));
        }
    }
    line.push('\n');
    line
}
