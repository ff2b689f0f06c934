//! Which hosts bundles are fetched from. Whoever publishes writes the url, and the operator that follows it stands inside the
//! cluster: by default nothing but the public internet is in reach.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Blocks that are not of the public internet (IANA's special-purpose registries).
const PRIVATE_V4: [(u32, u32); 15] = [
    (0x0000_0000, 8),  // 0.0.0.0/8
    (0x0a00_0000, 8),  // 10.0.0.0/8
    (0x6440_0000, 10), // 100.64.0.0/10
    (0x7f00_0000, 8),  // 127.0.0.0/8
    (0xa9fe_0000, 16), // 169.254.0.0/16
    (0xac10_0000, 12), // 172.16.0.0/12
    (0xc000_0000, 24), // 192.0.0.0/24
    (0xc000_0200, 24), // 192.0.2.0/24
    (0xc058_6300, 24), // 192.88.99.0/24
    (0xc0a8_0000, 16), // 192.168.0.0/16
    (0xc612_0000, 15), // 198.18.0.0/15
    (0xc633_6400, 24), // 198.51.100.0/24
    (0xcb00_7100, 24), // 203.0.113.0/24
    (0xe000_0000, 4),  // multicast
    (0xf000_0000, 4),  // reserved, broadcast
];

/// The hosts that may be asked for bundles.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    /// None: every host with an address of the public internet. Some: these alone, wherever they are.
    listed: Arc<[String]>,
}

/// Why a host is not asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// There is a list, and it is not on it.
    #[error("bundles are not fetched from the host `{0}`")]
    NotListed(String),
    /// It has an address inside.
    #[error("the host `{0}` is not on the public internet")]
    Private(String),
}

impl Hosts {
    pub(crate) fn new(listed: Vec<String>) -> Self {
        Self {
            listed: listed.into(),
        }
    }

    /// Checks what a url, or a redirect, says; addresses of names are checked when they are looked up.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Refused> {
        let host = url.host_str().unwrap_or_default().to_owned();
        if !self.listed.is_empty() && !self.lists(&host) {
            return Err(Refused::NotListed(host));
        }
        let ip = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::from(ip),
            Some(Host::Ipv6(ip)) => IpAddr::from(ip),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        if self.may_be_at(&host, ip) {
            Ok(())
        } else {
            Err(Refused::Private(host))
        }
    }

    fn lists(&self, host: &str) -> bool {
        self.listed
            .iter()
            .any(|listed| listed.eq_ignore_ascii_case(host))
    }

    /// Whether this host may be asked at this address. Nobody is asked at link-local ones, where clouds hand out credentials.
    fn may_be_at(&self, host: &str, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let is_link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        !is_link_local && (self.lists(host) || is_public(ip))
    }
}

impl Resolve for Hosts {
    fn resolve(&self, name: Name) -> Resolving {
        let hosts = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found
                .filter(|address| hosts.may_be_at(name.as_str(), address.ip()))
                .collect();
            if allowed.is_empty() {
                return Err(Refused::Private(name.as_str().to_owned()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is of the public internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let bits = ip.to_bits();
            !PRIVATE_V4
                .iter()
                .any(|(block, length)| (bits ^ block) >> (32 - length) == 0)
        }
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// Global unicast, without documentation (`2001:db8::/32`), Teredo and other protocols (`2001::/23`), and 6to4 (`2002::/16`),
/// which may lead to any IPv4 address.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    let is_global = first & 0xe000 == 0x2000;
    let is_protocol = first == 0x2001 && (second < 0x0200 || second == 0x0db8);
    is_global && !is_protocol && first != 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_list_only_the_public_internet_is_asked() {
        let hosts = Hosts::default();
        let cases = [
            ("https://example.com/app.wave", true),
            ("https://93.184.215.14/app.wave", true),
            ("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/", true),
            ("https://0.0.0.0/", false),
            ("https://10.96.0.1/", false),
            ("https://100.64.0.1/", false),
            ("https://127.0.0.1:6443/", false),
            ("https://2130706433/", false),
            ("https://0x7f.1/", false),
            ("https://169.254.169.254/latest/meta-data/", false),
            ("https://172.31.255.255/", false),
            ("https://172.32.0.1/", true),
            ("https://192.168.1.1/", false),
            ("https://198.19.0.1/", false),
            ("https://224.0.0.1/", false),
            ("https://255.255.255.255/", false),
            ("https://[::1]/", false),
            ("https://[::]/", false),
            ("https://[::ffff:10.0.0.1]/", false),
            ("https://[64:ff9b::a00:1]/", false),
            ("https://[2002:a00:1::]/", false),
            ("https://[2001:db8::1]/", false),
            ("https://[fd00:ec2::254]/", false),
            ("https://[fe80::1]/", false),
            ("https://[ff02::1]/", false),
        ];
        for (url, allowed) in cases {
            let url: Url = url.parse().expect("a url");
            assert_eq!(hosts.check(&url).is_ok(), allowed, "{url}");
        }
    }

    #[test]
    fn with_a_list_nobody_else_is_asked_wherever_they_are() {
        let hosts = Hosts::new(vec![
            "bundles.example.com".to_owned(),
            "10.1.2.3".to_owned(),
            "169.254.169.254".to_owned(),
        ]);
        let check = |url: &str| hosts.check(&url.parse().expect("a url"));
        assert_eq!(check("https://BUNDLES.example.com/"), Ok(()));
        assert_eq!(check("https://10.1.2.3/"), Ok(()));
        let not_listed = |host: &str| Err(Refused::NotListed(host.to_owned()));
        assert_eq!(check("https://example.com/"), not_listed("example.com"));
        assert_eq!(check("https://10.1.2.4/"), not_listed("10.1.2.4"));
        assert_eq!(
            check("https://169.254.169.254/"),
            Err(Refused::Private("169.254.169.254".to_owned())),
            "not even if somebody lists it"
        );
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_not_followed_unless_it_is_listed() {
        let name = || "localhost".parse().expect("a name");
        let error = Hosts::default().resolve(name()).await.err();
        assert_eq!(
            error.expect("refused").to_string(),
            "the host `localhost` is not on the public internet"
        );
        let listed = Hosts::new(vec!["localhost".to_owned()]);
        let found = listed.resolve(name()).await.expect("found");
        assert!(found.count() > 0);
    }
}
