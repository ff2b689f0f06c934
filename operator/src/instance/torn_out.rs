//! Instances that were torn out: somebody has removed the finalizer by force, and the release is still there. The instance is
//! made again from the release's values; who wants it gone deletes it, or uninstalls the release. Where somebody has begun
//! just that and died, it is brought to its end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crds::{WaveInstance, WaveInstanceSpec};
use kube::Resource;
use kube::api::{Api, PostParams};
use kube::runtime::reflector::ObjectRef;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::context::Context;
use super::record;
use crate::error::{Error, chain};
use crate::events::{FIELD_MANAGER, Tone};
use crate::helm;
use crate::helm::releases::{self, CHART, Release, Status};

/// How often they are looked for. What is missing twice in a row is missing.
const INTERVAL: Duration = Duration::from_secs(2);

/// How often what is remembered of names that are gone is dropped.
const SWEEP: Duration = Duration::from_mins(1);

/// Restores what was torn out, from when we lead until stopped.
pub(super) async fn run(ctx: Arc<Context>) {
    // By then everything is listed.
    ctx.leadership.begun().await;
    let mut pace = interval(INTERVAL);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut missing = HashSet::new();
    let mut swept = Instant::now();
    loop {
        pace.tick().await;
        if swept.elapsed() >= SWEEP {
            ctx.forget_gone();
            swept = Instant::now();
        }
        let known = &ctx.world.instances;
        let namespace = &ctx.settings.namespace;
        let without: HashSet<String> = ctx
            .world
            .releases
            .keys(|name| known.get(&ObjectRef::new(name).within(namespace)).is_none())
            .into_iter()
            .collect();
        for name in without.intersection(&missing) {
            let Some(release) = releases::latest(ctx.world.releases.get(name)) else {
                continue;
            };
            let is_old = ctx.is_old(name, &release);
            let Some(todo) = todo(release, is_old) else {
                continue;
            };
            let backs_off = ctx.errors.failed(name, 0);
            if backs_off.is_some_and(|failed| failed.retry_at > Instant::now()) {
                continue;
            }
            let done = match todo {
                Todo::Restore(shown, spec) => restore(&ctx, name, shown, spec).await,
                Todo::Uninstall => uninstall(&ctx, name).await,
            };
            match done {
                Ok(()) => {}
                Err(error) => {
                    let failed = ctx.errors.fail(name, 0, chain(&error));
                    warn!(
                        error = &error as &dyn std::error::Error,
                        instance.id = name,
                        "Could not restore instance {name}, or end its release, try {}",
                        failed.times
                    );
                }
            }
        }
        missing = without;
    }
}

/// What to do about a release that has no instance.
enum Todo {
    /// Make the instance again, if the release's status is still this one.
    Restore(Status, WaveInstanceSpec),
    /// Bring to its end what somebody has begun.
    Uninstall,
}

/// What to do about a release that has no instance, when it is of ours; `is_old` when nobody works on it any more.
fn todo(release: Release, is_old: bool) -> Option<Todo> {
    let content = release
        .content
        .ok()
        .filter(|content| content.chart == CHART)?;
    match release.status {
        Status::Deployed => {}
        Status::PendingInstall | Status::PendingUpgrade | Status::PendingRollback if is_old => {}
        Status::Uninstalling if is_old => return Some(Todo::Uninstall),
        // Somebody is at work, or has removed it on purpose. What has failed is no word on what is wanted.
        Status::Unknown
        | Status::Uninstalled
        | Status::Superseded
        | Status::Failed
        | Status::Uninstalling
        | Status::PendingInstall
        | Status::PendingUpgrade
        | Status::PendingRollback => return None,
    }
    Some(Todo::Restore(release.status, content.spec.ok()?))
}

async fn uninstall(ctx: &Context, name: &str) -> Result<(), Error> {
    let Some(_slot) = ctx.helm.slot_to_spare() else {
        return Ok(());
    };
    warn!(
        instance.id = name,
        "The release of {name} was left while it was being uninstalled; it is uninstalled"
    );
    Ok(helm::uninstall(&ctx.helm, name).await?)
}

async fn restore(
    ctx: &Context,
    name: &str,
    shown: Status,
    spec: WaveInstanceSpec,
) -> Result<(), Error> {
    let latest = record::latest(ctx, name).await?;
    if latest.map(|latest| latest.status) != Some(shown) {
        return Ok(());
    }
    let mut instance = WaveInstance::new(name, spec);
    // As Helm marks what is in its releases.
    instance.metadata.labels =
        Some([("app.kubernetes.io/managed-by".to_owned(), "Helm".to_owned())].into());
    instance.metadata.annotations = Some(
        [
            ("meta.helm.sh/release-name".to_owned(), name.to_owned()),
            (
                "meta.helm.sh/release-namespace".to_owned(),
                ctx.settings.namespace.clone(),
            ),
        ]
        .into(),
    );
    let api: Api<WaveInstance> = ctx.api();
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let made = match api.create(&params, &instance).await {
        Ok(made) => made,
        // It is there: the watch is late, or the instance cannot be read.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            ctx.errors.fail(name, 0, status.message.clone());
            return Ok(());
        }
        Err(source) => {
            return Err(Error::Kube {
                task: format!("create the WaveInstance `{name}`"),
                source,
            });
        }
    };
    warn!(
        instance.id = name,
        "Instance {name} was removed by force while its release is {shown}; it is restored"
    );
    ctx.events
        .tell(
            &made.object_ref(&()),
            Tone::Warning,
            "Restored",
            "Restore",
            &format!("the WaveInstance was removed by force while its Helm release is {shown}, and is made again from the release; to end it, delete it and leave its finalizer alone"),
        )
        .await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api;

    fn spec() -> WaveInstanceSpec {
        serde_json::from_value(json!({
            "app": { "name": "hello", "version": "1.0.0" }, "owner": "alice",
        }))
        .expect("a spec")
    }

    async fn restored(labels: Value) -> Vec<Value> {
        let (client, log) = fake_api::start(move |line| {
            let made = json!({
                "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveInstance",
                "metadata": { "name": "sales", "uid": "1" }, "spec": spec(),
            });
            let secrets = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": {}, "items": [{ "metadata": { "name": "x", "labels": labels } }],
            });
            match line.rsplit('/').next() {
                Some("secrets") => Some((200, secrets)),
                Some("waveinstances") => Some((201, made)),
                _ => None,
            }
        })
        .await;
        let ctx = Context::for_tests(client);
        restore(&ctx, "sales", Status::Deployed, spec())
            .await
            .expect("restored");
        let log = log.lock();
        log.iter()
            .filter(|asked| asked.line.starts_with("POST") && asked.line.ends_with("waveinstances"))
            .map(|asked| asked.body.clone())
            .collect()
    }

    #[tokio::test]
    async fn what_is_deployed_comes_back_as_helm_would_have_made_it() {
        let made = restored(json!({ "version": "3", "status": "deployed" })).await;
        assert_eq!(made.len(), 1);
        assert_eq!(made[0]["spec"]["owner"], "alice");
        let metadata = &made[0]["metadata"];
        assert_eq!(
            metadata["annotations"]["meta.helm.sh/release-name"],
            "sales"
        );
        assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "Helm");
    }

    #[tokio::test]
    async fn what_is_uninstalled_meanwhile_stays_away() {
        let made = restored(json!({ "version": "3", "status": "uninstalling" })).await;
        assert!(made.is_empty());
    }
}
