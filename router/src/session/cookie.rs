//! The platform's cookies: their names, how they are read and how they are set.

use catalog::TicketId;
use http::{HeaderMap, HeaderValue, header};

use crate::error::Error;

/// Every name that a cookie of ours has in any store, with or without https.
pub(crate) const PLATFORM_COOKIES: [&str; 8] = [
    "__Host-wavestore",
    "wavestore",
    "__Host-wavestore-visit",
    "wavestore-visit",
    "__Host-wavestore-oidc",
    "wavestore-oidc",
    "__Host-wavestore-form",
    "wavestore-form",
];

/// Seconds that a browser keeps the secret of its sign-ins at the OIDC provider.
const OIDC_MAX_AGE: u32 = 1800;

/// Seconds that a browser keeps the nonce of a visit.
const VISIT_MAX_AGE: u32 = 600;

/// A secret by which one browser is known before anybody has signed in: 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BrowserSecret(String);

impl BrowserSecret {
    /// Takes the one that the browser holds, if it is well formed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let well_formed = text.parse::<TicketId>().is_ok();
        well_formed.then(|| Self(text.to_owned()))
    }

    /// The one that the browser holds, so that tabs which sign in at the same time share it, or else a new one.
    ///
    /// # Errors
    /// No random bytes.
    pub(crate) fn held_or_new(held: Option<&str>) -> Result<Self, Error> {
        match held.and_then(Self::parse) {
            Some(held) => Ok(held),
            None => Ok(Self(TicketId::random()?.expose())),
        }
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// The cookies of one store. The `__Host-` prefix keeps subdomains from planting them, but needs https.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cookies {
    secure: bool,
}

impl Cookies {
    pub(crate) fn new(secure: bool) -> Self {
        Self { secure }
    }

    fn session_name(self) -> &'static str {
        if self.secure {
            "__Host-wavestore"
        } else {
            "wavestore"
        }
    }

    fn visit_name(self) -> &'static str {
        if self.secure {
            "__Host-wavestore-visit"
        } else {
            "wavestore-visit"
        }
    }

    fn oidc_name(self) -> &'static str {
        if self.secure {
            "__Host-wavestore-oidc"
        } else {
            "wavestore-oidc"
        }
    }

    fn form_name(self) -> &'static str {
        if self.secure {
            "__Host-wavestore-form"
        } else {
            "wavestore-form"
        }
    }

    /// The secret of the sign-in page's form, if the browser shows exactly one.
    pub(crate) fn form(self, headers: &HeaderMap) -> Option<&str> {
        read(headers, self.form_name())
    }

    pub(crate) fn set_form(self, secret: &BrowserSecret) -> HeaderValue {
        self.line(self.form_name(), secret.expose(), None)
    }

    /// The secret of sign-ins at the OIDC provider, if the browser shows exactly one.
    pub(crate) fn oidc(self, headers: &HeaderMap) -> Option<&str> {
        read(headers, self.oidc_name())
    }

    pub(crate) fn set_oidc(self, secret: &BrowserSecret) -> HeaderValue {
        self.line(self.oidc_name(), secret.expose(), Some(OIDC_MAX_AGE))
    }

    /// The session's secret, if the browser shows exactly one.
    pub(crate) fn session(self, headers: &HeaderMap) -> Option<&str> {
        read(headers, self.session_name())
    }

    /// The nonce of a visit, if the browser shows exactly one.
    pub(crate) fn visit(self, headers: &HeaderMap) -> Option<&str> {
        read(headers, self.visit_name())
    }

    /// Sets the session's cookie until the browser is closed; the database ends it earlier.
    pub(crate) fn set_session(self, secret: &str) -> HeaderValue {
        self.line(self.session_name(), secret, None)
    }

    pub(crate) fn clear_session(self) -> HeaderValue {
        self.line(self.session_name(), "", Some(0))
    }

    pub(crate) fn set_visit(self, nonce: &str) -> HeaderValue {
        self.line(self.visit_name(), nonce, Some(VISIT_MAX_AGE))
    }

    pub(crate) fn clear_visit(self) -> HeaderValue {
        self.line(self.visit_name(), "", Some(0))
    }

    fn line(self, name: &str, value: &str, max_age: Option<u32>) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let max_age = max_age
            .map(|seconds| format!("; Max-Age={seconds}"))
            .unwrap_or_default();
        HeaderValue::from_str(&format!(
            "{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{max_age}"
        ))
        .expect("names are constants and values base64url")
    }
}

/// The value of the cookie `name`. Two of them mean that somebody else planted one, so neither counts.
fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    // Byte by byte: a cookie of the app that is no text must not hide ours.
    let mut values = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| {
            pair.trim_ascii()
                .strip_prefix(name.as_bytes())?
                .strip_prefix(b"=")
        });
    let value = values.next()?;
    let alone = values.next().is_none();
    std::str::from_utf8(value).ok().filter(|_| alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_makes_cookies_secure_and_bound_to_their_host() {
        let plain = Cookies::new(false).set_session("x");
        assert_eq!(plain, "wavestore=x; Path=/; HttpOnly; SameSite=Lax");
        let secure = Cookies::new(true).set_session("x");
        assert_eq!(
            secure,
            "__Host-wavestore=x; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
    }

    #[test]
    fn one_cookie_of_the_exact_name_counts() {
        let cases: [(&[&str], Option<&str>); 8] = [
            (&["wavestore=x"], Some("x")),
            (&["a=1; wavestore=x; b=2"], Some("x")),
            (&["a=1", "wavestore=x"], Some("x")),
            (&["wavestore=x; wavestore=y"], None),
            (&["__Host-wavestore=x"], None),
            (&["Wavestore=x"], None),
            (&["wavestores=x; xwavestore=x"], None),
            (&["own=\u{e9}; wavestore=x"], Some("x")),
        ];
        for (lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                let line = HeaderValue::from_bytes(line.as_bytes()).expect("a value");
                headers.append(header::COOKIE, line);
            }
            assert_eq!(Cookies::new(false).session(&headers), expected, "{lines:?}");
        }
    }
}
