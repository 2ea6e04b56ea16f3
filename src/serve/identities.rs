//! Answers the edge's questions about callers on a thread of its own, because the database may have to be waited for.

use super::visits::denied;
use crate::edge::{Bell, Caller, Question, Ticket, Verdict};
use crate::ops::auth::{Active, Proof};
use crate::ops::{Hub, Log};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// SQLite reads on it.
const STACK_BYTES: usize = 256 * 1024;

/// The thread, which begins with the first question: most homes have no module that wants to know.
pub(super) struct Identities {
    hub: Arc<Hub>,
    bell: Arc<Bell>,
    log: Log,
    thread: Mutex<Option<Thread>>,
}

struct Thread {
    questions: Sender<(Ticket, Arc<Question>)>,
    /// Nobody waits for the answers that are still due.
    moot: Arc<AtomicBool>,
    handle: JoinHandle<()>,
}

impl Identities {
    pub(super) fn new(hub: Arc<Hub>, bell: Arc<Bell>, log: Log) -> Arc<Self> {
        Arc::new(Self { hub, bell, log, thread: Mutex::default() })
    }

    /// Takes a question. Never blocks; as many wait as the edge has connections, which it limits.
    pub(super) fn ask(&self, ticket: Ticket, question: Arc<Question>) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.as_ref().is_none_or(|thread| thread.handle.is_finished()) {
            *thread = self.start().ok();
        }
        let asked = thread.as_ref().map(|thread| thread.questions.send((ticket, question)));
        if !matches!(asked, Some(Ok(()))) {
            self.bell.answer(ticket, Verdict::Unavailable);
        }
    }

    fn start(&self) -> io::Result<Thread> {
        let (questions, asked) = channel::<(Ticket, Arc<Question>)>();
        let (hub, bell, log) = (Arc::clone(&self.hub), Arc::clone(&self.bell), Arc::clone(&self.log));
        let moot = Arc::new(AtomicBool::new(false));
        let is_moot = Arc::clone(&moot);
        let work = move || {
            while let Ok((ticket, question)) = asked.recv()
                && !is_moot.load(Ordering::Relaxed)
            {
                bell.answer(ticket, verdict(&hub, &log, &question));
            }
        };
        let handle = Builder::new().name("hub/callers".to_owned()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(Thread { questions, moot, handle })
    }

    /// Waits until the thread has ended, so that nobody has the database when it is closed. The edge asks no more.
    pub(super) fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Thread { questions, moot, handle }) = thread {
            moot.store(true, Ordering::Relaxed);
            drop(questions);
            // After a panic it has ended, too.
            let _ = handle.join();
        }
    }
}

fn verdict(hub: &Hub, log: &Log, question: &Question) -> Verdict {
    if let Some(denied) = question.visit.as_ref().and_then(|visit| denied(hub, question, visit)) {
        return denied;
    }
    let Question { module, authorization, method, target, is_to_tell, .. } = question;
    let Some(authorization) = authorization.as_deref().filter(|_| *is_to_tell) else { return Verdict::Passes(None) };
    match hub.prove_caller(module, authorization, method, target) {
        Ok(None) => Verdict::Passes(None),
        Ok(Some((Active(claims), Proof { at, mac }))) => Verdict::Passes(Some(Caller {
            subject: claims.sub,
            scope: claims.scope,
            token_id: claims.jti,
            proven_at: at,
            proof: mac,
        })),
        Err(error) => {
            log(&format!("a caller of {module} cannot be identified: {error}"));
            Verdict::Unavailable
        }
    }
}
