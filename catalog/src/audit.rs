//! The audit trail: what people have done through the store. What they do with kubectl or Helm is in the API server's audit log.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use crate::apps::without_nul;
use crate::entities::audit::{ActiveModel, Column, Entity, Model};
use crate::{Catalog, Error, timestamp};

/// Longest text that is kept of a name and of what was done, in bytes.
const MAX_NAME: usize = 256;
const MAX_DONE: usize = 2000;

/// What somebody can do something to.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
    serde::Serialize,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Thing {
    /// A version of an app, by the name of its `WaveApp`.
    App,
    /// An instance.
    Instance,
    /// Another name of an instance.
    Alias,
    /// A tag.
    Tag,
    /// A secret of apps.
    Secret,
    /// An account, with its sessions and tokens.
    Account,
}

/// Something that somebody has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// When; kept to the millisecond.
    pub at: DateTime<Utc>,
    /// Who: the account's name then. It may be gone.
    pub account: String,
    /// What it was done to.
    pub thing: Thing,
    /// The name of that, which may be gone.
    pub name: String,
    /// What was done, in words, without who did it.
    pub done: String,
}

/// A deed, and its place in the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Grows with every deed.
    pub number: i64,
    /// What was done.
    pub deed: Deed,
}

/// Which deeds are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditQuery {
    /// Those of this account; none for everybody's.
    pub account: Option<String>,
    /// Those to things of this kind; none for any.
    pub thing: Option<Thing>,
    /// Those to things of this name; none for any.
    pub name: Option<String>,
    /// Those before this place in the trail; none from the latest one on.
    pub before: Option<i64>,
}

impl Catalog {
    /// Notes what somebody has done. Long names and words are cut.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note(&self, deed: &Deed) -> Result<(), Error> {
        let Deed {
            at,
            account,
            thing,
            name,
            done,
        } = deed;
        let row = ActiveModel {
            number: NotSet,
            at_ms: Set(timestamp::to_column(*at)),
            account: Set(cut(account, MAX_NAME)),
            thing: Set(thing.to_string()),
            name: Set(cut(name, MAX_NAME)),
            done: Set(cut(done, MAX_DONE)),
        };
        Entity::insert(row)
            .exec_without_returning(&self.database)
            .await
            .map_err(Error::database("write the audit trail"))?;
        Ok(())
    }

    /// What was done, the latest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self, query: &AuditQuery, limit: u64) -> Result<Vec<AuditEntry>, Error> {
        let AuditQuery {
            account,
            thing,
            name,
            before,
        } = query;
        let account = account.as_deref().map(without_nul);
        let name = name.as_deref().map(without_nul);
        let asked = Condition::all()
            .add_option(account.map(|account| Column::Account.eq(account)))
            .add_option(thing.map(|thing| Column::Thing.eq(thing.to_string())))
            .add_option(name.map(|name| Column::Name.eq(name)))
            .add_option(before.map(|before| Column::Number.lt(before)));
        let rows = Entity::find()
            .filter(asked)
            .order_by_desc(Column::Number)
            .limit(limit)
            .all(&self.database)
            .await
            .map_err(Error::database("read the audit trail"))?;
        rows.into_iter().map(from_row).collect()
    }

    /// Forgets what was done before this moment; answers how many deeds that were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_deeds(&self, before: DateTime<Utc>) -> Result<u64, Error> {
        let forgotten = Entity::delete_many()
            .filter(Column::AtMs.lt(timestamp::to_column(before)))
            .exec(&self.database)
            .await
            .map_err(Error::database("shorten the audit trail"))?;
        Ok(forgotten.rows_affected)
    }
}

fn cut(text: &str, longest: usize) -> String {
    without_nul(&text[..text.floor_char_boundary(longest)])
}

fn from_row(row: Model) -> Result<AuditEntry, Error> {
    let Model {
        number,
        at_ms,
        account,
        thing,
        name,
        done,
    } = row;
    let thing = thing.parse().map_err(|_| Error::UnknownValue {
        row: format!("entry {number} of the audit trail"),
        column: "thing",
        value: thing,
    })?;
    Ok(AuditEntry {
        number,
        deed: Deed {
            at: timestamp::from_column(at_ms),
            account,
            thing,
            name,
            done,
        },
    })
}
