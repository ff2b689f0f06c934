//! What the store knows of tags: how they look, and what roles do with them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{json_binary, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tags = Table::create()
            .table("tags")
            .col(text("name").primary_key())
            .col(text("title"))
            .col(text("color"))
            .col(text("description"))
            .col(json_binary("admin_roles"))
            .col(json_binary("visitor_roles"))
            .to_owned();
        manager.create_table(tags).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tags = Table::drop().table("tags").to_owned();
        manager.drop_table(tags).await
    }
}
