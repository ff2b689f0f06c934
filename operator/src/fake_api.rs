//! An API server on the loopback interface that answers as a test wants it, for what mocks cannot show: what is asked,
//! and in which order.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use kube::{Client, Config};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the server was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Method and path, such as `DELETE /api/v1/namespaces/wavestore/services/sales`.
    pub(crate) line: String,
    /// What came with it; null when nothing did.
    pub(crate) body: Value,
}

/// Everything that the server was asked, in order.
pub(crate) type Log = Arc<Mutex<Vec<Asked>>>;

/// Starts a server that answers `answer(line)`, and `NotFound` where that is none. It ends with the test.
pub(crate) async fn start(
    answer: impl Fn(&str) -> Option<(u16, Value)> + Send + Sync + 'static,
) -> (Client, Log) {
    let (url, log) = serve(answer).await;
    let client = Client::try_from(Config::new(url)).expect("a client");
    (client, log)
}

/// The same, for a client that a test makes itself.
pub(crate) async fn serve(
    answer: impl Fn(&str) -> Option<(u16, Value)> + Send + Sync + 'static,
) -> (Uri, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let log = Log::default();
    let (answer, seen) = (Arc::new(answer), log.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let (answer, seen) = (answer.clone(), seen.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (answer, seen) = (answer.clone(), seen.clone());
                async move {
                    let line = format!("{} {}", request.method(), request.uri().path());
                    let body = request.into_body().collect().await.expect("a body");
                    let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
                    let (code, answer) = answer(&line).unwrap_or_else(|| refusal(404));
                    seen.lock().push(Asked { line, body });
                    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
                    *response.status_mut() = StatusCode::from_u16(code).expect("a status");
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let url = format!("http://{address}").parse().expect("a url");
    (url, log)
}

/// The API server's no, such as 409 for a conflict.
pub(crate) fn refusal(code: u16) -> (u16, Value) {
    // Clients tell what is missing by this word.
    let reason = if code == 404 { "NotFound" } else { "Refused" };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": reason, "message": "as the test wants it", "code": code,
    });
    (code, status)
}
