//! Personal tokens: how an account's programs show who sent them.
//!
//! A token is good until it expires or is revoked, within its scopes, and only while its account may sign in: signing
//! out and disabling the account leave it there, a password that an admin gives takes it away
//! ([`Catalog::set_password_hash`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, SelectTwo,
};

use crate::accounts::{is_taken, lock};
use crate::catalog::begin_write;
use crate::entities::accounts;
use crate::entities::tokens::{ActiveModel, Column, Entity, Model};
use crate::sessions::{KEYS_AT_ONCE, MAX_SEEN};
use crate::{Catalog, Error, Role, TokenId, TokenKey, timestamp};

/// Most tokens of one account that may be in force at once.
const MAX_TOKENS: u64 = 50;

/// How stale `last_used_at` may get before [`Catalog::touch_tokens`] writes it.
const TOUCH_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// What a token is good for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Entering the instances that the account may enter.
    Instances,
    /// The store's own API.
    Store,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its secret. Only a hash of it is stored.
    pub id: TokenId,
    /// Whose it is.
    pub account: String,
    /// What its owner calls it; no two tokens of an account have one name.
    pub name: String,
    /// What it is good for.
    pub scopes: BTreeSet<Scope>,
    /// Now.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// A token, and what its account may do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What the database knows it by.
    pub key: TokenKey,
    /// Whose it is.
    pub account: String,
    /// What the account may do.
    pub role: Role,
    /// The account's roles at its OIDC provider, by name.
    pub roles: Arc<[String]>,
    /// What its owner calls it.
    pub name: String,
    /// What it is good for.
    pub scopes: BTreeSet<Scope>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was last used, to the minute; never, when none.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl Catalog {
    /// Makes a token.
    ///
    /// # Errors
    /// [`Error::DuplicateToken`] when the account has one of this name, [`Error::TooManyTokens`] when it has as many as it may
    /// have, [`Error::SessionGone`] when there is no such account (any more). Expired tokens do not count.
    pub async fn create_token(&self, token: &NewToken) -> Result<(), Error> {
        let NewToken {
            id,
            account,
            name,
            scopes,
            created_at,
            expires_at,
        } = token;
        let failed = || Error::database("create a token");
        let transaction = begin_write(&self.database).await.map_err(failed())?;
        // One token of an account at a time: otherwise each of two would count without the other.
        lock(&transaction, account).await?;
        Entity::delete_many()
            .filter(Column::Account.eq(account))
            .filter(Column::ExpiresAtMs.lte(timestamp::to_column(*created_at)))
            .exec(&transaction)
            .await
            .map_err(failed())?;
        let row = ActiveModel {
            id_hash: Set(id.key().to_text()),
            account: Set(account.clone()),
            name: Set(name.clone()),
            scopes: Set(scopes_to_column(scopes)),
            created_at_ms: Set(timestamp::to_column(*created_at)),
            expires_at_ms: Set(timestamp::to_column(*expires_at)),
            last_used_at_ms: Set(None),
        };
        match Entity::insert(row)
            .exec_without_returning(&transaction)
            .await
        {
            Ok(_) => {}
            Err(error) if is_taken(&error) => return Err(Error::DuplicateToken(name.clone())),
            Err(error) => return Err(failed()(error)),
        }
        let count = Entity::find()
            .filter(Column::Account.eq(account))
            .count(&transaction)
            .await
            .map_err(failed())?;
        if count > MAX_TOKENS {
            return Err(Error::TooManyTokens { limit: MAX_TOKENS });
        }
        transaction.commit().await.map_err(failed())
    }

    /// The tokens of an account by name, expired ones included.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tokens_of(&self, account: &str) -> Result<Vec<Token>, Error> {
        let found = select()
            .filter(Column::Account.eq(account))
            .order_by_asc(Column::Name)
            .all(&self.database)
            .await
            .map_err(Error::database("read an account's tokens"))?;
        from_rows(found)
    }

    /// The token, while it is in force: none when it was revoked or has expired, or when its account is gone or disabled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token(&self, key: &TokenKey, now: DateTime<Utc>) -> Result<Option<Token>, Error> {
        let found = select_in_force(now)
            .filter(Column::IdHash.eq(key.to_text()))
            .one(&self.database)
            .await
            .map_err(Error::database("read a token"))?;
        Ok(from_rows(found)?.pop())
    }

    /// Those of these tokens that are in force, by the rule of [`token`](Self::token), in any order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tokens(&self, keys: &[TokenKey], now: DateTime<Utc>) -> Result<Vec<Token>, Error> {
        let mut tokens = Vec::new();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let found = select_in_force(now)
                .filter(Column::IdHash.is_in(keys.iter().map(|key| key.to_text())))
                .all(&self.database)
                .await
                .map_err(Error::database("read tokens"))?;
            tokens.extend(from_rows(found)?);
        }
        Ok(tokens)
    }

    /// Those in force that were made or used since then, at most 10,000.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tokens_used_since(
        &self,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Token>, Error> {
        let since = timestamp::to_column(since);
        let made_or_used = Condition::any()
            .add(Column::LastUsedAtMs.gte(since))
            .add(Column::CreatedAtMs.gte(since));
        let found = select_in_force(now)
            .filter(made_or_used)
            .limit(MAX_SEEN)
            .all(&self.database)
            .await
            .map_err(Error::database("read the tokens that are in use"))?;
        from_rows(found)
    }

    /// Notes that tokens are in use, at most once a minute.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn touch_tokens(&self, keys: &[TokenKey], now: DateTime<Utc>) -> Result<(), Error> {
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let stale = Condition::any()
                .add(Column::LastUsedAtMs.is_null())
                .add(Column::LastUsedAtMs.lte(timestamp::to_column(now - TOUCH_INTERVAL)));
            Entity::update_many()
                .col_expr(Column::LastUsedAtMs, Expr::value(timestamp::to_column(now)))
                .filter(Column::IdHash.is_in(keys.iter().map(|key| key.to_text())))
                .filter(stale)
                .exec(&self.database)
                .await
                .map_err(Error::database("touch tokens"))?;
        }
        Ok(())
    }

    /// Revokes a token, if it is this account's. False when it has no such token.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_token(&self, account: &str, key: &TokenKey) -> Result<bool, Error> {
        let revoked = Entity::delete_by_id(key.to_text())
            .filter(Column::Account.eq(account))
            .exec(&self.database)
            .await
            .map_err(Error::database("revoke a token"))?;
        Ok(revoked.rows_affected > 0)
    }
}

