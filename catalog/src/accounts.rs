//! Accounts: who may sign in, and as what.

use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait as _, Func, LockType};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbErr,
    EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    SqlErr,
};

use crate::catalog::{Lock, exclusive};
use crate::entities::accounts::{ActiveModel, Column, Entity, Model};
use crate::entities::tokens;
use crate::sessions::{KEYS_AT_ONCE, end_sessions};
use crate::{Catalog, Error, SessionKey, timestamp};

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
    /// When that password ends unless it is changed: for one that an admin gave, to be used once.
    pub password_expires_at: Option<DateTime<Utc>>,
    /// What it may do.
    pub role: Role,
    /// Whether it is kept from signing in.
    pub disabled: bool,
    /// Who it is at an OIDC provider. Such an account signs in there and has no password; one without signs in here.
    pub subject: Option<Subject>,
    /// Its roles at the provider, by name.
    pub roles: Vec<String>,
    /// When the provider said so.
    pub roles_as_of: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            password_hash: _,
            password_expires_at,
            role,
            disabled,
            subject,
            roles,
            roles_as_of,
        } = self;
        f.debug_struct("Account")
            .field("name", name)
            .field("password_expires_at", password_expires_at)
            .field("role", role)
            .field("disabled", disabled)
            .field("subject", subject)
            .field("roles", roles)
            .field("roles_as_of", roles_as_of)
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

/// What an OIDC provider says about somebody.
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
    /// When the provider said so: what an old token says never takes the place of something newer.
    pub as_of: DateTime<Utc>,
}

/// An account to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// Its name, unique in any case.
    pub name: String,
    /// The hash of its password, never the password; none for accounts that sign in elsewhere.
    pub password_hash: Option<String>,
    /// When that password ends unless it is changed.
    pub password_expires_at: Option<DateTime<Utc>>,
    /// What it may do.
    pub role: Role,
}

impl std::fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            password_hash: _,
            password_expires_at,
            role,
        } = self;
        f.debug_struct("NewAccount")
            .field("name", name)
            .field("password_expires_at", password_expires_at)
            .field("role", role)
            .finish_non_exhaustive()
    }
}

/// What becomes of an account; what is not said stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountChange {
    /// What it may do.
    pub role: Option<Role>,
    /// Whether it is kept from signing in.
    pub disabled: Option<bool>,
}

impl AccountChange {
    /// Another role.
    #[must_use]
    pub fn role(role: Role) -> Self {
        Self {
            role: Some(role),
            ..Self::default()
        }
    }

    /// Kept from signing in, or let in again.
    #[must_use]
    pub fn disabled(disabled: bool) -> Self {
        Self {
            disabled: Some(disabled),
            ..Self::default()
        }
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
        let transaction = exclusive(&self.database, Lock::Accounts)
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
    /// [`Error::DuplicateAccount`] when the name, in any case, is taken.
    pub async fn create_account(&self, account: &NewAccount) -> Result<(), Error> {
        let failed = || Error::database("create an account");
        let transaction = exclusive(&self.database, Lock::Accounts)
            .await
            .map_err(failed())?;
        insert(&transaction, account).await?;
        transaction.commit().await.map_err(failed())
    }

    /// The account of somebody at an OIDC provider, disabled or not, with what the provider says, unless it has said
    /// something newer; made when there is none.
    ///
    /// # Errors
    /// [`Error::DuplicateAccount`] when there is none, and its name, in any case, is that of somebody else's account.
    pub async fn account_of(&self, person: &Person) -> Result<Account, Error> {
        // As it is for all requests with one token but the first: nothing to write, so nobody has to wait.
        if let Some(account) = self.account_by_subject(&person.subject).await?
            && !is_news(&account, person)
        {
            return Ok(account);
        }
        let failed = || Error::database("read somebody's account");
        let transaction = exclusive(&self.database, Lock::Accounts)
            .await
            .map_err(failed())?;
        if let Some(account) = by_subject(&transaction, &person.subject).await? {
            let account = bring_up_to_date(&transaction, account, person).await?;
            transaction.commit().await.map_err(failed())?;
            return Ok(account);
        }
        let account = Account {
            name: person.name.clone(),
            password_hash: None,
            password_expires_at: None,
            role: person.role,
            disabled: false,
            subject: Some(person.subject.clone()),
            roles: person.roles.clone(),
            roles_as_of: Some(person.as_of),
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

    /// The accounts of several people at OIDC providers, disabled or not, in any order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn accounts_by_subject(&self, subjects: &[Subject]) -> Result<Vec<Account>, Error> {
        let mut accounts = Vec::new();
        for subjects in subjects.chunks(KEYS_AT_ONCE) {
            let words = subjects.iter().map(|subject| subject.subject.as_str());
            let found = Entity::find()
                .filter(Column::Subject.is_in(words))
                .all(&self.database)
                .await
                .map_err(Error::database("read accounts"))?;
            for row in found {
                let account = from_row(row)?;
                // Another provider may know somebody else by the same word.
                if account
                    .subject
                    .as_ref()
                    .is_some_and(|it| subjects.contains(it))
                {
                    accounts.push(account);
                }
            }
        }
        Ok(accounts)
    }

    /// The account of this name, disabled or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account(&self, name: &str) -> Result<Option<Account>, Error> {
        by_name(&self.database, name).await
    }

    /// Accounts by name, those after a name, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn accounts(&self, after: &str, limit: u64) -> Result<Vec<Account>, Error> {
        Entity::find()
            .filter(Column::Name.gt(after))
            .order_by_asc(Column::Name)
            .limit(limit)
            .all(&self.database)
            .await
            .map_err(Error::database("read accounts"))?
            .into_iter()
            .map(from_row)
            .collect()
    }

