//! `FakeCluster`: a Kubernetes API that has instances and their Events, remembers what was told of their use, has the log of
//! one pod, may measure another, and has Secrets that routers may not read.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use crds::SecretEntry;
use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use k8s_openapi::api::core::v1::Secret;
use kube::{Client, Config};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use crate::Body;
use crate::body::Exclusive;
use crate::server::{self, Slots};
use crate::table::Route;

pub(super) struct FakeCluster {
    pub(super) client: Client,
    inner: Arc<Inner>,
    _server: JoinSet<()>,
}

#[derive(Default)]
struct Inner {
    /// What the pod `chatty-1` has written.
    log: watch::Sender<String>,
    refuses: AtomicBool,
    told: Mutex<Vec<(String, Value)>>,
    objects: Mutex<Objects>,
    /// What the operator tells of Secrets.
    secrets: watch::Sender<BTreeMap<String, SecretEntry>>,
    metering: Mutex<Metering>,
    /// How often somebody has asked what a pod uses.
    metered: AtomicUsize,
}

/// What becomes of somebody who asks what pods use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Metering {
    /// This cluster measures nothing.
    #[default]
    Absent,
    /// They may not.
    Forbidden,
    /// They get no answer.
    Silent,
    /// The use of the pod `busy-1` is known.
    Measured,
}

/// Objects as the API server has them, by their kind's plural and their name.
#[derive(Default)]
struct Objects {
    all: BTreeMap<(String, String), Value>,
    events: Vec<Value>,
    revision: u64,
    /// Says no to whoever creates or changes something, in these words.
    denies: Option<String>,
    /// How many changes others make while one is under way.
    races: usize,
}

