//! What others do to releases: a helm command at work, one that was killed, a release of Helm 3, a record that does not decode.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveInstance};
use e2e::{Sandbox, condition, eventually, instance, run};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::process::{Child, Command};

use crate::release::{event, has_history, history, share, visibility};

const CHART: &str = "../config/wave-instance";

/// How long the operator lets a helm command be.
const HELM_TIMEOUT: Duration = Duration::from_secs(15);

/// A user's `helm upgrade --wait` on an instance that never gets ready, for there are no pods.
fn waiting_upgrade(sandbox: &Sandbox, name: &str) -> Result<Child> {
    let mut helm = Command::new("helm");
    helm.args(["--namespace", &sandbox.name, "upgrade", name, CHART]);
    helm.args(["--reuse-values", "--set", "visibility=Public"]);
    helm.args(["--wait", "--timeout", "10m"]);
    if let Some(kubeconfig) = &sandbox.kubeconfig {
        helm.arg("--kubeconfig").arg(kubeconfig);
    }
    helm.stdin(Stdio::null()).stdout(Stdio::null());
    helm.kill_on_drop(true);
    Ok(helm.spawn()?)
}

async fn record(sandbox: &Sandbox, name: &str) -> Result<Secret> {
    Ok(sandbox.api::<Secret>().get(name).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helm_command_at_work_is_left_alone_and_a_dead_one_is_repaired() -> Result<()> {
    let sandbox = Sandbox::create("foreign").await?;
    let timeout = format!("--helm-timeout={}s", HELM_TIMEOUT.as_secs());
    let mut operator = sandbox.operator().flag(timeout).start().await?;
    sandbox.publish("hello", "alice").await?;
    let spec = instance("hello", "alice", Visibility::Private);
    sandbox.apply("sales", spec).await?;
    has_history(&sandbox, "sales", "1 deployed").await?;

    let mut helm = waiting_upgrade(&sandbox, "sales")?;
    has_history(&sandbox, "sales", "1 deployed, 2 pending-upgrade").await?;
    let instances = sandbox.api::<WaveInstance>();
    eventually("helm to be waiting", async || {
        let spec = instances.get("sales").await?.spec;
        ensure!(spec.visibility == Visibility::Public, "it has {spec:?}");
        Ok(())
    })
    .await?;
    let pending = "sh.helm.release.v1.sales.v2";
    let begun = record(&sandbox, pending).await?;
    // An edit waits for it, and says so.
    share(&sandbox, "sales", Visibility::AllUsers).await?;
    condition(&instances, "sales", "Ready", |ready| {
        ready.reason == "ForeignOperation" && ready.message.contains("somebody else's Helm")
    })
    .await?;
    let seen = record(&sandbox, pending).await?;
    ensure!(
        seen.resource_version() == begun.resource_version(),
        "the record of a helm at work was changed"
    );
    ensure!(helm.try_wait()?.is_none(), "helm ended by itself");
    helm.kill().await.context("kill -9")?;

    let event = event(&sandbox, "sales", "Repaired").await?;
    let note = event.note.unwrap_or_default();
    ensure!(
        event.type_.as_deref() == Some("Warning")
            && note.contains("revision 2")
            && note.contains("left pending")
            && note.contains("ForeignPending"),
        "the Event says {note}"
    );
    let since = begun.creation_timestamp().context("a Secret has a time")?.0;
    let told = event.event_time.context("an Event has a time")?.0;
    ensure!(
        told.duration_since(since).as_secs() >= i64::try_from(HELM_TIMEOUT.as_secs())?,
        "begun at {since}, it was taken for dead at {told}"
    );
    has_history(&sandbox, "sales", "1 superseded, 2 deployed").await?;
    let carried = visibility(&sandbox, "sales").await?;
    ensure!(carried == Visibility::AllUsers, "the edit became {carried}");
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_does_not_decode_is_told_and_left_alone() -> Result<()> {
    let sandbox = Sandbox::create("garbage").await?;
    let mut operator = sandbox.operator().start().await?;
    sandbox.publish("hello", "alice").await?;
    let spec = instance("hello", "alice", Visibility::Private);
    sandbox.apply("sales", spec).await?;
    has_history(&sandbox, "sales", "1 deployed").await?;
    let name = "sh.helm.release.v1.sales.v1";
    let secrets = sandbox.api::<Secret>();
    let garbage = json!({ "stringData": { "release": "no record" } });
    secrets
        .patch(name, &PatchParams::default(), &Patch::Merge(&garbage))
        .await?;
    let instances = sandbox.api::<WaveInstance>();
    let unreadable = async || {
        condition(&instances, "sales", "Stalled", |stalled| {
            stalled.reason == "UnreadableRelease" && stalled.message.contains("cannot be read")
        })
        .await
    };
    unreadable().await?;
    let before = sandbox.remains("sales").await?;
    // Neither a new spec nor a deletion is a reason to touch it.
    share(&sandbox, "sales", Visibility::Public).await?;
    unreadable().await?;
    instances.delete("sales", &DeleteParams::default()).await?;
    eventually("the deletion to be seen", async || {
        let object = instances.get("sales").await?;
        let deleted = object.metadata.deletion_timestamp.is_some();
        ensure!(deleted, "it is not deleted");
        Ok(())
    })
    .await?;
    unreadable().await?;
    let after = sandbox.remains("sales").await?;
    ensure!(before == after, "{before:?} became {after:?}");

    // Without the record, what is there goes as well.
    secrets.delete(name, &DeleteParams::default()).await?;
    sandbox.nothing_left("sales").await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_no_watch_shows_is_not_installed_over() -> Result<()> {
    let sandbox = Sandbox::create("unseen").await?;
    let mut operator = sandbox.operator().start().await?;
    sandbox.publish("hello", "alice").await?;
    let spec = instance("hello", "alice", Visibility::Private);
    sandbox.apply("sales", spec).await?;
    has_history(&sandbox, "sales", "1 deployed").await?;
    operator.terminate().await?;

    // Of revisions that are superseded the watch shows nothing, and a new instance tells of none.
    let patch = |name: &'static str, patch: serde_json::Value| (name, Patch::Merge(patch));
    let (name, superseded) = patch(
        "sh.helm.release.v1.sales.v1",
        json!({ "metadata": { "labels": { "status": "superseded" } } }),
    );
    let params = PatchParams::default();
    let secrets = sandbox.api::<Secret>();
    secrets.patch(name, &params, &superseded).await?;
    let instances = sandbox.api::<WaveInstance>();
    let (name, torn_out) = patch("sales", json!({ "metadata": { "finalizers": null } }));
    instances.patch(name, &params, &torn_out).await?;
    instances.delete("sales", &DeleteParams::default()).await?;
    let spec = instance("hello", "alice", Visibility::Public);
    sandbox.apply("sales", spec).await?;

    let mut operator = sandbox.operator().start().await?;
    has_history(&sandbox, "sales", "1 superseded, 2 deployed").await?;
    sandbox.comes_to_rest(&["sales".to_owned()]).await?;
    let carried = visibility(&sandbox, "sales").await?;
    ensure!(carried == Visibility::Public, "the edit became {carried}");
    let told = operator.log()?;
    ensure!(
        told.contains("has a release that the watch has not shown yet"),
        "Helm was not asked, or says it in other words: {told}"
    );
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Helm 3: HELM3=path, from `go install helm.sh/helm/v3/cmd/helm@latest`"]
async fn a_release_of_helm_3_is_read_adopted_and_upgraded() -> Result<()> {
    let helm3 = std::env::var("HELM3").context("HELM3 names no program")?;
    let sandbox = Sandbox::create("helm3").await?;
    let kubeconfig = sandbox.kubeconfig.as_ref().context("a kubeconfig")?;
    let kubeconfig = kubeconfig.display().to_string();
    let helm3 = async |args: &[&str]| -> Result<()> {
        let at = ["--namespace", &sandbox.name, "--kubeconfig", &kubeconfig];
        let output = run(&helm3, &[&at[..], args].concat(), None).await?;
        ensure!(output.success, "{}", output.stderr);
        Ok(())
    };
    let mut operator = sandbox.operator().start().await?;
    sandbox.publish("hello", "alice").await?;
    let values = "app.name=hello,app.version=1.0.0,owner=alice";
    helm3(&["install", "sales", CHART, "--set-string", values]).await?;
    let instances = sandbox.api::<WaveInstance>();
    eventually("the release to be known", async || {
        let status = instances.get("sales").await?.status.unwrap_or_default();
        let release = status.release.context("no release yet")?;
        ensure!(release.status == "deployed", "it is {release:?}");
        Ok(())
    })
    .await?;
    // It is as the spec says: nobody ran helm.
    let made = history(&sandbox, "sales").await?;
    ensure!(made == [(1, "deployed".to_owned())], "helm made {made:?}");

    share(&sandbox, "sales", Visibility::Public).await?;
    has_history(&sandbox, "sales", "1 superseded, 2 deployed").await?;
    let carried = visibility(&sandbox, "sales").await?;
    ensure!(carried == Visibility::Public, "the edit became {carried}");

    // And Helm 3 goes on with what Helm 4 has made.
    let private = ["--reuse-values", "--set", "visibility=Private"];
    helm3(&[&["upgrade", "sales", CHART], &private[..]].concat()).await?;
    has_history(&sandbox, "sales", "1 superseded, 2 superseded, 3 deployed").await?;
    let carried = visibility(&sandbox, "sales").await?;
    ensure!(
        carried == Visibility::Private,
        "helm's edit became {carried}"
    );
    helm3(&["uninstall", "sales"]).await?;
    sandbox.nothing_left("sales").await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}
