//! Attacks on verification as tables; the numbers are those of operator-token Part C.

use super::claims::{Claims, Shape, owner_of};
use super::is_hub_bearer;
use super::keyring::{FileKey, Keyring, Master, MasterState, Secret};
use super::mint::{self, MintError};
use super::scope::ScopeSet;
use super::verify::{self, Accept, Expect, TokenError, Verified};
use super::{TOKEN_LIMIT_BYTES, b64, from_authorization, same_hash, sha256};

mod fuzz;
mod payload;

const NOW: u64 = 1_800_000_000;
const KID: &str = "AAAAAAAAAAA";
const HID: &str = "00112233445566778899aabbccddeeff";
const ISSUER: &str = "http://127.0.0.1:1939";

fn master(kid: &str, first_byte: u8, state: MasterState) -> Master {
    let mut secret: [u8; 32] = std::array::from_fn(|index| first_byte + u8::try_from(index).expect("below 32"));
    Master { kid: kid.to_owned(), secret: Secret::take(&mut secret), state }
}

fn keyring() -> Keyring {
    Keyring::new(&[master(KID, 0, MasterState::Active)], &["hub"])
}

pub(super) fn claims() -> Claims {
    Claims {
        v: 1,
        iss: ISSUER.into(),
        sub: "operator".into(),
        aud: "operator".into(),
        iat: NOW,
        nbf: NOW,
        exp: NOW + 3600,
        jti: "abcdefghijklmnopqrstuv".into(),
        client_id: "parachute-hub".into(),
        scope: ScopeSet::Admin.scopes().into(),
        vault_scope: Vec::new(),
        pa_scope_set: Some("admin".into()),
        permissions: None,
        hid: HID.into(),
    }
}

fn check_at(token: &str, now_unix: i64) -> Result<Verified, TokenError> {
    let issuers = [ISSUER.to_owned(), "https://a.example".to_owned()];
    let expect = Expect { issuers: Some(&issuers), audience: Accept::Named(&["operator", "hub"]), hid: HID, now_unix };
    verify::check(token, &keyring(), &expect)
}

fn check(token: &str) -> Result<Verified, TokenError> {
    check_at(token, i64::try_from(NOW).expect("small"))
}

fn mint(claims: &Claims) -> String {
    mint::sign(claims, &keyring()).expect("good claims").text
}

