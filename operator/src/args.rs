//! Flags, and their `WAVESTORE_*` variables.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bundle::{InstanceTimeout, Quantity};
use clap::{ArgAction, Parser, ValueEnum};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};
use url::Url;

use crate::app::environment;
use crate::app::import::Bucket;
use crate::app::oidc::AppOidc;
use crate::app::runtimes::Runtimes;
use crate::app::sizes::Sizes;
use crate::instance::Policy;

/// Reconciles `WaveApp`s and `WaveInstance`s; the only program that runs Helm.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Namespace of the store: its apps, instances and releases all live there.
    #[arg(long, env = "WAVESTORE_NAMESPACE", default_value = "wavestore")]
    pub(crate) namespace: String,
    /// Database of the catalog: `sqlite:///data/catalog.db` or `postgres://...`.
    #[arg(
        long,
        env = "WAVESTORE_DATABASE_URL",
        default_value = "sqlite:///data/catalog.db",
        hide_env_values = true
    )]
    pub(crate) database_url: String,
    /// Where bundles and pictures are stored: a folder, or a bucket (`s3://bucket/prefix`, `az:` or `gs:`) with credentials from
    /// the environment.
    #[arg(long, env = "WAVESTORE_BLOBS", default_value = "file:///data/blobs")]
    pub(crate) blobs: String,
    /// Folder from which `file:///<name>` bundles are imported.
    #[arg(long, env = "WAVESTORE_IMPORT_DIR", default_value = "/data/imports")]
    pub(crate) import_dir: PathBuf,
    /// Longest time that fetching one bundle may take.
    #[arg(long, env = "WAVESTORE_IMPORT_TIMEOUT", default_value = "10m", value_parser = humantime::parse_duration)]
    pub(crate) import_timeout: Duration,
    /// Host from which `https://` bundles are imported, wherever it is; may be given more than once. None: every host with an
    /// address of the public internet.
    #[arg(
        long = "import-host",
        env = "WAVESTORE_IMPORT_HOSTS",
        value_delimiter = ','
    )]
    pub(crate) import_hosts: Vec<String>,
    /// Bucket, or folder in one, from which bundles are imported with the operator's own rights, such as `s3://releases/apps`; may be
    /// given more than once. None: no bucket.
    #[arg(
        long = "import-bucket",
        env = "WAVESTORE_IMPORT_BUCKETS",
        value_delimiter = ',',
        value_parser = Bucket::parse
    )]
    pub(crate) import_buckets: Vec<Bucket>,
    /// File with the passwords of OCI registries, in the form of Docker and Kubernetes (`kubernetes.io/dockerconfigjson`).
    #[arg(long, env = "WAVESTORE_IMPORT_REGISTRY_CONFIG")]
    pub(crate) import_registry_config: Option<PathBuf>,
    /// Whether a url needs a digest beside it, so that nobody can exchange what is there before it is imported.
    #[arg(
        long,
        env = "WAVESTORE_IMPORT_DIGEST_REQUIRED",
        default_value_t = true,
        action = ArgAction::Set
    )]
    pub(crate) import_digest_required: bool,
    /// Folder of the chart wave-instance.
    #[arg(
        long,
        env = "WAVESTORE_CHART",
        default_value = "/usr/share/wavestore/wave-instance"
    )]
    pub(crate) chart: PathBuf,
    /// Helm, version 4 or later.
    #[arg(long, env = "WAVESTORE_HELM", default_value = "helm")]
    pub(crate) helm: PathBuf,
    /// Longest time that one Helm command may run, for example `5m`.
    #[arg(long, env = "WAVESTORE_HELM_TIMEOUT", default_value = "5m", value_parser = humantime::parse_duration)]
    pub(crate) helm_timeout: Duration,
    /// How many Helm commands may run at once. Default: four for each core, at most 16, and no more than memory allows.
    #[arg(long, env = "WAVESTORE_HELM_CONCURRENCY", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) helm_concurrency: Option<u16>,
    /// How many instances may be reconciled at once.
    #[arg(long, env = "WAVESTORE_CONCURRENCY", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrency: u16,
    /// Image that instances run whose app asks for no runtime version.
    #[arg(long, env = "WAVESTORE_INSTANCE_IMAGE")]
    pub(crate) instance_image: String,
    /// Runtime versions that apps may ask for, as a JSON list: `[{"name": "python3.13", "image": "...", "aliases": ["latest"],
    /// "deprecated": false}]`.
    #[arg(long, env = "WAVESTORE_RUNTIMES", default_value = "[]")]
    pub(crate) runtimes: Runtimes,
    /// Sizes that instances may say (`spec.size`), as a JSON list: `[{"name": "large", "description": "...", "requests": {"cpu": "2"},
    /// "limits": {"memory": "8Gi"}, "nodeSelector": {}, "tolerations": []}]`. What a size leaves out is as the app asks.
    #[arg(long, env = "WAVESTORE_SIZES", default_value = "[]")]
    pub(crate) sizes: Sizes,
    /// Image that apps may bring (`CustomImage`), with any tag; or, with `/` at its end, what the names of such images begin with.
    /// May be given more than once. None: apps bring no images.
    #[arg(
        long = "custom-image",
        env = "WAVESTORE_CUSTOM_IMAGES",
        value_delimiter = ','
    )]
    pub(crate) custom_images: Vec<String>,
    /// When nodes pull any of these images.
    #[arg(
        long,
        env = "WAVESTORE_IMAGE_PULL_POLICY",
        value_enum,
        default_value_t = PullPolicy::IfNotPresent
    )]
    pub(crate) image_pull_policy: PullPolicy,
    /// Where instances fetch their bundles. Default: `http://wavestore-internal.<namespace>.svc:8081`.
    #[arg(long, env = "WAVESTORE_INSTANCE_STORE_URL")]
    pub(crate) instance_store_url: Option<Url>,
    /// `ConfigMap` with the key `ca.crt`: certificate authorities that instances trust beside the usual ones.
    #[arg(long, env = "WAVESTORE_CA_CONFIG_MAP", value_parser = parse_nonempty)]
    pub(crate) ca_config_map: Option<String>,
    /// Variable that every instance gets, as `NAME=VALUE`; once for each.
    #[arg(long, value_parser = parse_variable)]
    pub(crate) instance_env: Vec<EnvVar>,
    /// Variable that every instance gets from a Secret of this namespace, as `NAME=SECRET/KEY`; once for each. The Secret must be
    /// open to apps.
    #[arg(long, value_parser = parse_secret_variable)]
    pub(crate) instance_secret_env: Vec<EnvVar>,
    /// How much each of an instance's folders `/app`, `/resources` and `/tmp` may take of its node's disk, where it is no volume; the
    /// node ends a pod that takes more. Default: all there is.
    #[arg(long, env = "WAVESTORE_INSTANCE_DISK")]
    pub(crate) instance_disk: Option<Quantity>,
    /// How long an instance may be unused before it is put to sleep, for apps without an `InstanceTimeout`: such as `1h30m`, or
    /// `-1` for never.
    #[arg(
        long,
        env = "WAVESTORE_IDLE_TIMEOUT",
        default_value = "-1",
        allow_hyphen_values = true
    )]
    pub(crate) idle_timeout: InstanceTimeout,
    /// How the environments of apps with requirements are built.
    #[command(flatten)]
    pub(crate) environments: Environments,
    /// How apps with `EnableOIDC` sign people in.
    #[command(flatten)]
    pub(crate) instance_oidc: InstanceOidc,
    /// What apps see as `H2O_CLOUD_ENVIRONMENT`. Default: the store's URL.
    #[arg(long, env = "WAVESTORE_ENVIRONMENT")]
    pub(crate) environment: Option<String>,
    /// Where people reach the store's pages.
    #[arg(
        long,
        env = "WAVESTORE_STORE_URL",
        default_value = "http://localhost:8080"
    )]
    pub(crate) store_url: Url,
    /// Domain below which instances have their hosts, with the port if it is no usual one.
    #[arg(long, env = "WAVESTORE_APPS_DOMAIN", default_value = "localhost:8080")]
    pub(crate) apps_domain: String,
    /// Lease by which one of several operators leads.
    #[arg(
        long,
        env = "WAVESTORE_LEASE_NAME",
        default_value = "wavestore-operator",
        value_parser = parse_nonempty
    )]
    pub(crate) lease_name: String,
    /// Name under which this process holds the lease: its pod's. Must be unlike that of every other process that
    /// lives. Default: the host's name and a random part.
    #[arg(long, env = "WAVESTORE_IDENTITY", value_parser = parse_nonempty)]
    pub(crate) identity: Option<String>,
    /// How long the API server may keep what is watched from the operator before `/readyz` fails.
    #[arg(long, env = "WAVESTORE_MAX_CACHE_AGE", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) max_cache_age: Duration,
    /// Port of `/livez`, `/readyz` and `/metrics`.
    #[arg(long, env = "WAVESTORE_HEALTH_PORT", default_value_t = 8080)]
    pub(crate) health_port: u16,
    /// When running instances get what has changed in the store: another image, another chart, other settings.
    #[arg(long, env = "WAVESTORE_ROLLOUT", value_enum, default_value_t = Policy::OnRequest)]
    pub(crate) rollout: Policy,
    /// How many instances an automatic rollout may upgrade at once.
    #[arg(long, env = "WAVESTORE_ROLLOUT_AT_ONCE", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rollout_at_once: u16,
    /// How many instances one user may have. Default: no limit.
    #[arg(long, env = "WAVESTORE_MAX_INSTANCES_PER_USER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_instances_per_user: Option<u32>,
    /// How much memory the instances of one user may have together, by their limits, such as `32Gi`. Default: no limit.
    #[arg(long, env = "WAVESTORE_MAX_MEMORY_PER_USER")]
    pub(crate) max_memory_per_user: Option<Quantity>,
    /// How many versions of one app may be published. Default: no limit.
    #[arg(long, env = "WAVESTORE_MAX_VERSIONS_PER_APP", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_versions_per_app: Option<u32>,
    /// How log lines look.
    #[arg(long, env = "WAVESTORE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// How the environments of apps with requirements are built.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Environments")]
