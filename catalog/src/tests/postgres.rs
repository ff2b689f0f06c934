//! One throw-away Postgres for the whole test process.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

/// A running server. It stops when this process ends and the pipe to its keeper closes with it.
struct Server {
    folder: PathBuf,
    /// Holds the pipe.
    _keeper: Child,
}

static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();

/// Makes an empty database and answers its URL.
pub(super) async fn create_database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = match SERVER.get_or_init(start) {
        Ok(server) => &server.folder,
        Err(reason) => panic!("{reason}"),
    };
    let mut connection = PgConnection::connect(&url(folder, "postgres"))
        .await
        .expect("connect to the tests' Postgres");
    connection
        .execute(AssertSqlSafe(format!(
            "CREATE DATABASE {name} TEMPLATE template0"
        )))
        .await
        .expect("create a database");
    connection.close().await.expect("close the connection");
    url(folder, &name)
}

fn url(folder: &Path, database: &str) -> String {
    format!(
        "postgres://postgres@localhost/{database}?host={}",
        folder.display()
    )
}

fn start() -> Result<Server, String> {
    let programs = newest_programs().ok_or(
        "these tests need Postgres, and /usr/lib/postgresql/*/bin/initdb does not exist; \
         install it with `apt-get install postgresql`",
    )?;
    let folder = tempfile::Builder::new()
        .prefix("wavestore-postgres-")
        .tempdir()
        .expect("make a folder")
        .keep();
    let script = Path::new("src/tests/postgres.sh");
    let mut keeper = Command::new("sh")
        .arg(script)
        .arg(&folder)
        .arg(programs)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("start sh");
    let mut words = String::new();
    BufReader::new(keeper.stdout.take().expect("standard output is piped"))
        .read_line(&mut words)
        .expect("read from the keeper of Postgres");
    if words != "ready\n" {
        let output = keeper.wait_with_output().expect("wait for the keeper");
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!("Postgres did not start:\n{reason}"));
    }
    Ok(Server {
        folder,
        _keeper: keeper,
    })
}

/// Folder of the newest `initdb`, `pg_ctl` and `postgres`. Debian keeps each release in its own folder.
fn newest_programs() -> Option<PathBuf> {
    std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .flatten()
        .map(|release| release.path().join("bin"))
        .filter(|programs| programs.join("initdb").exists())
        .max()
}
