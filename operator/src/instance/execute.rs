//! Does what the plan says, after a last look at the API server itself: watches lag, and Helm is not undone.

use std::time::Duration;

use crds::{Runtime, WaveInstance};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Resource, ResourceExt};
use serde_json::json;
use tracing::{error, info, warn};

use super::context::Context;
use super::deletion;
use super::idle::{self, Scale, Use};
use super::leftovers;
use super::names;
use super::observe::{Seen, used};
use super::plan::{Action, Plan, Reason};
use super::reconcile::CALL;
use super::record;
use super::status;
use crate::app::secrets;
use crate::error::{Error, message};
use crate::events::{FIELD_MANAGER, Tone};
use crate::finalizer::{self, Change};
use crate::helm::releases::{self, Release, Status};
use crate::helm::{self, Resolved};

/// When to look again after something has changed that a watch will show.
pub(super) const SOON: Duration = Duration::from_millis(300);

/// How long Helm may work before it is told what it does. It seldom needs as long, and what it has done is told anyhow.
const UNTOLD: Duration = Duration::from_secs(5);

/// When to look again at what somebody else does.
const LATER: Duration = Duration::from_secs(5);

/// What became of a plan.
pub(super) enum Done {
    /// Nothing was to be done; look again after this time, if any.
    Rested(Option<Duration>),
    /// Something was done; a watch will show it, and this is when to look at the latest.
    Acted(Duration),
    /// Helm said no, and has been counted.
    Failed,
    /// The instance is gone.
    Finished,
}

/// Executes a plan.
pub(super) async fn execute(
    ctx: &Context,
    instance: &WaveInstance,
    seen: &Seen,
    plan: Plan,
) -> Result<Done, Error> {
    match plan.action {
        Action::Apply | Action::ApplyKept => apply(ctx, instance, seen, plan).await,
        Action::Scale(to) => scale(ctx, instance, seen, to).await,
        Action::DropPending { .. } => match seen.release() {
            Some(pending) => drop_pending(ctx, instance, pending, plan.reason).await,
            None => Ok(Done::Acted(SOON)),
        },
        Action::Delete => deletion::delete(ctx, instance).await,
        Action::Uninstall => uninstall(ctx, instance, seen, plan).await,
        Action::Finish => finish(ctx, instance, seen).await,
        Action::Wait => Ok(Done::Rested(Some(
            match (plan.reason, seen.failed.as_ref().or(seen.repaired.as_ref())) {
                (Reason::RunFailed | Reason::Drifted, Some(failed)) => {
                    failed.wait(tokio::time::Instant::now())
                }
                (Reason::CacheBehind | Reason::OwnOperation, _) => Duration::from_secs(1),
                _ => LATER,
            },
        ))),
        // Somebody may delete one, or a larger limit come.
        Action::Block if plan.reason == Reason::LimitExceeded => Ok(Done::Rested(Some(LATER))),
        Action::Verify => Ok(Done::Rested(Some(CALL))),
        Action::Block | Action::Nothing => Ok(Done::Rested(None)),
    }
}

