//! The calls of `/api/auth`.

use super::{Client, ClientError, Method, Sending};
use crate::wire::login::OpenReply;
use crate::wire::tokens::{
    IsActive, LogReply, MintRequest, Minted, RenewalReply, RevokeAllReply, RevokeAllRequest, RevokeReply,
    RevokeRequest, TokenInfo, TokenList,
};

impl Client {
    pub(crate) fn mint(&self, request: &MintRequest) -> Result<Minted, ClientError> {
        self.send("the token", "/api/auth/mint-token", Sending::Post, request)
    }

    pub(crate) fn revoke(&self, jti: &str, cascade: bool) -> Result<RevokeReply, ClientError> {
        let request = RevokeRequest { jti: jti.to_owned(), cascade: Some(cascade) };
        self.send("the revocation", "/api/auth/revoke-token", Sending::Post, &request)
    }

    pub(crate) fn revoke_all(&self, subject: &str) -> Result<RevokeAllReply, ClientError> {
        let request = RevokeAllRequest { subject: subject.to_owned() };
        self.send("the revocation", "/api/auth/revoke-all", Sending::Post, &request)
    }

    /// Asks for the operator's token to be renewed if it is time to. The hub writes the new one into its file.
    pub(crate) fn renew_operator(&self) -> Result<RenewalReply, ClientError> {
        self.call("the new operator token", "/api/auth/operator/rotate", Method::Post)
    }

    /// An address that lets one browser in, and leads it to `page`; with `here` on this machine, whatever the origin is.
    pub(crate) fn open_login(&self, page: Option<&str>, here: bool) -> Result<OpenReply, ClientError> {
        let page = page.map(|page| format!("path={}", encoded(page)));
        let query: Vec<String> = page.into_iter().chain(here.then(|| "here=1".to_owned())).collect();
        self.call("the address", &format!("/api/auth/open?{}", query.join("&")), Method::Post)
    }

    /// Whether a token is good for a module, asked as the module asks: with its `key` and not our token.
    pub(crate) fn introspect(&self, key: &str, token: &str) -> Result<IsActive, ClientError> {
        let what = "the answer to a module";
        let (url, key) = (self.url("/oauth/introspect"), format!("Bearer {key}"));
        let answer = self.ask(what, self.timeout, Method::Post, || {
            let request = self.bound(self.agent.post(&url), self.timeout).header("authorization", &key);
            request.send_form([("token", token)])
        })?;
        self.read(what, self.timeout, answer)
    }

    /// A page of the registry. Values that are not there are any.
    pub(crate) fn tokens(
        &self,
        revoked: Option<bool>,
        active: Option<bool>,
        subject: Option<&str>,
        via: Option<&str>,
        cursor: Option<&str>,
    ) -> Result<TokenList, ClientError> {
        let either = |wanted: Option<bool>| wanted.map_or("all", |yes| if yes { "true" } else { "false" });
        let mut path = format!("/api/auth/tokens?revoked={}&active={}", either(revoked), either(active));
        for (name, value) in [("subject", subject), ("created_via", via), ("cursor", cursor)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        self.call("the tokens", &path, Method::Get)
    }

    pub(crate) fn token(&self, jti: &str) -> Result<TokenInfo, ClientError> {
        self.call("the token", &format!("/api/auth/tokens/{}", encoded(jti)), Method::Get)
    }

    pub(crate) fn auth_log(&self, lines: u32) -> Result<LogReply, ClientError> {
        self.call("the audit log", &format!("/api/auth/log?n={lines}"), Method::Get)
    }
}

/// As one value of a query, or one segment of a path.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn a_value_stays_one_value() {
        for (text, expected) in
            [("aZ-_9", "aZ-_9"), ("a b&c=d/..", "a%20b%26c%3Dd%2F%2E%2E"), ("é", "%C3%A9"), ("", "")]
        {
            assert_eq!(encoded(text), expected);
        }
    }
}
