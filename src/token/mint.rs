//! Claims to a signed token.

use super::claims::{Claims, Shape, is_jti, owner_of};
use super::keyring::Keyring;
use super::{TOKEN_LIMIT_BYTES, b64, sha256};
use std::fmt;

/// A signed token. It is valid only once its hash is in the registry.
pub(crate) struct Minted {
    pub(crate) text: String,
    /// What the registry keeps.
    pub(crate) sha256: [u8; 32],
    pub(crate) kid: String,
}

/// Why claims are not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MintError {
    /// Nobody owns the audience, or no active key signs for its owner.
    NoKey,
    /// Verification would refuse them.
    Claims(Shape),
    /// Longer than verification looks at.
    TooLong,
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => write!(f, "no active key signs tokens of this audience"),
            Self::Claims(shape) => write!(f, "the token's claims break the rule on {shape}"),
            Self::TooLong => write!(f, "the token would be longer than {TOKEN_LIMIT_BYTES} bytes"),
        }
    }
}

impl std::error::Error for MintError {}

/// Signs `claims` with the active key of the audience's owner.
pub(crate) fn sign(claims: &Claims, keyring: &Keyring) -> Result<Minted, MintError> {
    let key = owner_of(&claims.aud).and_then(|owner| keyring.active(owner)).ok_or(MintError::NoKey)?;
    claims.check().map_err(MintError::Claims)?;
    if !is_jti(&claims.jti) {
        return Err(MintError::Claims(Shape::Json));
    }
    let mut text = format!("{}.{}", key.header(), b64::encode(&claims.to_json()));
    let signature = b64::encode(&key.sign(text.as_bytes()));
    text.push('.');
    text.push_str(&signature);
    if text.len() > TOKEN_LIMIT_BYTES {
        return Err(MintError::TooLong);
    }
    Ok(Minted { sha256: sha256(text.as_bytes()), text, kid: key.kid().to_owned() })
}
