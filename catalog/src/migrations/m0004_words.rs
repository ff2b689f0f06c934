//! The words of apps with an index, and indexes by which a list goes on without reading what comes before.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::text;
use sea_orm_migration::sea_orm::{DbBackend, Statement};

use super::execute;
use crate::apps::words;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Indexes in the order of the list, for all apps and for those that have one value here.
const LISTS: [(&str, Option<&str>); 3] = [
    ("apps_in_order", None),
    ("apps_by_owner_in_order", Some("owner")),
    ("apps_by_lifecycle_in_order", Some("lifecycle")),
];

/// Words come cut and folded, so nothing of Postgres' own parsers, languages and dictionaries has a part in this.
const POSTGRES_UP: [&str; 2] = [
    "ALTER TABLE apps ADD COLUMN word_index tsvector \
     GENERATED ALWAYS AS (array_to_tsvector(string_to_array(words, ' '))) STORED",
    "CREATE INDEX apps_by_words ON apps USING gin (word_index)",
];

const POSTGRES_DOWN: [&str; 2] = [
    "DROP INDEX apps_by_words",
    "ALTER TABLE apps DROP COLUMN word_index",
];

/// An FTS5 table knows rows by numbers, and the numbers that SQLite itself gives to rows of `apps` change with VACUUM. So they
/// have numbers of their own, which are also a part of the indexes: what is found is so recognized without reading a row.
/// The tokenizer `ascii` cuts at blanks alone here, since words have no other ASCII sign.
const SQLITE_UP: [&str; 8] = [
    "ALTER TABLE apps ADD COLUMN number integer",
    "UPDATE apps SET number = rowid",
    "CREATE UNIQUE INDEX apps_by_number ON apps (number)",
    "CREATE VIRTUAL TABLE app_words USING fts5 \
     (words, content = '', contentless_delete = 1, detail = none, prefix = '1 2 3', tokenize = 'ascii')",
    "INSERT INTO app_words (rowid, words) SELECT number, words FROM apps",
    "CREATE TRIGGER app_words_insert AFTER INSERT ON apps BEGIN \
     UPDATE apps SET number = (SELECT coalesce(max(number), 0) + 1 FROM apps) WHERE uid = new.uid; \
     INSERT INTO app_words (rowid, words) SELECT number, words FROM apps WHERE uid = new.uid; \
     END",
    "CREATE TRIGGER app_words_update AFTER UPDATE OF words ON apps WHEN new.words <> old.words BEGIN \
     UPDATE app_words SET words = new.words WHERE rowid = new.number; \
     END",
    "CREATE TRIGGER app_words_delete AFTER DELETE ON apps BEGIN \
     DELETE FROM app_words WHERE rowid = old.number; \
     END",
];

const SQLITE_DOWN: [&str; 6] = [
    "DROP TRIGGER app_words_delete",
    "DROP TRIGGER app_words_update",
    "DROP TRIGGER app_words_insert",
    "DROP TABLE app_words",
    "DROP INDEX apps_by_number",
    "ALTER TABLE apps DROP COLUMN number",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The previous release writes none. What it publishes meanwhile is found once this one has imported it again, as it does
        // with all apps when it begins to lead.
        let apps = Table::alter()
            .table("apps")
            .add_column(text("words").default(""))
            .to_owned();
        manager.alter_table(apps).await?;
        let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
        let own: &[&str] = if is_postgres {
            &POSTGRES_UP
        } else {
            &SQLITE_UP
        };
        execute(manager, own).await?;
        for (name, column) in LISTS {
            let mut index = Index::create().name(name).table("apps").to_owned();
            if let Some(column) = column {
                index.col(column);
            }
            index
                .col(("published_at_ms", IndexOrder::Desc))
                .col("name")
                .col("version");
            if !is_postgres {
                index.col("number");
            }
            manager.create_index(index).await?;
        }
        fill(manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, _) in LISTS {
            let index = Index::drop().name(name).table("apps").to_owned();
            manager.drop_index(index).await?;
        }
        let own: &[&str] = if manager.get_database_backend() == DbBackend::Postgres {
            &POSTGRES_DOWN
        } else {
            &SQLITE_DOWN
        };
        execute(manager, own).await?;
        let apps = Table::alter().table("apps").drop_column("words").to_owned();
        manager.alter_table(apps).await
    }
}

/// Cuts the words of the apps that are there.
async fn fill(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let backend = manager.get_database_backend();
    let question =
        "SELECT uid, name, title, description, CAST(tags AS text), long_description FROM apps";
    let apps = connection
        .query_all_raw(Statement::from_string(backend, question))
        .await?;
    for app in apps {
        let texts: Vec<String> = (1..4)
            .map(|column| app.try_get_by_index(column))
            .collect::<Result<_, _>>()?;
        let tags: String = app.try_get_by_index(4)?;
        let tags: Vec<String> =
            serde_json::from_str(&tags).map_err(|error| DbErr::Json(error.to_string()))?;
        let long: Option<String> = app.try_get_by_index(5)?;
        let texts = texts.iter().chain(&tags).chain(&long);
        let words = words::index(texts.map(String::as_str));
        let change = Query::update()
            .table("apps")
            .value("words", words)
            .and_where(Expr::col("uid").eq(app.try_get_by_index::<String>(0)?))
            .to_owned();
        connection.execute(&change).await?;
    }
    Ok(())
}
