//! Files below the home: safe writes, size caps, locks, `.env`, state. Must not know HTTP, argv or processes.

pub(crate) mod operator_token;
