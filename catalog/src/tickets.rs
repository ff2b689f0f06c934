//! Tickets: they carry a sign-in from the store's host to an instance's, once and for seconds.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use crate::entities::tickets::{ActiveModel, Column, Entity};
use crate::sessions::is_reference_broken;
use crate::{Catalog, Error, Session, SessionKey, TicketId, timestamp};

/// A ticket to be made.
#[derive(Debug, Clone)]
pub struct NewTicket {
    /// Its secret. Only a hash of it is stored.
    pub id: TicketId,
    /// The session on the store's host that it stands for.
    pub session: SessionKey,
    /// The only host where it is good.
    pub host: String,
    /// When it ends unused.
    pub expires_at: DateTime<Utc>,
}

/// A ticket that was good, and is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The session that it stands for: the parent of the one to make on `host`.
    pub session: Session,
    /// The host where it is good.
    pub host: String,
}

impl Catalog {
    /// Makes a ticket.
    ///
    /// # Errors
    /// [`Error::SessionGone`] when its session has ended.
    pub async fn create_ticket(&self, ticket: &NewTicket) -> Result<(), Error> {
        let NewTicket {
            id,
            session,
            host,
            expires_at,
        } = ticket;
        let row = ActiveModel {
            id_hash: Set(id.hash()),
            session: Set(session.to_text()),
            host: Set(host.clone()),
            expires_at_ms: Set(timestamp::to_column(*expires_at)),
        };
        match Entity::insert(row)
            .exec_without_returning(&self.database)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if is_reference_broken(&error) => Err(Error::SessionGone),
            Err(error) => Err(Error::database("create a ticket")(error)),
        }
    }

    /// Uses a ticket up. None when it is unknown, used, expired, for another host, or when its session is
    /// not in force. A ticket shown on the wrong host is used up too, since it has leaked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn redeem_ticket(
        &self,
        id: &TicketId,
        host: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Ticket>, Error> {
        // Of several that delete one row at once, one gets it back.
        let row = Entity::delete_many()
            .filter(Column::IdHash.eq(id.hash()))
            .exec_with_returning(&self.database)
            .await
            .map_err(Error::database("redeem a ticket"))?
            .pop();
        let Some(row) = row else {
            return Ok(None);
        };
        if row.host != host || row.expires_at_ms <= timestamp::to_column(now) {
            return Ok(None);
        }
        let key = row.session.parse()?;
        let session = self.session(&key, now).await?;
        Ok(session.map(|session| Ticket {
            session,
            host: row.host,
        }))
    }
}
