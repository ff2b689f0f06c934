//! One pod, the connections to it, and its limits.

use std::fmt;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::error::Error;

/// Requests that one pod may have open at once.
const MAX_REQUESTS: usize = 1024;

/// Upgraded connections that one pod may have open at once.
const MAX_TUNNELS: usize = 4096;

/// Connections that are kept for the next request to a pod.
const MAX_IDLE: usize = 64;

/// How long a connection is kept. Python's servers close theirs after 5 s, and a request that meets the closing
/// is lost.
const MAX_IDLE_TIME: Duration = Duration::from_secs(4);

/// How connections to pods are made.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    connect_timeout: Duration,
    response_timeout: Duration,
}

impl Connector {
    /// `connect_timeout` bounds the connection, `response_timeout` the wait for response headers, counted from the
    /// last byte of the request.
    #[must_use]
    pub(crate) fn new(connect_timeout: Duration, response_timeout: Duration) -> Self {
        Self {
            connect_timeout,
            response_timeout,
        }
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
    authority: Authority,
    client: Client<HttpConnector, RequestBody>,
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
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(connector.connect_timeout));
        http.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(MAX_IDLE_TIME)
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_timer(TokioTimer::new())
            .set_host(false)
            .build(http);
        let authority =
            Authority::try_from(key.address.to_string()).expect("a socket address is an authority");
        Self {
            key,
            authority,
            client,
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

    /// Whether nothing is open.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.available_permits() == MAX_REQUESTS
            && self.tunnels.available_permits() == MAX_TUNNELS
    }

    /// Sends a request; its path and query stay as they are. Sent again if nothing of it had left, and a reading
    /// request without a body once more if the connection broke: servers close idle ones at any moment.
    pub(crate) async fn send(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Incoming>, Error> {
        let (mut parts, body) = request.into_parts();
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        let path = parts.uri.path_and_query().cloned();
        uri.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        parts.uri = Uri::from_parts(uri).map_err(|error| Error::Internal(Box::new(error)))?;
        parts.version = http::Version::HTTP_11;

        let reading = parts.method == Method::GET || parts.method == Method::HEAD;
        let body = (!body.is_end_stream()).then_some(body);
        let again = (reading && body.is_none()).then(|| parts.clone());
        match (self.send_once(parts, body).await, again) {
            (Err(Error::Upstream(error)), Some(parts)) if is_broken(&*error) => {
                self.send_once(parts, None).await
            }
            (answer, _) => answer,
        }
    }

    async fn send_once(
        &self,
        parts: Parts,
        body: Option<Incoming>,
    ) -> Result<Response<Incoming>, Error> {
        let progress = Arc::new(Progress::start());
        let body = RequestBody {
            body,
            progress: progress.clone(),
        };
        let mut answer = pin!(self.client.request(Request::from_parts(parts, body)));
        let answer = loop {
            let until = progress.last() + self.response_timeout;
            match timeout_at(until, answer.as_mut()).await {
                Ok(answer) => break answer,
                // Bytes of the request moved meanwhile: an upload, not a silent app.
                Err(_) if progress.last() + self.response_timeout > until => {}
                Err(_) => {
                    return Err(Error::ResponseTimeout {
                        limit: self.response_timeout,
                    });
                }
            }
        };
        answer.map_err(|error| {
            if progress.client_failed.load(Ordering::Relaxed) {
                Error::ClientBody
            } else if error.is_connect() && is_timeout(&error) {
                Error::ConnectTimeout
            } else if error.is_connect() {
                Error::Unreachable(Box::new(error))
            } else {
                Error::Upstream(Box::new(error))
            }
        })
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

fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|error| {
        let io = error.downcast_ref::<std::io::Error>();
        io.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
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
    client_failed: AtomicBool,
}

impl Progress {
    fn start() -> Self {
        Self {
            start: Instant::now(),
            last_millis: AtomicU64::new(0),
            client_failed: AtomicBool::new(false),
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
    body: Option<Incoming>,
    progress: Arc<Progress>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        match &frame {
            Some(Err(_)) => self.progress.client_failed.store(true, Ordering::Relaxed),
            Some(Ok(_)) | None => self.progress.touch(),
        }
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
