//! Keeping the supervisor in line with `services.json`: a new row is known without a restart of the hub, the worker of
//! a removed one is stopped and forgotten.

use super::{Hub, Log, OpError, lock};
use crate::manifest::run::Run;
use crate::manifest::services::{Listing, Row};
use crate::manifest::{Short, circles, known};
use crate::store::intent::Intent;
use crate::store::services::Services;
use crate::supervisor::{Answer, OpFailure, Supervisor};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Stack of the threads that wait for removed modules to end, and that mend the list or save its backup.
const STACK_BYTES: usize = 128 * 1024;

/// What the supervisor should run and does not know, and what it runs without a row.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    new: Vec<Short>,
    removed: Vec<Short>,
}

/// Who saves the backup of the list: one thread, and at most one that waits to do it after it.
#[derive(Default)]
pub(super) struct BackingUp {
    saving: Mutex<()>,
    is_awaited: AtomicBool,
}

/// A bad row keeps its module: the process may be fine, and the row will be put right.
fn difference(document: &Listing, runnable: &[Short], known: &BTreeSet<Short>) -> Difference {
    let rows: BTreeSet<&Short> = document.entries().iter().filter_map(|entry| entry.short.as_ref()).collect();
    Difference {
        new: runnable.iter().filter(|short| !known.contains(short)).cloned().collect(),
        removed: known.iter().filter(|short| !rows.contains(short)).cloned().collect(),
    }
}

/// The modules that have lost their row, also those that no worker knows.
fn gone<'a>(last: &'a Listing, document: &'a Listing) -> BTreeSet<&'a Short> {
    let shorts = |list: &'a Listing| list.entries().iter().filter_map(|entry| entry.short.as_ref());
    &shorts(last).collect::<BTreeSet<_>>() - &shorts(document).collect()
}

/// The rows that have a process of their own, in file order: usable ones that no other row's process serves.
fn processes(document: &Listing) -> impl Iterator<Item = &Row> {
    let own = document.entries().iter().filter(|entry| entry.served_by.is_none());
    own.filter_map(|entry| entry.row.as_deref().ok())
}

impl Hub {
    /// Starts all modules that are not to stay stopped, in parallel, and returns at once.
    pub(crate) fn boot(&self) {
        let document = match self.reconcile() {
            Ok(document) => document,
            Err(error) => return (self.parts.log)(&format!("no module is started: {error}")),
        };
        for entry in document.entries() {
            if let Err(problem) = &entry.row {
                (self.parts.log)(&format!("the row {:?} of services.json cannot be used: {problem}", entry.name));
            }
        }
        // Whoever stops a module from now on finds this hub.
        self.parts.intent.read_again();
        let stopped = self.parts.intent.stopped();
        let mut wanted = Vec::new();
        for row in processes(&document) {
            let short = &row.short;
            if !self.has_command(row) {
                (self.parts.log)(&format!("{short}: skipped, nothing says how to start it"));
            } else if stopped.contains(short) {
                (self.parts.log)(&format!(
                    "{short}: stays stopped, as it was told; start it with: parachute start {short}"
                ));
            } else {
                wanted.push((short.clone(), self.dependencies(&document, row)));
            }
        }
        let waiting = wanted.iter().map(|(short, others)| (short.clone(), others.iter().cloned().collect())).collect();
        for circle in circles::circles(&waiting) {
            (self.parts.log)(&circles::told(&circle));
        }
        self.parts.supervisor.boot(wanted);
    }

    /// What a module waits for at boot. Settings that cannot be read are the business of its own start.
    fn dependencies(&self, document: &Listing, row: &Row) -> Vec<Short> {
        let manifest = self.parts.manifests.of(row).ok().flatten();
        let named = Run::of(manifest.as_deref(), Some(row)).map(|run| run.depends_on).unwrap_or_default();
        let known = named.iter().filter_map(|name| {
            let process = document.dependency(name);
            if process.is_none() {
                let short = &row.short;
                (self.parts.log)(&format!("{short}: does not wait for {name}, which services.json does not have"));
            }
            process
        });
        known.collect()
    }

    /// Looks at `services.json` because somebody says that it changed.
    pub(crate) fn reload(&self) {
        if let Err(error) = self.reconcile() {
            (self.parts.log)(&error.to_string());
        }
    }

