//! Builds the hub in boot order, waits for a signal, takes it down.
//!
//! The order is supervisor §2 with B29: lock, listeners, everything else. Until both are ours nothing is touched that
//! another hub could be using, and no module is started before what an earlier hub left has been ended.

mod error;
mod groups;
mod identities;
mod listen;
mod notify;
mod socket;
mod visits;

use crate::config::Config;
use crate::db::DbHealth;
use crate::edge;
use crate::hub::routes;
use crate::hub::server::{self, Server};
use crate::logs::{AccessLog, Console};
use crate::manifest::services::Listing;
use crate::ops::auth::{Authority, Surroundings};
use crate::ops::manifests::Manifests;
use crate::ops::metrics::Traffic;
use crate::ops::mounts::Mounts;
use crate::ops::plan_source::Files;
use crate::ops::{Hub, Log, Parts};
use crate::stamp;
use crate::store::children::{self, Child, Header, Journal};
use crate::store::identity::{self, HubLock, Identity};
use crate::store::intent::Intent;
use crate::store::services::Services;
use crate::store::{Create, Home, StoreError, atomic, exposure};
use crate::supervisor::inputs::Facts;
use crate::supervisor::{Duties, Ended, Hooks, Leader, Recorder, Supervisor, main_loop, orphans};
use crate::sys::cgroup::{Locked, Own};
use crate::sys::inotify::Inotify;
use crate::sys::signals::Signals;
use crate::sys::spawn::Spawner;
use crate::sys::{memory, proc, process, random};
use crate::token::{self, proof::BootSecret};
use error::ServeError;
use identities::Identities;
use listen::Listeners;
use socket::PrivateSocket;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// What running answers get when everything else is down.
const EDGE_GRACE: Duration = Duration::from_millis(500);
/// What a slow disk gets to take the last lines of the access log.
const ACCESS_LOG_GRACE: Duration = Duration::from_millis(500);
/// What a slow reader of standard output gets to take the last lines.
const CONSOLE_GRACE: Duration = Duration::from_secs(1);
/// Directories below the user's home that are searched last for programs (supervisor §5.3).
const USUAL_PATH: [&str; 2] = [".local/bin", ".bun/bin"];

/// Exit codes of a hub that was up, see cli §15.2.
const FAILED: u8 = 1;
const UNHEALTHY: u8 = 6;

/// Runs the hub until it is told to end; returns the exit code of cli §15.2, or why it does not come up. `port` is the
/// command line's, 0 for any free one. Must be called on the main thread, before there are others.
pub(crate) fn run(config: Config, port: Option<u16>) -> Result<u8, ServeError> {
    Ok(match with_console(config, port)? {
        Ended::Asked | Ended::Essential { crashed: false, .. } => 0,
        Ended::Essential { crashed: true, .. } => UNHEALTHY,
        Ended::HomeLost | Ended::EdgeLost | Ended::Unfinished => FAILED,
    })
}

/// Blocks our signals before there is a thread that they could end, then starts the one that writes standard output.
fn with_console(config: Config, port: Option<u16>) -> Result<Ended, ServeError> {
    let spawner = Spawner::new(process::seal_inherited_descriptors())
        .map_err(ServeError::starting("what children are made with"))?;
    process::share_allocator_arenas();
    // While there is one thread.
    process::reserve_descriptors(io::stdout().as_fd(), process::USUAL_DESCRIPTORS);
    let signals = Signals::block().map_err(ServeError::starting("signals"))?;
    let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(ServeError::starting("standard output"))?;
    let (console, _ends_with_finish) =
        Console::start(File::from(stdout)).map_err(ServeError::starting("the console"))?;
    let ended = Boot { config, console: console.clone() }.run(&signals, spawner, port);
    console.finish(Instant::now() + CONSOLE_GRACE);
    ended
}

/// What follows once an earlier hub's processes have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Start,
    End,
}

struct Boot {
    config: Config,
    console: Console,
}

/// By what the next hub knows the children of one that was killed.
struct Traces {
    journal: Arc<Journal>,
    groups: Option<Locked>,
}

/// What is up and has to be taken down.
struct Running {
    supervisor: Arc<Supervisor>,
    hub: Arc<Hub>,
    server: Arc<Server>,
    edge: edge::EdgeHandle,
    /// The edge asks it.
    identities: Arc<Identities>,
    /// The edge writes it, unless it goes to standard output.
    access_log: Option<AccessLog>,
    /// The edge connects through it.
    _socket_directory: Option<File>,
}

