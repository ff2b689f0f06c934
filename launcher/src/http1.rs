//! A small HTTP/1.1 server: one accept loop, one function that answers.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff;

/// Connections at once where the launcher itself answers.
pub(crate) const CONNECTIONS: usize = 256;

/// Longest time to receive a request's headers, and to keep an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Listens on all interfaces, IPv6 included where there is any.
pub(crate) async fn listen(port: u16) -> io::Result<TcpListener> {
    let all = [
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    ];
    match TcpListener::bind(all[0]).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => TcpListener::bind(all[1]).await,
        bound => bound,
    }
}

/// Accepts until `stop`, then cuts what is still open. `handle` answers one connection; beyond `connections` at once, further
/// ones wait in the kernel's backlog.
pub(crate) async fn serve<H, F>(
    listener: TcpListener,
    connections: usize,
    stop: CancellationToken,
    handle: H,
) where
    H: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(connections));
    let connections = TaskTracker::new();
    loop {
        let accept = async {
            let slot = Arc::clone(&slots)
                .acquire_owned()
                .await
                .expect("semaphore is never closed");
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            pair = accept => pair,
        };
        match accepted {
            Ok((stream, _)) => {
                let answer = handle(stream);
                let stop = stop.clone();
                connections.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = answer => {}
                    }
                    drop(slot);
                });
            }
            // Out of file descriptors: must not spin.
            Err(_) => backoff::pause(Duration::from_millis(100)).await,
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Answers the requests of one connection by a function that cannot fail.
pub(crate) async fn answer<A, F>(stream: TcpStream, keep_alive: bool, respond: A)
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let response = respond(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    // A client that goes away or talks nonsense is nobody's concern.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(keep_alive)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