    /// Reads `services.json` and, when it changed since the last time, tells the supervisor. Blocks for a `stat`, and
    /// for reading the file when it changed; a module that was removed is waited for elsewhere.
    pub(super) fn reconcile(&self) -> Result<Arc<Listing>, OpError> {
        let document = self.parts.services.read().map_err(|source| {
            // Whoever mends the list is to have what we still know of it.
            self.keep_backup();
            OpError::Services { source }
        })?;
        if self.parts.services.has_gone() {
            (self.parts.log)(
                "services.json is not there any more; its modules run on, and are known as long as the hub runs; put it \
                 back, or to have them stopped write one without them",
            );
        }
        let last = lock(&self.reconciled).clone();
        if last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &document)) {
            return Ok(document);
        }
        let is_mended = self.mend();
        if let Some(last) = last {
            // Nobody is to act on a list that will be another in a moment: no module is stopped because of it.
            if is_mended {
                return Ok(last);
            }
            for short in gone(&last, &document) {
                // What comes back under its name is another module, which nobody has stopped yet.
                let _logged = self.remember(short, false);
            }
            // What the boot has found is the backup already.
            self.keep_backup();
        }
        *lock(&self.reconciled) = Some(Arc::clone(&document));
        self.parts.manifests.forget_others(&document);
        let known = self.parts.supervisor.snapshots().into_iter().map(|snapshot| snapshot.short).collect();
        let Difference { new, removed } = difference(&document, &self.runnable(&document), &known);
        for short in &new {
            // The supervisor has said why it cannot take it; a start by hand tries again.
            let _said = self.parts.supervisor.register(short);
        }
        if !removed.is_empty() {
            self.forget(removed);
        }
        Ok(document)
    }

    /// Sees to it that no edit of the last seconds stays undone by a module that writes the list without a lock; whether
    /// one was. Blocks for a look at what was noted of them; the writing is done elsewhere.
    fn mend(&self) -> bool {
        match self.parts.services.undone() {
            Ok(undone) if undone.is_empty() => return false,
            Ok(_) => {}
            Err(error) => {
                (self.parts.log)(&error.to_string());
                return false;
            }
        }
        let (services, mending, log) =
            (Arc::clone(&self.parts.services), Arc::clone(&self.mending), Arc::clone(&self.parts.log));
        let claim = |mending: &AtomicBool| !mending.swap(true, Ordering::AcqRel);
        if !claim(&mending) {
            return true;
        }
        let work = move || loop {
            match services.repair() {
                Ok(undone) if undone.is_empty() => {}
                Ok(undone) => log(&format!(
                    "services.json: another program put back an older list; done again for {}",
                    undone.join(", ")
                )),
                Err(error) => log(&format!("services.json: what another program undid stays undone: {error}")),
            }
            mending.store(false, Ordering::Release);
            // Who looked meanwhile left it to this thread.
            let more = services.undone().is_ok_and(|undone| !undone.is_empty());
            if !more || !claim(&mending) {
                return;
            }
        };
        if let Err(error) = thread::Builder::new().name("hub/mend".to_owned()).stack_size(STACK_BYTES).spawn(work) {
            self.mending.store(false, Ordering::Release);
            (self.parts.log)(&format!("cannot do again what another program undid in services.json: {error}"));
        }
        true
    }

    /// Saves what a spoilt list is mended from (files §14.4): at once, or else a module that was added to a hub that runs
    /// for months would be lost with the list. The disk is waited for elsewhere.
    fn keep_backup(&self) {
        let (services, backing_up) = (Arc::clone(&self.parts.services), Arc::clone(&self.backing_up));
        // Who waits for its turn reads after it.
        if backing_up.is_awaited.swap(true, Ordering::AcqRel) {
            return;
        }
        let (waiting, log) = (Arc::clone(&backing_up), Arc::clone(&self.parts.log));
        let last = lock(&self.reconciled).clone().unwrap_or_default();
        let work = move || {
            let _turn = lock(&waiting.saving);
            waiting.is_awaited.store(false, Ordering::Release);
            if let Err(error) = services.save_backup(&last) {
                log(&error.to_string());
            }
        };
        if let Err(error) = thread::Builder::new().name("hub/backup".to_owned()).stack_size(STACK_BYTES).spawn(work) {
            backing_up.is_awaited.store(false, Ordering::Release);
            (self.parts.log)(&format!("cannot save the backup of services.json: {error}"));
        }
    }

    /// The modules that can be started, in file order.
    fn runnable(&self, document: &Listing) -> Vec<Short> {
        processes(document).filter(|row| self.has_command(row)).map(|row| row.short.clone()).collect()
    }

    /// Whether something says how to start it. One whose manifest cannot be read counts: its start says why.
    fn has_command(&self, row: &Row) -> bool {
        match self.parts.manifests.of(row) {
            Ok(manifest) => known::start_command(&row.short, manifest.as_deref()).is_some(),
            Err(_) => true,
        }
    }

    /// Forgets a module that lost its row between the look at the list and what was asked of the supervisor, which then
    /// knows it again. One that loses it after this look is seen by the next to reconcile.
    pub(super) fn forget_if_gone(&self, short: &Short) {
        if self.reconcile().is_ok_and(|document| document.find(short).is_none()) {
            self.forget(vec![short.clone()]);
        }
    }

    fn forget(&self, removed: Vec<Short>) {
        for short in removed {
            let (supervisor, services) = (Arc::clone(&self.parts.supervisor), Arc::clone(&self.parts.services));
            let (intent, log) = (Arc::clone(&self.parts.intent), Arc::clone(&self.parts.log));
            let authority = Arc::clone(&self.parts.authority);
            // Each for itself: one that takes its time to end is no reason for others to run on.
            let work = move || {
                if forget(&short, &supervisor, &services, &intent, &log) {
                    authority.forget_dead_child(&short);
                }
            };
            let started = thread::Builder::new().name("hub/forget".to_owned()).stack_size(STACK_BYTES).spawn(work);
            if let Err(error) = started {
                (self.parts.log)(&format!("cannot stop modules whose rows were removed: {error}"));
                // The next request tries again.
                *lock(&self.reconciled) = None;
            }
        }
    }
}