impl Boot {
    fn run(self, signals: &Signals, spawner: Spawner, port: Option<u16>) -> Result<Ended, ServeError> {
        self.prepare_process();

        let home = Home::open(&self.config.home, Create::Yes)?;
        home.warnings().iter().for_each(|warning| self.say(warning));
        let lock = HubLock::acquire(&home)?;
        let listeners = listen::bind(self.config.bind_host, port.unwrap_or(self.config.port))?;
        let authority = self.authority(&home, listeners.port)?;
        let kept = Arc::clone(&authority);
        if let Err(error) = atomic::sweep(&home, SystemTime::now(), atomic::Sweep::OwnFiles) {
            self.say(&error.to_string());
        }
        let own_group = groups::own(self.config.control_groups, |line| self.say(line));
        if self.end_previous(&home, own_group.as_ref(), signals)? == Next::End {
            return Ok(Ended::Asked);
        }

        let identity = Identity {
            instance: random::hex(16),
            secret: Some(boot_secret()),
            pid: std::process::id(),
            start_ticks: proc::own_start_ticks(),
            port: listeners.port,
            started_at: Some(stamp::iso(SystemTime::now())),
        };
        let header = Header {
            instance: identity.instance.clone(),
            boot_id: proc::boot_id(),
            hub_pid: identity.pid,
            hub_start_ticks: identity.start_ticks,
            home: Some(home.mark().to_owned()),
            session: proc::stat(process::own_pid()).map(|stat| stat.session),
        };
        let journal = Arc::new(Journal::begin(&home, &header)?);
        let banner = format!(
            "listening on {} (home {}, issuer {})",
            listeners.shown(),
            home.path().display(),
            authority.origins().canonical
        );

        let groups = own_group
            .and_then(|own| groups::make(self.config.control_groups, &own, &identity.instance, |line| self.say(line)));
        let running = self.start(&home, &lock, listeners, authority, &identity, Traces { journal, groups })?;
        if let Err(error) = identity::announce(&home, &identity) {
            self.say(&format!("{error}; until then no program reads there which hub runs"));
        }
        identity::publish(&home, &identity)?;
        self.say(&banner);
        if let Err(error) = notify::ready(&self.config.environment) {
            self.say(&format!("cannot tell the service manager that the hub is ready: {error}"));
        }

        running.hub.boot();
        let hub = Arc::clone(&running.hub);
        let duties = Duties {
            spawner,
            reload: &move || hub.reload(),
            has_home: &|| self.has_home(&home, &kept, &lock),
            on_end: &|| running.edge.keep_routes(),
            home_watch: self.home_watch(&home),
        };
        let ended = main_loop(&running.supervisor, signals, duties);
        let all_down = running.supervisor.snapshots().is_empty();
        running.supervisor.remove_groups();
        running.stop();
        if matches!(ended, Ok(Ended::HomeLost)) {
            // What stands at the home's path now is another's: SQLite would take its log away on closing.
            std::mem::forget(kept);
        } else {
            self.clear(&home, &identity, all_down);
            kept.close();
        }
        ended.map_err(ServeError::starting("waiting for signals"))
    }

    fn say(&self, line: &str) {
        self.console.line("[hub] ", line);
    }

    /// A log for other threads.
    fn log(&self) -> Log {
        let console = self.console.clone();
        Arc::new(move |line| console.line("[hub] ", line))
    }

    /// None of this can keep a hub from running; what fails is said.
    fn prepare_process(&self) {
        memory::keep_large_blocks_apart();
        if let Err(error) = process::raise_nofile() {
            self.say(&format!("cannot raise the limit of open files: {error}"));
        }
        if let Err(error) = process::forbid_core_dumps() {
            self.say(&format!("cannot forbid core dumps, which would hold keys: {error}"));
        }
        if !process::become_subreaper() {
            self.say("the kernel has no subreaper: processes that leave their module's group may escape");
        }
    }

    fn authority(&self, home: &Home, port: u16) -> Result<Arc<Authority>, ServeError> {
        let surroundings = Surroundings {
            port,
            configured: self.config.hub_origin.clone(),
            operator_ttl_s: self.config.operator_ttl_s,
            signing_key_file: self.config.signing_key_file.clone(),
        };
        self.config.ignored.iter().for_each(|ignored| self.say(ignored));
        let authority = Authority::open(home, surroundings, self.log())?;
        authority.notices().iter().for_each(|notice| self.say(notice));
        if let Err(error) = exposure::read(home) {
            self.say(&format!("{error}; until then the hub is taken not to be exposed"));
        }
        authority.bootstrap()?.notices.iter().for_each(|notice| self.say(notice));
        Ok(Arc::new(authority))
    }

