//! Apps: one row for each version of each app, and who may see it.

mod search;
mod tags;
mod versions;
pub(crate) mod words;

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use crds::{Lifecycle, Visibility};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, DbBackend, EntityTrait as _, Iterable as _,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select, SqlErr,
};

use crate::catalog::begin_write;
use crate::entities::apps::{ActiveModel, Column, Entity, Model, PictureSizes, Strings};
use crate::{Catalog, Digest, Error, Picture, preferences, timestamp};

pub(crate) use search::without_nul;

pub use search::{AppCursor, AppQuery, InvalidAppCursor};

/// One version of one app, as the catalog lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// The `WaveApp`'s uid.
    pub uid: String,
    /// The `WaveApp`'s name.
    pub resource: String,
    /// `[App] Name`.
    pub name: String,
    /// `[App] Version`.
    pub version: String,
    /// `[App] Title`.
    pub title: String,
    /// `[App] Description`.
    pub description: String,
    /// Name of the account that owns it.
    pub owner: String,
    /// Who sees it.
    pub visibility: Visibility,
    /// How it is run.
    pub lifecycle: Lifecycle,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its bundle.
    pub digest: Digest,
    /// Its icon.
    pub icon: Option<Picture>,
    /// Its screenshots, in order.
    pub screenshots: Vec<Picture>,
    /// Where its card leads, for apps that are links.
    pub link: Option<String>,
    /// Its long description, Markdown.
    pub long_description: Option<String>,
    /// When it was published; kept to the millisecond.
    pub published_at: DateTime<Utc>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewer {
    /// Whoever is not signed in: sees what is public.
    Anonymous,
    /// Sees what is public, what it owns, and of what is for all users the apps that have one of its tags.
    Visitor {
        /// The account's name.
        name: String,
        /// Tags by which its roles see apps.
        tags: Vec<String>,
    },
    /// Sees what is public or for all users, what it owns, and all apps that have one of its tags.
    Publisher {
        /// The account's name.
        name: String,
        /// Tags whose apps its roles manage.
        tags: Vec<String>,
    },
    /// Sees everything: admins, and the store itself.
    Everything,
}

/// The apps that `viewer` may see. Every question about apps goes through here.
pub(crate) fn visible_to(viewer: &Viewer, backend: DbBackend) -> Condition {
    let has = |visibility: Visibility| Column::Visibility.eq(visibility.to_string());
    let owned = |name: &String| Column::Owner.eq(without_nul(name));
    let tagged = |tags: &[String]| {
        let some = !tags.is_empty();
        some.then(|| tags::has_any(tags.iter().map(String::as_str), backend))
    };
    let public = Condition::any().add(has(Visibility::Public));
    match viewer {
        Viewer::Anonymous => public,
        Viewer::Visitor { name, tags } => {
            let shared = tagged(tags)
                .map(|tagged| Condition::all().add(has(Visibility::AllUsers)).add(tagged));
            public.add(owned(name)).add_option(shared)
        }
        Viewer::Publisher { name, tags } => public
            .add(has(Visibility::AllUsers))
            .add(owned(name))
            .add_option(tagged(tags)),
        Viewer::Everything => Condition::all(),
    }
}

/// Rows without their words, which are for the database alone and may be long.
fn rows() -> Select<Entity> {
    let others = Column::iter().filter(|column| !matches!(column, Column::Words));
    Entity::find()
        .select_only()
        .columns(others)
        .expr_as(Expr::val(""), "words")
}

/// The question for a page of the list of apps.
pub(crate) fn page(
    viewer: &Viewer,
    query: &AppQuery,
    limit: u64,
    backend: DbBackend,
) -> Select<Entity> {
    rows()
        .filter(visible_to(viewer, backend))
        .filter(query.condition(backend))
        .order_by_desc(Column::PublishedAtMs)
        .order_by_asc(Column::Name)
        .order_by_asc(Column::Version)
        .limit(limit)
}

impl Catalog {
    /// Adds an app, or replaces the row with the same uid.
    ///
    /// # Errors
    /// [`Error::DuplicateApp`] when another uid has its name and version.
    pub async fn publish(&self, app: &App) -> Result<(), Error> {
        let replace = OnConflict::column(Column::Uid)
            .update_columns([
                Column::Resource,
                Column::Name,
                Column::Version,
                Column::Title,
                Column::Description,
                Column::Owner,
                Column::Visibility,
                Column::Lifecycle,
                Column::Tags,
                Column::Digest,
                Column::Icon,
                Column::Screenshots,
                Column::PictureSizes,
                Column::Link,
                Column::LongDescription,
                Column::PublishedAtMs,
                Column::Words,
            ])
            .to_owned();
        let published = Entity::insert(to_row(app))
            .on_conflict(replace)
            .exec_without_returning(&self.database)
            .await;
        let Err(error) = published else {
            return Ok(());
        };
        if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
            && let Some(holder) = self
                .app(&Viewer::Everything, &app.name, &app.version)
                .await?
        {
            return Err(Error::DuplicateApp {
                name: holder.name,
                version: holder.version,
                holder: holder.resource,
            });
        }
        Err(Error::database("publish an app")(error))
    }

