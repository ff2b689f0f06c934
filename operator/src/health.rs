//! `/livez`, `/readyz` and `/metrics`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::freshness::Freshness;
use crate::metrics::{self, Metrics};

/// Most probes at once.
const CONNECTIONS: usize = 16;

/// Longest time that one probe may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What probes are answered.
pub(crate) struct Health {
    stage: Mutex<Stage>,
    freshness: Arc<Freshness>,
    /// How long a watch may fail before the operator is not ready.
    max_cache_age: Duration,
    metrics: Arc<Metrics>,
}

/// How far the process is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stage {
    /// The database, or what its tables lack, is waited for.
    Opening,
    /// The first lists are not complete.
    Listing,
    /// It does its work.
    Serving,
    /// It was told to stop.
    Stopping,
}

impl Health {
    pub(crate) fn new(
        freshness: Arc<Freshness>,
        max_cache_age: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            stage: Mutex::new(Stage::Opening),
            freshness,
            max_cache_age,
            metrics,
        }
    }

    /// Notes how far the process is.
    pub(crate) fn enter(&self, stage: Stage) {
        *self.stage.lock() = stage;
    }

    /// Why the operator is not ready; empty if it is.
    fn complaints(&self, now: Instant) -> Vec<String> {
        let first = match *self.stage.lock() {
            Stage::Opening => {
                Some("waiting for the database; the log says what it lacks".to_owned())
            }
            Stage::Listing => Some("waiting for the first lists".to_owned()),
            Stage::Serving => None,
            Stage::Stopping => Some("stopping".to_owned()),
        };
        let stale = self.freshness.stale(self.max_cache_age, now);
        first.into_iter().chain(stale).collect()
    }

    fn answer(&self, path: &str, now: Instant) -> Response<Full<Bytes>> {
        match path {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => match self.complaints(now).as_slice() {
                [] => text(StatusCode::OK, "ok\n"),
                complaints => text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    complaints.join("\n") + "\n",
                ),
            },
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics.expose());
                let type_ = HeaderValue::from_static(metrics::CONTENT_TYPE);
                response.headers_mut().insert(CONTENT_TYPE, type_);
                response
            }
            _ => text(StatusCode::NOT_FOUND, "only /livez, /readyz and /metrics\n"),
        }
    }
}

/// Answers probes until `stop`.
pub(crate) async fn serve(listener: TcpListener, health: Arc<Health>, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let probes = TaskTracker::new();
    loop {
        let slot = slots
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: do not spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let health = health.clone();
        probes.spawn(async move {
            let service = service_fn(move |request: hyper::Request<_>| {
                let answer = health.answer(request.uri().path(), Instant::now());
                async { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A probe that goes away or hangs is its own loss.
            let _ = tokio::time::timeout(TIMEOUT, connection).await;
            drop(slot);
        });
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn get(health: &Health, path: &str, now: Instant) -> (u16, String) {
        let response = health.answer(path, now);
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body");
        let text = String::from_utf8(body.to_bytes().to_vec()).expect("text");
        (status, text)
    }

    #[tokio::test]
    async fn readiness_says_what_it_waits_for() {
        let freshness = Arc::new(Freshness::default());
        let health = Health::new(freshness.clone(), Duration::from_mins(1), Arc::default());
        let now = Instant::now();
        let ready = async |now| get(&health, "/readyz", now).await;
        let opening = "waiting for the database; the log says what it lacks\n";
        assert_eq!(ready(now).await, (503, opening.to_owned()));
        health.enter(Stage::Listing);
        assert_eq!(
            ready(now).await,
            (503, "waiting for the first lists\n".to_owned())
        );
        health.enter(Stage::Serving);
        assert_eq!(ready(now).await, (200, "ok\n".to_owned()));
        freshness.contact();
        let late = Instant::now() + Duration::from_secs(90);
        let (status, told) = ready(late).await;
        let expected = "the API server has not answered for 1m 30s (limit 1m)\n";
        assert_eq!((status, told.as_str()), (503, expected));
        assert_eq!(get(&health, "/livez", late).await, (200, "ok\n".to_owned()));
        assert_eq!(ready(now).await, (200, "ok\n".to_owned()));
        health.enter(Stage::Stopping);
        assert_eq!(ready(now).await, (503, "stopping\n".to_owned()));
    }

    #[tokio::test]
    async fn metrics_are_served_beside_the_probes() {
        let health = Health::new(Arc::default(), Duration::from_mins(1), Arc::default());
        let (status, text) = get(&health, "/metrics", Instant::now()).await;
        assert_eq!((status, text.ends_with("# EOF\n")), (200, true));
        assert_eq!(get(&health, "/", Instant::now()).await.0, 404);
    }
}
