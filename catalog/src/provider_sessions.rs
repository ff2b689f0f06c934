//! Sessions of people who signed in at an OIDC provider: what ends them there, and how the provider ends them here.

use sea_orm::sea_query::Query;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _};

use crate::entities::provider_sessions::{ActiveModel, Column, Entity, Model};
use crate::entities::sessions;
use crate::sessions::is_reference_broken;
use crate::{Catalog, Error, SessionKey, Subject};

/// The provider's side of a session on the store's host.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderSession {
    /// Who signed in.
    pub subject: Subject,
    /// The provider's word for its own session.
    pub sid: Option<String>,
    /// The ID token that came with the sign-in: the provider wants to see it when the session ends.
    pub id_token: String,
}

impl std::fmt::Debug for ProviderSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            subject,
            sid,
            id_token: _,
        } = self;
        f.debug_struct("ProviderSession")
            .field("subject", subject)
            .field("sid", sid)
            .finish_non_exhaustive()
    }
}

impl Catalog {
    /// Notes that a session was made by signing in at a provider.
    ///
    /// # Errors
    /// [`Error::SessionGone`] when there is no such session (any more).
    pub async fn note_provider_session(
        &self,
        session: &SessionKey,
        provider: &ProviderSession,
    ) -> Result<(), Error> {
        let ProviderSession {
            subject,
            sid,
            id_token,
        } = provider.clone();
        let row = ActiveModel {
            session: Set(session.to_text()),
            issuer: Set(subject.issuer),
            subject: Set(subject.subject),
            sid: Set(sid),
            id_token: Set(id_token),
        };
        match Entity::insert(row)
            .exec_without_returning(&self.database)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if is_reference_broken(&error) => Err(Error::SessionGone),
            Err(error) => Err(Error::database("note a provider's session")(error)),
        }
    }

    /// The provider's side of a session; none for a session of a local account.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn provider_session(
        &self,
        session: &SessionKey,
    ) -> Result<Option<ProviderSession>, Error> {
        let row = Entity::find_by_id(session.to_text())
            .one(&self.database)
            .await
            .map_err(Error::database("read a provider's session"))?;
        Ok(row.map(|row| {
            let Model {
                session: _,
                issuer,
                subject,
                sid,
                id_token,
            } = row;
            ProviderSession {
                subject: Subject { issuer, subject },
                sid,
                id_token,
            }
        }))
    }

    /// Ends all sessions, with their children, that fit what a provider says is over: those of its session `sid`, of
    /// `subject`, or of both together. Answers how many; none when it names neither.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_provider_sessions(
        &self,
        issuer: &str,
        subject: Option<&str>,
        sid: Option<&str>,
    ) -> Result<u64, Error> {
        if subject.is_none() && sid.is_none() {
            return Ok(0);
        }
        let over = Condition::all()
            .add(Column::Issuer.eq(issuer))
            .add_option(subject.map(|subject| Column::Subject.eq(subject)))
            .add_option(sid.map(|sid| Column::Sid.eq(sid)));
        let keys = Query::select()
            .column(Column::Session)
            .from(Entity)
            .cond_where(over)
            .to_owned();
        let ended = sessions::Entity::delete_many()
            .filter(sessions::Column::IdHash.in_subquery(keys))
            .exec(&self.database)
            .await
            .map_err(Error::database("end a provider's sessions"))?;
        Ok(ended.rows_affected)
    }
}