    /// Removes the app with this uid, and with the last version of an app its likes and pins; false when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn withdraw(&self, uid: &str) -> Result<bool, Error> {
        let failed = || Error::database("withdraw an app");
        let transaction = begin_write(&self.database).await.map_err(failed())?;
        let name: Option<String> = Entity::find_by_id(uid)
            .select_only()
            .column(Column::Name)
            .into_tuple()
            .one(&transaction)
            .await
            .map_err(failed())?;
        let Some(name) = name else {
            return Ok(false);
        };
        Entity::delete_by_id(uid)
            .exec(&transaction)
            .await
            .map_err(failed())?;
        let versions = Entity::find().filter(Column::Name.eq(&name));
        if versions.count(&transaction).await.map_err(failed())? == 0 {
            preferences::forget(&transaction, &name).await?;
        }
        transaction.commit().await.map_err(failed())?;
        Ok(true)
    }

    /// The apps that `viewer` may see and `query` asks for, the newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn visible_apps(
        &self,
        viewer: &Viewer,
        query: &AppQuery,
        limit: u64,
    ) -> Result<Vec<App>, Error> {
        let rows = page(viewer, query, limit, self.database.get_database_backend())
            .all(&self.database)
            .await
            .map_err(Error::database("read apps"))?;
        rows.into_iter().map(from_row).collect()
    }

    /// This version of this app; none when there is none or `viewer` may not see it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn app(
        &self,
        viewer: &Viewer,
        name: &str,
        version: &str,
    ) -> Result<Option<App>, Error> {
        rows()
            .filter(visible_to(viewer, self.database.get_database_backend()))
            .filter(Column::Name.eq(without_nul(name)))
            .filter(Column::Version.eq(without_nul(version)))
            .one(&self.database)
            .await
            .map_err(Error::database("read an app"))?
            .map(from_row)
            .transpose()
    }

    /// The uids of all apps.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn uids(&self) -> Result<HashSet<String>, Error> {
        let uids: Vec<String> = Entity::find()
            .select_only()
            .column(Column::Uid)
            .into_tuple()
            .all(&self.database)
            .await
            .map_err(Error::database("read the apps' uids"))?;
        Ok(uids.into_iter().collect())
    }

    /// Whether an app has this bundle: its blobs must stay.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_digest_used(&self, digest: &Digest) -> Result<bool, Error> {
        let apps = Entity::find()
            .filter(Column::Digest.eq(digest.to_string()))
            .count(&self.database)
            .await
            .map_err(Error::database("count apps"))?;
        Ok(apps > 0)
    }
}

fn to_row(app: &App) -> ActiveModel {
    let App {
        uid,
        resource,
        name,
        version,
        title,
        description,
        owner,
        visibility,
        lifecycle,
        tags,
        digest,
        icon,
        screenshots,
        link,
        long_description,
        published_at,
    } = app.clone();
    let texts = [&name, &title, &description].into_iter();
    let texts = texts.chain(&tags).chain(&long_description);
    let words = words::index(texts.map(String::as_str));
    let sizes = PictureSizes {
        icon: icon
            .as_ref()
            .map_or_else(Vec::new, |icon| icon.renditions.clone()),
        screenshots: screenshots
            .iter()
            .map(|picture| picture.renditions.clone())
            .collect(),
    };
    let screenshots = screenshots.into_iter().map(|picture| picture.name);
    ActiveModel {
        uid: Set(uid),
        resource: Set(resource),
        name: Set(name),
        version: Set(version),
        title: Set(title),
        description: Set(description),
        owner: Set(owner),
        visibility: Set(visibility.to_string()),
        lifecycle: Set(lifecycle.to_string()),
        tags: Set(Strings(tags)),
        digest: Set(digest.to_string()),
        icon: Set(icon.map(|picture| picture.name)),
        screenshots: Set(Strings(screenshots.collect())),
        picture_sizes: Set(Some(sizes)),
        link: Set(link),
        long_description: Set(long_description),
        published_at_ms: Set(timestamp::to_column(published_at)),
        words: Set(words),
    }
}

fn from_row(row: Model) -> Result<App, Error> {
    let subject = Subject(&row.resource);
    let visibility = Visibility::from_str(&row.visibility)
        .map_err(|_| subject.unknown("visibility", &row.visibility))?;
    let lifecycle = Lifecycle::from_str(&row.lifecycle)
        .map_err(|_| subject.unknown("lifecycle", &row.lifecycle))?;
    let digest = row
        .digest
        .parse()
        .map_err(|_| subject.unknown("digest", &row.digest))?;
    let Model {
        uid,
        resource,
        name,
        version,
        title,
        description,
        owner,
        visibility: _,
        lifecycle: _,
        tags: Strings(tags),
        digest: _,
        icon,
        screenshots: Strings(screenshots),
        picture_sizes,
        link,
        long_description,
        published_at_ms,
        words: _,
    } = row;
    let sizes = picture_sizes.unwrap_or_default();
    let sizes_of_screenshots = sizes.screenshots.into_iter();
    let sizes_of_screenshots = sizes_of_screenshots.chain(std::iter::repeat_with(Vec::new));
    Ok(App {
        uid,
        resource,
        name,
        version,
        title,
        description,
        owner,
        visibility,
        lifecycle,
        tags,
        digest,
        icon: icon.map(|name| Picture::from_columns(name, sizes.icon)),
        screenshots: screenshots
            .into_iter()
            .zip(sizes_of_screenshots)
            .map(|(name, sizes)| Picture::from_columns(name, sizes))
            .collect(),
        link,
        long_description,
        published_at: timestamp::from_column(published_at_ms),
    })
}

/// The app whose row is being read, for errors.
struct Subject<'a>(&'a str);

impl Subject<'_> {
    fn unknown(&self, column: &'static str, value: &str) -> Error {
        Error::UnknownValue {
            row: self.to_string(),
            column,
            value: value.to_owned(),
        }
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "app `{}`", self.0)
    }
}
