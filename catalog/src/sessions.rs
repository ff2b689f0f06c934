//! Sessions: who is signed in where.
//!
//! A session on the store's own host is made by signing in. One on an instance's host is a child of it, made
//! with a [`Ticket`](crate::Ticket), and ends with it. A session lives until it is ended, until its
//! `expires_at`, or until nobody has used it for [`Settings::session_idle_timeout`](crate::Settings), and
//! only while its account may sign in.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, SelectTwo, SqlErr,
};

use crate::accounts::{by_name, commit_change};
use crate::entities::sessions::{ActiveModel, Column, Entity, Model};
use crate::entities::{accounts, spent, tickets, tokens};
use crate::{Account, Catalog, Error, Role, SessionId, SessionKey, devices, timestamp};

/// How stale `last_seen_at` may get before [`Catalog::touch_sessions`] writes it.
const TOUCH_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// Longest text that is kept of a browser's word for itself, in bytes.
const MAX_BROWSER: usize = 256;

/// Most sessions of one account that are listed.
const MAX_LISTED: u64 = 100;

/// Most sessions, or tokens, in use that are read at once.
pub(crate) const MAX_SEEN: u64 = 10_000;

/// Keys in one question: databases take a limited number of values with it.
pub(crate) const KEYS_AT_ONCE: usize = 1000;

/// A session to be made.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its secret. Only a hash of it is stored.
    pub id: SessionId,
    /// Who is signed in.
    pub account: String,
    /// The session on the store's host that it belongs to, for one on an instance's host.
    pub parent: Option<SessionKey>,
    /// The instance's host, for a session that is good there only.
    pub host: Option<String>,
    /// Now.
    pub created_at: DateTime<Utc>,
    /// When it ends, however much it is used.
    pub expires_at: DateTime<Utc>,
    /// The browser's word for itself (`User-Agent`), of which 256 bytes are kept.
    pub browser: Option<String>,
}

/// A session in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// What the database knows it by.
    pub key: SessionKey,
    /// Who is signed in.
    pub account: String,
    /// What the account may do now.
    pub role: Role,
    /// The account's roles at its OIDC provider, by name.
    pub roles: Arc<[String]>,
    /// The session on the store's host that it belongs to.
    pub parent: Option<SessionKey>,
    /// The host that it is good on; none for the store's.
    pub host: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends, however much it is used.
    pub expires_at: DateTime<Utc>,
    /// When it was last seen in use, to the minute.
    pub last_seen_at: DateTime<Utc>,
    /// What the browser that made it called itself; nobody vouches for that.
    pub browser: Option<String>,
}

impl Catalog {
    /// Makes a session.
    ///
    /// # Errors
    /// [`Error::SessionGone`] when its account or its parent does not exist (any more).
    pub async fn create_session(&self, session: &NewSession) -> Result<(), Error> {
        insert(&self.database, session).await
    }

    /// Makes a session for somebody whose password had the hash `proven`. Whoever replaces the password ends the sessions that
    /// it has opened, and none can slip in between.
    ///
    /// # Errors
    /// [`Error::SessionGone`] when the account has another password by now, is disabled, or does not exist (any more).
    pub async fn create_session_by_password(
        &self,
        session: &NewSession,
        proven: &str,
    ) -> Result<(), Error> {
        let transaction = self.begin_change().await?;
        let account = by_name(&transaction, &session.account).await?;
        let is_proven = |account: &Account| {
            !account.disabled && account.password_hash.as_deref() == Some(proven)
        };
        if !account.as_ref().is_some_and(is_proven) {
            return Err(Error::SessionGone);
        }
        insert(&transaction, session).await?;
        commit_change(transaction).await
    }

