//! A throw-away Postgres for tests and measurements, of the newest release that Debian has installed here.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running server on a socket of its own. It stops, and leaves nothing, when this is dropped or this process ends, however
/// it ends: then the pipe to its keeper closes.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    programs: PathBuf,
    keeper: Child,
}

impl Postgres {
    /// Starts a server and waits until it answers. `settings` are further ones of its own, such as `fsync=on`.
    ///
    /// # Errors
    /// No Postgres is installed, or it does not start; the text says why.
    pub fn start(settings: &[&str]) -> Result<Self, String> {
        let programs = newest_programs().ok_or(
            "there is no Postgres: /usr/lib/postgresql/*/bin/initdb does not exist; install it with `apt-get install postgresql`",
        )?;
        let folder = tempfile::Builder::new()
            .prefix("wavestore-postgres-")
            .tempdir()
            .map_err(|error| format!("could not make a folder for Postgres: {error}"))?
            .keep();
        let mut keeper = Command::new("sh")
            // Checkouts may share what cargo has built, so no path of one is in it.
            .args(["-c", include_str!("postgres.sh"), "postgres.sh"])
            .arg(&folder)
            .arg(&programs)
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("could not start `sh`: {error}"))?;
        let mut words = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            // What cannot be read is not `ready`.
            let _ = BufReader::new(stdout).read_line(&mut words);
        }
        if words != "ready\n" {
            let reason = keeper
                .wait_with_output()
                .map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
            return Err(format!("Postgres did not start:\n{reason:?}"));
        }
        Ok(Self {
            folder,
            programs,
            keeper,
        })
    }

    /// Makes an empty database and answers its URL.
    ///
    /// # Errors
    /// The server refuses it.
    pub fn create_database(&self, name: &str) -> Result<String, String> {
        self.run("createdb", &["--template=template0", name])?;
        Ok(format!(
            "postgres://postgres@localhost/{name}?host={}",
            self.folder.display()
        ))
    }

    /// Drops a database under whoever uses it.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn drop_database(&self, name: &str) -> Result<(), String> {
        self.run("dropdb", &["--force", name])
    }

    /// Runs a statement in a database, such as `VACUUM ANALYZE`.
    ///
    /// # Errors
    /// The server refuses it.
    pub fn execute(&self, name: &str, statement: &str) -> Result<(), String> {
        self.run(
            "psql",
            &["--quiet", "--dbname", name, "--command", statement],
        )
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<(), String> {
        let output = Command::new(self.programs.join(program))
            .arg(format!("--host={}", self.folder.display()))
            .arg("--username=postgres")
            .args(args)
            .output()
            .map_err(|error| format!("could not start `{program}`: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let reason = String::from_utf8_lossy(&output.stderr);
        Err(format!("`{program} {}` failed: {reason}", args.join(" ")))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // It has removed the folder then; there is nobody left to tell that it could not.
        let _ = self.keeper.wait();
    }
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
