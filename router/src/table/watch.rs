//! Keeps the table: watches instances, apps and endpoints, and publishes what changed.
//!
//! One task owns all state. When the API server is away, the last snapshot stays in force.

use std::time::Duration;

use crds::{INSTANCE_LABEL, SECRET_INDEX, WaveAlias, WaveApp, WaveInstance};
use futures::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::Table;
use super::health::{Health, Kind};
use super::object::{Object, read_alias, read_app, read_instance, read_secrets, read_slice};
use super::state::{Change, OwnDomains, State};
use crate::proxy::upstream::Connector;
use crate::site::Site;

/// How long changes are gathered after some were published. The first one after a pause is in force at once.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// A watch that ended. It never should.
#[derive(Debug, thiserror::Error)]
#[error("the watches of the Kubernetes API ended")]
pub(crate) struct WatchEnded;

/// Watches `namespace` and keeps `table` up to date until the process ends.
///
/// # Errors
/// [`WatchEnded`]; the process should stop then.
pub(crate) async fn keep(
    client: Client,
    namespace: &str,
    table: &Table,
    health: &Health,
    connector: Connector,
    site: &Site,
) -> Result<(), WatchEnded> {
    let plain = watcher::Config::default();
    let services = plain.clone().labels(INSTANCE_LABEL);
    let index = plain
        .clone()
        .fields(&format!("metadata.name={SECRET_INDEX}"));
    let mut changes = select_all([
        changes::<WaveInstance>(
            client.clone(),
            namespace,
            plain.clone(),
            Kind::WaveInstances,
            |o| Some(Object::Instance(read_instance(o))),
        ),
        changes::<WaveApp>(client.clone(), namespace, plain, Kind::WaveApps, |o| {
            read_app(o).map(Object::App)
        }),
        changes::<EndpointSlice>(
            client.clone(),
            namespace,
            services,
            Kind::EndpointSlices,
            |o| read_slice(o).map(Object::Slice),
        ),
        changes::<ConfigMap>(client.clone(), namespace, index, Kind::AppSecrets, |o| {
            Some(Object::Secrets(read_secrets(o)))
        }),
        changes::<WaveAlias>(
            client,
            namespace,
            watcher::Config::default(),
            Kind::WaveAliases,
            |o| Some(Object::Alias(read_alias(o))),
        ),
    ]);
    let domains = OwnDomains {
        store: site.store_host().to_owned(),
        apps: site.apps_domain().to_owned(),
    };
    let mut state = State::new(connector, domains);
    let mut until = Instant::now();
    loop {
        let mut next = Some(changes.next().await.ok_or(WatchEnded)?);
        while let Some((kind, change)) = next.take() {
            state.observe(kind, change, health);
            if let Ok(change) = timeout_at(until, changes.next()).await {
                next = Some(change.ok_or(WatchEnded)?);
            }
        }
        state.publish(table, health);
        until = Instant::now() + DEBOUNCE;
    }
}

/// Watches one kind. An object that cannot be read counts as absent, so that it neither blinds the watch nor
/// leaves a dead route behind.
fn changes<K>(
    client: Client,
    namespace: &str,
    config: watcher::Config,
    kind: Kind,
    read: fn(K) -> Option<Object>,
) -> BoxStream<'static, (Kind, Change)>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let api: Api<DeserializeGuard<K>> = Api::namespaced(client, namespace);
    let keep = move |object: DeserializeGuard<K>| {
        let name = object.name_any();
        let kept = match object.0 {
            Ok(object) => read(object),
            Err(error) => {
                warn!(
                    error = error.error,
                    "Could not read `{name}` of {kind}; it counts as absent"
                );
                None
            }
        };
        (name, kept)
    };
    watch_objects(api, config)
        .default_backoff()
        .map(move |event| {
            let event = event.map(|event| match event {
                Event::Init => Event::Init,
                Event::InitApply(object) => Event::InitApply(keep(object)),
                Event::InitDone => Event::InitDone,
                Event::Apply(object) => Event::Apply(keep(object)),
                Event::Delete(object) => Event::Delete((object.name_any(), None)),
            });
            (kind, event)
        })
        .boxed()
}
