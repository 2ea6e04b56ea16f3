//! What the files of the home say of one module, for the supervisor, anew at every spawn.

use crate::manifest::known;
use crate::manifest::run::Run;
use crate::manifest::services::{Listing, Row};
use crate::manifest::{Problem, Short};
use crate::store::services::Services;
use crate::store::{Home, StoreError, dotenv, module_secrets};
use crate::supervisor::inputs::{Credentials, Inputs};
use crate::supervisor::{HandOver, PlanSource, StartError, StartErrorKind};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::Log;
use super::auth::{Authority, Grants};
use super::manifests::Manifests;

/// What the files of one home say.
pub(crate) struct Files {
    pub(crate) home: Home,
    pub(crate) services: Arc<Services>,
    pub(crate) manifests: Arc<Manifests>,
    /// Makes the key by which a child shows the hub which module it is, and has the hub's names, as children are told
    /// them (supervisor §5.1). There is always one, because tokens have one.
    pub(crate) authority: Arc<Authority>,
    /// No module can have it.
    pub(crate) hub_port: u16,
    /// Where children ask about tokens.
    pub(crate) introspection_url: String,
    pub(crate) log: Log,
    /// The warnings of each module's `.env` that the log has already; a module that crashes repeats none of them.
    pub(crate) said: Mutex<HashMap<Short, Vec<String>>>,
    /// The list as it was when it could be read last.
    pub(crate) readable: Mutex<Option<Arc<Listing>>>,
}

impl Files {
    /// The source that the supervisor asks before every spawn. Each call reads the module's `.env`, and of
    /// `services.json` and its manifest what has changed.
    pub(crate) fn plan_source(self: &Arc<Self>) -> PlanSource {
        let files = Arc::clone(self);
        Arc::new(move |short: &Short| {
            files.inputs(short).map_err(|unusable| StartError {
                kind: unusable.kind(),
                description: unusable.to_string(),
                binary: None,
                at: SystemTime::now(),
            })
        })
    }

    /// Writes what the next child shows the hub. A module without it runs all the same: not every one asks.
    pub(crate) fn hand_over(self: &Arc<Self>) -> HandOver {
        let files = Arc::clone(self);
        Arc::new(move |short: &Short, credentials: &Credentials| {
            let grants = Grants { verify_keys: credentials.verify_keys_file.is_some(), proofs: credentials.proofs };
            let issued = files.authority.issue_module_key(short, grants);
            if let Err(error) = &issued {
                (files.log)(&format!("{short}: it cannot ask the hub about tokens: {error}"));
            }
            issued.is_ok()
        })
    }

    fn inputs(&self, short: &Short) -> Result<Inputs, Unusable> {
        let document = self.listing(short)?;
        let row = match document.find(short).map(|entry| &entry.row) {
            None => return Err(Unusable::NoRow),
            Some(Err(problem)) => return Err(Unusable::Row(problem.clone())),
            Some(Ok(row)) => Arc::clone(row),
        };
        if row.port.get() == self.hub_port {
            return Err(Unusable::HubPort(self.hub_port));
        }
        let manifest = self.manifests.of(&row)?;
        let argv = known::start_command(&row.short, manifest.as_deref()).ok_or(Unusable::NoCommand)?;
        let run = Run::of(manifest.as_deref(), Some(&row)).map_err(Unusable::Run)?;
        let dotenv = dotenv::read(&self.home, short)?;
        let origins = self.authority.origins();
        if let Err(error) = super::origin::heal_dotenv(&self.home, short, &dotenv, &origins) {
            (self.log)(&format!("{short}: its .env keeps an origin that holds on this machine only: {error}"));
        }
        self.say_once(&document, short, &dotenv.warnings);
        let credentials = self.credentials(short, &run);
        Ok(Inputs {
            cwd: directory(&row, &run),
            row,
            argv,
            run,
            dotenv: dotenv.pairs,
            origin: Some(origins.canonical.clone()),
            origins: origins.issuers.clone(),
            credentials: Some(credentials),
            home: self.home.path().to_owned(),
            log_dir: self.home.log_dir(short),
        })
    }

    /// The list of modules. One that cannot be read any more stops no module that was in it.
    fn listing(&self, short: &Short) -> Result<Arc<Listing>, StoreError> {
        let mut readable = super::lock(&self.readable);
        match self.services.read() {
            Ok(listing) => {
                *readable = Some(Arc::clone(&listing));
                Ok(listing)
            }
            Err(error) => {
                let Some(before) = readable.clone() else { return Err(error) };
                (self.log)(&format!("{short}: started by the list of modules as it was: {error}"));
                Ok(before)
            }
        }
    }

