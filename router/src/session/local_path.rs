//! A path on the same host, for redirects.

use std::fmt;
use std::str::FromStr;

/// Longest path that is carried through a redirect, in bytes.
const MAX_LENGTH: usize = 4096;

/// A path with an optional query that no browser reads as another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalPath(String);

/// A text that is no [`LocalPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a path on this host")]
pub(crate) struct NotLocal;

impl LocalPath {
    /// The path `/`.
    #[must_use]
    pub(crate) fn root() -> Self {
        Self("/".to_owned())
    }

    /// The path, or `/` when `text` is none.
    #[must_use]
    pub(crate) fn or_root(text: &str) -> Self {
        text.parse().unwrap_or_else(|NotLocal| Self::root())
    }
}

impl FromStr for LocalPath {
    type Err = NotLocal;

    fn from_str(text: &str) -> Result<Self, NotLocal> {
        // Browsers read `\` as `/`, drop control characters, and take what follows `//` for a host.
        let local = text.len() <= MAX_LENGTH
            && text.starts_with('/')
            && !text.starts_with("//")
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        // Some servers decode before they redirect.
        let encoded = text.get(1..4).is_some_and(|start| {
            start.eq_ignore_ascii_case("%2f") || start.eq_ignore_ascii_case("%5c")
        });
        if local && !encoded {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotLocal)
        }
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_stays_on_its_host() {
        let cases = [
            ("/", true),
            ("/a/b?c=d&e=//f", true),
            ("/a//b", true),
            ("/?next=https://evil.test", true),
            ("", false),
            ("a", false),
            ("//evil.test", false),
            ("///evil.test", false),
            ("/\\evil.test", false),
            ("\\\\evil.test", false),
            ("/a\\b", false),
            ("/%2fevil.test", false),
            ("/%2F%2fevil.test", false),
            ("%2f%2fevil.test", false),
            ("/%5cevil.test", false),
            ("https://evil.test/", false),
            ("https:evil.test", false),
            ("javascript:alert(1)", false),
            ("/\t/evil.test", false),
            ("\t//evil.test", false),
            ("/\n/evil.test", false),
            ("/ /evil.test", false),
            ("/\u{e9}", false),
            ("/a\r\nSet-Cookie: x", false),
        ];
        for (text, local) in cases {
            assert_eq!(text.parse::<LocalPath>().is_ok(), local, "{text:?}");
        }
    }
}
