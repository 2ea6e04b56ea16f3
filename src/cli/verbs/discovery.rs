//! The copy of the discovery document in the home, for people who look at it. Nobody serves it (http-api §4.1).

use crate::cli::out::Out;
use crate::cli::reach;
use crate::config::Config;
use crate::manifest::discovery::{self, Audience};
use crate::manifest::json;
use crate::ops::auth::{AuthError, origins_beside};
use crate::store::services::Services;
use crate::store::{Home, StoreError, atomic, modules};
use std::fmt;

const COPY: &str = "well-known/parachute.json";
/// A larger copy is written anew without a look at the old one.
const COMPARED_LIMIT_BYTES: u64 = 1 << 20;

/// Brings the copy in line with services.json. What fails is only a warning: nothing depends on the copy.
pub(super) fn refresh(home: &Home, config: &Config, out: &mut Out) {
    if let Err(error) = write(home, config) {
        out.warn(&format!("the copy of the discovery document is not up to date: {error}"));
    }
}

fn write(home: &Home, config: &Config) -> Result<(), Trouble> {
    let origins = origins_beside(home, &reach::surroundings(home, config))?;
    let document = Services::new(home.clone()).read()?;
    let rows = document.entries().iter().filter_map(|entry| entry.row.as_deref().ok());
    let manifest = |dir| modules::read_manifest(dir).ok().flatten();
    let modules: Vec<_> = rows.map(|row| (row, row.install_dir.as_deref().and_then(manifest))).collect();
    let modules = modules.iter().map(|(row, manifest)| (*row, manifest.as_ref()));
    let bytes = json::to_bytes(&discovery::document(modules, &origins.canonical, Audience::Local));
    let old = atomic::read(home, COPY, COMPARED_LIMIT_BYTES);
    if old.is_ok_and(|old| old.as_deref() == Some(bytes.as_slice())) {
        return Ok(());
    }
    Ok(atomic::write(home, COPY, &bytes, atomic::PUBLIC)?)
}

/// Why there is no new copy.
enum Trouble {
    Auth(AuthError),
    Store(StoreError),
}

impl From<AuthError> for Trouble {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auth(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}
