//! The store under test.

use std::{
    env,
    io::{Cursor, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use crds::{AppRef, Visibility, WaveApp, WaveInstance, WaveInstanceSpec};
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service},
    },
};
use kube::{
    Api, Client, CustomResourceExt, Resource, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest, Sha256};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{condition, eventually, run};

/// The running store: its API server, its address, its admin.
#[derive(Clone)]
pub struct Store {
    /// Client of the cluster's API server.
    pub client: Client,
    /// Name of the admin.
    pub admin: String,
    /// The admin's password.
    pub password: String,
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

pub(crate) fn namespace() -> String {
    env::var("WAVESTORE_NAMESPACE").unwrap_or_else(|_| "wavestore".into())
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
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace());
        let admin = secrets
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
            client,
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()?,
        })
    }

    /// Host and port of an instance, or of the store itself for `""`.
    #[must_use]
    pub fn host(&self, name: &str) -> String {
        let dot = if name.is_empty() { "" } else { "." };
        format!("{name}{dot}localhost:{}", Self::port())
    }

    fn port() -> String {
        env::var("WAVESTORE_PORT").unwrap_or_else(|_| "8080".into())
    }

    /// Asks without any cookie, as a stranger.
    ///
    /// # Errors
    /// The router does not answer.
    pub async fn get(&self, host: &str, path: &str) -> Result<reqwest::Response> {
        let url = format!("http://127.0.0.1:{}{path}", Self::port());
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
        Api::namespaced(self.client.clone(), &namespace())
    }

    /// Publishes a folder under `e2e/apps` by a `ConfigMap` and a `WaveApp`, and waits until it is ready. Publishing it again changes nothing.
    ///
    /// # Errors
    /// The app does not become ready.
    pub async fn publish(&self, folder: &str) -> Result<Published> {
        let apps = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("apps");
        let target = tempfile::tempdir()?;
        let bundle = target.path().join("app.wave");
        let packed = run(
            "python3",
            &[
                &path(&apps.join("pack.py")),
                &path(&apps.join(folder)),
                &path(&bundle),
            ],
            None,
        )
        .await?;
        ensure!(packed.success, "could not pack {folder}: {}", packed.stderr);
        let published = self
            .submit(folder, std::fs::read(bundle)?, Visibility::AllUsers)
            .await?;
        let apps = self.api::<WaveApp>();
        condition(&apps, folder, "Ready", |ready| ready.status == "True").await?;
        Ok(published)
    }

    /// Creates the `ConfigMap` and the `WaveApp` of a bundle, without waiting.
    ///
    /// # Errors
    /// The API server refuses them.
    pub async fn submit(
        &self,
        name: &str,
        bundle: Vec<u8>,
        visibility: Visibility,
    ) -> Result<Published> {
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&bundle)));
        let params = PatchParams::apply("e2e").force();
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(format!("bundle-{name}")),
                ..Default::default()
            },
            binary_data: Some([("app.wave".to_owned(), ByteString(bundle))].into()),
            ..Default::default()
        };
        self.api::<ConfigMap>()
            .patch(&format!("bundle-{name}"), &params, &Patch::Apply(&map))
            .await?;
        let app = json!({
            "apiVersion": "wavestore.io/v1alpha1",
            "kind": "WaveApp",
            "metadata": { "name": name },
            "spec": {
                "bundle": { "configMapRef": { "name": format!("bundle-{name}"), "key": "app.wave" } },
                "owner": self.admin,
                "visibility": visibility,
            },
        });
        self.api::<WaveApp>()
            .patch(name, &params, &Patch::Apply(&app))
            .await?;
        Ok(Published {
            resource: name.into(),
            digest,
        })
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
        let object = WaveInstance::new(name, spec);
        let manifest = serde_json::to_string(&object)?;
        crate::kubectl(&["apply", "-f", "-"], Some(&manifest)).await?;
        Ok(self.api::<WaveInstance>().get(name).await?)
    }

    /// What is left of an instance, by kind and name; empty when all is gone.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn remains(&self, name: &str) -> Result<Vec<String>> {
        let labelled = ListParams::default().labels(&format!("{}={name}", crds::INSTANCE_LABEL));
        let releases = ListParams::default().labels(&format!("owner=helm,name={name}"));
        let mut found = Vec::new();
        found.extend(self.names::<Deployment>(&labelled).await?);
        found.extend(self.names::<Service>(&labelled).await?);
        found.extend(self.names::<PersistentVolumeClaim>(&labelled).await?);
        found.extend(self.names::<ConfigMap>(&labelled).await?);
        found.extend(self.names::<Pod>(&labelled).await?);
        found.extend(self.names::<Secret>(&releases).await?);
        if self.api::<WaveInstance>().get_opt(name).await?.is_some() {
            found.push(format!("WaveInstance {name}"));
        }
        Ok(found)
    }

    async fn names<K>(&self, params: &ListParams) -> Result<Vec<String>>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let list = self.api::<K>().list(params).await?;
        Ok(list
            .iter()
            .map(|object| format!("{} {}", K::kind(&()), object.name_any()))
            .collect())
    }

    /// Waits until nothing is left of an instance, its route included.
    ///
    /// # Errors
    /// Something stays.
    pub async fn gone(&self, name: &str) -> Result<()> {
        eventually(&format!("nothing left of {name}"), async || {
            let remains = self.remains(name).await?;
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
        let name = &published.resource;
        crate::kubectl(&["delete", "waveapp", name, "--ignore-not-found"], None).await?;
        crate::kubectl(
            &[
                "delete",
                "configmap",
                &format!("bundle-{name}"),
                "--ignore-not-found",
            ],
            None,
        )
        .await?;
        Ok(())
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
            &namespace(),
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

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
