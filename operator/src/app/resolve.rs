//! `resolve`: what an instance of an app runs with, from its manifest and the store's settings.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bundle::{AppMode, File, InstanceTimeout, Manifest, Quantity, SecretKey, Source};
use crds::{AppRef, Lifecycle, RoutingMode, Runtime, RuntimeFile, RuntimeVolume};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ResourceRequirements, SecretKeySelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;

use super::images::Images;
use super::oidc::AppOidc;
use super::runtimes::Runtimes;
use super::secrets::Grant;
use super::sizes::Sizes;

/// Memory that an app may take when it does not say.
const MEMORY_LIMIT: &str = "2Gi";

/// Memory that is set aside for an app when it does not say.
const MEMORY_RESERVATION: &str = "512Mi";

/// What the store decides for every instance.
#[derive(Debug, Clone)]
pub(crate) struct StoreSettings {
    /// Image of apps that ask for no runtime version, or for one that is not there.
    pub(crate) image: String,
    /// Images that apps may ask for.
    pub(crate) runtimes: Runtimes,
    /// Sizes that instances may say.
    pub(crate) sizes: Sizes,
    /// Images that apps may bring (`[Runtime] CustomImage`).
    pub(crate) custom_images: Images,
    /// When nodes pull any of them.
    pub(crate) image_pull_policy: String,
    /// Where instances fetch their bundles.
    pub(crate) store_url: String,
    /// `ConfigMap` with certificate authorities.
    pub(crate) ca_config_map: Option<String>,
    /// What apps see as `H2O_CLOUD_ENVIRONMENT`.
    pub(crate) environment: String,
    /// More variables.
    pub(crate) env: Vec<EnvVar>,
    /// How apps with `EnableOIDC` sign people in; they get nothing of it when there is none.
    pub(crate) oidc: Option<AppOidc>,
    /// Most that each folder of a pod may take of its node's disk.
    pub(crate) disk: Option<Quantity>,
    /// How long instances may be unused whose app says nothing of it.
    pub(crate) idle_timeout: InstanceTimeout,
}

/// Why an app that was read cannot be run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An image of the app's own that nobody allows.
    #[error("app.toml: `[Runtime] CustomImage` is `{0}`, which this store does not allow")]
    ImageNotAllowed(String),
}

impl Error {
    /// The one next step that helps.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::ImageNotAllowed(_) => {
                "ask an admin to add it to `customImages` in the store's values, or use the mode `wave` or `python`"
            }
        }
    }
}

/// Resolves an app; nothing for links, which nobody runs. `id` is the name of its `WaveApp`. Secrets that are not
/// granted are left out.
pub(crate) fn resolve(
    manifest: &Manifest,
    id: &str,
    digest: &str,
    store: &StoreSettings,
    grant: &Grant,
) -> Result<Option<Runtime>, Error> {
    let Some(runtime) = &manifest.runtime else {
        return Ok(None);
    };
    let bundle::Runtime {
        module,
        volume,
        resource_volume_size,
        routing_mode,
        mode,
        port,
        args,
        enable_shm,
        runtime_version,
        // See `env`.
        enable_oidc: _,
        custom_image,
        entry_point,
        // See `resources`.
        memory_limit: _,
        memory_reservation: _,
        cpu_limit: _,
        cpu_reservation: _,
        gpu_count: _,
        gpu_type: _,
    } = runtime;
    let usual = || {
        runtime_version
            .as_deref()
            .and_then(|name| store.runtimes.find(name))
            .map_or(&store.image, |version| &version.image)
            .clone()
    };
    let (mode, image, command, port) = match mode {
        AppMode::Wave => (crds::AppMode::Wave, usual(), Vec::new(), None),
        AppMode::Python => (crds::AppMode::Python, usual(), Vec::new(), *port),
        AppMode::Container => {
            let image = custom_image.clone().unwrap_or_default();
            if !store.custom_images.allow(&image) {
                return Err(Error::ImageNotAllowed(image));
            }
            let command = entry_point.clone();
            (crds::AppMode::Container, image, command, *port)
        }
    };
    let resources = resources(runtime);
    Ok(Some(Runtime {
        app: app_ref(manifest),
        digest: digest.to_owned(),
        image,
        image_pull_policy: store.image_pull_policy.clone(),
        store_url: store.store_url.clone(),
        mode,
        module: module.clone(),
        args: args.clone(),
        command,
        port,
        routing_mode: routing(*routing_mode),
        env: env(manifest, id, store, grant),
        files: manifest
            .files
            .iter()
            .filter_map(|file| self::file(file, grant))
            .collect(),
        sizes: store.sizes.of(&resources),
        resources,
        volume: volume.as_ref().map(|volume| RuntimeVolume {
            mount_path: volume.mount.clone(),
            size: volume.size.to_string(),
        }),
        // Where the launcher makes the environment.
        resource_volume_size: resource_volume_size
            .as_ref()
            .filter(|_| mode != crds::AppMode::Container)
            .map(ToString::to_string),
        disk: store.disk.as_ref().map(ToString::to_string),
        shared_memory: *enable_shm,
        ca_config_map: store.ca_config_map.clone(),
        environment: None,
        redeploy: None,
    }))
}

