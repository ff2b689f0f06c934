//! What an environment is made from, as one hash.

use bundle::{Packages, Requirements};
use catalog::{Digest, EnvironmentKey};
use crds::Runtime;
use k8s_openapi::api::core::v1::EnvVar;
use sha2::{Digest as _, Sha256};

/// Changes when environments are made in another way.
const RECIPE: &str = "1";

/// Beginnings of the names of variables that uv and the launcher read, in upper case.
const PREFIXES: [&str; 6] = [
    "PIP_",
    "UV_",
    "SSL_CERT_",
    "REQUESTS_CA_",
    "NETRC",
    "DEBIAN_",
];

/// Names of others, in upper case.
const NAMES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// Everything that an environment is made from.
pub(super) struct Sources<'a> {
    /// Who owns the app. What one publisher's packages do while they are installed must not reach another's apps.
    pub(super) owner: &'a str,
    /// What is installed.
    pub(super) requirements: Option<&'a Requirements>,
    /// What is unpacked beside it.
    pub(super) packages: Option<&'a Packages>,
    /// The files that the requirements may name.
    pub(super) bundle: Digest,
    /// Its image has the Python version, the platform and uv.
    pub(super) runtime: &'a Runtime,
    /// From where, and how.
    pub(super) variables: &'a [EnvVar],
}

/// The key of an environment. A bundle counts only where the requirements name files, so that versions of an app whose
/// requirements stay the same share one.
pub(super) fn key(sources: &Sources<'_>) -> EnvironmentKey {
    let Sources {
        owner,
        requirements,
        packages,
        bundle,
        runtime,
        variables,
    } = sources;
    let mut hasher = Sha256::new();
    let mut add = |part: &str| {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    };
    add(RECIPE);
    add(owner);
    add(requirements.map_or("", Requirements::as_str));
    let names_files = requirements.is_some_and(Requirements::names_files);
    let files = names_files.then(|| bundle.to_string());
    add(files.as_deref().unwrap_or_default());
    add(&runtime.image);
    add(runtime.ca_config_map.as_deref().unwrap_or_default());
    add(&serde_json::to_string(variables).expect("variables are JSON"));
    // In the end: what has none has the key that it had before there were any.
    for package in packages.iter().flat_map(|packages| packages.iter()) {
        add(package);
    }
    EnvironmentKey::from_sha256(hasher.finalize().into())
}

