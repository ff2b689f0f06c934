//! The operator as a process of this machine.

use std::{process::ExitStatus, time::Duration};

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::{
    Proxy, Sandbox,
    process::{Process, Recipe, free_port, program, send},
};

const CHART: &str = "../config/wave-instance";

/// How an operator is started.
pub struct Launch<'a> {
    sandbox: &'a Sandbox,
    server: Option<String>,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A running operator. It is killed when it is dropped.
pub struct Operator {
    process: Process,
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
        let kubeconfig = sandbox
            .kubeconfig("operator", self.server.as_deref())
            .await?;
        let folder = sandbox.folder().display().to_string();
        let log = sandbox.next_log("operator");
        let imports = sandbox.folder().join("imports");
        std::fs::create_dir_all(imports)?;
        let health_port = free_port()?;
        let mut arguments = vec![
            format!("--namespace={}", sandbox.name),
            format!("--database-url={}", sandbox.database_url()),
            format!("--blobs=file://{folder}/blobs"),
            format!("--import-dir={folder}/imports"),
            format!("--chart={}", std::path::absolute(CHART)?.display()),
            format!("--health-port={health_port}"),
            "--instance-image=wavestore/instance:none".to_owned(),
            // No node would run the jobs.
            "--build-environments=false".to_owned(),
        ];
        let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
        arguments.retain(|usual| self.flags.iter().all(|given| name(given) != name(usual)));
        arguments.extend(self.flags);
        let mut environment = vec![
            ("KUBECONFIG".to_owned(), kubeconfig.display().to_string()),
            // What helm knows of another API server must not be taken for this one's.
            ("KUBECACHEDIR".to_owned(), format!("{folder}/kube-cache")),
            ("RUST_LOG".to_owned(), "info,operator=debug".to_owned()),
        ];
        environment.extend(self.environment);
        let recipe = Recipe {
            name: "operator",
            program: program("wavestore-operator")?,
            arguments,
            environment,
            log,
            health_port,
        };
        Ok(Operator {
            process: recipe.spawn()?,
        })
    }
}

impl Operator {
    /// Its process.
    ///
    /// # Errors
    /// It has ended.
    pub fn pid(&self) -> Result<u32> {
        self.process.pid()
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// It does not, or the operator ends.
    pub async fn ready(&mut self) -> Result<()> {
        self.process.ready().await
    }

    /// Whether `/readyz` says yes, and what else it says.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn readiness(&self) -> Result<(bool, String)> {
        self.process.readiness().await
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
        self.process.kill().await
    }

    /// Kills it and every Helm that it runs, as the end of a container does.
    ///
    /// # Errors
    /// It has ended by itself.
    pub async fn kill_all(&mut self) -> Result<()> {
        let pid = self.pid()?;
        // Stopped, it starts no further ones.
        self.process.signal(Signal::SIGSTOP)?;
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
        self.process.terminate().await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It does not end.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        self.process.ended().await
    }

    /// Starts it again after it has ended, with the same flags, and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.respawn()?;
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
                _ = pace.tick() => if self.process.has_ended()? {
                    self.process.respawn()?;
                },
            }
        }
    }

    /// What it has said so far.
    ///
    /// # Errors
    /// Its log cannot be read.
    pub fn log(&self) -> Result<String> {
        self.process.log()
    }
}

/// Kills a process with SIGKILL, if it is still there.
pub fn kill_process(pid: u32) {
    // It may have ended in this very moment.
    let _ = send(pid, Signal::SIGKILL);
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
