//! `WaveApp`: one version of one app.

#![expect(
    unreachable_pub,
    reason = "the derive of KubeSchema copies each struct, with its visibility, into a function"
)]
#![expect(
    clippy::duplicated_attributes,
    reason = "printer columns are repeated attributes by design"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{AppRef, Lifecycle, RoutingMode, Runtime, Visibility};

/// One version of one app: where its bundle is, whose it is, who sees it.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "wavestore.io",
    version = "v1alpha1",
    kind = "WaveApp",
    shortname = "wapp",
    category = "wavestore",
    namespaced,
    derive = "PartialEq",
    status = "WaveAppStatus",
    doc = "One version of one H2O Wave app: where its bundle is, whose it is, who sees it.",
    printcolumn(name = "App", type_ = "string", json_path = ".status.app.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.app.version"),
    printcolumn(name = "Owner", type_ = "string", json_path = ".spec.owner"),
    printcolumn(name = "Visibility", type_ = "string", json_path = ".spec.visibility"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(
        name = "Environment",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='EnvironmentReady')].reason",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaveAppSpec {
    /// Where the bundle comes from. It cannot be changed: another bundle is another `WaveApp`.
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("a bundle is immutable; create another WaveApp for another version"),
        validation = Rule::new("!(has(self.url) && has(self.configMapRef))").message("give url or configMapRef, not both"),
        validation = Rule::new("has(self.digest) || has(self.url) || has(self.configMapRef)").message("give a digest, a url with a digest, or a configMapRef")
    )]
    pub bundle: BundleSource,
    /// The user who owns this app.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.@+]*[A-Za-z0-9])?$')").message("an owner is a user name or an e-mail address: letters, digits and -_.@+ between them")
    )]
    pub owner: String,
    /// Who sees this app. Default: its owner alone.
    #[serde(default)]
    pub visibility: Visibility,
    /// Words to find the app by, beside those in its app.toml.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)))]
    pub tags: Vec<String>,
}

/// Where a bundle comes from: the blob store (`digest` alone), a url, or a `ConfigMap`. A url needs a digest, so that nobody can exchange
/// the bundle, unless the store's administrator allows those without.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleSource {
    /// SHA-256 of the bundle, `sha256:` and 64 hexadecimal digits. Alone: the bundle is in the blob store already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// Where to fetch the bundle: `https://...`; `oci://<registry>/<repository>:<tag>`, or `...@sha256:...` with the manifest's digest, which
    /// is digest enough; `s3://`, `gs://` or `az://` for a bucket that the store's administrator lists; or `file:///<name>` for a file in
    /// the operator's import folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 2048),
        regex(pattern = "^(https|oci|s3|gs|az|file)://.+$")
    )]
    pub url: Option<String>,
    /// A key of a `ConfigMap`'s `binaryData` in this namespace, for bundles under 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKey>,
}

/// One key of a `ConfigMap` in the same namespace.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKey {
    /// Name of the `ConfigMap`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its `binaryData`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What the operator found in the bundle, and how it would run it.
#[derive(KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveAppStatus {
    /// `Ready`, `Stalled` when the bundle cannot be used, and `EnvironmentReady` for apps with requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Name and version in the bundle's app.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppRef>,
    /// Title for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Tags in the bundle's app.toml.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Digest of the stored bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How the app is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// How the app is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_mode: Option<RoutingMode>,
    /// Seconds without use after which its instances are put to sleep; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int64"))]
    pub idle_timeout_seconds: Option<u32>,
    /// Where a `LINK` app leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// What a new instance of this app runs with; absent for `LINK` apps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// The environment that is built for this app; absent for apps without requirements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<AppEnvironment>,
}

/// How far the environment of an app is.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppEnvironment {
    /// Hash of all that it is made from, under which the blob store has it.
    pub key: String,
    /// Digest of what was built, `sha256:` and 64 hexadecimal digits; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How often in a row building it has failed.
    #[serde(default)]
    #[schemars(extend("format" = "int32"))]
    pub failures: u32,
}
