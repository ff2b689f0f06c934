//! Deletions that can be undone, with real pods: whoever starts an instance, and whoever says when it is to go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::{DELETE_AFTER_ANNOTATION, Visibility, WaveInstance};
use e2e::{Store, helm, instance, kubectl};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

const CHART: &str = "../config/wave-instance";

/// Says by kubectl that an instance is to be deleted after this time; answers when that is.
async fn delete_after(name: &str, time: Duration) -> Result<Timestamp> {
    let at = Timestamp::now() + time;
    annotate(name, &format!("{DELETE_AFTER_ANNOTATION}={at}")).await?;
    Ok(at)
}

async fn annotate(name: &str, mark: &str) -> Result<()> {
    kubectl(&["annotate", "waveinstance", name, mark], None).await?;
    Ok(())
}

async fn is_served(store: &Store, name: &str) -> Result<()> {
    let answer = store.get(&store.host(name), "/").await?;
    ensure!(answer.status() == 200, "{name} answers {}", answer.status());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_helm_has_started_and_kubectl_has_marked_is_deleted_in_time() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-undo-due";
    store.delete(name).await?;
    let values = format!(
        "app.name=hello,app.version=1.0.0,visibility=Public,owner={}",
        store.admin
    );
    let install = ["install", name, CHART, "--set-string", &values];
    helm(&[&install[..], &["--wait", "--timeout", "5m"]].concat()).await?;
    is_served(&store, name).await?;
    let at = delete_after(name, Duration::from_secs(15)).await?;
    while Timestamp::now() + Duration::from_secs(2) < at {
        is_served(&store, name).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    store.gone(name).await?;
    ensure!(Timestamp::now() >= at, "it was gone before {at}");
    store.namespace.nothing_left(name).await?;
    let of_it = format!("involvedObject.name={name},reason=DeletionDue");
    let events = ["get", "events", "--output=name", "--field-selector", &of_it];
    let events = kubectl(&events, None).await?;
    ensure!(!events.trim().is_empty(), "nothing is told of it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_it_back_keeps_the_instance() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-undo-kept";
    store.delete(name).await?;
    let public = instance("hello", &store.admin, Visibility::Public);
    let made = store.apply(name, public).await?;
    store.ready(name).await?;
    let label = format!("wavestore.io/instance={name}");
    let pods = ["get", "pods", "-l", &label, "-o", "name"];
    let before = kubectl(&pods, None).await?;
    // More than once: who was asked to delete it and not to, twice, has no old timer left that does.
    for _ in 0..2 {
        let at = delete_after(name, Duration::from_secs(8)).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        annotate(name, &format!("{DELETE_AFTER_ANNOTATION}-")).await?;
        ensure!(
            Timestamp::now() < at,
            "this machine is too slow for the test"
        );
    }
    // Another time counts from when it is said, and not the first one.
    delete_after(name, Duration::from_secs(8)).await?;
    let later = Timestamp::now() + Duration::from_hours(1);
    let later = format!("{DELETE_AFTER_ANNOTATION}={later}");
    kubectl(
        &["annotate", "--overwrite", "waveinstance", name, &later],
        None,
    )
    .await?;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let object = store.api::<WaveInstance>().get(name).await?;
    ensure!(
        object.metadata.deletion_timestamp.is_none(),
        "it is deleted"
    );
    let (made, now) = (made.uid().context("no uid")?, object.uid());
    ensure!(now.as_ref() == Some(&made), "it is another one");
    ensure!(
        kubectl(&pods, None).await? == before,
        "its pod is another one"
    );
    is_served(&store, name).await?;
    store.delete(name).await
}