/// What an app asks for and this store does not have, or not for long, in words for its publisher.
pub(crate) fn lacks(manifest: &Manifest, store: &StoreSettings) -> Vec<String> {
    let Some(runtime) = &manifest.runtime else {
        return Vec::new();
    };
    let oidc = (runtime.enable_oidc && store.oidc.is_none()).then(|| {
        "app.toml: `[Runtime] EnableOIDC` has no effect: this store has no OIDC client for apps (`instances.oidc` in its values)"
            .to_owned()
    });
    let version = runtime.runtime_version.as_deref();
    let version = version.and_then(|name| match store.runtimes.find(name) {
        Some(version) if version.deprecated => Some(format!(
            "app.toml: `[Runtime] RuntimeVersion` is `{name}`, which is deprecated in this store; {}",
            offer(store)
        )),
        Some(_) => None,
        None => Some(format!(
            "app.toml: `[Runtime] RuntimeVersion` is `{name}`, which this store does not have, so the app runs in its usual one; {}",
            offer(store)
        )),
    });
    oidc.into_iter().chain(version).collect()
}

fn offer(store: &StoreSettings) -> String {
    match store.runtimes.offered().as_slice() {
        [] => "leave it out to get the usual one".to_owned(),
        names => format!("there are: {}", names.join(", ")),
    }
}

/// Name and version of an app.
pub(crate) fn app_ref(manifest: &Manifest) -> AppRef {
    AppRef {
        name: manifest.app.name.clone(),
        version: manifest.app.version.to_string(),
    }
}

/// How an app is run, in the words of the API.
pub(crate) fn lifecycle(lifecycle: bundle::Lifecycle) -> Lifecycle {
    match lifecycle {
        bundle::Lifecycle::OnDemand => Lifecycle::OnDemand,
        bundle::Lifecycle::Managed => Lifecycle::Managed,
        bundle::Lifecycle::Link => Lifecycle::Link,
    }
}

/// Seconds without use after which instances of an app are put to sleep; none when they never are.
pub(crate) fn idle_timeout_seconds(manifest: &Manifest, store: &StoreSettings) -> Option<u32> {
    match manifest.app.timeout.unwrap_or(store.idle_timeout) {
        InstanceTimeout::After(time) => Some(u32::try_from(time.as_secs()).unwrap_or(u32::MAX)),
        InstanceTimeout::Never => None,
    }
}

/// How an app is reached, in the words of the API.
pub(crate) fn routing(mode: bundle::RoutingMode) -> RoutingMode {
    match mode {
        bundle::RoutingMode::Domain => RoutingMode::Domain,
        bundle::RoutingMode::BaseUrl => RoutingMode::BaseUrl,
    }
}

/// The store's variables, then the app's; a name that comes again takes the place of the first.
fn env(manifest: &Manifest, id: &str, store: &StoreSettings, grant: &Grant) -> Vec<EnvVar> {
    let plain = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    };
    let mut all = vec![
        plain("H2O_CLOUD_ENVIRONMENT", &store.environment),
        plain("H2O_CLOUD_APP_ID", id),
    ];
    let apps = manifest.env.iter().filter_map(|variable| {
        let mut made = EnvVar {
            name: variable.name.clone(),
            ..EnvVar::default()
        };
        match &variable.source {
            // Kubernetes would put another variable in place of `$(NAME)`.
            Source::Value(value) => made.value = Some(value.replace("$(", "$$(")),
            Source::Secret(key) => {
                made.value_from = Some(EnvVarSource {
                    secret_key_ref: Some(secret(key, grant)?),
                    ..EnvVarSource::default()
                });
            }
        }
        Some(made)
    });
    let oidc = manifest
        .runtime
        .as_ref()
        .filter(|runtime| runtime.enable_oidc)
        .zip(store.oidc.as_ref())
        .map(|(runtime, oidc)| oidc.variables(routing(runtime.routing_mode)))
        .unwrap_or_default();
    for variable in store.env.iter().cloned().chain(oidc).chain(apps) {
        match all.iter_mut().find(|held| held.name == variable.name) {
            Some(held) => *held = variable,
            None => all.push(variable),
        }
    }
    all
}

