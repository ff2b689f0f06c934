//! A database of its own for each test.

use tempfile::TempDir;

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

    pub(crate) async fn postgres() -> Self {
        Self {
            settings: settings(super::postgres::create_database().await),
            _folder: None,
        }
    }

    /// Opens it as a replica would.
    pub(crate) async fn open(&self) -> Catalog {
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
