//! A second store in the cluster, as companies have it: its database is a Postgres, its bundles are in an S3 bucket, both behind TLS by an
//! authority of the site. Either goes away, and comes back. Its index of packages asks for a password.

use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use crds::{WaveApp, WaveInstance};
use e2e::{
    Authority, Bucket, Namespace, RouterLaunch, Store, User, condition, eventually, helm,
    machine_address, run, wavestore,
};
use futures::future::{join, try_join_all};
use http::{Method, header};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};
use test_postgres::Postgres;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Duration, interval};

const NAMESPACE: &str = "e2e-postgres-and-bucket";
const EXPOSE: &str = "cluster/expose.sh";
const CHART: &str = "../config/wavestore";

/// A web server that tells the version of the package that it requires.
const SERVER: &str = r#"
import http.server, os, importlib.metadata
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = importlib.metadata.version("iniconfig").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// An index with the package `ours`, for those who know the password alone. It ends with the test.
struct Index {
    _process: Child,
    url: String,
}

impl Index {
    const USER: &str = "wavestore";
    const PASSWORD: &str = "the password of the index";

    async fn start(machine: IpAddr) -> Result<Self> {
        let mut process = Command::new("python3")
            .arg("../launcher/tests/launcher/stand-ins/index.py")
            .args([Self::USER, Self::PASSWORD, &machine.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let out = process.stdout.take().context("its output")?;
        let port = BufReader::new(out).lines().next_line().await?;
        let port = port.context("the index names no port")?;
        Ok(Self {
            _process: process,
            url: format!("http://{machine}:{port}/simple"),
        })
    }
}

/// The store, and what is outside of the cluster.
struct Site {
    _index: Index,
    store: Store,
    postgres: Postgres,
    bucket: Bucket,
    url: String,
    port: u16,
}

impl Site {
    async fn set_up() -> Result<Self> {
        let first = Store::connect().await?;
        let namespace = Namespace {
            name: NAMESPACE.to_owned(),
            ..first.namespace.clone()
        };
        remove(&namespace).await?;
        let authority = Authority::new()?;
        let machine = machine_address()?;
        let identity = authority.issue(machine)?;
        let address = || anyhow::Ok(SocketAddr::new(machine, RouterLaunch::free_port()?));
        let database = address()?;
        let postgres = Postgres::start_on_network(database, &identity.certificate, &identity.key)
            .map_err(anyhow::Error::msg)?;
        postgres
            .create_database("store")
            .map_err(anyhow::Error::msg)?;
        for statement in [
            "CREATE ROLE store LOGIN PASSWORD 'p@ss:word/'",
            "ALTER DATABASE store OWNER TO store",
        ] {
            postgres
                .execute("store", statement)
                .map_err(anyhow::Error::msg)?;
        }
        let bucket = Bucket::start(address()?, &identity).await?;
        let index = Index::start(machine).await?;

        namespace
            .kubectl(&["create", "namespace", NAMESPACE], None)
            .await?;
        let values = usual_values(&first).await?;
        let mut authorities = authority.certificate.clone();
        // Those of this machine, where it needs any: packages come from outside.
        if let Some(map) = values["instances"]["caConfigMap"].as_str() {
            let map = first.api::<ConfigMap>().get(map).await?;
            authorities += map
                .data
                .unwrap_or_default()
                .get("ca.crt")
                .context("ca.crt")?;
        }
        let database_url = format!(
            "postgres://store:p%40ss%3Aword%2F@{database}/store?sslmode=verify-full&sslrootcert=/etc/wavestore/ca/ca.crt"
        );
        let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
            { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "site-ca" }, "data": { "ca.crt": authorities } },
            { "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "database" }, "stringData": { "url": database_url } },
            { "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "bucket" }, "stringData": {
                "AWS_ACCESS_KEY_ID": Bucket::ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": Bucket::SECRET_KEY,
            } },
            { "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "index", "labels": { "wavestore.io/app-secret": "true" } },
                "stringData": { "password": Index::PASSWORD } },
        ] });
        // Server-side: the authorities of a machine are too many for the annotation of the other way.
        let apply = ["apply", "--server-side", "-f", "-"];
        namespace
            .kubectl(&apply, Some(&objects.to_string()))
            .await?;

        let port = RouterLaunch::free_port()?;
        let file = tempfile::NamedTempFile::new()?;
        let values = json!({
            "storeUrl": format!("http://localhost:{port}"),
            "appsDomain": format!("localhost:{port}"),
            "images": values["images"],
            "instances": { "caConfigMap": "site-ca", "env": [
                { "name": "UV_INDEX", "value": format!("ours={}", index.url) },
                { "name": "UV_INDEX_OURS_USERNAME", "value": Index::USER },
                { "name": "UV_INDEX_OURS_PASSWORD", "secretKeyRef": { "name": "index", "key": "password" } },
            ] },
            "database": { "urlSecretRef": { "name": "database", "key": "url" } },
            "blobs": {
                "url": format!("s3://{}/store", Bucket::NAME),
                "credentialsSecret": "bucket",
                "env": { "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": format!("https://{}", bucket.address) },
            },
            "crds": { "install": false },
        });
        serde_json::to_writer(&file, &values)?;
        let values = file.path().to_str().context("a path")?;
        let install = [
            "install",
            "wavestore",
            CHART,
            "--values",
            values,
            "--wait",
            "--timeout=4m",
        ];
        namespace.helm(&install).await?;
        let args = [NAMESPACE, "wavestore", "80", &port.to_string()];
        let exposed = run(EXPOSE, &args, None).await?;
        ensure!(exposed.success, "{exposed:?}");
        Ok(Self {
            _index: index,
            store: Store::of(namespace, port).await?,
            postgres,
            bucket,
            url: format!("http://localhost:{port}"),
            port,
        })
    }

    /// Publishes an app from a terminal, with a token.
    async fn deploy(&self, token: &str, name: &str) -> Result<e2e::Output> {
        let folder = tempfile::tempdir()?;
        let manifest = format!(
            "[App]\nName = \"{name}\"\nVersion = \"1.0.0\"\nTitle = \"App {name}\"\n[Runtime]\nModule = \"server\"\nAppMode = \"python\"\n\
             Port = 8050\nMemoryLimit = \"256Mi\"\nMemoryReservation = \"32Mi\"\nCPUReservation = \"20m\"\n"
        );
        std::fs::write(folder.path().join("app.toml"), manifest)?;
        std::fs::write(folder.path().join("server.py"), SERVER)?;
        std::fs::write(
            folder.path().join("requirements.txt"),
            "iniconfig==2.0.0\nours==1.0\n",
        )?;
        let folder = folder.path().to_str().context("a path")?;
        wavestore(&self.url, token, &["bundle", "deploy", folder]).await
    }

    async fn run(&self, token: &str, app: &str, instance: &str) -> Result<()> {
        let app = format!("{app}:1.0.0");
        let args = ["instance", "run", &app, "--name", instance, "--no-wait"];
        let made = wavestore(&self.url, token, &args).await?;
        ensure!(made.success, "{made:?}");
        Ok(())
    }

    fn page(&self, instance: &str) -> String {
        format!("http://{}/", self.store.host(instance))
    }

    /// Somebody who has signed in.
    async fn admin(&self) -> Result<User> {
        let mut admin = self.store.user()?;
        admin
            .sign_in(&self.store.admin, &self.store.password)
            .await?;
        Ok(admin)
    }

    /// Which pods the store has, and how often their containers have started.
    async fn pods(&self) -> Result<Vec<String>> {
        let mine =
            ListParams::default().labels("app.kubernetes.io/component in (operator, router)");
        let pods = self.store.api::<Pod>().list(&mine).await?;
        let told = pods.iter().map(|pod| {
            let statuses = pod
                .status
                .iter()
                .flat_map(|status| status.container_statuses.iter().flatten());
            let restarts: i32 = statuses.map(|status| status.restart_count).sum();
            format!("{} {restarts}", pod.name_any())
        });
        Ok(told.collect())
    }

    /// Whether nothing of the store, of its jobs or of its instances has the index's password in its log, or in its object.
    async fn keeps_the_password(&self) -> Result<()> {
        let namespace = &self.store.namespace;
        for pod in self.store.api::<Pod>().list(&ListParams::default()).await? {
            let name = pod.name_any();
            let log = namespace.kubectl(&["logs", &name], None).await?;
            ensure!(!log.contains(Index::PASSWORD), "{name} says: {log}");
        }
        let kinds = "pods,jobs,deployments,waveapps,waveinstances,events";
        let said = namespace
            .kubectl(&["get", kinds, "--output=yaml"], None)
            .await?;
        ensure!(!said.contains(Index::PASSWORD), "{said}");
        Ok(())
    }

    async fn take_down(self) -> Result<()> {
        let gone = run(EXPOSE, &[&self.port.to_string()], None).await?;
        ensure!(gone.success, "{gone:?}");
        remove(&self.store.namespace).await
    }
}

