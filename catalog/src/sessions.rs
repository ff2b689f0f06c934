//! Sessions: who is signed in where.
//!
//! A session on the store's own host is made by signing in. One on an instance's host is a child of it, made
//! with a [`Ticket`](crate::Ticket), and ends with it. A session lives until it is ended, until its
//! `expires_at`, or until nobody has used it for [`Settings::session_idle_timeout`](crate::Settings), and
//! only while its account may sign in.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, SqlErr,
};

use crate::entities::sessions::{ActiveModel, Column, Entity, Model};
use crate::entities::{accounts, spent, tickets};
use crate::{Catalog, Error, Role, SessionId, SessionKey, timestamp};

/// How stale `last_seen_at` may get before [`Catalog::touch_session`] writes it.
const TOUCH_INTERVAL: TimeDelta = TimeDelta::minutes(1);

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
}

impl Catalog {
    /// Makes a session.
    ///
    /// # Errors
    /// [`Error::SessionGone`] when its account or its parent does not exist (any more).
    pub async fn create_session(&self, session: &NewSession) -> Result<(), Error> {
        let NewSession {
            id,
            account,
            parent,
            host,
            created_at,
            expires_at,
        } = session;
        let row = ActiveModel {
            id_hash: Set(id.key().to_column()),
            account: Set(account.clone()),
            parent: Set(parent.map(SessionKey::to_column)),
            host: Set(host.clone()),
            created_at_ms: Set(timestamp::to_column(*created_at)),
            expires_at_ms: Set(timestamp::to_column(*expires_at)),
            last_seen_at_ms: Set(timestamp::to_column(*created_at)),
        };
        match Entity::insert(row)
            .exec_without_returning(&self.database)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if is_reference_broken(&error) => Err(Error::SessionGone),
            Err(error) => Err(Error::database("create a session")(error)),
        }
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
        let in_force = self.in_force(now);
        let parent_in_force = Query::select()
            .column(Column::IdHash)
            .from(Entity)
            .cond_where(in_force.clone())
            .to_owned();
        let found = Entity::find_by_id(key.to_column())
            .find_also_related(accounts::Entity)
            .filter(in_force)
            .filter(
                Condition::any()
                    .add(Column::Parent.is_null())
                    .add(Column::Parent.in_subquery(parent_in_force)),
            )
            .filter(accounts::Column::Disabled.eq(false))
            .one(&self.database)
            .await
            .map_err(Error::database("read a session"))?;
        match found {
            Some((row, Some(account))) => from_row(row, &account).map(Some),
            Some((_, None)) | None => Ok(None),
        }
    }

    /// Notes that a session is in use, and with it its parent, at most once a minute.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn touch_session(&self, key: &SessionKey, now: DateTime<Utc>) -> Result<(), Error> {
        let parent = Query::select()
            .column(Column::Parent)
            .from(Entity)
            .and_where(Column::IdHash.eq(key.to_column()))
            .to_owned();
        Entity::update_many()
            .col_expr(Column::LastSeenAtMs, Expr::value(timestamp::to_column(now)))
            .filter(
                Condition::any()
                    .add(Column::IdHash.eq(key.to_column()))
                    .add(Column::IdHash.in_subquery(parent)),
            )
            .filter(Column::LastSeenAtMs.lte(timestamp::to_column(now - TOUCH_INTERVAL)))
            .exec(&self.database)
            .await
            .map_err(Error::database("touch a session"))?;
        Ok(())
    }

    /// Ends a session, its children and their tickets. Ending one that is gone is no error.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_session(&self, key: &SessionKey) -> Result<(), Error> {
        Entity::delete_by_id(key.to_column())
            .exec(&self.database)
            .await
            .map_err(Error::database("end a session"))?;
        Ok(())
    }

    /// Deletes sessions and tickets that are over at `now`, and forgets what was used up and is; answers how many
    /// sessions and tickets, not counting what went with them.
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
        let sessions = Entity::delete_many()
            .filter(self.in_force(now).not())
            .exec(&self.database)
            .await
            .map_err(failed())?;
        Ok(tickets.rows_affected + sessions.rows_affected)
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

pub(crate) fn is_reference_broken(error: &sea_orm::DbErr) -> bool {
    matches!(
        error.sql_err(),
        Some(SqlErr::ForeignKeyConstraintViolation(_))
    )
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
    } = row;
    Ok(Session {
        key: SessionKey::from_column(&id_hash)?,
        role: crate::accounts::role(&name, &account.role)?,
        account: name,
        parent: parent
            .map(|parent| SessionKey::from_column(&parent))
            .transpose()?,
        host,
        created_at: timestamp::from_column(created_at_ms),
        expires_at: timestamp::from_column(expires_at_ms),
        last_seen_at: timestamp::from_column(last_seen_at_ms),
    })
}
