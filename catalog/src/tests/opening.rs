//! Connecting, migrating, and what people read when that fails.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::future::join_all;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use sea_orm_migration::{MigratorTrait as _, SchemaManager};

use super::database::TestDatabase;
use super::{noon, on_both_databases, sign_up};
use crate::connection::{self, Location};
use crate::migrations::Migrator;
use crate::{Catalog, Error, Role, Settings};

const TABLES: [&str; 7] = [
    "apps",
    "accounts",
    "sessions",
    "tickets",
    "provider_sessions",
    "spent",
    "tokens",
];

on_both_databases!(
    migrations_go_up_down_and_up,
    migrations_only_add,
    replicas_may_migrate_a_fresh_database_at_once,
    an_old_schema_is_waited_for,
    a_schema_that_stays_behind_is_explained,
    a_schema_without_what_this_release_needs_is_refused,
    what_was_written_is_there_after_opening_again,
    an_older_release_opens_a_newer_database,
    an_older_release_goes_on_writing_rows_beside_this_one,
    a_closed_catalog_gives_no_sign_of_life,
);

async fn migrations_go_up_down_and_up(database: TestDatabase) {
    let connection = connect(&database).await;
    let manager = SchemaManager::new(&connection);
    for _ in 0..2 {
        Migrator::up(&connection, None).await.expect("migrate up");
        for table in TABLES {
            assert!(manager.has_table(table).await.expect("look"), "{table}");
        }
        Migrator::down(&connection, None)
            .await
            .expect("migrate down");
        for table in TABLES {
            assert!(!manager.has_table(table).await.expect("look"), "{table}");
        }
    }
    Migrator::up(&connection, None).await.expect("migrate up");
}

/// The previous release goes on beside a migration: it reads what it knows, and writes rows that lack what is new. A migration
/// that takes something away has to be named after what it needs, and comes a release later.
async fn migrations_only_add(database: TestDatabase) {
    let connection = connect(&database).await;
    let mut before = columns(&connection).await;
    for migration in Migrator::migrations() {
        let name = migration.name();
        Migrator::up(&connection, Some(1)).await.expect(name);
        let after = columns(&connection).await;
        if !name.contains("_needs_") {
            let lost: Vec<_> = before.difference(&after).collect();
            assert!(lost.is_empty(), "{name} takes away or changes {lost:?}");
            let tables: BTreeSet<_> = before.iter().map(|column| &column.table).collect();
            let demanded: Vec<_> = after
                .difference(&before)
                .filter(|new| tables.contains(&new.table) && new.must_be_written)
                .collect();
            assert!(
                demanded.is_empty(),
                "{name}: nobody writes {demanded:?} yet"
            );
        }
        before = after;
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    table: String,
    name: String,
    kind: String,
    /// Not null, and without a value of its own.
    must_be_written: bool,
}

async fn columns(connection: &DatabaseConnection) -> BTreeSet<Column> {
    let backend = connection.get_database_backend();
    let question = match backend {
        DbBackend::Postgres => {
            "SELECT table_name::text, column_name::text, data_type::text, \
             is_nullable = 'NO' AND column_default IS NULL AND is_generated = 'NEVER' AND is_identity = 'NO' \
             FROM information_schema.columns WHERE table_schema = 'public'"
        }
        _ => {
            "SELECT t.name, c.name, c.type, c.\"notnull\" AND c.dflt_value IS NULL \
             FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'"
        }
    };
    let rows = connection
        .query_all_raw(Statement::from_string(backend, question))
        .await
        .expect("look at the columns");
    rows.iter()
        .map(|row| Column {
            table: row.try_get_by_index(0).expect("a table"),
            name: row.try_get_by_index(1).expect("a name"),
            kind: row.try_get_by_index(2).expect("a type"),
            must_be_written: row.try_get_by_index(3).expect("a flag"),
        })
        .collect()
}

async fn connect(database: &TestDatabase) -> DatabaseConnection {
    let location: Location = database.settings.database_url.parse().expect("a location");
    connection::connect(&location, &database.settings)
        .await
        .expect("connect")
}

async fn replicas_may_migrate_a_fresh_database_at_once(database: TestDatabase) {
    let migrated = join_all((0..8).map(|_| Catalog::migrate(&database.settings))).await;
    for migrated in migrated {
        migrated.expect("migrate");
    }
    let again = Catalog::migrate(&database.settings).await;
    assert_eq!(again.expect("migrate"), Vec::<String>::new());
    let catalog = Catalog::open(&database.settings).await.expect("open");
    catalog.ping().await.expect("ping");
}

/// The names of all migrations, in order.
fn all_migrations() -> Vec<String> {
    let all = Migrator::migrations();
    all.iter().map(|one| one.name().to_owned()).collect()
}

async fn an_old_schema_is_waited_for(database: TestDatabase) {
    Migrator::up(&connect(&database).await, Some(1))
        .await
        .expect("migrate a little");
    let mut opening = std::pin::pin!(Catalog::open(&database.settings));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut opening).await;
    assert!(early.is_err(), "{early:?}");
    let migrated = Catalog::migrate(&database.settings).await;
    assert_eq!(migrated.expect("migrate"), all_migrations()[1..]);
    let catalog = opening.await.expect("open");
    assert_eq!(catalog.accounts("", 1).await.expect("read accounts"), []);
}

