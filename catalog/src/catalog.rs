//! `Catalog`: the handle to the database. Its questions live beside the types they answer with, in `apps`,
//! `accounts`, `audit`, `preferences`, `sessions`, `tags`, `tickets` and `tokens`.

use std::fmt;
use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use tokio::time::{Instant, timeout};

use crate::backoff::Backoff;
use crate::connection::{self, Location};
use crate::error::MIGRATE;
use crate::migrations::{self, Schema};
use crate::{Error, Settings};

/// Longest time that migrations may take, those of another process included.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(10);

/// How often whoever waits for migrations says so.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Apps' metadata, accounts, sessions, tickets and tokens. A clone shares the connections.
#[derive(Clone)]
pub struct Catalog {
    pub(crate) database: DatabaseConnection,
    pub(crate) session_idle_timeout: Duration,
}

impl Catalog {
    /// Connects, and waits for [`Catalog::migrate`] where the tables are behind. It changes no table itself.
    ///
    /// # Errors
    /// Names the database, never its password, when it cannot be reached, when nobody migrates it in time, and when a later
    /// release has taken something away that this one needs.
    pub async fn open(settings: &Settings) -> Result<Self, Error> {
        let location: Location = settings.database_url.parse()?;
        let database = connection::connect(&location, settings).await?;
        let mut backoff = Backoff::within(settings.schema_timeout);
        let mut said: Option<Instant> = None;
        loop {
            let Some(missing) = Self::missing(&location, &database).await? else {
                break;
            };
            if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                let migrations = missing.join(", ");
                tracing::warn!("Waiting until {migrations} of {location} have run: {MIGRATE}");
                said = Some(Instant::now());
            }
            if !backoff.pause().await {
                return Err(Error::SchemaBehind {
                    database: location.to_string(),
                    missing,
                });
            }
        }
        if said.is_some() {
            tracing::info!("The tables of {location} are up to date");
        }
        Ok(Self {
            database,
            session_idle_timeout: settings.session_idle_timeout,
        })
    }

    /// Connects and brings the tables up to date; answers the names of the migrations that were missing. Several processes
    /// may do so at once, and others may be serving meanwhile.
    ///
    /// # Errors
    /// Names the database, never its password, when it cannot be reached or migrated in time, and when a later release has
    /// taken something away that this one needs.
    pub async fn migrate(settings: &Settings) -> Result<Vec<String>, Error> {
        let location: Location = settings.database_url.parse()?;
        let database = connection::connect(&location, settings).await?;
        let Some(missing) = Self::missing(&location, &database).await? else {
            return Ok(Vec::new());
        };
        timeout(MIGRATION_TIMEOUT, migrations::migrate(&database))
            .await
            .unwrap_or_else(|elapsed| Err(DbErr::Custom(elapsed.to_string())))
            .map_err(|source| Error::Migrate {
                database: location.to_string(),
                source: Box::new(source),
            })?;
        Ok(missing)
    }

    /// The migrations that are still to run; none when the tables are fit for this release.
    async fn missing(
        location: &Location,
        database: &DatabaseConnection,
    ) -> Result<Option<Vec<String>>, Error> {
        let schema = migrations::schema(database)
            .await
            .map_err(Error::database("find out which migrations have run"))?;
        match schema {
            Schema::Current => Ok(None),
            Schema::Behind { missing } => Ok(Some(missing)),
            Schema::Ahead { migration, newest } => Err(Error::SchemaAhead {
                database: location.to_string(),
                migration,
                newest,
            }),
        }
    }

    /// Asks the database for a sign of life, for `/readyz`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ping(&self) -> Result<(), Error> {
        self.database
            .ping()
            .await
            .map_err(Error::database("reach the database"))
    }

    /// Closes the connections, of all clones. Questions asked later fail.
    pub async fn close(&self) {
        if let Err(error) = self.database.close_by_ref().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Could not close the database"
            );
        }
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").finish_non_exhaustive()
    }
}

/// What an [`exclusive`] transaction keeps others from doing meanwhile. The numbers name locks inside
/// Postgres and never change.
#[derive(Clone, Copy)]
pub(crate) enum Lock {
    Migrations = 7_301,
    /// For what has to hold over all accounts together.
    Accounts = 7_302,
    /// For changes of tags, of which each is of the one before.
    Tags = 7_303,
}

/// Begins a transaction that no other transaction with the same lock overlaps, on any replica.
pub(crate) async fn exclusive(
    database: &DatabaseConnection,
    lock: Lock,
) -> Result<DatabaseTransaction, DbErr> {
    let transaction = begin_write(database).await?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction
            .execute_raw(Statement::from_sql_and_values(
                DbBackend::Postgres,
                "SELECT pg_advisory_xact_lock($1)",
                [(lock as i64).into()],
            ))
            .await?;
    }
    Ok(transaction)
}

/// Begins a transaction that will write. SQLite takes its one write lock at once, since a transaction that
/// starts reading and then writes fails instead of waiting when another has written in between.
pub(crate) async fn begin_write(
    database: &DatabaseConnection,
) -> Result<DatabaseTransaction, DbErr> {
    database
        .begin_with_options(TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        })
        .await
}