/// Stops a module that has lost its row, unless it has it again. Blocks until it has ended; whether it is still without.
fn forget(short: &Short, supervisor: &Supervisor, services: &Services, intent: &Intent, log: &Log) -> bool {
    let is_back = || services.read().is_ok_and(|document| document.find(short).is_some());
    if is_back() {
        return false;
    }
    log(&format!("{short}: its row was removed from services.json, stopping it"));
    match supervisor.forget(short) {
        // A hub on its way down stops it with the others.
        Ok(()) | Err(OpFailure::NotSupervised | OpFailure::ShuttingDown) => {}
        Err(_) => log(&format!("{short}: processes of it may be left, they did not end in time")),
    }
    if !is_back() {
        return true;
    }
    // It came back while it was known as one that runs: nobody else would start it. Whoever has stopped it since has
    // done so for good.
    if !intent.is_stopped(short) {
        log(&format!("{short}: its row is there again, starting it"));
        // What becomes of it is in its own log.
        let _ordered = supervisor.start(short, Answer::AtOnce);
        // A stop is remembered before it is done, which may have been before this start.
        if intent.is_stopped(short) {
            let _ordered = supervisor.stop(short, Answer::AtOnce);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::services::Document;

    fn row(name: &str, port: u16) -> serde_json::Value {
        serde_json::json!({"name": name, "port": port, "paths": ["/x"], "health": "/health", "version": "1"})
    }

    fn document(rows: &[serde_json::Value]) -> Document {
        Document::parse(serde_json::json!({"services": rows}).to_string().as_bytes()).expect("a document")
    }

    fn shorts(names: &[&str]) -> Vec<Short> {
        names.iter().map(|name| Short::parse(name).expect("a short")).collect()
    }

    #[test]
    fn new_rows_are_told_and_removed_ones_forgotten() {
        let two = [row("a", 2001), row("b", 2002)];
        let with_bad = [row("a", 2001), serde_json::json!({"name": "b"})];
        let vaults = [row("parachute-vault", 1940), row("parachute-vault-work", 1940)];
        for (what, rows, known, new, removed) in [
            ("first look", &two[..], &[][..], &["a", "b"][..], &[][..]),
            ("nothing new", &two, &["a", "b"], &[], &[]),
            ("one removed", &two[..1], &["a", "b"], &[], &["b"]),
            ("all removed", &[], &["a", "b"], &[], &["a", "b"]),
            ("a row that went bad keeps its module", &with_bad, &["a", "b"], &[], &[]),
            ("a bad row is not run", &with_bad, &[], &["a"], &[]),
            ("one process for all vaults of a port", &vaults, &[], &["vault"], &[]),
        ] {
            let expected = Difference { new: shorts(new), removed: shorts(removed) };
            let document = document(rows);
            let runnable: Vec<_> = processes(&document).map(|row| row.short.clone()).collect();
            assert_eq!(difference(&document, &runnable, &shorts(known).into_iter().collect()), expected, "{what}");
        }
    }

    /// A start that was asked for may find it gone, and registers it again.
    #[test]
    fn a_module_that_lost_its_row_under_an_order_is_forgotten() {
        let fixture = crate::ops::testing::Fixture::new(&serde_json::json!([row("kept", 2001)]));
        let parts = &fixture.hub.parts;
        let [kept, lost] = ["kept", "lost"].map(|name| Short::parse(name).expect("a short"));
        for short in [&kept, &lost] {
            parts.supervisor.register(short).expect("a thread is free");
            fixture.hub.forget_if_gone(short);
        }
        while parts.supervisor.snapshot(&lost).is_some() {
            thread::yield_now();
        }
        assert!(parts.supervisor.snapshot(&kept).is_some());
    }
}
