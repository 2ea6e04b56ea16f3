//! `start`, `stop`, `restart`: what was asked is remembered, done, and answered for.

use super::state::module_state;
use super::{Hub, OpError};
use crate::manifest::services::Listing;
use crate::manifest::{Short, known};
use crate::store::StoreError;
use crate::supervisor::{Answer, OpFailure, Snapshot, Supervisor};
use crate::wire::OpReply;

impl Hub {
    /// Starts the module and forgets an earlier `stop`. Blocks until it is ready, or has failed to be. Alive without
    /// listening is a success with a `startError` in it.
    pub(crate) fn start(&self, short: &Short, answer: Answer) -> Result<OpReply, OpError> {
        self.bring_up(short, answer, Supervisor::start)
    }

    /// Ends the module and starts it with settings read anew, whatever state it was in. Blocks as both together.
    pub(crate) fn restart(&self, short: &Short, answer: Answer) -> Result<OpReply, OpError> {
        self.bring_up(short, answer, Supervisor::restart)
    }

    /// Ends the module and remembers that it is to stay down, also across restarts of the hub. Blocks until nothing of
    /// it is left.
    pub(crate) fn stop(&self, short: &Short, answer: Answer) -> Result<OpReply, OpError> {
        // A file that cannot be read must not keep anyone from stopping what runs.
        let document = self.reconcile().ok();
        let process = document.as_ref().map_or_else(|| short.clone(), |document| document.process_of(short));
        let installed = document.is_some_and(|document| document.find(&process).is_some());
        let is_known = installed || self.parts.supervisor.snapshot(&process).is_some();
        let warnings = Vec::from_iter(is_known.then(|| self.remember(&process, true)).flatten());
        match self.parts.supervisor.stop(&process, answer) {
            Ok(snapshot) => Ok(done(short, (answer == Answer::WhenDone).then_some(true), &snapshot, warnings)),
            Err(OpFailure::NotSupervised) => {
                Ok(OpReply { short: short.to_string(), stopped: Some(false), state: None, warnings })
            }
            Err(failure) => Err(OpError::from_supervisor(&process, failure)),
        }
    }

    fn bring_up(
        &self,
        short: &Short,
        answer: Answer,
        act: fn(&Supervisor, &Short, Answer) -> Result<Snapshot, OpFailure>,
    ) -> Result<OpReply, OpError> {
        let document = self.reconcile()?;
        let process = document.process_of(short);
        self.check(&document, &process)?;
        let warnings = Vec::from_iter(self.remember(&process, false));
        let outcome = act(&self.parts.supervisor, &process, answer);
        self.forget_if_gone(&process);
        match outcome {
            Ok(snapshot) => Ok(done(short, None, &snapshot, warnings)),
            Err(failure) => Err(OpError::from_supervisor(&process, failure)),
        }
    }

    /// Refuses what cannot be started for want of a row or a command, before anything is touched.
    fn check(&self, document: &Listing, short: &Short) -> Result<(), OpError> {
        let entry = document.find(short).ok_or_else(|| OpError::NotInstalled { short: short.clone() })?;
        let row = entry
            .row
            .as_ref()
            .map_err(|problem| OpError::InvalidRow { short: short.clone(), problem: problem.clone() })?;
        let manifest = match self.parts.manifests.of(row) {
            Ok(manifest) => manifest,
            // That the directory is gone is for the attempt to say, so that it stands in the module's state as well.
            Err(StoreError::NoPackage { .. }) => return Ok(()),
            Err(source) => return Err(OpError::Manifest { short: short.clone(), source }),
        };
        match known::start_command(&row.short, manifest.as_deref()) {
            Some(_) => Ok(()),
            None => Err(OpError::NoStartCommand { short: short.clone() }),
        }
    }

    /// A full disk must not keep a module up or down now; that it will be forgotten is logged and returned.
    pub(super) fn remember(&self, short: &Short, stopped: bool) -> Option<String> {
        let error = self.parts.intent.set_stopped(short, stopped).err()?;
        let asked = if stopped { "stopped" } else { "running" };
        let warning = format!("{short}: that it is to be {asked} will not outlive the hub: {error}");
        (self.parts.log)(&warning);
        Some(warning)
    }
}

fn done(short: &Short, stopped: Option<bool>, snapshot: &Snapshot, warnings: Vec<String>) -> OpReply {
    OpReply {
        short: short.to_string(),
        stopped,
        state: Some(module_state(snapshot, snapshot.next_retry_at())),
        warnings,
    }
}
