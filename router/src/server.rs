//! The accept loop: bounded connections, TLS or none, HTTP/1.1 and HTTP/2 on one port, and a graceful end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::body::BoxError;
use crate::client_address::TrustedProxies;
use crate::metrics::{Metrics, Refusal};
use crate::shares::{Share, Shares};
use crate::tls::Tls;
use crate::{backoff, client_address};

/// How long a client may take to send a request's head, and how long a connection waits for the next one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection is kept on which no request comes. A client of HTTP/2 can answer our pings for ever.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// How long a client may take nothing of what it is sent.
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);

/// Largest request head over HTTP/1.1, in bytes, and how many headers it may have.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;

/// Requests that one HTTP/2 connection may have open at once.
const MAX_STREAMS: u32 = 128;

/// What a client may send ahead on one HTTP/2 stream and on all of a connection, in bytes. A stream whose app reads
/// slowly holds its window; the others go on as long as the connection's is larger than theirs together. The latter
/// is also the most that a connection can make us hold.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// What is held for an HTTP/2 stream that its client does not read, in bytes.
const STREAM_SEND_BUFFER: usize = 64 * 1024;

/// Streams that a client has reset before we took them, and that we have reset for its errors: beyond, the connection
/// ends (CVE-2023-44487, CVE-2025-8671).
const MAX_PENDING_RESETS: usize = 20;
const MAX_ERROR_RESETS: usize = 100;

/// Length of HTTP/2's connection preface, which tells the protocols apart.
const PREFACE: usize = 24;

/// How long a client may go on sending what nobody reads any more, after an answer that did not wait for it. If we closed
/// at once, the kernel would reset the connection, and the client might lose the answer.
const LINGER: Duration = Duration::from_secs(5);

/// Connections that the kernel keeps for us.
const BACKLOG: u32 = 1024;

/// Binds `address`. Connections that come are kept alive by the kernel's probes.
///
/// # Errors
/// The system's, such as an address in use.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.set_keepalive(true)?; // accepted sockets inherit it
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Room for connections.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    each: Shares<IpAddr>,
    by: fn(IpAddr) -> IpAddr,
    proxies: Arc<TrustedProxies>,
    metrics: Arc<Metrics>,
}

impl Slots {
    /// Room for `limit` connections; when they are taken, more wait.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limit)),
            each: Shares::new(limit),
            by: |address| address,
            proxies: Arc::default(),
            metrics: Arc::default(),
        }
    }

    /// Never more than `limit` of one address; more are closed at once.
    pub(crate) fn each(self, limit: usize) -> Self {
        Self {
            each: Shares::new(limit),
            ..self
        }
    }

    /// Counts by what one client can have, and not at all what comes from `proxies`: they stand for many. What becomes of
    /// connections is told to `metrics`.
    pub(crate) fn of_clients(self, proxies: TrustedProxies, metrics: Arc<Metrics>) -> Self {
        Self {
            by: client_address::network,
            proxies: Arc::new(proxies),
            metrics,
            ..self
        }
    }

    /// Waits for room for one more.
    async fn take(&self, full: &mut bool) -> OwnedSemaphorePermit {
        let all = self.all.clone();
        if let Ok(slot) = all.clone().try_acquire_owned() {
            *full = false;
            return slot;
        }
        self.metrics.waits();
        if !std::mem::replace(full, true) {
            warn!(
                "All connections are taken; new ones wait until one ends (see --max-connections)"
            );
        }
        all.acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }

    /// The share of a connection from `peer`.
    ///
    /// # Errors
    /// It has too many.
    fn share(&self, peer: IpAddr) -> Result<Option<Share<IpAddr>>, TooMany> {
        if self.proxies.contains(peer) {
            return Ok(None);
        }
        let share = self.each.take((self.by)(peer.to_canonical()));
        share.map(Some).ok_or(TooMany)
    }
}

/// An address has as many connections as it may have.
struct TooMany;

/// Accepts until `stop`, then waits for open connections. The caller bounds that wait.
pub(crate) async fn serve<H, F, B>(
    listener: TcpListener,
    slots: Slots,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
    handle: H,
) where
    H: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    let connections = TaskTracker::new();
    let metrics = slots.metrics.clone();
    let mut full = false;
    loop {
        let accept = async {
            let slot = slots.take(&mut full).await;
            (slot, listener.accept().await) // when full, new clients wait in the kernel's backlog
        };
        let (slot, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            pair = accept => pair,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Ok(share) = slots.share(peer.ip()) else {
                    metrics.refused(Refusal::PerAddress);
                    debug!("Closed a connection: {} has too many", peer.ip());
                    continue;
                };
                let _ = stream.set_nodelay(true); // a matter of speed alone
                let counted = (slot, share, metrics.connected());
                let (handle, stop, tls) = (handle.clone(), stop.clone(), tls.clone());
                let metrics = metrics.clone();
                connections.spawn(async move {
                    match tls {
                        None => serve_connection(stream, peer, handle, stop).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve_connection(stream, peer, handle, stop).await,
                            Err(error) => {
                                metrics.refused(Refusal::from(&error));
                                debug!(
                                    error = &error as &dyn std::error::Error,
                                    "A connection from {peer} did not begin"
                                );
                            }
                        },
                    }
                    drop(counted);
                });
            }
            Err(error) => backoff::accept(error).await,
        }
    }
    drop(listener); // new clients go to another replica
    connections.close();
    connections.wait().await;
}