/// The values of the store that `make up` made: its images, its authorities.
async fn usual_values(store: &Store) -> Result<Value> {
    let values = helm(&["get", "values", "wavestore", "--all", "--output=json"]).await?;
    serde_json::from_str(&values).with_context(|| format!("values of {}", store.namespace.name))
}

/// Deletes the store with all that it has, however far it came.
async fn remove(namespace: &Namespace) -> Result<()> {
    let script = r#"
        kubectl get namespace "$1" >/dev/null 2>&1 || exit 0
        kubectl -n "$1" delete waveinstances --all --timeout=60s
        helm -n "$1" uninstall wavestore --ignore-not-found --wait --timeout=2m
        # Nobody is left who would put them there again.
        kubectl -n "$1" get waveinstances,waveapps -o name |
            xargs -r kubectl -n "$1" patch --type=merge -p '{"metadata":{"finalizers":null}}'
        kubectl delete namespace "$1" --timeout=120s
    "#;
    let removed = run("sh", &["-c", script, "sh", &namespace.name], None).await?;
    ensure!(removed.success, "{removed:?}");
    Ok(())
}

/// Asks for a page all the time, until `enough`; every answer must be good. Counts them.
async fn visits(
    user: &mut User,
    page: &str,
    enough: impl Fn() -> bool,
    count: &AtomicUsize,
    reconnects: bool,
) -> Result<()> {
    let mut ticks = interval(Duration::from_millis(50));
    while !enough() {
        ticks.tick().await;
        let mut request = user.request(Method::GET, page)?;
        if reconnects {
            // The next one may lead to the other replica.
            request = request.header(header::CONNECTION, "close");
        }
        let answer = user.send(request).await;
        let answer = answer.with_context(|| format!("{page} does not answer"))?;
        ensure!(answer.status() == 200, "{page} answers {}", answer.status());
        ensure!(
            answer.text().await? == "2.0.0",
            "{page} tells something else"
        );
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Does something while people use the app who have used it before; both must go well.
async fn meanwhile<T>(
    site: &Site,
    instance: &str,
    act: impl AsyncFnOnce() -> Result<T>,
) -> Result<T> {
    let page = site.page(instance);
    let (done, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut users = Vec::new();
    for _ in 0..3 {
        let mut user = site.admin().await?;
        ensure!(user.visit(&page).await?.text().await? == "2.0.0");
        users.push(user);
    }
    // Long enough for all replicas to know who they are.
    let before = users.iter_mut().map(async |user| {
        let count = AtomicUsize::new(0);
        let enough = || count.load(Ordering::Relaxed) == 160;
        visits(user, &page, enough, &count, false).await
    });
    try_join_all(before).await.context("while all was there")?;
    let visited = users.iter_mut().map(async |user| {
        let enough = || done.load(Ordering::Relaxed);
        visits(user, &page, enough, &count, true).await
    });
    let act = async {
        let result = act().await;
        done.store(true, Ordering::Relaxed);
        result
    };
    let (visited, result) = join(try_join_all(visited), act).await;
    visited.with_context(|| format!("after {} good answers", count.into_inner()))?;
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_postgres_and_a_bucket_outlives_both() -> Result<()> {
    let _store = crate::shared().await;
    let mut site = Site::set_up().await?;
    let token = site.store.token("e2e").await?;
    let deployed = site.deploy(&token, "first").await?;
    ensure!(deployed.success, "{deployed:?}");
    let apps = site.store.api::<WaveApp>();
    condition(&apps, "first-1.0.0", "EnvironmentReady", |ready| {
        ready.status == "True"
    })
    .await?;
    ensure!(site.bucket.objects("store/bundles/sha256")? == 1);
    ensure!(site.bucket.objects("store/envs")? == 1);
    site.run(&token, "first", "runs").await?;
    site.store.ready("runs").await?;
    let pods = site.pods().await?;
    site.keeps_the_password().await?;

    meanwhile(&site, "runs", async || {
        site.postgres.stop().map_err(anyhow::Error::msg)?;
        let mut stranger = site.store.user()?;
        eventually("sign-in to say that the database is away", async || {
            let fields = [
                ("name", site.store.admin.as_str()),
                ("password", &site.store.password),
            ];
            let answer = stranger.submit("/sign-in", &fields).await?;
            ensure!(answer.status() == 503, "it answers {}", answer.status());
            Ok(())
        })
        .await?;
        site.postgres.resume().map_err(anyhow::Error::msg)?;
        eventually("sign-in and the list of apps to be back", async || {
            let mut admin = site.admin().await?;
            let page = admin.visit(&site.url).await?.text().await?;
            ensure!(page.contains("App first"), "it shows {page}");
            Ok(())
        })
        .await
    })
    .await
    .context("while Postgres was away")?;

    site.bucket.stop().await?;
    meanwhile(&site, "runs", async || {
        let refused = site.deploy(&token, "second").await?;
        ensure!(
            !refused.success
                && refused
                    .stderr
                    .contains("the bundle store is not available at the moment"),
            "{refused:?}"
        );
        site.run(&token, "first", "late").await
    })
    .await
    .context("while the bucket was away")?;
    let instances = site.store.api::<WaveInstance>();
    condition(&instances, "late", "Ready", |ready| {
        ready.status == "False" && ready.message.contains("store")
    })
    .await?;
    site.bucket.resume().await?;
    site.store.ready("late").await?;
    let deployed = site.deploy(&token, "second").await?;
    ensure!(deployed.success, "{deployed:?}");

    let now = site.pods().await?;
    ensure!(pods == now, "its pods were {pods:?} and are {now:?}");
    site.take_down().await
}
