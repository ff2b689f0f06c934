//! What people do with their own sessions, by the page and by the API alike.

use catalog::{Session, SessionKey, Thing};
use chrono::Utc;
use tokio::time::timeout;

use super::{PATIENCE, Store, Visitor};
use crate::error::Error;

/// The visitor's sessions on the store's host, those used last first.
pub(super) async fn list(store: &Store, visitor: &Visitor) -> Result<Vec<Session>, Error> {
    let name = &visitor.signed_in()?.viewer.name;
    let sessions = store.catalog.sessions_of(name, Utc::now());
    Ok(timeout(PATIENCE, sessions).await??)
}

/// Ends one of the visitor's sessions. False when there is no such one.
pub(super) async fn end(store: &Store, visitor: &Visitor, key: &SessionKey) -> Result<bool, Error> {
    let name = &visitor.signed_in()?.viewer.name;
    let ended = timeout(PATIENCE, store.catalog.end_session_of(name, key)).await??;
    store.sessions.forget(key);
    if ended {
        visitor
            .did(store, (Thing::Account, name), "ended a session")
            .await?;
    }
    Ok(ended)
}

/// Ends all sessions of the visitor but the one in which that is asked for, if it is in one.
pub(super) async fn end_others(store: &Store, visitor: &Visitor) -> Result<(), Error> {
    let name = &visitor.signed_in()?.viewer.name;
    let this = visitor.signed_in()?.session();
    let end = store.catalog.end_sessions_of(name, this.as_ref());
    timeout(PATIENCE, end).await??;
    let to = (Thing::Account, &**name);
    visitor.did(store, to, "ended all other sessions").await
}
