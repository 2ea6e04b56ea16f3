//! Pure: a module that asks for it is told who its caller is, with a proof that it is the hub who says so
//! (operator-token B9, option 3). Whether a caller may see a page is asked with the same question.
//!
//! Whether a token is good only the hub's database knows, and nobody waits for that on the edge's thread: the request
//! waits instead, like one whose module is on its way. It asks again before every further try, because a proof is good
//! for one child of the module only, and for half a minute.

use super::buffer::Outgoing;
use super::denial::Denial;
use super::headers;
use super::slab::Key;
use super::visit::Visit;
use crate::manifest::Short;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// For an answer; longer than the database is ever waited for.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Which request an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(super) client: Key,
    pub(super) exchange: u64,
}

/// Asks who shows a module this, and whether they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The module whose process answers the request.
    pub(crate) module: Short,
    /// The value of the request's `Authorization` field; empty where it is no text, or there are several.
    pub(crate) authorization: Option<String>,
    /// As the module sees it, like `target`, which has the query.
    pub(crate) method: String,
    pub(crate) target: String,
    /// The module is to be told.
    pub(crate) is_to_tell: bool,
    /// It is for a page that not everybody may see.
    pub(crate) visit: Option<Visit>,
}

/// What the hub says to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may go on. `None`: nobody that the module needs to know, with no token, or none that is good for it.
    Passes(Option<Caller>),
    /// It may not see the page; what its token `lacks`, where that is why.
    Denied { why: Denial, lacks: Option<String> },
    /// The hub cannot say.
    Unavailable,
}

/// Whoever holds a token that is good for the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) subject: String,
    /// Separated by single spaces.
    pub(crate) scope: String,
    pub(crate) token_id: String,
    /// When the proof was made, in Unix seconds.
    pub(crate) proven_at: u64,
    /// In hex.
    pub(crate) proof: String,
}

/// What a request's module is to be told of its caller.
pub(crate) struct Identity {
    question: Arc<Question>,
    /// Where in the request's head it is told, in bytes, and how many of them tell it now.
    at: usize,
    told_bytes: usize,
}

impl Identity {
    /// For a request whose whole head is written; `None` when that is no head, or there is nothing to ask. `shown` are the
    /// values of its `Authorization` fields. With several of them nobody is told of anybody: who is asking is unclear.
    pub(crate) fn new<'a>(
        module: Short,
        mut shown: impl Iterator<Item = &'a [u8]>,
        is_to_tell: bool,
        mut visit: Option<Visit>,
        head: &[u8],
    ) -> Option<Self> {
        let (first, is_one) = (shown.next(), shown.next().is_none());
        let is_to_tell = is_to_tell && is_one && first.is_some();
        if !is_to_tell && visit.is_none() {
            return None;
        }
        let mut words = head.split(|byte| *byte == b' ');
        let mut word = || Some(std::str::from_utf8(words.next()?).ok()?.to_owned());
        let (method, target) = (word()?, word()?);
        // A token is ASCII; with anything else nobody shows one.
        let text = |value| std::str::from_utf8(value).unwrap_or_default().to_owned();
        let authorization = first.map(|value| if is_one { text(value) } else { String::new() });
        if let Some(visit) = &mut visit {
            visit.read_sender(head);
        }
        let question = Arc::new(Question { module, authorization, method, target, is_to_tell, visit });
        let at = head.len().checked_sub(END_OF_HEAD.len()).filter(|_| head.ends_with(END_OF_HEAD))?;
        Some(Self { question, at, told_bytes: 0 })
    }

    pub(crate) fn question(&self) -> Arc<Question> {
        Arc::clone(&self.question)
    }

    /// Writes what is known into the head, of which nothing has been sent, in the place of what was known before.
    pub(crate) fn tell(&mut self, caller: Option<&Caller>, request: &mut Outgoing) {
        let mut fields = Vec::new();
        if let Some(caller) = caller {
            headers::write_caller(caller, &mut fields);
        }
        let told_bytes = mem::replace(&mut self.told_bytes, fields.len());
        request.replace(self.at..self.at + told_bytes, fields);
    }
}

