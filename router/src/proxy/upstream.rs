//! One pod, the connections to it, and its limits.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
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

    /// Sends a request; its path and query stay as they are. Sent again only if nothing of it had left.
    pub(crate) async fn send(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Incoming>, Error> {
        let progress = Arc::new(Progress::start());
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned();
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        parts.uri = Uri::from_parts(uri).map_err(|error| Error::Internal(Box::new(error)))?;
        parts.version = http::Version::HTTP_11;
        let body = RequestBody {
            body,
            progress: progress.clone(),
        };

        let answer = self.client.request(Request::from_parts(parts, body));
        tokio::pin!(answer);
        let answer = loop {
            let until = progress.last() + self.response_timeout;
            match timeout_at(until, &mut answer).await {
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

fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::TimedOut
        {
            return true;
        }
        cause = error.source();
    }
    false
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
    body: Incoming,
    progress: Arc<Progress>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Err(_)) => self.progress.client_failed.store(true, Ordering::Relaxed),
            Some(Ok(_)) | None => self.progress.touch(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
