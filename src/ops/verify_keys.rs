//! The keys by which modules check tokens themselves, after something that stands beside them in their file has changed.

use super::auth::{AuthError, Authority};
use super::manifests::Manifests;
use crate::manifest::Short;
use crate::manifest::run::Run;
use crate::manifest::services::{Listing, Row};

/// Writes the keys of every module of the rows anew that has some and is still to have them; what came of it for those
/// that had any. One whose settings cannot be read keeps what it has.
pub(crate) fn renew(authority: &Authority, document: &Listing) -> Vec<(Short, Result<bool, AuthError>)> {
    // Read for this once: whoever keeps what they say hears of a change elsewhere.
    let manifests = Manifests::new(Box::new(|| {}));
    let rows = document.entries().iter().filter_map(|entry| entry.row.as_deref().ok());
    let granted = rows.filter_map(|row| Some((row.short.clone(), is_granted(&manifests, row)?)));
    granted
        .map(|(short, granted)| {
            let done = authority.renew_verify_keys(&short, granted);
            (short, done)
        })
        .collect()
}

fn is_granted(manifests: &Manifests, row: &Row) -> Option<bool> {
    let manifest = manifests.of(row).ok()?;
    Run::of(manifest.as_deref(), Some(row)).ok().map(|run| run.verify_keys)
}
