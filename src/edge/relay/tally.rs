//! Pure: what the access log says of an exchange.

use super::Relay;
use super::flow::count;
use crate::edge::access::{Author, Journal, Outcome};
use crate::edge::answer::Answer;
use std::time::Instant;

/// What is counted of it.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    /// Of the upstream's answer; `None` while there is none.
    pub(super) status: Option<u16>,
    /// Content on its way to the client, sent or not.
    pub(super) answer_bytes: u64,
    pub(super) request_bytes: u64,
}

impl Tally {
    /// So much of what was on its way will never arrive.
    pub(crate) fn lose(&mut self, bytes: usize) {
        self.answer_bytes = self.answer_bytes.saturating_sub(count(bytes));
    }
}

impl Relay {
    /// The exchange is over: its answer came to its end, or was broken off with so many bytes unsent.
    pub(crate) fn log(&mut self, complete: bool, unsent: usize, now: Instant, journal: &mut Journal) {
        let entry = self.entry.take();
        let Tally { status, answer_bytes, request_bytes } = self.tally;
        let by = match (status, &self.module) {
            (None, module) => Author::Edge(module.as_ref().map(|module| module.mount.short.as_str())),
            (Some(_), Some(module)) => Author::Module(module.mount.short.as_str()),
            (Some(_), None) => Author::Hub,
        };
        let bytes = answer_bytes.saturating_sub(count(unsent));
        journal.close(entry, &Outcome { status, by, bytes, received_bytes: request_bytes, complete }, now);
    }

    /// The exchange is over: the edge has given this answer, with so much content.
    pub(crate) fn log_answer(&mut self, answer: Answer<'_>, bytes: usize, now: Instant, journal: &mut Journal) {
        let entry = self.entry.take();
        let module = self.module.as_ref().map(|module| module.mount.short.as_str());
        let outcome = Outcome { received_bytes: self.tally.request_bytes, ..Outcome::of_edge(answer, module, bytes) };
        journal.close(entry, &outcome, now);
    }
}
