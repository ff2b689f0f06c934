//! The tools that the store's users type.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::PATIENCE;
use crate::process::program;

/// What a command said.
#[derive(Debug)]
pub struct Output {
    /// Whether it exited with 0.
    pub success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be started, or does not end in time.
pub async fn run(program: &str, args: &[&str], stdin: Option<&str>) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(args);
    finish(command, program, args, stdin).await
}

async fn finish(
    mut command: Command,
    program: &str,
    args: &[&str],
    stdin: Option<&str>,
) -> Result<Output> {
    let mut child = command
        .stdin(if stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| {
            format!("could not start `{program}`: is it on PATH? (`make test-e2e` sets it)")
        })?;
    if let Some(text) = stdin {
        let mut pipe = child.stdin.take().context("stdin is piped")?;
        pipe.write_all(text.as_bytes()).await?;
    }
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .with_context(|| format!("`{program} {}` did not end", args.join(" ")))??;
    Ok(Output {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs `wavestore` as somebody who has a token, with nothing of this machine's own settings.
///
/// # Errors
/// It cannot be started, or does not end in time.
pub async fn wavestore(url: &str, token: &str, args: &[&str]) -> Result<Output> {
    let mut command = terminal(Path::new("/nonexistent"), args)?;
    command
        .env("WAVESTORE_URL", url)
        .env("WAVESTORE_TOKEN", token);
    finish(command, "wavestore", args, None).await
}

/// Runs `wavestore` as somebody whose settings are in this folder.
///
/// # Errors
/// It cannot be started, or does not end in time.
pub async fn wavestore_of(settings: &Path, args: &[&str]) -> Result<Output> {
    finish(terminal(settings, args)?, "wavestore", args, None).await
}

/// Starts `wavestore` like that, with pipes for what it says.
///
/// # Errors
/// It cannot be started.
pub fn start_wavestore(settings: &Path, args: &[&str]) -> Result<Child> {
    let mut command = terminal(settings, args)?;
    command.stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

fn terminal(settings: &Path, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(program("wavestore")?);
    command.args(args).env("XDG_CONFIG_HOME", settings);
    Ok(command)
}

/// Runs `kubectl` in the store's namespace and expects it to succeed.
///
/// # Errors
/// It fails; the error holds what it said.
pub async fn kubectl(args: &[&str], stdin: Option<&str>) -> Result<String> {
    of_the_store("kubectl", args, stdin).await
}

/// Runs `helm` in the store's namespace and expects it to succeed.
///
/// # Errors
/// It fails; the error holds what it said.
pub async fn helm(args: &[&str]) -> Result<String> {
    of_the_store("helm", args, None).await
}

async fn of_the_store(program: &str, args: &[&str], stdin: Option<&str>) -> Result<String> {
    let namespace = crate::namespace::store_namespace();
    let mut all = vec!["--namespace", namespace.as_str()];
    all.extend_from_slice(args);
    succeed(program, &all, stdin).await
}

pub(crate) async fn succeed(program: &str, args: &[&str], stdin: Option<&str>) -> Result<String> {
    let output = run(program, args, stdin).await?;
    ensure!(
        output.success,
        "`{program} {}` failed: {}",
        args.join(" "),
        output.stderr
    );
    Ok(output.stdout)
}
