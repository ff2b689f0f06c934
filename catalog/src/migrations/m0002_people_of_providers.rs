//! Accounts of people who sign in at an OIDC provider, their sessions there, and what may be used once.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, text, text_null};

use super::{cascade, create_index};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Columns that accounts get. `roles` is a list as JSON.
const ACCOUNTS: [&str; 3] = ["issuer", "subject", "roles"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in ACCOUNTS {
            let alter = Table::alter()
                .table("accounts")
                .add_column(text_null(column))
                .to_owned();
            manager.alter_table(alter).await?;
        }
        let index = Index::create()
            .name("accounts_issuer_subject")
            .table("accounts")
            .col("issuer")
            .col("subject")
            .unique()
            .to_owned();
        manager.create_index(index).await?;

        let sessions = Table::create()
            .table("provider_sessions")
            .col(text("session").primary_key())
            .col(text("issuer"))
            .col(text("subject"))
            .col(text_null("sid"))
            .col(text("id_token"))
            .foreign_key(&mut cascade(
                "provider_sessions",
                "session",
                "sessions",
                "id_hash",
            ))
            .to_owned();
        manager.create_table(sessions).await?;
        create_index(manager, "provider_sessions", "subject").await?;
        create_index(manager, "provider_sessions", "sid").await?;

        let spent = Table::create()
            .table("spent")
            .col(text("id_hash").primary_key())
            .col(big_integer("expires_at_ms"))
            .to_owned();
        manager.create_table(spent).await?;
        create_index(manager, "spent", "expires_at_ms").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["spent", "provider_sessions"] {
            manager
                .drop_table(Table::drop().table(table).to_owned())
                .await?;
        }
        let index = Index::drop()
            .name("accounts_issuer_subject")
            .table("accounts")
            .to_owned();
        manager.drop_index(index).await?;
        for column in ACCOUNTS {
            let alter = Table::alter()
                .table("accounts")
                .drop_column(column)
                .to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}
