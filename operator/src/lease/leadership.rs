//! Whether this process leads.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Whether this process leads. Everything that acts asks here.
#[derive(Debug)]
pub(crate) struct Leadership(watch::Sender<State>);

/// How far this process has come. It goes one way: who has led once never stands by again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It stands by.
    Standby,
    /// It leads.
    Leads {
        /// Since when.
        since: Instant,
        /// Until when, unless the lease is renewed before.
        until: Instant,
    },
    /// It has led.
    Over,
}

impl Default for Leadership {
    fn default() -> Self {
        Self(watch::Sender::new(State::Standby))
    }
}

impl Leadership {
    /// Whether this process leads in this very moment.
    pub(crate) fn holds(&self) -> bool {
        match *self.0.borrow() {
            State::Leads { until, .. } => Instant::now() < until,
            State::Standby | State::Over => false,
        }
    }

    /// For how long this process has led.
    pub(crate) fn age(&self) -> Duration {
        match *self.0.borrow() {
            State::Leads { since, .. } => since.elapsed(),
            State::Standby | State::Over => Duration::ZERO,
        }
    }

    /// Waits until this process leads.
    pub(crate) fn begun(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.0.subscribe();
        async move {
            let led = state.wait_for(|state| matches!(state, State::Leads { .. }));
            if led.await.is_err() {
                // Nobody is left who could make us lead.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Leads until then.
    pub(crate) fn lead(&self, until: Instant) {
        self.0.send_modify(|state| {
            *state = match *state {
                State::Standby => State::Leads {
                    since: Instant::now(),
                    until,
                },
                State::Leads { since, .. } => State::Leads { since, until },
                State::Over => State::Over,
            };
        });
    }

    /// Never leads again.
    pub(super) fn end(&self) {
        self.0.send_replace(State::Over);
    }
}

#[cfg(test)]
impl Leadership {
    /// This process leads for as long as a test may take.
    pub(crate) fn for_tests() -> Self {
        let leadership = Self::default();
        leadership.lead(Instant::now() + Duration::from_hours(1));
        leadership
    }
}
