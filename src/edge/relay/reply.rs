//! Pure: the answer of an upstream, its head and its content.

use super::flow::pump;
use super::{MAX_BUFFER_BYTES, Progress, Relay, Reply, Request, Upstream};
use crate::edge::buffer::Outgoing;
use crate::edge::date::Date;
use crate::edge::framing::{self, Body, Coding, Reader};
use crate::edge::head::{self, Version};
use crate::edge::headers::{self, Author, Framed};

/// Interim answers, such as 103, before the real one; they are not passed on (see the folder's rule).
const MAX_INTERIM: u32 = 16;

impl Relay {
    /// Reads the answer's head; false while it is not complete. An error means that it is none.
    pub(super) fn read_head(
        &mut self,
        mut scanned: usize,
        date: Option<Date>,
        to_client: &mut Outgoing,
    ) -> Result<bool, ()> {
        if self.from_upstream.is_empty() {
            return Ok(false);
        }
        if !head::may_begin_answer(self.from_upstream.bytes()) {
            return Err(());
        }
        let Some(end) = head::end(self.from_upstream.bytes(), &mut scanned).map_err(drop)? else {
            self.reply = Reply::Head { scanned };
            return Ok(false);
        };
        let bytes = self.from_upstream.bytes().get(..end).unwrap_or_default();
        let response = head::response(bytes).map_err(drop)?;
        if response.status == 101 {
            // To another protocol than the one that was asked for, or without being asked at all.
            let agreed = response.version == Version::Http11 && response.fields.lists("upgrade", "websocket");
            if self.websocket.is_none() || !agreed {
                return Err(());
            }
            headers::write_switch(&response, to_client.tail());
            self.tally.status = Some(response.status);
            self.request.keep_alive = false;
            self.reply = Reply::Tunnel;
            self.to_upstream.forget_sent();
            self.from_upstream.consume(end);
            return Ok(true);
        }
        if response.status >= 200 {
            let Request { version, is_head, .. } = self.request;
            let body = framing::response_body(&response.fields, response.version, response.status, is_head);
            let body = body.map_err(drop)?;
            // What announces a body that it must not have may send it all the same, later, and then it would be taken for
            // the answer to the next request. To HEAD nearly every answer announces one, or leaves open whether there is:
            // a new connection costs less than a module that gets this wrong. To be sure of 304 costs nothing, as
            // servers that send many of them announce nothing.
            let announced = response.fields.has("transfer-encoding")
                || response.fields.first("content-length").is_some_and(|length| length != b"0");
            let may_go_on = match response.status {
                204 | 304 => announced,
                _ => is_head && (announced || !response.fields.has("content-length")),
            };
            let reusable = response.version == Version::Http11
                && body != Body::UntilClose
                && !may_go_on
                && !response.fields.lists("connection", "close");
            let (sent_as, coding) = match (body, version) {
                (Body::Chunked | Body::UntilClose, Version::Http11) => (Body::Chunked, Coding::Chunked),
                (Body::Chunked | Body::UntilClose, Version::Http10) => (Body::UntilClose, Coding::Plain),
                (Body::Empty | Body::Length(_), _) => (body, Coding::Plain),
            };
            // An answer before the end of the request: what is left of it would have to be read for nothing.
            self.request.keep_alive &= self.request.body.is_done() && version == Version::Http11;
            let (close, is_private) = (!self.request.keep_alive, self.visiting.is_some());
            let framed = Framed { body: sent_as, close, date, is_private };
            let by = if self.module.is_some() { Author::Module } else { Author::Hub };
            headers::write_response(&response, framed, by, to_client.tail());
            self.tally.status = Some(response.status);
            self.websocket = None;
            self.to_upstream.forget_sent();
            self.reply = Reply::Body { reader: Reader::new(body), coding, reusable };
        } else {
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(());
            }
            self.reply = Reply::Head { scanned: 0 };
        }
        self.from_upstream.consume(end);
        Ok(true)
    }

    pub(super) fn pass_reply(&mut self, to_client: &mut Outgoing) -> Progress {
        let Reply::Body { reader, coding, reusable } = &mut self.reply else { return Progress::Waiting };
        let moved = &mut self.tally.answer_bytes;
        if pump(reader, *coding, &mut self.from_upstream, (to_client, MAX_BUFFER_BYTES), moved, u64::MAX).is_err() {
            return Progress::Broken;
        }
        let ended = matches!(self.upstream, Upstream::Ended { .. });
        let complete = matches!(self.upstream, Upstream::Ended { cleanly: true, .. });
        if *reader == Reader::UntilClose && complete && self.from_upstream.is_empty() {
            *reader = Reader::Done;
            coding.finish(to_client.tail());
        }
        if reader.is_done() {
            let all_said = self.request.body.is_done() && self.to_upstream.is_empty();
            let open = matches!(self.upstream, Upstream::Open { .. });
            // Bytes behind the end belong to no request of ours: such a peer is not asked again.
            return Progress::Answered { reusable: *reusable && all_said && open && self.from_upstream.is_empty() };
        }
        if ended && self.from_upstream.is_empty() { Progress::Broken } else { Progress::Waiting }
    }
}