const OURS: &str = "/apis/wavestore.io/v1alpha1/namespaces/wavestore/";
const APPS: &str = "waveapps";
const INSTANCES: &str = "waveinstances";
const ALIASES: &str = "wavealiases";
const SECRETS: &str = "secrets";
const OF_SECRETS: &str = "/api/v1/namespaces/wavestore/secrets";
const METRICS: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/wavestore/pods/";
const BUSY: &str = "/api/v1/namespaces/wavestore/pods/busy-1";

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

    /// Makes these the instances that there are.
    pub(super) fn hold(&self, routes: &[Route]) {
        let mut objects = self.inner.objects.lock();
        objects.all.retain(|(kind, _), _| kind != INSTANCES);
        for route in routes {
            let object = json!({
                "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveInstance",
                "metadata": { "name": route.id.as_ref(), "uid": route.uid },
                "spec": {
                    "app": route.app, "owner": route.owner, "visibility": route.visibility,
                    "suspended": route.suspended,
                },
                "status": { "phase": route.phase },
            });
            objects.put(INSTANCES, object);
        }
    }

    /// Something has happened to an instance.
    pub(super) fn tell(&self, name: &str, reason: &str, message: &str) {
        let event = json!({
            "metadata": { "name": reason, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "involvedObject": { "kind": "WaveInstance", "uid": format!("uid-of-{name}") },
            "type": "Normal", "reason": reason, "message": message,
        });
        self.inner.objects.lock().events.push(event);
    }

    /// The instance of this name as it is now.
    pub(super) fn instance(&self, name: &str) -> Option<Value> {
        self.inner.objects.lock().get(INSTANCES, name)
    }

    /// The `WaveApp` of this name as it is now.
    pub(super) fn app(&self, name: &str) -> Option<Value> {
        self.inner.objects.lock().get(APPS, name)
    }

    /// What the operator says of a `WaveApp`.
    pub(super) fn set_app_status(&self, name: &str, status: Value) {
        let mut objects = self.inner.objects.lock();
        let mut app = objects.get(APPS, name).expect("an app");
        app["status"] = status;
        objects.put(APPS, app);
    }

    /// The pod `chatty-1` writes a line.
    pub(super) fn write(&self, line: &str) {
        self.inner.log.send_modify(|log| {
            log.push_str(line);
            log.push('\n');
        });
    }

    /// How many read the log of `chatty-1`.
    pub(super) fn readers(&self) -> usize {
        self.inner.log.receiver_count()
    }

    /// The Secret of this name as it is now.
    pub(super) fn secret(&self, name: &str) -> Option<Value> {
        self.inner.objects.lock().get(SECRETS, name)
    }

    /// Makes a Secret as kubectl does.
    pub(super) fn make_secret(&self, name: &str, labels: &Value, annotations: &Value) {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": { "key": "aHVudGVyMg==" },
            "metadata": {
                "name": name, "uid": format!("uid-of-{name}"), "labels": labels, "annotations": annotations,
            },
        });
        let mut objects = self.inner.objects.lock();
        objects.put(SECRETS, object);
        self.inner.secrets.send_replace(objects.told());
    }

    /// What the operator tells of Secrets, as it changes.
    pub(super) fn told_secrets(&self) -> watch::Receiver<BTreeMap<String, SecretEntry>> {
        self.inner.secrets.subscribe()
    }

    /// The alias of this name as it is now.
    pub(super) fn alias(&self, name: &str) -> Option<Value> {
        self.inner.objects.lock().get(ALIASES, name)
    }

    /// Makes an alias as kubectl does.
    pub(super) fn make_alias(&self, name: &str, spec: &Value) {
        let object = json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveAlias",
            "metadata": { "name": name, "uid": format!("uid-of-{name}") }, "spec": spec,
        });
        self.inner.objects.lock().put(ALIASES, object);
    }

    /// The names of all instances.
    pub(super) fn names(&self) -> Vec<String> {
        let objects = self.inner.objects.lock();
        let instances = objects.all.keys().filter(|(kind, _)| kind == INSTANCES);
        instances.map(|(_, name)| name.clone()).collect()
    }

    /// From now on whoever creates or changes something is told this.
    pub(super) fn deny(&self, words: &str) {
        self.inner.objects.lock().denies = Some(words.to_owned());
    }

    /// The next `times` that something is changed, somebody else changes it first.
    pub(super) fn race(&self, times: usize) {
        self.inner.objects.lock().races = times;
    }

    /// From now on that becomes of those who ask what pods use.
    pub(super) fn meter(&self, metering: Metering) {
        *self.inner.metering.lock() = metering;
    }

    /// How often somebody has asked that so far.
    pub(super) fn metered(&self) -> usize {
        self.inner.metered.load(Ordering::Relaxed)
    }

    /// From now on it says no.
    pub(super) fn refuse(&self) {
        self.inner.refuses.store(true, Ordering::Relaxed);
    }
}

async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> Response<Body> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.expect("a body");
    if path.ends_with("/pods/chatty-1/log") {
        return log(&inner, &query);
    }
    if let Some(pod) = path.strip_prefix(METRICS) {
        return usage(&inner, pod).await;
    }
    if path == BUSY {
        return document(StatusCode::OK, busy_pod().to_string());
    }
    let (status, answer) = if path.ends_with("/pods/waiting-1/log") {
        let refusal = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "container app is waiting to start", "reason": "BadRequest", "code": 400,
        });
        (StatusCode::BAD_REQUEST, refusal.to_string())
    } else if path.ends_with("/log") {
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
    } else if path.ends_with("/status") {
        let report: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        inner.told.lock().push((path, report));
        let instance = json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveInstance",
            "metadata": {"name": "x"},
            "spec": {"app": {"name": "hello", "version": "1.0.0"}, "owner": "alice"},
        });
        (StatusCode::OK, instance.to_string())
    } else {
        let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        let answered = {
            let mut objects = inner.objects.lock();
            let answered = objects.answer(&method, &path, &query, &body);
            if path.starts_with(OF_SECRETS) {
                inner.secrets.send_replace(objects.told());
            }
            answered
        };
        let (status, object) = answered.unwrap_or_else(|(status, message)| {
            let reason = match status {
                StatusCode::NOT_FOUND => "NotFound",
                StatusCode::CONFLICT => "Conflict",
                StatusCode::FORBIDDEN => "Forbidden",
                _ => "Invalid",
            };
            let refusal = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": message, "reason": reason, "code": status.as_u16(),
            });
            (status, refusal)
        });
        (status, object.to_string())
    };
    document(status, answer)
}