async fn serve_connection<S, H, F, B>(
    stream: S,
    peer: SocketAddr,
    handle: H,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    let used = Arc::new(AtomicBool::new(true));
    let asked = used.clone();
    let service = service_fn(move |request| {
        asked.store(true, Ordering::Relaxed);
        let answer = handle(peer, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let builder = builder();
    let io = TokioIo::new(Deadlines::new(stream, WRITE_TIMEOUT));
    let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => finish(connection).await,
        () = unused(&used, IDLE_TIMEOUT) => finish(connection).await,
    };
    if let Err(error) = ended {
        debug!(
            error = &*error as &dyn std::error::Error,
            "A connection from {peer} broke"
        );
    }
}

/// Takes no more requests, and waits for the answers to those that came.
async fn finish<C: GracefulConnection>(connection: Pin<&mut C>) -> Result<(), C::Error> {
    let mut connection = connection;
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// Waits until no request has come for `time`, or up to twice as long.
async fn unused(used: &AtomicBool, time: Duration) {
    while used.swap(false, Ordering::Relaxed) {
        sleep(time).await;
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEADER_TIMEOUT)
        .keep_alive_timeout(HEADER_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .max_header_list_size(u32::try_from(MAX_HEAD).expect("a small constant"));
    builder
}

/// A stream that breaks when the bytes which tell the protocol do not come in time, since hyper bounds only what comes
/// after; and when the other side stops reading, since its connection, the app's answer and its slots would be held
/// for as long.
struct Deadlines<S> {
    stream: S,
    missing: usize,
    deadline: Option<Pin<Box<Sleep>>>,
    write_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Whether the other side has ended.
    ended: bool,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl<S> Deadlines<S> {
    fn new(stream: S, write_timeout: Duration) -> Self {
        Self {
            stream,
            missing: PREFACE,
            deadline: Some(Box::pin(sleep(HEADER_TIMEOUT))),
            write_timeout,
            stalled: None,
            ended: false,
            lingering: None,
        }
    }

    /// Passes on what came of a write, until there were only vain ones for too long.
    fn bound<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let write_timeout = self.write_timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(write_timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Deadlines<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        self.ended = read == 0 && buffer.remaining() > 0;
        if self.deadline.is_some() {
            // A head shorter than the preface is a whole head, or hyper's own deadline takes over.
            let ends_line = buffer.filled()[before..].contains(&b'\n');
            self.missing = self.missing.saturating_sub(read);
            if self.missing == 0 || ends_line {
                self.deadline = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Deadlines<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buffer);
        self.bound(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.bound(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS keeps what the kernel does not take.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.bound(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.bound(cx, shut))?;
        }
        let lingering = this
            .lingering
            .get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut unread = [0; 4096];
        while !this.ended && lingering.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut unread);
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer));
            this.ended = read.is_err() || buffer.filled().is_empty();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (_client, near) = duplex(64);
        let mut stream = Deadlines::new(near, SHORT);
        let written = tokio::time::timeout(HEADER_TIMEOUT, stream.write_all(&[0; 1000]));
        let error = written.await.expect("in time").expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_connection_is_unused_when_a_whole_time_has_brought_nothing() {
        let used = AtomicBool::new(true);
        let started = tokio::time::Instant::now();
        unused(&used, SHORT).await;
        assert!(started.elapsed() >= SHORT);
        let at_once = tokio::time::timeout(SHORT, unused(&used, HEADER_TIMEOUT));
        at_once.await.expect("nothing has come since");
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_gets_everything() {
        let (mut client, near) = duplex(64);
        let mut stream = Deadlines::new(near, SHORT);
        let read = async {
            let mut tick = tokio::time::interval(SHORT / 4);
            let mut piece = [0; 64];
            for _ in 0..10 {
                tick.tick().await;
                client.read_exact(&mut piece).await.expect("a read");
            }
        };
        let (written, ()) = tokio::join!(stream.write_all(&[0; 640]), read);
        written.expect("everything is written");
    }
}
