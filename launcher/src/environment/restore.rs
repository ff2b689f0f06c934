//! The environment that was built at import comes from the store, and is unpacked while it comes.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use tokio::sync::mpsc;

use super::archive;
use crate::backoff;
use crate::fetch;
use crate::settings::{Prepared, Site};
use crate::store_url::StoreUrl;

/// Most bytes of a packed environment; the router stores none that is larger.
const PACKED_BYTES: u64 = 4 << 30;

/// Pieces under way; the store's are at most 256 KiB.
const QUEUE: usize = 16;

/// Why the environment cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It did not come, or is another one.
    #[error("could not fetch it")]
    Fetch(#[from] fetch::Failure),
    /// It is not what is taken.
    #[error("could not unpack it")]
    Unpack(#[from] archive::Error),
}

/// How long the store may be away until packages are installed here, which may take longer than that.
const PATIENCE: Duration = Duration::from_mins(1);

impl Failure {
    /// When to try again after try number `tries`, if that may help. What the store has not, it will not have in a minute.
    pub(super) fn retry(&self, tries: u32, elapsed: Duration) -> Option<Duration> {
        match self {
            Self::Unpack(_) | Self::Fetch(fetch::Failure::Refused(StatusCode::NOT_FOUND)) => None,
            Self::Fetch(failure) => {
                fetch::retry(failure, tries, elapsed, PATIENCE, backoff::dice())
            }
        }
    }
}

/// Fills the empty environment. Its digest is known at the end, so nothing of it may be used before this has succeeded.
/// Returns its size.
pub(super) async fn restore(
    site: &Site,
    prepared: &Prepared,
    made_for: &str,
) -> Result<u64, Failure> {
    let path = StoreUrl::environment_path(&prepared.key);
    let mut answer = site.store().get(&path, PACKED_BYTES).await?;
    let (pieces, receiver) = mpsc::channel(QUEUE);
    let unpacking = tokio::task::spawn_blocking({
        let (venv, made_for) = (site.folders.venv.clone(), made_for.to_owned());
        let pieces = Pieces {
            receiver,
            current: Bytes::new(),
        };
        move || archive::unpack(pieces, &venv, &made_for, archive::Limits::default())
    });
    let passed_on = pass_on(&mut answer, pieces).await;
    // Before anything else is made in this folder.
    let unpacked = unpacking.await.expect("unpacking does not panic");
    passed_on?;
    unpacked?;
    Ok(answer.verify(&prepared.digest)?)
}

/// Passes on what comes, to the end; what comes after the archive's own end counts for its digest alone.
async fn pass_on(
    answer: &mut fetch::Answer,
    pieces: mpsc::Sender<Bytes>,
) -> Result<(), fetch::Failure> {
    while let Some(piece) = answer.next().await? {
        let _ = pieces.send(piece).await;
    }
    Ok(())
}

/// What was received, to be read on a thread that may block.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
