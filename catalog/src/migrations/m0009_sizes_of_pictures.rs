//! In which sizes apps' pictures are kept. What was published before has none, and is shown as it came.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::json_binary_null;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = Table::alter()
            .table("apps")
            .add_column(json_binary_null("picture_sizes"))
            .to_owned();
        manager.alter_table(column).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = Table::alter()
            .table("apps")
            .drop_column("picture_sizes")
            .to_owned();
        manager.alter_table(column).await
    }
}
