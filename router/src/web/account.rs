//! Somebody's own account: password and sessions.

use chrono::Utc;
use http::StatusCode;
use tokio::time::timeout;

use super::form::Form;
use super::pages::{self, Done};
use super::{Call, PATIENCE, Reply, Store, Visitor, redirect};
use crate::error::Error;

/// The page, with what was done last.
pub(super) async fn page(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    let done = call.parameter("done").and_then(|done| done.parse().ok());
    show(store, visitor, done, None).await
}

async fn show(
    store: &Store,
    visitor: &Visitor,
    done: Option<Done>,
    failure: Option<&Error>,
) -> Result<Reply, Error> {
    let signed_in = visitor.signed_in()?;
    let name = &*signed_in.viewer.name;
    let account = timeout(PATIENCE, store.catalog.account(name)).await??;
    let account = account.ok_or(Error::NotSignedIn)?;
    let sessions = timeout(PATIENCE, store.catalog.sessions_of(name, Utc::now())).await??;
    let page = pages::Account::new(
        (&store.site, visitor.frame(store)?),
        &account,
        (&sessions, &visitor.session()?),
        done,
        failure,
    );
    page.reply().map(|page| page.map(Into::into))
}

/// Gives the visitor another password; other sessions end.
pub(super) async fn change_password(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
) -> Result<Reply, Error> {
    let signed_in = visitor.signed_in()?;
    let changed = store
        .sign_in
        .change_password(
            (&signed_in.viewer.name, call.asked.peer),
            form.field("current").to_owned(),
            form.field("new").to_owned(),
            &visitor.session()?,
        )
        .await;
    match changed {
        Ok(()) => back(Done::PasswordChanged),
        Err(
            error @ (Error::WrongPassword
            | Error::TooManyAttempts { .. }
            | Error::ShortPassword { .. }
            | Error::LongPassword { .. }
            | Error::PlainPassword),
        ) if call.asked.navigation => show(store, visitor, None, Some(&error)).await,
        Err(error) => Err(error),
    }
}

/// Ends one of the visitor's sessions.
pub(super) async fn end_session(
    store: &Store,
    visitor: &Visitor,
    form: &Form,
) -> Result<Reply, Error> {
    let signed_in = visitor.signed_in()?;
    let key = form.field("session").parse();
    let key = key.map_err(|_| Error::BadRequest("the form names no session"))?;
    let end = store.catalog.end_session_of(&signed_in.viewer.name, &key);
    timeout(PATIENCE, end).await??;
    store.sessions.forget(&key).await;
    back(Done::SessionEnded)
}

/// Ends all sessions of the visitor but this one.
pub(super) async fn end_other_sessions(store: &Store, visitor: &Visitor) -> Result<Reply, Error> {
    let signed_in = visitor.signed_in()?;
    let this = visitor.session()?;
    let end = store
        .catalog
        .end_other_sessions(&signed_in.viewer.name, &this);
    timeout(PATIENCE, end).await??;
    back(Done::OthersEnded)
}

fn back(done: Done) -> Result<Reply, Error> {
    redirect(StatusCode::SEE_OTHER, &format!("/account?done={done}"))
}
