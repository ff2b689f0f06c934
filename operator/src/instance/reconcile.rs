//! One reconciliation: observe, plan, execute, publish.

use std::sync::Arc;
use std::time::Duration;

use crds::{FINALIZER, WaveInstance};
use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{applier, watcher};
use kube::{Resource, ResourceExt};
use tokio::time::Instant;
use tracing::{Instrument, Span, debug, error_span, field, info, warn};

use super::context::Context;
use super::deletion::{self, Deletion};
use super::drift;
use super::execute::{Done, execute};
use super::idle::Use;
use super::judge::{State, judge};
use super::launcher::Answer;
use super::memos::Compared;
use super::observe::{Seen, observe};
use super::plan::{self, Plan, Reason};
use super::pods;
use super::status;
use super::torn_out;
use super::workload::{self, ContainerSeen, DeploymentSeen};
use crate::attempts::{delay, random};
use crate::error::{Error, message};
use crate::events::Tone;
use crate::finalizer;
use crate::limits;
use crate::metrics::{Controller, Reconciliation};
use crate::watches::Queue;

/// How often a launcher is asked for its phase until its app is ready.
const PHASE_INTERVAL: Duration = Duration::from_millis(1500);

/// How long an instance waits at most to be called for its comparison, should a call get lost.
pub(super) const CALL: Duration = Duration::from_mins(5);

/// How often an instance looks whether it is its turn in a rollout.
const TURN_INTERVAL: Duration = Duration::from_secs(5);

/// Reconciles instances from when we lead until told to stop; then lets what runs come to its end.
pub(crate) async fn run(ctx: Arc<Context>, queue: Queue<WaveInstance>) {
    let config = controller::Config::default().concurrency(ctx.settings.concurrency);
    let store = ctx.world.instances.clone();
    let stop = ctx.stop.clone();
    let restored = stop.run_until_cancelled(torn_out::run(ctx.clone()));
    let full = stop.run_until_cancelled(tell_full_users(ctx.clone()));
    let rest = stop.run_until_cancelled(compare_when_helm_rests(ctx.clone()));
    let namespace = ctx.settings.namespace.clone();
    let compared = ctx.clone();
    let called = stream::poll_fn(move |cx| compared.comparisons.poll_called(cx).map(Some))
        .map(move |name| Ok(ObjectRef::new(&name).within(&namespace)));
    let queue = stream::select(queue, called).take_until(ctx.stop.clone().cancelled_owned());
    let reconciled = applier(
        |instance, ctx| when_woken(reconcile(instance, ctx).boxed()),
        |instance, error, ctx| error_policy(&instance, error, &ctx),
        ctx.clone(),
        store,
        queue,
        config,
    )
    .for_each(|result| {
        if let Err(error) = result {
            report(&ctx, &error);
        }
        futures::future::ready(())
    });
    tokio::join!(restored, full, rest, reconciled);
}

/// Polls a future only when it was woken itself. kube polls every reconciliation whenever one of them is woken, and hundreds may
/// wait for Helm.
fn when_woken<T: 'static>(future: BoxFuture<'static, T>) -> impl Future<Output = T> + Unpin {
    let one = FuturesUnordered::from_iter([future]);
    one.into_future()
        .map(|(output, _)| output.expect("there is one"))
}

/// Calls those who wait to compare, whenever a Helm has ended and leaves room.
async fn compare_when_helm_rests(ctx: Arc<Context>) {
    loop {
        ctx.helm.freed().await;
        if ctx.helm.rests() {
            ctx.comparisons.call();
        }
    }
}

/// Tells the API server who has as many instances as a user may have, from when we lead.
async fn tell_full_users(ctx: Arc<Context>) {
    let Some(limit) = ctx.settings.limits.instances_per_user else {
        return;
    };
    ctx.leadership.begun().await;
    limits::publish_full_users(ctx.api(), limit, || ctx.world.instances.state()).await;
}

fn report(ctx: &Context, error: &controller::Error<Error, watcher::Error>) {
    match error {
        // Told by `error_policy`.
        controller::Error::ReconcilerFailed(..) => {}
        controller::Error::ObjectNotFound(object) => ctx.forget(&object.name),
        controller::Error::QueueError(_) | controller::Error::RunnerError(_) => {
            warn!(
                error = error as &dyn std::error::Error,
                "A watch was interrupted"
            );
        }
    }
}

