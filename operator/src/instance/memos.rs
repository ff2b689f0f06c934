//! What this process remembers of instances.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::helm::releases::Release;

/// What is remembered, by name.
#[derive(Debug, Default)]
pub(crate) struct Memos(Mutex<HashMap<String, Memo>>);

/// What is remembered of one name.
#[derive(Debug, Clone, Default)]
pub(super) struct Memo {
    /// The revision that our last run made, and when.
    pub(super) made: Option<(u32, Instant)>,
    /// This process has run Helm for it; every run but the one at work is over.
    pub(super) ran: bool,
    /// Version of the release's record, and since when we have seen it.
    release: Option<(String, Instant)>,
    /// What the last comparison of the objects with the release has found.
    pub(super) compared: Option<Compared>,
    /// When it was used last, as the API server itself said when the instance seemed idle, and when we asked.
    idle: Option<(Timestamp, Instant)>,
    /// What was told last of a deletion whose time cannot be read.
    pub(super) unclear_deletion: Option<String>,
    /// Hash of the status that was written last.
    pub(super) written: Option<u64>,
}

/// What a comparison of the objects with the release has found.
#[derive(Debug, Clone)]
pub(super) struct Compared {
    /// Revision and objects that it is true for.
    pub(super) fingerprint: String,
    /// What was different, if anything was.
    pub(super) drift: Option<String>,
}

impl Memos {
    pub(super) fn get(&self, name: &str) -> Memo {
        self.0.lock().get(name).cloned().unwrap_or_default()
    }

    /// Notes something of a name.
    pub(super) fn note<T>(&self, name: &str, note: impl FnOnce(&mut Memo) -> T) -> T {
        note(self.0.lock().entry(name.to_owned()).or_default())
    }

    pub(super) fn forget(&self, name: &str) {
        self.0.lock().remove(name);
    }

    /// Names of which something is remembered.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }

    /// Since when this process has seen a release as it is. Our own steady clock: somebody may set the other one.
    pub(super) fn seen_since(&self, name: &str, release: &Release) -> Instant {
        self.note(name, |memo| match &memo.release {
            Some((version, since)) if *version == release.resource_version => *since,
            _ => {
                let now = Instant::now();
                memo.release = Some((release.resource_version.clone(), now));
                now
            }
        })
    }

    /// For how long nothing was heard of an idle instance that was used last at this time.
    pub(super) fn silence(&self, name: &str, last_activity: Timestamp) -> Duration {
        self.note(name, |memo| match memo.idle {
            Some((last, since)) if last == last_activity => since.elapsed(),
            _ => {
                memo.idle = Some((last_activity, Instant::now()));
                Duration::ZERO
            }
        })
    }

    /// Notes that what was heard of an idle instance is worth nothing any more.
    pub(super) fn forget_silence(&self, name: &str) {
        self.note(name, |memo| memo.idle = None);
    }
}
