//! What is known of one instance, all of it from memory.

use std::sync::Arc;
use std::time::Duration;

use bundle::Quantity;
use crds::{AppRef, RoutingMode, Runtime, WaveApp, WaveInstance, WaveInstanceSpec};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;

use super::context::Context;
use super::deletion::Deletion;
use super::drift;
use super::idle::{self, Rest, Use};
use super::plan::{AppState, Objects, Observed};
use super::pods::Pods;
use super::workload::DeploymentSeen;
use crate::attempts::Failed;
use crate::helm::releases::{self, Content, Release};
use crate::index::Kept;
use crate::limits::{self, Usage};

/// How long a run of Helm may go on after we began to lead, when the operator that began it was killed. A run takes a
/// quarter of a second. The first process of a container takes it along, and who loses the lease or gives it back has
/// ended it before: after that there is nothing to wait for.
pub(super) const ORPHAN_GRACE: Duration = Duration::from_secs(10);

/// How long the watch may lag behind what our own run has made.
const CACHE_GRACE: Duration = Duration::from_secs(15);

/// What is kept of a `WaveApp`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AppEntry {
    /// Which app it is, once imported.
    pub(crate) app: Option<AppRef>,
    /// Who owns it.
    pub(crate) owner: String,
    /// Where it leads, when it is a link.
    pub(crate) link: Option<String>,
    /// Hash of what its instances run with.
    pub(crate) runtime_hash: u64,
    /// How long its instances may be unused before they are put to sleep.
    pub(crate) idle_timeout: Option<Duration>,
    /// How its instances are reached.
    pub(crate) routing_mode: Option<RoutingMode>,
    /// What its instances run with.
    pub(crate) runtime: Option<Arc<Runtime>>,
}

/// Keeps what is needed of a `WaveApp`.
pub(crate) fn keep_app(app: WaveApp) -> Kept<AppEntry> {
    let name = app.name_any();
    let status = app.status.unwrap_or_default();
    Kept {
        key: name.clone(),
        object: name,
        value: AppEntry {
            app: status.app,
            owner: app.spec.owner,
            link: status.link,
            runtime_hash: status.runtime.as_ref().map_or(0, releases::runtime_hash),
            idle_timeout: status
                .idle_timeout_seconds
                .map(|seconds| Duration::from_secs(seconds.into())),
            routing_mode: status.routing_mode,
            runtime: status.runtime.map(Arc::new),
        },
    }
}

/// Memory that an instance of this size may take, in bytes.
fn memory(runtime: &Runtime, size: Option<&str>) -> u128 {
    let limit = runtime
        .resources_of(size)
        .and_then(|resources| resources.limits.as_ref())
        .and_then(|limits| limits.get("memory"));
    let quantity: Option<Quantity> = limit.and_then(|limit| limit.0.parse().ok());
    quantity.map_or(0, |quantity| quantity.units())
}

/// What decides, and what is told.
pub(super) struct Seen {
    pub(super) observed: Observed,
    pub(super) app: Option<AppEntry>,
    pub(super) deployment: Option<DeploymentSeen>,
    /// Whether it is to be deleted, and when.
    pub(super) deletion: Deletion,
    /// Whether it is in use.
    pub(super) used: Use,
    pub(super) pods: Pods,
    /// Runs of Helm that failed.
    pub(super) failed: Option<Failed>,
    /// Repairs after which the objects were changed again.
    pub(super) repaired: Option<Failed>,
    /// Hash of the release's revision and objects, as the watches show them.
    pub(super) fingerprint: Option<String>,
    /// Why the owner may not have what is wanted.
    pub(super) over_limit: Option<String>,
    /// It is to be rolled out, after others.
    pub(super) waits_for_turn: bool,
    /// What somebody has changed of the objects.
    pub(super) drift: Option<String>,
}

impl Seen {
    /// The release's latest revision.
    pub(super) fn release(&self) -> Option<&Release> {
        self.observed.release.as_ref()
    }

