//! One Helm process: bounded in time, in its environment and in what is kept of its words.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::Error;
use crate::lease::Leadership;
use crate::metrics::Metrics;

/// Lines of stderr that are kept.
const LAST_LINES: usize = 40;

/// Bytes of one such line.
const LINE_BYTES: usize = 2000;

/// Most bytes of stdout that are kept; Helm's JSON holds the manifest.
const STDOUT_BYTES: u64 = 4 << 20;

/// How long Helm may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// What Helm may see of our environment, besides everything of `KUBERNETES_` and `HELM_`.
const ALLOWED: [&str; 10] = [
    "HOME",
    "PATH",
    "KUBECONFIG",
    "KUBECACHEDIR",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    GARBAGE,
    "GOMAXPROCS",
    "GOMEMLIMIT",
];

/// How far Helm's heap grows before Go collects garbage, in percent of what lives.
const GARBAGE: &str = "GOGC";

/// A sixth less CPU time than with Go's own 100, for 4 MiB; Helm ends before more pays.
const GARBAGE_PERCENT: &str = "400";

/// How Helm is run.
pub(crate) struct Helm {
    program: PathBuf,
    pub(super) chart: PathBuf,
    pub(super) namespace: String,
    limit: Duration,
    environment: Vec<(OsString, OsString)>,
    slots: Semaphore,
    /// How many of them what can wait may take.
    spare: Semaphore,
    /// A place has become free.
    freed: Notify,
    metrics: Arc<Metrics>,
    leadership: Arc<Leadership>,
}

/// A place in which Helm may run.
pub(crate) struct Slot<'a> {
    _place: SemaphorePermit<'a>,
    _spare: Option<SemaphorePermit<'a>>,
    /// The last one to be dropped: it tells of what is free then.
    _freed: Freed<'a>,
}

struct Freed<'a>(&'a Notify);

impl Drop for Freed<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Helm {
    pub(crate) fn new(
        program: PathBuf,
        chart: PathBuf,
        namespace: String,
        limit: Duration,
        concurrency: u16,
        metrics: Arc<Metrics>,
        leadership: Arc<Leadership>,
    ) -> Self {
        let mut environment: Vec<_> = std::env::vars_os()
            .filter(|(name, _)| name.to_str().is_some_and(is_allowed))
            .collect();
        if std::env::var_os(GARBAGE).is_none() {
            environment.push((GARBAGE.into(), GARBAGE_PERCENT.into()));
        }
        environment.push(("HELM_NO_PLUGINS".into(), "1".into()));
        environment.push(("HELM_DRIVER".into(), "secret".into()));
        Self {
            program,
            chart,
            namespace,
            limit,
            environment,
            slots: Semaphore::new(concurrency.into()),
            spare: Semaphore::new(usize::from(concurrency).div_ceil(2)),
            freed: Notify::new(),
            metrics,
            leadership,
        }
    }

