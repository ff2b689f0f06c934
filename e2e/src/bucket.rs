//! A bucket on an S3 server that is not of the cluster.

use std::{net::SocketAddr, path::PathBuf, process::Stdio};

use anyhow::{Context, Result, ensure};
use tokio::process::{Child, Command};

use crate::{Identity, command::succeed, eventually};

/// The server with one bucket, [`Bucket::NAME`], behind TLS. It ends, and leaves nothing, when this is dropped.
pub struct Bucket {
    /// Where it listens.
    pub address: SocketAddr,
    program: PathBuf,
    folder: tempfile::TempDir,
    server: Child,
}

impl Bucket {
    /// The bucket's name.
    pub const NAME: &str = "bundles";
    /// Who may use it.
    pub const ACCESS_KEY: &str = "store";
    /// How they prove that.
    pub const SECRET_KEY: &str = "the-secret-of-the-store";

    /// Starts the server and waits until it listens.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(address: SocketAddr, identity: &Identity) -> Result<Self> {
        let program = succeed("../catalog/tests/buckets/s3_server.sh", &[], None).await?;
        let folder = tempfile::tempdir()?;
        std::fs::create_dir_all(folder.path().join("buckets").join(Self::NAME))?;
        std::fs::write(folder.path().join("crt"), &identity.certificate)?;
        std::fs::write(folder.path().join("key"), &identity.key)?;
        let program = PathBuf::from(program.trim());
        let mut bucket = Self {
            server: serve(&program, address, &folder)?,
            address,
            program,
            folder,
        };
        bucket.listens().await?;
        Ok(bucket)
    }

    /// Ends the server; what is in the bucket stays.
    ///
    /// # Errors
    /// It has ended by itself.
    pub async fn stop(&mut self) -> Result<()> {
        ensure!(self.server.try_wait()?.is_none(), "it has ended by itself");
        self.server.kill().await?;
        Ok(())
    }

    /// Starts it again after [`Bucket::stop`].
    ///
    /// # Errors
    /// It does not start.
    pub async fn resume(&mut self) -> Result<()> {
        self.server = serve(&self.program, self.address, &self.folder)?;
        self.listens().await
    }

    /// How many objects there are below a folder of the bucket.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn objects(&self, folder: &str) -> Result<usize> {
        let folder = self
            .folder
            .path()
            .join("buckets")
            .join(Self::NAME)
            .join(folder);
        let entries = std::fs::read_dir(&folder);
        Ok(entries
            .with_context(|| format!("there is no {}", folder.display()))?
            .count())
    }

    /// Puts an object there, past the server.
    ///
    /// # Errors
    /// The disk refuses it.
    pub fn put(&self, path: &str, content: &[u8]) -> Result<()> {
        let buckets = self.folder.path().join("buckets");
        let file = buckets.join(Self::NAME).join(path);
        std::fs::create_dir_all(file.parent().context("a folder")?)?;
        Ok(std::fs::write(file, content)?)
    }

    async fn listens(&mut self) -> Result<()> {
        eventually("the S3 server to listen", async || {
            if let Some(status) = self.server.try_wait()? {
                return Ok(Err(anyhow::anyhow!("the S3 server ended: {status}")));
            }
            tokio::net::TcpStream::connect(self.address).await?;
            Ok(Ok(()))
        })
        .await?
    }
}

fn serve(program: &PathBuf, address: SocketAddr, folder: &tempfile::TempDir) -> Result<Child> {
    Command::new(program)
        .args(["--quiet", "--port", &address.to_string()])
        .arg("--cert")
        .arg(folder.path().join("crt"))
        .arg("--key")
        .arg(folder.path().join("key"))
        .arg("posix")
        .arg(folder.path().join("buckets"))
        .env("ROOT_ACCESS_KEY", Bucket::ACCESS_KEY)
        .env("ROOT_SECRET_KEY", Bucket::SECRET_KEY)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("could not start {}", program.display()))
}
