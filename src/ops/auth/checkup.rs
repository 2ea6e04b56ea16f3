//! What the files of a home say of its keys and of its operator token, without a hub and without changing anything
//! (operator-token Part D). Looking and judging are apart.

use super::operator::RENEWAL_WINDOW_S;
use super::origins::{self, As};
use super::{AuthError, DATABASE_NAME, HID_KEY, RolledBack, Surroundings, unix_now};
use crate::db::{Db, KeyStanding, TokenRow, USABLE_LIMIT};
use crate::ops::tokens::iso;
use crate::store::{Home, epoch};
use crate::token::claims::{self, AUDIENCE_OPERATOR, Claims};
use crate::token::{same_hash, sha256};

const DAY_S: i64 = 86_400;
/// A key that is older should be renewed, in days.
const KEY_IS_OLD_DAYS: i64 = 180;
/// Two clocks may differ by so much.
const CLOCK_SLACK_S: i64 = 60;
const NEW_TOKEN: &str = "make a new one with: parachute auth rotate-operator";
const NEXT_SERVE: &str = "the next parachute serve makes a new one";

/// What a remark is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Token,
    Database,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// As it should be.
    Well,
    /// Works, and will not for ever, or mends itself.
    Note,
    /// Does not work.
    Wrong,
}

/// A sentence about something, without its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) about: About,
    pub(crate) weight: Weight,
    pub(crate) text: String,
}

/// What was read.
struct Facts {
    keys: KeyStanding,
    newest_iat: Option<i64>,
    /// The epoch of the database, and the highest that was noted beside it.
    epoch: (u64, Option<u64>),
    hid: Option<String>,
    issuers: Vec<String>,
    /// Operator tokens in force.
    live: u64,
    token: Option<Token>,
}

struct Token {
    sha256: [u8; 32],
    /// What it says of itself, where it is a token of some hub like this one.
    said: Option<(Claims, Option<TokenRow>)>,
}

/// Looks at the database and at `token`, which is what the operator's file holds. Nothing to say where there is no
/// database yet.
pub(crate) fn checkup(home: &Home, surroundings: &Surroundings, token: Option<&str>) -> Result<Vec<Remark>, AuthError> {
    let now_unix = unix_now();
    let path = home.path().join(DATABASE_NAME);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let Some(db) = Db::look(&path)? else { return Ok(Vec::new()) };
    let token = match token {
        Some(text) => {
            let said = match claims::unverified(text) {
                Some(said) => {
                    let row = db.tokens().find(&said.jti)?;
                    Some((said, row))
                }
                None => None,
            };
            Some(Token { sha256: sha256(text.as_bytes()), said })
        }
        None => None,
    };
    let facts = Facts {
        keys: db.keys().standing(now_unix)?,
        newest_iat: db.tokens().newest_iat()?,
        // One that is no number is told with the files.
        epoch: (db.epoch()?, epoch::read(home).ok().flatten()),
        hid: db.settings().get(HID_KEY)?,
        issuers: origins::look_up(&db, home, surroundings, As::Command, now_unix)?.issuers,
        live: db.tokens().count_live(AUDIENCE_OPERATOR, now_unix)?,
        token,
    };
    Ok(judge(&facts, now_unix))
}

fn judge(facts: &Facts, now_unix: i64) -> Vec<Remark> {
    let mut remarks = vec![key(&facts.keys, now_unix)];
    let mut database = |weight, text| remarks.push(Remark { about: About::Database, weight, text });
    if facts.keys.usable > USABLE_LIMIT.unsigned_abs() {
        database(
            Weight::Note,
            format!(
                "{} keys are good at a time, more than {USABLE_LIMIT}; end all but a new one with: parachute auth \
                 rotate-key --now",
                facts.keys.usable
            ),
        );
    }
    if let (found, Some(seen)) = facts.epoch
        && found < seen
    {
        database(Weight::Wrong, RolledBack { found, seen: Some(seen) }.to_string());
    }
    if let Some(newest) = facts.newest_iat.filter(|newest| newest - now_unix > CLOCK_SLACK_S) {
        database(
            Weight::Note,
            format!(
                "the newest token was issued on {}, and now it is {}; the clock is wrong, or was then",
                iso(newest),
                iso(now_unix)
            ),
        );
    }
    if let Some(token) = &facts.token {
        let (weight, text) = operator_token(token, facts, now_unix);
        remarks.push(Remark { about: About::Token, weight, text });
    }
    remarks
}

fn key(keys: &KeyStanding, now_unix: i64) -> Remark {
    let (weight, text) = match keys.active_since_unix.map(|since| (now_unix - since) / DAY_S) {
        None => (Weight::Note, "has no key that signs; the next parachute serve makes one".to_owned()),
        Some(days @ ..=KEY_IS_OLD_DAYS) => {
            (Weight::Well, format!("its signing key is {} old", count(days.max(0), "day")))
        }
        Some(days) => {
            (Weight::Note, format!("its signing key is {days} days old; renew it with: parachute auth rotate-key"))
        }
    };
    Remark { about: About::Database, weight, text }
}

