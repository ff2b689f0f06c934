//! A Helm that a test holds before its first step: its values were decided, and nothing has been done.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use e2e::{PATIENCE, Sandbox, eventually, run};

/// The wrapper: `$0.armed` is there when the next run is to be held, `$0.held` when one is.
const SCRIPT: &str = r#"#!/bin/sh
if [ "$1" != version ] && rm "$0.armed" 2>/dev/null; then
    : >"$0.held"
    read -r _ <"$0.go"
fi
exec helm "$@"
"#;

/// A stand-in for Helm, for `--helm`.
pub(crate) struct HeldHelm {
    program: PathBuf,
}

impl HeldHelm {
    pub(crate) async fn create(sandbox: &Sandbox) -> Result<Self> {
        let program = sandbox.folder().join("held-helm");
        std::fs::write(&program, SCRIPT)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        let held = Self { program };
        let fifo = held.file("go").display().to_string();
        let made = run("mkfifo", &[&fifo], None).await?;
        ensure!(made.success, "{}", made.stderr);
        Ok(held)
    }

    /// The operator's flag.
    pub(crate) fn flag(&self) -> String {
        format!("--helm={}", self.program.display())
    }

    /// The next run is to be held.
    pub(crate) fn hold_next(&self) -> Result<()> {
        std::fs::write(self.file("armed"), "")?;
        Ok(())
    }

    /// Waits until a run is held.
    pub(crate) async fn is_held(&self) -> Result<()> {
        eventually("a run of helm to be held", async || {
            ensure!(self.file("held").exists(), "none is");
            Ok(())
        })
        .await
    }

    /// Lets it go on.
    pub(crate) async fn release(&self) -> Result<()> {
        let go = tokio::fs::write(self.file("go"), "\n");
        tokio::time::timeout(PATIENCE, go)
            .await
            .context("nobody is held")??;
        std::fs::remove_file(self.file("held"))?;
        Ok(())
    }

    fn file(&self, extension: &str) -> PathBuf {
        let name = self.program.display();
        Path::new(&format!("{name}.{extension}")).to_owned()
    }
}
