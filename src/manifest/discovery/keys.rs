//! Pure: the keys of the discovery document.

/// Those that are not a module's (http-api H9).
pub(super) const OWN: [&str; 2] = ["vaults", "services"];

/// Whether a row of this name would stand under a key of the document that means something else.
pub(in crate::manifest) fn is_own(name: &str) -> bool {
    OWN.contains(&of_row(name))
}

/// The key of a module in the document.
pub(super) fn of_row(name: &str) -> &str {
    name.strip_prefix("parachute-").unwrap_or(name)
}
