//! Watched objects, and the snapshot made of them: only what changed is made anew.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crds::{AppRef, Claim, Domains, SECRET_INDEX};
use kube::runtime::watcher::{self, Event};
use tokio::time::Instant;
use tracing::{info, warn};

use super::health::{Health, KIND_COUNT, Kind};
use super::object::Object;
use super::{AppEntry, Live, Names, Primary, Route, Secrets, Snapshot, Table};
use crate::InstanceId;
use crate::activity::Activity;
use crate::proxy::upstream::{Connector, Upstream, UpstreamKey};

/// What a watch says: an event with the object's name and what is kept of it, if it could be read.
pub(super) type Change = Result<Event<(String, Option<Object>)>, watcher::Error>;

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

/// Everything that is watched, and what of it is not published yet.
#[derive(Debug, Default)]
pub(super) struct State {
    objects: [Objects; KIND_COUNT],
    /// Names of `WaveApp`s by the app they hold.
    holders: HashMap<AppRef, BTreeSet<String>>,
    /// Names of slices by service.
    slices: HashMap<String, BTreeSet<String>>,
    /// Instances whose route must be made anew.
    dirty: HashSet<String>,
    dirty_apps: HashSet<AppRef>,
    /// Aliases have changed, or instances that they may name.
    dirty_names: bool,
    names: Arc<Names>,
    /// Primary names by instance.
    primaries: HashMap<String, Arc<Primary>>,
    /// The use of instances, by name and UID.
    activities: HashMap<String, (String, Arc<Activity>)>,
    connector: Connector,
    domains: OwnDomains,
}

/// Hosts of the store and of its apps, which no alias may have.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnDomains {
    pub(super) store: String,
    pub(super) apps: String,
}

impl State {
    /// Nothing is known yet; routes will connect to their pods by `connector`.
    pub(super) fn new(connector: Connector, domains: OwnDomains) -> Self {
        Self {
            connector,
            domains,
            ..Self::default()
        }
    }

