//! The listener for the cluster: probes, metrics, and bundles for the pods that run them. Nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use catalog::{Blobs, Digest};
use crds::{INSTANCE_LABEL, TOKEN_AUDIENCE};
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
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

const BUNDLES: &str = "/v1/bundles/";

/// Bundles that are sent at once, and of them to one instance: each takes up to a MiB for as long as its reader takes.
const MAX_SENDING: usize = 64;
const MAX_SENDING_TO_ONE: usize = 4;

/// How long a pod waits for its turn.
const TURN: Duration = Duration::from_secs(20);

/// Where a bound token names its pod.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

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
    /// Where bundles are.
    pub blobs: Blobs,
    /// Who asks for one.
    pub pods: Pods,
    /// Bundles that are being sent.
    pub sending: Sending,
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
}

/// Bundles that are being sent.
#[derive(Debug)]
pub(crate) struct Sending {
    all: Arc<Semaphore>,
    each: Shares<String>,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_SENDING)),
            each: Shares::new(MAX_SENDING_TO_ONE),
        }
    }
}

/// The turn of one bundle: it ends when this is dropped.
type Turn = (Share<String>, OwnedSemaphorePermit);

impl Sending {
    /// Waits for a turn. An instance that has its share already is sent away, since it may be holding them all.
    async fn turn(&self, instance: &str) -> Result<Turn, Error> {
        let share = self.each.take(instance.to_owned()).ok_or(Error::Busy)?;
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
        let path = request.uri().path();
        let read = *request.method() == Method::GET || *request.method() == Method::HEAD;
        let answer = match (read, path, path.strip_prefix(BUNDLES)) {
            (true, "/livez", _) => Ok(text(StatusCode::OK, "ok\n".to_owned())),
            (true, "/readyz", _) => Ok(self.readyz()),
            (true, "/metrics", _) => Ok(self.metrics()),
            (true, _, Some(digest)) => self.bundle(digest, request.headers()).await,
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
            words.push_str("database: waiting\n");
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
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|line| line.to_str().ok())
            .and_then(|line| line.strip_prefix("Bearer "))
            .ok_or(Error::BadToken)?;
        let digest: Digest = digest.parse().map_err(|_| Error::NotFound)?;
        let instance = self.pods.instance_of(token).await?;
        let runs = self
            .table
            .route(&instance)
            .is_some_and(|route| route.digest.as_deref() == Some(&digest.to_string()));
        if !runs {
            return Err(Error::ForeignBundle);
        }
        let turn = self.sending.turn(&instance).await?;
        let blob = self
            .blobs
            .bundle(&digest)
            .await
            .map_err(|error| Error::BlobsAway(Box::new(error)))?;
        let blob = blob.ok_or(Error::NotFound)?;
        let frames = blob.stream.map(move |piece| {
            let _held = &turn;
            piece.map(Frame::data).map_err(BoxError::from)
        });
        let mut response = Response::new(Body::stream(StreamBody::new(Exclusive::new(frames))));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, blob.size.into());
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/zip"),
        );
        Ok(response)
    }
}

/// Tells which instance a pod belongs to, by the pod's token.
#[derive(Clone)]
pub(crate) struct Pods {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Pods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pods")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Pods {
    /// Pods of `namespace`.
    #[must_use]
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
        }
    }

    /// Asks the API server whose token it is, every time: a pod's token ends with its pod.
    async fn instance_of(&self, token: &str) -> Result<String, Error> {
        let away = |error: kube::Error| Error::KubernetesAway(Box::new(error));
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![TOKEN_AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let status = reviews
            .create(&PostParams::default(), &review)
            .await
            .map_err(away)?
            .status
            .unwrap_or_default();
        let for_us = status.authenticated == Some(true)
            && status
                .audiences
                .unwrap_or_default()
                .iter()
                .any(|audience| audience == TOKEN_AUDIENCE);
        let user = status.user.filter(|_| for_us).ok_or(Error::BadToken)?;
        let (name, uid) = self.pod_of(&user).ok_or(Error::BadToken)?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let pod = pods
            .get_opt(name)
            .await
            .map_err(away)?
            .ok_or(Error::BadToken)?;
        if pod.uid().as_deref() != Some(uid) {
            return Err(Error::BadToken);
        }
        pod.labels()
            .get(INSTANCE_LABEL)
            .cloned()
            .ok_or(Error::ForeignBundle)
    }

    /// Name and UID of the pod in our namespace that the token is bound to.
    fn pod_of<'a>(&self, user: &'a UserInfo) -> Option<(&'a str, &'a str)> {
        let account = user
            .username
            .as_deref()?
            .strip_prefix("system:serviceaccount:")?;
        if account.split_once(':')?.0 != self.namespace {
            return None;
        }
        let extra = user.extra.as_ref()?;
        let one = |key: &str| {
            extra
                .get(key)
                .and_then(|values| values.first())
                .map(String::as_str)
        };
        Some((one(POD_NAME)?, one(POD_UID)?))
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
