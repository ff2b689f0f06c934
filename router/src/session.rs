//! Sessions: who is signed in, cached for seconds, and for minutes when the database is away.

pub(crate) mod cookie;
mod local_path;
pub(crate) mod visit;

use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, Session, SessionId, SessionKey};
use chrono::{DateTime, TimeDelta, Utc};
use moka::future::Cache;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::error::Error;
use crate::viewer::{Credential, SignedIn, Viewer};

pub(crate) use local_path::LocalPath;

/// How long an answer of the database counts as fresh.
const FRESH: Duration = Duration::from_secs(2);

/// How long a known session lives on while the database is away.
const GRACE: Duration = Duration::from_mins(5);

/// How long one question to the database may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the database is left alone after a question failed.
const PAUSE: Duration = Duration::from_secs(1);

/// How many sessions are remembered.
const CAPACITY: u64 = 20_000;

/// Questions about sessions that are not known here that may be open at once. Made-up cookies must not keep known
/// sessions from the database.
const UNKNOWN_AT_ONCE: usize = 4;

/// How stale a session's last use may get in the database.
const TOUCH_AFTER: TimeDelta = TimeDelta::minutes(1);

/// The sessions in force.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    catalog: Catalog,
    known: Cache<SessionKey, Arc<Known>>,
    unknown: Arc<Semaphore>,
}

/// A session that the database has confirmed.
#[derive(Debug)]
struct Known {
    answer: Mutex<Answer>,
    /// Held by whoever asks the database, so that one question serves all who wait.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Answer {
    session: Arc<Session>,
    at: Instant,
    failed_at: Option<Instant>,
}

impl Sessions {
    /// Sessions as `catalog` knows them.
    #[must_use]
    pub(crate) fn new(catalog: Catalog) -> Self {
        let known = Cache::builder()
            .max_capacity(CAPACITY)
            .time_to_idle(2 * GRACE)
            .build();
        let unknown = Arc::new(Semaphore::new(UNKNOWN_AT_ONCE));
        Self {
            catalog,
            known,
            unknown,
        }
    }

    /// Who shows this secret on `host`; `None` is the store's host.
    ///
    /// # Errors
    /// [`Error::CatalogAway`] when the database is away and the session was not seen lately.
    pub(crate) async fn signed_in(
        &self,
        secret: &str,
        host: Option<&str>,
    ) -> Result<Option<SignedIn>, Error> {
        let Ok(id) = secret.parse::<SessionId>() else {
            return Ok(None);
        };
        let session = self.session(id.key(), FRESH).await?;
        Ok(session
            .filter(|session| session.host.as_deref() == host)
            .map(|session| SignedIn {
                viewer: Viewer {
                    name: session.account.as_str().into(),
                    role: session.role,
                },
                credential: Credential::Session(session.key),
            }))
    }

    /// The session, from an answer that is at most `max_age` old.
    ///
    /// # Errors
    /// As [`signed_in`](Self::signed_in).
    pub(crate) async fn session(
        &self,
        key: SessionKey,
        max_age: Duration,
    ) -> Result<Option<Arc<Session>>, Error> {
        let Some(known) = self.known.get(&key).await else {
            let turn = timeout(PATIENCE, self.unknown.acquire()).await?;
            let session = self.ask(key).await?;
            drop(turn);
            if let Some(session) = &session {
                let answer = Answer {
                    session: session.clone(),
                    at: Instant::now(),
                    failed_at: None,
                };
                let known = Known {
                    answer: Mutex::new(answer),
                    asking: tokio::sync::Mutex::default(),
                };
                self.known.insert(key, Arc::new(known)).await;
            }
            return Ok(session);
        };
        if let Some(session) = known.fresh(max_age) {
            return Ok(in_force(session));
        }
        let turn = known.asking.lock().await;
        if let Some(session) = known.fresh(max_age) {
            return Ok(in_force(session));
        }
        let answer = self.ask(key).await;
        drop(turn);
        match answer {
            Ok(Some(session)) => {
                *known.answer.lock() = Answer {
                    session: session.clone(),
                    at: Instant::now(),
                    failed_at: None,
                };
                Ok(Some(session))
            }
            Ok(None) => {
                self.known.invalidate(&key).await;
                Ok(None)
            }
            Err(error) => {
                let mut answer = known.answer.lock();
                if answer.at.elapsed() > GRACE {
                    return Err(error);
                }
                if answer.failed_at.is_none() {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "The database is away; known sessions live on for up to {} s",
                        GRACE.as_secs()
                    );
                }
                answer.failed_at = Some(Instant::now());
                Ok(in_force(answer.session.clone()))
            }
        }
    }

    /// Forgets what was known, so that the end of a session counts here at once.
    pub(crate) async fn forget(&self, key: &SessionKey) {
        self.known.invalidate(key).await;
    }

    async fn ask(&self, key: SessionKey) -> Result<Option<Arc<Session>>, Error> {
        let now = Utc::now();
        let session = timeout(PATIENCE, self.catalog.session(&key, now)).await??;
        if session
            .as_ref()
            .is_some_and(|session| now - session.last_seen_at >= TOUCH_AFTER)
        {
            self.touch(key, now).await;
        }
        Ok(session.map(Arc::new))
    }

    async fn touch(&self, key: SessionKey, now: DateTime<Utc>) {
        let touched = timeout(PATIENCE, self.catalog.touch_sessions(&[key], now)).await;
        if let Ok(Err(error)) = touched {
            warn!(
                error = &error as &dyn std::error::Error,
                "Could not note the use of a session"
            );
        }
    }
}

impl Known {
    /// The session, when its answer is young enough or the database just failed.
    fn fresh(&self, max_age: Duration) -> Option<Arc<Session>> {
        let answer = self.answer.lock();
        let paused = answer.failed_at.is_some_and(|at| at.elapsed() < PAUSE);
        let young = answer.at.elapsed() < max_age;
        (young || (paused && answer.at.elapsed() < GRACE)).then(|| answer.session.clone())
    }
}

fn in_force(session: Arc<Session>) -> Option<Arc<Session>> {
    (session.expires_at > Utc::now()).then_some(session)
}