    /// Why it has no pod, and is not to have one.
    pub(super) fn rest(&self) -> Option<Rest> {
        idle::rest(self.observed.spec.suspended, self.used, self.deployment)
    }
}

/// Reads what the watches have shown of this instance.
pub(super) fn observe(ctx: &Context, instance: &WaveInstance) -> Seen {
    let name = instance.name_any();
    let generation = instance.metadata.generation.unwrap_or_default();
    let world = &ctx.world;
    let release = releases::latest(world.releases.get(&name));
    let deployment = world.deployments.get(&name).into_iter().next();
    let is_empty = deployment.is_none() && !world.services.contains(&name);
    let app = world
        .apps
        .find(|entry| entry.app.as_ref() == Some(&instance.spec.app));
    let memo = ctx.memos.get(&name);
    let fingerprint = release
        .as_ref()
        .map(|release| drift::fingerprint(world, &name, release.revision));
    let drift = memo
        .compared
        .as_ref()
        .filter(|compared| Some(&compared.fingerprint) == fingerprint.as_ref())
        .map(|compared| compared.drift.clone());
    let status = instance.status.as_ref();
    let known = status.and_then(|status| status.release.as_ref()?.objects.as_ref());
    let made = memo.made.map(|(revision, _)| revision);
    let just_made = memo.compared.is_none()
        && made.is_some()
        && made == release.as_ref().map(|release| release.revision);
    let deleting = instance.metadata.deletion_timestamp.is_some();
    let objects = match &drift {
        _ if is_empty && (deleting || drift.is_none()) => Objects::Absent,
        Some(Some(_)) => Objects::Drifted,
        Some(None) => Objects::AsRendered,
        None if known.is_some() && known == fingerprint.as_ref() => Objects::AsRendered,
        None if just_made => Objects::JustMade,
        None => Objects::Changed,
    };
    let failed = ctx.runs.failed(&name, generation);
    let repaired = ctx
        .repairs
        .failed(&name, generation)
        .filter(|_| objects == Objects::Drifted);
    let release_is_old = release
        .as_ref()
        .is_some_and(|release| ctx.is_old(&name, release));
    // Whatever others have begun was begun before we led.
    let run_over = memo.ran || ctx.leadership.age() >= ctx.orphan_grace;
    let cache_behind = memo.made.is_some_and(|(revision, at)| {
        let is_behind = release.as_ref().is_none_or(|release| {
            // Our run of this revision has come to its end.
            release.revision < revision
                || (release.revision == revision && release.status.is_pending())
        });
        is_behind && at.elapsed() < CACHE_GRACE
    });
    let pods = world.pods.get(&name);
    let content = release
        .as_ref()
        .and_then(|release| release.content.as_ref().ok());
    let rollout = &ctx.settings.rollout;
    let moved_on = content.is_some_and(|content| is_outdated(ctx, content, app.as_ref()));
    let is_outdated = rollout.is_automatic() && moved_on;
    // Nothing else may come with it that is not rolled out.
    let lacks_environment = !moved_on
        && deployment.is_some_and(|deployment| deployment.replicas == 0)
        && content.is_some_and(|content| lacks_environment(content, app.as_ref()));
    let has_turn = rollout.has_turn(Instant::now());
    let deletion = Deletion::of(instance, Timestamp::now());
    let used = used(instance, app.as_ref());
    let over_limit = over_limit(ctx, instance, content, app.as_ref());
    let observed = Observed {
        deleting,
        due: deletion == Deletion::Due,
        spec: instance.spec.clone(),
        app: app_state(app.as_ref(), instance.spec.size.as_deref()),
        release,
        cache_behind,
        run_over,
        release_is_old,
        objects,
        scale: idle::scale(instance.spec.suspended, used, deployment),
        backing_off: failed
            .iter()
            .chain(&repaired)
            .any(|failed| failed.retry_at > Instant::now()),
        redeploy: instance
            .annotations()
            .get(crds::REDEPLOY_ANNOTATION)
            .cloned(),
        outdated: is_outdated && has_turn,
        lacks_environment,
        over_limit: over_limit.is_some(),
    };
    Seen {
        observed,
        app,
        deployment,
        deletion,
        used,
        pods: Pods::of(&pods),
        failed,
        repaired,
        fingerprint,
        over_limit,
        waits_for_turn: is_outdated && !has_turn,
        drift: drift.flatten(),
    }
}

