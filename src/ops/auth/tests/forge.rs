//! What whoever has the hub's keys and its database could make, for tests of all who ask the authority.

use super::*;

impl Authority {
    /// The claims of a token for the hub that it could have minted then, good for 1,000 seconds.
    pub(in crate::ops) fn claims_for_test(&self, now_unix: i64) -> Claims {
        let iat = u64::try_from(now_unix).expect("after 1970");
        Claims {
            v: 1,
            iss: self.origins().canonical.clone(),
            sub: "operator".into(),
            aud: "hub".into(),
            iat,
            nbf: iat,
            exp: iat + 1000,
            jti: random_name::<16>(),
            client_id: "test".into(),
            scope: HOST_AUTH.into(),
            vault_scope: Vec::new(),
            pa_scope_set: None,
            permissions: None,
            hid: self.hid.clone(),
        }
    }

    /// Any payload, signed with the key of `owner`.
    pub(in crate::ops) fn sign_for_test(&self, owner: &str, payload: &[u8]) -> String {
        let keyring = Keyring::new(&self.keys().masters, &[owner]);
        let key = keyring.active(owner).expect("there is a key");
        let signed = format!("{}.{}", key.header(), b64::encode(payload));
        format!("{signed}.{}", b64::encode(&key.sign(signed.as_bytes())))
    }

    /// Puts a token on record that has these claims.
    pub(in crate::ops) fn register_for_test(&self, claims: &Claims, token: &str) {
        register(self, claims, &sha256(token.as_bytes()), claims.exp);
    }

    /// Writes to the database what no caller of ours would.
    pub(in crate::ops) fn execute_for_test(&self, sql: &str) {
        self.db.execute_for_test(sql);
    }

    pub(in crate::ops) fn number_for_test(&self, sql: &str) -> i64 {
        self.db.number_for_test(sql)
    }
}
