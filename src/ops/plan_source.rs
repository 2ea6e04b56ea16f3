//! What the files of the home say of one module, for the supervisor, anew at every spawn.

use crate::manifest::known;
use crate::manifest::module::Manifest;
use crate::manifest::run::Run;
use crate::manifest::services::Row;
use crate::manifest::{Problem, Short};
use crate::store::services::Services;
use crate::store::{Home, StoreError, dotenv, modules};
use crate::supervisor::plan::Inputs;
use crate::supervisor::{PlanSource, StartError, StartErrorKind};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::Log;

/// The hub's names, as children are told them (supervisor §5.1).
#[derive(Debug, Clone)]
pub(crate) struct ToldOrigins {
    /// `PARACHUTE_HUB_ORIGIN`; none when no public one is configured.
    pub(crate) origin: Option<String>,
    /// `PARACHUTE_HUB_ORIGINS`.
    pub(crate) origins: Vec<String>,
}

/// The command of a row: the module's own word first, what is known of it as the fallback (supervisor B24).
pub(super) fn command(row: &Row, manifest: Option<&Manifest>) -> Option<Vec<String>> {
    let own = manifest.and_then(|manifest| manifest.start_cmd.clone());
    let known = || {
        let known = known::by_short(row.short.as_str())?;
        Some(known.start_cmd.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    };
    own.or_else(known).filter(|argv| !argv.is_empty())
}

/// The source that the supervisor asks before every spawn. Each call reads `services.json` when it changed, and the
/// module's manifest and `.env`.
pub(crate) fn plan_source(home: Home, services: Arc<Services>, told: ToldOrigins, log: Log) -> PlanSource {
    Arc::new(move |short: &Short| {
        inputs(&home, &services, &told, &log, short).map_err(|unusable| StartError {
            kind: StartErrorKind::InvalidSettings,
            description: unusable.to_string(),
            binary: None,
            at: SystemTime::now(),
        })
    })
}

/// Which of the files cannot be used.
enum Unusable {
    NoRow,
    Row(Problem),
    NoCommand,
    Run(Problem),
    File(StoreError),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRow => f.write_str("services.json has no row for it"),
            Self::Row(problem) => write!(f, "its services.json row cannot be used: {problem}"),
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

fn inputs(home: &Home, services: &Services, told: &ToldOrigins, log: &Log, short: &Short) -> Result<Inputs, Unusable> {
    let document = services.read()?;
    let row = match document.find(short).map(|entry| &entry.row) {
        None => return Err(Unusable::NoRow),
        Some(Err(problem)) => return Err(Unusable::Row(problem.clone())),
        Some(Ok(row)) => Arc::clone(row),
    };
    let manifest = match &row.install_dir {
        Some(dir) => modules::read_manifest(dir)?,
        None => None,
    };
    let argv = command(&row, manifest.as_ref()).ok_or(Unusable::NoCommand)?;
    let manifest_run = manifest.as_ref().and_then(|manifest| manifest.run.as_ref());
    let run = Run::resolve(manifest_run, row.run.as_ref()).map_err(Unusable::Run)?;
    let dotenv = dotenv::read(home, short)?;
    for warning in &dotenv.warnings {
        log(&format!("{short}: {warning}"));
    }
    Ok(Inputs {
        cwd: row.install_dir.clone(),
        row,
        argv,
        run,
        dotenv: dotenv.pairs,
        origin: told.origin.clone(),
        origins: told.origins.clone(),
        home: home.path().to_owned(),
        log_dir: home.log_dir(short),
    })
}