async fn apply(
    ctx: &Context,
    instance: &WaveInstance,
    seen: &Seen,
    plan: Plan,
) -> Result<Done, Error> {
    let name = instance.name_any();
    let Some(latest) = last_look(ctx, instance, seen).await? else {
        return Ok(Done::Acted(SOON));
    };
    let resolved = match (plan.action, seen.app.as_ref()) {
        (Action::ApplyKept, _) => Resolved::Kept,
        (_, Some(app)) => match &app.runtime {
            Some(runtime) => {
                let granted = secrets::authorize_again(&ctx.api(), runtime, &app.owner).await;
                let refused = granted.err();
                if let Some(error) = refused {
                    let verdict = status::secret_refused(&message(&error, error.hint()));
                    ctx.publish(instance, seen, &verdict).await?;
                    // The controller of apps sees the same, and resolves the app anew.
                    return Ok(Done::Acted(LATER));
                }
                if let Some(object) = names::taken(ctx, &name, runtime).await? {
                    ctx.publish(instance, seen, &status::name_taken(&object))
                        .await?;
                    return Ok(Done::Acted(LATER));
                }
                Resolved::Fresh(Box::new(Runtime {
                    redeploy: seen.observed.redeploy.clone(),
                    ..Runtime::clone(runtime)
                }))
            }
            None => return Ok(Done::Acted(SOON)),
        },
        (_, None) => return Ok(Done::Acted(SOON)),
    };

    if plan.reason == Reason::Outdated && !takes_turn(ctx, instance) {
        return Ok(Done::Acted(LATER));
    }
    let revision = latest + 1;
    ctx.memos.note(&name, |memo| memo.ran = true);
    let run = helm::apply(&ctx.helm, &name, revision, &instance.spec, &resolved);
    let result = told_when_long(ctx, instance, seen, plan, run).await;
    let generation = instance.metadata.generation.unwrap_or_default();
    match result {
        Ok(revision) => {
            ctx.memos.note(&name, |memo| {
                memo.made = Some((revision, tokio::time::Instant::now()));
                memo.compared = None;
            });
            ctx.runs.clear(&name);
            if let Some(drift) = seen
                .drift
                .clone()
                .filter(|_| plan.reason == Reason::Drifted)
            {
                ctx.repairs.fail(&name, generation, drift);
            }
            let (reason, verb) = if plan.reason == Reason::ReleaseAbsent {
                ("Installed", "installed")
            } else {
                ("Upgraded", "upgraded")
            };
            info!(
                instance.id = name,
                release.revision = revision,
                plan.reason = %plan.reason,
                "Instance {name} is {verb} at revision {revision}"
            );
            let note = format!(
                "Helm {verb} the release: revision {revision} ({})",
                plan.reason
            );
            let reference = instance.object_ref(&());
            ctx.events
                .tell(&reference, Tone::Normal, reason, "Apply", &note)
                .await;
            Ok(Done::Acted(Duration::from_secs(1)))
        }
        Err(overtaken) if ctx.is_outdated(instance) => {
            tell_overtaken(ctx, instance, &overtaken).await;
            Ok(Done::Acted(SOON))
        }
        Err(refusal) if refusal.is_name_in_use() => {
            info!(
                instance.id = name,
                "Instance {name} has a release that the watch has not shown yet"
            );
            Ok(Done::Acted(SOON))
        }
        Err(failure) => {
            let words = message(&failure, failure.hint());
            let failed = ctx.runs.fail(&name, generation, words);
            error!(
                error = &failure as &dyn std::error::Error,
                instance.id = name,
                helm.failures = failed.times,
                "Could not apply instance {name}"
            );
            Ok(Done::Failed)
        }
    }
}

/// Waits for a run of Helm, and tells what it does when that takes long. A write that fails ends no run.
async fn told_when_long<T>(
    ctx: &Context,
    instance: &WaveInstance,
    seen: &Seen,
    plan: Plan,
    run: impl Future<Output = Result<T, helm::Error>>,
) -> Result<T, helm::Error> {
    let mut run = std::pin::pin!(run);
    if let Ok(done) = tokio::time::timeout(UNTOLD, &mut run).await {
        return done;
    }
    let (told, done) = tokio::join!(ctx.publish_plan(instance, seen, plan), run);
    if let Err(failure) = told {
        warn!(
            error = &failure as &dyn std::error::Error,
            instance.id = instance.name_any(),
            "Could not tell what Helm does"
        );
    }
    done
}

