//! What users and apps may have at once, and who has how much of it. The operator enforces it and counts as is counted here; here
//! it is told.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use bundle::Quantity;

use crate::table::{Route, Snapshot};

/// What may be had at once. None: as much as one likes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Limits that the operator enforces, as the pages tell them")]
#[expect(clippy::struct_field_names, reason = "a field's name is its flag's")]
pub struct Limits {
    /// How many instances one user may have. Default: no limit.
    #[arg(long, env = "WAVESTORE_MAX_INSTANCES_PER_USER", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_instances_per_user: Option<u32>,
    /// How much memory the instances of one user may have together, by their limits, such as `32Gi`. Default: no limit.
    #[arg(long, env = "WAVESTORE_MAX_MEMORY_PER_USER")]
    pub max_memory_per_user: Option<Quantity>,
    /// How many versions of one app may be published. Default: no limit.
    #[arg(long, env = "WAVESTORE_MAX_VERSIONS_PER_APP", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_versions_per_app: Option<u32>,
}

/// What one user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding<'a> {
    /// Who.
    pub user: &'a str,
    /// How many instances, whether they run or not.
    pub instances: u64,
    /// What their pods may take together, in bytes; those count for nothing that have no limit of their own.
    pub memory: u64,
}

impl Limits {
    /// Memory that the instances of one user may have together, in bytes.
    pub(crate) fn memory_per_user(&self) -> Option<u64> {
        let limit = self.max_memory_per_user.as_ref()?;
        Some(u64::try_from(limit.units()).unwrap_or(u64::MAX))
    }

    /// What each user has who has an instance: first who is nearest to a limit, then who has most.
    pub(crate) fn holdings<'a>(&self, snapshot: &'a Snapshot) -> Vec<Holding<'a>> {
        let mut users: BTreeMap<&str, Holding<'_>> = BTreeMap::new();
        // Who waits for the end has made room already.
        let routes = snapshot.routes.values();
        for route in routes.filter(|route| route.deleted.is_none()) {
            let user = route.owner.as_str();
            let had = users.entry(user).or_insert(Holding {
                user,
                instances: 0,
                memory: 0,
            });
            had.instances += 1;
            had.memory = had.memory.saturating_add(memory(snapshot, route));
        }
        let mut holdings: Vec<Holding<'_>> = users.into_values().collect();
        holdings.sort_by_key(|had| Reverse((self.nearness(*had), had.instances, had.memory)));
        holdings
    }

    /// How what a user has stands to the limit that is nearest; none where nothing is limited.
    pub(crate) fn standing(&self, had: Holding<'_>) -> Option<Ordering> {
        let pairs = self.pairs(had).into_iter().flatten();
        pairs.map(|(used, limit)| used.cmp(&limit)).max()
    }

    /// What a user has of the limit that is nearest, in thousandths.
    fn nearness(&self, had: Holding<'_>) -> u128 {
        let pairs = self.pairs(had).into_iter().flatten();
        let shares = pairs.map(|(used, limit)| u128::from(used) * 1000 / u128::from(limit).max(1));
        shares.max().unwrap_or_default()
    }

    fn pairs(&self, had: Holding<'_>) -> [Option<(u64, u64)>; 2] {
        let instances = self.max_instances_per_user.map(u64::from);
        [
            instances.map(|limit| (had.instances, limit)),
            self.memory_per_user().map(|limit| (had.memory, limit)),
        ]
    }
}

/// What the pod of an instance may take, in bytes; nothing as long as its app or its size is unknown.
fn memory(snapshot: &Snapshot, route: &Route) -> u64 {
    let app = snapshot.apps.get(&route.app);
    app.map_or(0, |app| app.memory_of(route.size.as_deref()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crds::Visibility;

    use super::*;
    use crate::table::{AppEntry, Size};

    fn limits(instances: Option<u32>, memory: Option<&str>) -> Limits {
        Limits {
            max_instances_per_user: instances,
            max_memory_per_user: memory.map(|text| text.parse().expect("a quantity")),
            max_versions_per_app: None,
        }
    }

    /// Each has an instance of each size; `going` is about to be none.
    fn snapshot(instances: &[(&str, &[&str])]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let app = AppEntry {
            memory: 1 << 30,
            sizes: vec![Size {
                name: "large".to_owned(),
                description: None,
                memory: 4 << 30,
            }],
            ..AppEntry::example("hello", "1.0.0")
        };
        snapshot.apps.insert(app.app.clone(), Arc::new(app));
        for (owner, sizes) in instances {
            for (number, size) in sizes.iter().enumerate() {
                let name = format!("{owner}-{number}");
                let mut route = Route::example(&name, owner, Visibility::Private);
                match *size {
                    "going" => route.deleted = "2026-01-01T12:00:00Z".parse().ok(),
                    "unknown" => route.app.version = "9.9.9".to_owned(),
                    "" => {}
                    size => route.size = Some(size.to_owned()),
                }
                snapshot.routes.insert(route.id.clone(), Arc::new(route));
            }
        }
        snapshot
    }

    #[test]
    fn who_is_nearest_to_a_limit_comes_first() {
        let snapshot = snapshot(&[
            ("alice", &["", ""]),
            ("bob", &["large"]),
            ("carol", &["", "unknown", "huge"]),
            ("dave", &["going"]),
            ("erin", &["", "going"]),
        ]);
        let cases = [
            (
                "nothing is limited",
                limits(None, None),
                "carol 3 1, alice 2 2, bob 1 4, erin 1 1",
            ),
            (
                "instances are",
                limits(Some(3), None),
                "carol 3 1, alice 2 2, bob 1 4, erin 1 1",
            ),
            (
                "memory is",
                limits(None, Some("4Gi")),
                "bob 1 4, alice 2 2, carol 3 1, erin 1 1",
            ),
            (
                "both are",
                limits(Some(4), Some("4Gi")),
                "bob 1 4, carol 3 1, alice 2 2, erin 1 1",
            ),
        ];
        for (name, limits, expected) in cases {
            let holdings = limits.holdings(&snapshot);
            let told = holdings.iter().map(|had| {
                let gibibytes = had.memory >> 30;
                format!("{} {} {gibibytes}", had.user, had.instances)
            });
            let told: Vec<String> = told.collect();
            assert_eq!(told.join(", "), expected, "{name}");
        }
    }

    #[test]
    fn a_user_is_below_a_limit_at_it_or_above() {
        let had = Holding {
            user: "alice",
            instances: 3,
            memory: 3 << 30,
        };
        let cases = [
            (limits(None, None), None),
            (limits(Some(4), None), Some(Ordering::Less)),
            (limits(Some(4), Some("3Gi")), Some(Ordering::Equal)),
            (limits(Some(3), Some("4Gi")), Some(Ordering::Equal)),
            (limits(Some(2), Some("4Gi")), Some(Ordering::Greater)),
            (limits(None, Some("2G")), Some(Ordering::Greater)),
        ];
        for (limits, expected) in cases {
            assert_eq!(limits.standing(had), expected, "{limits:?}");
        }
    }
}
