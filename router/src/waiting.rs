//! Instances that are visited and not ready: what a visitor is told, once and as it changes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{HeaderValue, Response, header};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::watch::Receiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::Body;
use crate::InstanceId;
use crate::body::{BoxError, Exclusive};
use crate::error::Error;
use crate::permit::Permit;
use crate::pod_log::PodLogs;
use crate::policy::{Action, Decision, decide};
use crate::proxy::tunnels::{Tunnels, Watched};
use crate::shares::{Share, Shares};
use crate::table::{Route, Table};
use crate::viewer::Viewer;
use crate::web::phases_object;

/// Path on every app host, followed by the name by which the instance was visited, where its phases are told.
pub(crate) const PHASES_PATH: &str = "/.wavestore/phases/";

/// Visitors who are told at once, and of one instance.
const LISTENERS: usize = 2000;
const LISTENERS_OF_ONE: usize = 500;

/// How often something is said when there is nothing to say, so that neither side takes the other for dead. The log of an app
/// that fails is read again then.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long one visitor is told; browsers then ask again by themselves.
const LONGEST: Duration = Duration::from_mins(10);

/// An instance that is not ready, as one visitor may see it.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The instance.
    pub route: Arc<Route>,
    /// The name by which it was visited.
    pub name: InstanceId,
    /// How much the visitor is told.
    pub rights: Rights,
    /// The last lines of its log, when it fails and the visitor may read them.
    pub log: Option<Arc<str>>,
}

/// How much a visitor is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights {
    /// What to do about the instance.
    pub manages: bool,
    /// What the app itself has said.
    pub reads_log: bool,
}

impl Rights {
    pub(crate) fn of(viewer: Option<&Viewer>, route: &Route) -> Self {
        let may = |action| decide(viewer, action) == Decision::Allow;
        Self {
            manages: may(Action::Manage(Some(route.into()))),
            reads_log: may(Action::ReadLog(route.into())),
        }
    }
}

/// Tells visitors how instances are coming along.
#[derive(Debug)]
pub(crate) struct Phases {
    table: Arc<Table>,
    tunnels: Arc<Tunnels>,
    logs: PodLogs,
    all: Arc<Semaphore>,
    each: Shares<InstanceId>,
}

impl Phases {
    /// Visitors' rights are watched over by `tunnels`.
    #[must_use]
    pub(crate) fn new(table: Arc<Table>, tunnels: Arc<Tunnels>, logs: PodLogs) -> Self {
        Self {
            table,
            tunnels,
            logs,
            all: Arc::new(Semaphore::new(LISTENERS)),
            each: Shares::new(LISTENERS_OF_ONE),
        }
    }

    /// What a visitor is told now.
    pub(crate) async fn now(&self, permit: &Permit, name: InstanceId) -> Waiting {
        let rights = Rights::of(permit.viewer(), permit.route());
        self.look(permit.route().clone(), name, rights).await
    }

    async fn look(&self, route: Arc<Route>, name: InstanceId, rights: Rights) -> Waiting {
        let log = if rights.reads_log && route.failing {
            self.logs.last_lines(&route).await
        } else {
            None
        };
        Waiting {
            route,
            name,
            rights,
            log,
        }
    }

    /// What a visitor is told from now on, as server-sent events, until the instance is ready or the visitor has no right to
    /// know any more.
    ///
    /// # Errors
    /// [`Error::Busy`] when as many are told as there may be.
    pub(crate) fn tell(
        self: &Arc<Self>,
        permit: Permit,
        name: InstanceId,
    ) -> Result<Response<Body>, Error> {
        let all = self.all.clone().try_acquire_owned();
        let all = all.map_err(|_| Error::Busy)?;
        let each = self.each.take(permit.route().id.clone());
        let each = each.ok_or(Error::Busy)?;
        let listener = Listener {
            name,
            id: permit.route().id.clone(),
            uid: permit.route().uid.clone(),
            rights: Rights::of(permit.viewer(), permit.route()),
            changes: self.table.changes(),
            until: Instant::now() + LONGEST,
            told: String::new(),
            watched: self.tunnels.watch_one(&self.table, permit),
            phases: self.clone(),
            _slots: (all, each),
        };
        let pieces = listener.pieces().map(|piece| {
            let Ok(piece) = piece;
            Ok::<_, BoxError>(Frame::data(piece))
        });
        let mut response = Response::new(Body::stream(StreamBody::new(Exclusive::new(
            pieces.boxed(),
        ))));
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }
}

/// One visitor who is told.
struct Listener {
    name: InstanceId,
    id: InstanceId,
    uid: String,
    rights: Rights,
    changes: Receiver<u64>,
    until: Instant,
    told: String,
    watched: Watched,
    phases: Arc<Phases>,
    _slots: (OwnedSemaphorePermit, Share<InstanceId>),
}

impl Listener {
    fn pieces(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(Some(self), |listener| async move {
            let mut listener = listener?;
            let (piece, goes_on) = listener.next().await?;
            Some((Ok(piece), goes_on.then_some(listener)))
        })
    }

    /// The next piece, and whether it is not the last.
    async fn next(&mut self) -> Option<(Bytes, bool)> {
        while Instant::now() < self.until && !self.watched.close.is_cancelled() {
            self.changes.borrow_and_update();
            let route = self.phases.table.route(self.id.as_ref());
            let route = route.filter(|route| route.uid == self.uid)?;
            if !route.upstreams.is_empty() {
                return Some((Bytes::from_static(b"event: ready\ndata: {}\n\n"), false));
            }
            // Whoever waits uses it.
            route.activity.note();
            let waiting = self
                .phases
                .look(route, self.name.clone(), self.rights)
                .await;
            let object = phases_object(&waiting);
            if object != self.told {
                let piece = format!("data: {object}\n\n").into();
                self.told = object;
                return Some((piece, true));
            }
            let changed = async {
                tokio::select! {
                    changed = self.changes.changed() => changed.is_ok(),
                    () = self.watched.close.cancelled() => false,
                }
            };
            match timeout(HEARTBEAT, changed).await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(_silence) => return Some((Bytes::from_static(b":\n\n"), true)),
            }
        }
        None
    }
}
