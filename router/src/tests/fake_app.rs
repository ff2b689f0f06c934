//! `FakeApp`: an instance's pod, which remembers what reached it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Body;
use crate::body::BoxError;
use crate::server::{self, Slots};

/// A request as it reached the app.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
}

#[derive(Clone, Default)]
pub(super) struct Inner {
    seen: Arc<Mutex<Vec<Seen>>>,
    go_on: Arc<Notify>,
    sockets: TaskTracker,
}

pub(super) struct FakeApp {
    pub(super) address: SocketAddr,
    inner: Inner,
    _server: JoinSet<()>,
}

impl FakeApp {
    pub(super) fn start() -> Self {
        let listener = server::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let inner = Inner::default();
        let handler = inner.clone();
        let mut server = JoinSet::new();
        server.spawn(server::serve(
            listener,
            Slots::new(1000),
            None,
            CancellationToken::new(),
            move |_, request| answer(handler.clone(), request),
        ));
        Self {
            address,
            inner,
            _server: server,
        }
    }

    /// What has reached the app so far; forgotten by asking.
    pub(super) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.inner.seen.lock())
    }

    /// Lets an answer that waits go on.
    pub(super) fn go_on(&self) {
        self.inner.go_on.notify_one();
    }
}

#[expect(clippy::too_many_lines, reason = "one kind of answer after the other")]
async fn answer(inner: Inner, mut request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path_and_query().expect("a path").to_string();
    inner.seen.lock().push(Seen {
        path: path.clone(),
        headers: request.headers().clone(),
    });
    let mut response = Response::new(Body::from(format!("the app at {path}")));
    let last = path
        .split('?')
        .next()
        .and_then(|path| path.rsplit('/').next());
    match last {
        Some("events") => {
            let go_on = inner.go_on.clone();
            let events = stream::unfold(0, move |count| {
                let go_on = go_on.clone();
                async move {
                    if count > 0 {
                        go_on.notified().await;
                    }
                    let event = Bytes::from(format!("data: {count}\n\n"));
                    Some((Ok::<_, BoxError>(Frame::data(event)), count + 1))
                }
            });
            *response.body_mut() =
                Body::stream(StreamBody::new(crate::body::Exclusive::new(events.boxed())));
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                "text/event-stream".parse().expect("a value"),
            );
        }
        Some("upload") => {
            let mut body = request.into_body();
            let mut total = 0;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { break };
                total += frame.data_ref().map_or(0, Bytes::len);
            }
            *response.body_mut() = Body::from(total.to_string());
        }
        Some("trailers") => {
            let body = request.into_body().collect().await;
            let trailers = body.ok().and_then(|body| body.trailers().cloned());
            let mut names: Vec<_> = trailers
                .iter()
                .flat_map(HeaderMap::keys)
                .map(ToString::to_string)
                .collect();
            names.sort();
            let mut ours = HeaderMap::new();
            for name in ["x-sum", "set-cookie", "x-wavestore-error"] {
                ours.insert(name, "1".parse().expect("a value"));
            }
            let pieces = [
                Frame::data(Bytes::from(names.join(","))),
                Frame::trailers(ours),
            ];
            let pieces = stream::iter(pieces.map(Ok::<_, BoxError>));
            *response.body_mut() = Body::stream(StreamBody::new(pieces));
            let listed = "x-sum, set-cookie, x-wavestore-error";
            let headers = response.headers_mut();
            headers.insert(header::TRAILER, listed.parse().expect("a value"));
        }
        Some("large") => *response.body_mut() = Body::from("x".repeat(16 << 20)),
        Some("first-byte") => {
            let mut body = request.into_body();
            let _ = body.frame().await;
            *response.body_mut() = Body::from("got one".to_owned());
        }
        Some("wait") => {
            inner.go_on.notified().await;
            *response.body_mut() = Body::from("waited".to_owned());
        }
        Some("cookies") => {
            let headers = response.headers_mut();
            for line in [
                "own=1; Path=/",
                "wavestore=evil; Path=/",
                "__Host-wavestore=evil; Secure; Path=/",
                "wide=1; Domain=test; Path=/",
            ] {
                headers.append(header::SET_COOKIE, line.parse().expect("a value"));
            }
            for name in ["service-worker-allowed", "nel", "report-to"] {
                headers.insert(name, "/".parse().expect("a value"));
            }
            headers.insert("clear-site-data", "\"cookies\"".parse().expect("a value"));
            headers.insert("connection", "x-hop".parse().expect("a value"));
            headers.insert("x-hop", "1".parse().expect("a value"));
            headers.insert("x-own", "1".parse().expect("a value"));
        }
        Some("socket") => {
            let key = request.headers().get("sec-websocket-key").cloned();
            let upgrade = hyper::upgrade::on(&mut request);
            inner.sockets.spawn(async move {
                let Ok(upgraded) = upgrade.await else { return };
                let io = TokioIo::new(upgraded);
                let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            *response.body_mut() = Body::empty();
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, "Upgrade".parse().expect("a value"));
            headers.insert(header::UPGRADE, "websocket".parse().expect("a value"));
            if let Some(key) = key {
                let accept = derive_accept_key(key.as_bytes());
                headers.insert("sec-websocket-accept", accept.parse().expect("a value"));
            }
        }
        _ => {}
    }
    response
}
