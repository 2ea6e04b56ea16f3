//! Pure: what the JSON files say. Rows, services.json, module.json, run settings, known modules.
//!
//! Knows no file and no clock: bytes in, values or a `Problem` that names the field out.

use std::sync::Arc;

/// A module's short name: map key, log prefix, directory name below the home.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Short(Arc<str>);
