//! Tags that the store knows more of than their names. Apps carry names of tags, known or not: nothing here has to exist for them.

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, EntityTrait as _, PaginatorTrait as _, QuerySelect as _,
};

use crate::catalog::{Lock, exclusive};
use crate::entities::apps::Strings;
use crate::entities::tags::{ActiveModel, Column, Entity, Model};
use crate::{Catalog, Color, Error};

/// Most tags that the store knows. All of them together are kept in memory and shown on one page.
pub const MAX_TAGS: u64 = 500;

/// What the store knows of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The word that apps carry.
    pub name: String,
    /// What people read in its place.
    pub title: String,
    /// What is shown beside that.
    pub color: Color,
    /// What it means.
    pub description: String,
    /// Roles that see and manage the apps that carry it; where there are any, nobody but they and admins puts it on an app.
    pub admin_roles: Vec<String>,
    /// Roles whose visitors see and run the apps that carry it, where those are for all users.
    pub visitor_roles: Vec<String>,
}

impl Catalog {
    /// All tags, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tags(&self) -> Result<Vec<Tag>, Error> {
        let rows = Entity::find()
            .limit(MAX_TAGS)
            .all(&self.database)
            .await
            .map_err(Error::database("read tags"))?;
        let tags: Result<Vec<Tag>, Error> = rows.into_iter().map(from_row).collect();
        let mut tags = tags?;
        // Databases differ in how they sort letters.
        tags.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tags)
    }

    /// The tag of this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tag(&self, name: &str) -> Result<Option<Tag>, Error> {
        find(&self.database, name).await
    }

    /// Makes a tag, or changes it, if it is still as `before`; false when it is not.
    ///
    /// # Errors
    /// [`Error::TooManyTags`] when there would be.
    pub async fn set_tag(&self, tag: &Tag, before: Option<&Tag>) -> Result<bool, Error> {
        let failed = || Error::database("change a tag");
        let transaction = exclusive(&self.database, Lock::Tags)
            .await
            .map_err(failed())?;
        if find(&transaction, &tag.name).await?.as_ref() != before {
            return Ok(false);
        }
        if before.is_none()
            && Entity::find().count(&transaction).await.map_err(failed())? >= MAX_TAGS
        {
            return Err(Error::TooManyTags { limit: MAX_TAGS });
        }
        let replace = OnConflict::column(Column::Name)
            .update_columns([
                Column::Title,
                Column::Color,
                Column::Description,
                Column::AdminRoles,
                Column::VisitorRoles,
            ])
            .to_owned();
        Entity::insert(to_row(tag))
            .on_conflict(replace)
            .exec_without_returning(&transaction)
            .await
            .map_err(failed())?;
        transaction.commit().await.map_err(failed())?;
        Ok(true)
    }

    /// Forgets a tag, if it is still as `before`; false when it is not. Apps keep its name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_tag(&self, before: &Tag) -> Result<bool, Error> {
        let failed = || Error::database("delete a tag");
        let transaction = exclusive(&self.database, Lock::Tags)
            .await
            .map_err(failed())?;
        if find(&transaction, &before.name).await?.as_ref() != Some(before) {
            return Ok(false);
        }
        Entity::delete_by_id(&before.name)
            .exec(&transaction)
            .await
            .map_err(failed())?;
        transaction.commit().await.map_err(failed())?;
        Ok(true)
    }
}

async fn find(database: &impl ConnectionTrait, name: &str) -> Result<Option<Tag>, Error> {
    Entity::find_by_id(name)
        .one(database)
        .await
        .map_err(Error::database("read a tag"))?
        .map(from_row)
        .transpose()
}

fn to_row(tag: &Tag) -> ActiveModel {
    let Tag {
        name,
        title,
        color,
        description,
        admin_roles,
        visitor_roles,
    } = tag.clone();
    ActiveModel {
        name: Set(name),
        title: Set(title),
        color: Set(color.to_string()),
        description: Set(description),
        admin_roles: Set(Strings(admin_roles)),
        visitor_roles: Set(Strings(visitor_roles)),
    }
}

fn from_row(row: Model) -> Result<Tag, Error> {
    let Model {
        name,
        title,
        color,
        description,
        admin_roles: Strings(admin_roles),
        visitor_roles: Strings(visitor_roles),
    } = row;
    let Ok(color) = color.parse() else {
        return Err(Error::UnknownValue {
            row: format!("tag `{name}`"),
            column: "color",
            value: color,
        });
    };
    Ok(Tag {
        name,
        title,
        color,
        description,
        admin_roles,
        visitor_roles,
    })
}