/// Sets the number of pods. Helm is not asked: the chart leaves the number open, so that no revision has to be made, by which
/// GitOps tools that look after the release would see that somebody else was there.
async fn scale(
    ctx: &Context,
    instance: &WaveInstance,
    seen: &Seen,
    to: Scale,
) -> Result<Done, Error> {
    let name = instance.name_any();
    if to == Scale::Sleep
        && let Some(left) = stays_up(ctx, instance, seen).await?
    {
        return Ok(Done::Rested(Some(left)));
    }
    let api: Api<Deployment> = ctx.api();
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = json!({ "spec": { "replicas": to.replicas() } });
    match api.patch(&name, &params, &Patch::Merge(patch)).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Done::Acted(SOON)),
        Err(source) => {
            return Err(Error::Kube {
                task: format!("scale the Deployment `{name}`"),
                source,
            });
        }
    }
    info!(
        instance.id = name,
        "Instance {name}: {}",
        match to {
            Scale::Suspend => "its pod ends, since it is suspended",
            Scale::Sleep => "its pod ends, since nobody uses it",
            Scale::Wake => "its pod starts, since it is wanted",
        }
    );
    if to == Scale::Wake {
        ctx.memos.forget_silence(&name);
        let plan = Plan {
            action: Action::Scale(to),
            reason: Reason::Wanted,
        };
        ctx.publish_plan(instance, seen, plan).await?;
    }
    Ok(Done::Acted(SOON))
}

/// For how long an instance that seems idle stays up, if it does. The API server itself has to say so twice, with no word of any
/// use in between: routers tell of it with a delay, more so after the API server was away.
async fn stays_up(
    ctx: &Context,
    instance: &WaveInstance,
    seen: &Seen,
) -> Result<Option<Duration>, Error> {
    let name = instance.name_any();
    let Some(timeout) = seen.app.as_ref().and_then(|app| app.idle_timeout) else {
        return Ok(Some(LATER));
    };
    let api: Api<WaveInstance> = ctx.api();
    let latest = match api.get_opt(&name).await {
        Ok(latest) => latest,
        Err(source) => {
            ctx.memos.forget_silence(&name);
            return Err(Error::Kube {
                task: format!("read the WaveInstance `{name}`"),
                source,
            });
        }
    };
    let Some(latest) = latest.filter(|latest| latest.uid() == instance.uid()) else {
        return Ok(Some(SOON));
    };
    let status = latest.status.as_ref();
    let last = status.and_then(|status| status.last_activity.as_ref());
    match (used(&latest, seen.app.as_ref()), last) {
        (Use::Idle, Some(last)) => {
            let patience = idle::patience(timeout);
            let left = patience.saturating_sub(ctx.memos.silence(&name, last.0));
            Ok((!left.is_zero()).then_some(left))
        }
        (Use::For(left), _) => Ok(Some(left)),
        (Use::Idle | Use::Uncounted, _) => Ok(Some(LATER)),
    }
}

/// Tells that an edit came in while Helm ran, so that the API server refused what the run had begun with.
async fn tell_overtaken(ctx: &Context, instance: &WaveInstance, refusal: &helm::Error) {
    let name = instance.name_any();
    info!(
        error = refusal as &dyn std::error::Error,
        instance.id = name,
        "Instance {name} was edited while Helm ran; the next run carries the edit"
    );
    ctx.events
        .tell(
            &instance.object_ref(&()),
            Tone::Normal,
            "Overtaken",
            "Apply",
            "the instance was edited while Helm ran; the edit stays, and the next run carries it",
        )
        .await;
}

/// Whether an instance may be upgraded by the rollout that goes on, beside others.
fn takes_turn(ctx: &Context, instance: &WaveInstance) -> bool {
    let ready = instance.status.as_ref().and_then(status::ready);
    let was_ready = ready.is_some_and(|ready| ready.status == "True");
    let now = tokio::time::Instant::now();
    ctx.settings
        .rollout
        .start(&instance.name_any(), was_ready, now)
}

