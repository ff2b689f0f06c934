//! Upgrades of HTTP/1.1 connections: what was asked for, and whether the app agreed to just that.

use http::{HeaderMap, HeaderValue, Request, Version, header};
use hyper::body::Incoming;

use super::frames::Meter;
use super::has_body;
use super::headers::tokens;
use crate::error::Error;

/// An upgrade that a client asks for, or that both sides agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked(HeaderValue);

impl Asked {
    /// The upgrade that `request` asks for. One to h2c is not passed on, and so declined: behind it nobody would
    /// check requests.
    ///
    /// # Errors
    /// [`Error::BadUpgrade`] when a body comes with it: each side could see its end elsewhere.
    pub(crate) fn of(request: &Request<Incoming>) -> Result<Option<Self>, Error> {
        if request.version() != Version::HTTP_11 {
            return Ok(None);
        }
        let asked = Self::in_headers(request.headers())?;
        if asked.is_some() && has_body(request) {
            return Err(Error::BadUpgrade);
        }
        Ok(asked)
    }

    fn in_headers(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let mut lines = headers.get_all(header::UPGRADE).iter();
        let Some(line) = lines.next() else {
            return Ok(None);
        };
        if !tokens(headers, header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) {
            return Ok(None);
        }
        if lines.next().is_some() {
            return Err(Error::BadUpgrade);
        }
        let h2c = tokens(headers, header::UPGRADE).any(|token| token.eq_ignore_ascii_case("h2c"));
        Ok((!h2c).then(|| Self(line.clone())))
    }

    /// The protocol that the app switches to, if it is one that was asked for.
    pub(crate) fn agreed(&self, response: &HeaderMap) -> Result<Self, Error> {
        let mut chosen = response.get_all(header::UPGRADE).iter();
        let (Some(protocol), None) = (chosen.next(), chosen.next()) else {
            return Err(Error::UnaskedUpgrade);
        };
        let asked = self.0.to_str().unwrap_or_default();
        let wanted = asked.split(',').any(|token| {
            token
                .trim()
                .as_bytes()
                .eq_ignore_ascii_case(protocol.as_bytes())
        });
        if wanted {
            Ok(Self(protocol.clone()))
        } else {
            Err(Error::UnaskedUpgrade)
        }
    }

    /// What of the tunnel counts as use, once this is agreed.
    pub(crate) fn meter(&self) -> Meter {
        Meter::of(self.0.as_bytes())
    }

    /// Puts the upgrade back after the hop-by-hop headers were stripped.
    pub(crate) fn insert_into(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.0.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    name.parse::<header::HeaderName>().expect("a name"),
                    HeaderValue::from_static(value),
                )
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    #[test]
    fn only_upgrades_that_are_asked_for_properly_pass() {
        type Lines = &'static [(&'static str, &'static str)];
        let cases: [(&str, Lines, Option<bool>); 7] = [
            (
                "a websocket",
                &[
                    ("connection", "keep-alive, Upgrade"),
                    ("upgrade", "websocket"),
                ],
                Some(true),
            ),
            (
                "another protocol",
                &[("connection", "upgrade"), ("upgrade", "tls/1.0")],
                Some(true),
            ),
            (
                "not named by connection",
                &[("connection", "close"), ("upgrade", "websocket")],
                Some(false),
            ),
            (
                "h2c",
                &[
                    ("connection", "upgrade, http2-settings"),
                    ("upgrade", "h2c"),
                ],
                Some(false),
            ),
            (
                "h2c in capitals",
                &[("connection", "upgrade"), ("upgrade", "H2C")],
                Some(false),
            ),
            (
                "h2c among others",
                &[("connection", "upgrade"), ("upgrade", "websocket, h2c")],
                Some(false),
            ),
            (
                "two lines",
                &[
                    ("connection", "upgrade"),
                    ("upgrade", "websocket"),
                    ("upgrade", "x"),
                ],
                None,
            ),
        ];
        for (name, lines, expected) in cases {
            let found = Asked::in_headers(&headers(lines))
                .ok()
                .map(|asked| asked.is_some());
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn the_app_may_only_switch_to_what_was_asked_for() {
        let asked = Asked(HeaderValue::from_static("websocket, other"));
        let cases = [
            ("WebSocket", true),
            ("other", true),
            ("h2c", false),
            ("websocket, other", false),
        ];
        for (protocol, agreed) in cases {
            let response = headers(&[("upgrade", protocol)]);
            assert_eq!(asked.agreed(&response).is_ok(), agreed, "{protocol}");
        }
        assert!(asked.agreed(&HeaderMap::new()).is_err());
    }
}