    /// What the next child is promised to show the hub, and where it will be.
    fn credentials(&self, short: &Short, run: &Run) -> Credentials {
        Credentials {
            introspection_url: self.introspection_url.clone(),
            key_file: module_secrets::key_file(&self.home, short),
            verify_keys_file: run.verify_keys.then(|| module_secrets::verify_keys_file(&self.home, short)),
            proofs: run.proof_headers,
        }
    }

    fn say_once(&self, document: &Listing, short: &Short, warnings: &[String]) {
        {
            let mut said = super::lock(&self.said);
            if said.get(short).map_or(&[][..], Vec::as_slice) == warnings {
                return;
            }
            // However many modules come and go, those that are gone take no room.
            said.retain(|other, _| document.find(other).is_some());
            said.insert(short.clone(), warnings.to_vec());
        }
        for warning in warnings {
            (self.log)(&format!("{short}: {warning}"));
        }
    }
}

/// Where its command runs: `run.cwd`, below its installDir when it is relative.
fn directory(row: &Row, run: &Run) -> Option<PathBuf> {
    match (&row.install_dir, &run.cwd) {
        (Some(dir), Some(cwd)) => Some(dir.join(cwd)),
        (Some(dir), None) => Some(dir.clone()),
        (None, cwd) => cwd.as_ref().map(PathBuf::from),
    }
}

/// Which of the files cannot be used.
enum Unusable {
    NoRow,
    Row(Problem),
    HubPort(u16),
    NoCommand,
    Run(Problem),
    File(StoreError),
}

impl Unusable {
    fn kind(&self) -> StartErrorKind {
        match self {
            Self::NoRow => StartErrorKind::NotInstalled,
            Self::NoCommand => StartErrorKind::NoStartCommand,
            Self::File(StoreError::NoPackage { .. }) => StartErrorKind::MissingCwd,
            Self::Row(_) | Self::HubPort(_) | Self::Run(_) | Self::File(_) => StartErrorKind::InvalidSettings,
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRow => f.write_str("services.json has no row for it"),
            Self::Row(problem) => write!(f, "its services.json row cannot be used: {problem}"),
            Self::HubPort(port) => {
                write!(
                    f,
                    "its port {port} is the hub's own; give it another in services.json, or start the hub with another PORT"
                )
            }
            Self::NoCommand => {
                f.write_str("nothing says how to start it; set startCmd in .parachute/module.json below its installDir")
            }
            Self::Run(problem) => write!(f, "its run settings cannot be used: {problem}"),
            Self::File(error) => write!(f, "{error}"),
        }
    }
}

impl From<StoreError> for Unusable {
    fn from(error: StoreError) -> Self {
        Self::File(error)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lock;
    use super::super::testing::Fixture;
    use super::*;
    use serde_json::json;
    use std::fs;

    /// As the hub of a fixture has them.
    fn files(fixture: &Fixture) -> Files {
        let parts = &fixture.hub.parts;
        Files {
            home: parts.home.clone(),
            services: Arc::clone(&parts.services),
            manifests: Arc::clone(&parts.manifests),
            authority: Arc::clone(&parts.authority),
            hub_port: 1939,
            introspection_url: String::new(),
            log: Arc::clone(&parts.log),
            said: Mutex::default(),
            readable: Mutex::default(),
        }
    }

    #[test]
    fn of_the_warnings_of_modules_that_are_gone_nothing_is_kept() {
        let fixture = Fixture::new(&json!([]));
        let files = files(&fixture);
        for name in ["first", "second", "third"] {
            let dir = files.home.path().join(name);
            let mut module =
                json!({"name": name, "manifestName": name, "port": 2001, "paths": ["/x"], "health": "/health"});
            module["startCmd"] = json!(["/bin/true"]);
            fs::create_dir_all(dir.join(".parachute")).expect("made");
            fs::write(dir.join(".parachute/module.json"), module.to_string()).expect("written");
            fs::write(dir.join(".env"), "no assignment\n").expect("written");
            module["version"] = json!("1");
            module["installDir"] = json!(dir);
            fixture.write_rows(&json!([module]));
            let short = Short::parse(name).expect("a name");
            for _spawn in 0..2 {
                assert!(files.inputs(&short).is_ok(), "it can be started");
            }
            let warnings = fixture.said().into_iter().filter(|line| line.starts_with(&format!("{name}: "))).count();
            assert_eq!(warnings, 1, "{:?}", fixture.said());
            assert_eq!(lock(&files.said).keys().collect::<Vec<_>>(), [&short]);
        }
    }
}
