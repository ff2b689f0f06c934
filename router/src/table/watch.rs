//! Keeps the table: watches instances, apps and endpoints, and publishes what changed.
//!
//! One task owns all state and keeps a few hundred bytes an object. When the API server is away, the last
//! snapshot stays in force.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use crds::{AppRef, ConditionType, Visibility, WaveApp, WaveInstance};
use futures::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::{AppEntry, Route, Snapshot, Table};
use crate::proxy::upstream::{Connector, Upstream, UpstreamKey};

/// Label by which an `EndpointSlice` names its service; a service is called like its instance.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Reasons of a Ready condition that is False because something is wrong, not because it takes time.
const FAILURES: [&str; 5] = [
    "AppFailed",
    "AppNotFound",
    "HelmFailed",
    "ImagePullBackOff",
    "Unschedulable",
];

/// How long changes are gathered before they are published.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// The three kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
enum Kind {
    WaveInstances,
    WaveApps,
    EndpointSlices,
}

const KINDS: [Kind; 3] = [Kind::WaveInstances, Kind::WaveApps, Kind::EndpointSlices];

/// How the watches are doing.
#[derive(Debug, Default)]
pub(crate) struct Health {
    watches: Mutex<[WatchHealth; 3]>,
}

#[derive(Debug, Default, Clone)]
struct WatchHealth {
    synced: bool,
    last_event: Option<Instant>,
    failing_since: Option<Instant>,
}

impl Health {
    /// Health of a table that is made by hand.
    #[cfg(test)]
    pub(crate) fn synced() -> Self {
        let health = Self::default();
        for watch in health.watches.lock().iter_mut() {
            watch.synced = true;
        }
        health
    }

    /// Whether every kind has been listed once.
    #[must_use]
    pub(crate) fn is_synced(&self) -> bool {
        self.watches.lock().iter().all(|watch| watch.synced)
    }

    /// One line a kind, for people.
    #[must_use]
    pub(crate) fn describe(&self) -> String {
        let watches = self.watches.lock().clone();
        let age = |at: Option<Instant>| at.map_or(0, |at| at.elapsed().as_secs());
        let mut text = String::new();
        for (kind, watch) in KINDS.iter().zip(watches) {
            let state = if watch.synced {
                "listed"
            } else {
                "waiting for the first list"
            };
            let _ = write!(text, "{kind}: {state}");
            if watch.last_event.is_some() {
                let _ = write!(text, ", last event {} s ago", age(watch.last_event));
            }
            if watch.failing_since.is_some() {
                let _ = write!(text, ", failing for {} s", age(watch.failing_since));
            }
            text.push('\n');
        }
        text
    }

    fn note(&self, kind: Kind, change: impl FnOnce(&mut WatchHealth)) {
        change(&mut self.watches.lock()[kind as usize]);
    }
}

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
) -> Result<(), WatchEnded> {
    let plain = watcher::Config::default();
    let services = plain.clone().labels(SERVICE_LABEL);
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
        changes::<EndpointSlice>(client, namespace, services, Kind::EndpointSlices, |o| {
            read_slice(o).map(Object::Slice)
        }),
    ]);
    let mut state = State {
        connector,
        ..State::default()
    };
    loop {
        let mut next = Some(changes.next().await.ok_or(WatchEnded)?);
        let until = Instant::now() + DEBOUNCE;
        while let Some((kind, change)) = next.take() {
            state.observe(kind, change, health);
            if let Ok(change) = timeout_at(until, changes.next()).await {
                next = Some(change.ok_or(WatchEnded)?);
            }
        }
        if health.is_synced() {
            state.publish(table);
        }
    }
}

type Change = Result<Event<(String, Option<Object>)>, watcher::Error>;

/// The little that is kept of an object.
#[derive(Debug, Clone, PartialEq)]
enum Object {
    Instance(Instance),
    App(AppEntry),
    Slice(Slice),
}

