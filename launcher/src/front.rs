//! The app's port as long as the launcher holds it: the phase page, or a relay to a Python app.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::phase::{Phase, Status};
use crate::{http1, page};

/// Connections to a Python app at once: each open page holds a socket or two. 16 KiB each.
const RELAYED: usize = 2048;

/// The app's port.
pub(crate) struct Front {
    port: u16,
    /// Port of a Python app. It chooses its port itself, so the launcher keeps the pod's one and
    /// passes connections on; a Wave app gets the port itself, through waved.
    relay_to: Option<u16>,
    status: watch::Receiver<Status>,
    serving: Option<Serving>,
}

struct Serving {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Front {
    pub(crate) fn new(port: u16, relay_to: Option<u16>, status: watch::Receiver<Status>) -> Self {
        Self {
            port,
            relay_to,
            status,
            serving: None,
        }
    }

    /// Listens, if it does not already.
    pub(crate) async fn open(&mut self) -> Result<(), Error> {
        if self.serving.is_some() {
            return Ok(());
        }
        let port = self.port;
        let listener = http1::listen(port)
            .await
            .map_err(|source| Error::Listen { port, source })?;
        let stop = CancellationToken::new();
        let status = self.status.clone();
        let relay_to = self.relay_to;
        let task = tokio::spawn({
            let stop = stop.clone();
            async move {
                let connections = relay_to.map_or(http1::CONNECTIONS, |_| RELAYED);
                http1::serve(listener, connections, stop, |stream| {
                    connection(stream, status.clone(), relay_to)
                })
                .await;
            }
        });
        self.serving = Some(Serving { stop, task });
        Ok(())
    }

    /// Frees the port for waved. A relay stays.
    pub(crate) async fn hand_over(&mut self) {
        if self.relay_to.is_none() {
            self.close().await;
        }
    }

    /// Closes the port and all its connections.
    pub(crate) async fn close(&mut self) {
        if let Some(Serving { stop, task }) = self.serving.take() {
            stop.cancel();
            let _ = task.await;
        }
    }
}

async fn connection(stream: TcpStream, status: watch::Receiver<Status>, relay_to: Option<u16>) {
    let (phase, ready) = {
        let status = status.borrow();
        (status.phase, status.ready)
    };
    match relay_to {
        Some(port) if ready => relay(stream, port).await,
        // Not kept alive: the next request must meet the app.
        _ => http1::answer(stream, false, async |_| respond(phase)).await,
    }
}

/// Passes bytes both ways until one side ends. The app sees every byte as the client sent it.
async fn relay(mut client: TcpStream, port: u16) {
    let addresses = [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ];
    let Ok(mut app) = TcpStream::connect(&addresses[..]).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = app.set_nodelay(true);
    // Either side may go at any time.
    let _ = copy_bidirectional(&mut client, &mut app).await;
}

fn respond(phase: Phase) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(page::render(phase)));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            page::CONTENT_SECURITY_POLICY,
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::RETRY_AFTER, page::REFRESH_SECONDS.into());
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;
    use crate::phase::Board;

    #[tokio::test]
    async fn hundreds_of_open_pages_reach_a_python_app() {
        const PAGES: usize = 300;
        let app = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let board = Board::new();
        board.running();
        let relay_to = app.local_addr().unwrap().port();
        let mut front = Front::new(port, Some(relay_to), board.watch());
        front.open().await.unwrap();
        let mut pages = Vec::new();
        for page in 0..PAGES {
            let open = async {
                pages.push(
                    TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                        .await
                        .unwrap(),
                );
                app.accept().await.unwrap();
            };
            let opened = tokio::time::timeout(Duration::from_secs(10), open).await;
            assert!(opened.is_ok(), "page {page} does not reach the app");
        }
        front.close().await;
    }
}
