//! The router as a process of this machine, with instances that are no pods: their endpoints are servers of the test.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use crds::{AppMode, RoutingMode, SECRET_INDEX, SecretEntry, Visibility, WaveApp, WaveInstance};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    Sandbox, User, instance,
    process::{Process, Recipe, free_port, program},
};

/// Name of the admin of every router that is started here.
pub const ADMIN: &str = "admin";

/// The admin's password.
pub const ADMIN_PASSWORD: &str = "correct horse battery staple";

/// How a router is started.
pub struct RouterLaunch<'a> {
    sandbox: &'a Sandbox,
    port: Option<u16>,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A running router. It is killed when it is dropped.
pub struct Router {
    process: Process,
    port: u16,
    internal_port: u16,
}

impl<'a> RouterLaunch<'a> {
    pub(crate) fn new(sandbox: &'a Sandbox) -> Self {
        Self {
            sandbox,
            port: None,
            flags: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// On this port, when others have to know it first; see [`RouterLaunch::free_port`].
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// With a flag such as `--session-lifetime=1m`. It takes the place of the same flag that is given anyway.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// With a variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// A port that nobody has.
    ///
    /// # Errors
    /// All are taken.
    pub fn free_port() -> Result<u16> {
        free_port()
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start(self) -> Result<Router> {
        let mut router = self.spawn().await?;
        router.ready().await?;
        Ok(router)
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// There is no such program, or the API server gives no token.
    pub async fn spawn(self) -> Result<Router> {
        let sandbox = self.sandbox;
        let kubeconfig = sandbox.kubeconfig("router", None).await?;
        let folder = sandbox.folder().display().to_string();
        std::fs::create_dir_all(sandbox.folder().join("blobs"))?;
        let password = sandbox.folder().join("admin-password");
        std::fs::write(&password, ADMIN_PASSWORD)?;
        let port = self.port.map_or_else(free_port, Ok)?;
        let internal_port = free_port()?;
        let mut arguments = vec![
            format!("--namespace={}", sandbox.name),
            format!("--database-url={}", sandbox.database_url()),
            format!("--blobs=file://{folder}/blobs"),
            format!("--store-url=http://localhost:{port}"),
            format!("--apps-domain=localhost:{port}"),
            format!("--listen=127.0.0.1:{port}"),
            // Pods fetch their bundles there.
            format!("--internal-listen=0.0.0.0:{internal_port}"),
            format!("--admin-name={ADMIN}"),
            format!("--admin-password-file={}", password.display()),
        ];
        let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
        arguments.retain(|usual| self.flags.iter().all(|given| name(given) != name(usual)));
        arguments.extend(self.flags);
        let mut environment = vec![
            ("KUBECONFIG".to_owned(), kubeconfig.display().to_string()),
            ("RUST_LOG".to_owned(), "info,router=debug".to_owned()),
        ];
        environment.extend(self.environment);
        let recipe = Recipe {
            name: "router",
            program: program("wavestore-router")?,
            arguments,
            environment,
            log: sandbox.next_log("router"),
            health_port: internal_port,
        };
        Ok(Router {
            process: recipe.spawn()?,
            port,
            internal_port,
        })
    }
}

impl Router {
    /// Where browsers reach it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Where the cluster reaches it: probes, bundles.
    #[must_use]
    pub fn internal_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.internal_port).into()
    }

    /// Address of a page of the store.
    #[must_use]
    pub fn store(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    /// Address of a page of an instance, in its form with a host of its own.
    #[must_use]
    pub fn instance(&self, name: &str, path: &str) -> String {
        format!("http://{name}.localhost:{}{path}", self.port)
    }

    /// Somebody without any cookie, who speaks HTTP as browsers do.
    ///
    /// # Errors
    /// No client can be made.
    pub fn user(&self) -> Result<User> {
        User::new(self.address())
    }

    /// The admin, signed in.
    ///
    /// # Errors
    /// The router refuses.
    pub async fn admin(&self) -> Result<User> {
        let mut user = self.user()?;
        user.sign_in(ADMIN, ADMIN_PASSWORD).await?;
        Ok(user)
    }

    /// A token of the admin for the store's API.
    ///
    /// # Errors
    /// The router does not give one.
    pub async fn token(&self, name: &str) -> Result<String> {
        let mut admin = self.admin().await?;
        let fields = [("name", name), ("scope", "store"), ("days", "7")];
        let page = admin.submit("/account/tokens", &fields).await?;
        let page = page.text().await?;
        let token = page.split_once("id=\"new-token\">");
        let token = token.and_then(|(_, rest)| rest.split('<').next());
        Ok(token.context("the page shows no token")?.to_owned())
    }

    /// Its process.
    ///
    /// # Errors
    /// It has ended.
    pub fn pid(&self) -> Result<u32> {
        self.process.pid()
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// It does not, or the router ends.
    pub async fn ready(&mut self) -> Result<()> {
        self.process.ready().await
    }

    /// Whether `/readyz` says yes, and what else it says.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn readiness(&self) -> Result<(bool, String)> {
        self.process.readiness().await
    }

    /// Sends SIGTERM and does not wait.
    ///
    /// # Errors
    /// It has ended.
    pub fn stop(&self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)
    }

    /// Sends SIGTERM, and waits until it has ended well.
    ///
    /// # Errors
    /// It does not end, or fails.
    pub async fn terminate(&mut self) -> Result<()> {
        self.process.terminate().await
    }

    /// Kills it as a failing machine would.
    ///
    /// # Errors
    /// It has ended by itself.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It does not end.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        self.process.ended().await
    }

    /// Starts it again after it has ended, with the same flags, and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.respawn()?;
        self.ready().await
    }

