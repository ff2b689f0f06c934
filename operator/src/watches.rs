//! Everything that the operator watches, and whom a change concerns.

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::watch;

use crds::{WaveApp, WaveInstance};

use crate::freshness::{Freshness, Watch};
use crate::helm::releases::{self, Release};
use crate::index::{self, Index};
use crate::instance::workload::{self, DeploymentSeen, PodSeen};
use crate::instance::{AppEntry, keep_app};
use crate::lease::Leadership;
use crate::readable;
use crate::standby::{self, Listing};

/// What all watches together have shown.
pub(crate) struct World {
    /// The instances.
    pub(crate) instances: Store<WaveInstance>,
    /// They are listed. `Store::wait_until_ready` wakes only one of those who wait, which is the controller.
    instances_listed: Arc<watch::Sender<bool>>,
    /// The apps, by name of the `WaveApp`.
    pub(crate) apps: Arc<Index<AppEntry>>,
    /// Helm's releases that count, by name.
    pub(crate) releases: Arc<Index<Release>>,
    /// Deployments by instance.
    pub(crate) deployments: Arc<Index<DeploymentSeen>>,
    /// How Services look, by instance.
    pub(crate) services: Arc<Index<u64>>,
    /// How volume claims look, by instance.
    pub(crate) volumes: Arc<Index<u64>>,
    /// How `ConfigMap`s look, by instance.
    pub(crate) files: Arc<Index<u64>>,
    /// Pods by instance.
    pub(crate) pods: Arc<Index<PodSeen>>,
}

/// A stream of what to reconcile.
pub(crate) type Queue<K> = BoxStream<'static, Result<ObjectRef<K>, watcher::Error>>;

impl World {
    /// Of which nothing was seen but what is in this store.
    fn new(instances: Store<WaveInstance>) -> Self {
        Self {
            instances,
            instances_listed: Arc::new(watch::Sender::new(false)),
            apps: Arc::default(),
            releases: Arc::default(),
            deployments: Arc::default(),
            services: Arc::default(),
            volumes: Arc::default(),
            files: Arc::default(),
            pods: Arc::default(),
        }
    }

    /// Waits until every watch has listed what there is.
    pub(crate) async fn synced(&self) {
        let Self {
            instances: _,
            instances_listed,
            apps,
            releases,
            deployments,
            services,
            volumes,
            files,
            pods,
        } = self;
        let mut listed = instances_listed.subscribe();
        // The sender lives as long as `self`.
        let _ = listed.wait_for(|listed| *listed).await;
        tokio::join!(
            apps.synced(),
            releases.synced(),
            deployments.synced(),
            services.synced(),
            volumes.synced(),
            files.synced(),
            pods.synced()
        );
    }
}

#[cfg(test)]
impl World {
    /// A world in which nothing was seen.
    pub(crate) fn empty() -> Self {
        let (instances, _writer) = reflector::store();
        Self::new(instances)
    }
}

/// Starts the watches of one namespace: what they show, and which instances to reconcile when. That is none until we lead.
pub(crate) fn start(
    client: &Client,
    namespace: &str,
    freshness: &Arc<Freshness>,
    leadership: &Leadership,
) -> (World, Queue<WaveInstance>) {
    let (instances, writer) = reflector::store();
    let world = World::new(instances);

    let listed = world.instances_listed.clone();
    let listing = Listing::new();
    let noted = listing.clone();
    let watched = |watch| freshness.client(watch, client);
    let main = freshness
        .follow(
            Watch::Instances,
            readable::watch(watched(Watch::Instances), namespace, leadership),
        )
        .modify(|instance: &mut WaveInstance| instance.managed_fields_mut().clear())
        .reflect(writer)
        .inspect_ok(move |event| {
            noted.note(event);
            if matches!(event, watcher::Event::InitDone) {
                listed.send_replace(true);
            }
        })
        .applied_objects()
        // A deletion changes the generation; our own status does not.
        .predicate_filter(
            // Nor does an annotation, by which somebody may ask for a redeployment.
            predicates::generation
                .combine(predicates::finalizers)
                .combine(predicates::annotations)
                .combine(use_of_resting),
            PredicateConfig::default(),
        )
        .map_ok(|instance| ObjectRef::from_obj(&instance));

    let secrets = freshness.watch::<Secret>(Watch::Releases, client, namespace, releases::watch());
    let of_instances = watcher::Config::default().labels(crds::INSTANCE_LABEL);
    let deployments =
        freshness.watch::<Deployment>(Watch::Deployments, client, namespace, of_instances.clone());
    let services =
        freshness.watch::<Service>(Watch::Services, client, namespace, of_instances.clone());
    let volumes = freshness.watch::<PersistentVolumeClaim>(
        Watch::Volumes,
        client,
        namespace,
        of_instances.clone(),
    );
    let files = freshness.watch::<ConfigMap>(Watch::Files, client, namespace, of_instances.clone());
    let pods = freshness.watch::<Pod>(Watch::Pods, client, namespace, of_instances);
    let apps = freshness.follow(
        Watch::Apps,
        readable::watch(watched(Watch::Apps), namespace, leadership),
    );

    let names = stream::select_all([
        index::fill(world.releases.clone(), secrets, releases::keep).boxed(),
        index::fill(
            world.deployments.clone(),
            deployments,
            workload::keep_deployment,
        )
        .boxed(),
        index::fill(world.services.clone(), services, workload::keep_fingerprint).boxed(),
        index::fill(world.volumes.clone(), volumes, workload::keep_fingerprint).boxed(),
        index::fill(world.files.clone(), files, workload::keep_fingerprint).boxed(),
        index::fill(world.pods.clone(), pods, workload::keep_pod).boxed(),
        instances_of_changed_apps(
            world.apps.clone(),
            world.instances.clone(),
            index::fill(world.apps.clone(), apps, |app: WaveApp| Some(keep_app(app))).boxed(),
        ),
    ]);
    let known = world.instances.clone();
    let namespace = namespace.to_owned();
    let related = names
        .map_ok(move |name| ObjectRef::new(&name).within(&namespace))
        // Helm runs releases of other charts, too.
        .try_filter(move |instance| futures::future::ready(known.get(instance).is_some()));
    let queue = stream::select(main, related).boxed();
    let queue = standby::until_leading(queue, world.instances.clone(), listing, leadership);
    (world, queue)
}

/// Changes when somebody uses an instance that has no pod. The use of the others is looked at when they may be idle.
fn use_of_resting(instance: &WaveInstance) -> Option<u64> {
    let status = instance.status.as_ref()?;
    let rests = status.phase.as_deref() == Some(crds::SUSPENDED_PHASE);
    let last = status.last_activity.as_ref().filter(|_| rests)?;
    Some(workload::hash(&last.0.as_second()))
}

/// The names of the instances that run, or want to run, an app that has changed.
fn instances_of_changed_apps(
    apps: Arc<Index<AppEntry>>,
    instances: Store<WaveInstance>,
    changed: BoxStream<'static, watcher::Result<String>>,
) -> BoxStream<'static, watcher::Result<String>> {
    changed
        .flat_map(move |resource| {
            let names: Vec<watcher::Result<String>> = match resource {
                Err(error) => vec![Err(error)],
                Ok(resource) => {
                    let changed: Vec<_> = apps
                        .get(&resource)
                        .into_iter()
                        .filter_map(|entry| entry.app)
                        .collect();
                    instances
                        .state()
                        .iter()
                        .filter(|instance| changed.contains(&instance.spec.app))
                        .map(|instance| Ok(instance.name_any()))
                        .collect()
                }
            };
            stream::iter(names)
        })
        .boxed()
}
