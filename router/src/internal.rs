//! The listener for the cluster: probes, metrics, bundles and environments for the pods that run them, and environments
//! from the jobs that build them. Nothing else.

mod caller;

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use catalog::{Blob, Blobs, Upload};
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Body;
use crate::body::{BoxError, Exclusive};
use crate::error::Error;
use crate::metrics::{self, Metrics};
use crate::shares::{Share, Shares};
use crate::table::Table;
use crate::table::health::Health;

pub(crate) use caller::Pods;
use caller::{Caller, Object};

/// Bundles that are sent at once, and of them to one instance: each takes up to a MiB for as long as its reader takes.
const MAX_SENDING: usize = 64;
const MAX_SENDING_TO_ONE: usize = 4;

/// Environments that are stored at once: each takes a part of 8 MiB.
const MAX_STORING: usize = 4;

/// Most bytes of an environment.
const ENVIRONMENT_BYTES: u64 = 4 << 30;

/// Most bytes of the versions that are in one: thousands of packages.
const LOCK_BYTES: usize = 256 << 10;

/// Longest silence of a job that sends its environment.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a pod waits for its turn.
const TURN: Duration = Duration::from_secs(20);

/// Whether this replica should get traffic.
#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    /// How the watches are doing.
    pub health: Arc<Health>,
    /// Whether start-up is over.
    pub started: Arc<AtomicBool>,
    /// Cancelled when this replica is on its way out.
    pub stop: CancellationToken,
}

impl Readiness {
    fn is_ready(&self) -> bool {
        self.health.is_synced() && self.started.load(Ordering::Relaxed) && !self.stop.is_cancelled()
    }
}

/// Answers the cluster.
#[derive(Debug)]
pub(crate) struct Internal {
    /// Whether this replica should get traffic.
    pub readiness: Readiness,
    /// What exists now.
    pub table: Arc<Table>,
    /// Where bundles and environments are.
    pub blobs: Blobs,
    /// Who asks for one.
    pub pods: Pods,
    /// What is being sent.
    pub sending: Sending,
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
}

/// Bundles and environments that are being sent, and stored.
#[derive(Debug)]
pub(crate) struct Sending {
    all: Arc<Semaphore>,
    each: Shares<String>,
    storing: Semaphore,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_SENDING)),
            each: Shares::new(MAX_SENDING_TO_ONE),
            storing: Semaphore::new(MAX_STORING),
        }
    }
}

/// The turn of one answer: it ends when this is dropped.
type Turn = (Share<String>, OwnedSemaphorePermit);

impl Sending {
    /// Waits for a turn. Who has their share already is sent away, since they may be holding them all.
    async fn turn(&self, caller: &Caller) -> Result<Turn, Error> {
        let share = self.each.take(caller.name()).ok_or(Error::Busy)?;
        let all = timeout(TURN, self.all.clone().acquire_owned())
            .await
            .map_err(|_| Error::Busy)?
            .expect("the semaphore is never closed");
        Ok((share, all))
    }
}

