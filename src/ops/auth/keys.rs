//! A new signing key, together with an operator token under it (operator-token B8).

use super::operator::{GRACE_S, Renewed};
use super::{Asker, AuthError, Authority, bound, random_name, random_secret, unix_now};
use crate::db::{CreatedVia, Retire, Via};
use crate::store::operator_token;
use crate::token::claims::OWNER_HUB;
use crate::token::keyring::{Keyring, Master, MasterState, Secret};
use crate::token::scope::ScopeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// When the keys before stop verifying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// With the last token that they signed.
    Full,
    Grace(Duration),
    /// At once, with all that they signed: for a leak, or a home that was copied.
    None,
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyChange {
    pub(crate) kid: String,
    /// Unix seconds.
    pub(crate) created_at: i64,
    /// Until when the key before still verifies, in Unix seconds.
    pub(crate) verify_until: Option<i64>,
    /// Tokens that end before their time, as jti and subject.
    pub(crate) ending: Vec<(String, String)>,
    pub(crate) operator: Renewed,
}

impl Authority {
    /// What a stored secret signs with.
    fn master(&self, stored: &[u8; 32]) -> Secret {
        bound(Secret::take(&mut { *stored }), self.file_key.as_ref())
    }

    /// A new key, and nothing that an earlier one has signed is good any more. How many tokens that ends.
    pub(super) fn void_all_keys(&self, now_unix: i64) -> Result<usize, AuthError> {
        let by_hub = Asker { via: Via::Hub, peer: None };
        Ok(self.rotate_key_at(Overlap::None, None, by_hub, now_unix)?.ending.len())
    }

    /// Makes a new key and a new operator token in one transaction, then writes the token. When that last step fails,
    /// `rotate-operator` puts it right. The token has the `set`, else that of the one before it; see
    /// [`Authority::rotate_operator`].
    pub(crate) fn rotate_key(
        &self,
        overlap: Overlap,
        set: Option<ScopeSet>,
        asker: Asker<'_>,
    ) -> Result<KeyChange, AuthError> {
        self.rotate_key_at(overlap, set, asker, unix_now())
    }

    pub(super) fn rotate_key_at(
        &self,
        overlap: Overlap,
        set: Option<ScopeSet>,
        asker: Asker<'_>,
        now_unix: i64,
    ) -> Result<KeyChange, AuthError> {
        let _lock = operator_token::lock(&self.home)?;
        if let Some(rolled_back) = self.rolled_back()
            && overlap != Overlap::None
        {
            return Err(AuthError::RolledBack(rolled_back));
        }
        let (set, sub) = self.next_set(set, now_unix)?;
        let stored = random_secret();
        let master =
            Master { kid: random_name::<8>(), secret: self.master(stored.expose()), state: MasterState::Active };
        let keyring = Keyring::new(std::slice::from_ref(&master), &[OWNER_HUB]);
        let draft = self.draft(&keyring, set, &sub, now_unix)?;
        let retire = match overlap {
            Overlap::Full => Retire::WithLastToken,
            Overlap::Grace(grace) => {
                Retire::At(now_unix.saturating_add(i64::try_from(grace.as_secs()).unwrap_or(i64::MAX)))
            }
            Overlap::None => Retire::Now,
        };
        let entry = draft.entry("key.rotate", &asker);
        let rotated = self
            .db
            .keys()
            .rotate(
                &master.kid,
                stored.expose(),
                retire,
                &draft.row(CreatedVia::Rotate),
                now_unix + GRACE_S,
                self.epoch.load(Ordering::Relaxed),
                &entry,
                now_unix,
            )?
            .ok_or(AuthError::TooManyKeys)?;
        self.note_epoch();
        self.refresh(now_unix)?;
        operator_token::write(&self.home, &draft.minted.text)?;
        Ok(KeyChange {
            kid: master.kid,
            created_at: now_unix,
            verify_until: rotated.verify_until,
            ending: rotated.ending,
            operator: draft.renewed(set, 1),
        })
    }
}