    /// What it has said so far.
    ///
    /// # Errors
    /// Its log cannot be read.
    pub fn log(&self) -> Result<String> {
        self.process.log()
    }
}

/// An instance without a pod.
#[derive(Debug, Clone, Copy)]
pub struct Fake<'a> {
    /// Its name.
    pub name: &'a str,
    /// Who owns it.
    pub owner: &'a str,
    /// Who may enter.
    pub visibility: Visibility,
    /// What its app is.
    pub mode: AppMode,
    /// How it is reached.
    pub routing_mode: RoutingMode,
    /// Where its server listens, or nothing when no pod is ready. It must listen on [`machine_address`].
    pub address: Option<SocketAddr>,
}

impl<'a> Fake<'a> {
    /// A private instance of a Python app of this owner, with a host of its own.
    #[must_use]
    pub fn new(name: &'a str, owner: &'a str, address: SocketAddr) -> Self {
        Self {
            name,
            owner,
            visibility: Visibility::Private,
            mode: AppMode::Python,
            routing_mode: RoutingMode::Domain,
            address: Some(address),
        }
    }
}

impl Sandbox {
    /// Writes what operator, Helm and kubelet would have written for this instance, or changes it.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn fake(&self, fake: &Fake<'_>) -> Result<()> {
        let Fake {
            name,
            owner,
            visibility,
            mode,
            routing_mode,
            address,
        } = *fake;
        let params = PatchParams::apply("e2e").force();
        let app = format!("fake-{mode}-{routing_mode}").to_lowercase();
        let object = json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveApp", "metadata": { "name": app },
            "spec": {
                "bundle": { "digest": format!("sha256:{}", "0".repeat(64)) },
                "owner": "publisher", "visibility": "AllUsers",
            },
        });
        let apps = self.api::<WaveApp>();
        apps.patch(&app, &params, &Patch::Apply(&object)).await?;
        let reference = json!({ "name": app, "version": "1.0.0" });
        let status = json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveApp",
            "status": {
                "app": reference, "title": "A fake app", "routingMode": routing_mode,
                "runtime": {
                    "app": reference, "digest": "", "image": "", "imagePullPolicy": "Never", "storeUrl": "",
                    "mode": mode, "module": "app", "routingMode": routing_mode, "resources": {},
                },
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "Imported", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        });
        apps.patch_status(&app, &params, &Patch::Apply(&status))
            .await?;

        let spec = instance(&app, owner, visibility);
        let object = WaveInstance::new(name, spec);
        self.api::<WaveInstance>()
            .patch(name, &params, &Patch::Apply(&object))
            .await?;

        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "labels": { "kubernetes.io/service-name": name, crds::INSTANCE_LABEL: name },
            },
            "addressType": "IPv4",
            "ports": [{ "name": "http", "port": address.map_or(1, |address| address.port()) }],
            "endpoints": address.iter().map(|address| json!({
                "addresses": [address.ip()], "conditions": { "ready": true },
                "targetRef": { "kind": "Pod", "uid": format!("{name}-{}", address.port()) },
            })).collect::<Vec<_>>(),
        });
        self.api::<EndpointSlice>()
            .patch(name, &params, &Patch::Apply(&slice))
            .await?;
        Ok(())
    }
}

impl Sandbox {
    /// Tells routers of Secrets as an operator does, until what this answers is dropped: for tests whose apps no operator may
    /// look at.
    #[must_use]
    pub fn tell_of_secrets(&self) -> JoinSet<Result<()>> {
        let (secrets, maps) = (self.api::<Secret>(), self.api::<ConfigMap>());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let params = PatchParams::apply("e2e").force();
            let labelled = ListParams::default().labels(crds::APP_SECRET_LABEL);
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            let mut told = None;
            loop {
                pace.tick().await;
                let mut data = BTreeMap::new();
                for secret in secrets.list(&labelled).await? {
                    if let Some(entry) = SecretEntry::of(&secret) {
                        data.insert(secret.name_any(), serde_json::to_string(&entry)?);
                    }
                }
                if told.as_ref() == Some(&data) {
                    continue;
                }
                let map = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": SECRET_INDEX }, "data": data,
                });
                maps.patch(SECRET_INDEX, &params, &Patch::Apply(&map)).await?;
                told = Some(data);
            }
        });
        task
    }
}

/// This machine's own address. Endpoints may not be on loopback, says the API server; packets to this address stay on
/// this machine all the same.
///
/// # Errors
/// It has none.
pub fn machine_address() -> Result<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // Nothing is sent: this only asks by which address one would go out.
    socket
        .connect("198.51.100.1:9")
        .context("this machine has no route, so it has no address that an endpoint may have")?;
    Ok(socket.local_addr()?.ip())
}
