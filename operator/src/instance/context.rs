//! What reconciliations share: the clients, what is watched and remembered, and how statuses are written.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crds::{INSTANCE_PATH, RoutingMode, WaveInstance, WaveInstanceStatus};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::info;
use url::Url;

use super::comparisons::Comparisons;
use super::judge::{State, Verdict};
use super::launcher::Launchers;
use super::memos::Memos;
use super::observe::{ORPHAN_GRACE, Seen};
use super::plan::Plan;
use super::rollout::Rollout;
use super::status::{self, Facts};
use crate::attempts::Attempts;
use crate::error::Error;
use crate::events::{Events, FIELD_MANAGER, Tone};
use crate::helm::Helm;
use crate::helm::releases::Release;
use crate::lease::Leadership;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::watches::World;

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
    pub(super) comparisons: Comparisons,
    /// Repairs of objects that somebody had changed.
    pub(super) repairs: Attempts,
    /// Failures of everything else.
    pub(crate) errors: Attempts,
    pub(super) leadership: Arc<Leadership>,
    /// How long a run from before we led may still be alive.
    pub(super) orphan_grace: Duration,
    pub(super) memos: Memos,
    hasher: RandomState,
    pub(super) stop: CancellationToken,
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
            memos: Memos::default(),
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

    /// Whether we have seen a release as it is for longer than Helm may run: nobody works on it any more.
    pub(super) fn is_old(&self, name: &str, release: &Release) -> bool {
        let seen_for = self.memos.seen_since(name, release).elapsed();
        seen_for > self.settings.helm_timeout + ORPHAN_GRACE
    }

    /// Forgets an instance that is gone.
    pub(super) fn forget(&self, name: &str) {
        self.memos.forget(name);
        self.runs.clear(name);
        self.repairs.clear(name);
        self.settings.rollout.done(name);
        self.errors.clear(name);
        self.metrics.postponed(name, false);
    }

    /// Forgets names that have neither an instance nor a release any more.
    pub(super) fn forget_gone(&self) {
        let world = &self.world;
        for name in self.memos.names() {
            let instance = ObjectRef::new(&name).within(&self.settings.namespace);
            if world.instances.get(&instance).is_none() && !world.releases.contains(&name) {
                self.forget(&name);
            }
        }
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
                .memos
                .get(&name)
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
        self.memos.note(&name, |memo| memo.written = Some(hash));
        let shown = |status: &WaveInstanceStatus| {
            status::ready(status).map(|ready| (ready.status.clone(), ready.reason.clone()))
        };
        if shown(old) != shown(&new) {
            self.tell(instance, &name, verdict).await;
        }
        Ok(())
    }

    async fn tell(&self, instance: &WaveInstance, name: &str, verdict: &Verdict) {
        // Other Events say it: that Helm has done it, and what becomes of the pod.
        const TOLD_ELSEWHERE: [&str; 4] = ["Installing", "Upgrading", "Deleting", "Scheduling"];
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
    pub(super) fn latest(&self, instance: &WaveInstance) -> Option<Arc<WaveInstance>> {
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

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::helm::releases;
    use crate::{fake_api, index};

    #[tokio::test]
    async fn names_that_are_gone_are_forgotten() {
        let (client, _log) = fake_api::start(|_| None).await;
        let ctx = Context::for_tests(client);
        for name in ["gone", "torn-out"] {
            ctx.memos.note(name, |memo| memo.ran = true);
        }
        let secret = json!({ "metadata": {
            "name": "sh.helm.release.v1.torn-out.v1",
            "labels": { "owner": "helm", "name": "torn-out", "version": "1", "status": "deployed" },
        } });
        let secret = serde_json::from_value(secret).expect("a Secret");
        let events = futures::stream::iter([Ok(Event::Apply(secret))]);
        let fill = index::fill(ctx.world.releases.clone(), events, releases::keep);
        assert_eq!(fill.count().await, 1);
        ctx.forget_gone();
        assert_eq!(ctx.memos.names(), ["torn-out"]);
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
