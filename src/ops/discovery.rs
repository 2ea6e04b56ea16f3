//! What callers are told about where the modules are.

use super::{Hub, OpError, lock};
use crate::manifest::Short;
use crate::manifest::discovery::{self, Audience};
use crate::manifest::module::Manifest;
use crate::manifest::services::{Listing, Row};
use crate::origin;
use crate::store::StoreError;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a request went, as it says itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// `Host`; the edge has checked it.
    pub(crate) host: Option<&'a str>,
    pub(crate) forwarded_proto: Option<&'a str>,
}

impl Asked<'_> {
    fn origin(self) -> Option<String> {
        origin::of_request(self.host?, self.forwarded_proto)
    }

    /// Whether it went to this machine's name for itself.
    pub(crate) fn is_by_loopback_name(self) -> bool {
        self.host.is_some_and(|host| origin::is_loopback(&format!("http://{host}")))
    }
}

impl Hub {
    /// The discovery document. A `services.json` that says nothing usable is an empty one; one that cannot be read is an
    /// error. A manifest that cannot be used takes away nothing but its own fields.
    pub(crate) fn discovery(&self, asked: Asked<'_>, audience: Audience) -> Result<Value, OpError> {
        let document = match self.reconcile() {
            Ok(document) => document,
            Err(OpError::Services { source: StoreError::Syntax { .. } | StoreError::NoList { .. } }) => Arc::default(),
            Err(error) => return Err(error),
        };
        let modules = self.with_manifests(&document);
        let modules = modules.iter().map(|(row, manifest)| (row.as_ref(), manifest.as_deref()));
        Ok(discovery::document(modules, &self.told_origin(asked), audience))
    }

    /// The origin that whoever asks is told.
    pub(crate) fn told_origin(&self, asked: Asked<'_>) -> String {
        self.parts.authority.origins().told(asked.origin())
    }

    /// Whether a request for this path goes to a module that these callers may know.
    pub(crate) fn is_served(&self, path: &str, audience: Audience) -> bool {
        self.reconcile().is_ok_and(|document| {
            let rows = document.entries().iter().filter_map(|entry| entry.row.as_deref().ok());
            rows.filter(|row| discovery::is_visible(row, audience)).any(|row| row.serves(path))
        })
    }

    /// Whether a page of this origin is one of ours.
    pub(crate) fn is_own_origin(&self, origin: &str, asked: Asked<'_>) -> bool {
        self.parts.authority.origins().is_own(origin, asked.origin().as_deref())
    }

    fn with_manifests(&self, document: &Listing) -> Vec<(Arc<Row>, Option<Arc<Manifest>>)> {
        let mut unusable = BTreeMap::new();
        let rows = document.entries().iter().filter_map(|entry| entry.row.as_ref().ok());
        let with_manifest = rows.map(|row| {
            let manifest = self.parts.manifests.of(row);
            let manifest = manifest.unwrap_or_else(|error| {
                unusable.insert(row.short.clone(), error.to_string());
                None
            });
            (Arc::clone(row), manifest)
        });
        let modules = with_manifest.collect();
        self.say_unusable(unusable);
        modules
    }

    /// Anybody may ask for the document at any rate, so each trouble is said once.
    fn say_unusable(&self, unusable: BTreeMap<Short, String>) {
        let before = std::mem::replace(&mut *lock(&self.unusable_manifests), unusable.clone());
        for (short, why) in unusable.iter().filter(|(short, why)| before.get(short) != Some(why)) {
            (self.parts.log)(&format!("{short}: what its manifest says is left out of the discovery document: {why}"));
        }
    }
}
