//! Headers on their way between a browser and an app.

use std::net::IpAddr;

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

/// Headers that belong to one connection (RFC 9110, 7.6.1), whether or not `Connection` names them.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Names that tell an app who asks or how it was reached; from outside they are claims, so none passes.
const RESERVED: [&str; 15] = [
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "remote-user",
    "x-remote-user",
    "x-remote-group",
    "x-remote-groups",
    "x-authenticated-user",
    "x-user",
    "http2-settings",
];

/// The same, by the beginning of the name.
const RESERVED_PREFIXES: [&str; 6] = [
    "x-forwarded-",
    "x-auth-request-",
    "x-wavestore-",
    "x-webauth-",
    "x-remote-extra-",
    "wave-",
];

/// How a request reached us, for the headers that tell the app.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    /// Address of the client.
    pub(crate) peer: IpAddr,
    /// `http` or `https`, as the browser sees it.
    pub(crate) scheme: &'static str,
    /// The authority that the client asked for.
    pub(crate) host: &'a str,
    /// Id of the request.
    pub(crate) request_id: &'a HeaderValue,
}

/// Removes headers that belong to one connection, in either direction. Call it before adding ours.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter() // every line, not the first
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Removes what only we may say: identity and forwarding headers in every spelling, and credentials of the platform.
pub(crate) fn strip_reserved(headers: &mut HeaderMap) {
    let reserved: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_reserved(name.as_str()))
        .cloned()
        .collect();
    for name in reserved {
        headers.remove(name);
    }
    headers.remove(header::AUTHORIZATION);
}

/// Whether the client takes trailers; it says so on its own connection only, so ask before hop-by-hop headers go.
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    let mut codings = headers
        .get_all(header::TE)
        .into_iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Leaves in trailers, either way, what may come after a body. Some take them for headers, which were checked already.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    strip_reserved(trailers);
    for name in [
        header::COOKIE,
        header::SET_COOKIE,
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRAILER,
    ] {
        trailers.remove(name);
    }
}

/// Tells the app how the request reached us.
pub(crate) fn set_forwarded(headers: &mut HeaderMap, arrival: &Arrival<'_>) {
    let Arrival {
        peer,
        scheme,
        host,
        request_id,
    } = *arrival;
    let port = host
        .rsplit_once(':')
        .map(|(_, port)| port)
        .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
        .unwrap_or(if scheme == "https" { "443" } else { "80" });
    let node = match peer {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    };
    let ours = [
        (
            "forwarded",
            format!("for={node};host=\"{host}\";proto={scheme}"),
        ),
        ("x-forwarded-for", peer.to_string()),
        ("x-forwarded-host", host.to_owned()),
        ("x-forwarded-port", port.to_owned()),
        ("x-forwarded-proto", scheme.to_owned()),
        ("x-real-ip", peer.to_string()),
    ];
    for (name, value) in ours {
        // A host that is no header value was refused when the request was read.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers.insert(HeaderName::from_static("x-request-id"), request_id.clone());
}

/// Some servers read `_` as `-`, so both are one here. Header names arrive in lower case.
fn is_reserved(name: &str) -> bool {
    let unified;
    let name = if name.contains('_') {
        unified = name.replace('_', "-");
        unified.as_str()
    } else {
        name
    };
    RESERVED.contains(&name)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().expect("a name");
            map.append(name, value.parse().expect("a value"));
        }
        map
    }

    #[test]
    fn connection_headers_stay_on_their_connection() {
        let mut given = headers(&[
            ("Connection", "close, X-Named"),
            ("connection", "x-also-named"),
            ("X-Named", "1"),
            ("X-Also-Named", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "close"),
            ("Proxy-Authorization", "Basic x"),
            ("TE", "trailers"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "websocket"),
            ("Accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut given);
        assert_eq!(given, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn claims_about_the_viewer_never_pass() {
        let claims = [
            "X-Forwarded-User",
            "X-FORWARDED-EMAIL",
            "x_forwarded_user",
            "X-Forwarded_Groups",
            "X-Auth-Request-User",
            "x_auth_request_email",
            "Remote-User",
            "REMOTE_USER",
            "X-Wavestore-User",
            "X_Wavestore_Role",
            "Wave-Subject-ID",
            "Wave_Username",
            "X-Forwarded-For",
            "X-Real-IP",
            "Forwarded",
            "X-Original-URL",
            "X-WebAuth-User",
            "Authorization",
        ];
        for claim in claims {
            let mut given = headers(&[(claim, "admin"), ("accept", "*/*"), ("x-my-header", "1")]);
            strip_reserved(&mut given);
            assert_eq!(
                given,
                headers(&[("accept", "*/*"), ("x-my-header", "1")]),
                "{claim}"
            );
        }
    }

    /// CVE-2024-45410: `Connection: x-forwarded-host` must not remove what we set.
    #[test]
    fn a_connection_header_cannot_remove_ours() {
        let mut given = headers(&[
            ("Connection", "x-forwarded-host, x-real-ip"),
            ("x-forwarded-host", "evil"),
        ]);
        strip_hop_by_hop(&mut given);
        strip_reserved(&mut given);
        let request_id = HeaderValue::from_static("id");
        let arrival = Arrival {
            peer: "10.1.2.3".parse().expect("an address"),
            scheme: "http",
            host: "sales.test:8080",
            request_id: &request_id,
        };
        set_forwarded(&mut given, &arrival);
        let expected = headers(&[
            (
                "forwarded",
                "for=10.1.2.3;host=\"sales.test:8080\";proto=http",
            ),
            ("x-forwarded-for", "10.1.2.3"),
            ("x-forwarded-host", "sales.test:8080"),
            ("x-forwarded-port", "8080"),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "10.1.2.3"),
            ("x-request-id", "id"),
        ]);
        assert_eq!(given, expected);
    }
}
