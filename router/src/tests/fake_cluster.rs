//! `FakeCluster`: a Kubernetes API that remembers what was told of the use of instances, and has the log of one pod.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kube::{Client, Config};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Body;
use crate::server::{self, Slots};

pub(super) struct FakeCluster {
    pub(super) client: Client,
    inner: Arc<Inner>,
    _server: JoinSet<()>,
}

#[derive(Default)]
struct Inner {
    refuses: AtomicBool,
    told: Mutex<Vec<(String, Value)>>,
}

impl FakeCluster {
    pub(super) fn start() -> Self {
        let listener = server::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let inner = Arc::new(Inner::default());
        let handler = inner.clone();
        let mut server = JoinSet::new();
        server.spawn(server::serve(
            listener,
            Slots::new(1000),
            None,
            CancellationToken::new(),
            move |_, request| answer(handler.clone(), request),
        ));
        // A second install fails, and that is fine.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let url = format!("http://{address}").parse().expect("a url");
        Self {
            client: Client::try_from(Config::new(url)).expect("a client"),
            inner,
            _server: server,
        }
    }

    /// What was told so far, by path; forgotten by asking.
    pub(super) fn take_told(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.inner.told.lock())
    }

    /// From now on it says no.
    pub(super) fn refuse(&self) {
        self.inner.refuses.store(true, Ordering::Relaxed);
    }
}

async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.expect("a body");
    let (status, answer) = if path.ends_with("/log") {
        let has_lines = path.contains("/pods/crashed-1/") && query.contains("previous=true");
        let lines = if has_lines {
            "\u{1b}[31mTraceback\u{1b}[0m\nKeyError: <b>\n"
        } else {
            ""
        };
        (StatusCode::OK, lines.to_owned())
    } else if inner.refuses.load(Ordering::Relaxed) {
        let refusal = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "waveinstances is forbidden", "reason": "Forbidden", "code": 403,
        });
        (StatusCode::FORBIDDEN, refusal.to_string())
    } else {
        let report: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        inner.told.lock().push((path, report));
        let instance = json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveInstance",
            "metadata": {"name": "x"},
            "spec": {"app": {"name": "hello", "version": "1.0.0"}, "owner": "alice"},
        });
        (StatusCode::OK, instance.to_string())
    };
    let mut response = Response::new(Body::from(answer));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        "application/json".parse().expect("a value"),
    );
    response
}