    /// Takes in what a watch says.
    pub(super) fn observe(&mut self, kind: Kind, change: Change, health: &Health) {
        let event = match change {
            Ok(event) => event,
            Err(error) => {
                health.note(kind, |watch| {
                    let now = Instant::now();
                    watch.last_error = Some(now);
                    watch.failing_since.get_or_insert(now);
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
            if watch.last_error > watch.last_event {
                info!("Watching {kind} again");
            }
            watch.last_event = Some(Instant::now());
            watch.failing_since = None;
            watch.synced |= listed;
        });
        self.note_activity(&event);
        for (name, before) in self.objects[kind as usize].apply(event) {
            let now = self.objects[kind as usize].current.get(&name).cloned();
            if let Some(object) = &before {
                self.unindex(&name, object);
            }
            if let Some(object) = &now {
                self.index(&name, object);
            }
            match kind {
                Kind::WaveInstances => {
                    self.dirty_names |= before.is_some() != now.is_some();
                    self.dirty.insert(name);
                }
                Kind::WaveAliases => self.dirty_names = true,
                Kind::WaveApps | Kind::EndpointSlices | Kind::AppSecrets => {}
            }
        }
    }

    /// Notes when an instance was used last, which changes no route.
    fn note_activity(&mut self, event: &Event<(String, Option<Object>)>) {
        match event {
            Event::Apply((name, Some(Object::Instance(instance))))
            | Event::InitApply((name, Some(Object::Instance(instance)))) => {
                let activity = self.activity(name, &instance.uid);
                activity.told(instance.last_activity.0);
            }
            Event::Apply(_)
            | Event::InitApply(_)
            | Event::Delete(_)
            | Event::Init
            | Event::InitDone => {}
        }
    }

    /// The use of an instance; a new one of an old name begins anew.
    fn activity(&mut self, name: &str, uid: &str) -> Arc<Activity> {
        let (known, activity) = self.activities.entry(name.to_owned()).or_default();
        if known != uid {
            uid.clone_into(known);
            *activity = Arc::default();
        }
        activity.clone()
    }

    /// Settles anew whose names are whose; instances whose primary name has changed get new routes.
    fn settle_names(&mut self) {
        if !std::mem::take(&mut self.dirty_names) {
            return;
        }
        let instances = &self.objects[Kind::WaveInstances as usize].current;
        let aliases = &self.objects[Kind::WaveAliases as usize].current;
        let claims = aliases.iter().filter_map(|(name, object)| match object {
            Object::Alias(alias) => Some(Claim {
                name,
                created: alias.created,
                spec: &alias.spec,
            }),
            Object::Instance(_) | Object::App(_) | Object::Slice(_) | Object::Secrets(_) => None,
        });
        let domains = Domains {
            store: &self.domains.store,
            apps: &self.domains.apps,
        };
        let standings = crds::settle(claims.collect(), domains, |name| {
            instances.contains_key(name)
        });
        let mut names = Names::default();
        let mut primaries = HashMap::new();
        for standing in standings.iter().filter(|standing| standing.is_in_force) {
            let (Ok(name), Ok(instance)) = (
                standing.name.parse::<InstanceId>(),
                standing.instance.parse::<InstanceId>(),
            ) else {
                continue;
            };
            let host = standing.host.map(str::to_owned);
            if let Some(host) = &host {
                names.hosts.insert(host.clone(), name.clone());
            }
            if standing.is_primary {
                let primary = Primary {
                    name: name.clone(),
                    host,
                };
                primaries.insert(standing.instance.to_owned(), Arc::new(primary));
            }
            names.aliases.insert(name, instance);
        }
        let all = primaries.keys().chain(self.primaries.keys());
        let changed = all.filter(|name| primaries.get(*name) != self.primaries.get(*name));
        self.dirty.extend(changed.cloned());
        self.primaries = primaries;
        if *self.names != names {
            self.names = Arc::new(names);
        }
    }

    fn unindex(&mut self, name: &str, object: &Object) {
        match object {
            Object::Instance(_) | Object::Alias(_) | Object::Secrets(_) => {}
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
            Object::Instance(_) | Object::Alias(_) | Object::Secrets(_) => {}
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

    /// Puts what changed in force, once every kind has been listed.
    pub(super) fn publish(&mut self, table: &Table, health: &Health) {
        if health.is_listed() {
            self.publish_changes(table);
            health.note_in_force();
        }
    }

    /// Makes the changed routes anew and puts them in force; the others stay as they are.
    fn publish_changes(&mut self, table: &Table) {
        self.settle_names();
        let same_names =
            Arc::ptr_eq(&table.load().names, &self.names) || *table.load().names == *self.names;
        let secrets = self.secrets();
        let same_secrets = table.load().secrets == secrets;
        if self.dirty.is_empty() && self.dirty_apps.is_empty() && same_names && same_secrets {
            return;
        }
        let services_only = self.dirty_apps.is_empty() && same_names && same_secrets && {
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
        snapshot.names = self.names.clone();
        snapshot.secrets = secrets;
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
            if let Some(route) = self.route(&name, old.as_deref()) {
                snapshot.routes.insert(route.id.clone(), Arc::new(route));
            } else {
                self.activities.remove(&name);
                snapshot.routes.remove(name.as_str());
            }
        }
        table.publish(snapshot);
    }

    /// What the operator tells of Secrets; nothing before it has.
    fn secrets(&self) -> Arc<Secrets> {
        let maps = &self.objects[Kind::AppSecrets as usize].current;
        match maps.get(SECRET_INDEX) {
            Some(Object::Secrets(secrets)) => secrets.clone(),
            Some(Object::Instance(_) | Object::App(_) | Object::Slice(_) | Object::Alias(_))
            | None => Arc::default(),
        }
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

    fn route(&mut self, name: &str, old: Option<&Route>) -> Option<Route> {
        let instances = &self.objects[Kind::WaveInstances as usize].current;
        let Some(Object::Instance(instance)) = instances.get(name) else {
            return None;
        };
        let uid = instance.uid.clone();
        let activity = self.activity(name, &uid);
        let instances = &self.objects[Kind::WaveInstances as usize].current;
        let Some(Object::Instance(instance)) = instances.get(name) else {
            return None;
        };
        let app = self.app(&instance.app);
        let slices = &self.objects[Kind::EndpointSlices as usize].current;
        let mut keys: Vec<&UpstreamKey> = Vec::new();
        let mut pods = Vec::new();
        for slice in self.slices.get(name).into_iter().flatten() {
            if let Some(Object::Slice(slice)) = slices.get(slice) {
                pods.extend(slice.pods.iter().cloned());
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
        let live = Live {
            upstreams,
            pods,
            primary: self.primaries.get(name).cloned(),
            activity,
        };
        Some(Route::new(name.parse().ok()?, instance, app, live))
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
    use crds::INSTANCE_LABEL;
    use serde_json::{Value, json};

    use super::*;
    use crate::table::object::{
        SERVICE_LABEL, read_alias, read_app, read_instance, read_secrets, read_slice,
    };
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
        let labels = json!({ SERVICE_LABEL: service, INSTANCE_LABEL: service });
        labelled_slice(name, &labels, &json!(endpoints))
    }

    fn labelled_slice(name: &str, labels: &Value, endpoints: &Value) -> (String, Option<Object>) {
        let object = serde_json::from_value(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": name, "labels": labels },
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
            watched.see(Kind::WaveAliases, list(Vec::new()));
            watched.see(Kind::AppSecrets, list(Vec::new()));
            watched
        }

        fn see(&mut self, kind: Kind, events: Vec<Given>) {
            for event in events {
                self.state.observe(kind, Ok(event), &self.health);
            }
            self.state.publish(&self.table, &self.health);
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

    /// A router that calls itself ready in between would deny instances that exist.
    #[tokio::test]
    async fn lists_count_once_they_are_in_force() {
        let mut watched = Watched {
            state: State::default(),
            health: Health::default(),
            table: Table::default(),
        };
        let lists = [
            (Kind::WaveApps, Vec::new()),
            (Kind::EndpointSlices, Vec::new()),
            (Kind::WaveAliases, Vec::new()),
            (Kind::AppSecrets, Vec::new()),
            (Kind::WaveInstances, vec![instance("sales")]),
        ];
        for (kind, objects) in lists {
            for event in list(objects) {
                watched.state.observe(kind, Ok(event), &watched.health);
            }
        }
        assert!(!watched.health.is_synced());
        watched.state.publish(&watched.table, &watched.health);
        assert!(watched.health.is_synced());
        assert!(watched.table.route("sales").is_some());
    }

    #[tokio::test]
    async fn what_is_told_of_secrets_is_in_the_table() {
        let mut watched = Watched::start();
        let names = |watched: &Watched| {
            let snapshot = watched.table.load();
            snapshot.secrets.keys().cloned().collect::<Vec<_>>()
        };
        assert!(names(&watched).is_empty());
        let entry = r#"{"scope":"Private","owner":"alice","keys":[],"isOfStore":true,"uid":"1","resourceVersion":"1"}"#;
        let map = serde_json::from_value(json!({
            "metadata": { "name": SECRET_INDEX },
            "data": { "database": entry, "broken": "{", "of-a-later-release": r#"{"scope":"Team"}"# },
        }));
        let told = Object::Secrets(read_secrets(map.expect("a ConfigMap")));
        let told = (SECRET_INDEX.to_owned(), Some(told));
        watched.see(Kind::AppSecrets, vec![Event::Apply(told)]);
        assert_eq!(names(&watched), ["database"]);
        assert!(watched.table.route("sales").is_some());
        let gone = (SECRET_INDEX.to_owned(), None);
        watched.see(Kind::AppSecrets, vec![Event::Delete(gone)]);
        assert!(names(&watched).is_empty());
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

    /// CVE-2020-15110: an instance that takes the name of another service gets that service's traffic.
    #[tokio::test]
    async fn an_instance_does_not_open_a_service_that_has_its_name() {
        let mut watched = Watched::start();
        let endpoints = json!([{ "addresses": ["10.0.0.9"] }]);
        for labels in [
            json!({ SERVICE_LABEL: "other" }),
            json!({ SERVICE_LABEL: "other", INSTANCE_LABEL: "sales" }),
        ] {
            let event = Event::Apply(labelled_slice("other-x", &labels, &endpoints));
            watched.see(Kind::EndpointSlices, vec![event]);
            assert!(watched.upstreams("other").is_empty(), "{labels}");
        }
        let labels = json!({ SERVICE_LABEL: "other", INSTANCE_LABEL: "other" });
        let event = Event::Apply(labelled_slice("other-x", &labels, &endpoints));
        watched.see(Kind::EndpointSlices, vec![event]);
        assert_eq!(watched.upstreams("other"), ["10.0.0.9:10101"]);
    }

    #[tokio::test]
    async fn services_that_are_no_instances_change_nothing() {
        let mut watched = Watched::start();
        let before = watched.table.load();
        let event = Event::Apply(slice("store-x", "store", &[("10.0.0.9", None)]));
        watched.see(Kind::EndpointSlices, vec![event]);
        assert!(Arc::ptr_eq(&before, &watched.table.load()));
    }

    fn alias(name: &str, spec: &Value, created: &str) -> Event<(String, Option<Object>)> {
        let object = serde_json::from_value(json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveAlias",
            "metadata": { "name": name, "creationTimestamp": created }, "spec": spec,
        }));
        let alias = Object::Alias(read_alias(object.expect("an alias")));
        Event::Apply((name.into(), Some(alias)))
    }

    #[tokio::test]
    async fn aliases_lead_to_instances_and_the_oldest_primary_one_counts() {
        let mut watched = Watched::start();
        let named = |watched: &Watched, name: &str| {
            let route = watched.table.named(&name.parse().expect("a name"));
            route.map(|route| {
                let primary = route
                    .primary
                    .as_ref()
                    .map(|primary| primary.name.to_string());
                (route.id.to_string(), primary)
            })
        };
        let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let primary = json!({ "instance": "sales", "primary": true, "host": "crm.test" });
        watched.see(
            Kind::WaveAliases,
            vec![
                alias("new", &json!({ "instance": "sales", "primary": true }), new),
                alias("crm", &primary, old),
                alias("empty", &json!({ "instance": "gone" }), old),
                alias("other", &json!({ "instance": "sales" }), old),
            ],
        );
        let sales = Some(("sales".to_owned(), Some("crm".to_owned())));
        for name in ["sales", "crm", "new"] {
            assert_eq!(named(&watched, name), sales, "{name}");
        }
        assert_eq!(named(&watched, "empty"), None);
        assert_eq!(
            named(&watched, "other"),
            Some(("other".to_owned(), None)),
            "an instance keeps its name"
        );
        assert!(watched.table.own_host("CRM.test").is_some());
        // By its own name alone, what belongs to an instance is not another's.
        assert!(watched.table.route("crm").is_none());

        watched.see(Kind::WaveAliases, vec![Event::Delete(("crm".into(), None))]);
        assert_eq!(named(&watched, "crm"), None);
        assert_eq!(
            named(&watched, "sales"),
            Some(("sales".to_owned(), Some("new".to_owned())))
        );
        assert!(watched.table.own_host("crm.test").is_none());
        // The instance comes, and its alias leads there.
        watched.see(Kind::WaveInstances, vec![Event::Apply(instance("gone"))]);
        assert_eq!(named(&watched, "empty"), Some(("gone".to_owned(), None)));
        // An instance that takes an alias's name has it.
        watched.see(Kind::WaveInstances, vec![Event::Apply(instance("new"))]);
        assert_eq!(named(&watched, "new"), Some(("new".to_owned(), None)));
        assert_eq!(named(&watched, "sales"), Some(("sales".to_owned(), None)));
    }

    #[tokio::test]
    async fn use_lives_on_when_a_route_is_made_anew_and_makes_none() {
        let mut watched = Watched::start();
        let before = watched.table.route("sales").expect("it");
        before.activity.note();
        let snapshot = watched.table.load();
        let used = |uid: &str, second: u8| {
            let (name, object) = instance("sales");
            let Some(Object::Instance(mut instance)) = object else {
                panic!("an instance");
            };
            uid.clone_into(&mut instance.uid);
            let at = format!("2026-01-01T00:00:0{second}Z").parse();
            instance.last_activity.0 = Some(at.expect("a time"));
            Event::Apply((name, Some(Object::Instance(instance))))
        };
        watched.see(Kind::WaveInstances, vec![used("1", 1), used("1", 2)]);
        assert!(Arc::ptr_eq(&snapshot, &watched.table.load()));
        watched.see(
            Kind::EndpointSlices,
            vec![Event::Delete(("sales-x".into(), None))],
        );
        let after = watched.table.route("sales").expect("it");
        assert!(Arc::ptr_eq(&before.activity, &after.activity));
        watched.see(Kind::WaveInstances, vec![used("2", 3)]);
        let another = watched.table.route("sales").expect("it");
        assert!(!Arc::ptr_eq(&after.activity, &another.activity));
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
