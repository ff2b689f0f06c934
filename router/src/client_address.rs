//! Whose request it is: the peer of the connection, or whom a trusted proxy says it took the request from.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

/// Addresses of those who passed a request on, the last one last.
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `http` or `https`, as the browser sees it.
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address.
    pub address: IpAddr,
    /// `http` or `https`, where a trusted proxy says so.
    pub scheme: Option<&'static str>,
}

/// Networks of the proxies in front, whose word is believed.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Proxies with addresses in `networks`.
    #[must_use]
    pub(crate) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether `address` is a proxy's.
    #[must_use]
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Reads where a request from `peer` comes from. Each proxy appends whom it took the request from, so the chain is
    /// read from its end to the first address that is no proxy's: everything before that is that client's own claim.
    /// What cannot be read ends the chain, too. `Forwarded` counts only where there is no `X-Forwarded-For`.
    #[must_use]
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let peer = peer.to_canonical();
        let mut client = Client {
            address: peer,
            scheme: None,
        };
        if !self.contains(peer) {
            return client;
        }
        if headers.contains_key(FORWARDED_FOR) {
            for hop in from_the_end(headers, &FORWARDED_FOR) {
                let Some(address) = node(hop) else { break };
                client.address = address;
                if !self.contains(address) {
                    break;
                }
            }
            client.scheme = from_the_end(headers, &FORWARDED_PROTO)
                .next()
                .and_then(scheme);
        } else {
            for hop in from_the_end(headers, &header::FORWARDED) {
                let Some(address) = parameter(hop, "for").and_then(node) else {
                    break;
                };
                client = Client {
                    address,
                    scheme: parameter(hop, "proto").and_then(scheme),
                };
                if !self.contains(address) {
                    break;
                }
            }
        }
        client
    }
}

/// An address as text, without the machinery of formats: every request needs it twice.
#[must_use]
pub(crate) fn text(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else {
        return address.to_string();
    };
    let mut text = String::with_capacity("255.255.255.255".len());
    for octet in address.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(itoa::Buffer::new().format(octet));
    }
    text
}

/// What one client can have at once, to count it by: whoever has one IPv6 address has 2^64 of them.
#[must_use]
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

/// The elements of a list over all its lines, last first.
fn from_the_end<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    // A line that is no text is one element that says nothing.
    headers
        .get_all(name)
        .iter()
        .rev()
        .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','))
        .map(str::trim)
}

/// The value of one parameter of a `Forwarded` element (RFC 7239). A comma in a quoted value breaks its element in two,
/// neither of which can be read: no proxy writes one.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut found = element.split(';').filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    });
    let value = found.next()?;
    if found.next().is_some() {
        return None;
    }
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(value),
    }
}

/// An address as proxies write it: bare, in brackets, and with a port.
fn node(text: &str) -> Option<IpAddr> {
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .or_else(|| {
            let inner = text.strip_prefix('[')?.strip_suffix(']')?;
            inner.parse().ok()
        })?;
    Some(address.to_canonical())
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"]
        .into_iter()
        .find(|known| text.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_everywhere() {
        for address in ["0.0.0.0", "10.1.200.3", "255.255.255.255", "2001:db8::1"] {
            assert_eq!(text(address.parse().expect("an address")), address);
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn a_proxy_is_believed_and_nobody_else() {
        type Lines = &'static [(&'static str, &'static str)];
        let cases: [(&str, &str, Lines, &str, Option<&str>); 19] = [
            ("no proxy", "203.0.113.9", &[], "203.0.113.9", None),
            (
                "a stranger's claim",
                "203.0.113.9",
                &[
                    ("x-forwarded-for", "198.51.100.1"),
                    ("x-forwarded-proto", "https"),
                ],
                "203.0.113.9",
                None,
            ),
            ("a silent proxy", "10.0.0.1", &[], "10.0.0.1", None),
            (
                "a proxy",
                "10.0.0.1",
                &[
                    ("x-forwarded-for", "198.51.100.1"),
                    ("x-forwarded-proto", "https"),
                ],
                "198.51.100.1",
                Some("https"),
            ),
            (
                "a client's claim before it",
                "10.0.0.1",
                &[("x-forwarded-for", "127.0.0.1, 198.51.100.1")],
                "198.51.100.1",
                None,
            ),
            (
                "a claim of a trusted address",
                "10.0.0.1",
                &[("x-forwarded-for", "10.0.0.7, 198.51.100.1")],
                "198.51.100.1",
                None,
            ),
            (
                "two proxies",
                "10.0.0.1",
                &[("x-forwarded-for", "192.0.2.1, 198.51.100.1, 10.0.0.2")],
                "198.51.100.1",
                None,
            ),
            (
                "several lines are one list",
                "10.0.0.1",
                &[
                    ("x-forwarded-for", "192.0.2.1"),
                    ("x-forwarded-for", "198.51.100.1"),
                ],
                "198.51.100.1",
                None,
            ),
            (
                "proxies only",
                "10.0.0.1",
                &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")],
                "10.0.0.3",
                None,
            ),
            (
                "what cannot be read ends the chain",
                "10.0.0.1",
                &[("x-forwarded-for", "198.51.100.1, unknown, 10.0.0.2")],
                "10.0.0.2",
                None,
            ),
            (
                "an empty element",
                "10.0.0.1",
                &[("x-forwarded-for", "198.51.100.1,")],
                "10.0.0.1",
                None,
            ),
            (
                "a port",
                "10.0.0.1",
                &[("x-forwarded-for", "198.51.100.1:4711")],
                "198.51.100.1",
                None,
            ),
            (
                "brackets",
                "10.0.0.1",
                &[("x-forwarded-for", "[2001:db8::1]")],
                "2001:db8::1",
                None,
            ),
            (
                "an IPv4 address in IPv6's clothes",
                "::ffff:10.0.0.1",
                &[("x-forwarded-for", "::ffff:198.51.100.1")],
                "198.51.100.1",
                None,
            ),
            (
                "Forwarded",
                "10.0.0.1",
                &[(
                    "forwarded",
                    "for=192.0.2.1;proto=http, For=\"[2001:db8::1]:80\";Proto=HTTPS",
                )],
                "2001:db8::1",
                Some("https"),
            ),
            (
                "both: a client may have sent the other",
                "10.0.0.1",
                &[
                    ("forwarded", "for=192.0.2.1"),
                    ("x-forwarded-for", "198.51.100.1"),
                ],
                "198.51.100.1",
                None,
            ),
            (
                "Forwarded that names nobody",
                "10.0.0.1",
                &[("forwarded", "for=_hidden")],
                "10.0.0.1",
                None,
            ),
            (
                "two names in one element",
                "10.0.0.1",
                &[("forwarded", "for=192.0.2.1;for=192.0.2.2")],
                "10.0.0.1",
                None,
            ),
            (
                "a scheme that is none",
                "10.0.0.1",
                &[
                    ("x-forwarded-for", "198.51.100.1"),
                    ("x-forwarded-proto", "gopher"),
                ],
                "198.51.100.1",
                None,
            ),
        ];
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().expect("a network"));
        let proxies = TrustedProxies::new(networks.to_vec());
        for (name, peer, lines, address, scheme) in cases {
            let mut headers = HeaderMap::new();
            for (key, value) in lines {
                headers.append(*key, value.parse().expect("a value"));
            }
            let client = proxies.client(peer.parse().expect("an address"), &headers);
            let address = address.parse().expect("an address");
            assert_eq!(client, Client { address, scheme }, "{name}");
        }
    }
}
