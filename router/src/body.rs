//! Bodies of responses.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::Stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use crate::proxy::headers::strip_trailers;
use crate::proxy::pool::AnswerBody;

/// Any error of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Body of a response.
#[derive(Debug)]
pub(crate) enum Body {
    /// A page or a message of our own.
    Full(Full<Bytes>),
    /// What an app sends, streamed; the permit counts the request until its body has ended.
    Upstream(
        AnswerBody,
        #[expect(dead_code, reason = "counts for as long as it is held")] OwnedSemaphorePermit,
    ),
    /// Anything else that streams.
    Stream(BoxBody<Bytes, BoxError>),
}

impl Body {
    /// A body without content.
    #[must_use]
    pub(crate) fn empty() -> Self {
        Self::Full(Full::default())
    }

    /// Boxes another body.
    pub(crate) fn stream<B>(body: B) -> Self
    where
        B: hyper::body::Body + Send + Sync + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let bytes =
            body.map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())));
        Self::Stream(bytes.map_err(Into::into).boxed())
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Full(Full::new(text.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match self.get_mut() {
            Self::Full(body) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
            Self::Upstream(body, _) => {
                let mut frame = ready!(Pin::new(body).poll_frame(cx));
                if let Some(Ok(frame)) = &mut frame
                    && let Some(trailers) = frame.trailers_mut()
                {
                    strip_trailers(trailers);
                }
                frame.map(|frame| frame.map_err(Into::into))
            }
            Self::Stream(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(body) => body.is_end_stream(),
            Self::Upstream(body, _) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(body) => hyper::body::Body::size_hint(body),
            Self::Upstream(body, _) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// A stream that may be shared between threads because only its owner ever polls it. warp asks for that.
pub(crate) struct Exclusive<S>(Mutex<S>);

impl<S> Exclusive<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(Mutex::new(stream))
    }
}

impl<S: Stream + Unpin> Stream for Exclusive<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(self.get_mut().0.get_mut()).poll_next(cx)
    }
}
