//! The rollout of what has changed in the store: another image, another chart, other settings. A running app is left alone
//! unless the store is told to roll out by itself; then a few at a time are upgraded, and the first that does not come back
//! stops it.

use std::collections::HashMap;
use std::time::Duration;

use clap::ValueEnum;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{error, info};

/// How long an instance may take to come back.
const DEADLINE: Duration = Duration::from_mins(10);

/// When running instances get what has changed in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum Policy {
    /// When they are changed, or asked for it by the annotation `wavestore.io/redeploy`.
    OnRequest,
    /// By themselves, a few at a time.
    Automatic,
}

/// The rollout that is going on. It is forgotten with the process; the next one begins where this one ended.
pub(crate) struct Rollout {
    policy: Policy,
    at_once: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Instances that were ready, and have not come back yet, with the time when they were upgraded.
    moving: HashMap<String, Instant>,
    /// The one that did not come back.
    halted_by: Option<String>,
}

impl Rollout {
    pub(crate) fn new(policy: Policy, at_once: usize) -> Self {
        Self {
            policy,
            at_once,
            state: Mutex::default(),
        }
    }

    /// Whether running instances get by themselves what has changed.
    pub(super) fn is_automatic(&self) -> bool {
        self.policy == Policy::Automatic
    }

    /// Whether an instance may be upgraded now.
    pub(super) fn has_turn(&self, now: Instant) -> bool {
        self.state.lock().has_turn(self.at_once, now)
    }

    /// Takes a turn; false when there is none left. One that is not ready anyhow takes none.
    pub(super) fn start(&self, name: &str, was_ready: bool, now: Instant) -> bool {
        let mut state = self.state.lock();
        let turn = state.has_turn(self.at_once, now);
        if turn && was_ready {
            state.moving.insert(name.to_owned(), now);
        }
        turn
    }

    /// Whether the rollout waits for an instance.
    pub(super) fn waits_for(&self, name: &str) -> bool {
        let state = self.state.lock();
        state.moving.contains_key(name) || state.halted_by.as_deref() == Some(name)
    }

    /// An instance is ready, or gone.
    pub(super) fn done(&self, name: &str) {
        let mut state = self.state.lock();
        state.moving.remove(name);
        if state.halted_by.as_deref() == Some(name) {
            state.halted_by = None;
            info!(instance.id = name, "The rollout goes on after {name}");
        }
    }

    /// An instance did not come back.
    pub(super) fn failed(&self, name: &str) {
        let mut state = self.state.lock();
        if state.moving.remove(name).is_some() {
            state.halt(name);
        }
    }
}

impl State {
    fn has_turn(&mut self, at_once: usize, now: Instant) -> bool {
        let late = self
            .moving
            .iter()
            .find(|(_, started)| now.duration_since(**started) > DEADLINE)
            .map(|(name, _)| name.clone());
        if let Some(name) = late {
            self.moving.remove(&name);
            self.halt(&name);
        }
        self.halted_by.is_none() && self.moving.len() < at_once
    }

    fn halt(&mut self, name: &str) {
        error!(
            instance.id = name,
            "The rollout of the store's changes stops: {name} did not come back; it goes on when {name} is ready or gone"
        );
        self.halted_by = Some(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_move_at_once_and_the_first_failure_stops_all() {
        let rollout = Rollout::new(Policy::Automatic, 2);
        let now = Instant::now();
        assert!(rollout.start("broken-before", false, now));
        assert!(rollout.start("a", true, now));
        assert!(rollout.start("b", true, now));
        assert!(!rollout.start("c", true, now), "two are on their way");
        rollout.done("a");
        assert!(rollout.start("c", true, now));
        rollout.failed("broken-before");
        rollout.done("b");
        assert!(rollout.has_turn(now), "it was broken before");
        rollout.failed("c");
        assert!(!rollout.has_turn(now));
        assert!(rollout.waits_for("c"));
        rollout.done("c");
        assert!(rollout.has_turn(now));
    }

    #[test]
    fn one_that_takes_for_ever_stops_all() {
        let rollout = Rollout::new(Policy::Automatic, 2);
        let now = Instant::now();
        assert!(rollout.start("a", true, now));
        assert!(rollout.has_turn(now + DEADLINE));
        let later = now + DEADLINE + Duration::from_secs(1);
        assert!(!rollout.has_turn(later));
        rollout.done("a");
        assert!(rollout.has_turn(later));
    }
}
