//! A request's body on its way to an app: bounded, counted, and without trailers that claim to be ours.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::headers;
use crate::error::Error;

/// The flag that sets the limit, for whoever meets it.
pub(crate) const LIMIT_SETTING: &str = "--max-body-size";

/// A request's body on its way to an app.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Incoming,
    limit: u64,
    received: Option<Arc<AtomicU64>>,
    total: u64,
}

/// Why a body did not reach its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// The client went away or broke it.
    #[error("the request's body ended too early")]
    Client(#[source] hyper::Error),
    /// It is larger than it may be.
    #[error("the request's body is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
}

impl From<&UploadError> for Error {
    fn from(error: &UploadError) -> Self {
        match *error {
            UploadError::Client(_) => Self::ClientBody,
            UploadError::TooLarge { limit } => too_large(limit),
        }
    }
}

fn too_large(limit_bytes: u64) -> Error {
    Error::TooLarge {
        limit_bytes,
        setting: Some(LIMIT_SETTING),
    }
}

impl Upload {
    /// A body of at most `limit` bytes, which are counted in `received`.
    ///
    /// # Errors
    /// The head already says that it is larger.
    pub(crate) fn new(
        body: Incoming,
        limit: u64,
        received: impl FnOnce() -> Arc<AtomicU64>,
    ) -> Result<Self, Error> {
        if body.size_hint().lower() > limit {
            return Err(too_large(limit));
        }
        let received = (!body.is_end_stream()).then(received);
        Ok(Self {
            body,
            limit,
            received,
            total: 0,
        })
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = self.get_mut();
        let mut frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame {
            if let Some(trailers) = frame.trailers_mut() {
                headers::strip_trailers(trailers);
            } else if let Some(data) = frame.data_ref() {
                this.total += data.len() as u64;
                if let Some(received) = &this.received {
                    received.store(this.total, Ordering::Relaxed);
                }
                if this.total > this.limit {
                    let limit = this.limit;
                    return Poll::Ready(Some(Err(UploadError::TooLarge { limit })));
                }
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(UploadError::Client)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
