//! One's own sessions, for programs.

use catalog::{Session, SessionKey};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{Call, Reply, Store, Visitor, sessions};
use super::{Page, done, json, moment};
use crate::error::Error;

/// Somebody signed in in a browser.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Session")]
pub(super) struct Told<'a> {
    /// What names it in addresses. It opens nothing.
    id: String,
    /// What the browser says it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    browser: Option<&'a str>,
    created_at: String,
    /// When it was last used, to the minute.
    last_seen_at: String,
    expires_at: String,
    /// Whether this request was made in it.
    current: bool,
}

impl<'a> Told<'a> {
    fn new(session: &'a Session, this: Option<SessionKey>) -> Self {
        Self {
            id: session.key.to_text(),
            browser: session.browser.as_deref(),
            created_at: moment(session.created_at),
            last_seen_at: moment(session.last_seen_at),
            expires_at: moment(session.expires_at),
            current: this == Some(session.key),
        }
    }
}

/// The sessions of whoever asks, those used last first, at most 100.
pub(in crate::web) async fn list(store: &Store, visitor: &Visitor) -> Result<Reply, Error> {
    let this = visitor.signed_in()?.session();
    let all = sessions::list(store, visitor).await?;
    json(&Page {
        items: all.iter().map(|session| Told::new(session, this)).collect(),
        next: None,
    })
}

/// Ends a session.
pub(in crate::web) async fn end(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let key = call.last_segment().parse().map_err(|_| Error::NotFound)?;
    if sessions::end(store, visitor, &key).await? {
        Ok(done())
    } else {
        Err(Error::NotFound)
    }
}

/// Ends all sessions but the one in which that is asked for.
pub(in crate::web) async fn end_others(store: &Store, visitor: &Visitor) -> Result<Reply, Error> {
    sessions::end_others(store, visitor).await?;
    Ok(done())
}
