//! Files below the home: safe writes, size caps, locks, `.env`, state. Must not know HTTP, argv or processes.
//!
//! The rules for every file are files §14.2: written beside and renamed, never followed through a foreign symbolic
//! link, never read past its limit, never blocked on. Reads never write.

pub(crate) mod atomic;
pub(crate) mod children;
pub(crate) mod dotenv;
pub(crate) mod epoch;
mod error;
pub(crate) mod exposure;
mod home;
pub(crate) mod identity;
pub(crate) mod intent;
mod modes;
pub(crate) mod module_secrets;
pub(crate) mod modules;
pub(crate) mod operator_token;
pub(crate) mod private;
pub(crate) mod services;
pub(crate) mod signing_key;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub(crate) use error::StoreError;
pub(crate) use home::{Create, Home};
