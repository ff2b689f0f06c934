//! `StoreUrl`: where bundles and environments are.

use std::fmt;
use std::str::FromStr;

use http::Uri;

use crate::digest::Digest;
use crate::environment::EnvironmentKey;

/// Address of the store's internal port: `http://host[:port]`, without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreUrl {
    host: String,
    port: u16,
}

impl StoreUrl {
    /// Host and port to connect to.
    pub(crate) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Value of the `Host` header.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Path of a bundle.
    pub(crate) fn bundle_path(digest: &Digest) -> String {
        format!("/v1/bundles/{digest}")
    }

    /// Path of an environment.
    pub(crate) fn environment_path(key: &EnvironmentKey) -> String {
        format!("/v1/environments/{key}")
    }

    /// Path of the exact versions that are in an environment.
    pub(crate) fn lock_path(key: &EnvironmentKey) -> String {
        format!("/v1/environments/{key}/lock")
    }
}

impl FromStr for StoreUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| "not a URL")?;
        if uri.scheme_str() != Some("http") {
            return Err("only `http://` is supported");
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("a store URL has no path");
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("a store URL names a host");
        }
        Ok(Self {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(80),
        })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::StoreUrl;

    #[test]
    fn store_urls_are_plain_http_without_a_path() {
        let cases = [
            (
                "http://wavestore-internal.ns.svc:8081",
                Some("http://wavestore-internal.ns.svc:8081"),
            ),
            (
                "http://wavestore-internal/",
                Some("http://wavestore-internal:80"),
            ),
            ("http://[fd00::1]:8081", Some("http://[fd00::1]:8081")),
            ("https://store", None),
            ("http://store/base", None),
            ("store:8081", None),
        ];
        for (text, expected) in cases {
            let parsed = text.parse::<StoreUrl>().ok().map(|url| url.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
    }
}
