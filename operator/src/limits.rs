//! What a user may have at once, and an app. The operator refuses with a condition what goes beyond; who has as many instances
//! as a user may have is also written into a `ConfigMap`, by which the API server refuses another one at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bundle::Quantity;
use crds::WaveInstance;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::error::{Error, chain};
use crate::events::FIELD_MANAGER;

/// Name of the `ConfigMap` with the users who may have no more instances.
pub(crate) const FULL: &str = "wavestore-full-users";

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Most users in it; a `ConfigMap` holds a mebibyte. Those beyond are refused by condition alone.
const MOST_USERS: usize = 4000;

/// What may be had at once. None: as much as one likes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// Instances of one user.
    pub(crate) instances_per_user: Option<u32>,
    /// Memory limits of all instances of one user together.
    pub(crate) memory_per_user: Option<Quantity>,
    /// Versions of one app.
    pub(crate) versions_per_app: Option<u32>,
}

/// What an owner has, and would have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Other instances of the owner that come first: they have a release, or are older.
    pub(crate) others: u32,
    /// Their memory, in bytes.
    pub(crate) others_memory: u128,
    /// Memory of this instance as wanted, in bytes.
    pub(crate) memory: u128,
    /// Memory of this instance as it runs for the same owner, in bytes; none when it does not.
    pub(crate) running_memory: Option<u128>,
}

/// Why an owner may not have what is wanted, if so.
pub(crate) fn exceeded(limits: &Limits, owner: &str, usage: Usage) -> Option<String> {
    let Usage {
        others,
        others_memory,
        memory,
        running_memory,
    } = usage;
    let is_new = running_memory.is_none();
    if let Some(limit) = limits.instances_per_user
        && is_new
        && others >= limit
    {
        return Some(format!(
            "user `{owner}` has {others} instances, and may have {limit} (hint: delete one, or ask the store's administrator for more)"
        ));
    }
    let grows = running_memory.is_none_or(|running| memory > running);
    if let Some(limit) = &limits.memory_per_user
        && grows
        && others_memory.saturating_add(memory) > limit.units()
    {
        return Some(format!(
            "the instances of user `{owner}` would have {} of memory together, and may have {limit} (hint: delete one, or ask the store's administrator for more)",
            mebibytes(others_memory.saturating_add(memory))
        ));
    }
    None
}

fn mebibytes(bytes: u128) -> String {
    format!("{}Mi", bytes.div_ceil(1 << 20))
}

/// The users who have as many instances as a user may have.
fn full_users(instances: &[Arc<WaveInstance>], limit: u32) -> Vec<String> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for instance in instances {
        if instance.metadata.deletion_timestamp.is_none() {
            *counts.entry(&instance.spec.owner).or_default() += 1;
        }
    }
    let full = counts.into_iter().filter(|(_, count)| *count >= limit);
    full.map(|(owner, _)| owner.to_owned())
        .take(MOST_USERS)
        .collect()
}

/// Keeps the `ConfigMap` as the instances are, until stopped.
pub(crate) async fn publish_full_users(
    api: Api<ConfigMap>,
    limit: u32,
    instances: impl Fn() -> Vec<Arc<WaveInstance>>,
) {
    let mut pace = interval(INTERVAL);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut published = None;
    loop {
        pace.tick().await;
        let full = full_users(&instances(), limit);
        if published.as_ref() == Some(&full) {
            continue;
        }
        match write(&api, &full).await {
            Ok(()) => published = Some(full),
            Err(error) => warn!(
                error = chain(&error),
                "Could not tell the API server whose instances are as many as a user may have"
            ),
        }
    }
}

async fn write(api: &Api<ConfigMap>, full: &[String]) -> Result<(), Error> {
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(FULL.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([("users".to_owned(), full.join("\n"))].into()),
        ..ConfigMap::default()
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(&map.name_any(), &params, &Patch::Apply(&map))
        .await
        .map_err(|source| Error::Kube {
            task: format!("write the ConfigMap `{FULL}`"),
            source,
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crds::{AppRef, Visibility, WaveInstanceSpec};

    use super::*;

    #[test]
    fn a_user_has_what_the_limits_allow() {
        let limits = Limits {
            instances_per_user: Some(2),
            memory_per_user: Some("4Gi".parse().expect("a quantity")),
            versions_per_app: None,
        };
        let gibibytes = |count: u128| count << 30;
        let usage = |others, others_memory, memory, running: Option<u128>| Usage {
            others,
            others_memory: gibibytes(others_memory),
            memory: gibibytes(memory),
            running_memory: running.map(gibibytes),
        };
        let cases = [
            ("the first", usage(0, 0, 1, None), None),
            ("the last", usage(1, 3, 1, None), None),
            ("one too many", usage(2, 2, 1, None), Some("may have 2")),
            (
                "a large one",
                usage(1, 3, 2, None),
                Some("5120Mi of memory together, and may have 4Gi"),
            ),
            (
                "one that runs, while the limit was lowered",
                usage(5, 9, 1, Some(1)),
                None,
            ),
            (
                "a larger version",
                usage(1, 3, 2, Some(1)),
                Some("may have 4Gi"),
            ),
            ("a larger version that fits", usage(1, 2, 2, Some(1)), None),
            ("a smaller version", usage(1, 9, 1, Some(2)), None),
        ];
        for (name, usage, expected) in cases {
            let why = exceeded(&limits, "alice", usage);
            assert_eq!(why.is_some(), expected.is_some(), "{name}: {why:?}");
            let why = why.unwrap_or_default();
            assert!(why.contains(expected.unwrap_or_default()), "{name}: {why}");
        }
        let endless = usage(1000, 1000, 1000, None);
        assert_eq!(exceeded(&Limits::default(), "alice", endless), None);
    }

    #[test]
    fn users_with_as_many_instances_as_allowed_are_full() {
        let instance = |name: &str, owner: &str| {
            let spec = WaveInstanceSpec {
                app: AppRef::default(),
                owner: owner.to_owned(),
                visibility: Visibility::Private,
                suspended: false,
                size: None,
            };
            Arc::new(WaveInstance::new(name, spec))
        };
        let instances = [
            instance("a", "alice"),
            instance("b", "bob"),
            instance("c", "alice"),
        ];
        assert_eq!(full_users(&instances, 2), ["alice"]);
        assert_eq!(full_users(&instances, 1), ["alice", "bob"]);
        assert!(full_users(&instances, 3).is_empty());
    }
}
