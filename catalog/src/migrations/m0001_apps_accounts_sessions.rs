//! The first tables: apps, accounts, sessions, tickets.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, boolean, json_binary, text, text_null};

use super::{cascade, create_index};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_apps(manager).await?;
        create_accounts(manager).await?;
        create_sessions(manager).await?;
        create_tickets(manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["tickets", "sessions", "accounts", "apps"] {
            manager
                .drop_table(Table::drop().table(table).to_owned())
                .await?;
        }
        Ok(())
    }
}

async fn create_apps(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("apps")
                .col(text("uid").primary_key())
                .col(text("resource"))
                .col(text("name"))
                .col(text("version"))
                .col(text("title"))
                .col(text("description"))
                .col(text("owner"))
                .col(text("visibility"))
                .col(text("lifecycle"))
                .col(json_binary("tags"))
                .col(text("digest"))
                .col(text_null("icon"))
                .col(json_binary("screenshots"))
                .col(text_null("link"))
                .col(text_null("long_description"))
                .col(big_integer("published_at_ms"))
                .to_owned(),
        )
        .await?;
    manager
        .create_index(
            Index::create()
                .name("apps_name_version")
                .table("apps")
                .col("name")
                .col("version")
                .unique()
                .to_owned(),
        )
        .await?;
    create_index(manager, "apps", "digest").await?;
    create_index(manager, "apps", "published_at_ms").await
}

async fn create_accounts(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("accounts")
                .col(text("name").primary_key())
                .col(text_null("password_hash"))
                .col(text("role"))
                .col(boolean("disabled"))
                .to_owned(),
        )
        .await
}

async fn create_sessions(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("sessions")
                .col(text("id_hash").primary_key())
                .col(text("account"))
                .col(text_null("parent"))
                .col(text_null("host"))
                .col(big_integer("created_at_ms"))
                .col(big_integer("expires_at_ms"))
                .col(big_integer("last_seen_at_ms"))
                .foreign_key(&mut cascade("sessions", "account", "accounts", "name"))
                .foreign_key(&mut cascade("sessions", "parent", "sessions", "id_hash"))
                .to_owned(),
        )
        .await?;
    create_index(manager, "sessions", "account").await?;
    create_index(manager, "sessions", "parent").await?;
    create_index(manager, "sessions", "expires_at_ms").await?;
    create_index(manager, "sessions", "last_seen_at_ms").await
}

async fn create_tickets(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("tickets")
                .col(text("id_hash").primary_key())
                .col(text("session"))
                .col(text("host"))
                .col(big_integer("expires_at_ms"))
                .foreign_key(&mut cascade("tickets", "session", "sessions", "id_hash"))
                .to_owned(),
        )
        .await?;
    create_index(manager, "tickets", "session").await?;
    create_index(manager, "tickets", "expires_at_ms").await
}
