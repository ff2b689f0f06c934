//! What is known of one instance, all of it from memory.

use std::sync::Arc;
use std::time::Duration;

use crds::{AppRef, RoutingMode, Runtime, WaveApp, WaveInstance};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;

use super::drift;
use super::judge;
use super::plan::{AppState, Objects, Observed};
use super::reconcile::Context;
use super::workload::{DeploymentSeen, PodSeen};
use crate::attempts::Failed;
use crate::helm::releases::{self, Release};
use crate::index::Kept;

/// How long a run of Helm may go on when the operator that began it was killed. A run takes a quarter of a
/// second; as the first process of a container, the operator takes it along.
pub(super) const ORPHAN_GRACE: Duration = Duration::from_secs(10);

/// How long the watch may lag behind what our own run has made.
const CACHE_GRACE: Duration = Duration::from_secs(15);

/// What is kept of a `WaveApp`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AppEntry {
    /// Which app it is, once imported.
    pub(crate) app: Option<AppRef>,
    /// Where it leads, when it is a link.
    pub(crate) link: Option<String>,
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
            link: status.link,
            routing_mode: status.routing_mode,
            runtime: status.runtime.map(Arc::new),
        },
    }
}

/// What decides, and what is told.
pub(super) struct Seen {
    pub(super) observed: Observed,
    pub(super) app: Option<AppEntry>,
    pub(super) deployment: Option<DeploymentSeen>,
    pub(super) pod: Option<PodSeen>,
    /// Runs of Helm that failed.
    pub(super) failed: Option<Failed>,
    /// Repairs after which the objects were changed again.
    pub(super) repaired: Option<Failed>,
    /// Hash of the release's revision and objects, as the watches show them.
    pub(super) fingerprint: Option<String>,
    /// What somebody has changed of the objects.
    pub(super) drift: Option<String>,
}

impl Seen {
    /// The release's latest revision.
    pub(super) fn release(&self) -> Option<&Release> {
        self.observed.release.as_ref()
    }
}

/// Reads what the watches have shown of this instance.
pub(super) fn observe(ctx: &Context, instance: &WaveInstance) -> Seen {
    let name = instance.name_any();
    let generation = instance.metadata.generation.unwrap_or_default();
    let world = &ctx.world;
    let release = releases::latest(world.releases.get(&name));
    let deployment = world.deployments.get(&name).into_iter().next();
    let is_empty = deployment.is_none() && world.services.get(&name).is_empty();
    let app = world
        .apps
        .find(|entry| entry.app.as_ref() == Some(&instance.spec.app));
    let memo = ctx.memo(&name);
    let fingerprint = release
        .as_ref()
        .map(|release| drift::fingerprint(world, &name, release.revision));
    let drift = memo
        .compared
        .as_ref()
        .filter(|compared| Some(&compared.fingerprint) == fingerprint.as_ref())
        .map(|compared| compared.drift.clone());
    let known = instance
        .status
        .as_ref()
        .and_then(|status| status.release.as_ref())
        .and_then(|release| release.objects.as_ref());
    let deleting = instance.metadata.deletion_timestamp.is_some();
    let objects = match &drift {
        _ if is_empty && (deleting || drift.is_none()) => Objects::Absent,
        Some(Some(_)) => Objects::Drifted,
        Some(None) => Objects::AsRendered,
        None if known.is_some() && known == fingerprint.as_ref() => Objects::AsRendered,
        None => Objects::Changed,
    };
    let failed = ctx.runs.failed(&name, generation);
    let repaired = ctx
        .repairs
        .failed(&name, generation)
        .filter(|_| objects == Objects::Drifted);
    let operation = ctx.operation(instance);
    let run_over = memo.ran
        || operation
            .as_ref()
            .is_none_or(|operation| age(operation.started_at.0) > ctx.orphan_grace);
    let cache_behind = memo.made.is_some_and(|(revision, at)| {
        let shown = release.as_ref().map_or(0, |release| release.revision);
        shown < revision && at.elapsed() < CACHE_GRACE
    });
    let release_is_old = release
        .as_ref()
        .and_then(|release| release.changed_at)
        .is_some_and(|at| age(at) > ctx.settings.helm_timeout + ORPHAN_GRACE);
    let pods = world.pods.get(&name);
    let observed = Observed {
        deleting,
        spec: instance.spec.clone(),
        app: app_state(app.as_ref()),
        release,
        cache_behind,
        begun_revision: operation.map(|operation| operation.revision),
        run_over,
        release_is_old,
        objects,
        backing_off: failed
            .iter()
            .chain(&repaired)
            .any(|failed| failed.retry_at > Instant::now()),
        redeploy: instance
            .annotations()
            .get(crds::REDEPLOY_ANNOTATION)
            .cloned(),
        outdated: false,
        over_limit: false,
    };
    Seen {
        observed,
        app,
        deployment,
        pod: judge::current(&pods).cloned(),
        failed,
        repaired,
        fingerprint,
        drift: drift.flatten(),
    }
}

fn app_state(entry: Option<&AppEntry>) -> AppState {
    match entry {
        None => AppState::Missing,
        Some(entry) if entry.runtime.is_some() => AppState::Runnable,
        Some(entry) if entry.link.is_some() => AppState::Link,
        Some(_) => AppState::NotReady,
    }
}

fn age(at: Timestamp) -> Duration {
    Timestamp::now()
        .duration_since(at)
        .try_into()
        .unwrap_or_default()
}
