//! What holds for every request, whatever its bytes. Tests with chosen input and the fuzz targets in `router/fuzz` share it.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::proxy::headers::{Arrival, outgoing};
use crate::session::cookie::PLATFORM_COOKIES;
use crate::site::{AppHost, Site};
use crate::target::{Form, Target};

/// What no app may ever see.
const SECRET: &[u8] = b"s3cret-of-the-platform";

/// Host and path lead to the instance that they name, or to none.
///
/// # Panics
/// They do not.
pub fn routing(host: &str, path: &str) {
    let site = Site::new("http://store.test", "apps.test").expect("a site");
    match Target::parse(&site, |_| None, host, path) {
        Target::Store => assert!(host.eq_ignore_ascii_case("store.test")),
        Target::Instance {
            name,
            host: found,
            form,
        } => match form {
            Form::Domain => {
                assert!(host.eq_ignore_ascii_case(&format!("{name}.apps.test")));
                assert_ne!(found, AppHost::Shared);
            }
            Form::BaseUrl => {
                assert!(host.eq_ignore_ascii_case("apps.apps.test"));
                assert!(path.starts_with(&format!("/instance/{name}/")));
            }
        },
        Target::Slashless(name) => assert_eq!(path, format!("/instance/{name}")),
        Target::Platform(found) => {
            assert!(path.starts_with("/.wavestore/"));
            assert!(host.eq_ignore_ascii_case(&site.host_name(&found)));
        }
        Target::Nowhere => {}
    }
}

/// Whatever headers come, an app sees no credential of the platform and no claim about the viewer but ours. Lines that are no
/// headers are left out, as hyper does.
///
/// # Panics
/// It would see one.
pub fn rewriting<'a>(lines: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    let mut headers = HeaderMap::new();
    for (name, value) in lines.take(100) {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        else {
            continue;
        };
        // Elsewhere it would be a client's own word.
        if !has_secret(&value) {
            headers.append(name, value);
        }
    }
    for cookie in PLATFORM_COOKIES {
        let line = [cookie.as_bytes(), b"=", SECRET].concat();
        let line = HeaderValue::from_bytes(&line).expect("a value");
        headers.append(header::COOKIE, line);
    }
    for scheme in [&b"Bearer "[..], b"bearer wst_", b"Basic ", b""] {
        let line = HeaderValue::from_bytes(&[scheme, SECRET].concat()).expect("a value");
        headers.append(header::AUTHORIZATION, line);
    }

    let request_id = HeaderValue::from_static("0123456789abcdef");
    let arrival = Arrival {
        peer: [203, 0, 113, 9].into(),
        scheme: "https",
        host: "sales.apps.test",
        request_id: &request_id,
    };
    let headers = outgoing(&headers, &arrival);

    let ours = [
        (
            "forwarded",
            "for=203.0.113.9;host=\"sales.apps.test\";proto=https",
        ),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-host", "sales.apps.test"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "203.0.113.9"),
        ("x-request-id", "0123456789abcdef"),
        ("host", "sales.apps.test"),
    ];
    for (name, value) in ours {
        let found: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(found, [value], "{name}");
    }
    for (name, value) in &headers {
        assert!(!has_secret(value), "{name}: {value:?}");
        let unified = name.as_str().replace('_', "-");
        let claims = unified == "remote-user"
            || ["x-forwarded-", "x-auth-request-", "x-wavestore-"]
                .iter()
                .any(|claim| unified.starts_with(claim));
        let known = ours.iter().any(|(ours, _)| *ours == name.as_str());
        assert!(!claims || known, "{name}");
        let belongs_here = [
            "authorization",
            "proxy-authorization",
            "transfer-encoding",
            "upgrade",
            "keep-alive",
            "expect",
        ];
        assert!(!belongs_here.contains(&name.as_str()), "{name}");
    }
    if let Some(connection) = headers.get(header::CONNECTION) {
        assert_eq!(connection, "te");
    }
    cookies_are_the_apps(&headers);
}

