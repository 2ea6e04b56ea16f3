//! tiny_http on the private socket: control API and pages. To the edge it is one more upstream.
//!
//! `server` turns sockets into [`request::Req`] and [`reply::Reply`] and knows no route; `routes` is the table and the
//! access check and knows no socket; `api` and `page` hold the handlers. Nothing here decides anything about modules.

pub(crate) mod api;
mod page;
mod redirect;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod routes;
pub(crate) mod sender;
pub(crate) mod server;
mod waiters;
