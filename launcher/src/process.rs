//! `Process`: a child in a process group of its own, its output passed on line by line.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::exit::Exit;
use crate::family::Family;
use crate::memory::{Memory, Shortage};
use crate::output::{Channel, Output};
use crate::tail::Tail;
use crate::variables::Variables;

/// Longest line; a longer one is passed on in pieces.
const LINE_BYTES: usize = 16 << 10;

/// How long to wait for the last lines of a process that ended. Somebody else may hold its pipes.
const LAST_LINES: Duration = Duration::from_millis(500);

/// What to start. The environment is complete: nothing is inherited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) folder: PathBuf,
    pub(crate) variables: Variables,
}

/// Called for every line of a process.
pub(crate) type OnLine = Arc<dyn Fn(&str) + Send + Sync>;

/// The world that processes live in.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) family: Arc<Family>,
    pub(crate) output: Output,
    /// Where the kernel tells of the container's memory.
    pub(crate) cgroups: PathBuf,
}

/// A running child. Dropping it kills its whole group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Pid,
    family: Arc<Family>,
    memory: Memory,
    readers: [JoinHandle<Tail>; 2],
    abandon: CancellationToken,
    ended: bool,
}

/// How a process ended, and its last lines.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    /// Of stderr, or of stdout when stderr is empty.
    pub(crate) tail: Vec<String>,
    /// Whether the kernel has killed for want of memory since it was started.
    pub(crate) shortage: Shortage,
}

impl Process {
    /// Starts `plan`.
    pub(crate) fn start(plan: &Plan, host: &Host, on_line: &OnLine) -> Result<Self, Error> {
        let Plan {
            program,
            args,
            folder,
            variables,
        } = plan;
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(folder)
            .env_clear()
            .envs(variables)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let memory = Memory::watch(&host.cgroups);
        let (mut child, group) =
            host.family
                .spawn(&mut command)
                .map_err(|source| Error::Spawn {
                    program: program.clone(),
                    source,
                })?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let abandon = CancellationToken::new();
        let reader = |channel| Reader {
            channel,
            lines: host.output.lines(),
            on_line: Arc::clone(on_line),
            abandon: abandon.clone(),
        };
        let readers = [
            tokio::spawn(reader(Channel::Stdout).run(stdout)),
            tokio::spawn(reader(Channel::Stderr).run(stderr)),
        ];
        Ok(Self {
            child,
            group,
            family: Arc::clone(&host.family),
            memory,
            readers,
            abandon,
            ended: false,
        })
    }

    /// Waits for its end. May be dropped and called again.
    pub(crate) async fn exited(&mut self) -> Exit {
        let exit = match self.child.wait().await {
            Ok(status) => Exit::from(status),
            // It was ours to reap and cannot be gone; should it be, then nobody knows its code.
            Err(_) => Exit::Code(-1),
        };
        if !self.ended {
            self.ended = true;
            // Whatever it started must not outlive it.
            self.signal(Signal::SIGKILL);
            self.family.forget(self.group);
        }
        exit
    }

    /// Asks it to stop, and kills it at `until`.
    pub(crate) async fn stop(&mut self, until: Instant) -> Exit {
        if !self.ended {
            self.signal(Signal::SIGTERM);
        }
        if let Ok(exit) = tokio::time::timeout_at(until, self.exited()).await {
            return exit;
        }
        self.signal(Signal::SIGKILL);
        self.exited().await
    }

    /// Waits for its end and its last lines.
    pub(crate) async fn finish(mut self) -> Ended {
        let exit = self.exited().await;
        let shortage = self.memory.shortage();
        let until = Instant::now() + LAST_LINES;
        let mut tails = Vec::new();
        for reader in &mut self.readers {
            let in_time = tokio::time::timeout_at(until, &mut *reader).await;
            let tail = if let Ok(tail) = in_time {
                tail
            } else {
                self.abandon.cancel();
                reader.await
            };
            tails.push(tail.unwrap_or_default().into_lines());
        }
        let stderr = tails.pop().unwrap_or_default();
        let stdout = tails.pop().unwrap_or_default();
        let tail = if stderr.is_empty() { stdout } else { stderr };
        Ended {
            exit,
            tail,
            shortage,
        }
    }

    fn signal(&self, signal: Signal) {
        // It may be gone already.
        let _ = killpg(self.group, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::SIGKILL);
            // tokio drops its claim too and reaps the child in the background; so may we.
            self.family.forget(self.group);
        }
        self.abandon.cancel();
    }
}

/// Reads one pipe.
struct Reader {
    channel: Channel,
    lines: mpsc::Sender<(Channel, Vec<u8>)>,
    on_line: OnLine,
    abandon: CancellationToken,
}

impl Reader {
    async fn run(self, pipe: impl AsyncRead + Unpin) -> Tail {
        let mut tail = Tail::default();
        let mut pipe = BufReader::new(pipe);
        let mut piece = Vec::new();
        loop {
            let read = tokio::select! {
                biased;
                read = next_piece(&mut pipe, &mut piece) => read,
                () = self.abandon.cancelled() => break,
            };
            if !matches!(read, Ok(true)) {
                break;
            }
            let line = String::from_utf8_lossy(&piece);
            tail.push(&line);
            (self.on_line)(&line);
            let sent = self.lines.send((self.channel, std::mem::take(&mut piece)));
            let abandoned = tokio::select! {
                biased;
                _ = sent => false,
                () = self.abandon.cancelled() => true,
            };
            if abandoned {
                break;
            }
        }
        tail
    }
}

/// Reads up to the end of a line or [`LINE_BYTES`], without the end itself; false at the end of file.
/// Keeps what it has when dropped, so it may be called again with the same `piece`.
async fn next_piece(
    pipe: &mut (impl AsyncBufRead + Unpin),
    piece: &mut Vec<u8>,
) -> io::Result<bool> {
    loop {
        let bytes = pipe.fill_buf().await?;
        if bytes.is_empty() {
            return Ok(!piece.is_empty());
        }
        let room = LINE_BYTES - piece.len();
        let bytes = &bytes[..bytes.len().min(room)];
        if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            piece.extend_from_slice(&bytes[..end]);
            pipe.consume(end + 1);
            if piece.last() == Some(&b'\r') {
                piece.pop();
            }
            return Ok(true);
        }
        piece.extend_from_slice(bytes);
        let used = bytes.len();
        pipe.consume(used);
        if piece.len() == LINE_BYTES {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_lines_come_in_pieces_and_the_last_needs_no_end() {
        let long = "x".repeat(LINE_BYTES + 5);
        let text = format!("one\r\n\n{long}\nlast");
        let mut pipe = BufReader::with_capacity(7, text.as_bytes());
        let mut seen = Vec::new();
        let mut piece = Vec::new();
        while next_piece(&mut pipe, &mut piece).await.unwrap() {
            seen.push(String::from_utf8(std::mem::take(&mut piece)).unwrap());
        }
        let expected = ["one", "", &long[..LINE_BYTES], "xxxxx", "last"];
        assert_eq!(seen, expected);
    }
}
