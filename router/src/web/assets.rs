//! Pictures of apps, for those who see the app.

use bytes::Bytes;
use catalog::Digest;
use futures::{StreamExt, stream};
use http::{HeaderValue, header};
use warp::Reply as _;

use super::{Call, Reply, Store, Visitor};
use crate::body::Exclusive;
use crate::error::Error;
use crate::policy::Action;

/// The picture that the path names. What may not be seen and what is not there look the same.
pub(super) async fn picture(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    let mut segments = call.path.as_str().rsplit('/');
    let name = segments.next().unwrap_or_default();
    let digest = segments.next().unwrap_or_default();
    // Several apps can have one bundle.
    let is_seen = store.table.load().apps.values().any(|app| {
        let see = Action::SeeApp(Some((&**app).into()));
        app.digest.as_deref() == Some(digest) && visitor.may(see).is_ok()
    });
    if !is_seen {
        visitor.may(Action::SeeApp(None))?;
    }
    let digest: Digest = digest.parse().map_err(|_| Error::NotFound)?;
    let blob = match store.blobs.asset(&digest, name).await {
        Ok(blob) => blob.ok_or(Error::NotFound)?,
        Err(catalog::Error::InvalidAssetName { .. }) => return Err(Error::NotFound),
        Err(error) => return Err(Error::BlobsAway(Box::new(error))),
    };
    let mut pieces = blob.stream;
    let first = match pieces.next().await {
        Some(piece) => piece.map_err(|error| Error::BlobsAway(Box::new(error)))?,
        None => Bytes::new(),
    };
    let kind = content_type(&first);
    let whole = stream::iter([Ok(first)]).chain(pieces);
    let mut reply = warp::reply::stream(Exclusive::new(whole)).into_response();
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, blob.size.into());
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    // The bytes never change, but who sees them may.
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=300"),
    );
    Ok(reply)
}

/// The type by the first bytes; what is no known picture is only bytes.
fn content_type(first: &[u8]) -> &'static str {
    match first {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => "image/webp",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_type() {
        let cases: [(&[u8], &str); 6] = [
            (b"\x89PNG\r\n\x1a\n....", "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"RIFF....WEBPVP8 ", "image/webp"),
            (b"<svg onload=alert(1)>", "application/octet-stream"),
            (b"", "application/octet-stream"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(content_type(bytes), expected);
        }
    }
}