#[expect(clippy::struct_field_names, reason = "a field's name is its flag's")]
pub(crate) struct Environments {
    /// Whether a job builds the environment of an app once, when it is imported. Otherwise every pod installs for itself.
    #[arg(long, env = "WAVESTORE_BUILD_ENVIRONMENTS", default_value_t = true, action = ArgAction::Set)]
    pub(crate) build_environments: bool,
    /// Longest time that a build may take.
    #[arg(long, env = "WAVESTORE_BUILD_TIMEOUT", default_value = "15m", value_parser = humantime::parse_duration)]
    pub(crate) build_timeout: Duration,
    /// CPU that a build may take.
    #[arg(long, env = "WAVESTORE_BUILD_CPU", default_value = "2")]
    pub(crate) build_cpu: Quantity,
    /// Memory that a build may take.
    #[arg(long, env = "WAVESTORE_BUILD_MEMORY", default_value = "2Gi")]
    pub(crate) build_memory: Quantity,
    /// Disk that a build may take.
    #[arg(long, env = "WAVESTORE_BUILD_DISK", default_value = "10Gi")]
    pub(crate) build_disk: Quantity,
}

impl Environments {
    /// What a build may take; nothing when there are to be none.
    pub(crate) fn limits(self) -> Option<environment::Limits> {
        let Self {
            build_environments,
            build_timeout,
            build_cpu,
            build_memory,
            build_disk,
        } = self;
        build_environments.then_some(environment::Limits {
            timeout: build_timeout,
            cpu: build_cpu,
            memory: build_memory,
            disk: build_disk,
        })
    }
}

