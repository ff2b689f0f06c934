//! What an app requires is installed once, by a job; instances start from that, and without it when they must.

use anyhow::{Context, Result, ensure};
use crds::{AppRef, Visibility, WaveApp, WaveInstance, WaveInstanceSpec};
use e2e::{Published, Store, condition, eventually, instance, kubectl, pack};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;

const RESTORED: &str = "is the one that was built at import";

/// A web server that tells the version of the package that it requires, and of its Python.
const SERVER: &str = r#"
import http.server, os, sys, importlib.metadata
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        python = "{}.{}".format(*sys.version_info)
        body = (python if self.path == "/python" else importlib.metadata.version("iniconfig")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

async fn submit(store: &Store, name: &str, requirements: &str) -> Result<Published> {
    publish(store, name, requirements, "").await
}

/// The same with more keys of `[Runtime]`.
async fn publish(
    store: &Store,
    name: &str,
    requirements: &str,
    runtime: &str,
) -> Result<Published> {
    let toml = format!(
        "[App]\nName = \"{name}\"\nVersion = \"1.0.0\"\n[Runtime]\nModule = \"server\"\nAppMode = \"python\"\nPort = 8050\n\
         MemoryLimit = \"256Mi\"\nMemoryReservation = \"32Mi\"\nCPUReservation = \"20m\"\n{runtime}"
    );
    let bundle = pack(&[
        ("app.toml", toml.as_bytes()),
        ("server.py", SERVER.as_bytes()),
        ("requirements.txt", requirements.as_bytes()),
    ])?;
    let published = store.submit(name, bundle, Visibility::AllUsers).await?;
    let apps = store.api::<WaveApp>();
    condition(&apps, name, "Ready", |ready| ready.status == "True").await?;
    Ok(published)
}

async fn key(store: &Store, app: &str) -> Result<String> {
    let app = store.api::<WaveApp>().get(app).await?;
    let environment = app.status.and_then(|status| status.environment);
    Ok(environment.context("no environment is wanted")?.key)
}

/// Starts a public instance, and waits until it answers with the version of its package.
async fn answers(store: &Store, name: &str, spec: WaveInstanceSpec, version: &str) -> Result<()> {
    store.delete(name).await?;
    store.apply(name, spec).await?;
    store.ready(name).await?;
    eventually(&format!("{name} to answer"), async || {
        let text = store.get(&store.host(name), "/").await?.text().await?;
        ensure!(text == version, "it answers: {text}");
        Ok(())
    })
    .await
}

async fn log(name: &str) -> Result<String> {
    let selector = format!("{}={name}", crds::INSTANCE_LABEL);
    kubectl(&["logs", "--tail=-1", "--selector", &selector], None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_builds_what_instances_start_from() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let name = "e2e-environment";
    let app = submit(&store, name, "iniconfig==2.0.0\n").await?;
    let apps = store.api::<WaveApp>();
    condition(&apps, name, "EnvironmentReady", |ready| {
        ready.status == "True" && ready.reason == "EnvironmentBuilt"
    })
    .await?;

    let key = key(&store, name).await?;
    let job = store
        .api::<Job>()
        .get(&format!("wavestore-env-{key}"))
        .await?;
    let owner = job.metadata.owner_references.unwrap_or_default();
    ensure!(
        owner
            .iter()
            .any(|owner| owner.kind == "WaveApp" && owner.name == name)
    );
    ensure!(
        job.spec
            .context("a spec")?
            .ttl_seconds_after_finished
            .is_some()
    );
    let built = ListParams::default().labels(&format!("{}={key}", crds::BUILD_LABEL));
    for pod in store.api::<Pod>().list(&built).await? {
        let spec = serde_json::to_string(&pod.spec)?;
        ensure!(
            !spec.contains("/var/run/secrets/kubernetes.io"),
            "it has a token for the API: {spec}"
        );
    }

    let spec = instance(name, &store.admin, Visibility::Public);
    answers(&store, name, spec.clone(), "2.0.0").await?;
    let words = log(name).await?;
    ensure!(words.contains(RESTORED), "its log says: {words}");
    ensure!(
        !words.contains("Installed 1 package"),
        "its log says: {words}"
    );
    store.delete(name).await?;

    // What the store has lost is not needed.
    let blob = format!("/data/blobs/envs/{key}");
    let router = "deployment/wavestore-router";
    kubectl(&["exec", router, "--", "rm", &blob], None).await?;
    answers(&store, name, spec, "2.0.0").await?;
    let words = log(name).await?;
    ensure!(
        words.contains("cannot be used, so packages are installed here")
            && !words.contains(RESTORED),
        "its log says: {words}"
    );
    store.delete(name).await?;
    store.retract(&app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_is_told_and_takes_nothing_from_the_app() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let name = "e2e-environment-broken";
    let app = submit(&store, name, "wavestore-no-such-package==9.9.9\n").await?;
    let apps = store.api::<WaveApp>();
    condition(&apps, name, "EnvironmentReady", |ready| {
        ready.status == "False"
            && ready.reason == "EnvironmentFailed"
            && ready
                .message
                .contains("wavestore-no-such-package was not found")
    })
    .await?;
    condition(&apps, name, "Ready", |ready| ready.status == "True").await?;
    let found = apps.get(name).await?.status.context("a status")?;
    let runtime = found.runtime.context("it can be run")?;
    ensure!(runtime.environment.is_none(), "{:?}", runtime.environment);
    // What is tried no more is what the pod says, too.
    store.delete(name).await?;
    store
        .apply(name, instance(name, &store.admin, Visibility::Private))
        .await?;
    let instances = store.api::<WaveInstance>();
    condition(&instances, name, "Ready", |ready| {
        ready.status == "False" && ready.message.contains("wavestore-no-such-package")
    })
    .await?;
    store.delete(name).await?;
    store.retract(&app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_a_pod_gets_the_environment_that_was_built_later() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let name = "e2e-environment-later";
    let app = submit(&store, name, "iniconfig==2.0.0\n# of its own\n").await?;
    // Its release is made before the job is done.
    let spec = WaveInstanceSpec {
        app: AppRef {
            name: name.into(),
            version: "1.0.0".into(),
        },
        suspended: true,
        ..instance(name, &store.admin, Visibility::Public)
    };
    store.delete(name).await?;
    store.apply(name, spec.clone()).await?;
    let apps = store.api::<WaveApp>();
    condition(&apps, name, "EnvironmentReady", |ready| {
        ready.status == "True"
    })
    .await?;
    let key = key(&store, name).await?;
    eventually("its Deployment to name the environment", async || {
        let words = kubectl(&["get", "deployment", name, "--output=yaml"], None).await?;
        ensure!(words.contains(&key), "it says: {words}");
        Ok(())
    })
    .await?;
    let awake = WaveInstanceSpec {
        suspended: false,
        ..spec
    };
    store.apply(name, awake).await?;
    store.ready(name).await?;
    let words = log(name).await?;
    ensure!(words.contains(RESTORED), "its log says: {words}");
    store.delete(name).await?;
    store.retract(&app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_runs_in_the_python_that_it_asks_for() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let apps = store.api::<WaveApp>();
    // `make up` gives this store a second runtime version; what it does not have is said, and runs in the usual one.
    let cases = [
        ("e2e-python-new", "python3.13", "3.13", None),
        (
            "e2e-python-odd",
            "ub2004_gpu_cuda114",
            "3.11",
            Some("which this store does not have"),
        ),
    ];
    for (name, asked, python, told) in cases {
        let runtime = format!("RuntimeVersion = \"{asked}\"\n");
        let app = publish(&store, name, "iniconfig==2.0.0\n", &runtime).await?;
        condition(&apps, name, "Ready", |ready| {
            ready.status == "True" && told.is_none_or(|words| ready.message.contains(words))
        })
        .await?;
        condition(&apps, name, "EnvironmentReady", |ready| {
            ready.status == "True"
        })
        .await?;
        let spec = instance(name, &store.admin, Visibility::Public);
        answers(&store, name, spec, "2.0.0").await?;
        let words = log(name).await?;
        ensure!(words.contains(RESTORED), "its log says: {words}");
        let answer = store
            .get(&store.host(name), "/python")
            .await?
            .text()
            .await?;
        ensure!(answer == python, "{asked} is Python {answer}");
        store.delete(name).await?;
        store.retract(&app).await?;
    }
    Ok(())
}