fn select() -> SelectTwo<Entity, accounts::Entity> {
    Entity::find().find_also_related(accounts::Entity)
}

fn select_in_force(now: DateTime<Utc>) -> SelectTwo<Entity, accounts::Entity> {
    select()
        .filter(Column::ExpiresAtMs.gt(timestamp::to_column(now)))
        .filter(accounts::Column::Disabled.eq(false))
}

fn scopes_to_column(scopes: &BTreeSet<Scope>) -> String {
    // Never fails for names.
    serde_json::to_string(scopes).unwrap_or_default()
}

fn from_rows(
    rows: impl IntoIterator<Item = (Model, Option<accounts::Model>)>,
) -> Result<Vec<Token>, Error> {
    rows.into_iter()
        .filter_map(|(row, account)| Some(from_row(row, account?)))
        .collect()
}

fn from_row(row: Model, account: accounts::Model) -> Result<Token, Error> {
    let Model {
        id_hash,
        account: _,
        name,
        scopes,
        created_at_ms,
        expires_at_ms,
        last_used_at_ms,
    } = row;
    let scopes = serde_json::from_str(&scopes).map_err(|_| Error::UnknownValue {
        row: format!("token `{name}` of account `{}`", account.name),
        column: "scopes",
        value: scopes,
    })?;
    Ok(Token {
        key: id_hash.parse()?,
        role: crate::accounts::role(&account.name, &account.role)?,
        roles: crate::accounts::roles_from_column(&account.name, account.roles)?.into(),
        account: account.name,
        name,
        scopes,
        created_at: timestamp::from_column(created_at_ms),
        expires_at: timestamp::from_column(expires_at_ms),
        last_used_at: last_used_at_ms.map(timestamp::from_column),
    })
}