/// Those of an app's variables that uv or apt may need: code of packages runs when they are built, and the app's passwords are none
/// of its business.
pub(super) fn variables(requirements: Option<&Requirements>, env: &[EnvVar]) -> Vec<EnvVar> {
    let named = requirements
        .map(Requirements::variables)
        .unwrap_or_default();
    let is_of_uv = |name: &str| {
        let upper = name.to_ascii_uppercase();
        PREFIXES.iter().any(|prefix| upper.starts_with(prefix)) || NAMES.contains(&upper.as_str())
    };
    env.iter()
        .filter(|variable| {
            let name = variable.name.as_str();
            is_of_uv(name) || named.contains(name)
        })
        .cloned()
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// What an app without wishes runs with.
    pub(in super::super) fn runtime() -> Runtime {
        serde_json::from_value(json!({
            "app": {"name": "hello", "version": "1.0.0"},
            "digest": Digest::of(b"one").to_string(), "image": "registry/instance:1",
            "imagePullPolicy": "IfNotPresent", "storeUrl": "http://wavestore-internal.wavestore.svc:8081",
            "mode": "Wave", "module": "app", "routingMode": "Domain", "resources": {},
            "env": [
                {"name": "H2O_CLOUD_APP_ID", "value": "hello"},
                {"name": "PIP_INDEX_URL", "value": "https://pypi.example.com/simple"},
                {"name": "https_proxy", "value": "http://proxy:3128"},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "index", "key": "token"}}},
                {"name": "DATABASE_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}},
            ],
        }))
        .expect("a runtime")
    }

    fn key_of(owner: &str, text: &str, bundle: &[u8], runtime: &Runtime) -> EnvironmentKey {
        key_with(owner, text, None, bundle, runtime)
    }

    fn key_with(
        owner: &str,
        text: &str,
        packages: Option<&str>,
        bundle: &[u8],
        runtime: &Runtime,
    ) -> EnvironmentKey {
        let requirements = Requirements::from_bytes(text.as_bytes());
        let packages = packages.map(|text| Packages::from_bytes(text.as_bytes()));
        let packages = packages.and_then(|packages| packages.expect("packages"));
        key(&Sources {
            owner,
            requirements: Some(&requirements),
            packages: packages.as_ref(),
            bundle: Digest::of(bundle),
            runtime,
            variables: &variables(Some(&requirements), &runtime.env),
        })
    }

    #[test]
    fn the_key_is_all_that_counts_and_nothing_else() {
        let plain = runtime();
        let changed = |change: fn(&mut Runtime)| {
            let mut runtime = plain.clone();
            change(&mut runtime);
            runtime
        };
        let first = key_of("alice", "h2o-wave", b"one", &plain);
        let cases = [
            ("the same", "alice", "h2o-wave", b"one", plain.clone(), true),
            (
                "another version of the app",
                "alice",
                "h2o-wave",
                b"two",
                plain.clone(),
                true,
            ),
            (
                "another owner",
                "mallory",
                "h2o-wave",
                b"one",
                plain.clone(),
                false,
            ),
            (
                "other requirements",
                "alice",
                "h2o-wave\npandas",
                b"one",
                plain.clone(),
                false,
            ),
            (
                "another image",
                "alice",
                "h2o-wave",
                b"one",
                changed(|r| r.image = "i:2".to_owned()),
                false,
            ),
            (
                "another index",
                "alice",
                "h2o-wave",
                b"one",
                changed(|r| r.env[1].value = None),
                false,
            ),
            (
                "other authorities",
                "alice",
                "h2o-wave",
                b"one",
                changed(|r| r.ca_config_map = Some("ca".to_owned())),
                false,
            ),
            (
                "another password",
                "alice",
                "h2o-wave",
                b"one",
                changed(|r| drop(r.env.pop())),
                true,
            ),
            (
                "another module",
                "alice",
                "h2o-wave",
                b"one",
                changed(|r| r.module = "run".to_owned()),
                true,
            ),
        ];
        for (name, owner, text, bundle, runtime, same) in cases {
            assert_eq!(
                key_of(owner, text, bundle, &runtime) == first,
                same,
                "{name}"
            );
        }
        let wheel = "./wheels/mine-1.0-py3-none-any.whl";
        assert_ne!(
            key_of("alice", wheel, b"one", &plain),
            key_of("alice", wheel, b"two", &plain),
            "another wheel in the bundle"
        );
        // It must not change from one release of the operator to the next without `RECIPE`.
        insta::assert_snapshot!(first, @"c18b76621ad7a2b7c1279f9c55c93f4831121df0");
    }

    #[test]
    fn packages_count_in_whatever_order_they_are_named() {
        let plain = runtime();
        let first = key_of("alice", "h2o-wave", b"one", &plain);
        let with = |packages| key_with("alice", "h2o-wave", packages, b"one", &plain);
        assert_eq!(with(Some("# none")), first, "no packages");
        assert_ne!(with(Some("jq")), first, "packages");
        assert_ne!(
            with(Some("jq\nlibgomp1")),
            with(Some("jq")),
            "more packages"
        );
        assert_eq!(
            with(Some("libgomp1\njq # JSON")),
            with(Some("jq\nlibgomp1")),
            "the same packages in another order"
        );
    }

    #[test]
    fn a_build_gets_the_variables_of_uv_and_those_that_requirements_name() {
        let names = |text: &str| {
            let requirements = Requirements::from_bytes(text.as_bytes());
            let found = variables(Some(&requirements), &runtime().env);
            found
                .into_iter()
                .map(|variable| variable.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("h2o-wave"), ["PIP_INDEX_URL", "https_proxy"]);
        assert_eq!(
            names("--index-url https://${TOKEN}@pypi.example.com/simple"),
            ["PIP_INDEX_URL", "https_proxy", "TOKEN"]
        );
    }
}