    /// Ends what a hub left behind that had no clean end, or its record would not be there. One that names no child is
    /// no proof that there is none: the last one may have been started and not yet noted.
    fn end_previous(&self, home: &Home, own_group: Option<&Own>, signals: &Signals) -> Result<Next, ServeError> {
        let Some((instance, leaders)) = self.left_behind(home)? else { return Ok(Next::Start) };
        let on_wait = |left: &[process::Pid]| {
            self.say(&format!("waiting for processes that an earlier hub left behind to end: {left:?}"));
        };
        let group = own_group.and_then(|own| groups::of_hub(own, &instance));
        let report = orphans::end_previous(&instance, &leaders, group.as_ref(), signals, on_wait)
            .map_err(ServeError::starting("looking for processes of an earlier hub"))?;
        if !report.ended.is_empty() {
            self.say(&format!("ended processes that an earlier hub left behind: {:?}", report.ended));
        }
        if !report.left.is_empty() {
            self.say(&format!("processes of an earlier hub are left and did not end: {:?}", report.left));
        }
        if let Some(sender) = report.asked_by {
            self.say(&format!("{sender}, before any module was started"));
            return Ok(Next::End);
        }
        Ok(Next::Start)
    }

    /// The number of a hub that had no clean end, and the leaders that it has noted. A record of another boot of the
    /// machine means nobody. Without one, what that hub told everybody of itself and would have taken back is known.
    fn left_behind(&self, home: &Home) -> Result<Option<(String, Vec<orphans::Leader>)>, ServeError> {
        let (header, left) = match children::read_previous(home) {
            Ok(Some(record)) => record,
            Ok(None) => match identity::announced(home) {
                Some(header) => (header, Vec::new()),
                None => return Ok(None),
            },
            Err(StoreError::Syntax { path, problem }) => {
                // Whoever carries that number was started by that hub, which is the last one of this home.
                let announced = identity::announced(home).filter(|header| !header.is_of_another(home));
                let announced = announced.map(|header| header.instance);
                let instance = announced.or_else(|| identity::read(home).map(|last| last.instance));
                let known = match &instance {
                    Some(_) => "what the last hub may have left behind is known by its environment alone",
                    None => "what the last hub may have left behind is not known",
                };
                self.say(&format!("{} cannot be used: {problem}; it is written anew, and {known}", path.display()));
                return Ok(instance.map(|instance| (instance, Vec::new())));
            }
            Err(error) => return Err(error.into()),
        };
        if header.boot_id != proc::boot_id() || header.is_of_another(home) {
            return Ok(None);
        }
        let leader = |child: Child| orphans::Leader {
            short: child.short.to_string(),
            pid: child.pid,
            start_ticks: child.start_ticks,
            session: header.session,
        };
        Ok(Some((header.instance, left.into_iter().map(leader).collect())))
    }

