//! Sessions: who is signed in, cached for seconds, and for minutes when the database is away.

pub(crate) mod cookie;
mod local_path;
pub(crate) mod visit;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, Session, SessionId, SessionKey};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::answers::{Answers, Ends, FRESH, PATIENCE};
use crate::error::Error;
use crate::viewer::{Credential, SignedIn, Viewer};

pub(crate) use local_path::LocalPath;

/// How stale a session's last use may get in the database.
const TOUCH_AFTER: TimeDelta = TimeDelta::minutes(1);

/// The sessions in force.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    catalog: Catalog,
    answers: Arc<Answers<SessionKey, Session>>,
}

impl Ends for Session {
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.expires_at <= now
    }
}

impl Sessions {
    /// Sessions as `catalog` knows them.
    #[must_use]
    pub(crate) fn new(catalog: Catalog) -> Self {
        Self {
            catalog,
            answers: Arc::new(Answers::new()),
        }
    }

    /// Who shows this secret. `belongs` says whether the session is of the host it is shown on: `None` is the store's.
    ///
    /// # Errors
    /// [`Error::CatalogAway`] when the database is away and the session was not seen lately.
    pub(crate) async fn signed_in(
        &self,
        secret: &str,
        belongs: impl Fn(Option<&str>) -> bool,
    ) -> Result<Option<SignedIn>, Error> {
        let Ok(id) = secret.parse::<SessionId>() else {
            return Ok(None);
        };
        let session = self.session(id.key()).await?;
        Ok(session
            .filter(|session| belongs(session.host.as_deref()))
            .map(|session| SignedIn {
                viewer: viewer(&session),
                credential: Credential::Session(session.key),
            }))
    }

    /// The session, if it is in force.
    ///
    /// # Errors
    /// As [`signed_in`](Self::signed_in).
    pub(crate) async fn session(&self, key: SessionKey) -> Result<Option<Arc<Session>>, Error> {
        let ask = || async {
            let sessions = self.ask(&[key]).await?;
            Ok(sessions.into_iter().next())
        };
        self.answers.get(&key, FRESH, ask).await
    }

    /// Who is behind each of these sessions, where it is in force, by answers that are at most `max_age` old.
    pub(crate) async fn viewers(
        &self,
        keys: HashSet<SessionKey>,
        max_age: Duration,
    ) -> HashMap<SessionKey, Viewer> {
        let ask = |keys: Vec<SessionKey>| async move {
            let sessions = self.ask(&keys).await?;
            Ok(sessions
                .into_iter()
                .map(|session| (session.key, session))
                .collect())
        };
        let holding = self.answers.recheck(keys, max_age, ask).await;
        holding
            .into_iter()
            .map(|(key, session)| (key, viewer(&session)))
            .collect()
    }

    /// Learns of the sessions that were made or seen in use since then.
    pub(crate) async fn learn(&self, since: DateTime<Utc>) -> Result<(), Error> {
        let at = Instant::now();
        let seen = self.catalog.sessions_seen_since(since, Utc::now());
        for session in timeout(PATIENCE, seen).await?? {
            let key = session.key;
            self.answers.learn(&key, session, at);
        }
        Ok(())
    }

    /// Forgets what was known, so that the end of a session counts here at once.
    pub(crate) fn forget(&self, key: &SessionKey) {
        self.answers.forget(key);
    }

    async fn ask(&self, keys: &[SessionKey]) -> Result<Vec<Session>, Error> {
        let now = Utc::now();
        let sessions = timeout(PATIENCE, self.catalog.sessions(keys, now)).await??;
        let stale: Vec<SessionKey> = sessions
            .iter()
            .filter(|session| now - session.last_seen_at >= TOUCH_AFTER)
            .map(|session| session.key)
            .collect();
        if !stale.is_empty() {
            let touched = timeout(PATIENCE, self.catalog.touch_sessions(&stale, now)).await;
            if let Ok(Err(error)) = touched {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not note the use of sessions"
                );
            }
        }
        Ok(sessions)
    }
}

fn viewer(session: &Session) -> Viewer {
    Viewer {
        name: session.account.as_str().into(),
        role: session.role,
        roles: session.roles.clone(),
        grants: None,
    }
}
