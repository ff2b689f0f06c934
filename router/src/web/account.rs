//! Somebody's own account: password, sessions and tokens.

use tokio::time::timeout;

use super::form::Form;
use super::pages::{self, Done, News};
use super::tokens::{self, Wanted};
use super::{Call, PATIENCE, Reply, Store, Visitor, back_to, sessions};
use crate::error::Error;

/// The page, with what was done last.
pub(super) async fn page(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    show(store, visitor, call.news()).await
}

async fn show(store: &Store, visitor: &Visitor, news: News<'_>) -> Result<Reply, Error> {
    let signed_in = visitor.signed_in()?;
    let name = &*signed_in.viewer.name;
    let account = timeout(PATIENCE, store.catalog.account(name)).await??;
    let account = account.ok_or(Error::NotSignedIn)?;
    let sessions = sessions::list(store, visitor).await?;
    let tokens = tokens::list(store, visitor).await?;
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
    let key = form.field("session").parse();
    let key = key.map_err(|_| Error::BadRequest("the form names no session"))?;
    sessions::end(store, visitor, &key).await?;
    back_to("/account", Done::SessionEnded)
}

/// Ends all sessions of the visitor but this one.
pub(super) async fn end_other_sessions(store: &Store, visitor: &Visitor) -> Result<Reply, Error> {
    sessions::end_others(store, visitor).await?;
    back_to("/account", Done::OthersEnded)
}

/// Makes a token, which is shown in the answer itself, and never again.
pub(super) async fn create_token(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
) -> Result<Reply, Error> {
    let wanted = Wanted {
        name: form.field("name"),
        scopes: form
            .fields("scope")
            .filter_map(|scope| scope.parse().ok())
            .collect(),
        // None is none that a token can have.
        days: form.field("days").parse().unwrap_or_default(),
    };
    match tokens::create(store, visitor, wanted).await {
        Ok(token) => {
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

/// Revokes one of the visitor's tokens.
pub(super) async fn revoke_token(
    store: &Store,
    visitor: &Visitor,
    form: &Form,
) -> Result<Reply, Error> {
    let key = form.field("token").parse();
    let key = key.map_err(|_| Error::BadRequest("the form names no token"))?;
    tokens::revoke(store, visitor, &key).await?;
    back_to("/account", Done::TokenRevoked)
}
