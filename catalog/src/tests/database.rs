//! A database of its own for each test.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use test_postgres::Postgres;

use crate::{Catalog, Settings};

/// An empty database, gone at the latest when the test process ends.
pub(crate) struct TestDatabase {
    pub(crate) settings: Settings,
    /// Holds the SQLite file.
    _folder: Option<TempDir>,
}

impl TestDatabase {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("make a folder");
        let file = folder.path().join("catalog.db");
        Self {
            settings: settings(format!("sqlite://{}", file.display())),
            _folder: Some(folder),
        }
    }

    pub(crate) fn postgres() -> Self {
        // One server for the whole test process.
        static SERVER: OnceLock<Result<Postgres, String>> = OnceLock::new();
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = match SERVER.get_or_init(|| Postgres::start(&[])) {
            Ok(server) => server.create_database(&name).expect("a database"),
            Err(reason) => panic!("{reason}"),
        };
        Self {
            settings: settings(url),
            _folder: None,
        }
    }

    /// Brings the tables up to date, and opens it as a replica would.
    pub(crate) async fn open(&self) -> Catalog {
        Catalog::migrate(&self.settings)
            .await
            .expect("migrate the database");
        Catalog::open(&self.settings)
            .await
            .expect("open the database")
    }
}

fn settings(database_url: String) -> Settings {
    Settings {
        max_connections: 4,
        ..Settings::new(database_url)
    }
}
