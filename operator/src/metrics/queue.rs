//! Who waits for Helm, and for how long.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Those who wait, oldest first. There are never more than reconciliations at once. Those who can wait do not: they are sent away
/// when Helm is busy, and come again.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue(Arc<Mutex<Tickets>>);

#[derive(Debug, Default)]
struct Tickets {
    next: u64,
    waiting: BTreeMap<u64, Instant>,
    postponed: HashSet<String>,
}

/// One who waits, until it is dropped.
#[must_use = "the wait ends when it is dropped"]
pub(crate) struct Waiting {
    queue: Queue,
    ticket: u64,
}

impl Queue {
    pub(super) fn enter(&self) -> Waiting {
        let mut tickets = self.0.lock();
        let ticket = tickets.next;
        tickets.next += 1;
        tickets.waiting.insert(ticket, Instant::now());
        Waiting {
            queue: self.clone(),
            ticket,
        }
    }

    /// Notes whether an instance was sent away.
    pub(super) fn postpone(&self, instance: &str, postponed: bool) {
        let mut tickets = self.0.lock();
        if postponed {
            tickets.postponed.insert(instance.to_owned());
        } else {
            tickets.postponed.remove(instance);
        }
    }

    /// How many were sent away, and will come again.
    pub(super) fn postponed(&self) -> usize {
        self.0.lock().postponed.len()
    }

    /// How many wait.
    pub(super) fn depth(&self) -> usize {
        self.0.lock().waiting.len()
    }

    /// How long the first of them has waited; zero if nobody waits.
    pub(super) fn age(&self, now: Instant) -> Duration {
        let tickets = self.0.lock();
        let first = tickets.waiting.first_key_value();
        first.map_or(Duration::ZERO, |(_, since)| {
            now.saturating_duration_since(*since)
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.queue.0.lock().waiting.remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_that_of_the_oldest_who_waits() {
        let queue = Queue::default();
        let age = |now: Instant| (queue.depth(), queue.age(now));
        assert_eq!(age(Instant::now()), (0, Duration::ZERO));
        let first = queue.enter();
        let began = Instant::now();
        let second = queue.enter();
        let (depth, oldest) = age(began + Duration::from_secs(4));
        assert_eq!((depth, oldest >= Duration::from_secs(4)), (2, true));
        drop(first);
        let (depth, next) = age(began + Duration::from_secs(4));
        assert_eq!((depth, next <= Duration::from_secs(4)), (1, true));
        drop(second);
        assert_eq!(age(Instant::now()), (0, Duration::ZERO));
    }

    #[test]
    fn who_is_sent_away_counts_once_until_its_turn() {
        let queue = Queue::default();
        for name in ["a", "b", "a"] {
            queue.postpone(name, true);
        }
        assert_eq!((queue.postponed(), queue.depth()), (2, 0));
        queue.postpone("a", false);
        queue.postpone("c", false);
        assert_eq!(queue.postponed(), 1);
    }
}
