//! A throw-away Postgres for tests and measurements, of the newest release that Debian has installed here.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
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
    port: u16,
}

/// Where it listens, or how its socket is called, unless told otherwise.
const USUAL_PORT: u16 = 5432;

impl Postgres {
    /// Starts a server and waits until it answers. `settings` are further ones of its own, such as `fsync=on`.
    ///
    /// # Errors
    /// No Postgres is installed, or it does not start; the text says why.
    pub fn start(settings: &[&str]) -> Result<Self, String> {
        Self::start_in(new_folder()?, settings)
    }

    /// Starts a server that others reach, too: with TLS by this certificate and key (PEM), for roles that have a password.
    ///
    /// # Errors
    /// No Postgres is installed, or it does not start; the text says why.
    pub fn start_on_network(
        address: SocketAddr,
        certificate: &str,
        key: &str,
    ) -> Result<Self, String> {
        let folder = new_folder()?;
        let rules = "local all all trust\nhostssl all all all scram-sha-256\n";
        let files = [("hba", rules), ("crt", certificate), ("key", key)];
        for (name, content) in files {
            let written = OpenOptions::new()
                .write(true)
                .create_new(true)
                // Or Postgres refuses the key.
                .mode(0o600)
                .open(folder.join(name))
                .and_then(|mut file| file.write_all(content.as_bytes()));
            written.map_err(|error| format!("could not write `{name}` for Postgres: {error}"))?;
        }
        let at = folder.display();
        let settings = [
            format!("listen_addresses={}", address.ip()),
            format!("port={}", address.port()),
            format!("hba_file={at}/hba"),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={at}/crt"),
            format!("ssl_key_file={at}/key"),
        ];
        let settings = settings.each_ref().map(String::as_str);
        let mut server = Self::start_in(folder, &settings)?;
        server.port = address.port();
        Ok(server)
    }

    fn start_in(folder: PathBuf, settings: &[&str]) -> Result<Self, String> {
        let programs = newest_programs().ok_or(
            "there is no Postgres: /usr/lib/postgresql/*/bin/initdb does not exist; install it with `apt-get install postgresql`",
        )?;
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
            port: USUAL_PORT,
        })
    }

    /// Ends it as a crash would: open connections break off, and nobody new gets one.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self) -> Result<(), String> {
        self.control(&["--mode", "immediate", "stop"])
    }

    /// Starts it again after [`Postgres::stop`], with its databases and settings, and waits until it answers.
    ///
    /// # Errors
    /// It does not start.
    pub fn resume(&self) -> Result<(), String> {
        let log = self.folder.join("server.log");
        // What it was started with stands in a file of its own folder.
        let options = std::fs::read_to_string(self.folder.join("options"))
            .map_err(|error| format!("could not read how Postgres was started: {error}"))?;
        let log = log.display().to_string();
        self.control(&["--log", &log, "--options", options.trim_end(), "start"])
    }

    /// Runs `pg_ctl` as the user that Postgres runs as. Its output goes nowhere: the server that it starts would keep pipes open.
    fn control(&self, args: &[&str]) -> Result<(), String> {
        let program = self.programs.join("pg_ctl");
        let data = self.folder.join("data");
        let owner = std::fs::metadata(&data)
            .map_err(|error| format!("could not look at Postgres' folder: {error}"))?;
        let status = Command::new(program)
            .args(["--wait", "--timeout", "60", "--pgdata"])
            .arg(data)
            .args(args)
            .uid(owner.uid())
            .gid(owner.gid())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|error| format!("could not start `pg_ctl`: {error}"))?;
        if status.success() {
            return Ok(());
        }
        let log = std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        Err(format!("`pg_ctl {}` failed: {log}", args.join(" ")))
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
            .arg(format!("--port={}", self.port))
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

fn new_folder() -> Result<PathBuf, String> {
    let folder = tempfile::Builder::new()
        .prefix("wavestore-postgres-")
        .tempdir()
        .map_err(|error| format!("could not make a folder for Postgres: {error}"))?;
    Ok(folder.keep())
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