    /// The session, while it is in force: none when it ended or expired, when its parent did, or when its
    /// account is gone or disabled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session(
        &self,
        key: &SessionKey,
        now: DateTime<Utc>,
    ) -> Result<Option<Session>, Error> {
        let found = self
            .select_in_force(now)
            .filter(Column::IdHash.eq(key.to_text()))
            .one(&self.database)
            .await
            .map_err(Error::database("read a session"))?;
        Ok(from_rows(found)?.pop())
    }

    /// Those of these sessions that are in force, by the rule of [`session`](Self::session), in any order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sessions(
        &self,
        keys: &[SessionKey],
        now: DateTime<Utc>,
    ) -> Result<Vec<Session>, Error> {
        let mut sessions = Vec::new();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let found = self
                .select_in_force(now)
                .filter(Column::IdHash.is_in(keys.iter().map(|key| key.to_text())))
                .all(&self.database)
                .await
                .map_err(Error::database("read sessions"))?;
            sessions.extend(from_rows(found)?);
        }
        Ok(sessions)
    }

    /// Those in force that were made or seen in use since then, the latest first, at most 10,000.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sessions_seen_since(
        &self,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Session>, Error> {
        let found = self
            .select_in_force(now)
            .filter(Column::LastSeenAtMs.gte(timestamp::to_column(since)))
            .order_by_desc(Column::LastSeenAtMs)
            .limit(MAX_SEEN)
            .all(&self.database)
            .await
            .map_err(Error::database("read the sessions that are in use"))?;
        from_rows(found)
    }

    /// An account's sessions on the store's host that are in force, those used last first, at most 100.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sessions_of(
        &self,
        account: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Session>, Error> {
        let found = self
            .select_in_force(now)
            .filter(Column::Account.eq(account))
            .filter(Column::Host.is_null())
            .order_by_desc(Column::LastSeenAtMs)
            .order_by_desc(Column::CreatedAtMs)
            .limit(MAX_LISTED)
            .all(&self.database)
            .await
            .map_err(Error::database("read an account's sessions"))?;
        from_rows(found)
    }

    /// Sessions in force, with their accounts.
    fn select_in_force(&self, now: DateTime<Utc>) -> SelectTwo<Entity, accounts::Entity> {
        let in_force = self.in_force(now);
        let parent_in_force = Query::select()
            .column(Column::IdHash)
            .from(Entity)
            .cond_where(in_force.clone())
            .to_owned();
        Entity::find()
            .find_also_related(accounts::Entity)
            .filter(in_force)
            .filter(
                Condition::any()
                    .add(Column::Parent.is_null())
                    .add(Column::Parent.in_subquery(parent_in_force)),
            )
            .filter(accounts::Column::Disabled.eq(false))
    }

    /// Notes that sessions are in use, and with them their parents, at most once a minute.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn touch_sessions(
        &self,
        keys: &[SessionKey],
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let these = || Column::IdHash.is_in(keys.iter().map(|key| key.to_text()));
            let parents = Query::select()
                .column(Column::Parent)
                .from(Entity)
                .and_where(these())
                .to_owned();
            Entity::update_many()
                .col_expr(Column::LastSeenAtMs, Expr::value(timestamp::to_column(now)))
                .filter(
                    Condition::any()
                        .add(these())
                        .add(Column::IdHash.in_subquery(parents)),
                )
                .filter(Column::LastSeenAtMs.lte(timestamp::to_column(now - TOUCH_INTERVAL)))
                .exec(&self.database)
                .await
                .map_err(Error::database("touch sessions"))?;
        }
        Ok(())
    }

    /// Ends a session, its children and their tickets. Ending one that is gone is no error.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_session(&self, key: &SessionKey) -> Result<(), Error> {
        Entity::delete_by_id(key.to_text())
            .exec(&self.database)
            .await
            .map_err(Error::database("end a session"))?;
        Ok(())
    }

    /// Ends a session, its children and their tickets, if it is this account's. False when it has no such session.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_session_of(&self, account: &str, key: &SessionKey) -> Result<bool, Error> {
        let ended = Entity::delete_by_id(key.to_text())
            .filter(Column::Account.eq(account))
            .exec(&self.database)
            .await
            .map_err(Error::database("end a session"))?;
        Ok(ended.rows_affected > 0)
    }

    /// Ends all sessions of an account but one on the store's host, if that is named, which keeps its children.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_sessions_of(
        &self,
        account: &str,
        keep: Option<&SessionKey>,
    ) -> Result<(), Error> {
        end_sessions(&self.database, account, keep).await
    }

    /// Deletes sessions, tickets and tokens that are over at `now`, and forgets what was used up and is, and devices that
    /// have waited for too long; answers how many sessions, tickets and tokens, not counting what went with them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep(&self, now: DateTime<Utc>) -> Result<u64, Error> {
        let failed = || Error::database("sweep sessions");
        let tickets = tickets::Entity::delete_many()
            .filter(tickets::Column::ExpiresAtMs.lte(timestamp::to_column(now)))
            .exec(&self.database)
            .await
            .map_err(failed())?;
        spent::Entity::delete_many()
            .filter(spent::Column::ExpiresAtMs.lte(timestamp::to_column(now)))
            .exec(&self.database)
            .await
            .map_err(failed())?;
        devices::sweep(&self.database, now).await?;
        let sessions = Entity::delete_many()
            .filter(self.in_force(now).not())
            .exec(&self.database)
            .await
            .map_err(failed())?;
        let tokens = tokens::Entity::delete_many()
            .filter(tokens::Column::ExpiresAtMs.lte(timestamp::to_column(now)))
            .exec(&self.database)
            .await
            .map_err(failed())?;
        Ok(tickets.rows_affected + sessions.rows_affected + tokens.rows_affected)
    }

    /// Neither expired nor idle for too long at `now`, the parent left aside.
    fn in_force(&self, now: DateTime<Utc>) -> Condition {
        // An idle timeout beyond what a date can hold never ends a session.
        let idle_since = TimeDelta::from_std(self.session_idle_timeout)
            .ok()
            .and_then(|idle_timeout| now.checked_sub_signed(idle_timeout))
            .unwrap_or(DateTime::<Utc>::MIN_UTC);
        Condition::all()
            .add(Column::ExpiresAtMs.gt(timestamp::to_column(now)))
            .add(Column::LastSeenAtMs.gt(timestamp::to_column(idle_since)))
    }
}