    fn start(
        &self,
        home: &Home,
        lock: &HubLock,
        listeners: Listeners,
        authority: Arc<Authority>,
        identity: &Identity,
        traces: Traces,
    ) -> Result<Running, ServeError> {
        let bell = edge::Bell::new().map_err(ServeError::starting("the edge"))?;
        let (ring, reroute) = (Arc::clone(&bell), Arc::clone(&bell));
        let services = Arc::new(Services::new(home.clone()));
        // Whoever sees it first, such as the start of the module, tells: not every directory can be watched.
        let manifests = Arc::new(Manifests::new(Box::new(move || reroute.reroute())));
        self.keep_backup(&services);
        let intent = Intent::load(home);
        intent.warning().iter().for_each(|warning| self.say(warning));

        let counters: Arc<edge::Counters> = Arc::default();
        let files = Arc::new(Files {
            home: home.clone(),
            services: Arc::clone(&services),
            manifests: Arc::clone(&manifests),
            authority: Arc::clone(&authority),
            hub_port: listeners.port,
            introspection_url: format!("http://127.0.0.1:{}/oauth/introspect", listeners.port),
            log: self.log(),
            said: Mutex::default(),
            readable: Mutex::default(),
        });
        let hooks = Hooks {
            source: files.plan_source(),
            hand_over: files.hand_over(),
            record: record(traces.journal, Arc::clone(&authority), self.log()),
            console: self.console.clone(),
            facts: self.facts(&identity.instance),
            on_change: Arc::new(move || ring.ring()),
            groups: traces.groups,
        };
        let own_hosts = edge::OwnHosts::default();
        own_hosts.replace(&authority.origins().given);
        let hosts = own_hosts.clone();
        let supervisor = Arc::new(Supervisor::new(hooks).map_err(ServeError::starting("the supervisor"))?);
        let hub = Arc::new(Hub::new(Parts {
            home: home.clone(),
            services,
            manifests,
            intent: Arc::new(intent),
            supervisor: Arc::clone(&supervisor),
            authority,
            identity: identity.clone(),
            on_origins: Arc::new(move |origins| hosts.replace(&origins.given)),
            build_time: self.variable("PARACHUTE_BUILD_TIME").and_then(|value| value.into_string().ok()),
            traffic: traffic(&counters, &bell),
            bad_tokens: self.config.bad_tokens,
            log: self.log(),
        }));

        let socket = PrivateSocket::bind(&home.run_dir(), lock)?;
        let socket_path = socket.path().to_owned();
        let (listener, socket_directory) = socket.into_parts();
        let answering = Arc::clone(&hub);
        let app: server::App = Arc::new(move |req| routes::answer(&answering, req));
        let server = server::start(listener, app, self.log()).map_err(ServeError::starting("the control server"))?;
        let server = Arc::new(server);
        let access_log = self.access_log().map_err(ServeError::starting("the access log"))?;
        let identities = Identities::new(Arc::clone(&hub), Arc::clone(&bell), self.log());
        let hooks = self.edge_hooks(&hub, &supervisor, &server, &identities, counters, access_log.clone());
        let edge = edge::start(self.edge_settings(home, own_hosts), listeners.sockets, socket_path, hooks, bell)
            .map_err(ServeError::starting("the edge"))?;
        Ok(Running { supervisor, hub, server, edge, identities, access_log, _socket_directory: socket_directory })
    }

    fn edge_settings(&self, home: &Home, own_hosts: edge::OwnHosts) -> edge::Settings {
        edge::Settings {
            limits: self.config.limits.clone(),
            is_hub_bearer: token::is_hub_bearer,
            watched: vec![home.services_json(), exposure::path(home)],
            proxies: edge::Proxies::new(self.config.trusted_proxies.clone()),
            ..edge::Settings::new(own_hosts, self.config.allowed_hosts.clone())
        }
    }

    fn edge_hooks(
        &self,
        hub: &Arc<Hub>,
        supervisor: &Arc<Supervisor>,
        server: &Arc<Server>,
        identities: &Arc<Identities>,
        counters: Arc<edge::Counters>,
        access_log: Option<AccessLog>,
    ) -> edge::Hooks {
        let (hub, supervisor, server) = (Arc::clone(hub), Arc::clone(supervisor), Arc::clone(server));
        let lost = Arc::clone(&supervisor);
        let (identities, console) = (Arc::clone(identities), self.console.clone());
        edge::Hooks {
            routes: Arc::new(move |before| {
                hub.look_at_exposure();
                let Mounts { mounts, manifests } = hub.mounts()?;
                let table = edge::Table::new(mounts, |short| supervisor.board(short), before);
                Some(edge::Routing { table, manifests })
            }),
            on_client_gone: Arc::new(move |exchange| server.client_gone(exchange)),
            identify: Box::new(move |ticket, question| identities.ask(ticket, question)),
            counters,
            on_lost: Box::new(move || lost.edge_lost()),
            log: Arc::new(move |line| console.line("", line)),
            access_log: self.edge_access_log(access_log),
        }
    }

    /// The thread that writes the access log to its file, if there is one.
    fn access_log(&self) -> io::Result<Option<AccessLog>> {
        let file = self.config.access_log.as_ref().and_then(|log| log.file.clone());
        file.map(|file| AccessLog::start(file, self.console.clone())).transpose()
    }

    fn edge_access_log(&self, file: Option<AccessLog>) -> Option<edge::AccessLog> {
        let format = self.config.access_log.as_ref()?.format;
        let console = self.console.clone();
        let write: Box<dyn Fn(Vec<u8>, u64) + Send> = match file {
            Some(log) => Box::new(move |text, lines| log.write(text, lines)),
            None => Box::new(move |text, lines| console.block("", &text, lines)),
        };
        Some(edge::AccessLog { format, write })
    }