    /// Changes an account: false when there is none of this name, or it is not as it was `before` any more, where that is
    /// said. Open sessions and tokens follow another role. Whoever is kept from signing in, or let in again, has no sessions
    /// then; tokens stay, and are not in force while their account is kept out.
    ///
    /// # Errors
    /// [`Error::LastAdmin`] when nobody would be left who manages the store, [`Error::ForeignAccount`] when a role is given
    /// and an OIDC provider says what the account may do.
    pub async fn change_account(
        &self,
        name: &str,
        change: AccountChange,
        before: Option<&Account>,
    ) -> Result<bool, Error> {
        let AccountChange { role, disabled } = change;
        let transaction = self.begin_change().await?;
        let Some(account) = by_name(&transaction, name).await? else {
            return Ok(false);
        };
        if before.is_some_and(|before| *before != account) {
            return Ok(false);
        }
        if role.is_some() && account.subject.is_some() {
            return Err(Error::ForeignAccount(name.to_owned()));
        }
        let changed = Account {
            role: role.unwrap_or(account.role),
            disabled: disabled.unwrap_or(account.disabled),
            ..account.clone()
        };
        require_admin_after(&transaction, &account, &changed).await?;
        update(&transaction, &changed).await?;
        if disabled.is_some() {
            end_sessions(&transaction, name, None).await?;
        }
        commit_change(transaction).await?;
        Ok(true)
    }

    /// Replaces the hash of an account's password, and ends its sessions but `keep`, the one in which its owner changes
    /// it. Without `keep`, as when an admin gives it a new password, its tokens are revoked as well. False when there is
    /// no such account.
    ///
    /// # Errors
    /// [`Error::ForeignAccount`] when the account signs in at an OIDC provider.
    pub async fn set_password_hash(
        &self,
        name: &str,
        password_hash: &str,
        password_expires_at: Option<DateTime<Utc>>,
        keep: Option<&SessionKey>,
    ) -> Result<bool, Error> {
        let transaction = self.begin_change().await?;
        let Some(account) = by_name(&transaction, name).await? else {
            return Ok(false);
        };
        if account.subject.is_some() {
            return Err(Error::ForeignAccount(name.to_owned()));
        }
        let changed = Account {
            password_hash: Some(password_hash.to_owned()),
            password_expires_at,
            ..account
        };
        update(&transaction, &changed).await?;
        end_sessions(&transaction, name, keep).await?;
        if keep.is_none() {
            tokens::Entity::delete_many()
                .filter(tokens::Column::Account.eq(name))
                .exec(&transaction)
                .await
                .map_err(Error::database("revoke an account's tokens"))?;
        }
        commit_change(transaction).await?;
        Ok(true)
    }

    /// Begins a change of an account that is there. One at a time in the whole store, so that what is read stays true.
    pub(crate) async fn begin_change(&self) -> Result<DatabaseTransaction, Error> {
        exclusive(&self.database, Lock::Accounts)
            .await
            .map_err(Error::database("change an account"))
    }
}

pub(crate) async fn commit_change(transaction: DatabaseTransaction) -> Result<(), Error> {
    transaction
        .commit()
        .await
        .map_err(Error::database("change an account"))
}

