//! A program of the store as a process of this machine.

use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};

use crate::{Output, PATIENCE, Sandbox, eventually, run};

/// What is needed to start a program, and to start the same again.
pub(crate) struct Recipe {
    /// Its name, for messages.
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// Where its words go.
    pub(crate) log: PathBuf,
    /// Where it answers `/readyz`.
    pub(crate) health_port: u16,
}

/// A running program. It is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    recipe: Recipe,
}

impl Recipe {
    /// Starts it and does not wait.
    pub(crate) fn spawn(self) -> Result<Process> {
        Ok(Process {
            child: self.start()?,
            recipe: self,
        })
    }

    fn start(&self) -> Result<Child> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)?;
        Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {}", self.program.display()))
    }
}

impl Process {
    /// Its id, until it has ended.
    pub(crate) fn pid(&self) -> Result<u32> {
        let name = self.recipe.name;
        self.child
            .id()
            .with_context(|| format!("the {name} has ended"))
    }

    /// Waits until `/readyz` says yes.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let name = self.recipe.name;
        let url = format!("http://127.0.0.1:{}/readyz", self.recipe.health_port);
        eventually(&format!("the {name} to be ready"), async || {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Err(status));
            }
            let answer = reqwest::get(&url).await?;
            ensure!(
                answer.status().is_success(),
                "/readyz answers {}",
                answer.status()
            );
            Ok(Ok(()))
        })
        .await?
        .map_err(|status| anyhow::anyhow!("the {name} ended: {status}"))
    }

    /// Whether `/readyz` says yes, and what else it says.
    pub(crate) async fn readiness(&self) -> Result<(bool, String)> {
        let url = format!("http://127.0.0.1:{}/readyz", self.recipe.health_port);
        let answer = reqwest::get(&url).await?;
        let ready = answer.status().is_success();
        Ok((ready, answer.text().await?))
    }

    /// Kills it as a failing machine would.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// Sends SIGTERM, and waits until it has ended well.
    pub(crate) async fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        let status = self.ended().await?;
        let name = self.recipe.name;
        ensure!(status.success(), "the {name} ended with {status}");
        Ok(())
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid()?, signal)
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        let name = self.recipe.name;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        Ok(ended.with_context(|| format!("the {name} does not end"))??)
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Starts it again after it has ended, with the same arguments, and does not wait.
    pub(crate) fn respawn(&mut self) -> Result<()> {
        self.child = self.recipe.start()?;
        Ok(())
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.recipe.log)?)
    }
}

pub(crate) fn send(pid: u32, signal: Signal) -> Result<()> {
    kill(Pid::from_raw(i32::try_from(pid)?), signal)?;
    Ok(())
}

/// The program beside this test: cargo builds both into one folder.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let test = env::current_exe()?;
    let program = test
        .parent()
        .and_then(Path::parent)
        .context("a test is in target/debug/deps")?
        .join(name);
    ensure!(
        program.is_file(),
        "there is no {}: run `cargo build --bins`",
        program.display()
    );
    Ok(program)
}

/// Brings the tables of a database up to date, as the store's Job does.
///
/// # Errors
/// It cannot.
pub async fn migrate(database_url: &str) -> Result<()> {
    let program = program("wavestore-router")?.display().to_string();
    let flag = format!("--database-url={database_url}");
    crate::command::succeed(&program, &["migrate", &flag], None).await?;
    Ok(())
}

/// Collects the garbage of a sandbox's blob store with the rights that the chart gives for that; answers what was said.
///
/// # Errors
/// It does not end.
pub async fn collect_garbage(sandbox: &Sandbox, flags: &[&str]) -> Result<Output> {
    let program = program("wavestore-router")?.display().to_string();
    let kubeconfig = sandbox.kubeconfig("blobs-gc", None).await?;
    let kubeconfig = format!("KUBECONFIG={}", kubeconfig.display());
    let namespace = format!("--namespace={}", sandbox.name);
    let blobs = format!("--blobs=file://{}/blobs", sandbox.folder().display());
    let mut args = vec![&*kubeconfig, &program, "blobs", "gc", &namespace, &blobs];
    args.extend(flags);
    run("env", &args, None).await
}

/// A port below those that the system hands out by itself: no client's connection takes it.
pub(crate) fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Several test programs may run at once.
    let start = 12_000 + u16::try_from(std::process::id() % 7_000)?;
    for _ in 0..8_000 {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (start - 12_000 + offset) % 8_000;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("all ports are taken")
}