    /// Tells when the home or its database is renamed or removed: SQLite would go on with a file that nobody finds, and
    /// all would look well.
    fn home_watch(&self, home: &Home) -> Option<Inotify> {
        let watched = Inotify::new().and_then(|mut watch| {
            watch.add_itself(home.path())?;
            for above in home.path().ancestors().skip(1) {
                // One that we may not look into can be renamed unseen; then whoever asks how the hub is finds out.
                let _unreadable = watch.add_itself(above);
            }
            watch.add_itself(&home.path().join("hub.db"))?;
            // These are not ours to lose the hub with; what it says of them then can wait for the next look.
            let _unwatched = watch.add_itself(&home.run_dir()).and_then(|()| watch.add_itself(&HubLock::path(home)));
            Ok(watch)
        });
        if let Err(error) = &watched {
            self.say(&format!("cannot watch {}, looking at it now and then: {error}", home.path().display()));
        }
        watched.ok()
    }

    fn has_home(&self, home: &Home, authority: &Authority, lock: &HubLock) -> bool {
        let Some(lost) = authority.db_lost() else {
            if lock.is_newly_lost(home) {
                self.say(&format!(
                    "{} was removed: commands may no longer reach this hub, and its modules run on; to have all as it was, \
                     end it with: kill {}, and start it again with: parachute serve",
                    HubLock::path(home).display(),
                    std::process::id()
                ));
            }
            return true;
        };
        let what = if lost == DbHealth::PathGone { "is gone" } else { "is another file now" };
        self.say(&format!(
            "{} {what}, so nothing that the hub keeps would last; ending, start the hub again with: parachute serve",
            home.path().join("hub.db").display()
        ));
        false
    }

    /// A list of modules that cannot be used makes way for what is known of it, and one that can becomes the backup.
    fn keep_backup(&self, services: &Services) {
        if let Err(error) = services.restore() {
            self.say(&error.to_string());
        }
        services.take_recoveries().iter().for_each(|recovery| self.say(&recovery.to_string()));
        if let Err(error) = services.save_backup(&Listing::default()) {
            self.say(&error.to_string());
        }
    }

    fn facts(&self, instance: &str) -> Facts {
        let user_home = self.variable("HOME").map(PathBuf::from);
        let usual = USUAL_PATH.iter().filter_map(|below| user_home.as_ref().map(|home| home.join(below)));
        Facts {
            environment: self.config.environment.clone(),
            extra_path: self.config.extra_path.clone(),
            usual_path: usual.filter(|path| path.is_dir()).map(PathBuf::into_os_string).collect(),
            instance: instance.to_owned(),
        }
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        let found = self.config.environment.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    }

    /// Takes back what told others of this hub. With all modules down the next hub has nobody to look for.
    fn clear(&self, home: &Home, identity: &Identity, all_down: bool) {
        let cleared = identity::clear(home, &identity.instance);
        let removed = if all_down { children::remove(home) } else { Ok(()) };
        for error in [cleared.err(), removed.err()].into_iter().flatten() {
            self.say(&error.to_string());
        }
    }
}

impl Running {
    /// All modules are down already: lets answers on their way end, then everything else.
    fn stop(self) {
        self.server.end_waits();
        self.edge.stop(Instant::now() + EDGE_GRACE);
        self.identities.stop();
        if let Some(log) = self.access_log {
            log.finish(Instant::now() + ACCESS_LOG_GRACE);
        }
        self.server.stop();
    }
}

/// By which clients know this boot of the hub.
fn boot_secret() -> BootSecret {
    let mut bytes = [0; 32];
    random::fill(&mut bytes);
    BootSecret::take(&mut bytes)
}

/// What the edge counts, in the words of the metrics.
fn traffic(counters: &Arc<edge::Counters>, bell: &Arc<edge::Bell>) -> Arc<dyn Fn() -> Traffic + Send + Sync> {
    let (counters, bell) = (Arc::clone(counters), Arc::clone(bell));
    let many = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Arc::new(move || Traffic {
        connections: many(counters.connections()),
        requests: counters.requests(),
        refused: counters.refused(),
        waiting: many(bell.waiting()),
        websockets: many(counters.websockets()),
    })
}

/// Notes each new leader for the hub that comes after a killed one. A leader's key is good for as long as it lives.
fn record(journal: Arc<Journal>, authority: Arc<Authority>, log: Log) -> Recorder {
    Arc::new(move |short, leader| match leader {
        // It may ask the hub before anybody has heard that it runs.
        Leader::Forking => authority.module_spawned(short),
        Leader::Forked { pid, start_ticks } => {
            if let Err(error) = journal.append(&Child { short: short.clone(), pid, start_ticks }) {
                log(&format!("{short}: if this hub is killed, the next one will not know pid {pid}: {error}"));
            }
        }
        Leader::Over => authority.module_ended(short),
    })
}
