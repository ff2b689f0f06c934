//! Nobody can tell who started, changed or deleted an instance: kubectl, helm and GitOps, in any order.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveInstance};
use e2e::{Store, eventually, helm, instance, kubectl};
use kube::api::{Patch, PatchParams};
use serde_json::json;

const CHART: &str = "../config/wave-instance";

async fn helm_install(store: &Store, name: &str) -> Result<()> {
    let values = format!("app.name=hello,app.version=1.0.0,owner={}", store.admin);
    helm(&[
        "install",
        name,
        CHART,
        "--set-string",
        &values,
        "--wait",
        "--timeout",
        "5m",
    ])
    .await?;
    Ok(())
}

async fn helm_opens(name: &str) -> Result<()> {
    let public = ["--reuse-values", "--set", "visibility=Public"];
    helm(&[&["upgrade", name, CHART], &public[..]].concat()).await?;
    Ok(())
}

async fn pod(name: &str) -> Result<String> {
    let label = format!("wavestore.io/instance={name}");
    kubectl(&["get", "pods", "-l", &label, "-o", "name"], None).await
}

async fn is_open(store: &Store, name: &str) -> Result<()> {
    eventually(&format!("{name} to be open to strangers"), async || {
        let answer = store.get(&store.host(name), "/").await?;
        ensure!(
            answer.status() == 200,
            "a stranger gets {}",
            answer.status()
        );
        Ok(())
    })
    .await
}

async fn is_closed(store: &Store, name: &str) -> Result<()> {
    eventually(&format!("{name} to be closed to strangers"), async || {
        let answer = store.get(&store.host(name), "/").await?;
        ensure!(
            answer.status().is_redirection(),
            "a stranger gets {}",
            answer.status()
        );
        Ok(())
    })
    .await
}

async fn revision(store: &Store, name: &str) -> Result<(i64, u32)> {
    let object = store.api::<WaveInstance>().get(name).await?;
    let release = object
        .status
        .and_then(|status| status.release)
        .context("no release yet")?;
    Ok((
        object
            .metadata
            .generation
            .context("objects have a generation")?,
        release.revision,
    ))
}

/// Waits until the operator has carried the newest spec into a release.
async fn settled(store: &Store, name: &str) -> Result<(i64, u32)> {
    store.ready(name).await?;
    revision(store, name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_alone_installs_opens_closes_and_ends_an_instance() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-helm";
    store.delete(name).await?;
    helm_install(&store, name).await?;
    // `--wait` has returned: it is usable now, not soon.
    let pods = kubectl(
        &[
            "get",
            "pods",
            "-l",
            &format!("wavestore.io/instance={name}"),
            "-o",
            "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}",
        ],
        None,
    )
    .await?;
    ensure!(
        pods == "True",
        "helm returned while the pod's readiness was `{pods}`"
    );
    is_closed(&store, name).await?;

    helm_opens(name).await?;
    is_open(&store, name).await?;
    let page = store.get(&store.host(name), "/").await?.text().await?;
    ensure!(page.contains("<title>"), "the app does not answer: {page}");
    helm(&["rollback", name]).await?;
    is_closed(&store, name).await?;
    let (_, last) = settled(&store, name).await?;
    ensure!(
        last == 3,
        "the operator ran helm too: revision {last} instead of 3"
    );
    helm(&["uninstall", name]).await?;
    store.gone(name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn made_by_kubectl_changed_and_deleted_by_helm() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-kubectl-helm";
    store.delete(name).await?;
    store
        .apply(name, instance("hello", &store.admin, Visibility::Private))
        .await?;
    settled(&store, name).await?;
    let before = pod(name).await?;
    helm_opens(name).await?;
    is_open(&store, name).await?;
    let after = pod(name).await?;
    ensure!(before == after, "opening an instance restarted its app");
    let spec = store.api::<WaveInstance>().get(name).await?.spec;
    ensure!(
        spec.visibility == Visibility::Public,
        "kubectl shows {spec:?}"
    );
    helm(&["uninstall", name]).await?;
    store.gone(name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn made_by_helm_changed_and_deleted_by_kubectl() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-helm-kubectl";
    store.delete(name).await?;
    helm_install(&store, name).await?;
    kubectl(
        &[
            "patch",
            "waveinstance",
            name,
            "--type=merge",
            "-p",
            r#"{"spec":{"visibility":"Public"}}"#,
        ],
        None,
    )
    .await?;
    is_open(&store, name).await?;
    let (generation, _) = settled(&store, name).await?;
    let values = eventually("helm to know what kubectl changed", async || {
        let values = helm(&["get", "values", name, "-o", "json"]).await?;
        let values: serde_json::Value = serde_json::from_str(&values)?;
        ensure!(values["visibility"] == "Public", "helm knows {values}");
        Ok(values)
    })
    .await?;
    ensure!(
        values["owner"] == store.admin.as_str(),
        "helm knows {values}"
    );
    ensure!(
        generation == 2,
        "an edit makes one generation, not {generation}"
    );
    store.delete(name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gitops_writer_every_second_changes_nothing() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-gitops";
    store.delete(name).await?;
    let manifest = json!({
        "apiVersion": "wavestore.io/v1alpha1",
        "kind": "WaveInstance",
        "metadata": { "name": name, "labels": { "team": "sales" } },
        "spec": { "app": { "name": "hello", "version": "1.0.0" }, "owner": store.admin },
    });
    let api = store.api::<WaveInstance>();
    let apply = async || {
        api.patch(
            name,
            &PatchParams::apply("gitops"),
            &Patch::Apply(&manifest),
        )
        .await
    };
    apply().await?;
    let before = settled(&store, name).await?;
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..60 {
        every_second.tick().await;
        apply().await?;
    }
    let after = settled(&store, name).await?;
    ensure!(
        before == after,
        "(generation, revision) went from {before:?} to {after:?}"
    );
    store.delete(name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_knows_every_field_that_the_chart_renders() -> Result<()> {
    let _store = crate::shared().await;
    let name = "e2e-fields";
    let every_branch = format!("{CHART}/ci/resolved-values.yaml");
    let rendered = helm(&["template", name, CHART, "--values", &every_branch]).await?;
    let check = [
        "apply",
        "--dry-run=server",
        "--validate=strict",
        "--filename",
        "-",
    ];
    kubectl(&check, Some(&rendered)).await?;
    let wrong = rendered.replace("terminationGracePeriodSeconds", "terminationGraceSeconds");
    let refused = kubectl(&check, Some(&wrong)).await;
    ensure!(refused.is_err(), "an unknown field is found");
    Ok(())
}
