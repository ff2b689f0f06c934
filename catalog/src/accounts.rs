//! Accounts: who may sign in, and as what.

use std::str::FromStr as _;

use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, SqlErr, sea_query::Expr,
};

use crate::catalog::{Lock, begin_write, exclusive};
use crate::entities::accounts::{ActiveModel, Column, Entity, Model};
use crate::entities::sessions;
use crate::{Catalog, Error};

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::EnumString)]
pub enum Role {
    /// Runs apps for visitors; publishes nothing.
    Visitor,
    /// Publishes and runs apps.
    Full,
    /// Manages everything.
    Admin,
}

/// Somebody who may sign in.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name, unique.
    pub name: String,
    /// The hash of its password; none for accounts that sign in elsewhere.
    pub password_hash: Option<String>,
    /// What it may do.
    pub role: Role,
    /// Whether it is kept from signing in.
    pub disabled: bool,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            password_hash: _,
            role,
            disabled,
        } = self;
        f.debug_struct("Account")
            .field("name", name)
            .field("role", role)
            .field("disabled", disabled)
            .finish_non_exhaustive()
    }
}

/// An account to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// Its name, unique.
    pub name: String,
    /// The hash of its password, never the password; none for accounts that sign in elsewhere.
    pub password_hash: Option<String>,
    /// What it may do.
    pub role: Role,
}

impl std::fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            password_hash: _,
            role,
        } = self;
        f.debug_struct("NewAccount")
            .field("name", name)
            .field("role", role)
            .finish_non_exhaustive()
    }
}

impl Catalog {
    /// Makes this account when there is none at all; true when it did. Of several replicas that try at
    /// once, one makes it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn create_first_account(&self, account: &NewAccount) -> Result<bool, Error> {
        let failed = || Error::database("create the first account");
        let transaction = exclusive(&self.database, Lock::FirstAccount)
            .await
            .map_err(failed())?;
        if Entity::find().count(&transaction).await.map_err(failed())? > 0 {
            return Ok(false);
        }
        insert(&transaction, account).await?;
        transaction.commit().await.map_err(failed())?;
        Ok(true)
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`Error::DuplicateAccount`] when the name is taken.
    pub async fn create_account(&self, account: &NewAccount) -> Result<(), Error> {
        insert(&self.database, account).await
    }

    /// The account of this name, disabled or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account(&self, name: &str) -> Result<Option<Account>, Error> {
        Entity::find_by_id(name)
            .one(&self.database)
            .await
            .map_err(Error::database("read an account"))?
            .map(from_row)
            .transpose()
    }

    /// Accounts by name, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn accounts(&self, limit: u64) -> Result<Vec<Account>, Error> {
        Entity::find()
            .order_by_asc(Column::Name)
            .limit(limit)
            .all(&self.database)
            .await
            .map_err(Error::database("read accounts"))?
            .into_iter()
            .map(from_row)
            .collect()
    }

    /// Keeps an account from signing in, and ends its sessions, or lets it in again. False when there is no
    /// such account.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_account_disabled(&self, name: &str, disabled: bool) -> Result<bool, Error> {
        self.change_account(name, Column::Disabled, disabled.into())
            .await
    }

    /// Replaces the hash of an account's password and ends its sessions. False when there is no such
    /// account.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_password_hash(&self, name: &str, password_hash: &str) -> Result<bool, Error> {
        self.change_account(name, Column::PasswordHash, password_hash.into())
            .await
    }

    async fn change_account(
        &self,
        name: &str,
        column: Column,
        value: sea_orm::Value,
    ) -> Result<bool, Error> {
        let failed = || Error::database("change an account");
        let transaction = begin_write(&self.database).await.map_err(failed())?;
        let updated = Entity::update_many()
            .col_expr(column, Expr::value(value))
            .filter(Column::Name.eq(name))
            .exec(&transaction)
            .await
            .map_err(failed())?;
        end_sessions(&transaction, name).await?;
        transaction.commit().await.map_err(failed())?;
        Ok(updated.rows_affected > 0)
    }
}

async fn end_sessions(transaction: &DatabaseTransaction, account: &str) -> Result<(), Error> {
    sessions::Entity::delete_many()
        .filter(sessions::Column::Account.eq(account))
        .exec(transaction)
        .await
        .map_err(Error::database("end an account's sessions"))?;
    Ok(())
}

async fn insert(
    database: &impl sea_orm::ConnectionTrait,
    account: &NewAccount,
) -> Result<(), Error> {
    let NewAccount {
        name,
        password_hash,
        role,
    } = account.clone();
    let row = ActiveModel {
        name: Set(name.clone()),
        password_hash: Set(password_hash),
        role: Set(role.to_string()),
        disabled: Set(false),
    };
    match Entity::insert(row).exec_without_returning(database).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {
            Err(Error::DuplicateAccount(name))
        }
        Err(error) => Err(Error::database("create an account")(error)),
    }
}

pub(crate) fn role(account: &str, text: &str) -> Result<Role, Error> {
    Role::from_str(text).map_err(|_| Error::UnknownValue {
        row: format!("account `{account}`"),
        column: "role",
        value: text.to_owned(),
    })
}

fn from_row(row: Model) -> Result<Account, Error> {
    let Model {
        name,
        password_hash,
        role: text,
        disabled,
    } = row;
    let role = role(&name, &text)?;
    Ok(Account {
        name,
        password_hash,
        role,
        disabled,
    })
}