    /// Waits for one of the places in which Helm may run.
    pub(crate) async fn slot(&self) -> Slot<'_> {
        let _waiting = self.metrics.wait_for_helm();
        let slot = self.slots.acquire().await;
        Slot {
            _place: slot.expect("the semaphore is never closed"),
            _spare: None,
            _freed: Freed(&self.freed),
        }
    }

    /// Waits until a place has become free, since this was asked the last time. Only one may ask.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Whether there is a place for what can wait.
    pub(crate) fn rests(&self) -> bool {
        self.spare.available_permits() > 0 && self.slots.available_permits() > 0
    }

    /// A place for what can wait, if one is free now; half of them stay for what somebody waits for.
    pub(crate) fn slot_to_spare(&self) -> Option<Slot<'_>> {
        let spare = self.spare.try_acquire().ok()?;
        let slot = self.slots.try_acquire().ok()?;
        Some(Slot {
            _place: slot,
            _spare: Some(spare),
            _freed: Freed(&self.freed),
        })
    }

    /// Checks that Helm is there and of the right age; answers its version.
    pub(crate) async fn check(&self) -> Result<String, Error> {
        let args = ["version", "--template", "{{.Version}}"].map(OsString::from);
        let version = String::from_utf8_lossy(&self.start(&args, Vec::new()).await?).into_owned();
        let version = version.trim().to_owned();
        if major(&version).is_some_and(|major| major >= 4) {
            Ok(version)
        } else {
            Err(Error::Version {
                program: self.program.display().to_string(),
                version,
            })
        }
    }

    /// Runs Helm to its end, or to the end of the time that it has; answers its stdout. Helm does not outlive the
    /// future: when that is dropped, because the lease is lost, Helm and its children are killed.
    pub(super) async fn run(&self, args: &[OsString], input: Vec<u8>) -> Result<Vec<u8>, Error> {
        if self.leadership.holds() {
            self.start(args, input).await
        } else {
            Err(Error::NotLeading {
                command: name(args),
            })
        }
    }

    async fn start(&self, args: &[OsString], input: Vec<u8>) -> Result<Vec<u8>, Error> {
        let command = name(args);
        let measured = self.metrics.helm_run(&command);
        let result = self.run_to_end(command, args, input).await;
        measured.end(&result);
        result
    }

    async fn run_to_end(
        &self,
        command: String,
        args: &[OsString],
        input: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let mut child = Command::new(&self.program)
            .args(args)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(Path::new("/"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: what ends us by the terminal must not end Helm in the middle.
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Start {
                program: self.program.display().to_string(),
                source,
            })?;
        let mut group = Group::of(&child);
        let pipe = |source| Error::Pipe {
            command: command.clone(),
            source,
        };
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut work = std::pin::pin!(async {
            let feed = async {
                if let Some(mut stdin) = stdin {
                    // A Helm that does not want its input says why on stderr.
                    let _ = stdin.write_all(&input).await;
                }
            };
            tokio::join!(
                feed,
                read_stdout(stdout),
                read_last_lines(stderr),
                child.wait()
            )
        });
        let mut timed_out = false;
        let ((), stdout, words, status) = match timeout(self.limit, &mut work).await {
            Ok(done) => done,
            Err(_elapsed) => {
                timed_out = true;
                group.signal(Signal::SIGTERM);
                match timeout(GRACE, &mut work).await {
                    Ok(done) => done,
                    Err(_elapsed) => {
                        group.signal(Signal::SIGKILL);
                        work.await
                    }
                }
            }
        };
        let status = status.map_err(pipe)?;
        group.has_ended();
        let stdout = stdout.map_err(pipe)?;
        if status.success() {
            return Ok(stdout);
        }
        let words = last_words(&words, status);
        Err(if timed_out {
            Error::TimedOut {
                command,
                limit: self.limit,
                words,
            }
        } else if status.signal().is_some() {
            Error::Killed { command, words }
        } else {
            Error::Failed { command, words }
        })
    }
}

fn is_allowed(name: &str) -> bool {
    ALLOWED.contains(&name) || name.starts_with("KUBERNETES_") || name.starts_with("HELM_")
}

fn major(version: &str) -> Option<u64> {
    let digits = version.trim_start_matches('v');
    digits.split('.').next()?.parse().ok()
}

