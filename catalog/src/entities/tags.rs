//! Table `tags`.

use sea_orm::entity::prelude::*;

use super::apps::Strings;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tags")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub title: String,
    pub color: String,
    pub description: String,
    #[sea_orm(column_type = "JsonBinary")]
    pub admin_roles: Strings,
    #[sea_orm(column_type = "JsonBinary")]
    pub visitor_roles: Strings,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
