//! Pure: a request about whose caller the hub is asked.

use super::{Relay, Unavailable, Upstream};
use crate::edge::identity::{Question, Verdict};
use std::sync::Arc;
use std::time::Instant;

impl Relay {
    /// What to ask the hub before a socket is asked for, if anything.
    pub(crate) fn identify(&mut self, fresh: bool, now: Instant) -> Option<Arc<Question>> {
        let identity = self.identity.as_ref()?;
        self.upstream = Upstream::Identifying { since: now, fresh };
        Some(identity.question())
    }

    /// The hub's answer to that.
    pub(crate) fn identified(&mut self, verdict: &Verdict) {
        let (Upstream::Identifying { fresh, .. }, Some(identity)) = (self.upstream, &mut self.identity) else { return };
        let caller = match verdict {
            Verdict::Passes(caller) => caller.as_ref(),
            Verdict::Denied { why, lacks } => {
                if let Some(visiting) = &mut self.visiting {
                    visiting.lacks.clone_from(lacks);
                }
                self.upstream = Upstream::Refused(Unavailable::Denied(*why));
                return;
            }
            Verdict::Unavailable => {
                self.upstream = Upstream::Refused(Unavailable::Unidentified);
                return;
            }
        };
        identity.tell(caller, &mut self.to_upstream);
        if let Some(visiting) = &mut self.visiting {
            visiting.is_in = true;
        }
        self.upstream = Upstream::Wanted { fresh, identified: true };
    }

    /// Whether nothing is against it but perhaps its module.
    pub(crate) fn is_let_in(&self) -> bool {
        self.visiting.as_ref().is_none_or(|visiting| visiting.is_in)
    }
}