fn document(status: StatusCode, answer: String) -> Response<Body> {
    let mut response = Response::new(Body::from(answer));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        "application/json".parse().expect("a value"),
    );
    response
}

/// What the pod uses, as metrics-server tells it, or what the API server says in its place.
async fn usage(inner: &Inner, pod: &str) -> Response<Body> {
    inner.metered.fetch_add(1, Ordering::Relaxed);
    let metering = *inner.metering.lock();
    let (status, reason) = match metering {
        Metering::Absent => {
            // The API server has no object for an address that it does not know.
            let mut response = Response::new(Body::from("404 page not found\n".to_owned()));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
        Metering::Silent => std::future::pending().await,
        Metering::Measured if pod == "busy-1" => {
            let metrics = json!({
                "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": { "name": pod },
                "timestamp": "2026-01-01T12:00:00Z", "window": "15s",
                "containers": [{ "name": "app", "usage": { "cpu": "29500001n", "memory": "217088Ki" } }],
            });
            return document(StatusCode::OK, metrics.to_string());
        }
        Metering::Measured => (StatusCode::NOT_FOUND, "NotFound"),
        Metering::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
    };
    let refusal = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("podmetrics.metrics.k8s.io \"{pod}\""), "reason": reason, "code": status.as_u16(),
    });
    document(status, refusal.to_string())
}

/// The pod whose use may be known.
fn busy_pod() -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1", "metadata": { "name": "busy-1" },
        "spec": { "containers": [{
            "name": "app", "resources": { "limits": { "cpu": "1", "memory": "1Gi" } },
        }] },
    })
}

/// The log of `chatty-1`, and with `follow=true` what it writes from now on.
fn log(inner: &Inner, query: &str) -> Response<Body> {
    let mut parameters = form_urlencoded::parse(query.as_bytes());
    let tail = parameters.find(|(name, _)| name == "tailLines");
    let tail: usize = tail.map_or(usize::MAX, |(_, lines)| lines.parse().expect("a number"));
    let reader = inner.log.subscribe();
    let whole = reader.borrow().clone();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let last = lines[lines.len().saturating_sub(tail)..].concat();
    if !query.contains("follow=true") {
        return Response::new(Body::from(last));
    }
    let state = (
        reader,
        whole.len(),
        Some(last).filter(|last| !last.is_empty()),
    );
    let pieces = stream::unfold(state, |(mut reader, known, first)| async move {
        if let Some(first) = first {
            return Some((first, (reader, known, None)));
        }
        reader.wait_for(|log| log.len() > known).await.ok()?;
        let log = reader.borrow().clone();
        Some((log[known..].to_owned(), (reader, log.len(), None)))
    });
    let frames = pieces.map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))));
    Response::new(Body::stream(StreamBody::new(Exclusive::new(
        frames.boxed(),
    ))))
}

