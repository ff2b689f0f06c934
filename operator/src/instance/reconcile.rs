//! One reconciliation: observe, plan, execute, publish.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crds::{FINALIZER, INSTANCE_PATH, RoutingMode, WaveInstance, WaveInstanceStatus};
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{applier, watcher};
use kube::{Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug, error_span, field, info, warn};
use url::Url;

use super::comparisons::Comparisons;
use super::drift;
use super::execute::{Done, execute};
use super::idle::Use;
use super::judge::{State, Verdict, judge};
use super::launcher::{Answer, Launchers};
use super::observe::{ORPHAN_GRACE, Seen, observe};
use super::plan::{self, Plan, Reason};
use super::rollout::Rollout;
use super::status::{self, Facts};
use super::torn_out;
use super::workload::{self, ContainerSeen, DeploymentSeen};
use crate::attempts::{Attempts, delay, random};
use crate::error::{Error, message};
use crate::events::{Events, FIELD_MANAGER, Tone};
use crate::finalizer;
use crate::helm::Helm;
use crate::helm::releases::Release;
use crate::lease::Leadership;
use crate::limits::{self, Limits};
use crate::metrics::{Controller, Metrics, Reconciliation};
use crate::watches::{Queue, World};

/// How often a launcher is asked for its phase until its app is ready.
const PHASE_INTERVAL: Duration = Duration::from_millis(1500);

/// How long an instance waits at most to be called for its comparison, should a call get lost.
const CALL: Duration = Duration::from_mins(5);

/// How often an instance looks whether it is its turn in a rollout.
const TURN_INTERVAL: Duration = Duration::from_secs(5);

/// What the operator was told about instances.
pub(crate) struct Settings {
    pub(crate) namespace: String,
    pub(crate) store_url: Url,
    pub(crate) apps_domain: String,
    pub(crate) helm_timeout: Duration,
    pub(crate) concurrency: u16,
    pub(crate) limits: Limits,
    pub(crate) rollout: Rollout,
    /// Version of the chart wave-instance.
    pub(crate) chart_version: String,
}

impl Settings {
    /// Where people reach an instance, by its own name or an alias.
    pub(crate) fn url(&self, name: &str, mode: RoutingMode) -> String {
        let (scheme, domain) = (self.store_url.scheme(), &self.apps_domain);
        match mode {
            RoutingMode::Domain => format!("{scheme}://{name}.{domain}/"),
            RoutingMode::BaseUrl => {
                let host = crds::RESERVED_INSTANCE_NAME;
                format!("{scheme}://{host}.{domain}{INSTANCE_PATH}{name}/")
            }
        }
    }
}

/// The only door to the world.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) helm: Helm,
    pub(crate) world: Arc<World>,
    pub(crate) events: Arc<Events>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) launchers: Launchers,
    /// Failures of Helm.
    pub(crate) runs: Attempts,
    /// Comparisons of objects with their releases.
    comparisons: Comparisons,
    /// Repairs of objects that somebody had changed.
    pub(super) repairs: Attempts,
    /// Failures of everything else.
    pub(crate) errors: Attempts,
    pub(super) leadership: Arc<Leadership>,
    /// How long a run from before we led may still be alive.
    pub(super) orphan_grace: Duration,
    memos: Mutex<HashMap<String, Memo>>,
    hasher: RandomState,
    stop: CancellationToken,
}

/// What this process remembers of an instance.
#[derive(Debug, Clone, Default)]
pub(super) struct Memo {
    /// The revision that our last run made, and when.
    pub(super) made: Option<(u32, Instant)>,
    /// This process has run Helm for it; every run but the one at work is over.
    pub(super) ran: bool,
    /// We have begun to uninstall the release.
    pub(super) is_uninstalling: bool,
    /// Version of the release's record, and since when we have seen it.
    release: Option<(String, Instant)>,
    /// What the last comparison of the objects with the release has found.
    pub(super) compared: Option<Compared>,
    /// When it was used last, as the API server itself said when the instance seemed idle, and when we asked.
    idle: Option<(Timestamp, Instant)>,
    /// Hash of the status that was written last.
    written: Option<u64>,
}

/// What a comparison of the objects with the release has found.
#[derive(Debug, Clone)]
pub(super) struct Compared {
    /// Revision and objects that it is true for.
    pub(super) fingerprint: String,
    /// What was different, if anything was.
    pub(super) drift: Option<String>,
}