/// How apps with `EnableOIDC` sign people in: settings that their pods get.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "OIDC for apps")]
#[expect(clippy::struct_field_names, reason = "a field's name is its flag's")]
pub(crate) struct InstanceOidc {
    /// Name of the apps at the OIDC provider. Without it, apps with `EnableOIDC` run as if they had not asked.
    #[arg(long, env = "WAVESTORE_INSTANCE_OIDC_CLIENT_ID", requires_all = ["instance_oidc_client_secret", "instance_oidc_provider_url"])]
    pub(crate) instance_oidc_client_id: Option<String>,
    /// Secret of this namespace and its key with the client's secret, as `NAME/KEY`. It must be open to apps.
    #[arg(long, env = "WAVESTORE_INSTANCE_OIDC_CLIENT_SECRET", value_parser = parse_secret_key)]
    pub(crate) instance_oidc_client_secret: Option<(String, String)>,
    /// The provider's issuer.
    #[arg(long, env = "WAVESTORE_INSTANCE_OIDC_PROVIDER_URL")]
    pub(crate) instance_oidc_provider_url: Option<String>,
    /// Where the provider ends its sessions. Default: apps end their own only.
    #[arg(long, env = "WAVESTORE_INSTANCE_OIDC_END_SESSION_URL")]
    pub(crate) instance_oidc_end_session_url: Option<String>,
    /// What is asked of the provider.
    #[arg(
        long,
        env = "WAVESTORE_INSTANCE_OIDC_SCOPES",
        default_value = "openid,profile",
        value_delimiter = ','
    )]
    pub(crate) instance_oidc_scopes: Vec<String>,
}

