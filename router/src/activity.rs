//! The use of instances: counted here, told to the API server rarely, and at once when somebody visits one that sleeps.
//!
//! Use is told by `status.lastActivity` and nothing else; the operator puts to sleep and wakes by it. Replicas tell the same
//! thing, and see what the others have told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use crds::{WaveInstance, report_interval};
use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

use crate::InstanceId;
use crate::error::Error;
use crate::table::{Route, Table};

/// The name under which routers write.
pub(crate) const FIELD_MANAGER: &str = "wavestore-router";

/// How often the counts are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long the API server may take for one write.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes at once.
const WRITES: usize = 8;

/// How long the outcome of a wake serves those who come after; the watch shows a success long before.
const OUTCOME: Duration = Duration::from_secs(1);

/// The use of one instance. It lives on when the instance's route is made anew.
#[derive(Debug)]
pub(crate) struct Activity {
    /// Requests and data frames, as a number that changes with each.
    uses: AtomicUsize,
    /// What `status.lastActivity` says, in seconds since the epoch; before that for as long as it says nothing.
    told: AtomicI64,
    /// Held by whoever wakes the instance; when that ended, and whether well.
    waking: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            uses: AtomicUsize::new(0),
            told: AtomicI64::new(i64::MIN),
            waking: tokio::sync::Mutex::default(),
        }
    }
}

impl Activity {
    /// Counts one use; answers how many there were before.
    pub(crate) fn note(&self) -> usize {
        self.uses.fetch_add(1, Ordering::Relaxed)
    }

    /// How many there were.
    fn uses(&self) -> usize {
        self.uses.load(Ordering::Relaxed)
    }

    /// Notes what the API server knows. Time only moves on.
    pub(crate) fn told(&self, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.told.fetch_max(at.as_second(), Ordering::Relaxed);
        }
    }

    /// What the API server knows.
    fn last_told(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.told.load(Ordering::Relaxed)).ok()
    }
}

/// Whether a use is to be told. Of an instance of which nothing was ever told it is told that somebody counts now.
fn is_due(
    used: Option<Timestamp>,
    told: Option<Timestamp>,
    interval: Duration,
    now: Timestamp,
) -> bool {
    let Some(told) = told else { return true };
    let age = Duration::try_from(now.duration_since(told)).unwrap_or_default();
    used.is_some_and(|used| used > told) && age >= interval
}

/// What is remembered of an instance between two looks.
#[derive(Debug)]
struct Seen {
    activity: Arc<Activity>,
    uses: usize,
    used: Option<Timestamp>,
}

/// Tells the API server of the use of instances.
pub(crate) struct Reporter {
    api: Api<WaveInstance>,
    table: Arc<Table>,
    seen: tokio::sync::Mutex<HashMap<InstanceId, Seen>>,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}

impl Reporter {
    /// For the instances of `namespace`.
    #[must_use]
    pub(crate) fn new(client: Client, namespace: &str, table: Arc<Table>) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            table,
            seen: tokio::sync::Mutex::default(),
        }
    }

    /// Tells of all use until the process ends.
    pub(crate) async fn run(&self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.tell(false).await;
        }
    }

    /// Tells of what was not told yet, before the process ends.
    pub(crate) async fn flush(&self) {
        self.tell(true).await;
    }

    async fn tell(&self, at_the_end: bool) {
        let now = Timestamp::now();
        let due = {
            let mut seen = self.seen.lock().await;
            look(&mut seen, &self.table, at_the_end, now)
        };
        stream::iter(due)
            .for_each_concurrent(WRITES, |(id, activity)| async move {
                match self.write(&id, &activity, now).await {
                    Ok(()) => debug!(instance.id = %id, "Told of the use of instance {id}"),
                    Err(error) => warn!(
                        error = &error as &dyn std::error::Error,
                        instance.id = %id,
                        "Could not tell of the use of instance {id}; if that goes on, it is put to sleep while it is used"
                    ),
                }
            })
            .await;
    }

    /// Wakes an instance that sleeps, if it is one that nobody has woken yet. Of many who come at once one asks, and the others
    /// wait for the same answer.
    ///
    /// # Errors
    /// [`Error::WakeFailed`] when the API server does not take it.
    pub(crate) async fn wake(&self, route: &Route) -> Result<(), Error> {
        let activity = &route.activity;
        activity.note();
        let Some(idle_timeout) = route.idle_timeout.filter(|_| !route.suspended) else {
            return Ok(());
        };
        let mut last = activity.waking.lock().await;
        if let Some((at, well)) = *last
            && at.elapsed() < OUTCOME
        {
            return if well {
                Ok(())
            } else {
                Err(Error::WakeFailed("it was refused a moment ago".into()))
            };
        }
        let now = Timestamp::now();
        if !is_due(
            Some(now),
            activity.last_told(),
            report_interval(idle_timeout),
            now,
        ) {
            return Ok(());
        }
        let written = self.write(&route.id, activity, now).await;
        *last = Some((Instant::now(), written.is_ok()));
        written
    }

    async fn write(
        &self,
        id: &InstanceId,
        activity: &Activity,
        now: Timestamp,
    ) -> Result<(), Error> {
        // Whole seconds, as Kubernetes has them.
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let patch = json!({
            "apiVersion": WaveInstance::api_version(&()),
            "kind": WaveInstance::kind(&()),
            "status": { "lastActivity": now.to_string() },
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(patch);
        let asked = self.api.patch_status(id.as_ref(), &params, &patch);
        match timeout(PATIENCE, asked).await {
            Ok(Ok(_)) => {}
            // It is gone, or another replica has told of a later use.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 || status.code == 422 => {
                debug!(instance.id = %id, "Nothing to tell of instance {id}: {status}");
            }
            Ok(Err(error)) => return Err(Error::WakeFailed(Box::new(error))),
            Err(elapsed) => return Err(Error::WakeFailed(Box::new(elapsed))),
        }
        activity.told(Some(now));
        Ok(())
    }
}

