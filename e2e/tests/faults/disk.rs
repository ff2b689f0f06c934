//! An app with a volume, in two versions.

use anyhow::Result;
use crds::{AppRef, Visibility, WaveApp, WaveInstance, WaveInstanceSpec};
use e2e::{Namespace, condition, pack};
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// Publishes both versions of the app and waits until they are ready.
pub(crate) async fn publish(namespace: &Namespace) -> Result<()> {
    for version in ["1.0.0", "2.0.0"] {
        let manifest = format!(
            "[App]\nName = \"disk\"\nVersion = \"{version}\"\nTitle = \"Disk\"\nDescription = \"Keeps.\"\n\
             [Runtime]\nModule = \"app\"\nVolumeMount = \"/data\"\nVolumeSize = \"1Mi\"\n\
             [[File]]\nPath = \"/etc/disk/settings.txt\"\nValue = \"of {version}\"\n"
        );
        let bundle = pack(&[("app.toml", manifest.as_bytes()), ("app.py", b"# nothing")])?;
        let name = format!("disk-{version}");
        namespace
            .submit(&name, bundle, "alice", Visibility::AllUsers)
            .await?;
        let apps = namespace.api::<WaveApp>();
        condition(&apps, &name, "Ready", |ready| ready.status == "True").await?;
    }
    Ok(())
}

/// An instance of its first version.
pub(crate) fn instance() -> WaveInstanceSpec {
    WaveInstanceSpec {
        app: AppRef {
            name: "disk".into(),
            version: "1.0.0".into(),
        },
        ..e2e::instance("disk", "alice", Visibility::Private)
    }
}

/// Publishes the app and runs so many instances of it, whose names begin with `prefix`; answers the names when all are at rest.
pub(crate) async fn running(
    namespace: &Namespace,
    prefix: &str,
    count: u64,
) -> Result<Vec<String>> {
    publish(namespace).await?;
    let names: Vec<String> = (0..count)
        .map(|number| format!("{prefix}-{number}"))
        .collect();
    for name in &names {
        namespace.apply(name, instance()).await?;
    }
    namespace.comes_to_rest(&names).await?;
    Ok(names)
}

/// Goes to the other version, or shares with everybody, or with nobody again.
pub(crate) async fn change(
    namespace: &Namespace,
    name: &str,
    dice: &mut fastrand::Rng,
) -> Result<()> {
    let api = namespace.api::<WaveInstance>();
    let spec = api.get(name).await?.spec;
    let patch = if dice.bool() {
        let visibility = match spec.visibility {
            Visibility::Private => Visibility::Public,
            Visibility::AllUsers | Visibility::Public => Visibility::Private,
        };
        json!({ "spec": { "visibility": visibility } })
    } else {
        let version = if spec.app.version == "1.0.0" {
            "2.0.0"
        } else {
            "1.0.0"
        };
        json!({ "spec": { "app": { "version": version } } })
    };
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}
