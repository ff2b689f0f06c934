//! `Index`: what a watch has shown, kept by instance (or by app) and cut down to what is needed.
//!
//! kube's reflector keeps whole objects by their own name; ten thousand Helm Secrets would be hundreds of
//! megabytes, and a pod's name says nothing of its instance.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use kube::runtime::watcher;
use parking_lot::RwLock;
use tokio::sync::watch;

/// What is kept of one object.
pub(crate) struct Kept<T> {
    /// The instance or app that the object belongs to.
    pub(crate) key: String,
    /// The object's own name.
    pub(crate) object: String,
    /// What is known of it.
    pub(crate) value: T,
}

type Objects<T> = HashMap<String, BTreeMap<String, T>>;

/// Objects by the instance or app that they belong to.
pub(crate) struct Index<T> {
    objects: RwLock<Objects<T>>,
    synced: watch::Sender<bool>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self {
            objects: RwLock::default(),
            synced: watch::Sender::new(false),
        }
    }
}

impl<T: Clone + PartialEq> Index<T> {
    /// Everything that belongs to `key`.
    pub(crate) fn get(&self, key: &str) -> Vec<T> {
        self.objects
            .read()
            .get(key)
            .map(|objects| objects.values().cloned().collect())
            .unwrap_or_default()
    }

    /// One object of those that belong to `key`.
    pub(crate) fn object(&self, key: &str, object: &str) -> Option<T> {
        self.objects.read().get(key)?.get(object).cloned()
    }

    /// Whether anything belongs to `key`.
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.objects.read().contains_key(key)
    }

    /// The first object that `wanted` is true for, in no order.
    pub(crate) fn find(&self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let objects = self.objects.read();
        let mut values = objects.values().flat_map(BTreeMap::values);
        values.find(|value| wanted(value)).cloned()
    }

    /// The keys that `wanted` is true for, in no order.
    pub(crate) fn keys(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let objects = self.objects.read();
        objects.keys().filter(|key| wanted(key)).cloned().collect()
    }

    /// Waits until the first list is complete.
    pub(crate) async fn synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives as long as `self`.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    fn insert(&self, kept: Kept<T>) -> Option<String> {
        let mut objects = self.objects.write();
        let entry = objects.entry(kept.key.clone()).or_default();
        let changed = entry.get(&kept.object) != Some(&kept.value);
        entry.insert(kept.object, kept.value);
        changed.then_some(kept.key)
    }

    fn remove(&self, kept: &Kept<T>) -> Option<String> {
        let mut objects = self.objects.write();
        let entry = objects.get_mut(&kept.key)?;
        let changed = entry.remove(&kept.object).is_some();
        if entry.is_empty() {
            objects.remove(&kept.key);
        }
        changed.then(|| kept.key.clone())
    }

    /// Takes over a complete list; returns the keys whose objects differ from before.
    fn replace(&self, fresh: Objects<T>) -> Vec<String> {
        let old = std::mem::replace(&mut *self.objects.write(), fresh);
        let objects = self.objects.read();
        let keys: HashSet<&String> = old.keys().chain(objects.keys()).collect();
        let changed = keys
            .into_iter()
            .filter(|key| old.get(*key) != objects.get(*key))
            .cloned()
            .collect();
        self.synced.send_replace(true);
        changed
    }
}

/// Feeds a watch's events into `index`; yields the keys whose objects have changed.
pub(crate) fn fill<K, T>(
    index: Arc<Index<T>>,
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
    keep: impl Fn(K) -> Option<Kept<T>> + Send,
) -> impl Stream<Item = watcher::Result<String>> + Send
where
    T: Clone + PartialEq + Send + Sync,
    K: Send,
{
    let mut listed: Objects<T> = HashMap::new();
    events.flat_map(move |event| {
        let changed: Vec<watcher::Result<String>> = match event {
            Err(error) => vec![Err(error)],
            Ok(watcher::Event::Init) => {
                listed.clear();
                Vec::new()
            }
            Ok(watcher::Event::InitApply(object)) => {
                if let Some(kept) = keep(object) {
                    listed
                        .entry(kept.key)
                        .or_default()
                        .insert(kept.object, kept.value);
                }
                Vec::new()
            }
            Ok(watcher::Event::InitDone) => index
                .replace(std::mem::take(&mut listed))
                .into_iter()
                .map(Ok)
                .collect(),
            Ok(watcher::Event::Apply(object)) => keep(object)
                .and_then(|kept| index.insert(kept))
                .map(Ok)
                .into_iter()
                .collect(),
            Ok(watcher::Event::Delete(object)) => keep(object)
                .and_then(|kept| index.remove(&kept))
                .map(Ok)
                .into_iter()
                .collect(),
        };
        stream::iter(changed)
    })
}

#[cfg(test)]
mod tests {
    use watcher::Event;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as `fill` wants it")]
    fn keep((key, object, value): (&str, &str, u8)) -> Option<Kept<u8>> {
        Some(Kept {
            key: key.to_owned(),
            object: object.to_owned(),
            value,
        })
    }

    #[tokio::test]
    async fn a_second_list_tells_what_came_changed_and_went_in_between() {
        let index = Arc::new(Index::default());
        let events = [
            Event::Init,
            Event::InitApply(("same", "a", 1)),
            Event::InitApply(("changed", "a", 1)),
            Event::InitApply(("gone", "a", 1)),
            Event::InitDone,
            Event::Init,
            Event::InitApply(("same", "a", 1)),
            Event::InitApply(("changed", "a", 2)),
            Event::InitApply(("new", "a", 1)),
            Event::InitDone,
        ];
        let changes = fill(index.clone(), stream::iter(events.map(Ok)), keep);
        let mut changes: Vec<String> = changes.map(|key| key.expect("a key")).collect().await;
        changes[..3].sort();
        changes[3..].sort();
        let expected = ["changed", "gone", "same", "changed", "gone", "new"];
        assert_eq!(changes, expected);
        assert_eq!(index.get("changed"), [2]);
        assert_eq!(index.get("gone"), [0_u8; 0]);
    }

    #[tokio::test]
    async fn an_event_that_changes_nothing_kept_is_silent() {
        let index = Arc::new(Index::default());
        let events = [
            Event::Apply(("key", "a", 1)),
            Event::Apply(("key", "a", 1)),
            Event::Delete(("key", "a", 1)),
            Event::Delete(("key", "a", 1)),
        ];
        let changes = fill(index.clone(), stream::iter(events.map(Ok)), keep);
        let changes: Vec<String> = changes.map(|key| key.expect("a key")).collect().await;
        assert_eq!(changes, ["key", "key"]);
        assert_eq!(index.find(|_| true), None);
    }
}