impl Context {
    #[expect(clippy::too_many_arguments, reason = "each is a part of its own")]
    pub(crate) fn new(
        client: Client,
        settings: Settings,
        helm: Helm,
        world: Arc<World>,
        events: Arc<Events>,
        metrics: Arc<Metrics>,
        leadership: Arc<Leadership>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            client,
            settings,
            helm,
            world,
            events,
            metrics,
            launchers: Launchers::new(),
            runs: Attempts::default(),
            comparisons: Comparisons::default(),
            repairs: Attempts::default(),
            errors: Attempts::default(),
            leadership,
            orphan_grace: if std::process::id() == 1 {
                Duration::ZERO
            } else {
                ORPHAN_GRACE
            },
            memos: Mutex::default(),
            hasher: RandomState::new(),
            stop,
        }
    }

    /// Objects of one kind in the store's namespace.
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    pub(super) fn memo(&self, name: &str) -> Memo {
        self.memos.lock().get(name).cloned().unwrap_or_default()
    }

    /// Notes that a run begins.
    pub(super) fn begin(&self, name: &str) {
        self.memos.lock().entry(name.to_owned()).or_default().ran = true;
    }

    /// Notes that we have begun to uninstall.
    pub(super) fn begin_uninstall(&self, name: &str) {
        let mut memos = self.memos.lock();
        let memo = memos.entry(name.to_owned()).or_default();
        (memo.ran, memo.is_uninstalling) = (true, true);
    }

    /// Since when this process has seen a release as it is. Our own steady clock: somebody may set the other one.
    pub(super) fn seen_since(&self, name: &str, release: &Release) -> Instant {
        let mut memos = self.memos.lock();
        let memo = memos.entry(name.to_owned()).or_default();
        match &memo.release {
            Some((version, since)) if *version == release.resource_version => *since,
            _ => {
                let now = Instant::now();
                memo.release = Some((release.resource_version.clone(), now));
                now
            }
        }
    }

    /// Notes that a run has made this revision.
    pub(super) fn made(&self, name: &str, revision: u32) {
        let mut memos = self.memos.lock();
        memos.entry(name.to_owned()).or_default().made = Some((revision, Instant::now()));
    }

    /// Notes what a comparison has found.
    fn compared(&self, name: &str, compared: Compared) {
        self.memos
            .lock()
            .entry(name.to_owned())
            .or_default()
            .compared = Some(compared);
    }

    /// For how long nothing was heard of an idle instance that was used last at this time.
    pub(super) fn silence(&self, name: &str, last_activity: Timestamp) -> Duration {
        let mut memos = self.memos.lock();
        let memo = memos.entry(name.to_owned()).or_default();
        match memo.idle {
            Some((last, since)) if last == last_activity => since.elapsed(),
            _ => {
                memo.idle = Some((last_activity, Instant::now()));
                Duration::ZERO
            }
        }
    }

    /// Notes that what was heard of an idle instance is worth nothing any more.
    pub(super) fn forget_silence(&self, name: &str) {
        if let Some(memo) = self.memos.lock().get_mut(name) {
            memo.idle = None;
        }
    }

    /// Forgets an instance that is gone.
    pub(super) fn forget(&self, name: &str) {
        self.memos.lock().remove(name);
        self.runs.clear(name);
        self.repairs.clear(name);
        self.settings.rollout.done(name);
        self.errors.clear(name);
    }

    /// Tells what is about to be done.
    pub(super) async fn publish_plan(
        &self,
        instance: &WaveInstance,
        seen: &Seen,
        plan: Plan,
    ) -> Result<(), Error> {
        match status::verdict_of_plan(plan, seen, &self.settings.namespace) {
            Some(verdict) => self.publish(instance, seen, &verdict).await,
            None => Ok(()),
        }
    }

    /// Writes the status when it has changed, and an Event when its Ready condition has.
    pub(super) async fn publish(
        &self,
        instance: &WaveInstance,
        seen: &Seen,
        verdict: &Verdict,
    ) -> Result<(), Error> {
        let name = instance.name_any();
        let nothing = WaveInstanceStatus::default();
        let old = instance.status.as_ref().unwrap_or(&nothing);
        let facts = Facts {
            generation: instance.metadata.generation,
            release: status::in_short(seen, old),
            url: seen
                .app
                .as_ref()
                .and_then(|app| app.routing_mode)
                .map(|mode| self.settings.url(&name, mode)),
        };
        let new = status::assemble(old, verdict, facts, &Time(Timestamp::now()));
        let json = serde_json::to_string(&new).expect("a status is JSON");
        let hash = self.hasher.hash_one(&json);
        // What the watch shows may be older than what was written last.
        let ours = WaveInstanceStatus {
            last_activity: None,
            ..old.clone()
        };
        if new == ours
            && self
                .memo(&name)
                .written
                .is_none_or(|written| written == hash)
        {
            return Ok(());
        }
        let api: Api<WaveInstance> = self.api();
        let patch = json!({
            "apiVersion": WaveInstance::api_version(&()),
            "kind": WaveInstance::kind(&()),
            "status": new,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        match api.patch_status(&name, &params, &Patch::Apply(patch)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(source) => {
                return Err(Error::Kube {
                    task: format!("write the status of instance `{name}`"),
                    source,
                });
            }
        }
        self.memos.lock().entry(name.clone()).or_default().written = Some(hash);
        let shown = |status: &WaveInstanceStatus| {
            status::ready(status).map(|ready| (ready.status.clone(), ready.reason.clone()))
        };
        if shown(old) != shown(&new) {
            self.tell(instance, &name, verdict).await;
        }
        Ok(())
    }

    async fn tell(&self, instance: &WaveInstance, name: &str, verdict: &Verdict) {
        const TOLD_ELSEWHERE: [&str; 3] = ["Installing", "Upgrading", "Deleting"];
        let Verdict {
            state,
            reason,
            message,
            ..
        } = verdict;
        info!(
            instance.id = name,
            condition.reason = reason,
            "Instance {name}: {message}"
        );
        if TOLD_ELSEWHERE.contains(&reason.as_str()) {
            return;
        }
        let tone = match (state, reason.as_str()) {
            (State::Stalled, _)
            | (
                _,
                "HelmFailed" | "AppFailed" | "AppNotFound" | "Unschedulable" | "ImagePullBackOff",
            ) => Tone::Warning,
            (State::Ready | State::Reconciling, _) => Tone::Normal,
        };
        let reference = instance.object_ref(&());
        self.events
            .tell(&reference, tone, reason, "Observe", message)
            .await;
    }

    /// Whether the watch has shown a newer spec than this.
    pub(super) fn is_outdated(&self, instance: &WaveInstance) -> bool {
        self.latest(instance)
            .is_some_and(|latest| latest.metadata.generation != instance.metadata.generation)
    }

    /// The instance as the watch shows it now, if it is still the same one.
    fn latest(&self, instance: &WaveInstance) -> Option<Arc<WaveInstance>> {
        self.world
            .instances
            .get(&ObjectRef::from_obj(instance))
            .filter(|latest| latest.uid() == instance.uid())
    }
}

#[cfg(test)]
impl Context {
    /// A context with this API server, which has seen nothing and has no Helm.
    pub(super) fn for_tests(client: Client) -> Self {
        let settings = Settings {
            namespace: "wavestore".to_owned(),
            store_url: "https://store.example.com".parse().expect("a url"),
            apps_domain: "apps.example.com".to_owned(),
            helm_timeout: Duration::from_secs(1),
            concurrency: 1,
            limits: Limits::default(),
            rollout: Rollout::new(super::rollout::Policy::OnRequest, 1),
            chart_version: String::new(),
        };
        let leadership = Arc::new(Leadership::for_tests());
        let helm = Helm::new(
            "/nowhere/helm".into(),
            "/nowhere/chart".into(),
            settings.namespace.clone(),
            settings.helm_timeout,
            1,
            Arc::default(),
            leadership.clone(),
        );
        let events = Arc::new(Events::new(client.clone()));
        let world = Arc::new(World::empty());
        Self::new(
            client,
            settings,
            helm,
            world,
            events,
            Arc::default(),
            leadership,
            CancellationToken::new(),
        )
    }
}

/// Reconciles instances from when we lead until told to stop; then lets what runs come to its end.
pub(crate) async fn run(ctx: Arc<Context>, queue: Queue<WaveInstance>) {
    let config = controller::Config::default().concurrency(ctx.settings.concurrency);
    let store = ctx.world.instances.clone();
    let stop = ctx.stop.clone();
    let restored = stop.run_until_cancelled(torn_out::run(ctx.clone()));
    let full = stop.run_until_cancelled(tell_full_users(ctx.clone()));
    let namespace = ctx.settings.namespace.clone();
    let compared = ctx.clone();
    let called = stream::poll_fn(move |cx| compared.comparisons.poll_called(cx).map(Some))
        .map(move |name| Ok(ObjectRef::new(&name).within(&namespace)));
    let queue = stream::select(queue, called).take_until(ctx.stop.clone().cancelled_owned());
    let reconciled = applier(
        |instance, ctx| reconcile(instance, ctx).boxed(),
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
    tokio::join!(restored, full, reconciled);
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
    Action::requeue(failed.wait(Instant::now()))
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
    let result = step(instance, ctx.clone(), &mut measured)
        .instrument(span)
        .await;
    measured.end(&result);
    result
}

async fn step(
    instance: Arc<WaveInstance>,
    ctx: Arc<Context>,
    measured: &mut Reconciliation<'_>,
) -> Result<Action, Error> {
    tokio::select! {
        () = ctx.world.synced() => {}
        () = ctx.stop.cancelled() => return Err(Error::Stopping),
    }
    let name = instance.name_any();
    let api: Api<WaveInstance> = ctx.api();
    let deleting = instance.metadata.deletion_timestamp.is_some();
    if !finalizer::has(&*instance, FINALIZER) {
        if deleting {
            return Ok(Action::await_change());
        }
        let added = finalizer::add(&api, &*instance, FINALIZER).await?;
        return Ok(added.requeue());
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
                return Ok(Action::requeue(PHASE_INTERVAL));
            }
            // After an upgrade all of them are to be compared; what somebody waits for comes first.
            let Some(_turn) = ctx.comparisons.turn(&name) else {
                return Ok(Action::requeue(CALL));
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
            match ctx.helm.slot_to_spare() {
                Some(slot) => Some(slot),
                None => return Ok(Action::requeue(delay(2, random()))),
            }
        } else {
            Some(tokio::select! {
                slot = ctx.helm.slot() => slot,
                () = ctx.stop.cancelled() => return Err(Error::Stopping),
            })
        };
        match ctx.latest(&instance) {
            Some(latest) => instance = latest,
            None => return Ok(Action::await_change()),
        }
    };
    if let Some(release) = seen.release() {
        Span::current().record("release.revision", release.revision);
    }
    debug!(plan.action = ?plan.action, plan.reason = %plan.reason, "Planned");
    ctx.metrics.planned(plan);
    let done = execute(&ctx, &instance, &seen, plan).await?;
    drop(slot);
    let requeue = match done {
        Done::Acted(after) => Some(after),
        Done::Finished => None,
        Done::Failed => {
            measured.helm_failed();
            ctx.settings.rollout.failed(&name);
            let seen = observe(&ctx, &instance);
            let wait = seen
                .failed
                .as_ref()
                .map(|failed| failed.wait(Instant::now()));
            let verdict = status::run_failed(&seen);
            ctx.publish(&instance, &seen, &verdict).await?;
            wait
        }
        Done::Rested(after) => {
            let told = publish(&ctx, &instance, seen, plan).await?;
            after.or(told)
        }
    };
    ctx.errors.clear(&name);
    Ok(requeue.map_or_else(Action::await_change, Action::requeue))
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
    ctx.compared(&name, compared);
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
    let mut verdict = judge(
        seen.rest(),
        seen.deployment,
        seen.pod.as_ref(),
        answer.as_ref(),
    );
    let name = instance.name_any();
    let rollout = &ctx.settings.rollout;
    if verdict.state != State::Reconciling && (is_news(instance) || rollout.waits_for(&name)) {
        seen.deployment = deployment_now(ctx, &name).await?;
        verdict = judge(
            seen.rest(),
            seen.deployment,
            seen.pod.as_ref(),
            answer.as_ref(),
        );
    }
    match verdict.state {
        State::Ready => rollout.done(&name),
        State::Stalled => rollout.failed(&name),
        State::Reconciling => {}
    }
    ctx.publish(instance, &seen, &verdict).await?;
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
    let runs_on = matches!(plan.action, plan::Action::Nothing | plan::Action::Scale(_));
    runs_on || waited_for
}

fn needs_helm(plan: Plan) -> bool {
    match plan.action {
        plan::Action::Apply | plan::Action::ApplyKept | plan::Action::Uninstall => true,
        plan::Action::Verify
        | plan::Action::Scale(_)
        | plan::Action::DropPending { .. }
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
        .pod
        .as_ref()
        .is_some_and(|pod| !pod.deleting && pod.container == ContainerSeen::Running);
    !ready && running
}

async fn ask_launcher(ctx: &Context, seen: &Seen) -> Option<Answer> {
    if !is_starting(seen) {
        return None;
    }
    let ip = seen.pod.as_ref()?.ip.as_ref()?;
    ctx.launchers.ask(ip).await
}

#[cfg(test)]
mod tests {
    use crds::{AppRef, Visibility, WaveInstanceSpec};
    use kube::runtime::watcher::Event;

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
        };
        let instance = Arc::new(WaveInstance::new("sales", spec));
        let ended = tokio::time::timeout(Duration::from_secs(5), reconcile(instance, ctx)).await;
        assert!(matches!(ended, Ok(Err(Error::Stopping))), "{ended:?}");
    }

    #[test]
    fn an_instance_has_a_host_or_a_path_of_its_own() {
        let settings = Settings {
            namespace: "wavestore".to_owned(),
            store_url: "https://store.example.com".parse().expect("a url"),
            apps_domain: "apps.example.com:8443".to_owned(),
            helm_timeout: Duration::from_secs(1),
            concurrency: 1,
            limits: Limits::default(),
            rollout: Rollout::new(super::super::rollout::Policy::OnRequest, 1),
            chart_version: String::new(),
        };
        assert_eq!(
            settings.url("sales", RoutingMode::Domain),
            "https://sales.apps.example.com:8443/"
        );
        assert_eq!(
            settings.url("sales", RoutingMode::BaseUrl),
            "https://apps.apps.example.com:8443/instance/sales/"
        );
    }
}
