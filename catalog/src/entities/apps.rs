//! Table `apps`.

use sea_orm::FromJsonQueryResult;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Rendition;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "apps")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub uid: String,
    pub resource: String,
    pub name: String,
    pub version: String,
    pub title: String,
    pub description: String,
    pub owner: String,
    pub visibility: String,
    pub lifecycle: String,
    #[sea_orm(column_type = "JsonBinary")]
    pub tags: Strings,
    pub digest: String,
    pub icon: Option<String>,
    #[sea_orm(column_type = "JsonBinary")]
    pub screenshots: Strings,
    pub link: Option<String>,
    pub long_description: Option<String>,
    pub published_at_ms: i64,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub picture_sizes: Option<PictureSizes>,
    /// What it is found by, see [`crate::apps::words`].
    pub words: String,
}

/// A list in one JSON column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
pub struct Strings(pub Vec<String>);

/// The renditions of all pictures of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
pub struct PictureSizes {
    pub icon: Vec<Rendition>,
    pub screenshots: Vec<Vec<Rendition>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
