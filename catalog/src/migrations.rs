//! Migrations, one file each, the lock under which they run, and whether a release can work with the tables as they are.
//!
//! A migration names tables and columns itself and never imports an entity, since entities go on changing
//! and a migration that ran does not. It only adds, since the previous release goes on beside it. One that takes something
//! away comes in a later release, and is called `m0009_drop_what_needs_m0007`: whoever does not know `m0007` refuses to
//! work with such tables (docs/decisions/0015).

mod m0001_apps_accounts_sessions;
mod m0002_people_of_providers;
mod m0003_tokens;
mod m0004_words;
mod m0005_tags_of_apps;
mod m0006_tags;
mod m0007_preferences;
mod m0008_audit;
mod m0009_sizes_of_pictures;
mod m0010_device_sign_ins;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, QuerySelect};
use sea_orm_migration::prelude::{ForeignKey, ForeignKeyAction, ForeignKeyCreateStatement, Index};
use sea_orm_migration::{
    IntoSchemaManagerConnection, MigrationTrait, MigratorTrait, SchemaManager, seaql_migrations,
};

use crate::catalog::{Lock, exclusive};

pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_apps_accounts_sessions::Migration),
            Box::new(m0002_people_of_providers::Migration),
            Box::new(m0003_tokens::Migration),
            Box::new(m0004_words::Migration),
            Box::new(m0005_tags_of_apps::Migration),
            Box::new(m0006_tags::Migration),
            Box::new(m0007_preferences::Migration),
            Box::new(m0008_audit::Migration),
            Box::new(m0009_sizes_of_pictures::Migration),
            Box::new(m0010_device_sign_ins::Migration),
        ]
    }
}

/// Whether this release can work with the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Schema {
    /// It can: they have all that it needs, and perhaps what a later release has added.
    Current,
    /// Not before these migrations have run.
    Behind { missing: Vec<String> },
    /// A later release's migration has taken away what this one needs, whose last one is `newest`.
    Ahead { migration: String, newest: String },
}

impl Schema {
    /// What to make of the migrations that have run, for whoever knows these.
    fn of(known: &[String], applied: &[String]) -> Self {
        let newest = known.last().map(String::as_str).unwrap_or_default();
        let refusal = applied
            .iter()
            .filter(|name| !known.contains(name))
            .find(|name| needs(name).is_some_and(|needed| number(newest) < Some(needed)));
        if let Some(migration) = refusal {
            return Self::Ahead {
                migration: migration.clone(),
                newest: newest.to_owned(),
            };
        }
        let missing: Vec<String> = known
            .iter()
            .filter(|name| !applied.contains(name))
            .cloned()
            .collect();
        if missing.is_empty() {
            Self::Current
        } else {
            Self::Behind { missing }
        }
    }
}

/// The 7 of `m0007_tags`.
fn number(name: &str) -> Option<u32> {
    name.strip_prefix('m')?.split('_').next()?.parse().ok()
}

/// The 7 of `m0009_drop_tags_needs_m0007`: the last migration that a release must know to work with what that one leaves.
fn needs(name: &str) -> Option<u32> {
    let (_, needed) = name.rsplit_once("_needs_")?;
    number(needed)
}

/// Brings the tables up to date. Several processes may try at once: one does it, the others wait.
pub(crate) async fn migrate(database: &DatabaseConnection) -> Result<(), DbErr> {
    let transaction = exclusive(database, Lock::Migrations).await?;
    if schema(&transaction).await? != Schema::Current {
        Migrator::up(&transaction, None).await?;
    }
    transaction.commit().await
}

/// Whether this release can work with the tables as they are.
pub(crate) async fn schema<'c, C>(database: &'c C) -> Result<Schema, DbErr>
where
    C: ConnectionTrait,
    &'c C: IntoSchemaManagerConnection<'c>,
{
    let mut applied: Vec<String> = Vec::new();
    if SchemaManager::new(database)
        .has_table("seaql_migrations")
        .await?
    {
        applied = seaql_migrations::Entity::find()
            .select_only()
            .column(seaql_migrations::Column::Version)
            .into_tuple()
            .all(database)
            .await?;
    }
    let known: Vec<String> = Migrator::migrations()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    Ok(Schema::of(&known, &applied))
}

/// A reference whose rows go with the row they point at.
fn cascade(
    table: &'static str,
    column: &'static str,
    to_table: &'static str,
    to_column: &'static str,
) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("{table}_{column}"))
        .from(table, column)
        .to(to_table, to_column)
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
}

async fn create_index(
    manager: &SchemaManager<'_>,
    table: &'static str,
    column: &'static str,
) -> Result<(), DbErr> {
    manager
        .create_index(
            Index::create()
                .name(format!("{table}_by_{column}"))
                .table(table)
                .col(column)
                .to_owned(),
        )
        .await
}

async fn execute(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    for statement in statements {
        manager
            .get_connection()
            .execute_unprepared(statement)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_release_works_with_what_it_knows_and_with_what_later_ones_have_added() {
        let known = ["m0001_first", "m0002_second"];
        let both = || names(&known);
        let behind = |missing: &[&str]| Schema::Behind {
            missing: names(missing),
        };
        let ahead = |migration: &str| Schema::Ahead {
            migration: migration.to_owned(),
            newest: "m0002_second".to_owned(),
        };
        let with = |later: &[&str]| [both(), names(later)].concat();
        let cases = [
            ("an empty database", names(&[]), behind(&known)),
            (
                "the last one is missing",
                names(&["m0001_first"]),
                behind(&["m0002_second"]),
            ),
            ("all have run", both(), Schema::Current),
            (
                "a later one has added",
                with(&["m0003_third"]),
                Schema::Current,
            ),
            (
                "one took away what we do not use any more",
                with(&["m0003_third_needs_m0002"]),
                Schema::Current,
            ),
            (
                "one took away what we use",
                with(&["m0004_fourth_needs_m0003"]),
                ahead("m0004_fourth_needs_m0003"),
            ),
            (
                "no number",
                with(&["m0003_what_everybody_needs_most"]),
                Schema::Current,
            ),
        ];
        for (name, applied, expected) in cases {
            assert_eq!(Schema::of(&both(), &applied), expected, "{name}");
        }
    }

    #[test]
    fn migrations_are_numbered_without_a_gap() {
        for (index, migration) in Migrator::migrations().iter().enumerate() {
            let expected = u32::try_from(index + 1).expect("a number");
            assert_eq!(
                number(migration.name()),
                Some(expected),
                "{}",
                migration.name()
            );
        }
    }
}
