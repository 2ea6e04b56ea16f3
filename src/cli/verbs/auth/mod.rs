//! `auth`: tokens and keys. What the hub offers over HTTP is asked of the hub while it is up, and done on its database,
//! by the same functions, while it is down. What mends a lost or leaked secret goes to the database either way.

pub(super) mod desk;
mod keys;
mod secret_file;
mod tokens;

use crate::cli::exit::Failure;
use crate::cli::out::{Out, Report};
use crate::cli::parse::Auth;
use crate::cli::reach;
use crate::config::Config;
use crate::ops::tokens::ListQuery;
use crate::store::{Create, Home};
use desk::{Desk, To};
use std::time::Duration;

pub(super) fn run(auth: Auth, timeout: Option<Duration>, config: &Config, out: &mut Out) -> Result<Report, Failure> {
    let home = Home::open(&config.home, Create::No).map_err(|error| reach::store_failure(&error))?;
    match auth {
        Auth::RotateOperator { set, keep_old } => keys::rotate_operator(&home, config, set, keep_old, out),
        Auth::RotateKey { overlap, set } => keys::rotate_key(&home, config, overlap, set, out),
        Auth::ModuleKey { name, file, remove } => keys::module_key(&home, config, &name, file.as_deref(), remove, out),
        Auth::Show { jti: None } => tokens::show_own(&home, config, out),
        Auth::Mint(mint) => tokens::mint(&Desk::open(To::Change, &home, config, timeout, out)?, mint, out),
        Auth::List { revoked, active, subject, via } => tokens::list(
            &Desk::open(To::Look, &home, config, timeout, out)?,
            ListQuery { revoked, active, subject, created_via: via, cursor: None },
            out,
        ),
        Auth::Show { jti: Some(jti) } => tokens::show(&Desk::open(To::Look, &home, config, timeout, out)?, &jti, out),
        Auth::Revoke { jti, cascade } => {
            tokens::revoke(&Desk::open(To::Change, &home, config, timeout, out)?, &jti, cascade, out)
        }
        Auth::RevokeAll { subject } => {
            tokens::revoke_all(&Desk::open(To::Change, &home, config, timeout, out)?, &subject, out)
        }
        Auth::Log { lines } => tokens::log(&Desk::open(To::Look, &home, config, timeout, out)?, lines, out),
    }
}
