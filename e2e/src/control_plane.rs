//! A control plane without nodes: etcd, API server and controller manager of the test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{namespace::path, run};

const SCRIPT: &str = "cluster/control_plane.sh";

/// A control plane that ends when it is dropped. Whatever a test does to it, it disturbs nobody.
pub struct ControlPlane {
    folder: tempfile::TempDir,
}

/// A part of a control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// The database.
    Etcd,
    /// The API server.
    ApiServer,
}

impl Daemon {
    fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
        }
    }
}

impl ControlPlane {
    /// Starts one, with the store's CRDs. `etcd_bytes` bounds its database; nothing leaves etcd its own bound.
    ///
    /// # Errors
    /// A part of it does not come up; the error holds its log.
    pub async fn start(etcd_bytes: Option<u64>) -> Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let plane = Self {
            folder: tempfile::tempdir()?,
        };
        let quota = format!("ETCD_QUOTA_BYTES={}", etcd_bytes.unwrap_or_default());
        let started = run(
            "env",
            &[&quota, SCRIPT, "up", &path(plane.folder.path())],
            None,
        )
        .await?;
        ensure!(
            started.success,
            "no control plane: {}{}",
            started.stdout,
            started.stderr
        );
        Ok(plane)
    }

    /// Its admin's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Ends a part with SIGKILL.
    ///
    /// # Errors
    /// The script fails.
    pub async fn kill(&self, daemon: Daemon) -> Result<()> {
        self.script(&["kill", &self.folder(), daemon.name()]).await
    }

    /// Starts a part again, and waits until it answers.
    ///
    /// # Errors
    /// It does not answer; the error holds its log.
    pub async fn resume(&self, daemon: Daemon) -> Result<()> {
        self.script(&["start", &self.folder(), daemon.name()]).await
    }

    /// Drops the past from etcd's database, and lets it be written to again.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn defragment(&self) -> Result<()> {
        self.script(&["defragment", &self.folder()]).await
    }

    fn folder(&self) -> String {
        path(self.folder.path())
    }

    async fn script(&self, args: &[&str]) -> Result<()> {
        let output = run(SCRIPT, args, None).await?;
        ensure!(
            output.success,
            "control_plane.sh {}: {}{}",
            args.join(" "),
            output.stdout,
            output.stderr
        );
        Ok(())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let ended = Command::new(SCRIPT)
            .arg("down")
            .arg(self.folder.path())
            .status()
            .context("could not run control_plane.sh");
        if !matches!(&ended, Ok(status) if status.success()) {
            eprintln!(
                "a control plane is left in {}: {ended:?}",
                Path::new(self.folder.path()).display()
            );
        }
    }
}
