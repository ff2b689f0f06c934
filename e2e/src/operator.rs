//! The operator as a process of this machine.

use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};

use crate::{PATIENCE, Proxy, Sandbox, eventually};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/wave-instance");

/// How an operator is started.
pub struct Launch<'a> {
    sandbox: &'a Sandbox,
    server: Option<String>,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A running operator. It is killed when it is dropped.
pub struct Operator {
    process: Child,
    recipe: Recipe,
}

/// What is needed to start the same operator again.
struct Recipe {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    health_port: u16,
}

impl<'a> Launch<'a> {
    pub(crate) fn new(sandbox: &'a Sandbox) -> Self {
        Self {
            sandbox,
            server: None,
            flags: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// It and its Helm reach the API server through this proxy.
    #[must_use]
    pub fn through(mut self, proxy: &Proxy) -> Self {
        self.server = Some(proxy.url());
        self
    }

    /// With a flag such as `--helm-concurrency=2`.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// With a variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start(self) -> Result<Operator> {
        let mut operator = self.spawn().await?;
        operator.ready().await?;
        Ok(operator)
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// There is no such program, or the API server gives no token.
    pub async fn spawn(self) -> Result<Operator> {
        let sandbox = self.sandbox;
        let kubeconfig = sandbox.operator_kubeconfig(self.server.as_deref()).await?;
        let folder = sandbox.folder().display().to_string();
        let number = sandbox.next_operator();
        let imports = sandbox.folder().join("imports");
        std::fs::create_dir_all(imports)?;
        let health_port = free_port()?;
        let mut arguments = vec![
            format!("--namespace={}", sandbox.name),
            format!("--database-url=sqlite://{folder}/catalog.db"),
            format!("--blobs=file://{folder}/blobs"),
            format!("--import-dir={folder}/imports"),
            format!("--chart={CHART}"),
            format!("--health-port={health_port}"),
            "--instance-image=wavestore/instance:none".to_owned(),
        ];
        arguments.extend(self.flags);
        let mut environment = vec![
            ("KUBECONFIG".to_owned(), kubeconfig.display().to_string()),
            // What helm knows of another API server must not be taken for this one's.
            ("KUBECACHEDIR".to_owned(), format!("{folder}/kube-cache")),
            ("RUST_LOG".to_owned(), "info,operator=debug".to_owned()),
        ];
        environment.extend(self.environment);
        let recipe = Recipe {
            program: program()?,
            arguments,
            environment,
            log: sandbox.folder().join(format!("operator-{number}.log")),
            health_port,
        };
        Ok(Operator {
            process: recipe.spawn()?,
            recipe,
        })
    }
}

impl Recipe {
    fn spawn(&self) -> Result<Child> {
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

impl Operator {
    /// Its process.
    ///
    /// # Errors
    /// It has ended.
    pub fn pid(&self) -> Result<u32> {
        self.process.id().context("the operator has ended")
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// It does not, or the operator ends.
    pub async fn ready(&mut self) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/readyz", self.recipe.health_port);
        eventually("the operator to be ready", async || {
            if let Some(status) = self.process.try_wait()? {
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
        .map_err(|status| anyhow::anyhow!("the operator ended: {status}"))
    }

    /// The Helm processes that it runs now.
    ///
    /// # Errors
    /// It has ended.
    pub fn helms(&self) -> Result<Vec<u32>> {
        children(self.pid()?)
    }

    /// Kills it as a failing machine would; its Helm goes on.
    ///
    /// # Errors
    /// It has ended by itself.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await?;
        Ok(())
    }

    /// Kills it and every Helm that it runs, as the end of a container does.
    ///
    /// # Errors
    /// It has ended by itself.
    pub async fn kill_all(&mut self) -> Result<()> {
        let pid = self.pid()?;
        // Stopped, it starts no further ones.
        signal(pid, Signal::SIGSTOP)?;
        for helm in children(pid)? {
            kill_process(helm);
        }
        self.kill().await
    }

    /// Sends SIGTERM, and waits until it has ended well.
    ///
    /// # Errors
    /// It does not end, or fails.
    pub async fn terminate(&mut self) -> Result<()> {
        signal(self.pid()?, Signal::SIGTERM)?;
        let status = tokio::time::timeout(PATIENCE, self.process.wait())
            .await
            .context("the operator does not end")??;
        ensure!(status.success(), "the operator ended with {status}");
        Ok(())
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It does not end.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let ended = tokio::time::timeout(PATIENCE, self.process.wait()).await;
        Ok(ended.context("the operator does not end")??)
    }

    /// Starts it again after it has ended, with the same flags, and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.process = self.recipe.spawn()?;
        self.ready().await
    }

    /// Does something, and meanwhile starts the operator again whenever it ends, as a kubelet does: one that cannot renew
    /// its lease ends.
    ///
    /// # Errors
    /// What `work` says.
    pub async fn supervised<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = std::pin::pin!(work);
        let mut pace = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = pace.tick() => if self.process.try_wait()?.is_some() {
                    self.process = self.recipe.spawn()?;
                },
            }
        }
    }

    /// What it has said so far.
    ///
    /// # Errors
    /// Its log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.recipe.log)?)
    }
}

/// Kills a process with SIGKILL, if it is still there.
pub fn kill_process(pid: u32) {
    // It may have ended in this very moment.
    let _ = signal(pid, Signal::SIGKILL);
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    kill(Pid::from_raw(i32::try_from(pid)?), signal)?;
    Ok(())
}

fn children(pid: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    // Each thread has its own.
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(text) = std::fs::read_to_string(task?.path().join("children")) else {
            continue; // a thread that has just ended
        };
        for child in text.split_whitespace() {
            found.push(child.parse()?);
        }
    }
    Ok(found)
}

/// The operator beside this test: cargo builds both into one folder.
fn program() -> Result<PathBuf> {
    let test = env::current_exe()?;
    let program = test
        .parent()
        .and_then(Path::parent)
        .context("a test is in target/debug/deps")?
        .join("wavestore-operator");
    ensure!(
        program.is_file(),
        "there is no {}: run `cargo build --bins`",
        program.display()
    );
    Ok(program)
}

/// A port below those that the system hands out by itself: no client's connection takes it.
fn free_port() -> Result<u16> {
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
