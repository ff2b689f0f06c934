//! Debian packages that apps name in packages.txt, from Debian's own mirrors.

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveApp, WaveInstance};
use e2e::{Published, Store, condition, eventually, instance, kubectl, pack};

/// A web server that lets a program of a package work, with its libraries.
const SERVER: &str = r#"
import http.server, os, subprocess
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        jq = subprocess.run(["jq", "-r", ".from"], input=b'{"from": "jq"}', capture_output=True)
        body = jq.stdout + jq.stderr
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

async fn submit(store: &Store, name: &str, packages: &str) -> Result<Published> {
    let toml = format!(
        "[App]\nName = \"{name}\"\nVersion = \"1.0.0\"\n[Runtime]\nModule = \"server\"\nAppMode = \"python\"\nPort = 8050\n\
         MemoryLimit = \"256Mi\"\nMemoryReservation = \"32Mi\"\nCPUReservation = \"20m\"\n"
    );
    let bundle = pack(&[
        ("app.toml", toml.as_bytes()),
        ("server.py", SERVER.as_bytes()),
        ("packages.txt", packages.as_bytes()),
    ])?;
    store.submit(name, bundle, Visibility::AllUsers).await
}

/// Starts a public instance of the app, waits until it tells of jq, and returns what its log says.
async fn runs_jq(store: &Store, name: &str) -> Result<String> {
    store.delete(name).await?;
    store
        .apply(name, instance(name, &store.admin, Visibility::Public))
        .await?;
    store.ready(name).await?;
    eventually(&format!("{name} to answer"), async || {
        let text = store.get(&store.host(name), "/").await?.text().await?;
        ensure!(text == "jq\n", "it answers: {text}");
        Ok(())
    })
    .await?;
    let selector = format!("{}={name}", crds::INSTANCE_LABEL);
    let log = kubectl(&["logs", "--tail=-1", "--selector", &selector], None).await?;
    store.delete(name).await?;
    Ok(log)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_runs_a_program_of_a_package_that_the_image_lacks() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let name = "e2e-packages";
    let app = submit(&store, name, "jq # and what it needs\n").await?;
    let apps = store.api::<WaveApp>();
    condition(&apps, name, "EnvironmentReady", |ready| {
        ready.status == "True"
    })
    .await?;
    let log = runs_jq(&store, name).await?;
    ensure!(
        log.contains("is the one that was built at import") && !log.contains("packages.txt"),
        "its log says: {log}"
    );

    // What the store has lost the pod fetches by itself.
    let status = apps.get(name).await?.status.context("a status")?;
    let key = status.environment.context("an environment")?.key;
    let blob = format!("/data/blobs/envs/{key}");
    let router = "deployment/wavestore-router";
    kubectl(&["exec", router, "--", "rm", &blob], None).await?;
    let log = runs_jq(&store, name).await?;
    ensure!(
        log.contains("packages.txt: unpacked jq, libjq1, libonig5"),
        "its log says: {log}"
    );
    store.retract(&app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_that_cannot_work_are_refused_by_name() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let apps = store.api::<WaveApp>();
    let hostile = "e2e-packages-hostile";
    let refused = submit(&store, hostile, "jq\n--allow-unauthenticated\n").await?;
    condition(&apps, hostile, "Stalled", |stalled| {
        let words =
            "packages.txt: `--allow-unauthenticated` in line 2 is no name of a Debian package";
        stalled.status == "True" && stalled.message.contains(words)
    })
    .await?;
    store.retract(&refused).await?;

    let name = "e2e-packages-refused";
    let app = submit(&store, name, "sudo\n").await?;
    let words =
        "`sudo` cannot be used: `usr/bin/sudo` has to run with rights that no process of a pod has";
    condition(&apps, name, "EnvironmentReady", |ready| {
        ready.status == "False" && ready.message.contains(words)
    })
    .await?;
    store.delete(name).await?;
    store
        .apply(name, instance(name, &store.admin, Visibility::Private))
        .await?;
    let instances = store.api::<WaveInstance>();
    condition(&instances, name, "Ready", |ready| {
        ready.status == "False" && ready.message.contains(words)
    })
    .await?;
    store.delete(name).await?;
    store.retract(&app).await
}