/// The instances whose use is to be told.
fn look(
    seen: &mut HashMap<InstanceId, Seen>,
    table: &Table,
    at_the_end: bool,
    now: Timestamp,
) -> Vec<(InstanceId, Arc<Activity>)> {
    let routes = &table.load().routes;
    seen.retain(|id, seen| {
        let now = routes.get(id);
        now.is_some_and(|route| Arc::ptr_eq(&route.activity, &seen.activity))
    });
    let mut due = Vec::new();
    for (id, route) in routes {
        let Some(idle_timeout) = route.idle_timeout else {
            continue;
        };
        let seen = seen.entry(id.clone()).or_insert_with(|| Seen {
            activity: route.activity.clone(),
            uses: 0,
            used: None,
        });
        let uses = route.activity.uses();
        let is_open = route.upstreams.iter().any(|upstream| upstream.is_in_use());
        if uses != seen.uses || is_open {
            seen.uses = uses;
            seen.used = Some(now);
        }
        let interval = if at_the_end {
            Duration::ZERO
        } else {
            report_interval(idle_timeout)
        };
        if is_due(seen.used, route.activity.last_told(), interval, now) {
            due.push((id.clone(), route.activity.clone()));
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use crds::Visibility;

    use super::*;
    use crate::table::Snapshot;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn use_is_told_rarely_and_only_when_there_was_some() {
        let cases = [
            ("nobody has counted yet", None, None, 1000, true),
            ("used, and told long ago", Some(999), Some(900), 1000, true),
            ("used, and told just now", Some(999), Some(995), 1000, false),
            (
                "not used since it was told",
                Some(800),
                Some(900),
                1000,
                false,
            ),
            ("never used here", None, Some(100), 1000, false),
            (
                "told by a clock that is ahead",
                Some(1000),
                Some(2000),
                1000,
                false,
            ),
        ];
        for (name, used, told, now, expected) in cases {
            let due = is_due(used.map(at), told.map(at), Duration::from_mins(1), at(now));
            assert_eq!(due, expected, "{name}");
        }
    }

    #[test]
    fn a_look_finds_what_was_used_since_the_last_one() {
        let table = Table::default();
        let mut sleepy = Route::example("sleepy", "alice", Visibility::Private);
        sleepy.idle_timeout = Some(Duration::from_mins(5));
        let activity = sleepy.activity.clone();
        let never = Route::example("never", "alice", Visibility::Private);
        let routes = [sleepy, never].map(|route| (route.id.clone(), Arc::new(route)));
        table.publish(Snapshot {
            routes: routes.into(),
            ..Snapshot::default()
        });
        let mut seen = HashMap::new();
        let mut names = |now: i64, at_the_end| -> Vec<String> {
            let due = look(&mut seen, &table, at_the_end, at(now));
            due.iter().map(|(id, _)| id.to_string()).collect()
        };
        assert_eq!(names(1000, false), ["sleepy"], "nobody has counted yet");
        activity.told(Some(at(1000)));
        assert_eq!(names(1040, false), [""; 0], "nobody has used it");
        activity.note();
        assert_eq!(names(1020, false), [""; 0], "it was told a moment ago");
        assert_eq!(names(1029, true), ["sleepy"], "the process ends");
        assert_eq!(names(1030, false), ["sleepy"]);
        // Another replica tells of a later use.
        activity.told(Some(at(1031)));
        activity.told(Some(at(1001)));
        assert_eq!(names(2000, false), [""; 0]);
    }
}
