//! No update is lost: an edit lands while Helm runs, in the very field that the run changes.

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveInstance};
use e2e::{Sandbox, instance};

use crate::{
    held_helm::HeldHelm,
    release::{event, has_history, share, visibility},
};

/// The words of the policy in the record of a refused revision.
async fn refused(sandbox: &Sandbox, name: &str, revision: u32) -> Result<()> {
    let history = sandbox.helm(&["history", name, "--output", "json"]).await?;
    let history: Vec<serde_json::Value> = serde_json::from_str(&history)?;
    let record = history
        .iter()
        .find(|record| record["revision"] == revision)
        .context("the revision is in the history")?;
    let words = record["description"].as_str().unwrap_or_default();
    ensure!(
        words.contains("the operator may not change the spec"),
        "helm says {words}"
    );
    Ok(())
}

async fn told(sandbox: &Sandbox, name: &str) -> Result<()> {
    let event = event(sandbox, name, "Overtaken").await?;
    let note = event.note.unwrap_or_default();
    ensure!(
        note.contains("edited while Helm ran"),
        "the Event says {note}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_during_an_upgrade_in_the_field_that_it_changes_survives() -> Result<()> {
    let sandbox = Sandbox::create("lost-update").await?;
    let helm = HeldHelm::create(&sandbox).await?;
    let mut operator = sandbox.operator().flag(helm.flag()).start().await?;
    sandbox.publish("hello", "alice").await?;
    let spec = instance("hello", "alice", Visibility::Private);
    sandbox.apply("sales", spec).await?;
    has_history(&sandbox, "sales", "1 deployed").await?;

    helm.hold_next()?;
    share(&sandbox, "sales", Visibility::Public).await?;
    helm.is_held().await?;
    share(&sandbox, "sales", Visibility::AllUsers).await?;
    helm.release().await?;

    has_history(&sandbox, "sales", "1 superseded, 2 failed, 3 deployed").await?;
    let carried = visibility(&sandbox, "sales").await?;
    ensure!(carried == Visibility::AllUsers, "the edit became {carried}");
    let object = sandbox.api::<WaveInstance>().get("sales").await?;
    ensure!(
        object.metadata.generation == Some(3),
        "somebody else changed the spec: generation {:?}",
        object.metadata.generation
    );
    refused(&sandbox, "sales", 2).await?;
    told(&sandbox, "sales").await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_during_the_installation_survives() -> Result<()> {
    let sandbox = Sandbox::create("lost-update").await?;
    let helm = HeldHelm::create(&sandbox).await?;
    let mut operator = sandbox.operator().flag(helm.flag()).start().await?;
    sandbox.publish("hello", "alice").await?;
    helm.hold_next()?;
    let spec = instance("hello", "alice", Visibility::Private);
    sandbox.apply("sales", spec).await?;
    helm.is_held().await?;
    share(&sandbox, "sales", Visibility::Public).await?;
    helm.release().await?;

    // The first run finds nothing to change in what it adopts, so there is nothing to refuse.
    has_history(&sandbox, "sales", "1 superseded, 2 deployed").await?;
    let carried = visibility(&sandbox, "sales").await?;
    ensure!(carried == Visibility::Public, "the edit became {carried}");
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}