/// Whether an instance is in use, as its status tells it.
pub(super) fn used(instance: &WaveInstance, app: Option<&AppEntry>) -> Use {
    let status = instance.status.as_ref();
    let last = status.and_then(|status| status.last_activity.as_ref());
    let timeout = app.and_then(|app| app.idle_timeout);
    idle::judge(last.map(|last| last.0), timeout, Timestamp::now())
}

/// Whether a release was made of something else than it would be made of now.
fn is_outdated(ctx: &Context, content: &Content, app: Option<&AppEntry>) -> bool {
    let runtime = content
        .resolved
        .as_ref()
        .zip(app)
        .is_some_and(|(resolved, app)| {
            app.app.as_ref() == Some(&resolved.app) && resolved.hash != app.runtime_hash
        });
    runtime || content.chart_version != ctx.settings.chart_version
}

/// Whether a release was made without the environment that its app has now.
fn lacks_environment(content: &Content, app: Option<&AppEntry>) -> bool {
    content
        .resolved
        .as_ref()
        .zip(app.and_then(|app| app.runtime.as_ref()))
        .is_some_and(|(resolved, runtime)| {
            resolved.app == runtime.app
                && runtime.environment.is_some()
                && resolved.environment != runtime.environment
        })
}

/// Why the owner may not have what is wanted, if it is more than there is.
fn over_limit(
    ctx: &Context,
    instance: &WaveInstance,
    content: Option<&Content>,
    app: Option<&AppEntry>,
) -> Option<String> {
    let limits = &ctx.settings.limits;
    if limits.instances_per_user.is_none() && limits.memory_per_user.is_none() {
        return None;
    }
    let running = content.and_then(|content| content.spec.as_ref().ok());
    if running == Some(&instance.spec) {
        return None;
    }
    let owner = &instance.spec.owner;
    let memory_in = |entry: Option<&AppEntry>, size: Option<&str>| {
        let runtime = entry.and_then(|entry| entry.runtime.as_ref());
        runtime.map_or(0, |runtime| memory(runtime, size))
    };
    let memory_of = |spec: &WaveInstanceSpec| {
        if limits.memory_per_user.is_none() {
            return 0;
        }
        let app = ctx
            .world
            .apps
            .find(|entry| entry.app.as_ref() == Some(&spec.app));
        memory_in(app.as_ref(), spec.size.as_deref())
    };
    let age = |instance: &WaveInstance| (instance.creation_timestamp(), instance.name_any());
    let own_age = age(instance);
    let mut usage = Usage {
        memory: memory_in(app, instance.spec.size.as_deref()),
        running_memory: running
            .filter(|running| running.owner == *owner)
            .map(memory_of),
        ..Usage::default()
    };
    for other in ctx.world.instances.state() {
        let counts = other.spec.owner == *owner
            && other.metadata.deletion_timestamp.is_none()
            && other.uid() != instance.uid()
            && (ctx.world.releases.contains(&other.name_any()) || age(&other) < own_age);
        if counts {
            usage.others += 1;
            usage.others_memory += memory_of(&other.spec);
        }
    }
    limits::exceeded(limits, owner, usage)
}

fn app_state(entry: Option<&AppEntry>, size: Option<&str>) -> AppState {
    let runtime = entry.and_then(|entry| entry.runtime.as_ref());
    match entry {
        None => AppState::Missing,
        Some(_) if runtime.is_some_and(|runtime| runtime.resources_of(size).is_none()) => {
            AppState::NoSize
        }
        Some(_) if runtime.is_some() => AppState::Runnable,
        Some(entry) if entry.link.is_some() => AppState::Link,
        Some(_) => AppState::NotReady,
    }
}