fn file(file: &File, grant: &Grant) -> Option<RuntimeFile> {
    let (value, secret_key_ref) = match &file.source {
        Source::Value(value) => (Some(value.clone()), None),
        Source::Secret(key) => (None, Some(secret(key, grant)?)),
    };
    Some(RuntimeFile {
        path: file.path.clone(),
        value,
        secret_key_ref,
    })
}

fn secret(key: &SecretKey, grant: &Grant) -> Option<SecretKeySelector> {
    grant
        .holds(&key.secret, &key.key)
        .then(|| SecretKeySelector {
            name: key.secret.clone(),
            key: key.key.clone(),
            optional: key.optional.then_some(true),
        })
}

fn resources(runtime: &bundle::Runtime) -> ResourceRequirements {
    let known = |text: &str| text.parse::<Quantity>().expect("a constant is a quantity");
    let (default_limit, default_reservation) = (known(MEMORY_LIMIT), known(MEMORY_RESERVATION));
    let reservation =
        runtime
            .memory_reservation
            .clone()
            .unwrap_or_else(|| match &runtime.memory_limit {
                Some(limit) if limit.compare(&default_reservation) == Ordering::Less => {
                    limit.clone()
                }
                Some(_) | None => default_reservation,
            });
    // An app that reserves more than the usual limit means to have it.
    let limit = runtime.memory_limit.clone().unwrap_or_else(|| {
        if reservation.compare(&default_limit) == Ordering::Greater {
            reservation.clone()
        } else {
            default_limit
        }
    });
    let mut limits = BTreeMap::from([("memory".to_owned(), Amount(limit.to_string()))]);
    let mut requests = BTreeMap::from([("memory".to_owned(), Amount(reservation.to_string()))]);
    if let Some(cpu) = &runtime.cpu_limit {
        limits.insert("cpu".to_owned(), Amount(cpu.to_string()));
    }
    if let Some(cpu) = &runtime.cpu_reservation {
        requests.insert("cpu".to_owned(), Amount(cpu.to_string()));
    }
    if runtime.gpu_count > 0 {
        let gpu = runtime
            .gpu_type
            .as_deref()
            .filter(|name| name.contains('/'));
        limits.insert(
            gpu.unwrap_or("nvidia.com/gpu").to_owned(),
            Amount(runtime.gpu_count.to_string()),
        );
    }
    ResourceRequirements {
        claims: None,
        limits: Some(limits),
        requests: Some(requests),
    }
}

#[cfg(test)]
mod tests {
    use bundle::EnvRules;

    use super::*;

