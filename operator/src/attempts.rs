//! How long to wait after failures: from a second to five minutes, apart for every object.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The first wait.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST: Duration = Duration::from_mins(5);

/// What has failed, by object. A new generation of an object begins anew, and so does a failure long after the last one.
#[derive(Default)]
pub(crate) struct Attempts {
    failed: Mutex<HashMap<String, Failed>>,
}

/// An object's failures in a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failed {
    /// The object's generation when it failed.
    pub(crate) generation: i64,
    /// How often in a row.
    pub(crate) times: u32,
    /// When to try again.
    pub(crate) retry_at: Instant,
    /// What was said the last time.
    pub(crate) message: String,
}

impl Failed {
    /// How long until the next try.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.retry_at.saturating_duration_since(now)
    }
}

impl Attempts {
    /// The failures of this generation of the object.
    pub(crate) fn failed(&self, object: &str, generation: i64) -> Option<Failed> {
        let failed = self.failed.lock();
        failed
            .get(object)
            .filter(|failed| failed.generation == generation)
            .cloned()
    }

    /// Counts a failure; says when to try again.
    pub(crate) fn fail(&self, object: &str, generation: i64, message: String) -> Failed {
        self.fail_at(object, generation, message, Instant::now())
    }

    fn fail_at(&self, object: &str, generation: i64, message: String, now: Instant) -> Failed {
        let mut all = self.failed.lock();
        let times = all
            .get(object)
            .filter(|failed| failed.generation == generation)
            .filter(|failed| now < failed.retry_at + LONGEST)
            .map_or(1, |failed| failed.times.saturating_add(1));
        let failed = Failed {
            generation,
            times,
            retry_at: now + delay(times, random()),
            message,
        };
        all.insert(object.to_owned(), failed.clone());
        failed
    }

    /// Forgets the failures of an object that has succeeded or is gone.
    pub(crate) fn clear(&self, object: &str) {
        self.failed.lock().remove(object);
    }
}

/// The wait after `times` failures in a row; `random` spreads it by a quarter, so that objects that failed
/// together do not come back together.
pub(crate) fn delay(times: u32, random: u64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << times.saturating_sub(1).min(16));
    spread(doubled.min(LONGEST), random)
}

/// A wait that is shorter by up to a quarter, as `random` wants it.
pub(crate) fn spread(wait: Duration, random: u64) -> Duration {
    let part = u32::try_from(random % 256).unwrap_or_default();
    wait.saturating_sub(wait * part / 1024)
}

/// A random number, good enough to spread waits.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_a_second_to_five_minutes_and_spread_by_a_quarter() {
        let waits: Vec<u64> = [1, 2, 3, 4, 9, 10, 4_000_000]
            .map(|times| delay(times, 0).as_secs())
            .to_vec();
        assert_eq!(waits, [1, 2, 4, 8, 256, 300, 300]);
        assert_eq!(
            delay(3, 255),
            Duration::from_micros(3_003_906) + Duration::from_nanos(250)
        );
    }

    #[test]
    fn a_failure_long_after_the_last_begins_anew() {
        let attempts = Attempts::default();
        let start = Instant::now();
        let times = |after| {
            let failed = attempts.fail_at("sales", 1, "no".to_owned(), start + after);
            failed.times
        };
        assert_eq!(times(Duration::ZERO), 1);
        assert_eq!(times(LONGEST), 2);
        assert_eq!(times(3 * LONGEST), 1);
    }

    #[tokio::test]
    async fn a_new_generation_begins_anew() {
        let attempts = Attempts::default();
        attempts.fail("sales", 1, "no".to_owned());
        assert_eq!(attempts.fail("sales", 1, "no".to_owned()).times, 2);
        assert_eq!(attempts.failed("sales", 2), None);
        assert_eq!(attempts.fail("sales", 2, "no".to_owned()).times, 1);
        attempts.clear("sales");
        assert_eq!(attempts.failed("sales", 2), None);
    }
}