impl Objects {
    fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let key = (kind.to_owned(), name.to_owned());
        self.all.get(&key).cloned()
    }

    /// What the operator tells of Secrets.
    fn told(&self) -> BTreeMap<String, SecretEntry> {
        let secrets = self.all.iter().filter(|((kind, _), _)| kind == SECRETS);
        let told = secrets.filter_map(|((_, name), object)| {
            let secret: Secret = serde_json::from_value(object.clone()).expect("a Secret");
            Some((name.clone(), SecretEntry::of(&secret)?))
        });
        told.collect()
    }

    /// A piece of all objects of a kind, by name.
    fn list(&self, kind: &str, query: &str) -> Value {
        let parameters: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).collect();
        let limit: usize = parameters["limit"].parse().expect("a number");
        let after = parameters.get("continue").map(ToString::to_string);
        let after = after.unwrap_or_default();
        let all = self.all.iter().filter(|((of, _), _)| of == kind);
        let mut rest = all.filter(|((_, name), _)| *name > after);
        let items: Vec<_> = rest.by_ref().take(limit).collect();
        let last = items.last().map(|((_, name), _)| name);
        let more = last.filter(|_| rest.next().is_some());
        let items: Vec<&Value> = items.iter().map(|(_, object)| *object).collect();
        json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "List",
            "metadata": { "continue": more }, "items": items,
        })
    }

    /// Stores the next revision of an object.
    fn put(&mut self, kind: &str, mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let name = object["metadata"]["name"].as_str().expect("a name");
        let key = (kind.to_owned(), name.to_owned());
        self.all.insert(key, object.clone());
        object
    }

    fn answer(
        &mut self,
        method: &Method,
        path: &str,
        query: &str,
        body: &Value,
    ) -> Result<(StatusCode, Value), (StatusCode, String)> {
        if path.ends_with("/events") {
            let of_it = |event: &&Value| {
                let uid = event["involvedObject"]["uid"].as_str().expect("a uid");
                query.contains(uid)
            };
            let events: Vec<&Value> = self.events.iter().filter(of_it).collect();
            let list =
                json!({"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": events});
            return Ok((StatusCode::OK, list));
        }
        let (kind, name) = if let Some(name) = path.strip_prefix(OF_SECRETS) {
            (SECRETS, name.trim_start_matches('/'))
        } else {
            let path = path.strip_prefix(OURS).expect("a known path");
            path.split_once('/').unwrap_or((path, ""))
        };
        if kind == SECRETS && [Method::GET, Method::PATCH].contains(method) {
            let words = "secrets is forbidden: a router reads none".to_owned();
            return Err((StatusCode::FORBIDDEN, words));
        }
        if *method != Method::GET
            && let Some(words) = &self.denies
        {
            return Err((StatusCode::UNPROCESSABLE_ENTITY, words.clone()));
        }
        if *method == Method::GET && name.is_empty() {
            return Ok((StatusCode::OK, self.list(kind, query)));
        }
        if *method == Method::POST {
            let name = body["metadata"]["name"].as_str().expect("a name");
            if self.get(kind, name).is_some() {
                return Err((StatusCode::CONFLICT, format!("{name} already exists")));
            }
            let mut object = body.clone();
            object["metadata"]["uid"] = json!(format!("uid-of-{name}"));
            object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
            return Ok((StatusCode::CREATED, self.put(kind, object)));
        }
        let found = self.get(kind, name);
        let mut found = found.ok_or((StatusCode::NOT_FOUND, format!("no {name}")))?;
        if *method == Method::GET {
            return Ok((StatusCode::OK, found));
        }
        if self.races > 0 {
            self.races -= 1;
            found = self.put(kind, found);
        }
        let wanted = if *method == Method::DELETE {
            &body["preconditions"]
        } else {
            &body["metadata"]
        };
        for field in ["uid", "resourceVersion"] {
            if wanted[field] != found["metadata"][field] {
                return Err((StatusCode::CONFLICT, format!("not the {field}")));
            }
        }
        if *method == Method::DELETE {
            self.all.remove(&(kind.to_owned(), name.to_owned()));
            return Ok((StatusCode::OK, found));
        }
        if *method == Method::PUT {
            return Ok((StatusCode::OK, self.put(kind, body.clone())));
        }
        merge(&mut found["spec"], &body["spec"]);
        if let Some(annotations) = body["metadata"].get("annotations") {
            merge(&mut found["metadata"]["annotations"], annotations);
        }
        Ok((StatusCode::OK, self.put(kind, found)))
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (name, value) in fields {
                if !value.is_null() {
                    merge(&mut target[name.as_str()], value);
                } else if let Some(target) = target.as_object_mut() {
                    target.remove(name);
                }
            }
        }
        other => *target = other.clone(),
    }
}
