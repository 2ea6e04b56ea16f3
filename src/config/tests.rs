use super::*;
use std::time::Duration;

fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_environment(pairs.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))).collect())
}

#[test]
fn the_home_is_parachute_home_or_below_the_users_home() {
    let relative = |variable, value: &str| Err(ConfigError::RelativeHome { variable, value: value.into() });
    for (pairs, expected) in [
        (&[("PARACHUTE_HOME", "/p"), ("HOME", "/h")][..], Ok("/p")),
        (&[("PARACHUTE_HOME", ""), ("HOME", "/h")], Ok("/h/.parachute")),
        (&[("HOME", "/h")], Ok("/h/.parachute")),
        (&[], Err(ConfigError::NoHome)),
        (&[("PARACHUTE_HOME", "p"), ("HOME", "/h")], relative("PARACHUTE_HOME", "p")),
        (&[("HOME", "h")], relative("HOME", "h")),
    ] {
        assert_eq!(config(pairs).map(|c| c.home), expected.map(PathBuf::from), "{pairs:?}");
    }
}

#[test]
fn a_port_is_plain_decimal_in_range() {
    for (value, expected) in [
        ("1", Some(1)),
        ("65535", Some(65535)),
        ("", Some(DEFAULT_PORT)),
        ("0", None),
        ("65536", None),
        ("8080abc", None),
        ("+80", None),
        (" 80", None),
        ("99999999999", None),
    ] {
        assert_eq!(config(&[("HOME", "/h"), ("PORT", value)]).ok().map(|c| c.port), expected, "PORT={value:?}");
    }
}

#[test]
fn limits_are_counts_and_nothing_else() {
    let all = |variable, value| config(&[("HOME", "/h"), (variable, value)]).map(|config| config.limits);
    let some = Limits { connections: 7, ..Limits::default() };
    assert_eq!(all("PARACHUTE_MAX_CONNECTIONS", "7"), Ok(some));
    let some = Limits { module_silence: Some(Duration::from_secs(60)), ..Limits::default() };
    assert_eq!(all("PARACHUTE_MODULE_SILENCE_S", "60"), Ok(some));
    let some = Limits { module_body_bytes: Some(2 << 20), ..Limits::default() };
    assert_eq!(all("PARACHUTE_MAX_BODY_MIB", "2"), Ok(some));
    let some = Limits { hub_connections: 9, ..Limits::default() };
    assert_eq!(all("PARACHUTE_MAX_HUB_REQUESTS", "9"), Ok(some));
    let some = Limits { introspections: 9, ..Limits::default() };
    assert_eq!(all("PARACHUTE_MAX_INTROSPECTIONS", "9"), Ok(some));
    let some = Limits { hub_answer_timeout: Duration::from_secs(9), ..Limits::default() };
    assert_eq!(all("PARACHUTE_HUB_ANSWER_TIMEOUT_S", "9"), Ok(some));
    let some = Limits { head_timeout: Duration::from_secs(3), ..Limits::default() };
    assert_eq!(all("PARACHUTE_HEAD_TIMEOUT_S", "3"), Ok(some));
    assert_eq!(all("PARACHUTE_WS_MAX_TOTAL", ""), Ok(Limits::default()));
    for value in ["0", "-1", "+7", "1.5", "x", "100001", "99999999999999999999"] {
        for variable in ["PARACHUTE_MAX_CONNECTIONS_PER_IP", "PARACHUTE_WS_MAX_PER_IP", "PARACHUTE_IDLE_TIMEOUT_S"] {
            assert!(all(variable, value).is_err(), "{variable}={value}");
        }
    }
}

#[test]
fn bad_tokens_are_few_however_many_are_let_pass() {
    for (value, expected) in
        [("", Some(10)), ("1", Some(1)), ("1000", Some(1000)), ("0", None), ("1001", None), ("x", None)]
    {
        let read = config(&[("HOME", "/h"), ("PARACHUTE_MAX_BAD_TOKENS", value)]);
        assert_eq!(read.ok().map(|config| config.bad_tokens), expected, "{value:?}");
    }
}

#[test]
fn an_operator_token_lives_for_an_hour_to_90_days() {
    for (value, expected) in [
        ("3600", Some(Some(3_600))),
        ("7776000", Some(Some(7_776_000))),
        ("", Some(None)),
        ("3599", None),
        ("7776001", None),
        ("+3600", None),
        ("1h", None),
        ("-1", None),
        ("99999999999999999999", None),
    ] {
        let read = config(&[("HOME", "/h"), ("PARACHUTE_OPERATOR_TOKEN_TTL_S", value)]);
        assert_eq!(read.ok().map(|config| config.operator_ttl_s), expected, "{value:?}");
    }
}

#[test]
fn one_bad_proxy_is_named() {
    let read = |value| config(&[("HOME", "/h"), ("PARACHUTE_TRUSTED_PROXIES", value)]);
    for (value, expected) in [("", 0), ("10.0.0.0/8", 1), (" 10.0.0.1 , fd00::/8,", 2)] {
        assert_eq!(read(value).map(|config| config.trusted_proxies.len()), Ok(expected), "{value:?}");
    }
    let error = read("10.0.0.1, 10.0.0.0/33").expect_err("no network").to_string();
    assert!(error.starts_with("PARACHUTE_TRUSTED_PROXIES is \"10.0.0.0/33\"; it must be "), "{error}");
}

#[test]
fn control_groups_are_used_where_they_may_be() {
    for (value, expected) in [
        ("", Some(ControlGroups::Auto)),
        ("auto", Some(ControlGroups::Auto)),
        ("on", Some(ControlGroups::On)),
        ("off", Some(ControlGroups::Off)),
        ("1", None),
        ("ON", None),
    ] {
        let read = config(&[("HOME", "/h"), ("PARACHUTE_CGROUPS", value)]);
        assert_eq!(read.ok().map(|config| config.control_groups), expected, "{value:?}");
    }
}