#[derive(Debug, Clone, PartialEq)]
struct Instance {
    uid: String,
    app: AppRef,
    owner: String,
    visibility: Visibility,
    phase: Option<String>,
    ready: bool,
    failing: bool,
    message: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Slice {
    service: String,
    ready: Vec<UpstreamKey>,
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

fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    let name: &str = kind.into();
    conditions.iter().find(|condition| condition.type_ == name)
}

fn holds(condition: Option<&Condition>) -> bool {
    condition.is_some_and(|condition| condition.status == "True")
}

fn read_instance(object: WaveInstance) -> Instance {
    let status = object.status.unwrap_or_default();
    let condition = find(&status.conditions, ConditionType::Ready);
    let ready = holds(condition);
    let unready = condition.filter(|_| !ready);
    let stalled = holds(find(&status.conditions, ConditionType::Stalled));
    Instance {
        uid: object.metadata.uid.unwrap_or_default(),
        app: object.spec.app,
        owner: object.spec.owner,
        visibility: object.spec.visibility,
        phase: status.phase,
        ready,
        failing: stalled
            || unready.is_some_and(|condition| FAILURES.contains(&condition.reason.as_str())),
        message: unready
            .map(|condition| condition.message.clone())
            .filter(|message| !message.is_empty()),
    }
}

fn read_app(object: WaveApp) -> Option<AppEntry> {
    let status = object.status?;
    let ready = holds(find(&status.conditions, ConditionType::Ready));
    Some(AppEntry {
        app: status.app?,
        title: status.title,
        owner: object.spec.owner,
        visibility: object.spec.visibility,
        routing_mode: status.routing_mode.unwrap_or_default(),
        mode: status.runtime.map(|runtime| runtime.mode),
        digest: status.digest,
        ready,
    })
}

fn read_slice(object: EndpointSlice) -> Option<Slice> {
    let service = object.labels().get(SERVICE_LABEL)?.clone();
    let ports = object.ports.unwrap_or_default();
    let port = ports
        .iter()
        .find(|port| port.name.as_deref() == Some("http"))
        .or_else(|| ports.first())
        .and_then(|port| port.port)
        .and_then(|port| u16::try_from(port).ok())?;
    let ready = object
        .endpoints
        .into_iter()
        .filter(|endpoint| {
            // No condition means ready, says the API.
            endpoint
                .conditions
                .as_ref()
                .and_then(|conditions| conditions.ready)
                .unwrap_or(true)
        })
        .filter_map(|endpoint| {
            let address = SocketAddr::new(endpoint.addresses.first()?.parse().ok()?, port);
            let pod_uid = endpoint
                .target_ref
                .and_then(|pod| pod.uid)
                .unwrap_or_default();
            Some(UpstreamKey { pod_uid, address })
        })
        .collect();
    Some(Slice { service, ready })
}

/// Objects of one kind, by name.
#[derive(Debug, Default)]
struct Objects {
    current: HashMap<String, Object>,
    /// What a new list has brought so far.
    listing: HashMap<String, Object>,
}

impl Objects {
    /// Takes an event in; returns what objects were before and are now, for those that differ.
    fn apply(&mut self, event: Event<(String, Option<Object>)>) -> Vec<(String, Option<Object>)> {
        match event {
            Event::Init => {
                self.listing.clear();
                Vec::new()
            }
            Event::InitApply((name, object)) => {
                self.listing.extend(object.map(|object| (name, object)));
                Vec::new()
            }
            Event::InitDone => {
                let new = std::mem::take(&mut self.listing);
                let mut old = std::mem::replace(&mut self.current, new);
                let mut changed = Vec::new();
                for (name, object) in &self.current {
                    let before = old.remove(name);
                    if before.as_ref() != Some(object) {
                        changed.push((name.clone(), before));
                    }
                }
                changed.extend(old.into_iter().map(|(name, object)| (name, Some(object))));
                changed
            }
            Event::Apply((name, Some(object))) => {
                let before = self.current.insert(name.clone(), object);
                if before.as_ref() == self.current.get(&name) {
                    return Vec::new();
                }
                vec![(name, before)]
            }
            Event::Apply((name, None)) | Event::Delete((name, _)) => {
                let before = self.current.remove(&name);
                before
                    .map(|before| (name, Some(before)))
                    .into_iter()
                    .collect()
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    objects: [Objects; 3],
    /// Names of `WaveApp`s by the app they hold.
    holders: HashMap<AppRef, BTreeSet<String>>,
    /// Names of slices by service.
    slices: HashMap<String, BTreeSet<String>>,
    /// Instances whose route must be made anew.
    dirty: HashSet<String>,
    dirty_apps: HashSet<AppRef>,
    connector: Connector,
}

impl State {
    fn observe(&mut self, kind: Kind, change: Change, health: &Health) {
        let event = match change {
            Ok(event) => event,
            Err(error) => {
                health.note(kind, |watch| {
                    watch.failing_since.get_or_insert_with(Instant::now);
                });
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not watch {kind}; the last known table stays in force"
                );
                return;
            }
        };
        let listed = matches!(event, Event::InitDone);
        health.note(kind, |watch| {
            if watch.failing_since.take().is_some() {
                info!("Watching {kind} again");
            }
            watch.last_event = Some(Instant::now());
            watch.synced |= listed;
        });
        for (name, before) in self.objects[kind as usize].apply(event) {
            let now = self.objects[kind as usize].current.get(&name).cloned();
            if let Some(object) = &before {
                self.unindex(&name, object);
            }
            if let Some(object) = &now {
                self.index(&name, object);
            }
            if kind == Kind::WaveInstances {
                self.dirty.insert(name);
            }
        }
    }

    fn unindex(&mut self, name: &str, object: &Object) {
        match object {
            Object::Instance(_) => {}
            Object::App(entry) => {
                remove_name(&mut self.holders, &entry.app, name);
                self.dirty_apps.insert(entry.app.clone());
            }
            Object::Slice(slice) => {
                remove_name(&mut self.slices, &slice.service, name);
                self.dirty.insert(slice.service.clone());
            }
        }
    }

    fn index(&mut self, name: &str, object: &Object) {
        match object {
            Object::Instance(_) => {}
            Object::App(entry) => {
                self.holders
                    .entry(entry.app.clone())
                    .or_default()
                    .insert(name.to_owned());
                self.dirty_apps.insert(entry.app.clone());
            }
            Object::Slice(slice) => {
                self.slices
                    .entry(slice.service.clone())
                    .or_default()
                    .insert(name.to_owned());
                self.dirty.insert(slice.service.clone());
            }
        }
    }

    /// Makes the changed routes anew and puts them in force; the others stay as they are.
    fn publish(&mut self, table: &Table) {
        if self.dirty.is_empty() && self.dirty_apps.is_empty() {
            return;
        }
        let services_only = self.dirty_apps.is_empty() && {
            let instances = &self.objects[Kind::WaveInstances as usize].current;
            let routes = &table.load().routes;
            let ours =
                |name: &String| instances.contains_key(name) || routes.contains_key(name.as_str());
            !self.dirty.iter().any(ours)
        };
        if services_only {
            self.dirty.clear(); // services of others in the namespace
            return;
        }
        let mut snapshot = Snapshot::clone(&table.load());
        if !self.dirty_apps.is_empty() {
            for app in &self.dirty_apps {
                match self.app(app) {
                    Some(entry) => snapshot.apps.insert(app.clone(), Arc::new(entry.clone())),
                    None => snapshot.apps.remove(app),
                };
            }
            let instances = &self.objects[Kind::WaveInstances as usize].current;
            for (name, object) in instances {
                if let Object::Instance(instance) = object
                    && self.dirty_apps.contains(&instance.app)
                {
                    self.dirty.insert(name.clone());
                }
            }
            self.dirty_apps.clear();
        }
        for name in std::mem::take(&mut self.dirty) {
            let old = snapshot.routes.get(name.as_str()).cloned();
            match self.route(&name, old.as_deref()) {
                Some(route) => drop(snapshot.routes.insert(route.id.clone(), Arc::new(route))),
                None => drop(snapshot.routes.remove(name.as_str())),
            }
        }
        table.publish(snapshot);
    }

    /// The app in force when several objects claim it: one that is ready.
    fn app(&self, app: &AppRef) -> Option<&AppEntry> {
        let apps = &self.objects[Kind::WaveApps as usize].current;
        let entries = || {
            self.holders
                .get(app)
                .into_iter()
                .flatten()
                .filter_map(|name| match apps.get(name) {
                    Some(Object::App(entry)) => Some(entry),
                    _ => None,
                })
        };
        entries()
            .find(|entry| entry.ready)
            .or_else(|| entries().next())
    }

    fn route(&self, name: &str, old: Option<&Route>) -> Option<Route> {
        let instances = &self.objects[Kind::WaveInstances as usize].current;
        let Some(Object::Instance(instance)) = instances.get(name) else {
            return None;
        };
        let app = self.app(&instance.app);
        let slices = &self.objects[Kind::EndpointSlices as usize].current;
        let mut keys: Vec<&UpstreamKey> = Vec::new();
        for slice in self.slices.get(name).into_iter().flatten() {
            if let Some(Object::Slice(slice)) = slices.get(slice) {
                keys.extend(
                    slice
                        .ready
                        .iter()
                        .filter(|key| !keys.contains(key))
                        .collect::<Vec<_>>(),
                );
            }
        }
        let upstreams = keys
            .into_iter()
            .map(|key| {
                let known =
                    old.and_then(|old| old.upstreams.iter().find(|known| known.key() == key));
                known
                    .cloned()
                    .unwrap_or_else(|| Arc::new(Upstream::new(key.clone(), &self.connector)))
            })
            .collect();
        Some(Route {
            id: name.parse().ok()?,
            uid: instance.uid.clone(),
            app: instance.app.clone(),
            title: app.and_then(|app| app.title.clone()),
            owner: instance.owner.clone(),
            visibility: instance.visibility,
            form: app.map(|app| app.routing_mode.into()),
            mode: app.and_then(|app| app.mode),
            digest: app.and_then(|app| app.digest.clone()),
            phase: instance.phase.clone(),
            ready: instance.ready,
            failing: instance.failing,
            message: instance.message.clone(),
            upstreams,
            turn: AtomicUsize::new(0),
        })
    }
}

fn remove_name<K: Eq + std::hash::Hash>(
    index: &mut HashMap<K, BTreeSet<String>>,
    key: &K,
    name: &str,
) {
    if let Some(names) = index.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::target::Form;

    type Given = Event<(String, Option<Object>)>;

    fn instance(name: &str) -> (String, Option<Object>) {
        let object = serde_json::from_value(json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveInstance",
            "metadata": { "name": name, "uid": "1" },
            "spec": { "app": { "name": "hello", "version": "1.0.0" }, "owner": "alice" },
        }));
        (
            name.into(),
            Some(Object::Instance(read_instance(
                object.expect("an instance"),
            ))),
        )
    }

