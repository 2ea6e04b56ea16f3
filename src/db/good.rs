//! Which rows are good, as conditions of SQL.

/// Whether the key of the number `kid` signs or verifies at the time that `now` stands for.
pub(super) fn key(kid: &str, now: &str) -> String {
    format!("{kid} IN (SELECT kid FROM hs_keys WHERE state = 'active' OR (state = 'verify' AND verify_until > {now}))")
}

/// Whether a row of `tokens` is good at the time that `now` stands for: neither expired nor taken back, and its key is
/// good, too.
pub(super) fn token(now: &str) -> String {
    format!("revoked_at IS NULL AND min(exp, coalesce(revoke_after, exp)) > {now} AND {}", key("kid", now))
}
