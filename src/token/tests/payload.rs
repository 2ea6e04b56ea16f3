//! What a genuine token may say, and when.

use super::*;
use serde_json::{Value, json};

/// C13
#[test]
fn c13_a_payload_is_exactly_what_minting_writes() {
    let good = String::from_utf8(claims().to_json()).expect("JSON");
    assert!(check(&signed(good.as_bytes())).is_ok());
    let replaced = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1).into_bytes()
    };
    let as_array = {
        let value: Value = serde_json::from_str(&good).expect("JSON");
        let fields: Vec<Value> = value.as_object().expect("an object").values().cloned().collect();
        Value::Array(fields).to_string().into_bytes()
    };
    let with_permissions = |permissions: Value| {
        let mut claims = claims();
        claims.permissions = Some(permissions.as_object().expect("an object").clone());
        claims.to_json()
    };
    let nested = |depth: usize| {
        let mut value = json!(1);
        for _ in 0..depth {
            value = json!({ "a": value });
        }
        value
    };
    let bytes_of_permissions = |bytes: usize| json!({ "a": "x".repeat(bytes - br#"{"a":""}"#.len()) });
    let lists = |depth: usize| json!({ "a": (1..depth).fold(json!(1), |inner, _| json!([inner])) });
    for (payload, shape) in [
        (b"hello".to_vec(), Shape::Json),
        (b"null".to_vec(), Shape::Json),
        (b"{}".to_vec(), Shape::Json),
        (b"[]".to_vec(), Shape::Json),
        (as_array, Shape::Json),
        ("[".repeat(2000).into_bytes(), Shape::Json),
        (replaced(r#""sub":"operator","#, r#""sub":"operator","sub":"operator","#), Shape::Json),
        (replaced(r#""exp":"#, r#""exp":1,"exp":"#), Shape::Json),
        (replaced(r#"{"v":1,"#, r#"{"v":1,"admin":true,"#), Shape::Json),
        (replaced(r#""sub":"operator""#, r#""sub":null"#), Shape::Json),
        (replaced(r#""sub":"operator""#, r#""sub":["operator"]"#), Shape::Json),
        (replaced(r#""aud":"operator""#, r#""aud":["operator"]"#), Shape::Json),
        (replaced(r#""vault_scope":[]"#, r#""vault_scope":"""#), Shape::Json),
        (replaced(r#","vault_scope":[]"#, ""), Shape::Json),
        ([good.as_bytes(), b"{}"].concat(), Shape::Json),
        ([good.as_bytes(), b"\0"].concat(), Shape::Json),
        ([b"\xef\xbb\xbf", good.as_bytes()].concat(), Shape::Json),
        (good.replace("operator", "op\u{fffd}").into_bytes(), Shape::Subject),
        ([&good.as_bytes()[..20], b"\xff\xfe", &good.as_bytes()[20..]].concat(), Shape::Json),
        ([good.as_bytes(), b" "].concat(), Shape::Spelling),
        ([b"\n", good.as_bytes()].concat(), Shape::Spelling),
        (replaced(r#""v":1,"iss""#, r#""v": 1,"iss""#), Shape::Spelling),
        (replaced(r#""sub":"operator""#, r#""sub":"\u006fperator""#), Shape::Spelling),
        (replaced(r#","hid""#, r#","permissions":null,"hid""#), Shape::Spelling),
        (replaced(r#","hid""#, r#","permissions":{"a":1,"a":2},"hid""#), Shape::Spelling),
        (replaced(r#""v":1"#, r#""v":2"#), Shape::Version),
        (replaced(r#""sub":"operator""#, r#""sub":"""#), Shape::Subject),
        (replaced(r#""sub":"operator""#, &format!(r#""sub":"{}""#, "s".repeat(129))), Shape::Subject),
        (replaced(r#""sub":"operator""#, r#""sub":"a\nb""#), Shape::Subject),
        (replaced(r#","pa_scope_set":"admin""#, ""), Shape::ScopeSet),
        (replaced(r#""aud":"operator""#, r#""aud":"hub""#), Shape::ScopeSet),
        (replaced(r#""scope":"hub:admin "#, r#""scope":" hub:admin "#), Shape::Scope),
        (with_permissions(nested(9)), Shape::Permissions),
        (with_permissions(json!({ "k".repeat(65): 1 })), Shape::Permissions),
        (with_permissions(json!({ "a": [{ "k".repeat(65): 1 }] })), Shape::Permissions),
        (with_permissions(json!({ "a": [1, { "k".repeat(65): 1 }] })), Shape::Permissions),
        (with_permissions(json!({ "a": { "b": 1, "k".repeat(65): 1 } })), Shape::Permissions),
        (with_permissions(lists(9)), Shape::Permissions),
        (with_permissions(bytes_of_permissions(2049)), Shape::Permissions),
    ] {
        let text = String::from_utf8_lossy(&payload).into_owned();
        assert_eq!(check(&signed(&payload)), Err(TokenError::Payload(shape)), "{text:.120}");
    }
    for sub in ["s".to_owned(), "s".repeat(128)] {
        assert_eq!(Claims { sub, ..claims() }.check(), Ok(()));
    }
    for permissions in
        [json!({}), nested(8), lists(8), json!({ "k".repeat(64): [1, "a", null, true] }), bytes_of_permissions(2048)]
    {
        assert!(check(&signed(&with_permissions(permissions.clone()))).is_ok(), "{permissions}");
    }
}

/// C14, C17
#[test]
fn c14_c17_times_are_whole_seconds_within_a_year_of_each_other() {
    let good = String::from_utf8(claims().to_json()).expect("JSON");
    let exp = format!(r#""exp":{},"#, NOW + 3600);
    let with_exp = |text: &str| check(&signed(good.replacen(&exp, text, 1).as_bytes()));
    for (text, shape) in [
        ("", Shape::Json),
        (r#""exp":"1800003600","#, Shape::Json),
        (r#""exp":1800003600.0,"#, Shape::Json),
        (r#""exp":1.8e9,"#, Shape::Json),
        (r#""exp":-1,"#, Shape::Json),
        (r#""exp":NaN,"#, Shape::Json),
        (r#""exp":null,"#, Shape::Json),
        (r#""exp":true,"#, Shape::Json),
        (r#""exp":99999999999999999999,"#, Shape::Json),
        (r#""exp":01800003600,"#, Shape::Json),
        (r#""exp":0,"#, Shape::Times),
        (r#""exp":1800000000,"#, Shape::Times),
        (r#""exp":9007199254740993,"#, Shape::Times),
        (r#""exp":9223372036854775808,"#, Shape::Times),
        (r#""exp":18446744073709551615,"#, Shape::Times),
        (r#""exp":1831622401,"#, Shape::Times),
        (r#""exp":2115360000,"#, Shape::Times),
    ] {
        assert_eq!(with_exp(text), Err(TokenError::Payload(shape)), "{text}");
    }
    assert!(with_exp(r#""exp":1831622400,"#).is_ok(), "a leap year exactly");
    // Whole seconds are those that every reader of JSON has as whole numbers.
    let limit = 1 << 53;
    for (iat, nbf, exp, good) in [
        (limit - 1, limit - 1, limit, true),
        (limit, limit, limit + 1, false),
        (limit - 1, limit, limit, true),
        (limit - 1, limit + 1, limit, false),
    ] {
        let expected = if good { Ok(()) } else { Err(Shape::Times) };
        assert_eq!(Claims { iat, nbf, exp, ..claims() }.check(), expected, "iat {iat}, nbf {nbf}, exp {exp}");
    }
}

/// C15, C16
#[test]
fn c15_c16_the_clock_decides_to_the_second() {
    let exp = claims().exp;
    for (iat, nbf, now, expected) in [
        (NOW, NOW, exp - 1, Ok(())),
        (NOW, NOW, exp, Err(TokenError::Expired { at_unix: exp })),
        (NOW, NOW, exp + 1, Err(TokenError::Expired { at_unix: exp })),
        (NOW, NOW, 4_102_444_800, Err(TokenError::Expired { at_unix: exp })),
        (NOW, NOW, NOW - 60, Ok(())),
        (NOW, NOW, NOW - 61, Err(TokenError::NotYetValid)),
        (NOW, NOW + 59, NOW, Ok(())),
        (NOW, NOW + 61, NOW, Err(TokenError::NotYetValid)),
        (NOW, NOW, NOW - 3600, Err(TokenError::NotYetValid)),
        (NOW, NOW, NOW - 3601, Err(TokenError::Clock { now_unix: 1_799_996_399, stamp_unix: NOW })),
        (NOW, NOW, 0, Err(TokenError::Clock { now_unix: 0, stamp_unix: NOW })),
    ] {
        let token = mint(&Claims { iat, nbf, ..claims() });
        let found = check_at(&token, i64::try_from(now).expect("small")).map(|_| ());
        assert_eq!(found, expected, "iat {iat}, nbf {nbf}, now {now}");
    }
    let before_1970 = check_at(&mint(&claims()), -5).expect_err("refused");
    assert_eq!(before_1970, TokenError::Clock { now_unix: -5, stamp_unix: NOW });
    let text = before_1970.to_string();
    assert!(text.contains("-5") && text.contains("1800000000") && text.contains("clock"), "{text}");
}

/// C18
#[test]
fn c18_only_members_of_the_set_may_issue_and_only_this_hub() {
    for (iss, hid, good) in [
        (ISSUER, HID, true),
        ("https://a.example", HID, true),
        ("http://127.0.0.1:1939/", HID, false),
        ("http://127.0.0.1", HID, false),
        ("http://127.0.0.1:1940", HID, false),
        ("https://127.0.0.1:1939", HID, false),
        ("http://localhost:1939", HID, false),
        ("https://A.example", HID, false),
        ("https://a.example:443", HID, false),
        ("https://a.example.evil", HID, false),
        ("", HID, false),
        (ISSUER, "", false),
        (ISSUER, "ffeeddccbbaa99887766554433221100", false),
        (ISSUER, "00112233445566778899AABBCCDDEEFF", false),
    ] {
        let token = mint(&Claims { iss: iss.into(), hid: hid.into(), ..claims() });
        assert_eq!(check(&token).map(|_| ()), if good { Ok(()) } else { Err(TokenError::Issuer) }, "{iss:?} {hid:?}");
    }
}
