//! Headers on their way between a browser and an app.

use std::net::IpAddr;

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::cookies::strip_platform_cookies;
use crate::client_address::{self, FORWARDED_FOR, FORWARDED_PROTO};

/// Header that names a request in requests, answers and logs.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// How many headers of ours a request may get, with those that are for upgrades and trailers.
const OURS: usize = 10;

/// Beginnings of names that only we may use, as those in [`is_reserved`].
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

/// A request's headers as an app gets them: without what belongs to the client's connection, without what only we may say,
/// without the platform's credentials, and with how the request reached us.
#[must_use]
pub(crate) fn outgoing(given: &HeaderMap, arrival: &Arrival<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(given.len() + OURS);
    // A host that is no header value was refused when the request was read.
    if let Ok(host) = HeaderValue::from_str(arrival.host) {
        headers.insert(header::HOST, host);
    }
    let named = Named::by_connection(given);
    for (name, value) in given {
        let text = name.as_str();
        // We answered `100-continue` ourselves, by reading the body.
        let ours = matches!(text, "authorization" | "expect" | "host" | "x-request-id");
        if !ours && !is_hop_by_hop(text) && !is_reserved(text) && !named.contains(text) {
            headers.append(name.clone(), value.clone());
        }
    }
    if takes_trailers(given) {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    strip_platform_cookies(&mut headers);
    set_forwarded(&mut headers, arrival);
    headers
}

/// Removes what belongs to one connection, in either direction, and what `strays`.
pub(crate) fn strip(headers: &mut HeaderMap, strays: impl Fn(&str) -> bool) {
    let named = Named::by_connection(headers);
    let gone: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            is_hop_by_hop(name) || strays(name) || named.contains(name)
        })
        .cloned()
        .collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Names of headers that belong to one connection because it says so.
struct Named<'a>(Vec<&'a str>);

impl<'a> Named<'a> {
    fn by_connection(headers: &'a HeaderMap) -> Self {
        let mut of_connection = Self(Vec::new());
        for name in tokens(headers, header::CONNECTION) {
            // Of thousands of names only those are kept, once, that there are headers of.
            if headers.contains_key(name) && !of_connection.contains(name) {
                of_connection.0.push(name);
            }
        }
        of_connection
    }

    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|named| named.eq_ignore_ascii_case(name))
    }
}

/// Whether the client takes trailers; it says so on its own connection only.
fn takes_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, header::TE).any(|coding| coding.eq_ignore_ascii_case("trailers"))
}

/// The elements of a list over all its lines, not the first alone.
pub(super) fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

/// Leaves in trailers, either way, what may come after a body. Some take them for headers, which were checked already.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    strip(trailers, |name| {
        let of_heads = [
            header::AUTHORIZATION,
            header::COOKIE,
            header::SET_COOKIE,
            header::HOST,
            header::CONTENT_LENGTH,
            header::TRAILER,
        ];
        is_reserved(name) || of_heads.iter().any(|head| head == name)
    });
}

/// Tells the app how the request reached us. Put together without formats: every request needs it.
fn set_forwarded(headers: &mut HeaderMap, arrival: &Arrival<'_>) {
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
    let peer_text = client_address::text(peer);
    let (opening, closing) = match peer {
        IpAddr::V4(_) => ("for=", ";host=\""),
        IpAddr::V6(_) => ("for=\"[", "]\";host=\""),
    };
    let forwarded = [opening, &peer_text, closing, host, "\";proto=", scheme].concat();
    let ours = [
        (FORWARDED_HOST, HeaderValue::from_str(host)),
        (FORWARDED_PORT, HeaderValue::from_str(port)),
        (FORWARDED_FOR, HeaderValue::from_str(&peer_text)),
        (REAL_IP, HeaderValue::try_from(peer_text)),
        (header::FORWARDED, HeaderValue::try_from(forwarded)),
    ];
    for (name, value) in ours {
        // A host that is no header value was refused when the request was read.
        if let Ok(value) = value {
            headers.insert(name, value);
        }
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    headers.insert(REQUEST_ID, request_id.clone());
}

/// Whether a header belongs to one connection (RFC 9110, 7.6.1), whether or not `Connection` names it. Header names arrive in
/// lower case.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "keep-alive"
            | "proxy-connection"
    )
}

/// Whether a name tells an app who asks or how it was reached; from outside these are claims, so none passes. Some servers
/// read `_` as `-`, so both are one here.
fn is_reserved(name: &str) -> bool {
    let unified;
    let name = if name.contains('_') {
        unified = name.replace('_', "-");
        unified.as_str()
    } else {
        name
    };
    matches!(
        name,
        "forwarded"
            | "x-forwarded"
            | "x-real-ip"
            | "x-client-ip"
            | "true-client-ip"
            | "x-original-url"
            | "x-original-uri"
            | "x-rewrite-url"
            | "remote-user"
            | "x-remote-user"
            | "x-remote-group"
            | "x-remote-groups"
            | "x-authenticated-user"
            | "x-user"
            | "http2-settings"
    ) || RESERVED_PREFIXES
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

    static ID: HeaderValue = HeaderValue::from_static("id");

    static ARRIVAL: Arrival<'_> = Arrival {
        peer: IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3)),
        scheme: "http",
        host: "sales.test:8080",
        request_id: &ID,
    };

    fn ours() -> HeaderMap {
        headers(&[
            ("host", "sales.test:8080"),
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
        ])
    }

    #[test]
    fn an_ipv6_address_is_quoted_where_it_has_to_be() {
        let arrival = Arrival {
            peer: "2001:db8::1".parse().expect("an address"),
            host: "sales.test",
            scheme: "https",
            ..ARRIVAL
        };
        let found = outgoing(&HeaderMap::new(), &arrival);
        let expected = "for=\"[2001:db8::1]\";host=\"sales.test\";proto=https";
        assert_eq!(found[header::FORWARDED], expected);
        assert_eq!(found["x-real-ip"], "2001:db8::1");
        assert_eq!(found["x-forwarded-port"], "443");
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
        strip(&mut given, |_| false);
        assert_eq!(given, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn names_of_nothing_cost_nothing() {
        let line = "x,X,,a b,".repeat(1000);
        let given = headers(&[("connection", &line), ("X", "1"), ("x", "2"), ("y", "3")]);
        assert_eq!(Named::by_connection(&given).0, ["x"]);
        let expected: HeaderMap = headers(&[("y", "3")]);
        let mut stripped = given;
        strip(&mut stripped, |_| false);
        assert_eq!(stripped, expected);
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
            let given = headers(&[(claim, "admin"), ("accept", "*/*"), ("x-my-header", "1")]);
            let mut expected = ours();
            expected.extend(headers(&[("accept", "*/*"), ("x-my-header", "1")]));
            assert_eq!(outgoing(&given, &ARRIVAL), expected, "{claim}");
        }
    }

    /// CVE-2024-45410: `Connection: x-forwarded-host` must not remove what we set.
    #[test]
    fn a_connection_header_cannot_remove_ours() {
        let given = headers(&[
            ("Connection", "x-forwarded-host, x-real-ip, Host"),
            ("x-forwarded-host", "evil"),
        ]);
        assert_eq!(outgoing(&given, &ARRIVAL), ours());
    }
}
