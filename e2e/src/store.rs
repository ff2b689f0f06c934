//! The store under test.

use std::{
    env,
    io::{Cursor, Write},
};

use anyhow::{Context, Result, ensure};
use crds::{AppRef, Visibility, WaveInstance, WaveInstanceSpec};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, CustomResourceExt, Resource,
    api::{DeleteParams, PostParams},
};
use serde_json::json;
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{Namespace, User, condition, eventually};

/// The running store: its API server, its address, its admin.
#[derive(Clone)]
pub struct Store {
    /// Client of the cluster's API server.
    pub client: Client,
    /// Where it runs.
    pub namespace: Namespace,
    /// Name of the admin.
    pub admin: String,
    /// The admin's password.
    pub password: String,
    port: u16,
    http: reqwest::Client,
}

/// An app that a test published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Name of the `WaveApp`.
    pub resource: String,
    /// The bundle's digest.
    pub digest: String,
}

/// The spec of an instance of `app`.
#[must_use]
pub fn instance(app: &str, owner: &str, visibility: Visibility) -> WaveInstanceSpec {
    WaveInstanceSpec {
        app: AppRef {
            name: app.into(),
            version: "1.0.0".into(),
        },
        owner: owner.into(),
        visibility,
        suspended: false,
        size: None,
    }
}

/// Zips entries of a bundle.
///
/// # Errors
/// The archive cannot be written.
pub fn pack(entries: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, SimpleFileOptions::default())?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}

impl Store {
    /// Finds the store that `make up` made.
    ///
    /// # Errors
    /// There is no cluster or no store in it.
    pub async fn connect() -> Result<Self> {
        // Each test has a process-wide default; all but the first find it set.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::try_default()
            .await
            .context("no cluster: run `make up`, set KUBECONFIG")?;
        let port = env::var("WAVESTORE_PORT").map_or(Ok(8080), |port| port.parse())?;
        Self::of(Namespace::of_the_store(client), port).await
    }

    /// The store in this namespace, at a port of this machine.
    ///
    /// # Errors
    /// There is none.
    pub async fn of(namespace: Namespace, port: u16) -> Result<Self> {
        let admin = namespace
            .api::<Secret>()
            .get("wavestore-admin")
            .await
            .context("no store: run `make up`")?;
        let field = |key: &str| -> Result<String> {
            let bytes = admin
                .data
                .as_ref()
                .and_then(|data| data.get(key))
                .context("the admin's Secret is incomplete")?;
            Ok(String::from_utf8(bytes.0.clone())?)
        };
        Ok(Self {
            admin: field("username")?,
            password: field("password")?,
            client: namespace.client.clone(),
            namespace,
            port,
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()?,
        })
    }

    /// Host and port of an instance, or of the store itself for `""`.
    #[must_use]
    pub fn host(&self, name: &str) -> String {
        let dot = if name.is_empty() { "" } else { "." };
        format!("{name}{dot}localhost:{}", self.port)
    }

    /// Somebody with a browser of their own.
    ///
    /// # Errors
    /// No client can be made.
    pub fn user(&self) -> Result<User> {
        User::new(([127, 0, 0, 1], self.port).into())
    }

    /// A token of the admin for the store's API.
    ///
    /// # Errors
    /// The store does not give one.
    pub async fn token(&self, name: &str) -> Result<String> {
        let mut admin = self.user()?;
        admin.sign_in(&self.admin, &self.password).await?;
        let name = format!("{name}-{}", fastrand::u32(..));
        let fields = [("name", name.as_str()), ("scope", "store"), ("days", "7")];
        let page = admin
            .submit("/account/tokens", &fields)
            .await?
            .text()
            .await?;
        let token = page.split_once("id=\"new-token\">");
        let token = token.and_then(|(_, rest)| rest.split('<').next());
        Ok(token.context("the page shows no token")?.to_owned())
    }

    /// Asks without any cookie, as a stranger.
    ///
    /// # Errors
    /// The router does not answer.
    pub async fn get(&self, host: &str, path: &str) -> Result<reqwest::Response> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        Ok(self
            .http
            .get(url)
            .header("host", host)
            .header("accept", "text/html")
            .send()
            .await?)
    }

    /// Objects of the store's namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        self.namespace.api()
    }

    /// Publishes an app of the admin, as [`Namespace::publish`] does.
    ///
    /// # Errors
    /// The app does not become ready.
    pub async fn publish(&self, folder: &str) -> Result<Published> {
        self.namespace.publish(folder, &self.admin).await
    }

    /// Submits an app of the admin, as [`Namespace::submit`] does.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn submit(
        &self,
        name: &str,
        bundle: Vec<u8>,
        visibility: Visibility,
    ) -> Result<Published> {
        self.namespace
            .submit(name, bundle, &self.admin, visibility)
            .await
    }

    /// Waits until an instance is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn ready(&self, name: &str) -> Result<()> {
        let api = self.api::<WaveInstance>();
        condition(&api, name, "Ready", |ready| ready.status == "True").await?;
        Ok(())
    }

    /// Creates an instance as `kubectl apply` does.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn apply(&self, name: &str, spec: WaveInstanceSpec) -> Result<WaveInstance> {
        self.namespace.apply(name, spec).await
    }

    /// Waits until nothing is left of an instance, its route included.
    ///
    /// # Errors
    /// Something stays.
    pub async fn gone(&self, name: &str) -> Result<()> {
        eventually(&format!("nothing left of {name}"), async || {
            let remains = self.namespace.remains(name).await?;
            ensure!(remains.is_empty(), "still there: {}", remains.join(", "));
            let answer = self.get(&self.host(name), "/").await?;
            ensure!(
                !answer.status().is_success(),
                "its route answers {}",
                answer.status()
            );
            Ok(())
        })
        .await
    }

    /// Deletes an instance and waits until nothing is left.
    ///
    /// # Errors
    /// Something stays.
    pub async fn delete(&self, name: &str) -> Result<()> {
        if self.api::<WaveInstance>().get_opt(name).await?.is_some() {
            self.api::<WaveInstance>()
                .delete(name, &DeleteParams::default())
                .await?;
        }
        self.gone(name).await
    }

    /// Deletes an app and its `ConfigMap`.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn retract(&self, published: &Published) -> Result<()> {
        self.namespace.retract(published).await
    }

    /// Runs a `create` that the API server is expected to refuse; returns its words.
    ///
    /// # Errors
    /// It is accepted.
    pub async fn refused(&self, name: &str, spec: serde_json::Value) -> Result<String> {
        let object: kube::core::DynamicObject = serde_json::from_value(json!({
            "apiVersion": "wavestore.io/v1alpha1",
            "kind": "WaveInstance",
            "metadata": { "name": name },
            "spec": spec,
        }))?;
        let api: Api<kube::core::DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            &self.namespace.name,
            &WaveInstance::api_resource(),
        );
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => {
                self.delete(name).await?;
                anyhow::bail!("the API server took {name}")
            }
            Err(kube::Error::Api(status)) => Ok(status.message.clone()),
            Err(error) => Err(error.into()),
        }
    }
}