/// Signs any header and payload with the right key, as a holder of the secret could.
fn signed_with(header: &str, payload: &[u8]) -> String {
    let keyring = keyring();
    let key = keyring.active("hub").expect("there is one");
    let signed = format!("{header}.{}", b64::encode(payload));
    let signature = b64::encode(&key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn signed(payload: &[u8]) -> String {
    signed_with(keyring().active("hub").expect("there is one").header(), payload)
}

fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<&str> = token.split('.').collect();
    parts.try_into().expect("three parts")
}

#[test]
fn what_is_minted_passes_and_says_the_same() {
    let token = mint(&claims());
    let verified = check(&token).expect("it was just minted");
    assert_eq!(verified.claims, claims());
    assert_eq!(verified.kid, KID);
    assert_eq!(verified.sha256, sha256(token.as_bytes()));
    assert_eq!(verified.key_usable_until, None);
    assert!(verified.scopes.contains("parachute:host:admin"));
}

/// The expected values were computed with Python's `hmac` and `base64`.
#[test]
fn derivation_and_signature_are_those_of_the_specification() {
    let keyring = keyring();
    let key = keyring.active("hub").expect("there is one");
    assert_eq!(key.header(), "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkFBQUFBQUFBQUFBLmh1YiJ9");
    assert_eq!(b64::encode(&key.sign(b"header.payload")), "V3zpXPfmdYSL_tTJXVDgcxi1fpO_VUv7QxXk4ABtp2M");
}

#[test]
fn c1_c2_c3_c4_c5_c7_a_header_that_is_not_ours_to_the_byte_is_no_key() {
    let with = |extra: &str| format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{KID}.hub"{extra}}}"#);
    let algorithm = |alg: &str| format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{KID}.hub"}}"#);
    let kid = |kid: &str| format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{kid}"}}"#);
    let payload = claims().to_json();
    assert!(check(&signed_with(&b64::encode(with("").as_bytes()), &payload)).is_ok(), "the one header that is good");

    let mut headers: Vec<String> = Vec::new();
    // C1, C2
    headers.extend(
        ["none", "None", "NONE", "", "hs256", "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA"].map(algorithm),
    );
    // C3
    headers.extend(
        [
            r#","jwk":{"kty":"oct","k":"AA"}"#,
            r#","jku":"http://127.0.0.1/k""#,
            r#","x5u":"http://127.0.0.1/k""#,
            r#","x5c":["AA"]"#,
            r#","crit":["exp"]"#,
            r#","crit":[]"#,
            r#","zip":"DEF""#,
            r#","b64":false"#,
        ]
        .map(with),
    );
    // C4
    headers.extend([
        format!(r#"{{"typ":"JWT","alg":"HS256","kid":"{KID}.hub"}}"#),
        format!(r#"{{"alg":"HS256","kid":"{KID}.hub","typ":"JWT"}}"#),
        format!(r#"{{ "alg":"HS256","typ":"JWT","kid":"{KID}.hub"}}"#),
        format!("{}\n", with("")),
        format!(r#"{{"alg":"HS256","alg":"HS256","typ":"JWT","kid":"{KID}.hub"}}"#),
        with(&format!(r#","kid":"{KID}.hub""#)),
        format!(r#"{{"alg":"HS256","kid":"{KID}.hub"}}"#),
        format!(r#"{{"alg":"HS256","typ":"jwt","kid":"{KID}.hub"}}"#),
        format!("\u{feff}{}", with("")),
        "{}".into(),
        "null".into(),
    ]);
    // C5, C7
    headers.push(r#"{"alg":"HS256","typ":"JWT"}"#.into());
    headers.extend(
        [
            "",
            ".hub",
            KID,
            "BBBBBBBBBBB.hub",
            "AAAAAAAAAAA.vault",
            "AAAAAAAAAAA.hub.hub",
            "AAAAAAAAAAA.",
            "' OR 1=1 --",
            "../../etc/passwd",
            "AAAAAAAAAAA\u{0}.hub",
        ]
        .map(kid),
    );
    for header in headers {
        let token = signed_with(&b64::encode(header.as_bytes()), &payload);
        assert_eq!(check(&token), Err(TokenError::Key), "{header:?}");
    }
    let huge = signed_with(&b64::encode(kid(&"k".repeat(10_000)).as_bytes()), &payload);
    assert_eq!(check(&huge), Err(TokenError::Encoding), "a kid of 10,000 bytes");
    let [_, payload, _] = parts(&huge);
    let unsigned = format!("{}.{payload}.", b64::encode(br#"{"alg":"none"}"#));
    assert_eq!(check(&unsigned), Err(TokenError::Encoding), "alg none with an empty signature");
}

/// C6
#[test]
fn c6_a_retired_key_verifies_until_its_time_and_never_signs() {
    let token = mint(&claims());
    let until = i64::try_from(NOW).expect("small") + 10;
    let rotated = Keyring::new(
        &[master("BBBBBBBBBBB", 7, MasterState::Active), master(KID, 0, MasterState::VerifyUntil(until))],
        &["hub"],
    );
    let issuers = [ISSUER.to_owned()];
    for (now_unix, expected) in
        [(until - 1, Ok(Some(until))), (until, Err(TokenError::Key)), (until + 1, Err(TokenError::Key))]
    {
        let expect = Expect { issuers: Some(&issuers), audience: Accept::Named(&["operator"]), hid: HID, now_unix };
        let found = verify::check(&token, &rotated, &expect).map(|verified| verified.key_usable_until);
        assert_eq!(found, expected, "{now_unix}");
    }
    assert_eq!(mint::sign(&claims(), &rotated).expect("an active key").kid, "BBBBBBBBBBB");
    let retired = Keyring::new(&[master(KID, 0, MasterState::VerifyUntil(until))], &["hub"]);
    assert_eq!(mint::sign(&claims(), &retired).err(), Some(MintError::NoKey));
}

/// C8
#[test]
fn c8_no_bit_of_a_token_can_be_flipped() {
    let token = mint(&claims());
    for position in 0..token.len() {
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[position] ^= 1 << bit;
            let changed = String::from_utf8(bytes).expect("still ASCII");
            assert!(check(&changed).is_err(), "byte {position}, bit {bit}");
        }
    }
}

/// C9, C10, C11, C12
#[test]
fn c9_c10_c11_c12_what_is_not_three_parts_of_canonical_base64url_is_malformed() {
    let token = mint(&claims());
    let [header, payload, signature] = parts(&token);
    let mac = b64::decode(signature.as_bytes()).expect("canonical");
    let resized = |length: usize| {
        let mut mac = mac.clone();
        mac.resize(length, 0);
        format!("{header}.{payload}.{}", b64::encode(&mac))
    };
    // 32 bytes leave two bits unused in the last character.
    let last = signature.as_bytes().last().copied().expect("43 characters");
    let twin = (0..=127_u8).map(char::from).find(|c| {
        let other = format!("{}{c}", &signature[..signature.len() - 1]);
        *c != char::from(last)
            && other.bytes().all(|b| b.is_ascii_alphanumeric())
            && b64::decode(other.as_bytes()).is_none()
    });
    let twin = twin.expect("three of four characters have unused bits");
    let too_long =
        format!("{header}.{}.{signature}", "A".repeat(TOKEN_LIMIT_BYTES + 1 - header.len() - 2 - signature.len()));
    assert_eq!(too_long.len(), TOKEN_LIMIT_BYTES + 1);
    for bad in [
        resized(0),
        resized(16),
        resized(31),
        resized(33),
        resized(64),
        format!("{header}.{payload}.{}{twin}", &signature[..signature.len() - 1]),
        format!("{token}="),
        format!("{token}=="),
        format!("{token}\n"),
        format!("{token} "),
        format!("{token}A"),
        format!("{header}.{payload}.+{}", &signature[1..]),
        format!("{header}.{payload}./{}", &signature[1..]),
        format!("{header}.{payload}.%41{}", &signature[3..]),
        format!("{header}.{payload}.é{}", &signature[2..]),
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        header.into(),
        format!("{header}.{payload}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{token}.{signature}"),
        format!("{header}.{payload}.{payload}.{payload}.{signature}"),
        too_long,
        "A".repeat(1 << 20),
    ] {
        assert_eq!(check(&bad), Err(TokenError::Encoding), "{:.80} ({} bytes)", bad, bad.len());
    }
    // Changed ahead of the signature: either there is no such key, or the signature is of something else.
    for (bad, error) in [
        (format!(" {token}"), TokenError::Key),
        (format!("\n{token}"), TokenError::Key),
        (format!("{header}=.{payload}.{signature}"), TokenError::Key),
        (format!("{header}.{payload}=.{signature}"), TokenError::Signature),
        (format!("{header}.{payload}A.{signature}"), TokenError::Signature),
    ] {
        assert_eq!(check(&bad), Err(error), "{bad}");
    }
    // The same, signed anew: the payload's second spelling is refused after its signature.
    let keyring = keyring();
    let key = keyring.active("hub").expect("there is one");
    for spelling in [format!("{payload}="), format!("{payload}\n"), format!("{payload}+"), "A".into()] {
        let signed = format!("{header}.{spelling}");
        let token = format!("{signed}.{}", b64::encode(&key.sign(signed.as_bytes())));
        assert_eq!(check(&token), Err(TokenError::Encoding), "{spelling:.20}");
    }
}

/// C20, C7, C51
#[test]
fn c7_c20_c51_the_audience_is_one_that_is_accepted_and_its_owner_signed() {
    let for_audience = |aud: &str| {
        let pa_scope_set = (aud == "operator").then(|| "admin".to_owned());
        signed(&Claims { aud: aud.into(), pa_scope_set, ..claims() }.to_json())
    };
    for (aud, good) in [
        ("operator", true),
        ("hub", true),
        ("", false),
        ("vault", false),
        ("vault.work", false),
        ("operator.x", false),
        ("hub.x", false),
        ("hubx", false),
        ("Operator", false),
        ("operator ", false),
    ] {
        let expected = if good { Ok(()) } else { Err(TokenError::Audience) };
        assert_eq!(check(&for_audience(aud)).map(|_| ()), expected, "{aud:?}");
    }

    // A module's own key, were it ever in the same ring, is good for its own audience only.
    let both = Keyring::new(&[master(KID, 0, MasterState::Active)], &["hub", "vault"]);
    let vault = both.active("vault").expect("derived");
    let payload = b64::encode(&claims().to_json());
    let signed = format!("{}.{payload}", vault.header());
    let forged = format!("{signed}.{}", b64::encode(&vault.sign(signed.as_bytes())));
    let issuers = [ISSUER.to_owned()];
    let expect = Expect {
        issuers: Some(&issuers),
        audience: Accept::Named(&["operator", "hub"]),
        hid: HID,
        now_unix: 1_800_000_000,
    };
    assert_eq!(verify::check(&forged, &both, &expect), Err(TokenError::Audience));
    // The same signature under the hub's header is none.
    let hub = both.active("hub").expect("derived").header();
    let [_, payload, signature] = parts(&forged);
    assert_eq!(verify::check(&format!("{hub}.{payload}.{signature}"), &both, &expect), Err(TokenError::Signature));
}

/// Who signs for both accepts one of them where only that is asked for.
#[test]
fn an_audience_is_refused_where_its_owner_s_other_one_is_wanted() {
    let token = mint(&claims());
    for (names, expected) in
        [(&["operator"][..], Ok(())), (&["hub"], Err(TokenError::Audience)), (&[], Err(TokenError::Audience))]
    {
        let now_unix = i64::try_from(NOW).expect("small");
        let expect = Expect { issuers: None, audience: Accept::Named(names), hid: HID, now_unix };
        assert_eq!(verify::check(&token, &keyring(), &expect).map(|_| ()), expected, "{names:?}");
    }
}

#[test]
fn a_token_is_whole_when_nothing_of_it_is_cut_off() {
    let token = mint(&claims());
    let [header, payload, signature] = parts(&token);
    assert!(verify::is_whole(&token) && verify::is_whole(&format!("{header}.{payload}.{}", "A".repeat(43))));
    for part in [
        "",
        "junk",
        &token[..token.len() - 1],
        &format!("{token}AA"),
        &format!("{header}.{payload}"),
        &format!("{header}.{payload}."),
        &format!("{header}.e30.{signature}"),
    ] {
        assert!(!verify::is_whole(part), "{part}");
    }
}

#[test]
fn a_retired_master_is_over_when_its_time_is() {
    for (state, now_unix, over) in [
        (MasterState::Active, i64::MAX, false),
        (MasterState::VerifyUntil(100), 99, false),
        (MasterState::VerifyUntil(100), 100, true),
    ] {
        assert_eq!(master(KID, 0, state).is_over(now_unix), over, "{state:?} at {now_unix}");
    }
}

#[test]
fn a_key_file_may_have_the_padding_that_its_length_asks_for() {
    for bytes in 32..=34 {
        let plain = b64::encode(&vec![7; bytes]);
        let padded = format!("{plain}{}", "=".repeat((4 - plain.len() % 4) % 4));
        let [one, other] = [plain, padded].map(|text| FileKey::parse(text.as_bytes()).map(|key| key.mark()));
        assert!(one.is_some() && one == other, "{bytes} bytes");
    }
    assert!(FileKey::parse(b64::encode(&[7; 31]).as_bytes()).is_none(), "too short");
}

#[test]
fn an_audience_has_at_most_one_owner() {
    for (audience, owner) in [
        ("operator", Some("hub")),
        ("hub", Some("hub")),
        ("vault", Some("vault")),
        ("vault.work", Some("vault")),
        ("my-vault_1.a-b_2", Some("my-vault_1")),
        ("vaultx", Some("vaultx")),
        ("vault.", None),
        (".work", None),
        ("vault.a.b", None),
        ("operator.x", None),
        ("hub.x", None),
        ("", None),
        ("va ult", None),
        ("välult", None),
    ] {
        assert_eq!(owner_of(audience), owner, "{audience:?}");
    }
}

#[test]
fn a_jti_that_no_registry_holds_is_unregistered() {
    for jti in [
        "",
        "short",
        "abcdefghijklmnopqrstuvw",
        "abcdefghijklmnopqrstu\n",
        "abcdefghijklmnopqrst'\"",
        "é-cdefghijklmnopqrstu",
    ] {
        let token = signed(&Claims { jti: jti.into(), ..claims() }.to_json());
        assert_eq!(check(&token), Err(TokenError::Unregistered), "{jti:?}");
        assert!(mint::sign(&Claims { jti: jti.into(), ..claims() }, &keyring()).is_err(), "{jti:?}");
    }
}

#[test]
fn minting_refuses_what_verification_would() {
    for (name, bad, error) in [
        ("module", Claims { aud: "vault".into(), pa_scope_set: None, ..claims() }, MintError::NoKey),
        ("nobody", Claims { aud: "".into(), ..claims() }, MintError::NoKey),
        ("set", Claims { pa_scope_set: None, ..claims() }, MintError::Claims(Shape::ScopeSet)),
        ("no life", Claims { exp: NOW, ..claims() }, MintError::Claims(Shape::Times)),
        ("scope", Claims { scope: "admin".into(), ..claims() }, MintError::Claims(Shape::Scope)),
        ("long", Claims { vault_scope: vec!["v".repeat(3000)], ..claims() }, MintError::TooLong),
    ] {
        assert_eq!(mint::sign(&bad, &keyring()).err(), Some(error), "{name}");
    }
}

/// C50
#[test]
fn c50_the_authorization_header_is_a_bearer_and_nothing_else() {
    for (value, token) in [
        ("Bearer abc", Some("abc")),
        ("bearer abc", Some("abc")),
        ("BEARER   abc", Some("abc")),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearer  ", None),
        ("", None),
        ("abc", None),
        ("Basic abc", None),
        ("Bearer\tabc", None),
        (" Bearer abc", None),
        ("Bearer abc ", None),
        ("Bearer abc def", None),
        ("Bearer a,b", Some("a,b")),
        ("Bearer abc\n", None),
        ("Bearer aéc", None),
        ("Bearerabc", None),
    ] {
        assert_eq!(from_authorization(value), token, "{value:?}");
    }
}

#[test]
fn hashes_are_compared_whole() {
    let hash = sha256(b"abc");
    assert!(same_hash(&hash, &sha256(b"abc")));
    for position in 0..hash.len() {
        let mut other = hash;
        other[position] ^= 1;
        assert!(!same_hash(&hash, &other), "byte {position}");
    }
}

#[test]
fn every_refusal_has_its_code_in_its_text() {
    for (error, code) in [
        (TokenError::Encoding, "malformed"),
        (TokenError::Payload(Shape::Scope), "malformed"),
        (TokenError::Key, "key"),
        (TokenError::Signature, "signature"),
        (TokenError::Expired { at_unix: 5 }, "expired"),
        (TokenError::NotYetValid, "not_yet_valid"),
        (TokenError::Clock { now_unix: 1, stamp_unix: 2 }, "clock"),
        (TokenError::Issuer, "issuer"),
        (TokenError::Audience, "audience"),
        (TokenError::Unregistered, "unregistered"),
        (TokenError::Revoked, "revoked"),
    ] {
        assert_eq!(error.code(), code);
        assert!(error.to_string().starts_with(code), "{error}");
    }
}

#[test]
fn only_what_was_issued_for_the_hub_is_a_hub_bearer() {
    let keyring = Keyring::new(&[master(KID, 0, MasterState::Active)], &["hub", "vault"]);
    let header = |owner| keyring.active(owner).expect("there is one").header().to_owned();
    for (value, expected) in [
        (format!("Bearer {}.a.b", header("hub")), true),
        (format!("bEARER  {}.a.b", header("hub")), true),
        (format!("Bearer {}", header("hub")), true),
        (format!("Bearer {}.a.b", header("vault")), false),
        (format!("Basic {}.a.b", header("hub")), false),
        ("Bearer eyJhbGciOiJub25lIn0.a.b".to_owned(), false),
        ("Bearer ".to_owned(), false),
        (String::new(), false),
    ] {
        assert_eq!(is_hub_bearer(value.as_bytes()), expected, "{value}");
    }
    assert!(!is_hub_bearer(b"Bearer \xff"));
}
