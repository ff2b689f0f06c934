//! Apps that take more than they may: their owners are told what was too little, and what to do.

use anyhow::{Result, ensure};
use crds::WaveInstance;
use e2e::{Store, condition, eventually, kubectl};

use crate::server_apps::{of_pods, publish, start};

/// A web server that takes all the memory there is when it is asked to, and from then on whenever it is started.
const GLUTTON: &str = r#"
import http.server, os

EATEN = "/tmp/eaten"

def eat():
    hoard = []
    while True:
        hoard.append(b"x" * (8 << 20))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/eat":
            open(EATEN, "w").close()
            eat()
        self.send_response(204)
        self.end_headers()

if os.path.exists(EATEN):
    eat()
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// What a process does that does nothing but take memory.
const EAT: &str = "import itertools; [b'x' * (8 << 20) for _ in itertools.count()]";

/// Waits until the instance says that it has failed, in these words.
async fn fails_with(store: &Store, name: &str, words: &str) -> Result<()> {
    let instances = store.api::<WaveInstance>();
    condition(&instances, name, "Ready", |ready| {
        ready.status == "False" && ready.reason == "AppFailed" && ready.message == words
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_eats_memory_is_told_its_limit_by_the_launcher_that_survives() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let name = "e2e-glutton";
    let runtime = "AppMode = \"python\"\nMemoryLimit = \"128Mi\"\n";
    let app = publish(&store, name, runtime, GLUTTON).await?;
    start(&store, name).await?;
    store.ready(name).await?;

    // It dies over this; how the router puts that is its own matter.
    let _ = store.get(&store.host(name), "/eat").await;
    let told = "the app used more memory than its limit of 128Mi, and the kernel killed it (hint: raise `[Runtime] MemoryLimit` in app.toml, or choose a larger size)";
    fails_with(&store, name, told).await?;
    let restarts = of_pods(name, "{..restartCount}").await?;
    ensure!(
        restarts == "0",
        "the container was started {restarts} times again"
    );
    let mut owner = store.user()?;
    owner.sign_in(&store.admin, &store.password).await?;
    eventually("its page to say so", async || {
        let page = owner
            .visit(&format!("http://{}/instances/{name}", store.host("")))
            .await?
            .text()
            .await?;
        ensure!(
            page.contains("used more memory than its limit of 128Mi"),
            "{page}"
        );
        Ok(())
    })
    .await?;
    store.delete(name).await?;
    store.retract(&app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_killed_for_memory_tells_its_limit() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let name = "e2e-glutton-container";
    let jsonpath = r#"--output=jsonpath={..env[?(@.name=="WAVESTORE_INSTANCE_IMAGE")].value}"#;
    let ours = ["get", "deployment", "wavestore-operator", jsonpath];
    let image = kubectl(&ours, None).await?;
    let runtime = format!(
        "AppMode = \"container\"\nCustomImage = \"{image}\"\nAppEntryPoint = [\"python3\", \"-c\", \"{EAT}\"]\n\
         MemoryLimit = \"64Mi\"\n"
    );
    let app = publish(&store, name, &runtime, "").await?;
    start(&store, name).await?;
    let told = "the app used more memory than its limit of 64Mi, and the kernel killed it (hint: raise `[Runtime] MemoryLimit` in app.toml, or choose a larger size)";
    fails_with(&store, name, told).await?;
    store.delete(name).await?;
    store.retract(&app).await
}

/// A web server that takes more than two gibibytes of disk when it is asked to.
const HOARDER: &str = r#"
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/fill":
            with open("/tmp/hoard", "w") as file:
                os.posix_fallocate(file.fileno(), 0, 2200 << 20)
        self.send_response(204)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_fills_its_disk_is_told_the_limit_and_leaves_no_pod_behind() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let name = "e2e-hoarder";
    let runtime = "AppMode = \"python\"\nMemoryLimit = \"128Mi\"\n";
    let app = publish(&store, name, runtime, HOARDER).await?;
    start(&store, name).await?;
    store.ready(name).await?;
    let first = of_pods(name, "{..metadata.name}").await?;

    let answer = store.get(&store.host(name), "/fill").await?;
    ensure!(answer.status() == 204, "it answers {}", answer.status());
    // The next pod starts within seconds, and then all is well again: what has been wrong is in the Events for an hour.
    let told = "the pod failed: Evicted: Usage of EmptyDir volume \"tmp\" exceeds the limit \"2Gi\" (hint: let the app keep less there, \
                give it a volume by `VolumeMount` in app.toml, or raise `instances.disk` in the store's values)";
    let object =
        format!("--field-selector=involvedObject.kind=WaveInstance,involvedObject.name={name}");
    eventually("an Event that says why", async || {
        let notes = "--output=jsonpath={range .items[*]}{.message}{\"\\n\"}{end}";
        let events = kubectl(&["get", "events", &object, notes], None).await?;
        ensure!(events.lines().any(|note| note == told), "{events}");
        Ok(())
    })
    .await?;
    store.ready(name).await?;
    eventually("one pod, another one", async || {
        let pods = of_pods(name, "{..metadata.name}").await?;
        ensure!(!pods.contains(' ') && pods != first, "{first}, then {pods}");
        Ok(())
    })
    .await?;
    store.delete(name).await?;
    store.retract(&app).await
}
