//! How often somebody may try to sign in.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// A bounded set of token buckets, one a key.
#[derive(Debug)]
pub(crate) struct Attempts<K> {
    burst: u32,
    refill: Duration,
    capacity: usize,
    /// When each bucket will be full again; a key that is not here has a full one.
    full_at: HashMap<K, Instant>,
}

impl<K: Eq + Hash + Clone> Attempts<K> {
    /// `burst` attempts at once, then one every `refill`; remembers at most `capacity` keys.
    pub(crate) fn new(burst: u32, refill: Duration, capacity: usize) -> Self {
        Self {
            burst,
            refill,
            capacity,
            full_at: HashMap::new(),
        }
    }

    /// Says how long to wait for the next attempt, when there is none left.
    pub(crate) fn check(&self, key: &K, now: Instant) -> Result<(), Duration> {
        self.after_one_more(key, now).map(drop)
    }

    /// When the bucket would be full again after one more attempt.
    fn after_one_more(&self, key: &K, now: Instant) -> Result<Instant, Duration> {
        let full_at = self
            .full_at
            .get(key)
            .copied()
            .filter(|at| *at > now)
            .unwrap_or(now);
        let after = full_at + self.refill;
        let room = now + self.refill * self.burst;
        if after > room {
            return Err(after - room);
        }
        Ok(after)
    }

    /// Takes one attempt, or says how long to wait for the next.
    pub(crate) fn take(&mut self, key: &K, now: Instant) -> Result<(), Duration> {
        let after = self.after_one_more(key, now)?;
        if self.full_at.len() >= self.capacity && !self.full_at.contains_key(key) {
            self.make_room(now);
        }
        self.full_at.insert(key.clone(), after);
        Ok(())
    }

    /// Gives an attempt back, after a success.
    pub(crate) fn give_back(&mut self, key: &K) {
        if let Some(at) = self.full_at.get_mut(key) {
            *at -= self.refill;
        }
    }

    /// Forgets full buckets, and when there is none, the one that is full soonest.
    fn make_room(&mut self, now: Instant) {
        self.full_at.retain(|_, at| *at > now);
        if self.full_at.len() >= self.capacity
            && let Some(soonest) = self
                .full_at
                .iter()
                .min_by_key(|(_, at)| **at)
                .map(|(key, _)| key.clone())
        {
            self.full_at.remove(&soonest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFILL: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn attempts_run_out_and_come_back() {
        let now = Instant::now();
        let mut attempts = Attempts::new(3, REFILL, 10);
        for _ in 0..3 {
            assert_eq!(attempts.take(&"alice", now), Ok(()));
        }
        assert_eq!(attempts.take(&"alice", now), Err(REFILL));
        assert_eq!(attempts.check(&"alice", now), Err(REFILL));
        assert_eq!(attempts.take(&"bob", now), Ok(()));
        assert_eq!(attempts.take(&"alice", now + REFILL), Ok(()));
        assert_eq!(attempts.take(&"alice", now + REFILL), Err(REFILL));
        attempts.give_back(&"alice");
        assert_eq!(attempts.take(&"alice", now + REFILL), Ok(()));
    }

    #[tokio::test]
    async fn memory_stays_bounded_and_the_busiest_are_remembered() {
        let now = Instant::now();
        let mut attempts = Attempts::new(2, REFILL, 10);
        for _ in 0..2 {
            assert_eq!(attempts.take(&0, now), Ok(()));
        }
        for key in 1..1000 {
            assert_eq!(attempts.take(&key, now), Ok(()));
        }
        assert_eq!(attempts.full_at.len(), 10);
        assert_eq!(attempts.take(&0, now), Err(REFILL));
    }
}
