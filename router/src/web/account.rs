//! Somebody's own account: password, sessions and tokens.

use std::collections::BTreeSet;

use catalog::{NewToken, Scope, Thing, TokenId};
use chrono::{TimeDelta, Utc};
use tokio::time::timeout;

use super::form::Form;
use super::pages::{self, Done, News};
use super::{Call, PATIENCE, Reply, Store, Visitor, back_to};
use crate::error::Error;

/// Longest name of a token, in characters.
const MAX_TOKEN_NAME: usize = 64;

/// The page, with what was done last.
pub(super) async fn page(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    show(store, visitor, call.news()).await
}

async fn show(store: &Store, visitor: &Visitor, news: News<'_>) -> Result<Reply, Error> {
    let signed_in = visitor.signed_in()?;
    let name = &*signed_in.viewer.name;
    let account = timeout(PATIENCE, store.catalog.account(name)).await??;
    let account = account.ok_or(Error::NotSignedIn)?;
    let sessions = timeout(PATIENCE, store.catalog.sessions_of(name, Utc::now())).await??;
    let tokens = timeout(PATIENCE, store.catalog.tokens_of(name)).await??;
    let page = pages::Account::new(
        (&store.site, visitor.frame(store)?),
        &account,
        (&sessions, &visitor.session()?),
        &tokens,
        news,
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
        Ok(()) => back_to("/account", Done::PasswordChanged),
        Err(
            error @ (Error::WrongPassword
            | Error::TooManyAttempts { .. }
            | Error::ShortPassword { .. }
            | Error::LongPassword { .. }
            | Error::PlainPassword),
        ) if call.asked.navigation => show(store, visitor, News::Failed(&error)).await,
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
    store.sessions.forget(&key);
    let to = (Thing::Account, &*signed_in.viewer.name);
    visitor.did(store, to, "ended a session").await?;
    back_to("/account", Done::SessionEnded)
}

/// Ends all sessions of the visitor but this one.
pub(super) async fn end_other_sessions(store: &Store, visitor: &Visitor) -> Result<Reply, Error> {
    let signed_in = visitor.signed_in()?;
    let this = visitor.session()?;
    let end = store
        .catalog
        .end_other_sessions(&signed_in.viewer.name, &this);
    timeout(PATIENCE, end).await??;
    let to = (Thing::Account, &*signed_in.viewer.name);
    visitor.did(store, to, "ended all other sessions").await?;
    back_to("/account", Done::OthersEnded)
}

/// Makes a token, which is shown in the answer itself, and never again.
pub(super) async fn create_token(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
) -> Result<Reply, Error> {
    let account = &visitor.signed_in()?.viewer.name;
    let made = match asked_token(account, form) {
        Ok(token) => match timeout(PATIENCE, store.catalog.create_token(&token)).await? {
            Ok(()) => Ok(token),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error),
    };
    match made {
        Ok(token) => {
            let done = format!("made the token {:?}", token.name);
            visitor.did(store, (Thing::Account, account), &done).await?;
            let news = News::Secret {
                name: &token.name,
                secret: &token.id.expose(),
            };
            show(store, visitor, news).await
        }
        Err(
            error @ (Error::BadRequest(_) | Error::DuplicateToken(_) | Error::TooManyTokens { .. }),
        ) if call.asked.navigation => show(store, visitor, News::Failed(&error)).await,
        Err(error) => Err(error),
    }
}

/// The token that a form asks for.
fn asked_token(account: &str, form: &Form) -> Result<NewToken, Error> {
    let name = form.field("name").trim();
    if name.is_empty() || name.chars().count() > MAX_TOKEN_NAME {
        return Err(Error::BadRequest(
            "a token needs a name of 1 to 64 characters",
        ));
    }
    let scopes: BTreeSet<Scope> = form
        .fields("scope")
        .filter_map(|scope| scope.parse().ok())
        .collect();
    if scopes.is_empty() {
        return Err(Error::BadRequest("choose what the token is good for"));
    }
    let days = form.field("days").parse().ok();
    let days = days
        .filter(|days| pages::TOKEN_DAYS.contains(days))
        .ok_or(Error::BadRequest("choose how long the token is good"))?;
    let now = Utc::now();
    Ok(NewToken {
        id: TokenId::random()?,
        account: account.to_owned(),
        name: name.to_owned(),
        scopes,
        created_at: now,
        expires_at: now + TimeDelta::days(days),
    })
}

/// Revokes one of the visitor's tokens.
pub(super) async fn revoke_token(
    store: &Store,
    visitor: &Visitor,
    form: &Form,
) -> Result<Reply, Error> {
    let account = &visitor.signed_in()?.viewer.name;
    let key = form.field("token").parse();
    let key = key.map_err(|_| Error::BadRequest("the form names no token"))?;
    timeout(PATIENCE, store.catalog.revoke_token(account, &key)).await??;
    let to = (Thing::Account, &**account);
    visitor.did(store, to, "revoked a token").await?;
    back_to("/account", Done::TokenRevoked)
}
