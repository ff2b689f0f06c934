//! What somebody changes by hand behind the release's back, what somebody tears out, and what the store changes.

use anyhow::{Context, Result, ensure};
use crds::{REDEPLOY_ANNOTATION, Visibility, WaveApp, WaveInstance};
use e2e::{Sandbox, condition, eventually, instance};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{PersistentVolumeClaim, Service},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::disk;
use crate::release::{event, has_history, history};

/// Waits until the operator has nothing more to do with an instance: its objects are known to be as rendered.
async fn settled(sandbox: &Sandbox, name: &str, revision: u32) -> Result<()> {
    eventually(
        &format!("revision {revision} of {name} to be as rendered"),
        async || {
            let status = sandbox.api::<WaveInstance>().get(name).await?.status;
            let release = status
                .and_then(|status| status.release)
                .context("no release")?;
            ensure!(
                release.revision == revision
                    && release.status == "deployed"
                    && release.objects.is_some(),
                "it is {release:?}"
            );
            Ok(())
        },
    )
    .await
}

async fn patch(sandbox: &Sandbox, name: &str, patch: Value) -> Result<()> {
    sandbox
        .api::<Deployment>()
        .patch(name, &PatchParams::default(), &Patch::Strategic(patch))
        .await?;
    Ok(())
}

/// Replicas and image of an instance's Deployment.
async fn deployed(sandbox: &Sandbox, name: &str) -> Result<(Option<i32>, Option<String>)> {
    let deployment = sandbox.api::<Deployment>().get(name).await?;
    let spec = deployment.spec.context("a Deployment has a spec")?;
    let pod = spec.template.spec;
    let image = pod.and_then(|pod| pod.containers.into_iter().next()?.image);
    Ok((spec.replicas, image))
}