/// Refuses a change after which nobody could manage the store.
async fn require_admin_after(
    transaction: &DatabaseTransaction,
    before: &Account,
    after: &Account,
) -> Result<(), Error> {
    let manages = |account: &Account| account.role == Role::Admin && !account.disabled;
    if !manages(before) || manages(after) {
        return Ok(());
    }
    let others = Entity::find()
        .filter(Column::Role.eq(Role::Admin.to_string()))
        .filter(Column::Disabled.eq(false))
        .filter(Column::Name.ne(&before.name))
        .count(transaction)
        .await
        .map_err(Error::database("count admins"))?;
    if others == 0 {
        return Err(Error::LastAdmin(before.name.clone()));
    }
    Ok(())
}

async fn update(transaction: &DatabaseTransaction, account: &Account) -> Result<(), Error> {
    Entity::update(to_row(account))
        .exec(transaction)
        .await
        .map_err(Error::database("change an account"))?;
    Ok(())
}

async fn insert(transaction: &DatabaseTransaction, account: &NewAccount) -> Result<(), Error> {
    let NewAccount {
        name,
        password_hash,
        password_expires_at,
        role,
    } = account.clone();
    let account = Account {
        name: name.clone(),
        password_hash,
        password_expires_at,
        role,
        disabled: false,
        subject: None,
        roles: Vec::new(),
        roles_as_of: None,
    };
    if insert_if_free(transaction, &account).await? {
        Ok(())
    } else {
        Err(Error::DuplicateAccount(name))
    }
}

pub(crate) fn is_taken(error: &DbErr) -> bool {
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

/// Keeps others from changing what belongs to an account until the transaction ends.
pub(crate) async fn lock(transaction: &DatabaseTransaction, name: &str) -> Result<(), Error> {
    Entity::find_by_id(name)
        .lock(LockType::NoKeyUpdate)
        .one(transaction)
        .await
        .map_err(Error::database("lock an account"))?
        .ok_or(Error::SessionGone)?;
    Ok(())
}

pub(crate) async fn by_name(
    database: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<Account>, Error> {
    Entity::find_by_id(name)
        .one(database)
        .await
        .map_err(Error::database("read an account"))?
        .map(from_row)
        .transpose()
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

fn is_news(account: &Account, person: &Person) -> bool {
    // As fine as the column.
    let as_of = person.as_of.timestamp_millis();
    account
        .roles_as_of
        .is_none_or(|known| known.timestamp_millis() < as_of)
}

async fn bring_up_to_date(
    transaction: &DatabaseTransaction,
    account: Account,
    person: &Person,
) -> Result<Account, Error> {
    if !is_news(&account, person) {
        return Ok(account);
    }
    let account = Account {
        role: person.role,
        roles: person.roles.clone(),
        roles_as_of: Some(person.as_of),
        ..account
    };
    update(transaction, &account).await?;
    Ok(account)
}

fn roles_to_column(roles: &[String]) -> Option<String> {
    // Never fails for texts.
    (!roles.is_empty()).then(|| serde_json::to_string(roles).unwrap_or_default())
}

pub(crate) fn roles_from_column(
    account: &str,
    column: Option<String>,
) -> Result<Vec<String>, Error> {
    let Some(text) = column else {
        return Ok(Vec::new());
    };
    serde_json::from_str(&text).map_err(|_| Error::UnknownValue {
        row: format!("account `{account}`"),
        column: "roles",
        value: text,
    })
}

fn to_row(account: &Account) -> ActiveModel {
    let Account {
        name,
        password_hash,
        password_expires_at,
        role,
        disabled,
        subject,
        roles,
        roles_as_of,
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
        password_expires_at_ms: Set(password_expires_at.map(timestamp::to_column)),
        roles_as_of_ms: Set(roles_as_of.map(timestamp::to_column)),
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
        password_expires_at_ms,
        roles_as_of_ms,
    } = row;
    let role = role(&name, &text)?;
    let roles = roles_from_column(&name, roles)?;
    let subject = issuer
        .zip(subject)
        .map(|(issuer, subject)| Subject { issuer, subject });
    Ok(Account {
        name,
        password_hash,
        password_expires_at: password_expires_at_ms.map(timestamp::from_column),
        role,
        disabled,
        subject,
        roles,
        roles_as_of: roles_as_of_ms.map(timestamp::from_column),
    })
}