/// Writes a session down.
async fn insert(database: &impl ConnectionTrait, session: &NewSession) -> Result<(), Error> {
    let NewSession {
        id,
        account,
        parent,
        host,
        created_at,
        expires_at,
        browser,
    } = session;
    let browser = browser
        .as_deref()
        .map(|browser| browser[..browser.floor_char_boundary(MAX_BROWSER)].to_owned());
    let row = ActiveModel {
        id_hash: Set(id.key().to_text()),
        account: Set(account.clone()),
        parent: Set(parent.map(SessionKey::to_text)),
        host: Set(host.clone()),
        created_at_ms: Set(timestamp::to_column(*created_at)),
        expires_at_ms: Set(timestamp::to_column(*expires_at)),
        last_seen_at_ms: Set(timestamp::to_column(*created_at)),
        browser: Set(browser),
    };
    match Entity::insert(row).exec_without_returning(database).await {
        Ok(_) => Ok(()),
        Err(error) if is_reference_broken(&error) => Err(Error::SessionGone),
        Err(error) => Err(Error::database("create a session")(error)),
    }
}

/// Ends an account's sessions, but for `keep` and its children.
pub(crate) async fn end_sessions(
    database: &impl ConnectionTrait,
    account: &str,
    keep: Option<&SessionKey>,
) -> Result<(), Error> {
    let others = keep.map(|keep| {
        let no_child = Condition::any()
            .add(Column::Parent.is_null())
            .add(Column::Parent.ne(keep.to_text()));
        Condition::all()
            .add(Column::IdHash.ne(keep.to_text()))
            .add(no_child)
    });
    Entity::delete_many()
        .filter(Column::Account.eq(account))
        .filter(Condition::all().add_option(others))
        .exec(database)
        .await
        .map_err(Error::database("end an account's sessions"))?;
    Ok(())
}

pub(crate) fn is_reference_broken(error: &sea_orm::DbErr) -> bool {
    matches!(
        error.sql_err(),
        Some(SqlErr::ForeignKeyConstraintViolation(_))
    )
}

fn from_rows(
    rows: impl IntoIterator<Item = (Model, Option<accounts::Model>)>,
) -> Result<Vec<Session>, Error> {
    rows.into_iter()
        .filter_map(|(row, account)| Some(from_row(row, &account?)))
        .collect()
}

fn from_row(row: Model, account: &accounts::Model) -> Result<Session, Error> {
    let Model {
        id_hash,
        account: name,
        parent,
        host,
        created_at_ms,
        expires_at_ms,
        last_seen_at_ms,
        browser,
    } = row;
    Ok(Session {
        key: id_hash.parse()?,
        role: crate::accounts::role(&name, &account.role)?,
        roles: crate::accounts::roles_from_column(&name, account.roles.clone())?.into(),
        account: name,
        parent: parent.map(|parent| parent.parse()).transpose()?,
        host,
        created_at: timestamp::from_column(created_at_ms),
        expires_at: timestamp::from_column(expires_at_ms),
        last_seen_at: timestamp::from_column(last_seen_at_ms),
        browser,
    })
}
