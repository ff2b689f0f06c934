//! Flux's own kustomize-controller with the sample of config/samples, and our operator: `make test-flux`.
//!
//! Nothing runs, since there are no nodes: instances are suspended, which is as healthy as running.

mod controller;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crds::WaveInstance;
use e2e::{Sandbox, eventually, pack};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};

use controller::{Flux, Verdict};

const APPS: &str = "wave-apps";
const INSTANCES: &str = "wave-instances";

/// The app in Git, with its bundle beside it, and something that is none.
fn app() -> Result<[Value; 2]> {
    let manifest = "[App]\nName = \"hello\"\nVersion = \"1.0.0\"\nTitle = \"Hello\"\n[Runtime]\nModule = \"app\"\n";
    let bundle = pack(&[("app.toml", manifest.as_bytes()), ("app.py", b"# nothing")])?;
    Ok([
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "bundle-hello" },
            "binaryData": {
                "app.wave": BASE64_STANDARD.encode(bundle),
                "no.wave": BASE64_STANDARD.encode("no bundle"),
            },
        }),
        json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveApp", "metadata": { "name": "hello-1.0.0" },
            "spec": {
                "bundle": { "configMapRef": { "name": "bundle-hello", "key": "app.wave" } },
                "owner": "alice", "visibility": "AllUsers",
            },
        }),
    ])
}

fn instance(name: &str, visibility: Option<&str>) -> Value {
    let mut object = json!({
        "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveInstance", "metadata": { "name": name },
        "spec": { "app": { "name": "hello", "version": "1.0.0" }, "owner": "alice", "suspended": true },
    });
    if let Some(visibility) = visibility {
        object["spec"]["visibility"] = json!(visibility);
    }
    object
}

/// Waits until Flux calls both Kustomizations healthy at a revision.
async fn healthy(flux: &Flux<'_>, revision: &str) -> Result<()> {
    for name in [APPS, INSTANCES] {
        let Verdict { healthy, message } = flux.judged(name, revision).await?;
        ensure!(healthy, "{name}: {message}");
    }
    Ok(())
}

/// Flux calls nothing healthy that Helm has not done yet, so there is no waiting here.
async fn is_carried(sandbox: &Sandbox, name: &str, visibility: &str, revision: u32) -> Result<()> {
    let object = sandbox.api::<WaveInstance>().get(name).await?;
    ensure!(
        object.spec.visibility.to_string() == visibility,
        "{:?}",
        object.spec
    );
    let release = object
        .status
        .and_then(|status| status.release)
        .context("no release")?;
    ensure!(
        release.revision == revision,
        "{name} is at revision {}",
        release.revision
    );
    let values = sandbox
        .helm(&["get", "values", name, "--output", "json"])
        .await?;
    let values: Value = serde_json::from_str(&values)?;
    ensure!(values["visibility"] == visibility, "{values}");
    let managers: Vec<_> = object.metadata.managed_fields.unwrap_or_default();
    let of_flux = managers
        .iter()
        .any(|entry| entry.manager.as_deref() == Some("kustomize-controller"));
    ensure!(of_flux, "Flux owns no field: {managers:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn flux_applies_changes_drops_judges_and_prunes_and_the_operator_follows() -> Result<()> {
    let sandbox = Sandbox::create("flux").await?;
    let mut operator = sandbox.operator().start().await?;
    let mut flux = Flux::start(&sandbox).await?;

    let [bundle, app] = app()?;
    flux.put("apps/bundle.yaml", &bundle);
    flux.put("apps/hello.yaml", &app);
    flux.put("instances/sales.yaml", &instance("sales", Some("AllUsers")));
    flux.put("instances/stays.yaml", &instance("stays", None));
    let revision = flux.push().await?;
    healthy(&flux, &revision).await?;
    is_carried(&sandbox, "sales", "AllUsers", 1).await?;
    is_carried(&sandbox, "stays", "Private", 1).await?;

    flux.put("instances/sales.yaml", &instance("sales", Some("Public")));
    let revision = flux.push().await?;
    healthy(&flux, &revision).await?;
    is_carried(&sandbox, "sales", "Public", 2).await?;

    flux.put("instances/sales.yaml", &instance("sales", None));
    let revision = flux.push().await?;
    healthy(&flux, &revision).await?;
    is_carried(&sandbox, "sales", "Private", 3).await?;

    // An app that cannot be imported fails, and does not let Flux wait for its timeout.
    let mut broken = app.clone();
    broken["metadata"]["name"] = json!("broken-1.0.0");
    broken["spec"]["bundle"]["configMapRef"]["key"] = json!("no.wave");
    flux.put("apps/broken.yaml", &broken);
    let revision = flux.push().await?;
    let verdict = flux.judged(APPS, &revision).await?;
    ensure!(
        !verdict.healthy
            && verdict.message.contains("broken-1.0.0")
            && verdict.message.contains("Failed"),
        "{verdict:?}"
    );

    // Pruned, with its release; the other one is not even run through Helm again.
    flux.remove("apps/broken.yaml");
    flux.remove("instances/sales.yaml");
    let revision = flux.push().await?;
    healthy(&flux, &revision).await?;
    let instances = sandbox.api::<WaveInstance>();
    eventually(
        "the pruned instance to be gone, with its release",
        async || {
            ensure!(instances.get_opt("sales").await?.is_none(), "it is there");
            let releases = ListParams::default().labels("owner=helm");
            let left = sandbox.api::<Secret>().list(&releases).await?;
            let left: Vec<String> = left.iter().map(ResourceExt::name_any).collect();
            ensure!(left == ["sh.helm.release.v1.stays.v1"], "{left:?}");
            Ok(())
        },
    )
    .await?;
    is_carried(&sandbox, "stays", "Private", 1).await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}