/// The first thing that is wrong with it, in the order in which the hub would find it.
fn operator_token(token: &Token, facts: &Facts, now_unix: i64) -> (Weight, String) {
    let foreign = |what: &str| match facts.live {
        // Nobody holds a token of this hub, so this one can only have come from another.
        0 => (Weight::Note, format!("{what}; {NEXT_SERVE}")),
        _ => (Weight::Wrong, format!("{what}; {NEW_TOKEN}")),
    };
    let Some((said, row)) = &token.said else { return foreign("holds no token of a hub like this one") };
    if facts.hid.as_ref() != Some(&said.hid) {
        return foreign("holds the token of another hub");
    }
    let Some(row) = row else { return foreign("holds a token that is not on record") };
    if !same_hash(&row.sha256, &token.sha256) {
        return (Weight::Wrong, format!("holds another token than the one on record; {NEW_TOKEN}"));
    }
    let at = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    if at(said.exp) <= now_unix {
        return (Weight::Wrong, format!("operator token expired on {}; {NEW_TOKEN}", iso(at(said.exp))));
    }
    if at(said.nbf) - now_unix > CLOCK_SLACK_S {
        let text = format!("is good from {} on, and now it is {}; set the clock", iso(at(said.nbf)), iso(now_unix));
        return (Weight::Wrong, text);
    }
    if let Some(revoked) = row.revoked_at.or(row.revoke_after.filter(|after| *after <= now_unix)) {
        return (Weight::Wrong, format!("was revoked on {}; {NEW_TOKEN}", iso(revoked)));
    }
    if let Some(after) = row.revoke_after {
        return (Weight::Note, format!("was replaced by another and is good until {}; {NEW_TOKEN}", iso(after)));
    }
    if said.aud != AUDIENCE_OPERATOR {
        return (Weight::Note, format!("is a token for {}, not the operator's; it is never renewed", said.aud));
    }
    let until = format!("until {}", iso(at(said.exp)));
    if !facts.issuers.contains(&said.iss) {
        let text =
            format!("names {}, which this hub has not been for long; the next parachute serve mends it", said.iss);
        return (Weight::Note, text);
    }
    let left_s = at(said.exp) - now_unix;
    if left_s <= at(RENEWAL_WINDOW_S.min((said.exp - said.iat) / 4)) {
        let text = format!("is good {until}; any command renews it while the hub runs");
        return (Weight::Note, text);
    }
    let set = said.pa_scope_set.as_deref().unwrap_or("none");
    (Weight::Well, format!("is good {until}, {}; set {set}", count(left_s / DAY_S, "day")))
}