impl InstanceOidc {
    /// The settings for a store at these addresses, if there are any.
    pub(crate) fn read(self, store_url: &Url, apps_domain: &str) -> Option<AppOidc> {
        // The parser has seen to it that the others come with the first.
        Some(AppOidc {
            client_id: self.instance_oidc_client_id?,
            client_secret: self.instance_oidc_client_secret?,
            provider_url: self.instance_oidc_provider_url?,
            end_session_url: self.instance_oidc_end_session_url,
            scopes: self.instance_oidc_scopes,
            store_url: store_url.clone(),
            apps_domain: apps_domain.to_owned(),
        })
    }
}

/// When nodes pull an image, as Kubernetes says it.
#[derive(Debug, Clone, Copy, ValueEnum, strum::Display)]
#[value(rename_all = "PascalCase")]
pub(crate) enum PullPolicy {
    /// Once.
    IfNotPresent,
    /// At every start of a container.
    Always,
    /// The image is on the node already.
    Never,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Args {
    /// Address of the health server.
    pub(crate) fn health_address(&self) -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0], self.health_port))
    }
}

fn parse_nonempty(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("must not be empty; leave the flag out instead".to_owned());
    }
    Ok(text.to_owned())
}

fn parse_secret_key(text: &str) -> Result<(String, String), String> {
    text.split_once('/')
        .filter(|(name, key)| !name.is_empty() && !key.is_empty())
        .map(|(name, key)| (name.to_owned(), key.to_owned()))
        .ok_or_else(|| format!("`{text}` is not `NAME/KEY`"))
}

fn parse_variable(text: &str) -> Result<EnvVar, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not `NAME=VALUE`"))?;
    Ok(EnvVar {
        name: variable_name(name)?,
        value: Some(value.to_owned()),
        value_from: None,
    })
}

fn parse_secret_variable(text: &str) -> Result<EnvVar, String> {
    let (name, secret) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not `NAME=SECRET/KEY`"))?;
    let (secret, key) = parse_secret_key(secret)?;
    Ok(EnvVar {
        name: variable_name(name)?,
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret,
                key,
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    })
}

fn variable_name(name: &str) -> Result<String, String> {
    let first = name.bytes().next();
    let valid = first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !valid {
        return Err(format!("`{name}` is not the name of a variable"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn values_of_variables_keep_their_commas() {
        let args = Args::parse_from([
            "wavestore-operator",
            "--instance-image=registry/instance:1",
            "--instance-env=NO_PROXY=localhost,.svc",
            "--instance-env=A=b",
        ]);
        let values: Vec<&str> = args
            .instance_env
            .iter()
            .filter_map(|variable| variable.value.as_deref())
            .collect();
        assert_eq!(values, ["localhost,.svc", "b"]);
    }

    #[test]
    fn variables_may_come_from_secrets() {
        let variable = parse_secret_variable("UV_INDEX_OURS_PASSWORD=index/password");
        let variable = variable.expect("a variable");
        assert_eq!(variable.value, None);
        let selector = variable.value_from.and_then(|from| from.secret_key_ref);
        let selector = selector.expect("a secret");
        assert_eq!(
            (
                variable.name.as_str(),
                selector.name.as_str(),
                selector.key.as_str()
            ),
            ("UV_INDEX_OURS_PASSWORD", "index", "password")
        );
        for text in ["A", "A=index", "A=/password", "A=index/", "1=a/b"] {
            assert!(parse_secret_variable(text).is_err(), "{text}");
        }
    }

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn variables_are_read_or_refused() {
        let variable = parse_variable("PIP_INDEX_URL=https://a/b=c").expect("a variable");
        assert_eq!(variable.name, "PIP_INDEX_URL");
        assert_eq!(variable.value.as_deref(), Some("https://a/b=c"));
        assert_eq!(
            parse_variable("1A=b"),
            Err("`1A` is not the name of a variable".to_owned())
        );
        assert_eq!(
            parse_variable("A"),
            Err("`A` is not `NAME=VALUE`".to_owned())
        );
    }
}