async fn a_schema_that_stays_behind_is_explained(database: TestDatabase) {
    Migrator::up(&connect(&database).await, Some(1))
        .await
        .expect("migrate a little");
    let impatient = Settings {
        schema_timeout: Duration::from_millis(100),
        ..database.settings.clone()
    };
    let error = refused(&impatient).await;
    let words = error.to_string();
    assert_eq!(error.code(), "SchemaBehind");
    let end = format!(
        "are behind this release: {} to be migrated",
        all_migrations()[1..].join(", ")
    );
    assert!(words.ends_with(&end), "{words}");
    let hint = error.hint().expect("a hint");
    for word in ["component=migrate", "`wavestore-router migrate`"] {
        assert!(hint.contains(word), "{hint}");
    }
}

async fn a_schema_without_what_this_release_needs_is_refused(database: TestDatabase) {
    let newer = database.open().await;
    newer
        .database
        .execute_unprepared(
            "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_drop_accounts_needs_m9998', 0)",
        )
        .await
        .expect("note a later migration");
    let newest = all_migrations().pop().expect("a migration");
    let errors = [
        refused(&database.settings).await,
        Catalog::migrate(&database.settings)
            .await
            .expect_err("it is refused"),
    ];
    for error in errors {
        assert_eq!(error.code(), "SchemaAhead");
        let words = error.to_string();
        let end = format!(
            "are ahead of this release: `m9999_drop_accounts_needs_m9998` has run, and this release ends with `{newest}`"
        );
        assert!(words.ends_with(&end), "{words}");
        assert!(error.hint().is_some());
    }
}

async fn what_was_written_is_there_after_opening_again(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    catalog.close().await;
    let account = database.open().await.account("alice").await.expect("read");
    assert_eq!(account.expect("an account").role, Role::Full);
}

async fn an_older_release_opens_a_newer_database(database: TestDatabase) {
    let newer = database.open().await;
    newer
        .database
        .execute_unprepared(
            "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_of_tomorrow', 0)",
        )
        .await
        .expect("note a later migration");
    database.open().await.ping().await.expect("ping");
}