    fn store() -> StoreSettings {
        StoreSettings {
            image: "registry/instance:1".to_owned(),
            runtimes: r#"[
                {"name": "python3.13", "image": "registry/instance:3.13", "aliases": ["latest"]},
                {"name": "python3.9", "image": "registry/instance:3.9", "deprecated": true}
            ]"#
            .parse()
            .expect("runtimes"),
            sizes: r#"[{"name": "large", "limits": {"memory": "8Gi"}}]"#
                .parse()
                .expect("sizes"),
            custom_images: Images::new(vec!["registry/apps/".to_owned()]),
            image_pull_policy: "IfNotPresent".to_owned(),
            store_url: "http://wavestore-internal.wavestore.svc:8081".to_owned(),
            ca_config_map: None,
            environment: "https://store.example.com".to_owned(),
            env: vec![EnvVar {
                name: "PIP_INDEX_URL".to_owned(),
                value: Some("https://pypi.example.com/simple".to_owned()),
                value_from: None,
            }],
            disk: "10Gi".parse().ok(),
            idle_timeout: InstanceTimeout::Never,
            oidc: None,
        }
    }

    #[test]
    fn oidc_is_for_those_who_ask_for_it() {
        let oidc = AppOidc {
            client_id: "apps".to_owned(),
            client_secret: ("apps-oidc".to_owned(), "client-secret".to_owned()),
            provider_url: "https://login.example.com".to_owned(),
            end_session_url: Some("https://login.example.com/end".to_owned()),
            scopes: vec!["openid".to_owned()],
            store_url: "https://store.example.com".parse().expect("a url"),
            apps_domain: "apps.example.com".to_owned(),
        };
        let cases = [
            ("asked for, and there", true, true, 7, false),
            ("not asked for", false, true, 0, false),
            ("asked for, and not there", true, false, 0, true),
            ("neither", false, false, 0, false),
        ];
        for (name, asked, there, variables, lacking) in cases {
            let toml = format!(
                "[App]\nName = \"hello\"\nVersion = \"1.0.0\"\n[Runtime]\nModule = \"app\"\nEnableOIDC = {asked}"
            );
            let (manifest, _) = Manifest::parse(&toml, &EnvRules::default()).expect("a manifest");
            let store = StoreSettings {
                oidc: there.then(|| oidc.clone()),
                ..store()
            };
            let runtime = resolve(&manifest, "hello-1", "sha256:00", &store, &Grant::of(&[]));
            let env = runtime.expect("resolved").expect("a runtime").env;
            let found = env
                .iter()
                .filter(|variable| variable.name.starts_with("H2O_WAVE_OIDC_"))
                .count();
            assert_eq!(found, variables, "{name}");
            assert_eq!(!lacks(&manifest, &store).is_empty(), lacking, "{name}");
        }
    }

    #[test]
    fn an_app_gets_the_runtime_version_that_it_asks_for() {
        let usual = "registry/instance:1";
        let cases = [
            ("", usual, None),
            ("python3.13", "registry/instance:3.13", None),
            ("latest", "registry/instance:3.13", None),
            (
                "python3.9",
                "registry/instance:3.9",
                Some("which is deprecated in this store; there are: python3.13"),
            ),
            (
                "ub2004_gpu_cuda114",
                usual,
                Some(
                    "which this store does not have, so the app runs in its usual one; there are: python3.13",
                ),
            ),
        ];
        for (asked, image, told) in cases {
            let line = if asked.is_empty() {
                String::new()
            } else {
                format!("RuntimeVersion = \"{asked}\"")
            };
            let toml = format!(
                "[App]\nName = \"hello\"\nVersion = \"1.0.0\"\n[Runtime]\nModule = \"app\"\n{line}"
            );
            let (manifest, _) = Manifest::parse(&toml, &EnvRules::default()).expect("a manifest");
            let runtime = resolve(&manifest, "hello-1", "sha256:00", &store(), &Grant::of(&[]));
            let runtime = runtime.expect("resolved").expect("a runtime");
            assert_eq!(runtime.image, image, "{asked}");
            let words = lacks(&manifest, &store());
            let expected: Vec<String> = told
                .map(|told| format!("app.toml: `[Runtime] RuntimeVersion` is `{asked}`, {told}"))
                .into_iter()
                .collect();
            assert_eq!(words, expected, "{asked}");
        }
    }

    fn resolved(toml: &str) -> Result<Option<Runtime>, Error> {
        let text = format!("[App]\nName = \"hello\"\nVersion = \"1.0.0\"\n{toml}");
        let (manifest, _) = Manifest::parse(&text, &EnvRules::default()).expect("a manifest");
        let grant = Grant::of(&[("database", "password"), ("database", "key")]);
        resolve(&manifest, "hello-1", "sha256:00", &store(), &grant)
    }

    #[test]
    fn an_app_that_says_nothing_gets_the_defaults() {
        let runtime = resolved("[Runtime]\nModule = \"app\"").expect("resolved");
        insta::assert_snapshot!(serde_json::to_string_pretty(&runtime).expect("JSON"));
    }

    #[test]
    fn an_app_that_says_everything_gets_it() {
        let runtime = resolved(
            r#"
            [Runtime]
            Module = "web"
            AppMode = "python"
            Port = 8050
            AppArgs = ["--title", "a b"]
            RoutingMode = "BASE_URL"
            MemoryLimit = "4Gi"
            MemoryReservation = "1Gi"
            CPULimit = "2"
            CPUReservation = "500m"
            GPUCount = 1
            EnableSHM = true
            VolumeMount = "/data"
            VolumeSize = "5Gi"
            ResourceVolumeSize = "3Gi"
            [[Env]]
            Name = "GREETING"
            Value = "hello $(HOME)"
            [[Env]]
            Name = "PIP_INDEX_URL"
            Value = "https://mine.example.com"
            [[Env]]
            Name = "PASSWORD"
            Secret = "database"
            SecretKey = "password"
            Optional = true
            [[File]]
            Path = "/etc/app/settings.toml"
            Value = "colour = 'blue'"
            [[File]]
            Path = "/etc/app/key.pem"
            Secret = "database"
            SecretKey = "key"
            "#,
        )
        .expect("resolved");
        insta::assert_snapshot!(serde_json::to_string_pretty(&runtime).expect("JSON"));
    }

    #[test]
    fn memory_fills_in_what_is_left_out() {
        let cases = [
            ("neither", "", "512Mi/2Gi"),
            ("a small limit", "MemoryLimit = '128Mi'", "128Mi/128Mi"),
            ("a large limit", "MemoryLimit = '8Gi'", "512Mi/8Gi"),
            (
                "a small reservation",
                "MemoryReservation = '64Mi'",
                "64Mi/2Gi",
            ),
            (
                "a large reservation",
                "MemoryReservation = '6Gi'",
                "6Gi/6Gi",
            ),
        ];
        for (name, toml, expected) in cases {
            let runtime = resolved(&format!("[Runtime]\nModule = \"app\"\n{toml}"));
            let resources = runtime.expect("resolved").expect("a runtime").resources;
            let memory =
                |map: Option<BTreeMap<String, Amount>>| map.expect("set")["memory"].0.clone();
            let actual = format!(
                "{}/{}",
                memory(resources.requests),
                memory(resources.limits)
            );
            assert_eq!(actual, expected, "{name}");
        }
    }

    #[test]
    fn what_cannot_run_says_why() {
        let container = resolved(
            "[Runtime]\nModule = \"app\"\nAppMode = \"container\"\nCustomImage = \"x\"\nPort = 8080",
        );
        assert_eq!(container, Err(Error::ImageNotAllowed("x".to_owned())));
    }

    #[test]
    fn an_image_of_its_own_runs_as_it_says() {
        let runtime = resolved(
            r#"
            [Runtime]
            Module = "app"
            AppMode = "container"
            CustomImage = "registry/apps/shiny:2"
            Port = 3838
            AppEntryPoint = ["/usr/bin/shiny-server"]
            AppArgs = ["--verbose"]
            "#,
        );
        let runtime = runtime.expect("resolved").expect("a runtime");
        assert_eq!(
            (runtime.mode, runtime.image.as_str(), runtime.port),
            (
                crds::AppMode::Container,
                "registry/apps/shiny:2",
                Some(3838)
            )
        );
        assert_eq!(runtime.command, ["/usr/bin/shiny-server"]);
        assert_eq!(runtime.args, ["--verbose"]);
    }

    #[test]
    fn secrets_that_are_not_granted_are_left_out() {
        let runtime = resolved(
            r#"
            [Runtime]
            Module = "app"
            [[Env]]
            Name = "PASSWORD"
            Secret = "database"
            SecretKey = "password"
            [[Env]]
            Name = "TOKEN"
            Secret = "absent"
            SecretKey = "password"
            Optional = true
            [[File]]
            Path = "conf/key.pem"
            Secret = "database"
            SecretKey = "other"
            Optional = true
            "#,
        );
        let runtime = runtime.expect("resolved").expect("a runtime");
        let from_secrets: Vec<&str> = runtime
            .env
            .iter()
            .filter(|variable| variable.value_from.is_some())
            .map(|variable| variable.name.as_str())
            .collect();
        assert_eq!(from_secrets, ["PASSWORD"]);
        assert_eq!(runtime.files, []);
        assert!(!runtime.env.iter().any(|variable| variable.name == "TOKEN"));
    }

    #[test]
    fn links_run_nothing() {
        let link =
            resolved("InstanceLifecycle = \"LINK\"\n[Link]\nAddress = \"https://example.com/\"");
        assert_eq!(link, Ok(None));
    }
}