#[test]
fn an_access_log_is_asked_for_by_its_format() {
    let home = Some("/h/.parachute/hub/logs/access.log");
    for (format, file, expected) in [
        ("", "", Ok(None)),
        ("combined", "", Ok(Some((AccessFormat::Combined, home)))),
        ("json", "", Ok(Some((AccessFormat::Json, home)))),
        ("json", "/var/log/a", Ok(Some((AccessFormat::Json, Some("/var/log/a"))))),
        ("json", "-", Ok(Some((AccessFormat::Json, None)))),
        ("", "rel", Err("PARACHUTE_ACCESS_LOG_FILE is \"rel\"; it must be unset unless PARACHUTE_ACCESS_LOG is")),
        ("JSON", "", Err("PARACHUTE_ACCESS_LOG is \"JSON\"; it must be combined or json")),
        ("common", "-", Err("PARACHUTE_ACCESS_LOG is \"common\"; it must be combined or json")),
        ("json", "logs/a", Err("PARACHUTE_ACCESS_LOG_FILE is \"logs/a\"; it must be an absolute path")),
        ("json", "/", Err("PARACHUTE_ACCESS_LOG_FILE is \"/\"; it must be an absolute path")),
        ("json", "/var/..", Err("PARACHUTE_ACCESS_LOG_FILE is \"/var/..\"; it must be an absolute path")),
    ] {
        let variables = [("HOME", "/h"), ("PARACHUTE_ACCESS_LOG", format), ("PARACHUTE_ACCESS_LOG_FILE", file)];
        match (config(&variables).map(|config| config.access_log), expected) {
            (Ok(log), Ok(expected)) => {
                let expected = expected.map(|(format, file)| AccessLog { format, file: file.map(PathBuf::from) });
                assert_eq!(log, expected, "{format:?} {file:?}");
            }
            (Err(error), Err(beginning)) => assert!(error.to_string().starts_with(beginning), "{error}"),
            (got, expected) => panic!("{format:?} {file:?}: {got:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn without_a_path_the_usual_one_is_searched() {
    let paths = |pairs: &[(&str, &str)]| -> Vec<OsString> {
        let environment = config(pairs).expect("good").environment;
        environment.into_iter().filter(|(name, _)| name == "PATH").map(|(_, value)| value).collect()
    };
    for (given, expected) in [
        (&[("HOME", "/h")][..], DEFAULT_PATH),
        (&[("PATH", ""), ("HOME", "/h")], DEFAULT_PATH),
        (&[("PATH", "/only"), ("HOME", "/h")], "/only"),
    ] {
        assert_eq!(paths(given), [expected], "{given:?}");
    }
}

#[test]
fn an_empty_hub_origin_does_not_hide_the_platforms() {
    for (pairs, expected) in [
        (&[("PARACHUTE_HUB_ORIGIN", "https://a.example"), ("FLY_APP_NAME", "x")][..], Some("https://a.example")),
        (&[("PARACHUTE_HUB_ORIGIN", ""), ("FLY_APP_NAME", "x")], Some("https://x.fly.dev")),
        (&[("FLY_APP_NAME", "x/y")], None),
        (&[("FLY_APP_NAME", "x y")], None),
        (&[("RENDER_EXTERNAL_URL", "https://r.example")], Some("https://r.example")),
    ] {
        let mut all = vec![("HOME", "/h")];
        all.extend_from_slice(pairs);
        let read = config(&all).expect("valid");
        assert_eq!(read.hub_origin.as_deref(), expected, "{pairs:?}");
        let is_said = read.ignored.is_some_and(|said| said.starts_with("FLY_APP_NAME is \"x"));
        assert_eq!(is_said, expected.is_none(), "{pairs:?}");
    }
}

#[test]
fn what_is_no_origin_host_or_absolute_path_is_refused_with_its_variable() {
    for (variable, value, told) in [
        ("PARACHUTE_HUB_ORIGIN", "https://Hub.example/", None),
        ("PARACHUTE_HUB_ORIGIN", "foo", Some("foo")),
        ("PARACHUTE_HUB_ORIGIN", "https://a.example/x", Some("https://a.example/x")),
        ("RENDER_EXTERNAL_URL", "x", Some("x")),
        ("PARACHUTE_ALLOWED_HOSTS", " a.example, Box:8080,[::1],10.0.0.1,b.example.,", None),
        ("PARACHUTE_ALLOWED_HOSTS", "a b", Some("a b")),
        ("PARACHUTE_ALLOWED_HOSTS", "ok,*.example", Some("*.example")),
        ("PARACHUTE_ALLOWED_HOSTS", "https://a.example", Some("https://a.example")),
        ("PARACHUTE_ALLOWED_HOSTS", "a.example/", Some("a.example/")),
        ("PARACHUTE_EXTRA_PATH", "/a::/b:", None),
        ("PARACHUTE_EXTRA_PATH", "/a:rel", Some("rel")),
        ("PARACHUTE_EXTRA_PATH", "~/bin", Some("~/bin")),
    ] {
        let refused = config(&[("HOME", "/h"), (variable, value)]).err().map(|error| error.to_string());
        let expected = told.map(|told| format!("{variable} is {told:?}; it must be "));
        match (&refused, &expected) {
            (None, None) => {}
            (Some(refused), Some(expected)) if refused.starts_with(expected) => {}
            _ => panic!("{variable}={value}: {refused:?}"),
        }
    }
}
