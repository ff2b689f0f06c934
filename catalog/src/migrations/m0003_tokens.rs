//! Personal tokens, the browsers that sessions are used from, one-time passwords, and how old a provider's word is.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, text, text_null};

use super::{cascade, create_index};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Columns that accounts get.
const ACCOUNTS: [&str; 2] = ["password_expires_at_ms", "roles_as_of_ms"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // `scopes` is a list as JSON.
        let tokens = Table::create()
            .table("tokens")
            .col(text("id_hash").primary_key())
            .col(text("account"))
            .col(text("name"))
            .col(text("scopes"))
            .col(big_integer("created_at_ms"))
            .col(big_integer("expires_at_ms"))
            .col(big_integer_null("last_used_at_ms"))
            .foreign_key(&mut cascade("tokens", "account", "accounts", "name"))
            .to_owned();
        manager.create_table(tokens).await?;
        let index = Index::create()
            .name("tokens_account_name")
            .table("tokens")
            .col("account")
            .col("name")
            .unique()
            .to_owned();
        manager.create_index(index).await?;
        create_index(manager, "tokens", "expires_at_ms").await?;

        let sessions = Table::alter()
            .table("sessions")
            .add_column(text_null("browser"))
            .to_owned();
        manager.alter_table(sessions).await?;
        for column in ACCOUNTS {
            let accounts = Table::alter()
                .table("accounts")
                .add_column(big_integer_null(column))
                .to_owned();
            manager.alter_table(accounts).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in ACCOUNTS {
            let accounts = Table::alter()
                .table("accounts")
                .drop_column(column)
                .to_owned();
            manager.alter_table(accounts).await?;
        }
        let sessions = Table::alter()
            .table("sessions")
            .drop_column("browser")
            .to_owned();
        manager.alter_table(sessions).await?;
        manager
            .drop_table(Table::drop().table("tokens").to_owned())
            .await
    }
}
