//! Pure: a request whose module does not answer: it waits, is sent again, or its caller is told.

use super::{Progress, Relay, Unavailable, Upstream};
use crate::edge::answer::Answer;
use crate::edge::denial::Denial;
use crate::edge::hold::{self, Next};
use crate::edge::route::Table;
use crate::supervisor::standing::Standing;
use std::time::Instant;

impl Relay {
    pub(crate) fn standing(&self) -> Option<Standing> {
        self.module.as_ref().and_then(|module| module.standing())
    }

    /// Looks up where its module is now, which may have moved to another port while it waited. False when the module is not
    /// there any more under the same rules: what let the request in does not hold for what is there instead.
    pub(crate) fn renew(&mut self, table: &Table) -> bool {
        let Some(module) = &mut self.module else { return true };
        let Some(now) = table.successor(module) else { return false };
        module.clone_from(now);
        true
    }

    /// Whether it has to wait before anything is tried.
    pub(crate) fn hold_before(&mut self, now: Instant) -> Option<Answer<'static>> {
        match hold::before(self.standing()) {
            Next::Connect => None,
            next => self.follow(next, now),
        }
    }

    /// Does what was decided about a module that does not answer; an answer is what its caller is told.
    fn follow(&mut self, next: Next, now: Instant) -> Option<Answer<'static>> {
        let failed = match next {
            Next::Connect => {
                self.waiting = None;
                self.upstream = Upstream::Wanted { fresh: false, identified: false };
                return None;
            }
            Next::Hold => None,
            Next::Settle => self.tried,
            Next::Starting => return Some(Answer::ModuleStarting),
            Next::Unreachable => return Some(Answer::ModuleUnreachable),
        };
        if matches!(self.upstream, Upstream::Waiting { failed: before, .. } if before == failed) {
            return None;
        }
        let module = self.module.as_ref()?;
        if module.mount.hold.is_zero() {
            return Some(self.told_at_once(now));
        }
        let hold = module.mount.hold;
        let until = if failed.is_some() { now + hold::SETTLE } else { *self.hold_until.get_or_insert(now + hold) };
        if self.waiting.is_none() {
            self.waiting = module.wait(self.request.most_held);
            if self.waiting.is_none() {
                return Some(Answer::ModuleStarting);
            }
        }
        self.upstream = Upstream::Waiting { until, failed };
        // What changed before there was a place was told to nobody.
        match hold::while_waiting(self.standing(), failed, now >= until, now) {
            same if same == next => None,
            other => self.follow(other, now),
        }
    }

    /// What a caller is told whose module is not waited for.
    fn told_at_once(&self, now: Instant) -> Answer<'static> {
        match hold::after_failure(self.standing(), true, now) {
            Next::Unreachable => Answer::ModuleUnreachable,
            Next::Connect | Next::Hold | Next::Settle | Next::Starting => Answer::ModuleStarting,
        }
    }

    /// What to do after a failure. A child that took the place of the one that was tried has not failed yet.
    fn after_failure(&self, now: Instant) -> Next {
        match self.standing() {
            standing @ Some(Standing::Up { .. }) if standing != self.tried => Next::Connect,
            standing => hold::after_failure(standing, false, now),
        }
    }

    /// The module could not be reached.
    fn unreached(&mut self, now: Instant) -> Progress {
        let next = self.after_failure(now);
        self.follow(next, now).map_or(Progress::Waiting, Progress::Failed)
    }

    /// Whether it waits for a word about its module.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.upstream, Upstream::Waiting { .. })
    }

    /// What its caller is told who has waited for nothing; `None`: it waits on, does not wait, or is to try now.
    pub(super) fn look_again(&mut self, now: Instant) -> Option<Answer<'static>> {
        let Upstream::Waiting { until, failed } = self.upstream else { return None };
        let standing = self.standing();
        let next = hold::while_waiting(standing, failed, now >= until, now);
        let failure = self.follow(next, now)?;
        // It is up, took the request and hung up on it: that is no module on its way.
        let hung_up = self.repeats > 0 && matches!(standing, Some(Standing::Up { .. }));
        Some(if hung_up { Answer::UpstreamUnreachable } else { failure })
    }

    /// What follows while there is no head.
    pub(super) fn without_head(&mut self, now: Instant) -> Progress {
        match self.upstream {
            Upstream::Collecting { .. }
            | Upstream::Wanted { .. }
            | Upstream::Waiting { .. }
            | Upstream::Identifying { .. }
            | Upstream::Opening { .. }
            | Upstream::Open { .. }
            | Upstream::Deaf { .. } => Progress::Waiting,
            Upstream::Refused(Unavailable::Busy) => Progress::Failed(Answer::Busy),
            Upstream::Refused(Unavailable::Denied(why)) => Progress::Failed(Answer::Denied(why)),
            Upstream::Refused(Unavailable::Unidentified) if !self.is_let_in() => {
                Progress::Failed(Answer::Denied(Denial::Unavailable))
            }
            Upstream::Refused(Unavailable::Unidentified) => Progress::Failed(Answer::AuthUnavailable),
            Upstream::Refused(Unavailable::Down) if self.module.is_some() => self.unreached(now),
            Upstream::Refused(Unavailable::Down) => Progress::Failed(Answer::HubDown),
            Upstream::Ended { reused, .. } => {
                let unheard = self.from_upstream.is_empty() && self.interim == 0;
                let repeatable = self.request.idempotent || !self.to_upstream.has_sent();
                if !unheard || !repeatable || !self.to_upstream.was_kept() || self.has_worn_out() {
                    return Progress::Failed(Answer::UpstreamUnreachable);
                }
                self.to_upstream.rewind();
                self.repeats += 1;
                if reused {
                    self.upstream = Upstream::Wanted { fresh: true, identified: false };
                    Progress::Waiting
                } else {
                    // It hung up on a request that had just reached it: it is ending, or it does so every time.
                    let waits = self.module.as_ref().is_some_and(|module| !module.mount.hold.is_zero());
                    match self.after_failure(now) {
                        next @ (Next::Hold | Next::Settle | Next::Connect) if waits => {
                            self.follow(next, now).map_or(Progress::Waiting, Progress::Failed)
                        }
                        _ => Progress::Failed(Answer::UpstreamUnreachable),
                    }
                }
            }
        }
    }
}