fn error_policy(instance: &WaveInstance, error: &Error, ctx: &Context) -> Action {
    if matches!(error, Error::Stopping) {
        return Action::await_change();
    }
    let name = instance.name_any();
    let generation = instance.metadata.generation.unwrap_or_default();
    let failed = ctx
        .errors
        .fail(&name, generation, message(error, error.hint()));
    warn!(
        error = error as &dyn std::error::Error,
        instance.id = name,
        "Could not reconcile instance {name}, try {}",
        failed.times
    );
    let wait = failed.wait(Instant::now());
    // Who fails in something else is deleted in time; who fails in that waits, too.
    let left = match Deletion::of(instance, Timestamp::now()) {
        Deletion::In(left) => Some(left),
        Deletion::Due | Deletion::Unasked | Deletion::Unclear(_) => None,
    };
    Action::requeue(left.map_or(wait, |left| left.min(wait)))
}

/// One reconciliation, measured; every line that it logs names the instance.
async fn reconcile(instance: Arc<WaveInstance>, ctx: Arc<Context>) -> Result<Action, Error> {
    // Of the highest level, or a filter for warnings would take the instance from them.
    let span = error_span!(
        "reconcile",
        instance.id = instance.name_any(),
        generation = instance.metadata.generation,
        release.revision = field::Empty,
    );
    let mut measured = ctx.metrics.reconcile(Controller::Instance);
    let result = step(instance.clone(), ctx.clone(), &mut measured)
        .instrument(span)
        .await;
    measured.end(&result);
    // Whatever else it waits for.
    let deletion = Deletion::of(&instance, Timestamp::now()).wait();
    let wait = result?.into_iter().chain(deletion).min();
    Ok(wait.map_or_else(Action::await_change, Action::requeue))
}

/// Does the next step; answers when to look again, if not when something changes.
async fn step(
    instance: Arc<WaveInstance>,
    ctx: Arc<Context>,
    measured: &mut Reconciliation<'_>,
) -> Result<Option<Duration>, Error> {
    tokio::select! {
        () = ctx.world.synced() => {}
        () = ctx.stop.cancelled() => return Err(Error::Stopping),
    }
    let name = instance.name_any();
    let api: Api<WaveInstance> = ctx.api();
    let deleting = instance.metadata.deletion_timestamp.is_some();
    if !finalizer::has(&*instance, FINALIZER) {
        if deleting {
            return Ok(None);
        }
        let added = finalizer::add(&api, &*instance, FINALIZER).await?;
        return Ok(added.wait());
    }

    let mut instance = instance;
    let mut is_compared = false;
    let mut slot = None;
    let (seen, plan) = loop {
        let seen = observe(&ctx, &instance);
        let plan = plan::plan(&seen.observed);
        if plan.action == plan::Action::Verify {
            if is_compared {
                // They change while we look.
                return Ok(Some(PHASE_INTERVAL));
            }
            if plan.reason.can_wait() {
                // Before the look, or Helm could come to rest in between, and nobody would call.
                ctx.comparisons.wait(&name);
                // What somebody waits for comes first.
                if !ctx.helm.rests() {
                    break (seen, plan);
                }
            }
            // After an upgrade all of them are to be compared.
            let Some(_turn) = ctx.comparisons.turn(&name) else {
                return Ok(Some(CALL));
            };
            compare(&ctx, &instance, &seen).await?;
            is_compared = true;
            continue;
        }
        if slot.is_some() || !needs_helm(plan) {
            break (seen, plan);
        }
        // What was decided before the wait may be wrong after it.
        slot = if plan.reason.can_wait() {
            let spare = ctx.helm.slot_to_spare();
            if spare.is_none() {
                ctx.metrics.postponed(&name, true);
                return Ok(Some(delay(2, random())));
            }
            spare
        } else {
            Some(tokio::select! {
                slot = ctx.helm.slot() => slot,
                () = ctx.stop.cancelled() => return Err(Error::Stopping),
            })
        };
        match ctx.latest(&instance) {
            Some(latest) => instance = latest,
            None => return Ok(None),
        }
    };
    if let Some(release) = seen.release() {
        Span::current().record("release.revision", release.revision);
    }
    debug!(plan.action = ?plan.action, plan.reason = %plan.reason, "Planned");
    ctx.metrics.postponed(&name, false);
    ctx.metrics.planned(plan);
    deletion::tell_unclear(&ctx, &instance, &seen.deletion).await;
    let done = execute(&ctx, &instance, &seen, plan).await?;
    drop(slot);
    let wait = match done {
        Done::Acted(after) => Some(after),
        Done::Finished => None,
        Done::Failed => {
            measured.helm_failed();
            ctx.settings.rollout.failed(&name);
            let seen = observe(&ctx, &instance);
            let verdict = status::run_failed(&seen);
            ctx.publish(&instance, &seen, &verdict).await?;
            seen.failed
                .as_ref()
                .map(|failed| failed.wait(Instant::now()))
        }
        Done::Rested(after) => {
            let told = publish(&ctx, &instance, seen, plan).await?;
            after.into_iter().chain(told).min()
        }
    };
    ctx.errors.clear(&name);
    Ok(wait)
}