/// While replicas are replaced, the previous release inserts rows that know nothing of later columns.
async fn an_older_release_goes_on_writing_rows_beside_this_one(database: TestDatabase) {
    let catalog = database.open().await;
    let rows = [
        "INSERT INTO accounts (name, password_hash, role, disabled, issuer, subject, roles) \
         VALUES ('alice', NULL, 'Full', FALSE, NULL, NULL, NULL)",
        &format!(
            "INSERT INTO sessions (id_hash, account, parent, host, created_at_ms, expires_at_ms, last_seen_at_ms) \
             VALUES ('{}', 'alice', NULL, NULL, {now}, {now} + 60000, {now})",
            "ab".repeat(32),
            now = noon().timestamp_millis()
        ),
    ];
    for row in rows {
        let written = catalog.database.execute_unprepared(row).await;
        written.expect("write as the previous release does");
    }
    let account = catalog.account("alice").await.expect("read");
    assert_eq!(account.expect("alice").password_expires_at, None);
    let sessions = catalog.sessions_of("alice", noon()).await.expect("read");
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].browser, None);
}

async fn a_closed_catalog_gives_no_sign_of_life(database: TestDatabase) {
    let catalog = database.open().await;
    catalog.ping().await.expect("ping");
    catalog.close().await;
    let error = catalog.ping().await.expect_err("it is closed");
    assert_eq!(error.code(), "Database");
    assert_eq!(error.to_string(), "could not reach the database");
}

/// Processes, not tasks: within one process SQLite keeps its locks apart from the operating system's.
#[test]
fn processes_may_migrate_a_fresh_sqlite_file_at_once() {
    let database = TestDatabase::sqlite();
    let this_program = std::env::current_exe().expect("know this program");
    let processes: Vec<_> = (0..6)
        .map(|_| {
            Command::new(&this_program)
                .args(["tests::opening::migrated_by_another_process", "--exact"])
                .arg("--include-ignored")
                .env(OTHER_PROCESS, &database.settings.database_url)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("start another process")
        })
        .collect();
    for process in processes {
        let output = process.wait_with_output().expect("wait for the process");
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{words}");
        assert!(words.contains("1 passed"), "{words}");
    }
}

const OTHER_PROCESS: &str = "WAVESTORE_TEST_DATABASE_URL";

#[tokio::test]
#[ignore = "part of `processes_may_migrate_a_fresh_sqlite_file_at_once`"]
async fn migrated_by_another_process() {
    let Ok(url) = std::env::var(OTHER_PROCESS) else {
        return;
    };
    let settings = Settings::new(url);
    Catalog::migrate(&settings).await.expect("migrate");
    let catalog = Catalog::open(&settings).await.expect("open");
    assert_eq!(catalog.accounts("", 1).await.expect("read accounts"), []);
}

#[tokio::test]
async fn an_sqlite_file_has_a_log_and_keeps_references() {
    let database = TestDatabase::sqlite();
    let catalog = database.open().await;
    let mut found = Vec::new();
    for pragma in ["journal_mode", "foreign_keys", "busy_timeout"] {
        let row = catalog
            .database
            .query_one_raw(Statement::from_string(
                catalog.database.get_database_backend(),
                format!("PRAGMA {pragma}"),
            ))
            .await
            .expect("ask")
            .expect("a row");
        found.push(
            row.try_get_by_index::<String>(0)
                .or_else(|_| {
                    row.try_get_by_index::<i64>(0)
                        .map(|value| value.to_string())
                })
                .expect("a value"),
        );
    }
    assert_eq!(found, ["wal", "1", "10000"]);
}

