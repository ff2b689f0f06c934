//! What people have done.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_pk_auto, text};

use super::create_index;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Refers to nothing: it outlives accounts and what they have made.
        let audit = Table::create()
            .table("audit")
            .col(big_pk_auto("number"))
            .col(big_integer("at_ms"))
            .col(text("account"))
            .col(text("thing"))
            .col(text("name"))
            .col(text("done"))
            .to_owned();
        manager.create_table(audit).await?;
        for column in ["at_ms", "account", "name"] {
            create_index(manager, "audit", column).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let audit = Table::drop().table("audit").to_owned();
        manager.drop_table(audit).await
    }
}
