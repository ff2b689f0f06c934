//! Bodies of requests; of forms their fields, and the token by which a page of ours proves that it sent one.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use crate::error::Error;

/// What a body has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    /// A form as pages send it.
    Form,
    /// A JSON document as programs send it.
    Json,
}

impl Media {
    fn check(self, content_type: &str) -> Result<(), Error> {
        let (types, refusal): (&[&str], _) = match self {
            Self::Form => (
                &["application/x-www-form-urlencoded"],
                "the body is no form (application/x-www-form-urlencoded)",
            ),
            Self::Json => (
                &["application/json", "application/merge-patch+json"],
                "the body is no JSON document (application/json)",
            ),
        };
        if types
            .iter()
            .any(|known| known.eq_ignore_ascii_case(content_type))
        {
            Ok(())
        } else {
            Err(Error::BadRequest(refusal))
        }
    }
}

/// Name of the token's field.
pub(super) const TOKEN_FIELD: &str = "form_token";

/// The fields of a form. They can hold passwords, so there is no `Debug`.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// The first field of this name; empty when there is none.
    pub(super) fn field(&self, name: &str) -> &str {
        let mut fields = self.0.iter();
        fields
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }
}

impl Form {
    /// All fields of this name.
    pub(super) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.0.iter().filter(move |(key, _)| key == name);
        fields.map(|(_, value)| value.as_str())
    }
}

/// Reads the body of a request, of so many bytes at most.
///
/// # Errors
/// It is something else, too large, or breaks off.
pub(super) async fn read(
    media: Media,
    limit_bytes: u64,
    headers: &HeaderMap,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<Bytes, Error> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    media.check(kind)?;
    let mut whole = BytesMut::new();
    let mut body = std::pin::pin!(body);
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|_| Error::ClientBody)?;
        let piece = piece.copy_to_bytes(piece.remaining());
        if (whole.len() + piece.len()) as u64 > limit_bytes {
            return Err(Error::TooLarge {
                limit_bytes,
                setting: None,
            });
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// What the pages shown to one browser carry in their forms. Only who knows the browser's secret can make it, and it tells
/// nothing of that secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FormToken(String);

impl FormToken {
    /// `secret` is 256 random bits that the browser holds in a cookie.
    pub(super) fn of(secret: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(b"wavestore form\0")
            .chain_update(secret)
            .finalize();
        Self(URL_SAFE_NO_PAD.encode(digest))
    }

    /// # Errors
    /// [`Error::StaleForm`] when the form carries another token, or none.
    pub(super) fn check(&self, form: &Form) -> Result<(), Error> {
        let given = form.field(TOKEN_FIELD).as_bytes();
        if self.0.as_bytes().ct_eq(given).into() {
            Ok(())
        } else {
            Err(Error::StaleForm)
        }
    }
}

impl AsRef<str> for FormToken {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FormToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_is_good_with_its_own_secret_only() {
        let token = FormToken::of("alice's secret");
        let accepts = |words: String| token.check(&Form::parse(words.as_bytes())).is_ok();
        assert!(accepts(format!("a=b&form_token={token}")));
        let other = FormToken::of("mallory's secret");
        assert!(!accepts(format!("form_token={other}")));
        assert!(!accepts(format!("form_token={other}&form_token={token}")));
        assert!(!accepts("form_token=".to_owned()));
        assert!(!accepts(String::new()));
        assert!(!token.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        const FORM: &str = "application/x-www-form-urlencoded; charset=UTF-8";
        let small = vec!["name=alice&pass", "word=correct+horse"];
        let large = vec!["12345678"; 2048 + 1];
        let cases = [
            (Media::Form, FORM, small.clone(), Ok(33)),
            (Media::Form, "text/plain", small.clone(), Err("BadRequest")),
            (
                Media::Form,
                "application/json",
                small.clone(),
                Err("BadRequest"),
            ),
            (Media::Form, "", small.clone(), Err("BadRequest")),
            (Media::Form, FORM, large.clone(), Err("TooLarge")),
            (Media::Json, "application/json", small.clone(), Ok(33)),
            (
                Media::Json,
                "application/merge-patch+json",
                small.clone(),
                Ok(33),
            ),
            (Media::Json, FORM, small, Err("BadRequest")),
            (Media::Json, "application/json", large, Err("TooLarge")),
        ];
        for (media, kind, pieces, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            let body = stream::iter(pieces.into_iter().map(|piece| Ok(piece.as_bytes())));
            let read = read(media, 16 * 1024, &headers, body).await;
            let read = read.as_ref().map(Bytes::len).map_err(Error::code);
            assert_eq!(read, expected, "{media:?} {kind}");
        }
    }
}