impl Internal {
    /// Answers one request.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let method = request.method().clone();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let headers = request.headers();
        let answer = match (method, &segments[..]) {
            (Method::GET | Method::HEAD, ["livez"]) => Ok(text(StatusCode::OK, "ok\n".to_owned())),
            (Method::GET | Method::HEAD, ["readyz"]) => Ok(self.readyz()),
            (Method::GET | Method::HEAD, ["metrics"]) => Ok(self.metrics()),
            (Method::GET | Method::HEAD, ["v1", "bundles", digest]) => {
                self.bundle(digest, headers).await
            }
            (Method::GET | Method::HEAD, ["v1", "environments", key]) => {
                self.environment(key, headers).await
            }
            (Method::GET | Method::HEAD, ["v1", "environments", key, "lock"]) => {
                self.lock(key, headers).await
            }
            (Method::PUT, ["v1", "environments", key]) => self.store(key, request).await,
            (Method::PUT, ["v1", "environments", key, "lock"]) => {
                self.store_lock(key, request).await
            }
            _ => Err(Error::NotFound),
        };
        answer.unwrap_or_else(|error| {
            let code = error.code();
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                error.code = code,
                "Refused a request of the cluster with {code}"
            );
            text(error.status(), format!("{code}: {error}\n"))
        })
    }

    fn readyz(&self) -> Response<Body> {
        let ready = self.readiness.is_ready();
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let mut words = self.readiness.health.describe();
        if !self.readiness.started.load(Ordering::Relaxed) {
            words.push_str("database: waiting; the log says for what\n");
        }
        if self.readiness.stop.is_cancelled() {
            words.push_str("stopping\n");
        }
        text(status, words)
    }

    fn metrics(&self) -> Response<Body> {
        let mut response = text(StatusCode::OK, self.metrics.expose());
        let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    async fn bundle(&self, digest: &str, headers: &HeaderMap) -> Result<Response<Body>, Error> {
        let (caller, digest) = self.allowed(headers, digest, Object::Bundle).await?;
        let turn = self.sending.turn(&caller).await?;
        let blob = self.blobs.bundle(&digest).await.map_err(away)?;
        Ok(send(blob.ok_or(Error::NotFound)?, turn, "application/zip"))
    }

    async fn environment(&self, key: &str, headers: &HeaderMap) -> Result<Response<Body>, Error> {
        let (caller, key) = self.allowed(headers, key, Object::Environment).await?;
        let turn = self.sending.turn(&caller).await?;
        let blob = self.blobs.environment(&key).await.map_err(away)?;
        Ok(send(blob.ok_or(Error::NotFound)?, turn, "application/zstd"))
    }

    /// Stores an environment that is not there yet; answers its digest.
    async fn store(&self, key: &str, request: Request<Incoming>) -> Result<Response<Body>, Error> {
        let (_, key) = self
            .allowed(request.headers(), key, Object::NewEnvironment)
            .await?;
        let body = request.into_body();
        check_size(body.size_hint().lower())?;
        let _turn = timeout(TURN, self.sending.storing.acquire())
            .await
            .map_err(|_| Error::Busy)?
            .expect("the semaphore is never closed");
        let upload = self.blobs.put_environment(&key).await.map_err(away)?;
        let mut upload = upload.ok_or(Error::EnvironmentExists)?;
        match receive(body, &mut upload).await {
            Ok(size) => {
                let digest = upload.finish().await.map_err(away)?;
                tracing::info!(
                    environment.key = %key,
                    environment.digest = %digest,
                    environment.size_bytes = size,
                    "Stored environment {key}"
                );
                Ok(text(StatusCode::CREATED, digest.to_string()))
            }
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    /// The versions that were in an environment the last time that it was built. That there are none yet is an answer, too: a pod asks
    /// again when something is not found, since it may not be known yet.
    async fn lock(&self, key: &str, headers: &HeaderMap) -> Result<Response<Body>, Error> {
        let (caller, key) = self.allowed(headers, key, Object::Lock).await?;
        let turn = self.sending.turn(&caller).await?;
        let blob = self.blobs.lock(&key).await.map_err(away)?;
        Ok(blob.map_or_else(
            || text(StatusCode::NO_CONTENT, String::new()),
            |blob| send(blob, turn, "text/plain; charset=utf-8"),
        ))
    }

    /// Stores the versions that are in an environment, for the next time that it is built.
    async fn store_lock(
        &self,
        key: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Error> {
        let (_, key) = self
            .allowed(request.headers(), key, Object::NewLock)
            .await?;
        let body = Limited::new(request.into_body(), LOCK_BYTES);
        let lock = timeout(SILENCE, body.collect())
            .await
            .map_err(|_| Error::ClientTimeout { limit: SILENCE })?
            .map_err(|error| {
                if error.is::<LengthLimitError>() {
                    too_large(LOCK_BYTES as u64)
                } else {
                    Error::ClientBody
                }
            })?;
        let lock = lock.to_bytes();
        self.blobs.put_lock(&key, lock).await.map_err(away)?;
        Ok(text(StatusCode::CREATED, String::new()))
    }

    /// Who asks, and the name of the object that they ask for, if they may have it.
    async fn allowed<N: FromStr + Copy>(
        &self,
        headers: &HeaderMap,
        name: &str,
        object: impl Fn(N) -> Object,
    ) -> Result<(Caller, N), Error> {
        let caller = self.pods.caller(headers).await?;
        let name: N = name.parse().map_err(|_| Error::NotFound)?;
        self.permit(&caller, &object(name))?;
        Ok((caller, name))
    }

    fn permit(&self, caller: &Caller, object: &Object) -> Result<(), Error> {
        let route = match caller {
            Caller::Instance { name, .. } => self.table.route(name),
            Caller::Build { .. } => None,
        };
        let runs = route.as_ref().and_then(|route| route.digest.as_deref());
        if caller.may(object, runs) {
            Ok(())
        } else {
            Err(object.refusal())
        }
    }
}

fn away(error: catalog::Error) -> Error {
    Error::BlobsAway(Box::new(error))
}

fn send(blob: Blob, turn: Turn, kind: &'static str) -> Response<Body> {
    let frames = blob.stream.map(move |piece| {
        let _held = &turn;
        piece.map(Frame::data).map_err(BoxError::from)
    });
    let mut response = Response::new(Body::stream(StreamBody::new(Exclusive::new(frames))));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, blob.size.into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Takes a body piece by piece; answers how large it was.
async fn receive(mut body: Incoming, upload: &mut Upload) -> Result<u64, Error> {
    let mut size = 0;
    loop {
        let frame = timeout(SILENCE, body.frame())
            .await
            .map_err(|_| Error::ClientTimeout { limit: SILENCE })?;
        let Some(frame) = frame else {
            return Ok(size);
        };
        let Ok(piece) = frame.map_err(|_| Error::ClientBody)?.into_data() else {
            continue;
        };
        size += piece.len() as u64;
        check_size(size)?;
        upload.write(piece).await.map_err(away)?;
    }
}

fn check_size(size: u64) -> Result<(), Error> {
    if size <= ENVIRONMENT_BYTES {
        return Ok(());
    }
    Err(too_large(ENVIRONMENT_BYTES))
}

fn too_large(limit_bytes: u64) -> Error {
    Error::TooLarge {
        limit_bytes,
        setting: None,
    }
}

fn text(status: StatusCode, words: String) -> Response<Body> {
    let mut response = Response::new(Body::from(words));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
