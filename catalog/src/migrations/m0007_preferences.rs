//! What people like and have pinned.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{boolean, text};

use super::{cascade, create_index};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut account = cascade("preferences", "account", "accounts", "name");
        let preferences = Table::create()
            .table("preferences")
            .col(text("account"))
            .col(text("app"))
            .col(boolean("liked"))
            .col(boolean("pinned"))
            .primary_key(Index::create().col("account").col("app"))
            .foreign_key(&mut account)
            .to_owned();
        manager.create_table(preferences).await?;
        create_index(manager, "preferences", "app").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let preferences = Table::drop().table("preferences").to_owned();
        manager.drop_table(preferences).await
    }
}
