//! `Family`: all processes below the launcher, those that it started and those that were left to it.
//!
//! PID 1 inherits every orphan and must reap it. tokio reaps the children that it started, each by its
//! process id; so only the others may be reaped here, and `waitpid(-1)` is out of the question.
//! Instead the next zombie is looked at without reaping it (`WNOWAIT`), and reaped by its id unless it
//! is one of ours. Starting a child and noting its id happen under the same lock as looking and
//! reaping, so that a child that dies at once is never taken for an orphan.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::process::{Child, Command};
use tokio::signal::unix::{self as signals, SignalKind};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::backoff;

/// How often strays are looked for: killing one may leave its children to us.
const SWEEPS: u32 = 200;

/// Time between two looks.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);

/// All processes below the launcher.
#[derive(Debug, Default)]
pub(crate) struct Family {
    ours: Mutex<HashSet<Pid>>,
    /// One of ours was reaped by tokio: there may be orphans behind it.
    moved: Notify,
}

impl Family {
    /// Makes the launcher inherit orphans even when it is not PID 1.
    pub(crate) fn adopt() -> io::Result<()> {
        prctl::set_child_subreaper(true).map_err(io::Error::from)
    }

    /// Starts a child. [`Family::forget`] it after its end was awaited.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<(Child, Pid)> {
        let mut ours = self.ours.lock();
        let child = command.spawn()?;
        let id = child.id().expect("a child just started has an id");
        let pid = Pid::from_raw(id.cast_signed());
        ours.insert(pid);
        Ok((child, pid))
    }

    /// A child of ours has been reaped.
    pub(crate) fn forget(&self, pid: Pid) {
        self.ours.lock().remove(&pid);
        self.moved.notify_one();
    }

    /// The reaper of this family's orphans.
    pub(crate) fn reaper(self: Arc<Self>) -> io::Result<Reaper> {
        let died = signals::signal(SignalKind::child())?;
        Ok(Reaper { family: self, died })
    }

    /// Reaps orphans until there is none, or until one of ours stands before them.
    fn reap(&self) {
        let ours = self.ours.lock();
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        loop {
            let pid = match waitid(Id::All, peek) {
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) => pid,
                Err(Errno::EINTR) => continue,
                Ok(_) | Err(_) => return,
            };
            if ours.contains(&pid) {
                return;
            }
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(_) => debug!(process.id = pid.as_raw(), "Reaped orphan {pid}"),
                Err(_) => return,
            }
        }
    }

    /// Kills what the app left behind: processes that left its group, and were left to us.
    ///
    /// Shells of `kubectl exec` are no children of ours and stay.
    pub(crate) async fn sweep(&self) {
        for _ in 0..SWEEPS {
            let strays = self.strays();
            if strays.is_empty() {
                return;
            }
            for pid in strays {
                debug!(
                    process.id = pid.as_raw(),
                    "Killing {pid}, which the app left behind"
                );
                let _ = kill(pid, Signal::SIGKILL);
            }
            self.reap();
            backoff::pause(SWEEP_PAUSE).await;
        }
        warn!("Processes that the app left behind do not end");
    }

    fn strays(&self) -> Vec<Pid> {
        let ours = self.ours.lock();
        let me = Pid::this();
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .map(Pid::from_raw)
            .filter(|pid| !ours.contains(pid))
            .filter(|pid| {
                fs::read_to_string(format!("/proc/{pid}/stat"))
                    .ok()
                    .and_then(|stat| parent(&stat))
                    == Some(me)
            })
            .collect()
    }
}

/// Reaps orphans as they die.
#[derive(Debug)]
pub(crate) struct Reaper {
    family: Arc<Family>,
    died: signals::Signal,
}

impl Reaper {
    /// Reaps until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            self.family.reap();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = self.died.recv() => {}
                () = self.family.moved.notified() => {}
            }
        }
    }
}

/// Parent of a process, from its `/proc/<pid>/stat`. Its name may hold blanks and brackets.
fn parent(stat: &str) -> Option<Pid> {
    let (_, rest) = stat.rsplit_once(')')?;
    let parent = rest.split_whitespace().nth(1)?.parse().ok()?;
    Some(Pid::from_raw(parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        let cases = [
            ("12 (python3) S 1 12 12 0 -1", Some(1)),
            ("13 (a) R 5 (b)) Z 12 13 13", Some(12)),
            ("14 (x", None),
            ("15 (x) S", None),
        ];
        for (stat, expected) in cases {
            assert_eq!(parent(stat).map(Pid::as_raw), expected, "{stat}");
        }
    }
}
