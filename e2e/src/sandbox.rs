//! A namespace of a test's own, with the rights that the store's chart gives its programs, and no store in it: the test
//! starts operators and routers as processes of this machine.

use std::{
    env,
    io::Write,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    Namespace, Proxy, command::succeed, namespace::path, operator::Launch, process::migrate,
    router::RouterLaunch,
};

/// Kinds of the store's chart that give its programs their rights, and keep them within them.
const RIGHTS: [&str; 7] = [
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// The label by which one finds what a killed test left: `kubectl delete namespaces -l wavestore.io/sandbox`.
const LABEL: &str = "wavestore.io/sandbox";

/// A namespace of a test's own. Call [`Sandbox::passed`] in the end: one that is dropped before prints the programs' logs.
/// Either way the namespace goes, unless `WAVESTORE_KEEP` is set.
pub struct Sandbox {
    namespace: Namespace,
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
    rights: String,
    logs: Mutex<Vec<PathBuf>>,
    passed: bool,
}

impl Deref for Sandbox {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Sandbox {
    /// Makes a namespace in the cluster of `KUBECONFIG`.
    ///
    /// # Errors
    /// There is no cluster, or it refuses.
    pub async fn create(prefix: &str) -> Result<Self> {
        let kubeconfig = env::var_os("KUBECONFIG").context("KUBECONFIG is not set: see `make`")?;
        Self::create_in(Path::new(&kubeconfig), prefix).await
    }

    /// Makes a namespace in another cluster, such as a [`crate::ControlPlane`].
    ///
    /// # Errors
    /// There is no cluster, or it refuses.
    pub async fn create_in(kubeconfig: &Path, prefix: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Each test has a process-wide default; all but the first find it set.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let admin = config(kubeconfig).await?;
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = Namespace {
            client: Client::try_from(admin)?,
            name: format!("{prefix}-{}-{next}", std::process::id()),
            kubeconfig: Some(kubeconfig.to_owned()),
        };
        let mut sandbox = Self {
            rights: String::new(),
            folder: tempfile::tempdir()?,
            kubeconfig: kubeconfig.to_owned(),
            logs: Mutex::default(),
            passed: false,
            namespace,
        };
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": sandbox.name, "labels": { LABEL: "" } },
        });
        // Only what the operator does counts.
        let no_pods = json!({
            "apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": { "name": "no-pods", "namespace": sandbox.name },
            "spec": { "hard": { "pods": "0" } },
        });
        let objects = [namespace, no_pods];
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
        sandbox.kubectl(&["apply", "-f", "-"], Some(&list)).await?;
        migrate(&sandbox.database_url()).await?;
        sandbox.rights = rights(&sandbox.name).await?;
        sandbox
            .kubectl(&["apply", "-f", "-"], Some(&sandbox.rights))
            .await?;
        Ok(sandbox)
    }

    /// The test has passed: no log is printed.
    pub fn passed(mut self) {
        self.passed = true;
    }

    /// Where databases, blobs and logs of this sandbox are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database of its operators and routers, whose tables are up to date.
    #[must_use]
    pub fn database_url(&self) -> String {
        format!("sqlite://{}/catalog.db", self.folder().display())
    }

    /// A fault proxy before this cluster's API server. Whoever goes through it has the operator's rights.
    ///
    /// # Errors
    /// It cannot listen, or the API server gives no token.
    pub async fn proxy(&self) -> Result<Proxy> {
        let kubeconfig = self.kubeconfig("operator", None).await?;
        Proxy::start(config(&kubeconfig).await?).await
    }

    /// An operator to be started. All of one sandbox share database, blobs and chart, as replicas do.
    #[must_use]
    pub fn operator(&self) -> Launch<'_> {
        Launch::new(self)
    }

    /// A router to be started. All of one sandbox share database and blobs, as replicas do.
    #[must_use]
    pub fn router(&self) -> RouterLaunch<'_> {
        RouterLaunch::new(self)
    }

    /// Writes a kubeconfig with the rights that the chart gives `operator` or `router`, and answers its path. `server` is
    /// used in place of the API server, if given.
    ///
    /// # Errors
    /// The API server gives no token.
    pub async fn kubeconfig(&self, of: &str, server: Option<&str>) -> Result<PathBuf> {
        let account = format!("wavestore-{of}");
        let token = self
            .kubectl(&["create", "token", &account, "--duration=24h"], None)
            .await?;
        let admin = Kubeconfig::read_from(&self.kubeconfig)?;
        let mut cluster = admin
            .clusters
            .into_iter()
            .find_map(|named| named.cluster)
            .context("the kubeconfig names no cluster")?;
        if let Some(server) = server {
            cluster.server = Some(server.to_owned());
            cluster.certificate_authority_data = None;
            cluster.certificate_authority = None;
        }
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "store",
            "contexts": [{ "name": "store", "context": { "cluster": "cluster", "user": "store" } }],
            "clusters": [{ "name": "cluster", "cluster": cluster }],
            "users": [{ "name": "store", "user": { "token": token.trim() } }],
        });
        let file = tempfile::Builder::new()
            .prefix("kubeconfig-")
            .tempfile_in(self.folder())?;
        serde_json::to_writer(&file, &config)?;
        let (_, path) = file.keep()?;
        Ok(path)
    }

    /// The API server as `operator` or `router` sees it.
    ///
    /// # Errors
    /// The API server gives no token.
    pub async fn client_of(&self, of: &str) -> Result<Client> {
        let kubeconfig = self.kubeconfig(of, None).await?;
        Ok(Client::try_from(config(&kubeconfig).await?)?)
    }

    /// Where the next program of this name writes its log, which is printed when the test fails.
    pub(crate) fn next_log(&self, name: &str) -> PathBuf {
        let mut logs = self.logs.lock();
        let log = self.folder().join(format!("{name}-{}.log", logs.len()));
        logs.push(log.clone());
        log
    }

    fn print_logs(&self) {
        const LINES: usize = 300;
        for log in self.logs.lock().iter() {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let name = log.file_stem().unwrap_or_default().display();
            eprintln!("--- {name} of {} ---", self.name);
            for line in lines.iter().skip(lines.len().saturating_sub(LINES)) {
                eprintln!("{line}");
            }
        }
    }

    /// Deletes the namespace, without its operators' help.
    fn discard(&self) -> Result<()> {
        let script = r#"
            kubectl --kubeconfig "$1" -n "$2" get waveinstances,waveapps -o name |
                xargs -r kubectl --kubeconfig "$1" -n "$2" patch --type=merge -p '{"metadata":{"finalizers":null}}'
            kubectl --kubeconfig "$1" delete namespace "$2" --wait=false
            # Or it deletes those of the store, when that is where the kubeconfig points.
            kubectl --kubeconfig "$1" -n "$2" delete --ignore-not-found -f -
        "#;
        let mut shell = Command::new("timeout")
            .args(["60", "sh", "-c", script, "sh"])
            .args([&path(&self.kubeconfig), &self.name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = shell.stdin.take() {
            // One that ends early wants nothing of it.
            let _ = stdin.write_all(self.rights.as_bytes());
        }
        shell.wait()?;
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.passed {
            self.print_logs();
        }
        if env::var_os("WAVESTORE_KEEP").is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("kept: {} and {}", self.name, self.folder().display());
        } else if let Err(error) = self.discard() {
            eprintln!("the namespace {} stays: {error}", self.name);
        }
    }
}

async fn config(kubeconfig: &Path) -> Result<Config> {
    let file = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("no cluster: {}", kubeconfig.display()))?;
    Ok(Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?)
}

/// The programs' rights, as the store's chart has them in this namespace.
async fn rights(namespace: &str) -> Result<String> {
    const CHART: &str = "../config/wavestore";
    // Those of the CronJobs, too.
    let gc = "blobs.gc.schedule=@yearly";
    let args = [
        "template",
        "wavestore",
        CHART,
        "--namespace",
        namespace,
        "--set",
        gc,
    ];
    let rendered = succeed("helm", &args, None).await?;
    let documents = rendered.split("\n---").filter(|document| {
        let kind = document
            .lines()
            .find_map(|line| line.strip_prefix("kind: "))
            .unwrap_or_default();
        RIGHTS.contains(&kind.trim())
    });
    Ok(documents.collect::<Vec<_>>().join("\n---"))
}
