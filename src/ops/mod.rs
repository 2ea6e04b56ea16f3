//! What a hub can do, one file per ability. Knows neither HTTP nor argv.

pub(crate) mod auth;
