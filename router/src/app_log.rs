//! The log of an instance's pod, streamed as it is to those who may read it.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{AsyncRead, AsyncReadExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};
use tokio::sync::watch::Receiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use crate::InstanceId;
use crate::error::Error;
use crate::permit::Permit;
use crate::pod_log::CONTAINER;
use crate::policy::{Action, Decision, decide};
use crate::proxy::tunnels::{Tunnels, Watched};
use crate::shares::{Share, Shares};
use crate::table::Table;
use crate::viewer::Viewer;

/// Logs that are read at once, each over a connection to the API server, and of one instance.
const READERS: usize = 100;
const READERS_OF_ONE: usize = 5;

/// How long the API server may take to begin.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one reader is told; who wants more asks again.
const LONGEST: Duration = Duration::from_hours(1);

/// How much is read at once.
const PIECE: usize = 16 * 1024;

/// Which part of a log is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// How many of the last lines.
    pub tail_lines: i64,
    /// Whether what is written from now on is wanted, too.
    pub follow: bool,
    /// Whether it is the log of the container before, which has ended.
    pub previous: bool,
}

/// Reads logs.
pub(crate) struct AppLogs {
    api: Api<Pod>,
    table: Arc<Table>,
    tunnels: Arc<Tunnels>,
    all: Arc<Semaphore>,
    each: Shares<InstanceId>,
}

impl fmt::Debug for AppLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppLogs").finish_non_exhaustive()
    }
}

impl AppLogs {
    /// For the pods of `namespace`; readers' rights are watched over by `tunnels`.
    #[must_use]
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        table: Arc<Table>,
        tunnels: Arc<Tunnels>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            table,
            tunnels,
            all: Arc::new(Semaphore::new(READERS)),
            each: Shares::new(READERS_OF_ONE),
        }
    }

    /// The log of the instance's newest pod, for as long as the reader has the right to read it.
    ///
    /// # Errors
    /// [`Error::NoLog`] when there is none, [`Error::Busy`] when as many are read as may be, [`Error::KubernetesAway`].
    pub(crate) async fn read(
        &self,
        permit: Permit,
        wanted: Wanted,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, Error> {
        let all = self.all.clone().try_acquire_owned();
        let all = all.map_err(|_| Error::Busy)?;
        let id = permit.route().id.clone();
        let each = self.each.take(id.clone()).ok_or(Error::Busy)?;
        let pod = permit.route().pods.last().ok_or(Error::NoLog)?;
        let Wanted {
            tail_lines,
            follow,
            previous,
        } = wanted;
        let params = LogParams {
            container: Some(CONTAINER.to_owned()),
            tail_lines: Some(tail_lines),
            follow,
            previous,
            ..LogParams::default()
        };
        let log = match timeout(PATIENCE, self.api.log_stream(pod, &params)).await {
            Ok(Ok(log)) => log,
            // The pod is gone, or its container has not begun.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 400 | 404) => {
                return Err(Error::NoLog);
            }
            Ok(Err(error)) => return Err(Error::KubernetesAway(Box::new(error))),
            Err(elapsed) => return Err(Error::KubernetesAway(Box::new(elapsed))),
        };
        let reader = Reader {
            log,
            viewer: permit.viewer().cloned(),
            uid: permit.route().uid.clone(),
            id,
            changes: self.table.changes(),
            table: self.table.clone(),
            until: Instant::now() + LONGEST,
            watched: self.tunnels.watch_one(&self.table, permit),
            _slots: (all, each),
        };
        Ok(stream::unfold(reader, |mut reader| async {
            let piece = reader.next().await?;
            Some((piece, reader))
        })
        .boxed())
    }
}

/// One who reads.
struct Reader<L> {
    log: L,
    viewer: Option<Viewer>,
    id: InstanceId,
    uid: String,
    changes: Receiver<u64>,
    table: Arc<Table>,
    until: Instant,
    watched: Watched,
    _slots: (OwnedSemaphorePermit, Share<InstanceId>),
}

impl<L: AsyncRead + Unpin> Reader<L> {
    /// The next piece; none at the end of the log, of the right to read it, or of the time for one reader.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let mut piece = vec![0; PIECE];
        loop {
            self.changes.borrow_and_update();
            if !self.may_read() {
                return None;
            }
            // Reading is given up here only as long as it has brought nothing.
            let read = tokio::select! {
                read = self.log.read(&mut piece) => read,
                changed = self.changes.changed() => {
                    changed.ok()?;
                    continue;
                }
                () = self.watched.close.cancelled() => return None,
                () = sleep_until(self.until) => return None,
            };
            return match read {
                Ok(0) => None,
                Ok(length) => {
                    piece.truncate(length);
                    Some(Ok(piece.into()))
                }
                Err(error) => Some(Err(error)),
            };
        }
    }

    /// Whether the viewer may still read it. Whether they are who they were, `watched` knows.
    fn may_read(&self) -> bool {
        let route = self.table.route(self.id.as_ref());
        let route = route.filter(|route| route.uid == self.uid);
        route.is_some_and(|route| {
            let read = Action::ReadLog((&*route).into());
            decide(self.viewer.as_ref(), read) == Decision::Allow
        })
    }
}
