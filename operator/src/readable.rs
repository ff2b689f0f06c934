//! Objects that this version cannot read, such as those with a field of a later one. One of them must not blind the watch: it
//! is told so, and to everybody else it is not there.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crds::{
    AppRef, BundleSource, ConditionStatus, ConditionType, Visibility, WaveAlias, WaveAliasSpec,
    WaveApp, WaveAppSpec, WaveInstance, WaveInstanceSpec, condition,
};
use futures::{Stream, StreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::warn;

use crate::error::chain;
use crate::events::FIELD_MANAGER;
use crate::lease::Leadership;

/// Longest time that telling one may take; the watch waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A kind of which there can be objects that nothing is known of but their metadata.
pub(crate) trait StandIn {
    /// One with this metadata; by it, one that could be read before is taken out.
    fn stand_in(metadata: ObjectMeta) -> Self;
}

impl StandIn for WaveInstance {
    fn stand_in(metadata: ObjectMeta) -> Self {
        let spec = WaveInstanceSpec {
            app: AppRef::default(),
            owner: String::new(),
            visibility: Visibility::default(),
            suspended: false,
            size: None,
        };
        Self {
            metadata,
            ..Self::new("", spec)
        }
    }
}

impl StandIn for WaveApp {
    fn stand_in(metadata: ObjectMeta) -> Self {
        let spec = WaveAppSpec {
            bundle: BundleSource::default(),
            owner: String::new(),
            visibility: Visibility::default(),
            tags: Vec::new(),
        };
        Self {
            metadata,
            ..Self::new("", spec)
        }
    }
}

impl StandIn for WaveAlias {
    fn stand_in(metadata: ObjectMeta) -> Self {
        let spec = WaveAliasSpec {
            instance: String::new(),
            primary: false,
            host: None,
        };
        Self {
            metadata,
            ..Self::new("", spec)
        }
    }
}

/// Watches objects of one kind, and leaves out those that cannot be read. They are told so when we lead.
pub(crate) fn watch<K>(
    client: Client,
    namespace: &str,
    leadership: &Leadership,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + StandIn
        + Send
        + Sync
        + 'static,
{
    let guarded: Api<DeserializeGuard<K>> = Api::namespaced(client.clone(), namespace);
    let teller = Arc::new(Teller {
        api: Api::<K>::namespaced(client, namespace),
        told: Mutex::default(),
        waiting: Mutex::new(Some(HashMap::new())),
    });
    let begun = leadership.begun();
    let first = teller.clone();
    let told = stream::once(async move {
        begun.await;
        first.begin().await;
    });
    let told = told.filter_map(|()| std::future::ready(None));
    let events = watcher::watcher(guarded, watcher::Config::default()).filter_map(move |event| {
        let teller = teller.clone();
        async move {
            let event = match event {
                Err(error) => return Some(Err(error)),
                Ok(event) => event,
            };
            Some(Ok(match event {
                Event::Init => Event::Init,
                Event::InitDone => Event::InitDone,
                Event::InitApply(DeserializeGuard(Ok(object))) => {
                    teller.forget(object.meta());
                    Event::InitApply(object)
                }
                Event::InitApply(DeserializeGuard(Err(invalid))) => {
                    teller.tell(&invalid).await;
                    return None;
                }
                Event::Apply(DeserializeGuard(Ok(object))) => {
                    teller.forget(object.meta());
                    Event::Apply(object)
                }
                Event::Apply(DeserializeGuard(Err(invalid))) => {
                    teller.tell(&invalid).await;
                    Event::Delete(K::stand_in(invalid.metadata))
                }
                Event::Delete(DeserializeGuard(Ok(object))) => Event::Delete(object),
                Event::Delete(DeserializeGuard(Err(invalid))) => {
                    teller.forget(&invalid.metadata);
                    Event::Delete(K::stand_in(invalid.metadata))
                }
            }))
        }
    });
    stream::select(told, events)
}

/// Tells each object once what is wrong with it.
struct Teller<K> {
    api: Api<K>,
    /// Uid and generation of those that were told.
    told: Mutex<HashSet<(Option<String>, Option<i64>)>>,
    /// Those that are told when we lead, by name; nothing once we do.
    waiting: Mutex<Option<HashMap<Option<String>, InvalidObject>>>,
}

/// Most objects that are remembered.
const TOLD: usize = 10_000;

impl<K> Teller<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    async fn tell(&self, invalid: &InvalidObject) {
        let metadata = &invalid.metadata;
        let is_new = {
            let mut told = self.told.lock();
            if told.len() >= TOLD {
                told.clear();
            }
            told.insert((metadata.uid.clone(), metadata.generation))
        };
        if let Some(waiting) = &mut *self.waiting.lock() {
            if waiting.len() < TOLD {
                waiting.insert(metadata.name.clone(), invalid.clone());
            }
            return;
        }
        // What is written is seen by the watch again.
        if is_new {
            write(&self.api, invalid).await;
        }
    }

    /// The object can be read now, or is gone.
    fn forget(&self, metadata: &ObjectMeta) {
        if let Some(waiting) = &mut *self.waiting.lock() {
            waiting.remove(&metadata.name);
        }
    }

    /// Tells those that waited.
    async fn begin(&self) {
        let waiting = self.waiting.lock().take();
        for invalid in waiting.unwrap_or_default().values() {
            write(&self.api, invalid).await;
        }
    }
}

/// Writes what is wrong into the object's own conditions.
async fn write<K>(api: &Api<K>, invalid: &InvalidObject)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let kind = K::kind(&());
    let name = invalid.metadata.name.as_deref().unwrap_or_default();
    warn!(
        error = invalid.error,
        "The {kind} {name} cannot be read by this version of the operator, and is left alone"
    );
    let message = format!(
        "this version of the operator cannot read it, and leaves it alone: {} (hint: upgrade the store, or take out what it does not know)",
        invalid.error
    );
    let now = Time(Timestamp::now());
    let make = |type_, status| {
        let generation = invalid.metadata.generation;
        condition(type_, status, "Unreadable", &message, generation, &now)
    };
    let conditions = [
        make(ConditionType::Ready, ConditionStatus::False),
        make(ConditionType::Stalled, ConditionStatus::True),
    ];
    // The rest of the status stays as it is.
    let patch = json!({ "status": { "conditions": conditions } });
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(patch);
    match tokio::time::timeout(TIMEOUT, api.patch_status(name, &params, &patch)).await {
        // It may itself be what cannot be read.
        Ok(Ok(_) | Err(kube::Error::SerdeError(_))) => {}
        Ok(Err(error)) => warn!(
            error = chain(&error),
            "Could not write the status of {kind} {name}"
        ),
        Err(_elapsed) => warn!("Could not write the status of {kind} {name} in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api;

    #[tokio::test]
    async fn an_object_of_a_later_version_is_told_so_and_blinds_nobody() {
        let object = |name: &str, spec: serde_json::Value| {
            json!({
                "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveInstance",
                "metadata": { "name": name, "uid": name, "generation": 1 }, "spec": spec,
            })
        };
        let app = json!({ "name": "hello", "version": "1.0.0" });
        let list = json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveInstanceList", "metadata": { "resourceVersion": "1" },
            "items": [
                object("later", json!({ "app": app, "owner": "alice", "colour": "green" })),
                object("sales", json!({ "app": app, "owner": "alice" })),
            ],
        });
        let (client, log) =
            fake_api::start(move |line| line.starts_with("GET").then(|| (200, list.clone()))).await;
        let leadership = Leadership::for_tests();
        let events = watch::<WaveInstance>(client, "wavestore", &leadership);
        let events: Vec<_> = events.take(3).collect().await;
        let names: Vec<Option<String>> = events
            .into_iter()
            .map(|event| match event.expect("an event") {
                Event::InitApply(instance) => instance.metadata.name,
                Event::Init | Event::InitDone | Event::Apply(_) | Event::Delete(_) => None,
            })
            .collect();
        assert_eq!(names, [None, Some("sales".to_owned()), None]);
        let log = log.lock();
        let told = log.iter().find(|asked| asked.line.starts_with("PATCH"));
        let told = told.expect("it was told");
        assert!(
            told.line.ends_with("/waveinstances/later/status"),
            "{}",
            told.line
        );
        let stalled = &told.body["status"]["conditions"][1];
        assert_eq!(stalled["reason"], "Unreadable");
        let message = stalled["message"].as_str().unwrap_or_default();
        assert!(message.contains("colour"), "{message}");
    }
}
