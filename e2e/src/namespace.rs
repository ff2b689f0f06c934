//! One namespace of a cluster, and what any store's users do in it.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use crds::{Visibility, WaveApp, WaveInstance, WaveInstanceSpec};
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, ObjectMeta, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{Published, command::succeed, condition, eventually, run};

/// A namespace, seen with the rights of the cluster's admin.
#[derive(Clone)]
pub struct Namespace {
    /// Client of the cluster's API server.
    pub client: Client,
    /// Its name.
    pub name: String,
    /// How kubectl and helm find the cluster; nothing leaves it to `KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
}

impl Namespace {
    /// The namespace of the store that `make up` made.
    pub(crate) fn of_the_store(client: Client) -> Self {
        Self {
            client,
            name: store_namespace(),
            kubeconfig: None,
        }
    }

    /// Objects of this namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Runs `kubectl` in this namespace and expects it to succeed.
    ///
    /// # Errors
    /// It fails; the error holds what it said.
    pub async fn kubectl(&self, args: &[&str], stdin: Option<&str>) -> Result<String> {
        self.tool("kubectl", args, stdin).await
    }

    /// Runs `helm` in this namespace and expects it to succeed.
    ///
    /// # Errors
    /// It fails; the error holds what it said.
    pub async fn helm(&self, args: &[&str]) -> Result<String> {
        self.tool("helm", args, None).await
    }

    async fn tool(&self, program: &str, args: &[&str], stdin: Option<&str>) -> Result<String> {
        let kubeconfig = self.kubeconfig.as_deref().map(path);
        let mut all = vec!["--namespace", self.name.as_str()];
        if let Some(kubeconfig) = &kubeconfig {
            all.extend(["--kubeconfig", kubeconfig]);
        }
        all.extend_from_slice(args);
        succeed(program, &all, stdin).await
    }

    /// Publishes a folder under `e2e/apps` by a `ConfigMap` and a `WaveApp`, and waits until it is ready. Publishing it again changes nothing.
    ///
    /// # Errors
    /// The app does not become ready.
    pub async fn publish(&self, folder: &str, owner: &str) -> Result<Published> {
        let apps = Path::new("apps");
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
            .submit(folder, std::fs::read(bundle)?, owner, Visibility::AllUsers)
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
        owner: &str,
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
                "owner": owner,
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

    /// Creates an instance as `kubectl apply` does.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn apply(&self, name: &str, spec: WaveInstanceSpec) -> Result<WaveInstance> {
        let object = WaveInstance::new(name, spec);
        let manifest = serde_json::to_string(&object)?;
        self.kubectl(&["apply", "-f", "-"], Some(&manifest)).await?;
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

    /// Waits until nothing is left of an instance.
    ///
    /// # Errors
    /// Something stays.
    pub async fn nothing_left(&self, name: &str) -> Result<()> {
        eventually(&format!("nothing left of {name}"), async || {
            let remains = self.remains(name).await?;
            ensure!(remains.is_empty(), "still there: {}", remains.join(", "));
            Ok(())
        })
        .await
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

    /// Deletes an app and its `ConfigMap`.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn retract(&self, published: &Published) -> Result<()> {
        let name = &published.resource;
        self.kubectl(&["delete", "waveapp", name, "--ignore-not-found"], None)
            .await?;
        self.kubectl(
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
}

/// Name of the namespace of the store that `make up` made.
pub(crate) fn store_namespace() -> String {
    env::var("WAVESTORE_NAMESPACE").unwrap_or_else(|_| "wavestore".into())
}

pub(crate) fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
