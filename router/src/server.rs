//! The accept loop: bounded connections, HTTP/1.1 and HTTP/2 with prior knowledge, and a graceful end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::shares::{Share, Shares};
use crate::{Body, backoff};

/// How long a client may take to send a request's head, and how long a connection waits for the next one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take nothing of what it is sent.
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);

/// Largest request head over HTTP/1.1, in bytes, and how many headers it may have.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;

/// Requests that one HTTP/2 connection may have open at once.
const MAX_STREAMS: u32 = 128;

/// Length of HTTP/2's connection preface, which tells the protocols apart.
const PREFACE: usize = 24;

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
}

/// Room for one connection, until it is dropped.
type Slot = (OwnedSemaphorePermit, Share<IpAddr>);

impl Slots {
    /// Room for `limit` connections; when they are taken, more wait.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limit)),
            each: Shares::new(limit),
        }
    }

    /// Never more than `limit` of one address; more are closed at once.
    pub(crate) fn each(self, limit: usize) -> Self {
        Self {
            each: Shares::new(limit),
            ..self
        }
    }
}

/// Accepts until `stop`, then waits for open connections. The caller bounds that wait.
pub(crate) async fn serve<H, F>(
    listener: TcpListener,
    slots: Slots,
    stop: CancellationToken,
    handle: H,
) where
    H: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let connections = TaskTracker::new();
    loop {
        let accept = async {
            let slot = slots
                .all
                .clone()
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            (slot, listener.accept().await) // when full, new clients wait in the kernel's backlog
        };
        let (slot, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            pair = accept => pair,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(share) = slots.each.take(peer.ip().to_canonical()) else {
                    debug!("Closed a connection: {} has too many", peer.ip());
                    continue;
                };
                let slot = (slot, share);
                let connection = serve_connection(stream, peer, handle.clone(), stop.clone(), slot);
                connections.spawn(connection);
            }
            Err(error) => backoff::accept(error).await,
        }
    }
    drop(listener); // new clients go to another replica
    connections.close();
    connections.wait().await;
}

async fn serve_connection<H, F>(
    stream: TcpStream,
    peer: SocketAddr,
    handle: H,
    stop: CancellationToken,
    slot: Slot,
) where
    H: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let _ = stream.set_nodelay(true); // a matter of speed alone
    let service = service_fn(move |request| {
        let answer = handle(peer, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let builder = builder();
    let io = TokioIo::new(Deadlines::new(stream, WRITE_TIMEOUT));
    let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(
            error = &*error as &dyn std::error::Error,
            "A connection from {peer} broke"
        );
    }
    drop(slot);
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
}

impl<S> Deadlines<S> {
    fn new(stream: S, write_timeout: Duration) -> Self {
        Self {
            stream,
            missing: PREFACE,
            deadline: Some(Box::pin(sleep(HEADER_TIMEOUT))),
            write_timeout,
            stalled: None,
        }
    }

    /// Passes on what came of a write, until there were only vain ones for too long.
    fn bound(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
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
        // A head shorter than the preface is a whole head, or hyper's own deadline takes over.
        let ends_line = buffer.filled()[before..].contains(&b'\n');
        self.missing = self.missing.saturating_sub(read);
        if self.missing == 0 || ends_line {
            self.deadline = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Deadlines<S> {
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
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
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
