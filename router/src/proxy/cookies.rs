//! The platform's cookies and an app's cookies, kept apart.

use http::{HeaderMap, HeaderValue, header};

use crate::session::cookie::PLATFORM_COOKIES;

/// Removes the platform's cookies from a request; the app's own stay as they are.
pub(crate) fn strip_platform_cookies(headers: &mut HeaderMap) {
    let mut kept: Vec<u8> = Vec::new();
    let mut changed = false;
    let mut lines = 0;
    for line in headers.get_all(header::COOKIE) {
        lines += 1;
        for pair in line
            .as_bytes()
            .split(|byte| *byte == b';')
            .map(<[u8]>::trim_ascii)
        {
            if is_platform(name_of(pair)) {
                changed = true;
            } else if !pair.is_empty() {
                if !kept.is_empty() {
                    kept.extend_from_slice(b"; ");
                }
                kept.extend_from_slice(pair);
            }
        }
    }
    if !changed && lines <= 1 {
        return;
    }
    headers.remove(header::COOKIE);
    if kept.is_empty() {
        return;
    }
    // Made of pieces of valid values, so it is one.
    if let Ok(value) = HeaderValue::from_bytes(&kept) {
        headers.insert(header::COOKIE, value);
    }
}

/// Keeps an app from setting the platform's cookies, or any cookie beyond its own host and, where apps share a host,
/// beyond `base`, the path it lives under: browsers would send it to its neighbours.
pub(crate) fn confine_set_cookies(headers: &mut HeaderMap, base: &str) {
    let lines: Vec<HeaderValue> = headers
        .get_all(header::SET_COOKIE)
        .iter()
        .filter_map(|line| confine(line, base))
        .collect();
    headers.remove(header::SET_COOKIE);
    for line in lines {
        headers.append(header::SET_COOKIE, line);
    }
}

fn confine(line: &HeaderValue, base: &str) -> Option<HeaderValue> {
    let mut parts = line.as_bytes().split(|byte| *byte == b';');
    let pair = parts.next().unwrap_or_default().trim_ascii();
    let name = name_of(pair);
    // A cookie without a name comes back as its bare value, which could then read like one of ours.
    if name.is_empty() || !pair.contains(&b'=') || is_platform(name) {
        return None;
    }
    let is_domain = |part: &&[u8]| name_of(part.trim_ascii()).eq_ignore_ascii_case(b"domain");
    let strays = |part: &&[u8]| path_of(part).is_some_and(|path| !is_below(path, base));
    if !parts.clone().any(|part| is_domain(&part) || strays(&part)) {
        return Some(line.clone());
    }
    let mut kept = pair.to_vec();
    for part in parts.filter(|part| !is_domain(part)) {
        kept.push(b';');
        if strays(&part) {
            kept.extend_from_slice(b" Path=");
            kept.extend_from_slice(base.as_bytes());
        } else {
            kept.extend_from_slice(part);
        }
    }
    HeaderValue::from_bytes(&kept).ok()
}

/// The path that an attribute names. Any other value means the folder of the request, which is below the app's own.
fn path_of(part: &[u8]) -> Option<&[u8]> {
    let at = part.iter().position(|byte| *byte == b'=')?;
    let path = part[at + 1..].trim_ascii();
    (name_of(part).eq_ignore_ascii_case(b"path") && path.starts_with(b"/")).then_some(path)
}

fn is_below(path: &[u8], base: &str) -> bool {
    let folder = base.strip_suffix('/').unwrap_or(base);
    path.strip_prefix(folder.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

fn is_platform(name: &[u8]) -> bool {
    PLATFORM_COOKIES
        .iter()
        .any(|ours| name.eq_ignore_ascii_case(ours.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(headers: &HeaderMap, name: header::HeaderName) -> Vec<&str> {
        headers
            .get_all(name)
            .iter()
            .map(|line| line.to_str().expect("text"))
            .collect()
    }

    #[test]
    fn the_platforms_cookies_never_reach_an_app() {
        let cases: [(&str, &[&str], &[&str]); 8] = [
            ("none of ours", &["a=1; b=2"], &["a=1; b=2"]),
            ("ours alone", &["wavestore=x"], &[]),
            (
                "ours in the middle",
                &["a=1; __Host-wavestore=x; b=2"],
                &["a=1; b=2"],
            ),
            ("another spelling", &["a=1;WaveStore=x"], &["a=1"]),
            (
                "the nonce",
                &["__Host-wavestore-visit=x; wavestore-visit=y; a=1"],
                &["a=1"],
            ),
            (
                "several lines",
                &["a=1", "wavestore=x", "b=2"],
                &["a=1; b=2"],
            ),
            ("a longer name", &["wavestore2=x"], &["wavestore2=x"]),
            ("spaces around the name", &["a=1;  wavestore =x"], &["a=1"]),
        ];
        for (name, given, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in given {
                headers.append(header::COOKIE, line.parse().expect("a value"));
            }
            strip_platform_cookies(&mut headers);
            assert_eq!(lines(&headers, header::COOKIE), expected, "{name}");
        }
    }

    #[test]
    fn an_app_sets_cookies_for_its_own_host_only() {
        let cases = [
            (
                "its own",
                "a=1; Path=/; HttpOnly",
                Some("a=1; Path=/; HttpOnly"),
            ),
            ("ours", "wavestore=x; Path=/", None),
            (
                "ours with a prefix",
                "__Host-wavestore=x; Secure; Path=/",
                None,
            ),
            ("ours in capitals", "__HOST-Wavestore=x", None),
            ("no name", "=wavestore=x", None),
            ("no name and no sign", "wavestore", None),
            (
                "a domain",
                "a=1; Domain=example.com; Path=/",
                Some("a=1; Path=/"),
            ),
            (
                "a domain spelled otherwise",
                "a=1;DOMAIN =.example.com",
                Some("a=1"),
            ),
        ];
        for (name, given, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.append(header::SET_COOKIE, given.parse().expect("a value"));
            confine_set_cookies(&mut headers, "/");
            let expected: Vec<&str> = expected.into_iter().collect();
            assert_eq!(lines(&headers, header::SET_COOKIE), expected, "{name}");
        }
    }

    /// CVE-2024-28233: cookies of one app reach no other on the same host.
    #[test]
    fn an_app_on_a_shared_host_sets_cookies_for_its_own_path_only() {
        let own = "a=1; Path=/instance/sales/";
        let cases = [
            ("no path", "a=1; HttpOnly", "a=1; HttpOnly"),
            ("its own", own, own),
            (
                "its own, no last slash",
                "a=1; Path=/instance/sales",
                "a=1; Path=/instance/sales",
            ),
            (
                "a path below",
                "a=1; Path=/instance/sales/x",
                "a=1; Path=/instance/sales/x",
            ),
            (
                "the whole host",
                "a=1; Path=/; HttpOnly",
                "a=1; Path=/instance/sales/; HttpOnly",
            ),
            ("a neighbour", "a=1;PATH = /instance/other/", own),
            ("a longer name", "a=1; Path=/instance/sales2/", own),
            ("none that counts", "a=1; Path=x", "a=1; Path=x"),
            (
                "the last of two",
                "a=1; Path=/instance/sales/; Path=/",
                "a=1; Path=/instance/sales/; Path=/instance/sales/",
            ),
            ("a domain as well", "a=1; Domain=example.com; Path=/", own),
        ];
        for (name, given, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.append(header::SET_COOKIE, given.parse().expect("a value"));
            confine_set_cookies(&mut headers, "/instance/sales/");
            assert_eq!(lines(&headers, header::SET_COOKIE), [expected], "{name}");
        }
    }
}
