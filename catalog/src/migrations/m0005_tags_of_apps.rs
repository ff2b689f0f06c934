//! An index of apps by their tags, for lists of those that have some.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use super::execute;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Of the default kind, which knows whether a list has one of several words.
const POSTGRES_UP: [&str; 1] = ["CREATE INDEX apps_by_tags ON apps USING gin (tags)"];

const POSTGRES_DOWN: [&str; 1] = ["DROP INDEX apps_by_tags"];

/// SQLite has no index of what is in a list, so a table has the apps' numbers by their tags. The trigger for new rows is that of
/// `m0004`, which numbers them.
const SQLITE_UP: [&str; 5] = [
    "CREATE TABLE app_tags (tag text NOT NULL, number integer NOT NULL, PRIMARY KEY (tag, number)) WITHOUT ROWID",
    "CREATE INDEX app_tags_by_number ON app_tags (number)",
    "INSERT OR IGNORE INTO app_tags (tag, number) \
     SELECT tag.value, apps.number FROM apps, json_each(apps.tags) AS tag",
    "CREATE TRIGGER app_tags_update AFTER UPDATE OF tags, number ON apps \
     WHEN new.tags IS NOT old.tags OR new.number IS NOT old.number BEGIN \
     DELETE FROM app_tags WHERE number = old.number; \
     INSERT OR IGNORE INTO app_tags (tag, number) SELECT value, new.number FROM json_each(new.tags); \
     END",
    "CREATE TRIGGER app_tags_delete AFTER DELETE ON apps BEGIN \
     DELETE FROM app_tags WHERE number = old.number; \
     END",
];

const SQLITE_DOWN: [&str; 3] = [
    "DROP TRIGGER app_tags_delete",
    "DROP TRIGGER app_tags_update",
    "DROP TABLE app_tags",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        match manager.get_database_backend() {
            DbBackend::Postgres => execute(manager, &POSTGRES_UP).await,
            _ => execute(manager, &SQLITE_UP).await,
        }
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        match manager.get_database_backend() {
            DbBackend::Postgres => execute(manager, &POSTGRES_DOWN).await,
            _ => execute(manager, &SQLITE_DOWN).await,
        }
    }
}
