//! What may be used once: replicas share the memory of it.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, EntityTrait as _, SqlErr};
use sha2::{Digest as _, Sha256};

use crate::entities::spent::{ActiveModel, Entity};
use crate::{Catalog, Error, timestamp};

impl Catalog {
    /// Uses something up, known by a text that nothing else has. True the first time. It is remembered until `until`,
    /// after which it must not be good any more by itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn spend(&self, what: &str, until: DateTime<Utc>) -> Result<bool, Error> {
        let row = ActiveModel {
            id_hash: Set(hex::encode(Sha256::digest(what))),
            expires_at_ms: Set(timestamp::to_column(until)),
        };
        match Entity::insert(row)
            .exec_without_returning(&self.database)
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {
                Ok(false)
            }
            Err(error) => Err(Error::database("use something up")(error)),
        }
    }
}