fn count(number: i64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::scope::ScopeSet;

    const NOW: i64 = 1_800_000_000;
    const TTL_S: i64 = 90 * DAY_S;
    const HASH: [u8; 32] = [7; 32];

    /// A claim and a row of it, issued `age_s` ago.
    fn issued(age_s: i64) -> (Claims, TokenRow) {
        let iat = NOW - age_s;
        let said = Claims {
            v: claims::VERSION,
            iss: "http://127.0.0.1:1939".to_owned(),
            sub: "operator".to_owned(),
            aud: AUDIENCE_OPERATOR.to_owned(),
            iat: iat.unsigned_abs(),
            nbf: iat.unsigned_abs(),
            exp: (iat + TTL_S).unsigned_abs(),
            jti: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            client_id: "parachute-hub".to_owned(),
            scope: ScopeSet::Admin.scopes().to_owned(),
            vault_scope: Vec::new(),
            pa_scope_set: Some("admin".to_owned()),
            permissions: None,
            hid: "h".to_owned(),
        };
        let row = TokenRow {
            sha256: HASH,
            kid: "k".to_owned(),
            exp: iat + TTL_S,
            revoked_at: None,
            revoke_after: None,
            last_used_at: None,
        };
        (said, row)
    }

    fn facts(token: Option<Token>) -> Facts {
        Facts {
            keys: KeyStanding { usable: 1, active_since_unix: Some(NOW - 3 * DAY_S) },
            newest_iat: Some(NOW - 10),
            epoch: (3, Some(3)),
            hid: Some("h".to_owned()),
            issuers: vec!["http://127.0.0.1:1939".to_owned()],
            live: 1,
            token,
        }
    }

    /// The sign of each remark and its text.
    fn said(facts: &Facts) -> Vec<String> {
        let sign = |weight| match weight {
            Weight::Well => "+",
            Weight::Note => "?",
            Weight::Wrong => "!",
        };
        judge(facts, NOW).into_iter().map(|remark| format!("{} {}", sign(remark.weight), remark.text)).collect()
    }

    #[test]
    fn the_operators_token_is_judged_by_what_it_says_and_what_is_on_record() {
        type Change = fn(&mut Claims, &mut TokenRow);
        let cases: &[(&str, i64, Change, &str)] = &[
            ("fresh", 0, |_, _| {}, "+ is good until 2027-04-15T08:00:00.000Z, 90 days; set admin"),
            ("last week", TTL_S - 7 * DAY_S, |_, _| {}, "? is good until 2027-01-22T08:00:00.000Z; any command renews"),
            ("a day more", TTL_S - 8 * DAY_S, |_, _| {}, "+ is good until 2027-01-23T08:00:00.000Z, 8 days"),
            ("short-lived", 600, |c, _| c.exp = c.iat + 3600, "+ is good until 2027-01-15T08:50:00.000Z, 0 days"),
            (
                "over",
                TTL_S,
                |_, _| {},
                "! operator token expired on 2027-01-15T08:00:00.000Z; make a new one with: parachute auth",
            ),
            ("ahead", -61, |_, _| {}, "! is good from 2027-01-15T08:01:01.000Z on, and now it is 2027-01-15T08:00:00"),
            ("within the slack", -60, |_, _| {}, "+ is good until"),
            ("revoked", 0, |_, r| r.revoked_at = Some(NOW - 1), "! was revoked on 2027-01-15T07:59:59.000Z"),
            ("replaced", 0, |_, r| r.revoke_after = Some(NOW + 1), "? was replaced by another and is good until"),
            ("replaced and over", 0, |_, r| r.revoke_after = Some(NOW), "! was revoked on 2027-01-15T08:00:00.000Z"),
            ("forged", 0, |_, r| r.sha256 = [8; 32], "! holds another token than the one on record"),
            ("another hub's", 0, |c, _| c.hid = "other".to_owned(), "! holds the token of another hub; make a new one"),
            (
                "moved",
                0,
                |c, _| c.iss = "https://old.example".to_owned(),
                "? names https://old.example, which this hub",
            ),
            ("narrow", 0, |c, _| c.aud = "vault.work".to_owned(), "? is a token for vault.work, not the operator's"),
        ];
        for (name, age_s, change, expected) in cases {
            let (mut said_of, mut row) = issued(*age_s);
            change(&mut said_of, &mut row);
            let told = said(&facts(Some(Token { sha256: HASH, said: Some((said_of, Some(row))) })));
            assert!(told.len() == 2 && told.iter().any(|text| text.starts_with(expected)), "{name}: {told:#?}");
        }
        for (live, expected) in [(0, "? "), (1, "! ")] {
            let (said_of, _) = issued(0);
            for token in [None, Some((said_of, None))] {
                let facts = Facts { live, ..facts(Some(Token { sha256: HASH, said: token })) };
                let told = said(&facts);
                assert!(told.iter().any(|text| text.starts_with(&format!("{expected}holds "))), "{live}: {told:#?}");
            }
        }
    }

    #[test]
    fn keys_epoch_and_clock_are_judged() {
        let keys =
            |usable, days: Option<i64>| KeyStanding { usable, active_since_unix: days.map(|days| NOW - days * DAY_S) };
        let cases = [
            (facts(None), vec!["+ its signing key is 3 days old"]),
            (Facts { keys: keys(1, Some(1)), ..facts(None) }, vec!["+ its signing key is 1 day old"]),
            (Facts { keys: keys(4, Some(180)), ..facts(None) }, vec!["+ its signing key is 180 days old"]),
            (Facts { keys: keys(1, Some(181)), ..facts(None) }, vec!["? its signing key is 181 days old; renew it"]),
            (Facts { keys: keys(0, None), ..facts(None) }, vec!["? has no key that signs"]),
            (Facts { keys: keys(5, Some(0)), ..facts(None) }, vec!["+ its signing key is 0 days old", "? 5 keys are"]),
            (Facts { epoch: (3, None), ..facts(None) }, vec!["+ "]),
            (Facts { epoch: (2, Some(3)), ..facts(None) }, vec!["+ ", "! "]),
            (Facts { newest_iat: Some(NOW + 60), ..facts(None) }, vec!["+ "]),
            (Facts { newest_iat: Some(NOW + 61), ..facts(None) }, vec!["+ ", "? the newest token was issued on 2027"]),
            (Facts { newest_iat: None, ..facts(None) }, vec!["+ "]),
        ];
        for (facts, expected) in cases {
            let told = said(&facts);
            let fits =
                told.len() == expected.len() && told.iter().zip(&expected).all(|(text, start)| text.starts_with(start));
            assert!(fits, "{told:#?} is not {expected:#?}");
        }
    }
}