async fn drop_pending(
    ctx: &Context,
    instance: &WaveInstance,
    pending: &Release,
    reason: Reason,
) -> Result<Done, Error> {
    let name = instance.name_any();
    let revision = pending.revision;
    let secret_name = releases::secret_name(&name, revision);
    let params = DeleteParams {
        // Nothing but what was seen: somebody may have put another one in its place in this very moment.
        preconditions: Some(Preconditions {
            resource_version: Some(pending.resource_version.clone()),
            uid: None,
        }),
        ..DeleteParams::default()
    };
    let secrets: Api<Secret> = ctx.api();
    match secrets.delete(&secret_name, &params).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
            return Ok(Done::Acted(SOON));
        }
        Err(source) => {
            return Err(Error::Kube {
                task: format!("delete the Secret `{secret_name}`"),
                source,
            });
        }
    }
    warn!(
        instance.id = name,
        release.revision = revision,
        plan.reason = %reason,
        "Revision {revision} of instance {name} was left in the middle; its record is dropped"
    );
    let note = format!(
        "revision {revision} was left pending by a run that is over; its record is dropped ({reason})"
    );
    ctx.events
        .tell(
            &instance.object_ref(&()),
            Tone::Warning,
            "Repaired",
            "DropPending",
            &note,
        )
        .await;
    Ok(Done::Acted(SOON))
}

async fn uninstall(
    ctx: &Context,
    instance: &WaveInstance,
    seen: &Seen,
    plan: Plan,
) -> Result<Done, Error> {
    let name = instance.name_any();
    if confirm(ctx, &name, seen).await?.is_none() || !marks_uninstall(ctx, &name, seen).await? {
        return Ok(Done::Acted(SOON));
    }
    ctx.memos.note(&name, |memo| memo.ran = true);
    let run = helm::uninstall(&ctx.helm, &name);
    match told_when_long(ctx, instance, seen, plan, run).await {
        Ok(()) => {
            info!(instance.id = name, "Instance {name} is uninstalled");
            if plan.reason == Reason::Deleted {
                ctx.events
                    .tell(
                        &instance.object_ref(&()),
                        Tone::Normal,
                        "Uninstalled",
                        "Uninstall",
                        "Helm uninstalled the release",
                    )
                    .await;
                return drop_finalizer(ctx, instance).await;
            }
            Ok(Done::Acted(SOON))
        }
        Err(failure) => {
            let generation = instance.metadata.generation.unwrap_or_default();
            let words = message(&failure, failure.hint());
            ctx.runs.fail(&name, generation, words);
            error!(
                error = &failure as &dyn std::error::Error,
                instance.id = name,
                "Could not uninstall instance {name}"
            );
            Ok(Done::Failed)
        }
    }
}

/// Marks in Helm's own record that we are about to uninstall the release, so that the next operator knows it when we die. False
/// when the record is another one now.
async fn marks_uninstall(ctx: &Context, name: &str, seen: &Seen) -> Result<bool, Error> {
    let Some(release) = seen.release() else {
        return Ok(false);
    };
    let secret_name = releases::secret_name(name, release.revision);
    let mark = Patch::Merge(releases::mark_uninstall(release));
    let secrets: Api<Secret> = ctx.api();
    match secrets
        .patch_metadata(&secret_name, &PatchParams::default(), &mark)
        .await
    {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(false),
        Err(source) => Err(Error::Kube {
            task: format!("mark the Secret `{secret_name}`"),
            source,
        }),
    }
}

async fn finish(ctx: &Context, instance: &WaveInstance, seen: &Seen) -> Result<Done, Error> {
    let name = instance.name_any();
    let Some(latest) = confirm(ctx, &name, seen).await? else {
        return Ok(Done::Acted(SOON));
    };
    match (seen.release(), latest) {
        // Uninstalled, or not ours.
        (Some(_), _) => {}
        (None, 0) => leftovers::delete(ctx, &name).await?,
        // Only superseded revisions: the next one died at its very end, and its record was dropped.
        (None, _) => {
            let _slot = ctx.helm.slot().await;
            helm::uninstall(&ctx.helm, &name).await?;
        }
    }
    drop_finalizer(ctx, instance).await
}