/// The empty line; the fields before it end with their own line ends.
const END_OF_HEAD: &[u8] = b"\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::gates::{Needs, Whom};

    fn caller(subject: &str) -> Caller {
        Caller {
            subject: subject.to_owned(),
            scope: "wiki:read wiki:write".to_owned(),
            token_id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            proven_at: 1_800_000_000,
            proof: "ab".repeat(32),
        }
    }

    fn request(head: &str, body: &str) -> Outgoing {
        let mut request = Outgoing::default();
        request.tail().extend_from_slice(head.as_bytes());
        request.tail().extend_from_slice(body.as_bytes());
        request
    }

    const HEAD: &str = "PUT /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n";

    fn identity(shown: &[&'static [u8]], is_to_tell: bool, visit: Option<Visit>, head: &str) -> Option<Identity> {
        let module = Short::parse("wiki").expect("a name");
        Identity::new(module, shown.iter().copied(), is_to_tell, visit, head.as_bytes())
    }

    #[test]
    fn the_question_is_about_what_the_module_sees() {
        let asked = identity(&[b"Bearer x"], true, None, HEAD).expect("a head");
        let expected = Question {
            module: Short::parse("wiki").expect("a name"),
            authorization: Some("Bearer x".to_owned()),
            method: "PUT".to_owned(),
            target: "/a?b=c".to_owned(),
            is_to_tell: true,
            visit: None,
        };
        assert_eq!(*asked.question(), expected);
        for no_head in ["", "\r\n", "GET", "GET /", "GET / HTTP/1.1"] {
            assert!(identity(&[b""], true, None, no_head).is_none(), "{no_head:?}");
        }
    }

    #[test]
    fn only_somebody_who_shows_one_thing_is_told_of_and_only_something_is_asked() {
        let needs = Arc::new(Needs { whom: Whom::Operator, ..Needs::NONE });
        let visit = Visit { needs, cookies: Vec::new(), sender: Vec::new(), can_change: true };
        for (shown, wanted, authorization, is_to_tell) in [
            (&[b"Bearer x".as_slice()][..], true, Some("Bearer x"), true),
            (&[b"Bearer x"], false, Some("Bearer x"), false),
            (&[b"Bearer \xff"], true, Some(""), true),
            (&[b"Bearer x", b"Bearer x"], true, Some(""), false),
            (&[], true, None, false),
        ] {
            let plain = identity(shown, wanted, None, HEAD);
            assert_eq!(plain.is_some(), is_to_tell, "{shown:?}");
            let asked = identity(shown, wanted, Some(visit.clone()), HEAD).expect("a head").question();
            assert_eq!((asked.authorization.as_deref(), asked.is_to_tell), (authorization, is_to_tell), "{shown:?}");
            let sender = &asked.visit.as_ref().expect("a visit").sender;
            assert_eq!(sender[..], [("Host".to_owned(), "x".to_owned())]);
        }
    }

    #[test]
    fn what_is_told_stands_behind_the_other_fields_and_takes_the_place_of_what_was_told_before() {
        let mut identity = identity(&[b"Bearer x"], true, None, HEAD).expect("a head");
        let mut request = request(HEAD, "body");
        for (caller, subject) in
            [(Some(caller("ann")), Some("ann")), (Some(caller("a longer name")), Some("a longer name")), (None, None)]
        {
            identity.tell(caller.as_ref(), &mut request);
            let text = String::from_utf8(request.pending().to_vec()).expect("text");
            assert!(text.starts_with("PUT /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"), "{text}");
            assert!(text.ends_with("\r\n\r\nbody"), "{text}");
            let told: Vec<&str> = text.lines().filter(|line| line.starts_with("X-Parachute-")).collect();
            let expected = subject.map(|subject| {
                vec![
                    format!("X-Parachute-Subject: {subject}"),
                    "X-Parachute-Scope: wiki:read wiki:write".to_owned(),
                    "X-Parachute-Token-Id: AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
                    "X-Parachute-Proof-Time: 1800000000".to_owned(),
                    format!("X-Parachute-Proof: {}", "ab".repeat(32)),
                ]
            });
            assert_eq!(told, expected.unwrap_or_default());
        }
    }
}
