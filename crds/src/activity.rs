//! How often the use of an instance is told, which routers and operator must agree on.

use std::time::Duration;

/// An instance of any timeout is told of no more often.
const SHORTEST: Duration = Duration::from_secs(5);

/// An instance of any timeout is told of no later.
const LONGEST: Duration = Duration::from_mins(1);

/// How old `status.lastActivity` of an instance in use may get before a router writes it again, when the instance is put to
/// sleep after `idle_timeout` without use.
#[must_use]
pub fn report_interval(idle_timeout: Duration) -> Duration {
    (idle_timeout / 10).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_told_rarely_but_in_time() {
        for (timeout, interval) in [(1, 5), (50, 5), (300, 30), (3600, 60)] {
            let timeout = Duration::from_secs(timeout);
            assert_eq!(report_interval(timeout), Duration::from_secs(interval));
        }
    }
}