    fn app(resource: &str, ready: &str, mode: &str) -> (String, Option<Object>) {
        let object = serde_json::from_value(json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveApp",
            "metadata": { "name": resource },
            "spec": { "bundle": {}, "owner": "alice" },
            "status": {
                "app": { "name": "hello", "version": "1.0.0" },
                "digest": resource,
                "routingMode": mode,
                "conditions": [{
                    "type": "Ready", "status": ready, "reason": "x", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        }));
        (
            resource.into(),
            read_app(object.expect("an app")).map(Object::App),
        )
    }

    fn slice(name: &str, service: &str, pods: &[(&str, Option<bool>)]) -> (String, Option<Object>) {
        let endpoints: Vec<_> = pods
            .iter()
            .map(|(address, ready)| {
                json!({
                    "addresses": [address], "conditions": { "ready": ready },
                    "targetRef": { "kind": "Pod", "uid": address },
                })
            })
            .collect();
        let object = serde_json::from_value(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": name, "labels": { SERVICE_LABEL: service } },
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{ "name": "health", "port": 10102 }, { "name": "http", "port": 10101 }],
        }));
        (
            name.into(),
            read_slice(object.expect("a slice")).map(Object::Slice),
        )
    }

    fn list(objects: Vec<(String, Option<Object>)>) -> Vec<Given> {
        let objects = objects.into_iter().map(Event::InitApply);
        std::iter::once(Event::Init)
            .chain(objects)
            .chain([Event::InitDone])
            .collect()
    }

    struct Watched {
        state: State,
        health: Health,
        table: Table,
    }

    impl Watched {
        fn start() -> Self {
            let mut watched = Self {
                state: State::default(),
                health: Health::default(),
                table: Table::default(),
            };
            watched.see(
                Kind::WaveInstances,
                list(vec![instance("sales"), instance("other")]),
            );
            watched.see(Kind::WaveApps, list(vec![app("first", "True", "BaseUrl")]));
            watched.see(
                Kind::EndpointSlices,
                list(vec![slice("sales-x", "sales", &[("10.0.0.1", None)])]),
            );
            watched
        }

        fn see(&mut self, kind: Kind, events: Vec<Given>) {
            for event in events {
                self.state.observe(kind, Ok(event), &self.health);
            }
            if self.health.is_synced() {
                self.state.publish(&self.table);
            }
        }

        fn upstreams(&self, id: &str) -> Vec<String> {
            let route = self.table.route(id).expect("a route");
            route
                .upstreams
                .iter()
                .map(|upstream| upstream.key().address.to_string())
                .collect()
        }
    }

    #[tokio::test]
    async fn nothing_is_published_before_everything_was_listed() {
        let mut watched = Watched {
            state: State::default(),
            health: Health::default(),
            table: Table::default(),
        };
        watched.see(Kind::WaveInstances, list(vec![instance("sales")]));
        assert!(watched.table.route("sales").is_none());
        assert!(
            watched
                .health
                .describe()
                .contains("WaveApps: waiting for the first list")
        );
        let watched = Watched::start();
        let route = watched.table.route("sales").expect("a route");
        assert_eq!(
            (route.form, route.digest.as_deref()),
            (Some(Form::BaseUrl), Some("first"))
        );
    }

    #[tokio::test]
    async fn only_ready_endpoints_of_the_named_port_are_used() {
        let mut watched = Watched::start();
        assert_eq!(watched.upstreams("sales"), ["10.0.0.1:10101"]);
        let pods = [
            ("10.0.0.2", Some(true)),
            ("10.0.0.3", Some(false)),
            ("10.0.0.4", None),
        ];
        watched.see(
            Kind::EndpointSlices,
            vec![Event::Apply(slice("sales-x", "sales", &pods))],
        );
        assert_eq!(
            watched.upstreams("sales"),
            ["10.0.0.2:10101", "10.0.0.4:10101"]
        );
        watched.see(
            Kind::EndpointSlices,
            vec![Event::Delete(("sales-x".into(), None))],
        );
        assert!(watched.upstreams("sales").is_empty());
    }

    #[tokio::test]
    async fn a_change_keeps_other_routes_and_known_connections() {
        let mut watched = Watched::start();
        let before = (
            watched.table.route("sales").expect("it"),
            watched.table.route("other").expect("it"),
        );
        let pods = [("10.0.0.1", Some(true)), ("10.0.0.2", Some(true))];
        watched.see(
            Kind::EndpointSlices,
            vec![Event::Apply(slice("sales-x", "sales", &pods))],
        );
        let after = (
            watched.table.route("sales").expect("it"),
            watched.table.route("other").expect("it"),
        );
        assert!(Arc::ptr_eq(&before.1, &after.1));
        assert!(Arc::ptr_eq(&before.0.upstreams[0], &after.0.upstreams[0]));
    }

    #[tokio::test]
    async fn a_new_list_removes_what_is_gone() {
        let mut watched = Watched::start();
        watched.see(Kind::WaveInstances, list(vec![instance("other")]));
        assert!(watched.table.route("sales").is_none());
        assert!(watched.table.route("other").is_some());
    }

    #[tokio::test]
    async fn an_unreadable_object_has_no_route() {
        let mut watched = Watched::start();
        watched.see(
            Kind::WaveInstances,
            vec![Event::Apply(("sales".into(), None))],
        );
        assert!(watched.table.route("sales").is_none());
    }

    #[tokio::test]
    async fn services_that_are_no_instances_change_nothing() {
        let mut watched = Watched::start();
        let before = watched.table.load();
        let event = Event::Apply(slice("store-x", "store", &[("10.0.0.9", None)]));
        watched.see(Kind::EndpointSlices, vec![event]);
        assert!(Arc::ptr_eq(&before, &watched.table.load()));
    }

    #[tokio::test]
    async fn the_ready_app_counts_when_two_claim_a_name() {
        let mut watched = Watched::start();
        watched.see(
            Kind::WaveApps,
            vec![Event::Apply(app("a-copy", "False", "Domain"))],
        );
        assert_eq!(
            watched.table.route("sales").expect("it").digest.as_deref(),
            Some("first")
        );
        watched.see(Kind::WaveApps, vec![Event::Delete(("first".into(), None))]);
        assert_eq!(
            watched.table.route("sales").expect("it").digest.as_deref(),
            Some("a-copy")
        );
        watched.see(Kind::WaveApps, vec![Event::Delete(("a-copy".into(), None))]);
        assert_eq!(watched.table.route("sales").expect("it").form, None);
    }
}