async fn drop_finalizer(ctx: &Context, instance: &WaveInstance) -> Result<Done, Error> {
    let api: Api<WaveInstance> = ctx.api();
    // Helm and our own status have changed it meanwhile.
    let name = instance.name_any();
    let latest = api.get_opt(&name).await.map_err(|source| Error::Kube {
        task: format!("read the WaveInstance `{name}`"),
        source,
    })?;
    if let Some(latest) = latest.filter(|latest| latest.uid() == instance.uid())
        && finalizer::remove(&api, &latest, crds::FINALIZER).await? == Change::Overtaken
    {
        return Ok(Done::Acted(SOON));
    }
    ctx.forget(&name);
    Ok(Done::Finished)
}

/// Confirms before a run of Helm what the watch has shown. The API server need not be asked where nobody has ever heard of a
/// release: Helm itself asks as it begins, and installs nothing where there is a record. The second run asks.
async fn last_look(
    ctx: &Context,
    instance: &WaveInstance,
    seen: &Seen,
) -> Result<Option<u32>, Error> {
    let name = instance.name_any();
    let told = instance.status.as_ref().and_then(|it| it.release.as_ref());
    if seen.release().is_none() && told.is_none() && !ctx.memos.get(&name).ran {
        return Ok(Some(0));
    }
    confirm(ctx, &name, seen).await
}

/// Asks the API server whether the release's latest record is still the very one that the watch has shown. Answers the
/// highest revision, or nothing when it is another.
async fn confirm(ctx: &Context, name: &str, seen: &Seen) -> Result<Option<u32>, Error> {
    let latest = record::latest(ctx, name).await?;
    let same = match (&latest, seen.release()) {
        (None, shown) => shown.is_none(),
        // The watch leaves superseded revisions out.
        (Some(latest), shown) if latest.status == Status::Superseded => shown.is_none(),
        (Some(latest), Some(shown)) => {
            latest.resource_version.as_ref() == Some(&shown.resource_version)
        }
        (Some(_), None) => false,
    };
    Ok(same.then(|| latest.map_or(0, |latest| latest.revision)))
}

#[cfg(test)]
mod tests {
    use crds::{AppRef, Visibility, WaveInstanceSpec};
    use crds::{InstanceRelease, WaveInstanceStatus};
    use futures::StreamExt;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use kube::runtime::watcher::Event;
    use serde_json::Value;
    use tokio::time::Instant;

    use super::*;
    use crate::instance::observe::observe;
    use crate::instance::plan::plan;
    use crate::{fake_api, index};

    fn sales() -> WaveInstance {
        let spec = WaveInstanceSpec {
            app: AppRef::default(),
            owner: "alice".to_owned(),
            visibility: Visibility::Private,
            suspended: false,
            size: None,
        };
        let mut instance = WaveInstance::new("sales", spec);
        instance.metadata.uid = Some("1".to_owned());
        instance.metadata.finalizers = Some(vec![crds::FINALIZER.to_owned()]);
        instance
    }

    fn deleted() -> WaveInstance {
        let mut instance = sales();
        instance.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        instance
    }

