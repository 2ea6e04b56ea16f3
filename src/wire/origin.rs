//! Pure: what is said about the hub's origin on the wire (http-api §8).

use serde::{Deserialize, Deserializer, Serialize};

/// `PUT /api/settings/hub-origin`. Null and an empty text mean that nobody says the origin; a missing field is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OriginRequest {
    #[serde(deserialize_with = "present")]
    pub(crate) hub_origin: Option<String>,
}

/// With a function of its own a field that may be null has to be there all the same.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.filter(|text| !text.is_empty()))
}

/// The answer to it, and to `GET`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OriginReply {
    /// What is stored.
    pub(crate) hub_origin: Option<String>,
    /// What tokens are issued under.
    pub(crate) resolved_issuer: String,
    /// `settings`, `env` or `request`.
    pub(crate) source: String,
    /// Whether this call has changed what holds.
    #[serde(default)]
    pub(crate) changed: bool,
    /// What followed, and what did not, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_nothing_take_it_back_and_a_missing_field_does_not() {
        let read = |text: &str| serde_json::from_str::<OriginRequest>(text).ok().map(|request| request.hub_origin);
        for (text, expected) in [
            (r#"{"hub_origin": "https://a.example"}"#, Some(Some("https://a.example".to_owned()))),
            (r#"{"hub_origin": null}"#, Some(None)),
            (r#"{"hub_origin": ""}"#, Some(None)),
            ("{}", None),
            (r#"{"hub_origin": 1}"#, None),
            (r#"{"hub_origin": null, "x": 1}"#, None),
            (r#"{"hub_origin": null, "hub_origin": "https://a.example"}"#, None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