/// The command among Helm's arguments, such as `upgrade`.
pub(super) fn name(args: &[OsString]) -> String {
    args.first()
        .map(|arg| arg.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Helm and what it has started; killed when dropped, unless Helm has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(leader: &Child) -> Self {
        let id = leader.id().and_then(|id| i32::try_from(id).ok());
        Self(id.map(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // It may have ended in this very moment.
            let _ = killpg(group, signal);
        }
    }

    /// Its number may be another's now.
    fn has_ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

async fn read_stdout(stdout: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut stdout) = stdout {
        (&mut stdout)
            .take(STDOUT_BYTES)
            .read_to_end(&mut kept)
            .await?;
        tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

async fn read_last_lines(stderr: Option<impl AsyncRead + Unpin>) -> VecDeque<String> {
    let mut lines = VecDeque::with_capacity(LAST_LINES);
    let Some(stderr) = stderr else {
        return lines;
    };
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    // A line longer than the bound comes in pieces.
    while let Ok(1..) = (&mut reader)
        .take(LINE_BYTES as u64)
        .read_until(b'\n', &mut line)
        .await
    {
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
    lines
}

/// What Helm said in the end: from its `Error:` on, without its shouting, or all that was kept.
fn last_words(lines: &VecDeque<String>, status: std::process::ExitStatus) -> String {
    let start = lines
        .iter()
        .rposition(|line| line.starts_with("Error:"))
        .unwrap_or_default();
    let words: Vec<&str> = lines
        .iter()
        .skip(start)
        .map(|line| line.strip_prefix("Error:").unwrap_or(line).trim())
        .filter(|line| !line.is_empty() && *line != "Use --debug flag to render out invalid YAML")
        .collect();
    if words.is_empty() {
        return format!("it said nothing ({status})");
    }
    let words = words.join("\n");
    ["UPGRADE FAILED: ", "INSTALLATION FAILED: "]
        .iter()
        .find_map(|shout| words.strip_prefix(shout))
        .unwrap_or(&words)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    fn shell(limit: Duration) -> Helm {
        helm("/bin/sh", limit, Leadership::for_tests())
    }

    fn helm(program: &str, limit: Duration, leadership: Leadership) -> Helm {
        let (chart, namespace) = ("/chart".into(), "ns".to_owned());
        Helm::new(
            program.into(),
            chart,
            namespace,
            limit,
            1,
            Arc::default(),
            Arc::new(leadership),
        )
    }

    fn script(text: &str) -> [OsString; 2] {
        ["-c".into(), text.into()]
    }

    #[tokio::test]
    async fn values_go_in_and_answers_come_out() {
        let answer = shell(Duration::from_secs(10))
            .run(&script("cat"), b"{}".to_vec())
            .await
            .expect("an answer");
        assert_eq!(answer, b"{}");
    }

    #[tokio::test]
    async fn an_error_tells_its_last_words() {
        let error = shell(Duration::from_secs(10))
            .run(
                &script("echo warning >&2; echo 'Error: INSTALLATION FAILED: no' >&2; exit 1"),
                Vec::new(),
            )
            .await
            .expect_err("an error");
        assert_eq!(error.to_string(), "helm -c failed: no");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended_with_its_children() {
        let error = shell(Duration::from_millis(200))
            .run(&script("echo waiting >&2; sleep 600"), Vec::new())
            .await
            .expect_err("an error");
        assert_eq!(error.to_string(), "helm -c was ended after 200ms: waiting");
    }

    #[tokio::test]
    async fn what_ended_helm_is_told_apart() {
        let cases = [
            ("exit 1", "failed"),
            ("kill -KILL $$", "was killed"),
            ("sleep 600", "was ended after 500ms"),
        ];
        for (text, expected) in cases {
            let ran = shell(Duration::from_millis(500))
                .run(&script(text), Vec::new())
                .await;
            let error = ran.expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn who_does_not_lead_runs_nothing() {
        let error = helm("/bin/sh", Duration::from_secs(10), Leadership::default())
            .run(&script("exit 0"), Vec::new())
            .await
            .expect_err("an error");
        assert_eq!(
            error.to_string(),
            "helm -c was not run: this operator does not lead"
        );
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_killed_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("child");
        let text = format!(
            "sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait",
            file.display()
        );
        let helm = shell(Duration::from_mins(1));
        let script = script(&text);
        let mut run = Box::pin(helm.run(&script, Vec::new()));
        let child = loop {
            tokio::select! {
                _ = &mut run => panic!("it has ended"),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            if let Ok(child) = std::fs::read_to_string(&file) {
                break child.trim().to_owned();
            }
        };
        drop(run);
        // Dead, even if nobody has buried it yet.
        let is_dead = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
        };
        let dead = async {
            while !is_dead() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(Duration::from_secs(10), dead).await.is_ok());
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let limit = Duration::from_secs(1);
        let helm = helm("/nowhere/helm", limit, Leadership::for_tests());
        let error = helm.check().await.expect_err("an error");
        assert_eq!(error.to_string(), "could not start `/nowhere/helm`");
    }

    #[tokio::test]
    async fn only_allowed_variables_reach_helm() {
        let answer = shell(Duration::from_secs(10))
            .run(&script("env"), Vec::new())
            .await
            .expect("an answer");
        let answer = String::from_utf8(answer).expect("text");
        let strangers: Vec<&str> = answer
            .lines()
            .filter_map(|line| line.split('=').next())
            .filter(|name| !is_allowed(name) && !["PWD", "SHLVL", "_", "OLDPWD"].contains(name))
            .collect();
        assert_eq!(strangers, [""; 0]);
    }

    #[test]
    fn silence_is_told_too() {
        let words = last_words(&VecDeque::new(), ExitStatus::from_raw(9));
        assert_eq!(words, "it said nothing (signal: 9 (SIGKILL))");
    }
}
