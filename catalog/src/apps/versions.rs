//! The versions of an app.

use sea_orm::{ColumnTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};

use super::search::without_nul;
use super::{App, AppQuery, Viewer, from_row, rows, visible_to};
use crate::entities::apps::Column;
use crate::{Catalog, Error};

/// Most versions that are read to find the newest of some apps.
const MAX_VERSIONS: u64 = 2000;

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
        let rows = rows()
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

    /// The newest version that `viewer` may see of each app of these names, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_versions(&self, viewer: &Viewer, apps: &[&str]) -> Result<Vec<App>, Error> {
        if apps.is_empty() {
            return Ok(Vec::new());
        }
        let rows = rows()
            .filter(visible_to(viewer, self.database.get_database_backend()))
            .filter(Column::Name.is_in(apps.iter().copied()))
            .order_by_asc(Column::Name)
            .order_by_desc(Column::PublishedAtMs)
            .order_by_asc(Column::Version)
            .limit(MAX_VERSIONS)
            .all(&self.database)
            .await
            .map_err(Error::database("read the newest versions of apps"))?;
        let mut newest = Vec::new();
        for row in rows {
            let is_older = newest.last().is_some_and(|app: &App| app.name == row.name);
            if !is_older {
                newest.push(from_row(row)?);
            }
        }
        // Databases differ in how they sort letters.
        newest.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(newest)
    }
}
