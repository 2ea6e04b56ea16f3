//! Proofs for one child of a module that it is the hub who names a caller (operator-token B9, option 3).

use super::claims::Claims;
use super::hex;
use super::keyring::{Secret, hmac};
use hmac::Mac;

/// What a proof holds for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attested<'a> {
    pub(crate) method: &'a str,
    /// Path and query, as the module sees them.
    pub(crate) target: &'a str,
    pub(crate) claims: &'a Claims,
    /// Unix seconds.
    pub(crate) at: u64,
}

impl Attested<'_> {
    /// HMAC-SHA256 in hex, under the key of the child, over method, target, token number and time, each with a line
    /// feed behind it, and over subject and scope, which B9 leaves out: with them no proof fits another caller's name.
    pub(crate) fn under(&self, key: &Secret) -> String {
        let Self { method, target, claims, at } = *self;
        let mut mac = hmac(key.expose());
        for word in [method, target, &claims.jti, &at.to_string(), &claims.sub] {
            mac.update(word.as_bytes());
            mac.update(b"\n");
        }
        mac.update(claims.scope.as_bytes());
        hex::encode(&mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::tests::claims;

    #[test]
    fn the_proof_is_the_one_that_other_programs_compute() {
        let claims = Claims {
            jti: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            sub: "ann".to_owned(),
            scope: "wiki:read".to_owned(),
            ..claims()
        };
        let attested = Attested { method: "GET", target: "/a?b", claims: &claims, at: 1_800_000_000 };
        // printf 'GET\n/a?b\nAAAAAAAAAAAAAAAAAAAAAA\n1800000000\nann\nwiki:read' | openssl dgst -sha256 -mac HMAC \
        //     -macopt hexkey:0707…07
        assert_eq!(
            attested.under(&Secret::take(&mut [7; 32])),
            "d386eb290981b4cb0fe2845086b2ae0cbaa9b85c64f5497877b5e930736e9a59"
        );
    }

    #[test]
    fn every_part_of_it_counts() {
        let claims = claims();
        let one = Attested { method: "GET", target: "/a", claims: &claims, at: 1 };
        let key = || Secret::take(&mut [7; 32]);
        let other = |sub: &str, scope: &str, jti: &str| Claims {
            sub: sub.to_owned(),
            scope: scope.to_owned(),
            jti: jti.to_owned(),
            ..claims.clone()
        };
        let (sub, scope, jti) = (&claims.sub, &claims.scope, &claims.jti);
        for claims in [&other("x", scope, jti), &other(sub, "x:read", jti), &other(sub, scope, "x")] {
            assert_ne!(Attested { claims, ..one }.under(&key()), one.under(&key()), "{claims:?}");
        }
        for attested in
            [Attested { method: "GETX", ..one }, Attested { target: "/ab", ..one }, Attested { at: 2, ..one }]
        {
            assert_ne!(attested.under(&key()), one.under(&key()), "{attested:?}");
        }
        assert_ne!(one.under(&Secret::take(&mut [8; 32])), one.under(&key()));
    }
}
