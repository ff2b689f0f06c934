//! `Output`: the lines of all processes, passed on to the launcher's own stdout and stderr.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Lines under way. When the reader of our output is slow, the processes wait, as with a plain pipe.
const QUEUE: usize = 512;

/// Longest time that the last lines may take to leave.
const FLUSH: Duration = Duration::from_secs(1);

/// Where a line came from and goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Stdout,
    Stderr,
}

/// Writes lines on a thread of its own, since a write to a full pipe blocks.
#[derive(Debug)]
pub(crate) struct Output {
    lines: mpsc::Sender<(Channel, Vec<u8>)>,
    done: oneshot::Receiver<()>,
}

impl Output {
    pub(crate) fn start() -> Self {
        let (lines, receiver) = mpsc::channel(QUEUE);
        let (finished, done) = oneshot::channel();
        thread::spawn(move || {
            pass_on(receiver);
            let _ = finished.send(());
        });
        Self { lines, done }
    }

    pub(crate) fn lines(&self) -> mpsc::Sender<(Channel, Vec<u8>)> {
        self.lines.clone()
    }

    /// Waits until everything is written.
    pub(crate) async fn finish(self) {
        let Self { lines, done } = self;
        drop(lines);
        let _ = tokio::time::timeout(FLUSH, done).await;
    }
}

fn pass_on(mut lines: mpsc::Receiver<(Channel, Vec<u8>)>) {
    while let Some((channel, mut line)) = lines.blocking_recv() {
        line.push(b'\n');
        // Nobody reads our output: nothing to be done about it.
        let _ = match channel {
            Channel::Stdout => write(&mut io::stdout().lock(), &line),
            Channel::Stderr => write(&mut io::stderr().lock(), &line),
        };
    }
}

fn write(out: &mut impl Write, line: &[u8]) -> io::Result<()> {
    out.write_all(line)?;
    out.flush()
}
