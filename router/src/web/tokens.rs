//! What people do with their own tokens, by the page and by the API alike.

use std::collections::BTreeSet;

use catalog::{NewToken, Scope, Thing, Token, TokenId, TokenKey};
use chrono::{TimeDelta, Utc};
use tokio::time::timeout;

use super::{PATIENCE, Store, Visitor};
use crate::audit;
use crate::error::Error;

/// Longest name of a token, in characters.
const MAX_NAME: usize = 64;

/// How long a token is good at most, in days.
pub(super) const MAX_DAYS: u16 = 365;

/// A token that is asked for.
pub(super) struct Wanted<'a> {
    /// What its owner calls it.
    pub name: &'a str,
    /// What it is good for.
    pub scopes: BTreeSet<Scope>,
    /// For how long, in days.
    pub days: u16,
}

impl Wanted<'_> {
    /// The token, for this account.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for what no token can be.
    fn token(self, account: &str) -> Result<NewToken, Error> {
        let Self { name, scopes, days } = self;
        let name = name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control)
        {
            return Err(Error::BadRequest(
                "a token needs a name of 1 to 64 characters, in one line",
            ));
        }
        if scopes.is_empty() {
            return Err(Error::BadRequest("choose what the token is good for"));
        }
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(Error::BadRequest(
                "choose how long the token is good: 1 to 365 days",
            ));
        }
        let now = Utc::now();
        Ok(NewToken {
            id: TokenId::random()?,
            account: account.to_owned(),
            name: name.to_owned(),
            scopes,
            created_at: now,
            expires_at: now + TimeDelta::days(days.into()),
        })
    }
}

/// The visitor's tokens, by name.
pub(super) async fn list(store: &Store, visitor: &Visitor) -> Result<Vec<Token>, Error> {
    let name = &visitor.signed_in()?.viewer.name;
    Ok(timeout(PATIENCE, store.catalog.tokens_of(name)).await??)
}

/// Makes a token. Who has but a token makes none: one that was stolen would make others, which outlive it.
pub(super) async fn create(
    store: &Store,
    visitor: &Visitor,
    wanted: Wanted<'_>,
) -> Result<NewToken, Error> {
    let signed_in = visitor.signed_in()?;
    if signed_in.credential.is_token() {
        return Err(Error::TokenByToken);
    }
    make(store, &signed_in.viewer.name, wanted).await
}

/// Makes a token for an account, whose owner has asked for it.
pub(super) async fn make(
    store: &Store,
    account: &str,
    wanted: Wanted<'_>,
) -> Result<NewToken, Error> {
    let token = wanted.token(account)?;
    timeout(PATIENCE, store.catalog.create_token(&token)).await??;
    let done = format!("made the token {:?}", token.name);
    audit::note(&store.catalog, account, (Thing::Account, account), &done).await;
    Ok(token)
}

/// Revokes one of the visitor's tokens. False when there is no such one.
pub(super) async fn revoke(
    store: &Store,
    visitor: &Visitor,
    key: &TokenKey,
) -> Result<bool, Error> {
    let account = &visitor.signed_in()?.viewer.name;
    let revoked = timeout(PATIENCE, store.catalog.revoke_token(account, key)).await??;
    if revoked {
        let to = (Thing::Account, &**account);
        visitor.did(store, to, "revoked a token").await?;
    }
    Ok(revoked)
}
