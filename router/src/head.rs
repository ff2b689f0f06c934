//! Heads of requests that could be read in two ways: refused here where hyper lets them through.
//!
//! What hyper hides from us, and why that is harmless, is in docs/decisions/0008.

use http::uri::Scheme;
use http::{HeaderMap, Uri, header};

use crate::error::Error;

/// Checks a head before anything else looks at it.
///
/// # Errors
/// [`Error::BadFraming`], or [`Error::BadHost`] for an address of another scheme.
pub(crate) fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
    if headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Err(Error::BadFraming);
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coded = match (codings.next(), codings.next()) {
        (None, _) => false,
        // An app would get the body without a coding that we do not undo.
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        (Some(_), _) => return Err(Error::BadFraming),
    };
    if coded && headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Error::BadFraming);
    }
    match uri.scheme() {
        Some(scheme) if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS => Err(Error::BadHost),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_that_can_be_read_in_two_ways_are_refused() {
        type Lines = &'static [(&'static str, &'static str)];
        let cases: [(&str, &str, Lines, bool); 11] = [
            ("no body", "/", &[], true),
            ("a length", "/", &[("content-length", "3")], true),
            ("chunks", "/", &[("transfer-encoding", "Chunked")], true),
            (
                "two lengths, however equal",
                "/",
                &[("content-length", "3"), ("content-length", "3")],
                false,
            ),
            (
                "both",
                "/",
                &[("content-length", "3"), ("transfer-encoding", "chunked")],
                false,
            ),
            (
                "a coding that we do not undo",
                "/",
                &[("transfer-encoding", "gzip, chunked")],
                false,
            ),
            (
                "two lines of codings",
                "/",
                &[
                    ("transfer-encoding", "gzip"),
                    ("transfer-encoding", "chunked"),
                ],
                false,
            ),
            (
                "chunks in disguise",
                "/",
                &[("transfer-encoding", "\"chunked\"")],
                false,
            ),
            ("http", "http://store.test/", &[], true),
            ("https", "https://store.test/", &[], true),
            ("another scheme", "ftp://store.test/", &[], false),
        ];
        for (name, uri, lines, good) in cases {
            let mut headers = HeaderMap::new();
            for (key, value) in lines {
                headers.append(*key, value.parse().expect("a value"));
            }
            let uri = uri.parse().expect("an address");
            assert_eq!(check(&uri, &headers).is_ok(), good, "{name}");
        }
    }
}