/// Whatever cookies come, in however many lines, an app sees its own in their order and none of the platform's.
///
/// # Panics
/// It sees others.
pub fn cookies<'a>(lines: impl Iterator<Item = &'a [u8]>) {
    let mut headers = HeaderMap::new();
    for line in lines.take(100) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::COOKIE, value);
        }
    }
    let before = pairs(&headers);
    crate::proxy::cookies::strip_platform_cookies(&mut headers);
    cookies_are_the_apps(&headers);
    let kept: Vec<_> = before.into_iter().filter(|pair| !is_ours(pair)).collect();
    assert_eq!(pairs(&headers), kept);
}

fn has_secret(value: &HeaderValue) -> bool {
    let mut parts = value.as_bytes().windows(SECRET.len());
    parts.any(|part| part == SECRET)
}

fn cookies_are_the_apps(headers: &HeaderMap) {
    let found = pairs(headers);
    assert!(!found.iter().any(|pair| is_ours(pair)), "{found:?}");
}

fn pairs(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let lines = headers.get_all(header::COOKIE);
    let pairs = lines
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

/// As a generous server reads it: the name without spaces, in any case.
fn is_ours(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
    PLATFORM_COOKIES
        .iter()
        .any(|ours| name.trim_ascii().eq_ignore_ascii_case(ours.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces that names are made of, so that chance meets what counts.
    fn name() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("x-forwarded-user"),
            Just("X_Forwarded_User"),
            Just("x-Forwarded_For"),
            Just("remote_user"),
            Just("X-WaveStore-Role"),
            Just("connection"),
            Just("Authorization"),
            Just("proxy-authorization"),
            Just("transfer-encoding"),
            Just("te"),
            Just("expect"),
            Just("cookie"),
            Just("host"),
            Just("forwarded"),
            Just("x-request-id"),
        ];
        prop_oneof![4 => piece.prop_map(str::to_owned), 1 => "[!-~]{1,12}"]
    }

    fn value() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("x-forwarded-for, x-real-ip, host, cookie"),
            Just("close, te, upgrade"),
            Just("trailers"),
            Just("wavestore=x; b=2"),
            Just("a=1; __HOST-wavestore=x"),
            Just("admin"),
        ];
        prop_oneof![3 => piece.prop_map(str::to_owned), 1 => "[ -~]{0,40}"]
    }

    fn cookie() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            Just("wavestore"),
            Just("WaveStore"),
            Just("__Host-wavestore"),
            Just("__host-wavestore-visit"),
            Just(" wavestore "),
            Just("wavestore2"),
            Just("own"),
            Just(""),
        ];
        let sign = prop_oneof![Just("="), Just(" = "), Just(""), Just("==")];
        let end = prop_oneof![Just(";"), Just("; "), Just(" ;;"), Just(",")];
        let pair = (name, sign, "[!-:<-~]{0,6}", end);
        let pair = pair.prop_map(|(name, sign, value, end)| format!("{name}{sign}{value}{end}"));
        prop::collection::vec(pair, 0..6).prop_map(|pairs| pairs.concat())
    }

    proptest! {
        #[test]
        fn host_and_path_lead_where_they_say(
            host in prop_oneof!["(store|sales|apps|APPS|a.b)?[.]?(apps)?[.]?test[.]?", "[ -~]{0,30}"],
            path in prop_oneof!["/{0,2}(instance|[.]wavestore)/{0,2}(sales|%73ales|[.][.]|apps|S)?/{0,2}[a-z]{0,3}", "[ -~]{0,30}"],
        ) {
            routing(&host, &path);
        }

        #[test]
        fn no_headers_bring_a_secret_or_a_claim_to_an_app(lines in prop::collection::vec((name(), value()), 0..12)) {
            rewriting(lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        }

        #[test]
        fn no_cookies_hide_one_of_the_platforms(lines in prop::collection::vec(cookie(), 0..4)) {
            cookies(lines.iter().map(String::as_bytes));
        }
    }
}
