//! One pod, the connections to it, and its limits.

use std::fmt;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::pool::{AnswerBody, Connection, Failed, Pool};
use super::upload::{Upload, UploadError};
use crate::error::Error;
use crate::metrics::Metrics;

/// Requests that one pod may have open at once.
const MAX_REQUESTS: usize = 1024;

/// Upgraded connections that one pod may have open at once.
const MAX_TUNNELS: usize = 4096;

/// How connections to pods are made.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    connect_timeout: Duration,
    response_timeout: Duration,
    metrics: Arc<Metrics>,
}

impl Connector {
    /// `connect_timeout` bounds the connection, `response_timeout` the wait for response headers, counted from the
    /// last byte of the request.
    #[must_use]
    pub(crate) fn new(connect_timeout: Duration, response_timeout: Duration) -> Self {
        Self {
            connect_timeout,
            response_timeout,
            metrics: Arc::default(),
        }
    }

    /// Tells `metrics` how long connecting takes.
    #[must_use]
    pub(crate) fn measured(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new(Duration::from_secs(5), Duration::from_mins(5))
    }
}

/// What tells one pod from another. Addresses are used again, UIDs never.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UpstreamKey {
    /// UID of the pod.
    pub pod_uid: String,
    /// Where its app listens.
    pub address: SocketAddr,
}

/// One pod. Its connections end with the last reference to it.
pub(crate) struct Upstream {
    key: UpstreamKey,
    pool: Arc<Pool>,
    requests: Arc<Semaphore>,
    tunnels: Arc<Semaphore>,
    response_timeout: Duration,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream").field(&self.key).finish()
    }
}

impl Upstream {
    /// A pod without connections yet.
    #[must_use]
    pub(crate) fn new(key: UpstreamKey, connector: &Connector) -> Self {
        Self {
            pool: Pool::new(
                key.address,
                connector.connect_timeout,
                connector.metrics.clone(),
            ),
            key,
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            tunnels: Arc::new(Semaphore::new(MAX_TUNNELS)),
            response_timeout: connector.response_timeout,
        }
    }

    /// Which pod this is.
    #[must_use]
    pub(crate) fn key(&self) -> &UpstreamKey {
        &self.key
    }

    /// Room for one more request, until the permit is dropped.
    pub(crate) fn request_slot(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.requests
            .clone()
            .try_acquire_owned()
            .map_err(|_| Error::InstanceBusy)
    }

    /// Room for one more upgraded connection, until the permit is dropped.
    pub(crate) fn tunnel_slot(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.tunnels
            .clone()
            .try_acquire_owned()
            .map_err(|_| Error::InstanceBusy)
    }

    /// Whether a request is open.
    #[must_use]
    pub(crate) fn is_in_use(&self) -> bool {
        self.requests.available_permits() < MAX_REQUESTS
    }

