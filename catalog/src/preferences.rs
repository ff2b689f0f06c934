//! What somebody thinks of apps: which they like, which everybody can count, and which they have pinned, to find them first. It is of an
//! app with all its versions.

use std::collections::{BTreeMap, HashMap};

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QuerySelect as _,
};

use crate::accounts::lock;
use crate::catalog::begin_write;
use crate::entities::preferences::{ActiveModel, Column, Entity, Model};
use crate::{Catalog, Error};

/// Most apps that somebody can have liked or pinned. Whoever is shown a list of apps reads all of their own.
pub const MAX_PREFERENCES: u64 = 500;

/// What somebody thinks of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preference {
    /// They like it.
    pub liked: bool,
    /// They want to find it first.
    pub pinned: bool,
}

/// What somebody thinks of an app from now on; the rest stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PreferenceChange {
    /// Whether they like it.
    pub liked: Option<bool>,
    /// Whether they want to find it first.
    pub pinned: Option<bool>,
}

impl Catalog {
    /// What an account thinks of apps, by their names; apps of which it thinks nothing are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn preferences_of(
        &self,
        account: &str,
    ) -> Result<BTreeMap<String, Preference>, Error> {
        let rows = Entity::find()
            .filter(Column::Account.eq(account))
            .limit(MAX_PREFERENCES)
            .all(&self.database)
            .await
            .map_err(Error::database("read an account's likes and pins"))?;
        Ok(rows.into_iter().map(from_row).collect())
    }

    /// Changes what an account thinks of the app of this name, whether there is such an app or not; answers what it thinks now.
    ///
    /// # Errors
    /// [`Error::TooManyPreferences`] when it thinks of as many as it may, and [`Error::SessionGone`] when there is no such account (any
    /// more).
    pub async fn set_preference(
        &self,
        account: &str,
        app: &str,
        change: PreferenceChange,
    ) -> Result<Preference, Error> {
        let failed = || Error::database("change a like or a pin");
        let transaction = begin_write(&self.database).await.map_err(failed())?;
        // One change of an account at a time: each is of what was there before.
        lock(&transaction, account).await?;
        let key = (account.to_owned(), app.to_owned());
        let before = Entity::find_by_id(key.clone())
            .one(&transaction)
            .await
            .map_err(failed())?;
        let is_new = before.is_none();
        let before = before.map_or_else(Preference::default, |row| from_row(row).1);
        let now = Preference {
            liked: change.liked.unwrap_or(before.liked),
            pinned: change.pinned.unwrap_or(before.pinned),
        };
        if now == Preference::default() {
            Entity::delete_by_id(key)
                .exec(&transaction)
                .await
                .map_err(failed())?;
        } else {
            if is_new && count(&transaction, account).await? >= MAX_PREFERENCES {
                return Err(Error::TooManyPreferences {
                    limit: MAX_PREFERENCES,
                });
            }
            let row = ActiveModel {
                account: Set(account.to_owned()),
                app: Set(app.to_owned()),
                liked: Set(now.liked),
                pinned: Set(now.pinned),
            };
            let replace = OnConflict::columns([Column::Account, Column::App])
                .update_columns([Column::Liked, Column::Pinned])
                .to_owned();
            Entity::insert(row)
                .on_conflict(replace)
                .exec_without_returning(&transaction)
                .await
                .map_err(failed())?;
        }
        transaction.commit().await.map_err(failed())?;
        Ok(now)
    }

    /// How many accounts like each of these apps, by name; those that nobody likes are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn likes(&self, apps: &[&str]) -> Result<HashMap<String, u64>, Error> {
        let counted: Vec<(String, i64)> = Entity::find()
            .select_only()
            .column(Column::App)
            .column_as(Expr::col(Column::App).count(), "likes")
            .filter(Column::App.is_in(apps.iter().copied()))
            .filter(Column::Liked.eq(true))
            .group_by(Column::App)
            .into_tuple()
            .all(&self.database)
            .await
            .map_err(Error::database("count likes"))?;
        let number = |likes: i64| u64::try_from(likes).unwrap_or_default();
        Ok(counted
            .into_iter()
            .map(|(app, likes)| (app, number(likes)))
            .collect())
    }
}

async fn count(database: &impl ConnectionTrait, account: &str) -> Result<u64, Error> {
    Entity::find()
        .filter(Column::Account.eq(account))
        .count(database)
        .await
        .map_err(Error::database("count an account's likes and pins"))
}

fn from_row(row: Model) -> (String, Preference) {
    let Model {
        account: _,
        app,
        liked,
        pinned,
    } = row;
    (app, Preference { liked, pinned })
}

/// Forgets what everybody thinks of an app that is gone.
pub(crate) async fn forget(database: &impl ConnectionTrait, app: &str) -> Result<(), Error> {
    Entity::delete_many()
        .filter(Column::App.eq(app))
        .exec(database)
        .await
        .map_err(Error::database("forget likes and pins"))?;
    Ok(())
}
