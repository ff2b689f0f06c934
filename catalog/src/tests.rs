//! The catalog's tests. Each one that touches the database runs on SQLite and on a Postgres that the tests
//! start themselves.

mod accounts;
mod apps;
mod audit;
mod blobs;
mod database;
mod devices;
mod opening;
mod preferences;
mod provider_sessions;
mod search;
mod sessions;
mod tags;
mod tickets;
mod tokens;
mod versions;

use chrono::{DateTime, Utc};

use crate::{Catalog, NewAccount, Role};

/// Runs each of these functions, `async fn(TestDatabase)`, as a test on both databases.
macro_rules! on_both_databases {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(crate::tests::database::TestDatabase::sqlite()).await;
                }
            )+
        }
        mod on_postgres {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(crate::tests::database::TestDatabase::postgres()).await;
                }
            )+
        }
    };
}
pub(crate) use on_both_databases;

/// A moment for tests: the clock plays no part in them.
fn noon() -> DateTime<Utc> {
    "2026-11-24T12:00:00Z".parse().expect("a time")
}

/// Makes an account without a password.
async fn sign_up(catalog: &Catalog, name: &str, role: Role) {
    let account = NewAccount {
        name: name.to_owned(),
        password_hash: None,
        password_expires_at: None,
        role,
    };
    catalog
        .create_account(&account)
        .await
        .expect("create an account");
}
