//! Tells routers, which may not read Secrets, of those that apps may read: names, owners, keys, and no value.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{SECRET_INDEX, SecretEntry};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::warn;

use crate::error::{Error, chain};
use crate::events::FIELD_MANAGER;

/// Most bytes in the `ConfigMap`, which holds a mebibyte. What does not fit is not listed, and apps read it all the same.
const MOST_BYTES: usize = 900_000;

/// How long to wait after a failure; and when the `ConfigMap` is written again though nothing has changed, since somebody may
/// have done something to it.
const PAUSE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_mins(1);

/// The Secrets that a watch has shown, by name, with the versions that are there.
type Versions = BTreeMap<String, String>;

/// What is told of Secrets.
#[derive(Default)]
pub(crate) struct Index {
    seen: Mutex<Seen>,
    changed: Notify,
}

#[derive(Default)]
struct Seen {
    current: Versions,
    /// What a new list has brought so far.
    listing: Versions,
    is_listed: bool,
}

/// What was read of one of them, by the version that the watch had shown.
type Known = BTreeMap<String, (String, Option<SecretEntry>)>;

impl Index {
    /// Takes in what the watch says.
    pub(crate) fn note(&self, event: &Event<PartialObjectMeta<Secret>>) {
        let mut seen = self.seen.lock();
        let of = |secret: &PartialObjectMeta<Secret>| {
            let version = secret.resource_version().unwrap_or_default();
            (secret.name_any(), version)
        };
        match event {
            Event::Init => seen.listing.clear(),
            Event::InitApply(secret) => seen.listing.extend([of(secret)]),
            Event::InitDone => {
                seen.current = std::mem::take(&mut seen.listing);
                seen.is_listed = true;
            }
            Event::Apply(secret) => seen.current.extend([of(secret)]),
            Event::Delete(secret) => drop(seen.current.remove(&secret.name_any())),
        }
        drop(seen);
        self.changed.notify_one();
    }

    /// What there is, once all of it has been listed.
    fn versions(&self) -> Option<Versions> {
        let seen = self.seen.lock();
        seen.is_listed.then(|| seen.current.clone())
    }

    /// Keeps the `ConfigMap` as the Secrets are, until stopped.
    pub(crate) async fn publish(&self, secrets: &Api<Secret>, maps: &Api<ConfigMap>) {
        let mut known = Known::new();
        loop {
            if let Some(versions) = self.versions() {
                let written = self.write(secrets, maps, versions, &mut known).await;
                if let Err(error) = written {
                    warn!(
                        error = chain(&error),
                        "Could not tell routers of the Secrets that apps may read"
                    );
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            let _ = timeout(AGAIN, self.changed.notified()).await;
        }
    }

    async fn write(
        &self,
        secrets: &Api<Secret>,
        maps: &Api<ConfigMap>,
        versions: Versions,
        known: &mut Known,
    ) -> Result<(), Error> {
        known.retain(|name, _| versions.contains_key(name));
        for (name, version) in versions {
            if known.get(&name).is_some_and(|(of, _)| *of == version) {
                continue;
            }
            // One at a time: their values are in memory until the next one.
            let secret = secrets.get_opt(&name).await;
            let secret = secret.map_err(kube_error("read a Secret", &name))?;
            let entry = secret.as_ref().and_then(SecretEntry::of);
            known.insert(name, (version, entry));
        }
        let entries = known
            .iter()
            .filter_map(|(name, (_, entry))| Some((name, entry.as_ref()?)));
        let (data, left_out) = rows(entries);
        if left_out > 0 {
            warn!("There are too many Secrets that apps may read: {left_out} are not listed");
        }
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(SECRET_INDEX.to_owned()),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        };
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let written = maps.patch(SECRET_INDEX, &params, &Patch::Apply(&map)).await;
        written
            .map(drop)
            .map_err(kube_error("write the ConfigMap", SECRET_INDEX))
    }
}

/// As many of the entries as fit, and how many do not. Names of Secrets are good keys of a `ConfigMap`.
fn rows<'a>(
    entries: impl Iterator<Item = (&'a String, &'a SecretEntry)>,
) -> (BTreeMap<String, String>, usize) {
    let mut rows = BTreeMap::new();
    let (mut bytes, mut left_out) = (0, 0);
    for (name, entry) in entries {
        let row = serde_json::to_string(entry).expect("an entry is plain data");
        let size = name.len() + row.len();
        if bytes + size > MOST_BYTES {
            left_out += 1;
            continue;
        }
        bytes += size;
        rows.insert(name.clone(), row);
    }
    (rows, left_out)
}

fn kube_error<'a>(
    task: &'static str,
    name: &'a str,
) -> impl FnOnce(kube::Error) -> Error + use<'a> {
    move |source| Error::Kube {
        task: format!("{task} `{name}`"),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, version: &str) -> PartialObjectMeta<Secret> {
        PartialObjectMeta {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            },
            ..PartialObjectMeta::default()
        }
    }

    #[test]
    fn the_watch_is_followed_through_interruptions() {
        let index = Index::default();
        let names = || {
            let versions = index.versions()?;
            let all: Vec<String> = versions
                .iter()
                .map(|(name, version)| format!("{name}@{version}"))
                .collect();
            Some(all.join(" "))
        };
        index.note(&Event::Init);
        index.note(&Event::InitApply(secret("a", "1")));
        index.note(&Event::InitApply(secret("b", "1")));
        assert_eq!(names(), None);
        index.note(&Event::InitDone);
        assert_eq!(names().as_deref(), Some("a@1 b@1"));
        index.note(&Event::Apply(secret("a", "2")));
        index.note(&Event::Apply(secret("c", "3")));
        index.note(&Event::Delete(secret("b", "1")));
        assert_eq!(names().as_deref(), Some("a@2 c@3"));
        // What was listed before counts until the new list is whole.
        index.note(&Event::Init);
        index.note(&Event::InitApply(secret("c", "3")));
        assert_eq!(names().as_deref(), Some("a@2 c@3"));
        index.note(&Event::InitDone);
        assert_eq!(names().as_deref(), Some("c@3"));
    }

    #[test]
    fn as_much_is_told_as_a_config_map_holds() {
        let entry = |keys: usize| SecretEntry {
            readers: crds::SecretReaders::Private {
                owner: "alice".to_owned(),
            },
            keys: vec!["k".repeat(250); keys],
            is_of_store: true,
            uid: String::new(),
            resource_version: String::new(),
            set_at: None,
        };
        let (small, huge) = (entry(1), entry(MOST_BYTES / 250));
        let names = ["a", "b", "c"].map(str::to_owned);
        let all = names.iter().zip([&small, &huge, &small]);
        let (told, left_out) = rows(all);
        assert_eq!(told.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(left_out, 1);
    }
}