#[test]
fn settings_never_show_the_password() {
    for url in [
        "postgres://wavestore:hunter2@db:5432/wavestore",
        "postgresql://wavestore:hunter2@db/wavestore",
        "hunter2",
        "hunter2://x",
    ] {
        let shown = format!("{:?}", Settings::new(url));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

/// The error and all its causes, as a log would show them.
fn chain(error: &Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

async fn refused(settings: &Settings) -> Error {
    let opened = tokio::time::timeout(Duration::from_secs(30), Catalog::open(settings)).await;
    opened
        .expect("it gives up in time")
        .expect_err("it is refused")
}

#[tokio::test]
async fn an_unreachable_postgres_is_named_without_its_password() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("listen");
    let silent_port = silent.local_addr().expect("an address").port();
    let closed_port = {
        let closed = TcpListener::bind("127.0.0.1:0").expect("listen");
        closed.local_addr().expect("an address").port()
    };
    for (port, cause) in [
        (closed_port, "Connection refused"),
        (silent_port, "elapsed"),
    ] {
        let settings = Settings {
            connect_timeout: Duration::from_millis(300),
            ..Settings::new(format!(
                "postgres://wavestore:hunter2@127.0.0.1:{port}/apps"
            ))
        };
        let error = refused(&settings).await;
        assert_eq!(error.code(), "Connect");
        assert_eq!(
            error.to_string(),
            format!("could not connect to Postgres database `apps` on `127.0.0.1:{port}`")
        );
        let words = format!("{} {error:?} {:?}", chain(&error), error.hint());
        assert!(words.contains(cause), "{words}");
        assert!(!words.contains("hunter2"), "{words}");
        assert!(error.hint().is_some());
    }
}

/// Such as one whose host is gone: TCP takes a quarter of an hour to notice.
#[tokio::test]
async fn a_postgres_that_does_not_answer_keeps_no_place_in_the_pool() {
    let database = TestDatabase::postgres();
    let settings = Settings {
        max_connections: 2,
        ..database.settings.clone()
    };
    Catalog::migrate(&settings).await.expect("migrate");
    let catalog = Catalog::open(&settings).await.expect("open");
    let questions = (0..2).map(|_| {
        let question = catalog.database.execute_unprepared("SELECT pg_sleep(3600)");
        tokio::time::timeout(Duration::from_secs(1), question)
    });
    let given_up = join_all(questions).await;
    assert!(given_up.iter().all(Result::is_err));
    let accounts = tokio::time::timeout(settings.connect_timeout, catalog.accounts("", 1)).await;
    assert_eq!(accounts.expect("in time").expect("an answer"), []);
}

#[tokio::test]
async fn a_refusal_by_postgres_is_passed_on() {
    let database = TestDatabase::postgres();
    let url = database
        .settings
        .database_url
        .replace("/test_", "/missing_");
    let error = refused(&Settings::new(url)).await;
    assert!(
        chain(&error).contains("does not exist"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_database_file_that_cannot_be_used_is_explained() {
    let folder = tempfile::tempdir().expect("make a folder");
    let at = folder.path().display();

    let error = refused(&Settings::new(format!("sqlite://{at}/missing/catalog.db"))).await;
    assert_eq!(
        error.to_string(),
        format!(
            "the folder `{at}/missing` of the database file `{at}/missing/catalog.db` does not exist"
        )
    );
    assert_eq!(
        error.hint(),
        Some(format!("create `{at}/missing` or mount a volume there"))
    );

    let file = folder.path().join("notes.txt");
    std::fs::write(
        &file,
        "no database at all, but long enough to be looked at as one ".repeat(20),
    )
    .expect("write a file");
    let error = refused(&Settings::new(format!("sqlite://{}", file.display()))).await;
    assert_eq!(
        error.to_string(),
        format!("could not open the database file `{}`", file.display())
    );
    assert!(
        chain(&error).contains("not a database"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn urls_of_other_kinds_are_refused() {
    for (url, reason) in [
        ("", "it starts with neither `sqlite:` nor `postgres:`"),
        (
            "mysql://x",
            "it starts with neither `sqlite:` nor `postgres:`",
        ),
        ("sqlite::memory:", "the catalog needs a file, not memory"),
        (
            "sqlite://?mode=memory",
            "the catalog needs a file, not memory",
        ),
        ("sqlite://", "it names no file"),
    ] {
        let error = refused(&Settings::new(url)).await;
        assert_eq!(
            error.to_string(),
            format!("the database URL cannot be used: {reason}"),
            "{url}"
        );
    }
    let error = refused(&Settings::new("postgres://a:hunter2@host:port/x")).await;
    assert_eq!(error.code(), "InvalidDatabaseUrl");
    assert!(!chain(&error).contains("hunter2"), "{}", chain(&error));
}