    /// Whether nothing is open.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.available_permits() == MAX_REQUESTS
            && self.tunnels.available_permits() == MAX_TUNNELS
    }

    /// Sends a request. Sent again if nothing of it had left, and a reading request without a body once more, over a connection of
    /// its own, if the connection broke: servers close idle ones at any moment, and often all of them. `head` makes the same head each
    /// time.
    pub(crate) async fn send(
        &self,
        head: impl Fn() -> Request<()>,
        body: Upload,
    ) -> Result<Response<AnswerBody>, Error> {
        let body = (!body.is_end_stream()).then_some(body);
        let first = head();
        let reading = first.method() == Method::GET || first.method() == Method::HEAD;
        let repeatable = reading && body.is_none();
        match self.send_once(first, body, Over::Pooled).await {
            Err(Error::Upstream(error)) if repeatable && is_broken(&*error) => {
                Box::pin(self.send_once(head(), None, Over::New)).await
            }
            answer => answer,
        }
    }

    /// Sends a request to switch protocols, over a connection of its own.
    pub(crate) async fn send_upgrade(
        &self,
        request: Request<()>,
    ) -> Result<Response<Incoming>, Error> {
        let progress = Arc::new(Progress::start());
        let body = RequestBody {
            body: None,
            progress: progress.clone(),
        };
        let answer = async {
            let connection = self.connect().await?;
            let answer = connection.send_upgrade(request.map(|()| body));
            answer.await.map_err(Failed::told)
        };
        self.in_time(&progress, answer).await
    }

    async fn send_once(
        &self,
        head: Request<()>,
        body: Option<Upload>,
        over: Over,
    ) -> Result<Response<AnswerBody>, Error> {
        let progress = Arc::new(Progress::start());
        let body = RequestBody {
            body,
            progress: progress.clone(),
        };
        let mut request = head.map(|()| body);
        let answer = async {
            let (connection, answer) = loop {
                let pooled = match over {
                    Over::Pooled => self.pool.take(),
                    Over::New => None,
                };
                let (mut connection, is_new) = match pooled {
                    Some(connection) => (connection, false),
                    None => (Box::pin(self.connect()).await?, true),
                };
                match connection.send(request).await {
                    Ok(answer) => break (connection, answer),
                    Err(Failed::Unsent(unsent, _)) if !is_new => request = *unsent,
                    Err(failed) => return Err(failed.told()),
                }
            };
            let pool = Arc::downgrade(&self.pool);
            Ok(answer.map(|body| AnswerBody::new(body, Some(connection), pool)))
        };
        self.in_time(&progress, answer).await
    }

    async fn connect(&self) -> Result<Box<Connection>, Error> {
        self.pool.connect().await.map_err(unreachable)
    }

    /// Waits for an answer as long as the request moves, and then for as long as an app may be silent.
    async fn in_time<T>(
        &self,
        progress: &Progress,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut answer = pin!(answer);
        loop {
            let until = progress.last() + self.response_timeout;
            match timeout_at(until, answer.as_mut()).await {
                Ok(answer) => return answer,
                // Bytes of the request moved meanwhile: an upload, not a silent app.
                Err(_) if progress.last() + self.response_timeout > until => {}
                Err(_) => {
                    let limit = self.response_timeout;
                    return Err(if progress.awaits_client.load(Ordering::Relaxed) {
                        Error::ClientTimeout { limit }
                    } else {
                        Error::ResponseTimeout { limit }
                    });
                }
            }
        }
    }
}

/// Which connection a request is sent over.
#[derive(Debug, Clone, Copy)]
enum Over {
    /// An idle one, or a new one where there is none.
    Pooled,
    /// A new one.
    New,
}

fn unreachable(error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::TimedOut {
        Error::ConnectTimeout
    } else {
        Error::Unreachable(Box::new(error))
    }
}

impl Failed {
    /// What to tell whoever waits for the answer.
    fn told(self) -> Error {
        let (Self::Unsent(_, error) | Self::Sent(error)) = self;
        let of_client = causes(&error).find_map(|cause| cause.downcast_ref::<UploadError>());
        match of_client {
            Some(cause) => cause.into(),
            None => Error::Upstream(Box::new(error)),
        }
    }
}

/// Whether a connection ended before an answer began.
fn is_broken(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|error| {
        let hyper = error.downcast_ref::<hyper::Error>();
        let io = error.downcast_ref::<std::io::Error>();
        hyper.is_some_and(hyper::Error::is_incomplete_message)
            || io.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    })
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// When bytes of a request last moved.
#[derive(Debug)]
struct Progress {
    start: Instant,
    last_millis: AtomicU64,
    /// Whether the rest of the body is the client's to send.
    awaits_client: AtomicBool,
}

impl Progress {
    fn start() -> Self {
        Self {
            start: Instant::now(),
            last_millis: AtomicU64::new(0),
            awaits_client: AtomicBool::new(false),
        }
    }

    fn touch(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_millis.store(millis, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last_millis.load(Ordering::Relaxed))
    }
}

/// The body of a request on its way to a pod.
#[derive(Debug)]
pub(crate) struct RequestBody {
    body: Option<Upload>,
    progress: Arc<Progress>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(cx);
        let awaits_client = &self.progress.awaits_client;
        awaits_client.store(frame.is_pending(), Ordering::Relaxed);
        let frame = ready!(frame);
        self.progress.touch();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
