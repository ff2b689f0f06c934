//! How the watches are doing.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
pub(super) enum Kind {
    WaveInstances,
    WaveApps,
    EndpointSlices,
    WaveAliases,
    AppSecrets,
}

const KINDS: [Kind; KIND_COUNT] = [
    Kind::WaveInstances,
    Kind::WaveApps,
    Kind::EndpointSlices,
    Kind::WaveAliases,
    Kind::AppSecrets,
];

/// How many kinds there are.
pub(super) const KIND_COUNT: usize = 5;

/// How the watches are doing.
#[derive(Debug, Default)]
pub(crate) struct Health {
    watches: Mutex<[WatchHealth; KIND_COUNT]>,
    /// Whether the table in force was made of whole lists.
    in_force: AtomicBool,
}

/// How one watch is doing.
#[derive(Debug, Default, Clone)]
pub(super) struct WatchHealth {
    /// Whether it has listed everything once.
    pub(super) synced: bool,
    /// When it last told of an object.
    pub(super) last_event: Option<Instant>,
    /// When it last failed.
    pub(super) last_error: Option<Instant>,
    /// Since when it has been failing.
    pub(super) failing_since: Option<Instant>,
}

impl Health {
    /// Health of a table that is made by hand.
    #[cfg(test)]
    pub(crate) fn synced() -> Self {
        let health = Self::default();
        for watch in health.watches.lock().iter_mut() {
            watch.synced = true;
        }
        health.note_in_force();
        health
    }

    /// Whether a table made of whole lists is in force, however old it is.
    #[must_use]
    pub(crate) fn is_synced(&self) -> bool {
        self.in_force.load(Ordering::Acquire)
    }

    /// Whether every kind has been listed once.
    pub(super) fn is_listed(&self) -> bool {
        self.watches.lock().iter().all(|watch| watch.synced)
    }

    /// Writes down that what was listed is in force.
    pub(super) fn note_in_force(&self) {
        self.in_force.store(true, Ordering::Release);
    }

    /// Since when each watch has been failing; zero while it is not.
    pub(crate) fn ages(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let watches = self.watches.lock().clone();
        KINDS.iter().zip(watches).map(|(kind, watch)| {
            let age = watch.failing_since.map(|since| since.elapsed());
            (kind.into(), age.unwrap_or_default())
        })
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
            if watch.last_error.is_some() {
                let _ = write!(text, ", last error {} s ago", age(watch.last_error));
            }
            text.push('\n');
        }
        text
    }

    /// Writes down what happened to one watch.
    pub(super) fn note(&self, kind: Kind, change: impl FnOnce(&mut WatchHealth)) {
        change(&mut self.watches.lock()[kind as usize]);
    }
}
