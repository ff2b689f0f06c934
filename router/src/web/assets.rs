//! Pictures of apps, for those who see the app.

use bundle::PictureFormat;
use bytes::Bytes;
use catalog::Digest;
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
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
    // The bytes under a name never change, so the name tells which they are.
    let tag = tag_of(&digest, name);
    if has(&call.headers, &tag) {
        let mut reply = StatusCode::NOT_MODIFIED.into_response();
        describe(reply.headers_mut(), &tag)?;
        return Ok(reply);
    }
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
    let format = PictureFormat::of(&first);
    let whole = stream::iter([Ok(first)]).chain(pieces);
    let mut reply = warp::reply::stream(Exclusive::new(whole)).into_response();
    let headers = reply.headers_mut();
    describe(headers, &tag)?;
    let kind = format.map_or("application/octet-stream", PictureFormat::media_type);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, blob.size.into());
    if format.is_none() {
        // Nothing that a browser would show on the store's own host.
        let attachment = HeaderValue::from_static("attachment");
        headers.insert(header::CONTENT_DISPOSITION, attachment);
    }
    Ok(reply)
}

/// What is said of every picture, also of one that the browser has already.
fn describe(headers: &mut HeaderMap, tag: &str) -> Result<(), Error> {
    let tag = HeaderValue::try_from(tag).map_err(|error| Error::Internal(Box::new(error)))?;
    headers.insert(header::ETAG, tag);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
        // Who sees an app may change, so no cache but the browser's keeps them; who has seen one may go on seeing it.
        (
            header::CACHE_CONTROL,
            "private, max-age=31536000, immutable",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(())
}

/// `ETag` of the picture of this name: any characters may stand in a name, and few in a tag.
fn tag_of(bundle: &Digest, name: &str) -> String {
    let digest = Digest::of(format!("{bundle}/{name}").as_bytes());
    format!("\"{}\"", &digest.hex()[..32])
}

/// Whether the browser has it already (RFC 9110, 13.1.2).
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).into_iter();
    lines
        .flat_map(|line| line.to_str().unwrap_or_default().split(','))
        .map(str::trim)
        .any(|known| known.strip_prefix("W/").unwrap_or(known) == tag)
}
