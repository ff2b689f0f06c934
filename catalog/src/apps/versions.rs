//! The versions of one app.

use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::search::without_nul;
use super::{App, AppQuery, Viewer, from_row, visible_to};
use crate::entities::apps::{Column, Entity};
use crate::{Catalog, Error};

impl Catalog {
    /// The versions of the app of this name that `viewer` may see and `query` asks for, the newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn versions(
        &self,
        viewer: &Viewer,
        name: &str,
        query: &AppQuery,
        limit: u64,
    ) -> Result<Vec<App>, Error> {
        let backend = self.database.get_database_backend();
        let rows = Entity::find()
            .filter(visible_to(viewer, backend))
            .filter(Column::Name.eq(without_nul(name)))
            .filter(query.condition(backend))
            .order_by_desc(Column::PublishedAtMs)
            .order_by_asc(Column::Version)
            .limit(limit)
            .all(&self.database)
            .await
            .map_err(Error::database("read the versions of an app"))?;
        rows.into_iter().map(from_row).collect()
    }
}
