//! From what the files say to what a spawn needs: reads the settings, judges them, prepares the child.

use super::inputs::Inputs;
use super::lifecycle::{Liveness, Policy};
use super::plan;
use super::readers::Readers;
use super::{Context, StartError, StartErrorKind, WORKER_STACK_BYTES, preflight, probe};
use crate::logs::TapSettings;
use crate::manifest::Short;
use crate::manifest::run::{Probe, Run};
use crate::sys::account;
use crate::sys::process::{self, Signal};
use crate::sys::spawn::{SpawnSpec, Strings, Unfit};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// So many modules read their settings at a time: enough for two processors and files that are not in memory yet.
static READERS: Readers = Readers::new(4, WORKER_STACK_BYTES);
/// Who has waited so long for its turn reads without them: the others' files may lie on a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(1);

/// Everything that one spawn, and the life of its child, goes by.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) policy: Policy,
    /// What exec runs; empty until it has been looked for.
    pub(crate) program: PathBuf,
    pub(crate) stop_signal: Signal,
    pub(crate) essential: bool,
    pub(crate) depends_on: Vec<Short>,
    pub(crate) port: u16,
    /// The path to ask when `run.ready` is `http`.
    pub(crate) ready_path: Option<String>,
    /// The same for `run.live`.
    pub(crate) live_path: Option<String>,
    pub(crate) live_timeout: Option<Duration>,
    /// Files and directories whose change restarts it.
    pub(crate) watch: Vec<PathBuf>,
    pub(crate) tap: TapSettings,
}

impl Settings {
    /// What holds until the files have been read.
    pub(crate) fn unknown() -> Self {
        let run = Run::default();
        Self {
            policy: policy(&run),
            program: PathBuf::new(),
            stop_signal: plan::stop_signal(run.stop_signal),
            essential: run.essential,
            depends_on: run.depends_on,
            port: 0,
            ready_path: None,
            live_path: None,
            live_timeout: None,
            watch: Vec::new(),
            tap: TapSettings { dir: PathBuf::new(), max_bytes: 0, files: 1, file: false, console: true },
        }
    }
}

/// What the files say of a module now.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What a child, or what follows when there can be none, goes by; `None` when they could not be read.
    pub(crate) settings: Option<Settings>,
    /// What to fork, or why there can be no child now.
    pub(crate) spec: Result<Box<SpawnSpec>, StartError>,
}

/// For which child of its module settings are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    First,
    /// One came before it.
    Later,
}

/// What settings are read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The child that is forked next, if there can be one: what it is handed by file is written.
    Fork,
    /// To know whether there could be one. The module's own child may live on, with its files and this port.
    Look { own_port: Option<u16> },
}

/// Reads the settings anew and looks whether they can work. Blocks for a few small reads, and writes before a fork.
///
/// For the first child they are read on a thread that ends with the boot: reading goes deep and frees hundreds of small
/// blocks, and the C library keeps both for the thread. That of a module lives as long as the hub and would hold on to
/// them. Few modules ever get another child, and then somebody waits for it: making a thread would take as long as all
/// the rest.
pub(super) fn prepare(context: &Arc<Context>, short: &Short, occasion: Occasion, purpose: Purpose) -> Prepared {
    match occasion {
        Occasion::Later => read(context, short, purpose),
        Occasion::First => {
            let (context, short) = (Arc::clone(context), short.clone());
            READERS.run(PATIENCE, move || read(&context, &short, purpose))
        }
    }
}

fn read(context: &Context, short: &Short, purpose: Purpose) -> Prepared {
    match (context.source)(short) {
        Ok(mut inputs) => {
            let own_port = match purpose {
                Purpose::Fork => None,
                Purpose::Look { own_port } => own_port,
            };
            let mut spec = self::spec(&inputs, context, short, own_port);
            if purpose == Purpose::Fork
                && spec.is_ok()
                && let Some(credentials) = &inputs.credentials
                && !(context.hand_over)(short, credentials)
            {
                // It runs all the same, and is told of no file.
                inputs.credentials = None;
                spec = self::spec(&inputs, context, short, own_port);
            }
            let program =
                spec.as_ref().map(|spec| OsStr::from_bytes(spec.program.as_bytes()).into()).unwrap_or_default();
            Prepared { settings: Some(Settings { program, ..settings(&inputs) }), spec: spec.map(Box::new) }
        }
        Err(error) => Prepared { settings: None, spec: Err(error) },
    }
}

