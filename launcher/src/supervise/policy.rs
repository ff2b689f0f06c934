//! When to start again, and when to give up.

use std::time::Duration;

use crate::backoff;

/// How patient the launcher is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Failures in a row, before the app was ever ready, after which it will never be.
    pub(crate) start_attempts: u32,
    /// First delay; it doubles with every failure in a row.
    pub(crate) first_delay: Duration,
    pub(crate) longest_delay: Duration,
    /// Time after which an app that was ready counts as healthy: its next failure is the first again.
    pub(crate) stable: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            start_attempts: 3,
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_mins(1),
            stable: Duration::from_mins(1),
        }
    }
}

/// What happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct History {
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Whether the app was ready in this container.
    pub(crate) was_ready: bool,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start again.
    Retry {
        /// After this time.
        after: Duration,
    },
    /// End the container with the reason; Kubernetes shows it and starts another.
    GiveUp,
}

impl Policy {
    /// Decides after a failure of an app that was ready for `ready_for`, if at all.
    ///
    /// An app that was ready once is started again for ever: what it lacks, such as a database, may come
    /// back, and its page and the instance's status tell the reason meanwhile.
    pub(crate) fn next(&self, history: History, ready_for: Option<Duration>) -> (History, Next) {
        let was_stable = ready_for.is_some_and(|time| time >= self.stable);
        let history = History {
            failures: if was_stable {
                1
            } else {
                history.failures.saturating_add(1)
            },
            was_ready: history.was_ready || ready_for.is_some(),
        };
        let next = if !history.was_ready && history.failures >= self.start_attempts {
            Next::GiveUp
        } else {
            let after =
                backoff::exponential(history.failures, self.first_delay, self.longest_delay);
            Next::Retry { after }
        };
        (history, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_again_or_gives_up() {
        let never = History::default();
        let ready = |failures| History {
            failures,
            was_ready: true,
        };
        let starting = |failures| History {
            failures,
            was_ready: false,
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let retry = |seconds| Next::Retry {
            after: Duration::from_secs(seconds),
        };
        let cases = [
            ("the first start fails", never, None, starting(1), retry(1)),
            (
                "the second start fails",
                starting(1),
                None,
                starting(2),
                retry(2),
            ),
            (
                "the third start fails",
                starting(2),
                None,
                starting(3),
                Next::GiveUp,
            ),
            (
                "ready, then dead at once",
                never,
                seconds(0),
                ready(1),
                retry(1),
            ),
            (
                "was ready, fails to start",
                ready(3),
                None,
                ready(4),
                retry(8),
            ),
            (
                "was ready, fails for ever",
                ready(99),
                None,
                ready(100),
                retry(60),
            ),
            (
                "ready for a moment",
                ready(3),
                seconds(59),
                ready(4),
                retry(8),
            ),
            (
                "ready for a minute",
                ready(3),
                seconds(60),
                ready(1),
                retry(1),
            ),
        ];
        for (name, history, ready_for, then, next) in cases {
            let decided = Policy::default().next(history, ready_for);
            assert_eq!(decided, (then, next), "{name}");
        }
    }
}
