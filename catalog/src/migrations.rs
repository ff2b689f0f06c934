//! Migrations, one file each, and the lock under which they run.
//!
//! A migration names tables and columns itself and never imports an entity, since entities go on changing
//! and a migration that ran does not. It only adds: the previous release may still be running.

mod m0001_apps_accounts_sessions;
mod m0002_people_of_providers;
mod m0003_tokens;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, QuerySelect};
use sea_orm_migration::prelude::{ForeignKey, ForeignKeyAction, ForeignKeyCreateStatement, Index};
use sea_orm_migration::{
    IntoSchemaManagerConnection, MigrationTrait, MigratorTrait, SchemaManager, seaql_migrations,
};

use crate::catalog::{Lock, exclusive};

pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_apps_accounts_sessions::Migration),
            Box::new(m0002_people_of_providers::Migration),
            Box::new(m0003_tokens::Migration),
        ]
    }
}

/// Brings the tables up to date. Several processes may try at once: one does it, the others wait.
pub(crate) async fn migrate(database: &DatabaseConnection) -> Result<(), DbErr> {
    if is_current(database).await? {
        return Ok(());
    }
    let transaction = exclusive(database, Lock::Migrations).await?;
    if !is_current(&transaction).await? {
        Migrator::up(&transaction, None).await?;
    }
    transaction.commit().await
}

/// Whether every migration of this release has run. Those of a later release do no harm, and an older
/// replica that restarts during an update must not stumble over them.
async fn is_current<'c, C>(database: &'c C) -> Result<bool, DbErr>
where
    C: ConnectionTrait,
    &'c C: IntoSchemaManagerConnection<'c>,
{
    if !SchemaManager::new(database)
        .has_table("seaql_migrations")
        .await?
    {
        return Ok(false);
    }
    let applied: Vec<String> = seaql_migrations::Entity::find()
        .select_only()
        .column(seaql_migrations::Column::Version)
        .into_tuple()
        .all(database)
        .await?;
    Ok(Migrator::migrations()
        .iter()
        .all(|migration| applied.iter().any(|name| name == migration.name())))
}

/// A reference whose rows go with the row they point at.
fn cascade(
    table: &'static str,
    column: &'static str,
    to_table: &'static str,
    to_column: &'static str,
) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("{table}_{column}"))
        .from(table, column)
        .to(to_table, to_column)
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
}

async fn create_index(
    manager: &SchemaManager<'_>,
    table: &'static str,
    column: &'static str,
) -> Result<(), DbErr> {
    manager
        .create_index(
            Index::create()
                .name(format!("{table}_by_{column}"))
                .table(table)
                .col(column)
                .to_owned(),
        )
        .await
}
