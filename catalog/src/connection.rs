//! From a URL to a pool of connections, with errors that name the database and never its password.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sea_orm::{DatabaseConnection, SqlxPostgresConnector, SqlxSqliteConnector};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{Connection as _, Executor as _};
use tokio::time::{timeout, timeout_at};

use crate::backoff::Backoff;
use crate::{Error, Settings};

/// How long a write waits for another process's write to the same SQLite file.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long Postgres may take to finish what was asked of a connection before nobody waited any more.
const POSTGRES_RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the database is. `Display` is fit for logs and errors.
pub(crate) enum Location {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        let invalid = |reason: &str| Error::InvalidDatabaseUrl {
            reason: reason.to_owned(),
        };
        match url.split_once(':') {
            Some(("sqlite", _)) => {
                if url.contains(":memory:") || url.contains("mode=memory") {
                    return Err(invalid("the catalog needs a file, not memory"));
                }
                let options = SqliteConnectOptions::from_str(url)
                    .map_err(|error| invalid(&error.to_string()))?;
                let file = options.get_filename();
                if file.as_os_str().is_empty() {
                    return Err(invalid("it names no file"));
                }
                Ok(Self::Sqlite(file.to_owned()))
            }
            Some(("postgres" | "postgresql", _)) => {
                let options =
                    PgConnectOptions::from_str(url).map_err(|error| invalid(&error.to_string()))?;
                Ok(Self::Postgres(Box::new(options)))
            }
            _ => Err(invalid("it starts with neither `sqlite:` nor `postgres:`")),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "the database file `{}`", file.display()),
            Self::Postgres(options) => {
                let database = options
                    .get_database()
                    .unwrap_or_else(|| options.get_username());
                write!(f, "Postgres database `{database}` on ")?;
                match options.get_socket() {
                    Some(socket) => write!(f, "socket `{}`", socket.display()),
                    None => write!(f, "`{}:{}`", options.get_host(), options.get_port()),
                }
            }
        }
    }
}

/// Connects within `settings.connect_timeout`.
pub(crate) async fn connect(
    location: &Location,
    settings: &Settings,
) -> Result<DatabaseConnection, Error> {
    match location {
        Location::Sqlite(file) => connect_sqlite(file, settings).await,
        Location::Postgres(options) => {
            connect_postgres(options, settings)
                .await
                .map_err(|source| Error::Connect {
                    database: location.to_string(),
                    source: Box::new(source),
                })
        }
    }
}

async fn connect_sqlite(file: &Path, settings: &Settings) -> Result<DatabaseConnection, Error> {
    if let Some(folder) = file.parent()
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        return Err(Error::NoDatabaseFolder {
            folder: folder.to_owned(),
            file: file.to_owned(),
        });
    }
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .foreign_keys(true)
        .busy_timeout(SQLITE_BUSY_TIMEOUT);
    let mut backoff = Backoff::within(settings.connect_timeout);
    loop {
        // One connection stays open: the last one to close would fold the log back into the file, in the
        // way of another process that opens it.
        let pool = SqlitePoolOptions::new()
            .max_connections(settings.max_connections.max(1))
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(settings.connect_timeout)
            .connect_with(options.clone())
            .await;
        match pool {
            Ok(pool) => return Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool)),
            // SQLite does not wait for the busy timeout when two processes turn a fresh file to WAL.
            Err(error) if is_busy(&error) && backoff.pause().await => {}
            Err(source) => {
                return Err(Error::DatabaseFile {
                    file: file.to_owned(),
                    source: Box::new(source),
                });
            }
        }
    }
}

/// `SQLITE_BUSY`, or one of its extended codes, whose low byte it is.
fn is_busy(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code()?.parse::<u32>().ok())
        .is_some_and(|code| code & 0xff == 5)
}

async fn connect_postgres(
    options: &PgConnectOptions,
    settings: &Settings,
) -> Result<DatabaseConnection, sqlx::Error> {
    // The pool's own attempts end in a mere "timed out"; these keep the reason.
    let mut backoff = Backoff::within(settings.connect_timeout);
    loop {
        let attempt = timeout_at(backoff.deadline(), PgConnection::connect_with(options));
        match attempt.await {
            Ok(Ok(connection)) => {
                connection.close().await?;
                break;
            }
            Ok(Err(error)) if may_pass(&error) && backoff.pause().await => {}
            Ok(Err(error)) => return Err(error),
            Err(elapsed) => {
                return Err(sqlx::Error::Io(std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    elapsed,
                )));
            }
        }
    }
    let pool = PgPoolOptions::new()
        .max_connections(settings.max_connections.max(1))
        .acquire_timeout(settings.connect_timeout)
        // How common a word is decides how a search for it is best done, and Postgres' plan for any word is up to fifty times as
        // slow for a common one. Planning each time takes a fifth of a millisecond.
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection
                    .execute("SET plan_cache_mode = force_custom_plan")
                    .await
                    .map(drop)
            })
        })
        // Without this the pool waits for a server that vanished until TCP gives up, a quarter of an hour later, and
        // meanwhile counts the connection among those that may be open.
        .after_release(|connection, _| {
            Box::pin(async move {
                match timeout(POSTGRES_RELEASE_TIMEOUT, connection.ping()).await {
                    Ok(answered) => answered.map(|()| true),
                    Err(elapsed) => Err(sqlx::Error::Io(std::io::Error::new(
                        std::io::ErrorKind::TimedOut,
                        elapsed,
                    ))),
                }
            })
        })
        .connect_lazy_with(options.clone());
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

/// Whether another attempt may succeed: the server is starting, or its name is not known yet.
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(error) => error.is_transient_in_connect_phase(),
        _ => false,
    }
}