    #[tokio::test]
    async fn a_watch_that_lags_behind_our_own_run_shows_no_dead_one() {
        let (client, _log) = fake_api::start(|_| None).await;
        let ctx = Context::for_tests(client);
        let labels = json!({
            "owner": "helm", "name": "sales", "version": "1", "status": "pending-install",
            "wavestore.io/revision": "1",
        });
        let record =
            json!({ "metadata": { "name": "sh.helm.release.v1.sales.v1", "labels": labels } });
        let record = serde_json::from_value(record).expect("a Secret");
        let events = futures::stream::iter([Ok(Event::Apply(record))]);
        let keep = |secret| {
            let mut kept = releases::keep(secret)?;
            kept.value.content = Ok(releases::Content {
                chart: releases::CHART.to_owned(),
                chart_version: String::new(),
                spec: Ok(sales().spec),
                resolved: None,
                description: String::new(),
            });
            Some(kept)
        };
        let fill = index::fill(ctx.world.releases.clone(), events, keep);
        assert_eq!(fill.count().await, 1);
        ctx.memos.note("sales", |memo| memo.ran = true);
        let planned = || {
            let plan = plan(&observe(&ctx, &sales()).observed);
            (plan.action, plan.reason)
        };
        let drop = Action::DropPending { revision: 1 };
        assert_eq!(planned(), (drop, Reason::StalePending));
        let made = Some((1, Instant::now()));
        ctx.memos.note("sales", |memo| memo.made = made);
        assert_eq!(planned(), (Action::Wait, Reason::CacheBehind));
    }

    #[tokio::test]
    async fn only_of_a_release_that_nobody_has_heard_of_nothing_is_asked() {
        let (client, log) = fake_api::start(|_| Some(list(&[]))).await;
        let ctx = Context::for_tests(client);
        let is_asked = async |instance: &WaveInstance| {
            let before = log.lock().len();
            let seen = observe(&ctx, instance);
            let latest = last_look(&ctx, instance, &seen).await.expect("an answer");
            assert_eq!(latest, Some(0));
            log.lock().len() > before
        };
        assert!(!is_asked(&sales()).await);
        let mut told = sales();
        told.status = Some(WaveInstanceStatus {
            release: Some(InstanceRelease {
                revision: 1,
                status: "deployed".to_owned(),
                objects: None,
            }),
            ..WaveInstanceStatus::default()
        });
        assert!(is_asked(&told).await, "the status tells of one");
        ctx.memos.note("sales", |memo| memo.ran = true);
        assert!(is_asked(&sales()).await, "Helm ran before");
    }

    fn list(names: &[&str]) -> (u16, Value) {
        let items: Vec<Value> = names
            .iter()
            .map(|name| json!({"metadata": {"name": name, "uid": name}}))
            .collect();
        let list = json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": {}, "items": items,
        });
        (200, list)
    }

    #[tokio::test]
    async fn what_a_dead_run_left_goes_with_the_instance() {
        let instance = deleted();
        let shown = serde_json::to_value(&instance).expect("JSON");
        let (client, log) = fake_api::start(move |line| match line.rsplit('/').next() {
            Some("deployments") => Some(list(&["sales"])),
            Some("persistentvolumeclaims") => Some(list(&["sales-data", "sales-resources"])),
            Some("secrets" | "services" | "configmaps") => Some(list(&[])),
            Some("sales") if line.contains("waveinstances") => Some((200, shown.clone())),
            _ if line.starts_with("DELETE") => Some((
                200,
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}),
            )),
            _ => None,
        })
        .await;
        let ctx = Context::for_tests(client);
        let seen = observe(&ctx, &instance);
        let plan = plan(&seen.observed);
        assert_eq!(
            (plan.action, plan.reason),
            (Action::Finish, Reason::ReleaseGone)
        );
        let done = execute(&ctx, &instance, &seen, plan).await.expect("done");
        assert!(matches!(done, Done::Finished));
        let changes: Vec<String> = log
            .lock()
            .iter()
            .filter(|asked| !asked.line.starts_with("GET"))
            .map(|asked| asked.line.replace("/namespaces/wavestore", ""))
            .collect();
        assert_eq!(
            changes,
            [
                "DELETE /apis/apps/v1/deployments/sales",
                "DELETE /api/v1/persistentvolumeclaims/sales-data",
                "DELETE /api/v1/persistentvolumeclaims/sales-resources",
                "PATCH /apis/wavestore.io/v1alpha1/waveinstances/sales",
            ]
        );
        assert_eq!(
            log.lock()
                .iter()
                .find_map(|asked| asked.body.pointer("/preconditions/uid").cloned()),
            Some(json!("sales"))
        );
    }
}
