//! Terminals and other devices without a browser that ask to be let in.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, boolean, text, text_null, text_uniq};

use super::{cascade, create_index};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("device_sign_ins")
            .col(text("code_hash").primary_key())
            .col(text_uniq("user_code"))
            .col(text("device"))
            .col(text_null("account"))
            .col(boolean("denied"))
            .col(big_integer("expires_at_ms"))
            .foreign_key(&mut cascade(
                "device_sign_ins",
                "account",
                "accounts",
                "name",
            ))
            .to_owned();
        manager.create_table(table).await?;
        create_index(manager, "device_sign_ins", "expires_at_ms").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("device_sign_ins").to_owned())
            .await
    }
}
