//! What the database has said about those who ask: fresh for seconds, and good for minutes while the database is away.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::error::Error;

/// How long an answer of the database counts as fresh.
pub(crate) const FRESH: Duration = Duration::from_secs(2);

/// How long an answer lives on while the database is away.
const GRACE: Duration = Duration::from_mins(5);

/// How long one question to the database may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// How long the database is left alone after a question failed.
const PAUSE: Duration = Duration::from_secs(1);

/// How many answers are remembered.
const CAPACITY: u64 = 20_000;

/// Questions about what is not known here that may be open at once. Made-up secrets must not keep known ones from the
/// database.
const UNKNOWN_AT_ONCE: usize = 4;

/// What an answer can be about.
pub(crate) trait Ends {
    /// Whether it is over at `now`, whatever the database said before.
    fn is_over(&self, now: DateTime<Utc>) -> bool;
}

/// Answers that were yes, by what was asked about.
pub(crate) struct Answers<K, V> {
    known: Cache<K, Arc<Known<V>>>,
    unknown: Semaphore,
}

impl<K, V> fmt::Debug for Answers<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

struct Known<V> {
    answer: Mutex<Answer<V>>,
    /// Held by whoever asks the database, so that one question serves all who wait.
    asking: tokio::sync::Mutex<()>,
}

struct Answer<V> {
    value: Arc<V>,
    /// When it was asked for.
    at: Instant,
    failed_at: Option<Instant>,
}

impl<K, V> Answers<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Ends + Send + Sync + 'static,
{
    /// No answers.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            known: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_idle(2 * GRACE)
                .build(),
            unknown: Semaphore::new(UNKNOWN_AT_ONCE),
        }
    }

    /// Whether there is an answer, however old.
    #[must_use]
    pub(crate) fn knows(&self, key: &K) -> bool {
        self.known.contains_key(key)
    }

    /// An answer that is at most `max_age` old, from `ask` when there is none. `ask` has limits of its own.
    ///
    /// # Errors
    /// When `ask` fails and there was no answer lately.
    pub(crate) async fn get<F>(
        &self,
        key: &K,
        max_age: Duration,
        ask: impl FnOnce() -> F,
    ) -> Result<Option<Arc<V>>, Error>
    where
        F: Future<Output = Result<Option<V>, Error>>,
    {
        let known = self.known.get(key);
        if let Some(value) = known.as_ref().and_then(|known| known.fresh(max_age)) {
            return Ok(in_force(value));
        }
        // Boxed: few requests need so much room, and every one would carry it along.
        Box::pin(self.renewed(key, known, max_age, ask())).await
    }

    async fn renewed(
        &self,
        key: &K,
        known: Option<Arc<Known<V>>>,
        max_age: Duration,
        ask: impl Future<Output = Result<Option<V>, Error>>,
    ) -> Result<Option<Arc<V>>, Error> {
        let Some(known) = known else {
            let turn = timeout(PATIENCE, self.unknown.acquire()).await?;
            let at = Instant::now();
            let value = ask.await?;
            drop(turn);
            return Ok(value.map(|value| self.keep(key, value, at)));
        };
        let turn = known.asking.lock().await;
        if let Some(value) = known.fresh(max_age) {
            return Ok(in_force(value));
        }
        let at = Instant::now();
        let value = ask.await;
        drop(turn);
        match value {
            Ok(Some(value)) => Ok(Some(known.renew(value, at))),
            Ok(None) => {
                self.forget(key);
                Ok(None)
            }
            Err(error) => {
                if known.fail() {
                    warn_of(&error);
                }
                known
                    .outlive()
                    .map_or(Err(error), |value| Ok(in_force(value)))
            }
        }
    }

    /// Those of `keys` that still hold, by answers that are at most `max_age` old: `ask` is one question about all the
    /// others. When nobody can say any more whether something holds, it does not.
    pub(crate) async fn recheck<F>(
        &self,
        keys: HashSet<K>,
        max_age: Duration,
        ask: impl FnOnce(Vec<K>) -> F,
    ) -> HashMap<K, Arc<V>>
    where
        F: Future<Output = Result<Vec<(K, V)>, Error>>,
    {
        let mut holding = HashMap::new();
        let mut stale = HashMap::new();
        for key in keys {
            let known = self.known.get(&key);
            match known.as_ref().and_then(|known| known.fresh(max_age)) {
                Some(value) => holding.extend(in_force(value).map(|value| (key, value))),
                None => drop(stale.insert(key, known)),
            }
        }
        if stale.is_empty() {
            return holding;
        }
        let at = Instant::now();
        match ask(stale.keys().cloned().collect()).await {
            Ok(found) => {
                for (key, value) in found {
                    let value = match stale.remove(&key).flatten() {
                        Some(known) => known.renew(value, at),
                        None => self.keep(&key, value, at),
                    };
                    holding.insert(key, value);
                }
                for key in stale.keys() {
                    self.forget(key);
                }
            }
            Err(error) => {
                let mut news = false;
                for (key, known) in stale {
                    if let Some(known) = known {
                        news |= known.fail();
                        let value = known.outlive().and_then(in_force);
                        holding.extend(value.map(|value| (key, value)));
                    }
                }
                if news {
                    warn_of(&error);
                }
            }
        }
        holding
    }

    /// Takes an answer that the database has given at `at` without being asked about this key.
    pub(crate) fn learn(&self, key: &K, value: V, at: Instant) {
        match self.known.get(key) {
            Some(known) => drop(known.renew(value, at)),
            None => drop(self.keep(key, value, at)),
        }
    }

    /// Forgets an answer, so that an end counts here at once.
    pub(crate) fn forget(&self, key: &K) {
        self.known.invalidate(key);
    }

    fn keep(&self, key: &K, value: V, at: Instant) -> Arc<V> {
        let value = Arc::new(value);
        let known = Known {
            answer: Mutex::new(Answer {
                value: value.clone(),
                at,
                failed_at: None,
            }),
            asking: tokio::sync::Mutex::default(),
        };
        self.known.insert(key.clone(), Arc::new(known));
        value
    }
}

impl<V> Known<V> {
    /// The value, when its answer is young enough or the database just failed.
    fn fresh(&self, max_age: Duration) -> Option<Arc<V>> {
        let answer = self.answer.lock();
        let paused = answer.failed_at.is_some_and(|at| at.elapsed() < PAUSE);
        let young = answer.at.elapsed() < max_age;
        (young || (paused && answer.at.elapsed() < GRACE)).then(|| answer.value.clone())
    }

    fn renew(&self, value: V, at: Instant) -> Arc<V> {
        let value = Arc::new(value);
        *self.answer.lock() = Answer {
            value: value.clone(),
            at,
            failed_at: None,
        };
        value
    }

    /// Notes that the database did not answer; true when it had before.
    fn fail(&self) -> bool {
        self.answer
            .lock()
            .failed_at
            .replace(Instant::now())
            .is_none()
    }

    /// The value that lives on while the database is away.
    fn outlive(&self) -> Option<Arc<V>> {
        let answer = self.answer.lock();
        (answer.at.elapsed() < GRACE).then(|| answer.value.clone())
    }
}

fn in_force<V: Ends>(value: Arc<V>) -> Option<Arc<V>> {
    (!value.is_over(Utc::now())).then_some(value)
}

fn warn_of(error: &Error) {
    warn!(
        error = error as &dyn std::error::Error,
        "The database is away; who is known lives on for up to {} s",
        GRACE.as_secs()
    );
}