/// Compares the objects with what the release has rendered, and remembers what is different.
async fn compare(ctx: &Context, instance: &WaveInstance, seen: &Seen) -> Result<(), Error> {
    let (Some(release), Some(fingerprint)) = (seen.release(), &seen.fingerprint) else {
        return Ok(());
    };
    let name = instance.name_any();
    let drift = drift::find(ctx, &name, release.revision).await?;
    if let Some(drift) = &drift {
        info!(
            instance.id = name,
            release.revision = release.revision,
            "Instance {name} is not as its release has rendered it: {drift}"
        );
        let reference = instance.object_ref(&());
        ctx.events
            .tell(&reference, Tone::Warning, "Drifted", "Compare", drift)
            .await;
    }
    let compared = Compared {
        fingerprint: fingerprint.clone(),
        drift,
    };
    ctx.memos.note(&name, |memo| memo.compared = Some(compared));
    Ok(())
}

/// Tells how an instance is with which nothing had to be done; answers when to look again.
async fn publish(
    ctx: &Context,
    instance: &WaveInstance,
    mut seen: Seen,
    plan: Plan,
) -> Result<Option<Duration>, Error> {
    if !is_judged(plan, &seen) {
        ctx.publish_plan(instance, &seen, plan).await?;
        return Ok(None);
    }
    let answer = ask_launcher(ctx, &seen).await;
    let mut verdict = judge(seen.rest(), seen.deployment, &seen.pods, answer.as_ref());
    let name = instance.name_any();
    let rollout = &ctx.settings.rollout;
    if verdict.state != State::Reconciling && (is_news(instance) || rollout.waits_for(&name)) {
        seen.deployment = deployment_now(ctx, &name).await?;
        verdict = judge(seen.rest(), seen.deployment, &seen.pods, answer.as_ref());
    }
    match verdict.state {
        State::Ready => rollout.done(&name),
        State::Stalled => rollout.failed(&name),
        State::Reconciling => {}
    }
    ctx.publish(instance, &seen, &verdict).await?;
    // What they say is told now.
    pods::clear(ctx, &name, &seen.pods, seen.rest().is_some()).await?;
    if is_starting(&seen) {
        return Ok(Some(PHASE_INTERVAL));
    }
    let turn = seen.waits_for_turn.then_some(TURN_INTERVAL);
    let idle = match seen.used {
        // Spread, since many may have been used last at one time: before all routers were away.
        Use::For(left) if !seen.observed.spec.suspended => Some(left + delay(1, random())),
        Use::For(_) | Use::Idle | Use::Uncounted => None,
    };
    Ok(turn.into_iter().chain(idle).min())
}

/// Whether a final word would be the first on this spec. The watch of releases may be ahead of the one of Deployments, and
/// the word be on the old pod.
fn is_news(instance: &WaveInstance) -> bool {
    let told = instance
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    told != instance.metadata.generation
}

/// The Deployment as the API server has it.
async fn deployment_now(ctx: &Context, name: &str) -> Result<Option<DeploymentSeen>, Error> {
    let api: Api<Deployment> = ctx.api();
    let found = api.get_opt(name).await.map_err(|source| Error::Kube {
        task: format!("read the Deployment `{name}`"),
        source,
    })?;
    Ok(found
        .and_then(workload::keep_deployment)
        .map(|kept| kept.value))
}

/// Whether the workload says how the instance is. It does so, too, while somebody else's `helm --wait` waits for
/// the instance to be ready.
fn is_judged(plan: Plan, seen: &Seen) -> bool {
    let observed = &seen.observed;
    let waited_for = plan.reason == Reason::ForeignOperation
        && !observed.deleting
        && observed.in_sync()
        && seen.deployment.is_some();
    let runs_on = matches!(
        plan.action,
        plan::Action::Nothing | plan::Action::Verify | plan::Action::Scale(_)
    );
    runs_on || waited_for
}

