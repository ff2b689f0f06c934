//! `Runtime`: everything a pod needs beyond the spec, resolved from the app and the store's settings.

#![expect(
    unreachable_pub,
    reason = "the derive of KubeSchema copies each struct, with its visibility, into a function"
)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvVar, ResourceRequirements, SecretKeySelector, Toleration};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::AppRef;

/// How an app is started.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
)]
pub enum Lifecycle {
    /// Everybody runs their own.
    #[default]
    OnDemand,
    /// The owner runs it, the others visit.
    Managed,
    /// Nothing runs: a card that opens an address.
    Link,
}

/// How an instance is reached.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum RoutingMode {
    /// `<instance>.<domain>/`
    #[default]
    Domain,
    /// `apps.<domain>/instance/<instance>/`
    BaseUrl,
}

/// What an instance's pod runs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum AppMode {
    /// waved and a Wave app behind it.
    #[default]
    Wave,
    /// Any Python web server.
    Python,
    /// An image of the app's own, without the launcher.
    Container,
}

/// Everything a pod needs beyond the spec. The operator computes it from the app and the store's settings,
/// publishes it as the app's `status.runtime`, and passes it to the chart as the reserved value `resolved`.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// The app and version that this belongs to. The chart ignores a `resolved` of another app.
    pub app: AppRef,
    /// Digest of the bundle, `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Container image: one with the launcher, or the app's own.
    pub image: String,
    /// `IfNotPresent`, `Always` or `Never`.
    pub image_pull_policy: String,
    /// The store's internal address, from which the launcher fetches the bundle.
    pub store_url: String,
    /// What the pod runs.
    pub mode: AppMode,
    /// `[Runtime] Module`.
    pub module: String,
    /// `[Runtime] AppArgs`, split into words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// `[Runtime] AppEntryPoint` of an image of the app's own, split into words; none: the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Port on which an app listens that is no Wave app; those are reached through waved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int32"))]
    pub port: Option<u16>,
    /// How the instance is reached.
    pub routing_mode: RoutingMode,
    /// Environment: the store's, then the app's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Files from `[[File]]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<RuntimeFile>,
    /// Requests and limits of an instance that says no size.
    pub resources: ResourceRequirements,
    /// The sizes that an instance may say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<RuntimeSize>,
    /// Volume of the app's own, from `VolumeMount`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<RuntimeVolume>,
    /// Size of `/resources`, where the environment lives: a volume when given, else scratch space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_volume_size: Option<String>,
    /// Most that each of the pod's folders `/app`, `/resources` and `/tmp` may take of its node's disk; none: all there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// Mounts a memory file system at `/dev/shm`.
    #[serde(default)]
    pub shared_memory: bool,
    /// `ConfigMap` with the key `ca.crt`: certificate authorities of the site. The launcher makes one file of them and
    /// the usual ones, and programs trust both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map: Option<String>,
    /// The environment that was built at import. Without it the pod installs what the app requires by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<RuntimeEnvironment>,
    /// What the instance's annotation `wavestore.io/redeploy` said when this was resolved; absent in an app's status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redeploy: Option<String>,
}

/// A size that instances of the app may have.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeSize {
    /// What instances call it.
    pub name: String,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Requests and limits: the size's, and the app's where that says none.
    pub resources: ResourceRequirements,
    /// Labels of the nodes that it runs on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that it bears.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
}

impl Runtime {
    /// Requests and limits of an instance of this size, if there is such a size.
    #[must_use]
    pub fn resources_of(&self, size: Option<&str>) -> Option<&ResourceRequirements> {
        let Some(size) = size else {
            return Some(&self.resources);
        };
        let mut sizes = self.sizes.iter();
        sizes
            .find(|known| known.name == size)
            .map(|known| &known.resources)
    }
}

/// An environment in the store.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeEnvironment {
    /// Hash of all that it is made from, under which the store has it.
    pub key: String,
    /// Digest that it must have, `sha256:` and 64 hexadecimal digits.
    pub digest: String,
}

/// A file that is put into the pod.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeFile {
    /// Absolute path in the pod.
    pub path: String,
    /// Its content, when it is no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The secret that holds its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeySelector>,
}

/// A volume of the app's own.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeVolume {
    /// Absolute path in the pod.
    pub mount_path: String,
    /// Size as a Kubernetes quantity.
    pub size: String,
}
