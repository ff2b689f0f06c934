//! The listener for the cluster, with a fake Kubernetes API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use catalog::{Blobs, Digest, EnvironmentKey};
use crds::Visibility;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kube::{Client, Config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::test_store::{DEADLINE, eventually};
use crate::Body;
use crate::internal::{Internal, Pods, Readiness, Sending};
use crate::server::{self, Slots};
use crate::table::health::Health;
use crate::table::{Route, Snapshot, Table};

const KEY: &str = "abababababababababababababababababababab";

/// Knows the token `good` of the pod `sales-1`, `builder` of a job's, and a few that are good for nothing.
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
            assert_eq!(
                asked["spec"]["audiences"],
                json!(["wavestore", "wavestore-build"])
            );
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
                "builder" => json!({
                    "authenticated": true, "audiences": ["wavestore-build"],
                    "user": user("wavestore", "build-1", "uid-3")["user"],
                }),
                "instance-as-builder" => json!({
                    "authenticated": true, "audiences": ["wavestore-build"],
                    "user": user("wavestore", "sales-1", "uid-1")["user"],
                }),
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
            "metadata": { "name": "sales-1", "uid": "uid-1", "labels": { "wavestore.io/instance": "sales" },
                "annotations": { "wavestore.io/environment": KEY } },
        }),
        "/api/v1/namespaces/wavestore/pods/build-1" => json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "build-1", "uid": "uid-3", "labels": { "wavestore.io/build": KEY },
                "annotations": { "wavestore.io/bundle": Digest::of(b"another bundle").to_string() } },
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
        let slots = || Slots::new(10).each(8);
        tasks.spawn(server::serve(
            api,
            slots(),
            None,
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
            store(&"a bundle that no socket's buffers hold ".repeat(1 << 19)).await,
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
            sending: Sending::default(),
            metrics: Arc::default(),
        });
        let listener = server::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = listener.local_addr().expect("an address");
        tasks.spawn(server::serve(
            listener,
            slots(),
            None,
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

    async fn put(&self, path: &str, token: &str, body: Vec<u8>) -> reqwest::Response {
        let client = reqwest::Client::builder().no_proxy().build();
        client
            .expect("a client")
            .put(format!("http://{}{path}", self.address))
            .bearer_auth(token)
            .body(body)
            .send()
            .await
            .expect("an answer")
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
    let length = &answer.headers()[header::CONTENT_LENGTH.as_str()];
    assert_eq!(length.to_str().expect("text"), (39 << 19).to_string());
    let bundle = answer.bytes().await.expect("a body");
    assert_eq!(Digest::of(&bundle), cluster.running);
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
async fn a_job_stores_its_environment_once_and_the_instance_that_was_given_it_reads_it() {
    let cluster = Cluster::start(Health::synced()).await;
    let path = format!("/v1/environments/{KEY}");
    let other = format!("/v1/environments/{}", EnvironmentKey::from_sha256([1; 32]));
    // More than a part of what is stored at once.
    let content = b"an environment ".repeat(1 << 20);

    assert_eq!(cluster.get(&path, Some("good")).await.status(), 404);
    let refused = [
        ("an instance", path.as_str(), "good", 403),
        (
            "an instance with a job's token",
            &path,
            "instance-as-builder",
            403,
        ),
        ("another environment", &other, "builder", 403),
        ("no token", &path, "bad", 401),
        ("no key", "/v1/environments/../bundles/x", "builder", 404),
        (
            "a bundle",
            &format!("/v1/bundles/{}", cluster.other),
            "builder",
            404,
        ),
    ];
    for (name, path, token, status) in refused {
        let answer = cluster.put(path, token, content.clone()).await;
        assert_eq!(answer.status(), status, "{name}");
    }

    let answer = cluster.put(&path, "builder", content.clone()).await;
    assert_eq!(answer.status(), 201);
    let digest = answer.text().await.expect("a digest");
    assert_eq!(digest, Digest::of(&content).to_string());
    let answer = cluster.put(&path, "builder", b"another".to_vec()).await;
    assert_eq!(answer.status(), 409);

    let answer = cluster.get(&path, Some("good")).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.expect("a body") == content);
    let refused = [
        ("an environment that it was not given", &other, "good"),
        ("a job reads none", &path, "builder"),
        ("a pod of no instance", &path, "no-instance"),
    ];
    for (name, path, token) in refused {
        assert_eq!(cluster.get(path, Some(token)).await.status(), 403, "{name}");
    }
    let (running, own) = (cluster.running, cluster.other);
    let own = format!("/v1/bundles/{own}");
    assert_eq!(cluster.get(&own, Some("builder")).await.status(), 200);
    let running = format!("/v1/bundles/{running}");
    assert_eq!(cluster.get(&running, Some("builder")).await.status(), 403);
}

#[tokio::test]
async fn a_job_keeps_the_versions_of_its_environment_for_the_next_one() {
    let cluster = Cluster::start(Health::synced()).await;
    let path = format!("/v1/environments/{KEY}/lock");
    let other = format!(
        "/v1/environments/{}/lock",
        EnvironmentKey::from_sha256([1; 32])
    );
    for token in ["builder", "good"] {
        let answer = cluster.get(&path, Some(token)).await;
        assert_eq!(answer.status(), 204, "{token}");
        assert_eq!(
            cluster.get(&other, Some(token)).await.status(),
            403,
            "{token}"
        );
    }
    let lock = b"pandas==2.0.0\n";
    let refused = [
        ("an instance", path.as_str(), "good", lock.to_vec(), 403),
        ("another environment", &other, "builder", lock.to_vec(), 403),
        ("no token", &path, "bad", lock.to_vec(), 401),
        ("too much", &path, "builder", vec![b'x'; 300 << 10], 413),
    ];
    for (name, path, token, lock, status) in refused {
        let answer = cluster.put(path, token, lock).await;
        assert_eq!(answer.status(), status, "{name}");
    }
    assert_eq!(cluster.get(&path, Some("good")).await.status(), 204);
    for lock in ["pandas==2.0.0\n", "pandas==2.1.0\n"] {
        let answer = cluster.put(&path, "builder", lock.into()).await;
        assert_eq!(answer.status(), 201);
        for token in ["builder", "good"] {
            let answer = cluster.get(&path, Some(token)).await;
            assert_eq!(answer.text().await.expect("a body"), lock, "{token}");
        }
    }
}

#[tokio::test]
async fn an_environment_that_breaks_off_leaves_nothing() {
    let cluster = Cluster::start(Health::synced()).await;
    let path = format!("/v1/environments/{KEY}");
    let mut stream = TcpStream::connect(cluster.address).await.expect("connect");
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer builder\r\nContent-Length: 100\r\n\r\nhalf"
    );
    stream.write_all(head.as_bytes()).await.expect("write");
    drop(stream);
    eventually("there is room for the whole one", async || {
        let answer = cluster.put(&path, "builder", b"whole".to_vec()).await;
        answer.status() == 201
    })
    .await;
    let answer = cluster.get(&path, Some("good")).await;
    assert_eq!(answer.text().await.expect("a body"), "whole");

    let mut stream = TcpStream::connect(cluster.address).await.expect("connect");
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer builder\r\nContent-Length: {}\r\n\r\n",
        u64::MAX / 2
    );
    stream.write_all(head.as_bytes()).await.expect("write");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
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

/// Apps are not trusted: one that takes bundles and reads none must not take what all others start with.
#[tokio::test]
async fn an_instance_that_does_not_read_its_bundles_gets_no_more() {
    let cluster = Cluster::start(Health::synced()).await;
    let path = format!("/v1/bundles/{}", cluster.running);
    let mut unread = Vec::new();
    for _ in 0..4 {
        let answer = cluster.get(&path, Some("good")).await;
        assert_eq!(answer.status(), 200);
        unread.push(answer);
    }
    assert_eq!(cluster.get(&path, Some("good")).await.status(), 503);
    unread.clear();
    eventually("its turns are free again", async || {
        cluster.get(&path, Some("good")).await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let cluster = Cluster::start(Health::synced()).await;
    let mut taken = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(cluster.address).await.expect("connect");
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .expect("write");
        assert_ne!(stream.read(&mut [0; 64]).await.expect("read"), 0);
        taken.push(stream);
    }
    let mut more = TcpStream::connect(cluster.address).await.expect("connect");
    let closed = timeout(DEADLINE, more.read(&mut [0; 64])).await;
    assert_eq!(closed.expect("at once").unwrap_or_default(), 0);
    taken.clear();
    eventually("there is room again", async || {
        let mut stream = TcpStream::connect(cluster.address).await.expect("connect");
        let asked = stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            .await;
        asked.is_ok() && stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0)
    })
    .await;
}
