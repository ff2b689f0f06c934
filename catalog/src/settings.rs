//! `Settings`: where the database is and how patient we are.

use std::fmt;
use std::time::Duration;

/// How to reach and use the database. `Debug` never shows the URL, since it may hold a password.
#[derive(Clone)]
pub struct Settings {
    /// `sqlite:///data/catalog.db` or `postgres://user:password@host:5432/database`.
    pub database_url: String,
    /// Connections at most, at least 1.
    pub max_connections: u32,
    /// How long to try to connect at start, and how long a question waits for a free connection.
    pub connect_timeout: Duration,
    /// How long [`Catalog::open`](crate::Catalog::open) waits for tables that are still to be migrated.
    pub schema_timeout: Duration,
    /// How long a session lives without being used.
    pub session_idle_timeout: Duration,
}

impl Settings {
    /// The usual settings for this database: 10 connections, 10 seconds, 5 minutes for a migration, sessions idle for 8 hours.
    #[must_use]
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database_url: database_url.into(),
            max_connections: 10,
            connect_timeout: Duration::from_secs(10),
            schema_timeout: Duration::from_mins(5),
            session_idle_timeout: Duration::from_hours(8),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            database_url,
            max_connections,
            connect_timeout,
            schema_timeout,
            session_idle_timeout,
        } = self;
        let scheme = ["sqlite", "postgres", "postgresql"]
            .into_iter()
            .find(|scheme| database_url.split(':').next() == Some(scheme))
            .unwrap_or("unknown");
        f.debug_struct("Settings")
            .field("database_url", &format_args!("{scheme}:.."))
            .field("max_connections", max_connections)
            .field("connect_timeout", connect_timeout)
            .field("schema_timeout", schema_timeout)
            .field("session_idle_timeout", session_idle_timeout)
            .finish()
    }
}
