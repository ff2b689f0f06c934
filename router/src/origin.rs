//! Which page sent a request, as far as the browser says.

use http::uri::Authority;
use http::{HeaderMap, Method, header};

/// Whose page sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A page of the same origin.
    Same,
    /// A page of another origin, on the same site or not.
    Foreign,
    /// No browser says; browsers do for every unsafe request and every WebSocket.
    Unknown,
}

/// Reads who sent a request that arrived for `authority`.
pub(crate) fn sender(headers: &HeaderMap, authority: &Authority) -> Sender {
    if let Some(site) = headers.get("sec-fetch-site") {
        let same = site == "same-origin" || site == "none";
        return if same { Sender::Same } else { Sender::Foreign };
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Sender::Unknown;
    };
    let host = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, host)| host);
    if host.is_some_and(|host| host.eq_ignore_ascii_case(authority.as_str())) {
        Sender::Same
    } else {
        Sender::Foreign
    }
}

/// Whether a method may change something.
pub(crate) fn is_unsafe(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_page_is_told_by_what_the_browser_says() {
        type Lines = &'static [(&'static str, &'static str)];
        let cases: [(&str, Lines, Sender); 9] = [
            ("nothing", &[], Sender::Unknown),
            (
                "the same origin",
                &[("origin", "http://store.test:8080")],
                Sender::Same,
            ),
            (
                "its scheme behind a TLS proxy",
                &[("origin", "https://store.test:8080")],
                Sender::Same,
            ),
            (
                "another port",
                &[("origin", "http://store.test")],
                Sender::Foreign,
            ),
            (
                "a subdomain",
                &[("origin", "http://evil.store.test:8080")],
                Sender::Foreign,
            ),
            ("no origin at all", &[("origin", "null")], Sender::Foreign),
            (
                "fetch metadata",
                &[("sec-fetch-site", "same-origin")],
                Sender::Same,
            ),
            (
                "another app on the same site",
                &[("sec-fetch-site", "same-site")],
                Sender::Foreign,
            ),
            (
                "metadata before origin",
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://store.test:8080"),
                ],
                Sender::Foreign,
            ),
        ];
        let authority = Authority::from_static("store.test:8080");
        for (name, lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                let name: header::HeaderName = name.parse().expect("a name");
                headers.insert(name, value.parse().expect("a value"));
            }
            assert_eq!(sender(&headers, &authority), expected, "{name}");
        }
    }
}
