//! `Writers`: files are made by several threads. An environment has thousands of small ones, and what each of them costs is the
//! file system's time.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use bundle::Place;

/// Most writers, whatever the number of cores.
const MOST: usize = 8;

/// Most bytes of a file that are passed on at a time.
pub(super) const PIECE_BYTES: u64 = 64 << 10;

/// Steps that wait for one writer: 2 MiB at most.
const QUEUE: usize = 32;

/// What a writer does.
enum Step {
    /// Makes a file.
    Begin(Place),
    /// Writes the next bytes of it.
    Piece(Vec<u8>),
}

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It could not be made.
    #[error(transparent)]
    Create(#[from] bundle::Error),
    /// It could not be filled.
    #[error("could not unpack `{}`", path.display())]
    Fill {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A writer has failed, and says why when it is asked by [`Writers::finish`].
#[derive(Debug)]
pub(super) struct Gone;

/// A thread that writes files, and the way to it.
type Writer<'scope> = (
    SyncSender<Step>,
    ScopedJoinHandle<'scope, Result<(), Error>>,
);

/// Threads that write files, one file each at a time.
pub(super) struct Writers<'scope> {
    all: Vec<Writer<'scope>>,
    /// Whose the current file is.
    current: usize,
    /// The folder of the current file.
    folder: Option<PathBuf>,
}

impl<'scope> Writers<'scope> {
    /// One for each core that this process may use.
    pub(super) fn start(scope: &'scope Scope<'scope, '_>) -> Self {
        let count = thread::available_parallelism().map_or(1, |count| count.get().min(MOST));
        let start = |_| {
            let (sender, steps) = sync_channel(QUEUE);
            (sender, scope.spawn(move || write(&steps)))
        };
        Self {
            all: (0..count).map(start).collect(),
            current: 0,
            folder: None,
        }
    }

    /// Begins the next file. Files of one folder go to one writer: the file system lets nobody else into that folder meanwhile.
    pub(super) fn begin(&mut self, place: Place) -> Result<(), Gone> {
        let folder = place.path().parent();
        if folder != self.folder.as_deref() {
            self.folder = folder.map(ToOwned::to_owned);
            self.current = (self.current + 1) % self.all.len();
        }
        self.send(Step::Begin(place))
    }

    /// Passes on the next bytes of the file that was begun last.
    pub(super) fn piece(&self, bytes: Vec<u8>) -> Result<(), Gone> {
        self.send(Step::Piece(bytes))
    }

    fn send(&self, step: Step) -> Result<(), Gone> {
        let (sender, _) = &self.all[self.current];
        sender.send(step).map_err(|_| Gone)
    }

    /// Waits until all is written; tells why one of them has failed.
    pub(super) fn finish(self) -> Result<(), Error> {
        let (senders, threads): (Vec<_>, Vec<_>) = self.all.into_iter().unzip();
        drop(senders);
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a writer does not panic"))
    }
}

fn write(steps: &Receiver<Step>) -> Result<(), Error> {
    let mut current: Option<(Place, File)> = None;
    for step in steps {
        match step {
            // Nothing is mounted in an environment; what is, stays.
            Step::Begin(place) => current = place.create()?.map(|file| (place, file)),
            Step::Piece(bytes) => {
                let Some((place, file)) = &mut current else {
                    continue;
                };
                file.write_all(&bytes).map_err(|source| Error::Fill {
                    path: place.path().to_owned(),
                    source,
                })?;
            }
        }
    }
    Ok(())
}
