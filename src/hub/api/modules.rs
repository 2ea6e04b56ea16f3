//! `/api/modules`: the list, one module, and what can be done with it.

use super::{bad_number, short};
use crate::hub::reply::{Outcome, Reply};
use crate::hub::request::Req;
use crate::manifest::Short;
use crate::ops::{Answer, Hub, OpError};
use crate::wire::OpReply;
use std::sync::Arc;

pub(in crate::hub) fn list(hub: &Arc<Hub>, _req: &Req) -> Outcome {
    Reply::json(200, &hub.modules()).into()
}

pub(in crate::hub) fn show(hub: &Arc<Hub>, req: &Req) -> Outcome {
    let short = match short(req) {
        Ok(short) => short,
        Err(reply) => return reply.into(),
    };
    match hub.module(&short) {
        Some(module) => Reply::json(200, &module).into(),
        None => {
            let error = OpError::NotInstalled { short };
            Reply::error(404, error.code(), error.to_string()).into()
        }
    }
}

pub(in crate::hub) fn start(hub: &Arc<Hub>, req: &Req) -> Outcome {
    operation(hub, req, Hub::start)
}

pub(in crate::hub) fn stop(hub: &Arc<Hub>, req: &Req) -> Outcome {
    operation(hub, req, Hub::stop)
}

pub(in crate::hub) fn restart(hub: &Arc<Hub>, req: &Req) -> Outcome {
    operation(hub, req, Hub::restart)
}

/// Takes as long as the module takes to come up or to end, so it has a thread of its own. It goes on when its client
/// leaves: half a restart is in nobody's interest. With `wait=0` it is answered, with 202, when it has only been ordered.
fn operation(hub: &Arc<Hub>, req: &Req, act: fn(&Hub, &Short, Answer) -> Result<OpReply, OpError>) -> Outcome {
    let short = match short(req) {
        Ok(short) => short,
        Err(reply) => return reply.into(),
    };
    let answer = match req.number("wait", 0) {
        Ok(None) => Answer::WhenDone,
        Ok(Some(_)) => Answer::AtOnce,
        Err(bad) => return bad_number(bad).into(),
    };
    let hub = Arc::clone(hub);
    Outcome::Later(Box::new(move |_| match act(&hub, &short, answer) {
        Ok(reply) if answer == Answer::AtOnce && reply.state.is_some() => Reply::json(202, &reply),
        Ok(reply) => Reply::json(200, &reply),
        Err(error) => Reply::op_error(&error),
    }))
}
