//! Those who wait for a start, a stop or a restart of one module.

use super::inbox::Reply;
use super::lifecycle::Module;
use super::{OpFailure, Snapshot, Status};

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Up,
    Down,
}

struct Waiter {
    reply: Reply,
    wants: Wants,
}

/// Everybody who waits for this module. Bounded by the callers: each blocks until it is answered.
#[derive(Default)]
pub(super) struct Waiters {
    list: Vec<Waiter>,
}

impl Waiters {
    /// From now on the module is to be up, or down. Whoever waited for the opposite learns that somebody else decided
    /// otherwise.
    pub(super) fn expect(&mut self, wants: Wants, reply: Option<Reply>, snapshot: &Snapshot) {
        self.list.retain(|waiter| {
            let stays = waiter.wants == wants;
            if !stays {
                // Whoever gave up waiting needs no answer.
                let _ = waiter.reply.send(Err(OpFailure::Superseded(Box::new(snapshot.clone()))));
            }
            stays
        });
        if let Some(reply) = reply {
            self.list.push(Waiter { reply, wants });
        }
    }

    /// Answers everybody for whom the module's state is an answer.
    pub(super) fn answer(&mut self, module: &Module, snapshot: &Snapshot) {
        let boxed = || Box::new(snapshot.clone());
        self.list.retain(|waiter| {
            let answer = match waiter.wants {
                Wants::Down if module.is_at_rest() => Ok(snapshot.clone()),
                Wants::Down | Wants::Up if module.is_stuck() => Err(OpFailure::StopTimeout(boxed())),
                Wants::Up if module.is_ready() || module.is_unbound() => Ok(snapshot.clone()),
                // Ended well within its own policy: a job that was quick.
                Wants::Up if module.is_at_rest() && module.status() == Status::Stopped => Ok(snapshot.clone()),
                Wants::Up if module.is_settled() => Err(OpFailure::NotStarted(boxed())),
                Wants::Down | Wants::Up => return true,
            };
            let _ = waiter.reply.send(answer);
            false
        });
    }
}