/// When nodes pull the image of an instance.
async fn pull_policy(sandbox: &Sandbox, name: &str) -> Result<String> {
    let deployment = sandbox.api::<Deployment>().get(name).await?;
    let spec = deployment.spec.context("a Deployment has a spec")?;
    let pod = spec.template.spec.context("a template has a spec")?;
    let container = pod.containers.into_iter().next().context("no container")?;
    container.image_pull_policy.context("no policy")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_by_hand_comes_back() -> Result<()> {
    let sandbox = Sandbox::create("drift").await?;
    let mut operator = sandbox.operator().start().await?;
    disk::publish(&sandbox).await?;
    let name = "sales";
    sandbox.apply(name, disk::instance()).await?;
    settled(&sandbox, name, 1).await?;
    let (replicas, image) = deployed(&sandbox, name).await?;

    // How many pods there are is the operator's own to say, without Helm.
    patch(&sandbox, name, json!({ "spec": { "replicas": 0 } })).await?;
    eventually("the pod to be back", async || {
        let now = deployed(&sandbox, name).await?;
        ensure!(now == (replicas, image.clone()), "it is {now:?}");
        Ok(())
    })
    .await?;
    patch(
        &sandbox,
        name,
        json!({ "spec": { "revisionHistoryLimit": 9 } }),
    )
    .await?;
    settled(&sandbox, name, 2).await?;
    let told = event(&sandbox, name, "Drifted").await?;
    ensure!(
        told.note.as_deref()
            == Some("the Deployment `sales` was changed: spec.revisionHistoryLimit"),
        "it tells of {:?}",
        told.note
    );
    let container = json!({ "name": "app", "image": "nothing/like:this" });
    let template = json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
    patch(&sandbox, name, template).await?;
    settled(&sandbox, name, 3).await?;
    ensure!(deployed(&sandbox, name).await? == (replicas, image.clone()));

    let gone = DeleteParams::default();
    sandbox.api::<Service>().delete(name, &gone).await?;
    settled(&sandbox, name, 4).await?;
    sandbox.api::<Service>().get(name).await?;
    let volume = format!("{name}-data");
    sandbox
        .api::<PersistentVolumeClaim>()
        .delete(&volume, &gone)
        .await?;
    settled(&sandbox, name, 5).await?;
    sandbox.api::<PersistentVolumeClaim>().get(&volume).await?;
    sandbox.api::<Deployment>().delete(name, &gone).await?;
    settled(&sandbox, name, 6).await?;
    ensure!(deployed(&sandbox, name).await? == (replicas, image));

    // What is only added is nobody's business: `kubectl rollout restart`. Nor is there anything to do after a restart.
    sandbox
        .kubectl(&["rollout", "restart", &format!("deployment/{name}")], None)
        .await?;
    operator.terminate().await?;
    operator.restart().await?;
    sandbox.apply("last", disk::instance()).await?;
    settled(&sandbox, "last", 1).await?;
    settled(&sandbox, name, 6).await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_torn_out_comes_back() -> Result<()> {
    let sandbox = Sandbox::create("torn-out").await?;
    let mut operator = sandbox.operator().start().await?;
    sandbox.publish("hello", "alice").await?;
    let name = "sales";
    sandbox
        .apply(name, instance("hello", "alice", Visibility::AllUsers))
        .await?;
    settled(&sandbox, name, 1).await?;
    let deployment = sandbox.api::<Deployment>().get(name).await?.uid();

    operator.terminate().await?;
    let instances = sandbox.api::<WaveInstance>();
    instances.delete(name, &DeleteParams::default()).await?;
    let torn_out = json!({ "metadata": { "finalizers": null } });
    instances
        .patch(name, &PatchParams::default(), &Patch::Merge(torn_out))
        .await?;
    ensure!(instances.get_opt(name).await?.is_none());
    operator.restart().await?;
    event(&sandbox, name, "Restored").await?;
    settled(&sandbox, name, 1).await?;
    let restored = instances.get(name).await?;
    ensure!(restored.spec.visibility == Visibility::AllUsers);
    ensure!(sandbox.api::<Deployment>().get(name).await?.uid() == deployment);
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_store_leaves_running_apps_alone_until_asked() -> Result<()> {
    let sandbox = Sandbox::create("rollout").await?;
    let mut operator = sandbox.operator().start().await?;
    sandbox.publish("hello", "alice").await?;
    for name in ["asked", "left"] {
        let spec = instance("hello", "alice", Visibility::Private);
        sandbox.apply(name, spec).await?;
        settled(&sandbox, name, 1).await?;
    }
    operator.terminate().await?;

    let flag = "--image-pull-policy=Never";
    let mut operator = sandbox.operator().flag(flag).start().await?;
    eventually("the app to be resolved anew", async || {
        let status = sandbox.api::<WaveApp>().get("hello").await?.status;
        let runtime = status.and_then(|status| status.runtime);
        let policy = runtime.map(|runtime| runtime.image_pull_policy);
        ensure!(policy.as_deref() == Some("Never"), "it has {policy:?}");
        Ok(())
    })
    .await?;
    let annotation = json!({ "metadata": { "annotations": { (REDEPLOY_ANNOTATION): "today" } } });
    sandbox
        .api::<WaveInstance>()
        .patch("asked", &PatchParams::default(), &Patch::Merge(annotation))
        .await?;
    settled(&sandbox, "asked", 2).await?;
    ensure!(pull_policy(&sandbox, "asked").await? == "Never");
    ensure!(
        pull_policy(&sandbox, "left").await? == "IfNotPresent",
        "it was not asked for"
    );
    // Sharing restarts nothing either.
    crate::release::share(&sandbox, "left", Visibility::Public).await?;
    settled(&sandbox, "left", 2).await?;
    ensure!(
        pull_policy(&sandbox, "left").await? == "IfNotPresent",
        "it was only shared"
    );
    operator.terminate().await?;

    let mut operator = sandbox
        .operator()
        .flag(flag)
        .flag("--rollout=Automatic")
        .start()
        .await?;
    settled(&sandbox, "left", 3).await?;
    ensure!(pull_policy(&sandbox, "left").await? == "Never");
    ensure!(history(&sandbox, "asked").await?.len() == 2);
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_what_the_limits_allow() -> Result<()> {
    let sandbox = Sandbox::create("limits").await?;
    let mut operator = sandbox
        .operator()
        .flag("--max-instances-per-user=1")
        .start()
        .await?;
    sandbox.publish("hello", "alice").await?;
    let spec = || instance("hello", "alice", Visibility::Private);
    sandbox.apply("first", spec()).await?;
    settled(&sandbox, "first", 1).await?;
    sandbox.apply("second", spec()).await?;
    let instances = sandbox.api::<WaveInstance>();
    let stalled = condition(&instances, "second", "Stalled", |it| it.status == "True").await?;
    ensure!(stalled.reason == "LimitExceeded", "it is {stalled:?}");
    ensure!(
        stalled
            .message
            .contains("user `alice` has 1 instances, and may have 1"),
        "it says {}",
        stalled.message
    );
    ensure!(history(&sandbox, "second").await?.is_empty());
    instances.delete("first", &DeleteParams::default()).await?;
    has_history(&sandbox, "second", "1 deployed").await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}
