//! A web server that stands where an instance's app would, and tells what reached it.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinSet};

use crate::machine_address;

/// What reached the app: every answer is one of these as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reached {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names, in lower case, and values of all headers in their order.
    pub headers: Vec<(String, String)>,
    /// The body, as text.
    pub body: String,
}

impl Reached {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The server. It ends when it is dropped.
pub struct FakeApp {
    address: SocketAddr,
    reached: Arc<Mutex<Vec<Reached>>>,
    _server: JoinSet<()>,
}

impl FakeApp {
    /// Starts it on [`machine_address`].
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((machine_address()?, 0)).await?;
        let address = listener.local_addr()?;
        let reached: Arc<Mutex<Vec<Reached>>> = Arc::default();
        let mut server = JoinSet::new();
        let seen = reached.clone();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(request, seen.clone()));
                    // A connection that breaks is the router's to tell of.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            reached,
            _server: server,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that has reached it so far.
    #[must_use]
    pub fn reached(&self) -> Vec<Reached> {
        self.reached.lock().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Reached>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let body = body.collect().await.map(|body| text(&body.to_bytes()));
    let reached = Reached {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
            .collect(),
        body: body.unwrap_or_default(),
    };
    let words = serde_json::to_string(&reached).unwrap_or_default();
    seen.lock().push(reached);
    let mut response = Response::new(Full::from(words));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}
