//! Accounts: who may sign in, and as what.

use std::str::FromStr as _;

use sea_orm::sea_query::{Expr, ExprTrait as _, Func};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbErr,
    EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    SqlErr,
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
    /// Who it is at an OIDC provider. Such an account signs in there and has no password; one without signs in here.
    pub subject: Option<Subject>,
    /// Its roles at the provider, by name.
    pub roles: Vec<String>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            password_hash: _,
            role,
            disabled,
            subject,
            roles,
        } = self;
        f.debug_struct("Account")
            .field("name", name)
            .field("role", role)
            .field("disabled", disabled)
            .field("subject", subject)
            .field("roles", roles)
            .finish_non_exhaustive()
    }
}

/// Somebody at an OIDC provider: the provider's word for them never changes, whatever their name is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The provider.
    pub issuer: String,
    /// Its word for them.
    pub subject: String,
}

/// What an OIDC provider says about somebody now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who it is.
    pub subject: Subject,
    /// The name for a new account; an account that is there keeps its own, since instances belong to it by name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Their roles at the provider, by name.
    pub roles: Vec<String>,
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

    /// The account of somebody at an OIDC provider, disabled or not, with what the provider says now; made when there is
    /// none.
    ///
    /// # Errors
    /// [`Error::DuplicateAccount`] when there is none, and its name, in any case, is that of somebody else's account.
    pub async fn account_of(&self, person: &Person) -> Result<Account, Error> {
        // As it nearly always is: nothing to write, so nobody has to wait.
        if let Some(account) = self.account_by_subject(&person.subject).await?
            && account.role == person.role
            && account.roles == person.roles
        {
            return Ok(account);
        }
        let failed = || Error::database("read somebody's account");
        let transaction = begin_write(&self.database).await.map_err(failed())?;
        if let Some(account) = by_subject(&transaction, &person.subject).await? {
            let account = bring_up_to_date(&transaction, account, person).await?;
            transaction.commit().await.map_err(failed())?;
            return Ok(account);
        }
        let account = Account {
            name: person.name.clone(),
            password_hash: None,
            role: person.role,
            disabled: false,
            subject: Some(person.subject.clone()),
            roles: person.roles.clone(),
        };
        if insert_if_free(&transaction, &account).await? {
            transaction.commit().await.map_err(failed())?;
            return Ok(account);
        }
        drop(transaction);
        // Either the name is somebody else's, or another replica has made this very account in this moment.
        let made = by_subject(&self.database, &person.subject).await?;
        made.ok_or_else(|| Error::DuplicateAccount(person.name.clone()))
    }

    /// The account of somebody at an OIDC provider, disabled or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account_by_subject(&self, subject: &Subject) -> Result<Option<Account>, Error> {
        by_subject(&self.database, subject).await
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

async fn insert(database: &impl ConnectionTrait, account: &NewAccount) -> Result<(), Error> {
    let NewAccount {
        name,
        password_hash,
        role,
    } = account.clone();
    let row = to_row(&Account {
        name: name.clone(),
        password_hash,
        role,
        disabled: false,
        subject: None,
        roles: Vec::new(),
    });
    match Entity::insert(row).exec_without_returning(database).await {
        Ok(_) => Ok(()),
        Err(error) if is_taken(&error) => Err(Error::DuplicateAccount(name)),
        Err(error) => Err(Error::database("create an account")(error)),
    }
}

fn is_taken(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

/// False when the name, in any case, is taken.
async fn insert_if_free(
    transaction: &DatabaseTransaction,
    account: &Account,
) -> Result<bool, Error> {
    let failed = || Error::database("create an account");
    let taken = Entity::find()
        .filter(Func::lower(Expr::col(Column::Name)).eq(account.name.to_lowercase()))
        .count(transaction)
        .await
        .map_err(failed())?;
    if taken > 0 {
        return Ok(false);
    }
    match Entity::insert(to_row(account))
        .exec_without_returning(transaction)
        .await
    {
        Ok(_) => Ok(true),
        Err(error) if is_taken(&error) => Ok(false),
        Err(error) => Err(failed()(error)),
    }
}

async fn by_subject(
    database: &impl ConnectionTrait,
    subject: &Subject,
) -> Result<Option<Account>, Error> {
    Entity::find()
        .filter(Column::Issuer.eq(&subject.issuer))
        .filter(Column::Subject.eq(&subject.subject))
        .one(database)
        .await
        .map_err(Error::database("read an account"))?
        .map(from_row)
        .transpose()
}

async fn bring_up_to_date(
    transaction: &DatabaseTransaction,
    account: Account,
    person: &Person,
) -> Result<Account, Error> {
    Entity::update_many()
        .col_expr(Column::Role, Expr::value(person.role.to_string()))
        .col_expr(Column::Roles, Expr::value(roles_to_column(&person.roles)))
        .filter(Column::Name.eq(&account.name))
        .exec(transaction)
        .await
        .map_err(Error::database("change an account"))?;
    Ok(Account {
        role: person.role,
        roles: person.roles.clone(),
        ..account
    })
}

fn roles_to_column(roles: &[String]) -> Option<String> {
    // Never fails for texts.
    (!roles.is_empty()).then(|| serde_json::to_string(roles).unwrap_or_default())
}

fn to_row(account: &Account) -> ActiveModel {
    let Account {
        name,
        password_hash,
        role,
        disabled,
        subject,
        roles,
    } = account.clone();
    let (issuer, subject) = subject
        .map(|subject| (subject.issuer, subject.subject))
        .unzip();
    ActiveModel {
        name: Set(name),
        password_hash: Set(password_hash),
        role: Set(role.to_string()),
        disabled: Set(disabled),
        issuer: Set(issuer),
        subject: Set(subject),
        roles: Set(roles_to_column(&roles)),
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
        issuer,
        subject,
        roles,
    } = row;
    let role = role(&name, &text)?;
    let roles = match roles {
        Some(text) => serde_json::from_str(&text).map_err(|_| Error::UnknownValue {
            row: format!("account `{name}`"),
            column: "roles",
            value: text,
        })?,
        None => Vec::new(),
    };
    let subject = issuer
        .zip(subject)
        .map(|(issuer, subject)| Subject { issuer, subject });
    Ok(Account {
        name,
        password_hash,
        role,
        disabled,
        subject,
        roles,
    })
}
