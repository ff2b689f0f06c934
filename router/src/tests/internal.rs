//! The listener for the cluster, with a fake Kubernetes API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use catalog::{Blobs, Digest};
use crds::Visibility;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kube::{Client, Config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Body;
use crate::internal::{Internal, Pods, Readiness};
use crate::server;
use crate::table::health::Health;
use crate::table::{Route, Snapshot, Table};

/// Knows the token `good` of the pod `sales-1`, and a few that are good for nothing.
async fn kubernetes(request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let answer = match path.as_str() {
        "/apis/authentication.k8s.io/v1/tokenreviews" => {
            let asked: Value = serde_json::from_slice(&body).expect("json");
            assert_eq!(asked["spec"]["audiences"], json!(["wavestore"]));
            let token = asked["spec"]["token"].as_str().expect("a token");
            let user = |account: &str, pod: &str, uid: &str| {
                json!({
                    "authenticated": true, "audiences": ["wavestore"],
                    "user": {
                        "username": format!("system:serviceaccount:{account}:default"),
                        "extra": {
                            "authentication.kubernetes.io/pod-name": [pod],
                            "authentication.kubernetes.io/pod-uid": [uid],
                        },
                    },
                })
            };
            let status = match token {
                "good" => user("wavestore", "sales-1", "uid-1"),
                "other-namespace" => user("elsewhere", "sales-1", "uid-1"),
                "old-pod" => user("wavestore", "sales-1", "uid-0"),
                "gone-pod" => user("wavestore", "sales-0", "uid-0"),
                "no-instance" => user("wavestore", "router", "uid-2"),
                "no-pod" => json!({
                    "authenticated": true, "audiences": ["wavestore"],
                    "user": { "username": "system:serviceaccount:wavestore:default" },
                }),
                "other-audience" => json!({
                    "authenticated": true, "audiences": ["https://kubernetes.default.svc"],
                    "user": user("wavestore", "sales-1", "uid-1")["user"],
                }),
                _ => json!({ "authenticated": false }),
            };
            json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
                "spec": {}, "status": status,
            })
        }
        "/api/v1/namespaces/wavestore/pods/sales-1" => json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "sales-1", "uid": "uid-1", "labels": { "wavestore.io/instance": "sales" } },
        }),
        "/api/v1/namespaces/wavestore/pods/router" => json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "router", "uid": "uid-2" },
        }),
        _ => {
            let missing = json!({
                "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound",
                "message": "not found", "code": 404,
            });
            let mut response = Response::new(Body::from(missing.to_string()));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
    };
    let mut response = Response::new(Body::from(answer.to_string()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        "application/json".parse().expect("a value"),
    );
    response
}

struct Cluster {
    address: SocketAddr,
    readiness: Readiness,
    running: Digest,
    other: Digest,
    _tasks: JoinSet<()>,
    _folder: TempDir,
}

impl Cluster {
    async fn start(health: Health) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut tasks = JoinSet::new();
        let api = server::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let api_address = api.local_addr().expect("an address");
        let slots = || Arc::new(Semaphore::new(10));
        tasks.spawn(server::serve(
            api,
            slots(),
            CancellationToken::new(),
            |_, request| kubernetes(request),
        ));
        let url = format!("http://{api_address}").parse().expect("a url");
        let client = Client::try_from(Config::new(url)).expect("a client");

        let folder = TempDir::new().expect("a folder");
        let blobs =
            Blobs::open(&format!("file://{}", folder.path().display())).expect("a blob store");
        let store = async |content: &str| {
            let file = folder.path().join("bundle");
            std::fs::write(&file, content).expect("a file");
            let digest = Digest::of(content.as_bytes());
            blobs.put_bundle(&digest, &file).await.expect("a bundle");
            digest
        };
        let (running, other) = (
            store("the running bundle").await,
            store("another bundle").await,
        );
        let mut route = Route::example("sales", "alice", Visibility::Private);
        route.digest = Some(running.to_string());
        let table = Arc::new(Table::default());
        table.publish(Snapshot {
            routes: [(route.id.clone(), Arc::new(route))].into(),
            ..Snapshot::default()
        });

        let readiness = Readiness {
            health: Arc::new(health),
            started: Arc::new(AtomicBool::new(true)),
            stop: CancellationToken::new(),
        };
        let internal = Arc::new(Internal {
            readiness: readiness.clone(),
            table,
            blobs,
            pods: Pods::new(client, "wavestore"),
        });
        let listener = server::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = listener.local_addr().expect("an address");
        tasks.spawn(server::serve(
            listener,
            slots(),
            CancellationToken::new(),
            move |_, request| internal.clone().handle(request),
        ));
        Self {
            address,
            readiness,
            running,
            other,
            _tasks: tasks,
            _folder: folder,
        }
    }

    async fn get(&self, path: &str, token: Option<&str>) -> reqwest::Response {
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        let request = client.get(format!("http://{}{path}", self.address));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.expect("an answer")
    }
}

#[tokio::test]
async fn a_pod_gets_the_bundle_that_its_instance_runs_and_no_other() {
    let cluster = Cluster::start(Health::synced()).await;
    let running = format!("/v1/bundles/{}", cluster.running);
    let other = format!("/v1/bundles/{}", cluster.other);
    let answer = cluster.get(&running, Some("good")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()[header::CONTENT_LENGTH.as_str()], "18");
    assert_eq!(answer.text().await.expect("a body"), "the running bundle");
    let cases = [
        ("another bundle", other.as_str(), Some("good"), 403),
        ("no token", running.as_str(), None, 401),
        ("a token that is none", running.as_str(), Some("bad"), 401),
        (
            "another audience",
            running.as_str(),
            Some("other-audience"),
            401,
        ),
        (
            "another namespace",
            running.as_str(),
            Some("other-namespace"),
            401,
        ),
        (
            "a token without a pod",
            running.as_str(),
            Some("no-pod"),
            401,
        ),
        (
            "a pod that is gone",
            running.as_str(),
            Some("gone-pod"),
            401,
        ),
        (
            "an older pod of this name",
            running.as_str(),
            Some("old-pod"),
            401,
        ),
        (
            "a pod of no instance",
            running.as_str(),
            Some("no-instance"),
            403,
        ),
        (
            "no digest",
            "/v1/bundles/../../etc/passwd",
            Some("good"),
            404,
        ),
        ("an unknown path", "/v1/apps", Some("good"), 404),
        ("a store page", "/sign-in", None, 404),
    ];
    for (name, path, token, status) in cases {
        assert_eq!(cluster.get(path, token).await.status(), status, "{name}");
    }
}

#[tokio::test]
async fn readiness_follows_the_first_lists_and_the_end() {
    let cluster = Cluster::start(Health::default()).await;
    assert_eq!(cluster.get("/livez", None).await.status(), 200);
    let answer = cluster.get("/readyz", None).await;
    assert_eq!(answer.status(), 503);
    let words = answer.text().await.expect("a body");
    assert!(
        words.contains("WaveInstances: waiting for the first list"),
        "{words}"
    );

    let cluster = Cluster::start(Health::synced()).await;
    assert_eq!(cluster.get("/readyz", None).await.status(), 200);
    cluster.readiness.started.store(false, Ordering::Relaxed);
    assert_eq!(cluster.get("/readyz", None).await.status(), 503);
    cluster.readiness.started.store(true, Ordering::Relaxed);
    cluster.readiness.stop.cancel();
    let answer = cluster.get("/readyz", None).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.expect("a body").contains("stopping"));
    assert_eq!(cluster.get("/livez", None).await.status(), 200);
}
