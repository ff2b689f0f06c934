//! Flux's kustomize-controller as a process of this machine, and what source-controller would leave for it: an archive of files, served on
//! the loopback, and a `GitRepository` whose status names it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use e2e::{Sandbox, eventually, run};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

const SAMPLE: &str = "../config/samples/flux/manifests.yaml";

/// Name of the sample's `GitRepository`.
const REPOSITORY: &str = "wave";

/// Archives by their path.
type Archives = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// Flux at work in a sandbox. It ends when it is dropped.
pub(crate) struct Flux<'a> {
    sandbox: &'a Sandbox,
    archives: Archives,
    address: SocketAddr,
    /// What is in Git, by path.
    files: BTreeMap<String, String>,
    revision: u32,
    _server: JoinSet<()>,
    _controller: Child,
}

impl<'a> Flux<'a> {
    /// Starts it, with the sample's objects for this sandbox; nothing is in Git yet.
    pub(crate) async fn start(sandbox: &'a Sandbox) -> Result<Self> {
        let folder = std::env::var("FLUX").context("FLUX is not set: see `make test-flux`")?;
        let folder = Path::new(&folder);
        let crds = folder.display().to_string();
        sandbox
            .kubectl(&["apply", "--server-side", "-f", &crds], None)
            .await?;
        let wait = ["wait", "--for=condition=Established", "--timeout=60s", "-f"];
        sandbox
            .kubectl(&[&wait[..], &[&crds]].concat(), None)
            .await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let archives = Archives::default();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, archives.clone()));
        let flux = Self {
            sandbox,
            archives,
            address,
            files: BTreeMap::new(),
            revision: 0,
            _server: server,
            _controller: start_controller(sandbox, folder)?,
        };
        let objects = sample(&sandbox.name)?;
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
        sandbox.kubectl(&["apply", "-f", "-"], Some(&list)).await?;
        Ok(flux)
    }

    /// Puts a file into what is to be pushed.
    pub(crate) fn put(&mut self, path: &str, object: &Value) {
        self.files.insert(path.to_owned(), object.to_string());
    }

    /// Takes a file out of what is to be pushed.
    pub(crate) fn remove(&mut self, path: &str) {
        self.files.remove(path);
    }

    /// Makes all files the repository's next revision, and answers its name.
    pub(crate) async fn push(&mut self) -> Result<String> {
        let tree = tempfile::tempdir()?;
        for (path, text) in &self.files {
            let file = tree.path().join(path);
            std::fs::create_dir_all(file.parent().context("in a folder")?)?;
            std::fs::write(file, text)?;
        }
        let folder = tree.path().display().to_string();
        let archive = tempfile::NamedTempFile::new()?;
        let file = archive.path().display().to_string();
        let packed = run("tar", &["-czf", &file, "-C", &folder, "."], None).await?;
        ensure!(packed.success, "{}", packed.stderr);
        let content = Bytes::from(std::fs::read(archive.path())?);

        self.revision += 1;
        let hex = hex::encode(Sha256::digest(&content));
        let revision = format!("main@sha1:{:040x}", self.revision);
        let path = format!("/{}.tar.gz", self.revision);
        let url = format!("http://{}{path}", self.address);
        let size = content.len();
        self.archives.lock().insert(path.clone(), content);
        let now = k8s_openapi::jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        let status = json!({ "status": {
            "observedGeneration": 1,
            "artifact": {
                "path": path, "url": url, "revision": revision, "digest": format!("sha256:{hex}"), "size": size, "lastUpdateTime": now,
            },
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored artifact",
                "lastTransitionTime": now, "observedGeneration": 1,
            }],
        } });
        let command = [
            "patch",
            "gitrepository",
            REPOSITORY,
            "--subresource=status",
            "--type=merge",
            "--patch",
        ];
        self.sandbox
            .kubectl(&[&command[..], &[&status.to_string()]].concat(), None)
            .await?;
        Ok(revision)
    }

    /// Waits until a Kustomization has come to an end with a revision: applied and healthy, or not; answers its Ready condition.
    pub(crate) async fn judged(&self, name: &str, revision: &str) -> Result<Verdict> {
        eventually(&format!("Flux to judge {name} at {revision}"), async || {
            let get = ["get", "kustomization", name, "--output", "json"];
            let object: Value = serde_json::from_str(&self.sandbox.kubectl(&get, None).await?)?;
            let status = &object["status"];
            let ready = status["conditions"]
                .as_array()
                .and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"))
                .context("Flux has not looked at it")?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (word, message) = (text(&ready["status"]), text(&ready["message"]));
            ensure!(
                status["lastAttemptedRevision"] == revision && word != "Unknown",
                "{word}: {message}"
            );
            ensure!(
                (word == "True") == (status["lastAppliedRevision"] == revision),
                "a verdict on an older revision: {status}"
            );
            Ok(Verdict {
                healthy: word == "True",
                message,
            })
        })
        .await
    }
}

/// What Flux says of a Kustomization.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) healthy: bool,
    pub(crate) message: String,
}

/// The sample's objects, in this namespace, and for it.
fn sample(namespace: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for document in std::fs::read_to_string(SAMPLE)?.split("\n---\n") {
        let mut object: Value = serde_saphyr::from_str(document)?;
        object["metadata"]["namespace"] = json!(namespace);
        if object["kind"] == "Kustomization" {
            ensure!(
                object["spec"]["wait"] == true && object["spec"]["prune"] == true,
                "the sample has changed"
            );
            object["spec"]["targetNamespace"] = json!(namespace);
        }
        objects.push(object);
    }
    ensure!(objects.len() == 3, "the sample has changed: {objects:?}");
    Ok(objects)
}

/// With all rights, as Flux installs it.
fn start_controller(sandbox: &Sandbox, folder: &Path) -> Result<Child> {
    let log = std::fs::File::create(sandbox.folder().join("flux.log"))?;
    let kubeconfig = sandbox.kubeconfig.as_ref().context("a sandbox has one")?;
    Command::new(folder.join("kustomize-controller"))
        .args(["--watch-all-namespaces=false", "--requeue-dependency=1s"])
        .args(["--metrics-addr=0", "--health-addr=127.0.0.1:0"])
        .env("RUNTIME_NAMESPACE", &sandbox.name)
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("could not start kustomize-controller")
}

async fn serve(listener: TcpListener, archives: Archives) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let archives = archives.clone();
        connections.spawn(async move {
            let service =
                service_fn(move |request| ready(Ok::<_, Infallible>(answer(&request, &archives))));
            // A connection that breaks is the controller's to tell of.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

fn answer(request: &Request<Incoming>, archives: &Archives) -> Response<Full<Bytes>> {
    let found = archives.lock().get(request.uri().path()).cloned();
    let mut response = Response::new(Full::from(found.clone().unwrap_or_default()));
    if found.is_none() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}