fn needs_helm(plan: Plan) -> bool {
    match plan.action {
        plan::Action::Apply | plan::Action::ApplyKept | plan::Action::Uninstall => true,
        plan::Action::Verify
        | plan::Action::Scale(_)
        | plan::Action::DropPending { .. }
        | plan::Action::Delete
        | plan::Action::Finish
        | plan::Action::Wait
        | plan::Action::Block
        | plan::Action::Nothing => false,
    }
}

/// A container runs whose app is not ready: only its launcher knows how far it is.
fn is_starting(seen: &Seen) -> bool {
    let ready = seen.deployment.is_some_and(|deployment| deployment.ready);
    let running = seen
        .pods
        .current
        .as_ref()
        .is_some_and(|pod| !pod.deleting && pod.container == ContainerSeen::Running);
    !ready && running
}

async fn ask_launcher(ctx: &Context, seen: &Seen) -> Option<Answer> {
    if !is_starting(seen) {
        return None;
    }
    let address = seen.pods.current.as_ref()?.launcher.as_ref()?;
    ctx.launchers.ask(address).await
}

#[cfg(test)]
mod tests {
    use crds::{AppRef, Visibility, WaveInstanceSpec, WaveInstanceStatus};
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::{fake_api, index};

    #[tokio::test]
    async fn a_new_spec_is_not_ready_by_the_old_pod() {
        // Generation 2 of the Deployment has the new pod's template.
        let deployment = |generation: i64, observed: i64| {
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {
                    "name": "sales", "generation": generation,
                    "labels": {crds::INSTANCE_LABEL: "sales"},
                },
                "status": {
                    "observedGeneration": observed, "replicas": 1, "updatedReplicas": 1,
                    "readyReplicas": 1,
                },
            })
        };
        let cases = [
            ("the watch is late", deployment(2, 1), "False"),
            ("the new pod is ready", deployment(2, 2), "True"),
        ];
        for (name, now, expected) in cases {
            let (client, log) = fake_api::start(move |line| match line.split(' ').next() {
                Some("GET") if line.contains("/deployments/") => Some((200, now.clone())),
                _ => Some(fake_api::refusal(404)),
            })
            .await;
            let ctx = Context::for_tests(client);
            let shown = serde_json::from_value(deployment(1, 1)).expect("a Deployment");
            let events = futures::stream::iter([Ok(Event::Apply(shown))]);
            let fill = index::fill(
                ctx.world.deployments.clone(),
                events,
                workload::keep_deployment,
            );
            assert_eq!(fill.count().await, 1);

            let spec = WaveInstanceSpec {
                app: AppRef::default(),
                owner: "alice".to_owned(),
                visibility: Visibility::Private,
                suspended: false,
                size: None,
            };
            let mut instance = WaveInstance::new("sales", spec);
            instance.metadata.generation = Some(2);
            instance.status = Some(WaveInstanceStatus {
                observed_generation: Some(1),
                ..WaveInstanceStatus::default()
            });
            let in_sync = Plan {
                action: plan::Action::Nothing,
                reason: Reason::InSync,
            };
            let seen = observe(&ctx, &instance);
            publish(&ctx, &instance, seen, in_sync)
                .await
                .expect("published");
            let log = log.lock();
            let written = log.iter().find(|asked| asked.line.starts_with("PATCH"));
            let ready = written.and_then(|asked| asked.body.pointer("/status/conditions/0/status"));
            assert_eq!(ready, Some(&json!(expected)), "{name}");
        }
    }

    #[tokio::test]
    async fn waiting_for_the_first_lists_does_not_hold_up_the_end() {
        let (client, _log) = fake_api::start(|_| None).await;
        let ctx = Arc::new(Context::for_tests(client));
        ctx.stop.cancel();
        let spec = WaveInstanceSpec {
            app: AppRef::default(),
            owner: "alice".to_owned(),
            visibility: Visibility::Private,
            suspended: false,
            size: None,
        };
        let instance = Arc::new(WaveInstance::new("sales", spec));
        let ended = tokio::time::timeout(Duration::from_secs(5), reconcile(instance, ctx)).await;
        assert!(matches!(ended, Ok(Err(Error::Stopping))), "{ended:?}");
    }
}