/// Looks whether the child can be made, and prepares it. `own_port` is free once the child before it has gone.
fn spec(inputs: &Inputs, context: &Context, short: &Short, own_port: Option<u16>) -> Result<SpawnSpec, StartError> {
    let problem = |kind, description: String| StartError { kind, description, binary: None, at: SystemTime::now() };
    let plan = plan::build(inputs, &context.facts, short).map_err(|refused| problem(refused.kind, refused.reason))?;
    let program = preflight::resolve(&plan)?;
    let run = &inputs.run;
    let credentials = match (&run.user, &run.group) {
        (None, None) => None,
        (user, group) => Some(
            account::resolve(user.as_deref(), group.as_deref())
                .map_err(|error| problem(StartErrorKind::InvalidSettings, format!("run.user, run.group: {error}")))?,
        ),
    };
    let port = inputs.row.port.get();
    if run.ready.probe != Probe::None && own_port != Some(port) && probe::is_taken(port) {
        let holder = probe::holder(port);
        let stop = match &holder {
            probe::Holder::Process { pid, .. } if probe::is_ours(*pid, &context.family) => {
                "; that process is of this hub, so another module has the port: give one of them another".to_owned()
            }
            probe::Holder::Process { pid, .. } => {
                format!("; end it, then start {short}: kill {pid} && parachute start {short}")
            }
            probe::Holder::Nobody | probe::Holder::Unknown => String::new(),
        };
        let text = format!("port {port} is already held by {}{stop}", holder.describe());
        return Err(problem(StartErrorKind::PortSquatter, text));
    }

    let unfit = |what: &str, why: Unfit| problem(StartErrorKind::InvalidSettings, format!("{what} {why}"));
    let c_string = |text: &OsStr, what| CString::new(text.as_bytes()).map_err(|_| unfit(what, Unfit::Nul));
    let mut environment = Strings::default();
    for (name, value) in plan.environment.iter() {
        environment
            .push(&[name.as_bytes(), b"=", value.as_bytes()])
            .map_err(|why| unfit(&format!("the variable {}", name.to_string_lossy()), why))?;
    }
    let mut argv = Strings::default();
    for word in &plan.argv {
        argv.push(&[word.as_bytes()]).map_err(|why| unfit("a word of the start command", why))?;
    }
    Ok(SpawnSpec {
        program: c_string(program.as_os_str(), "the start command")?,
        argv,
        environment,
        directory: plan.cwd.map(|cwd| c_string(cwd.as_os_str(), "its directory")).transpose()?,
        umask: run.umask.unwrap_or_else(process::inherited_umask),
        limits: plan::limits(&run.limits, process::inherited_nofile(), process::inherited_core_soft()),
        credentials,
        parent_death_signal: plan::stop_signal(run.stop_signal),
    })
}

fn settings(inputs: &Inputs) -> Settings {
    let run = &inputs.run;
    let path = |probe: Probe| (probe == Probe::Http).then(|| inputs.row.health.clone());
    Settings {
        policy: policy(run),
        program: PathBuf::new(),
        stop_signal: plan::stop_signal(run.stop_signal),
        essential: run.essential,
        depends_on: run.depends_on.clone(),
        port: inputs.row.port.get(),
        ready_path: path(run.ready.probe),
        live_path: run.live.as_ref().and_then(|live| path(live.probe)),
        live_timeout: run.live.as_ref().map(|live| live.timeout),
        watch: run
            .watch
            .iter()
            .map(|path| match &inputs.cwd {
                Some(cwd) => cwd.join(path),
                None => PathBuf::from(path),
            })
            .collect(),
        tap: TapSettings {
            dir: inputs.log_dir.clone(),
            max_bytes: run.logs.max_bytes,
            files: run.logs.files,
            file: run.logs.file,
            console: run.logs.console,
        },
    }
}

fn policy(run: &Run) -> Policy {
    Policy {
        restart: run.restart,
        give_up: run.give_up,
        stop_timeout: run.stop_timeout,
        gate: plan::gate(run),
        live: run
            .live
            .as_ref()
            .filter(|live| live.probe != Probe::None)
            .map(|live| Liveness { interval: live.interval, failures: live.failures.max(1) }),
    }
}
