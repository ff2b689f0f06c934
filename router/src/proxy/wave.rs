//! What reaches a Wave server from outside.
//!
//! waved speaks to its app on the same port as to browsers. A browser needs pages, the socket and uploads;
//! everything else there changes the app's state and is the app's own business.

use http::{HeaderMap, Method, header};

use crate::error::Error;

/// Checks a request for an app in Wave mode. `base` is the path that the app lives under, such as `/`.
///
/// # Errors
/// [`Error::WaveMethod`] or [`Error::WavePath`].
pub(crate) fn admit(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    base: &str,
) -> Result<(), Error> {
    if *method == Method::PATCH || *method == Method::PUT {
        return Err(Error::WaveMethod);
    }
    let json = |line: &http::HeaderValue| {
        line.as_bytes()
            .to_ascii_lowercase()
            .windows(4)
            .any(|w| w == b"json")
    };
    if *method == Method::POST && headers.get_all(header::CONTENT_TYPE).iter().any(json) {
        return Err(Error::WaveMethod);
    }
    if below(path, base)
        .first()
        .is_some_and(|segment| segment == "_c")
    {
        return Err(Error::WavePath);
    }
    Ok(())
}

/// The segments of `path` below `base`, as waved's own router will read them: decoded, without dots and empty ones.
fn below(path: &str, base: &str) -> Vec<String> {
    let mut segments = normalized(path);
    let base = normalized(base);
    if segments.starts_with(&base) {
        segments.drain(..base.len());
    }
    segments
}

fn normalized(path: &str) -> Vec<String> {
    let mut segments = Vec::new();
    for segment in decoded(path).split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment.to_owned()),
        }
    }
    segments
}

fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| path.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = escape {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_server_gets_only_what_a_browser_needs() {
        let cases = [
            ("a page", "GET", "/", "", "/", true),
            ("the socket", "GET", "/_s/", "", "/", true),
            (
                "an upload",
                "POST",
                "/_f/",
                "multipart/form-data; boundary=x",
                "/",
                true,
            ),
            (
                "a form",
                "POST",
                "/",
                "application/x-www-form-urlencoded",
                "/",
                true,
            ),
            ("a page's state", "PATCH", "/", "", "/", false),
            ("a file by name", "PUT", "/_f/x", "", "/", false),
            (
                "an app that registers",
                "POST",
                "/",
                "application/json",
                "/",
                false,
            ),
            (
                "json in another spelling",
                "POST",
                "/",
                "Application/JSON; charset=utf-8",
                "/",
                false,
            ),
            ("the cache", "GET", "/_c/key", "", "/", false),
            ("the cache without a slash", "GET", "/_c", "", "/", false),
            ("the cache, encoded", "GET", "/%5Fc/key", "", "/", false),
            (
                "the cache, doubled slash",
                "GET",
                "//_c/key",
                "",
                "/",
                false,
            ),
            ("the cache, dots", "GET", "/x/../_c/key", "", "/", false),
            (
                "the cache, encoded dots",
                "GET",
                "/x/%2e%2e/_c/key",
                "",
                "/",
                false,
            ),
            (
                "the cache, encoded slash",
                "GET",
                "/%2f_c%2fkey",
                "",
                "/",
                false,
            ),
            (
                "the cache below a base",
                "GET",
                "/instance/sales/_c/key",
                "",
                "/instance/sales/",
                false,
            ),
            (
                "a page below a base",
                "GET",
                "/instance/sales/_cx",
                "",
                "/instance/sales/",
                true,
            ),
            ("a deeper _c", "GET", "/page/_c/", "", "/", true),
        ];
        for (name, method, path, content_type, base, admitted) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, content_type.parse().expect("a value"));
            let method: Method = method.parse().expect("a method");
            assert_eq!(
                admit(&method, path, &headers, base).is_ok(),
                admitted,
                "{name}"
            );
        }
    }
}
