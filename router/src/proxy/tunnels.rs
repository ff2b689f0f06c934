//! Open tunnels: upgraded connections, watched over for as long as they live.
//!
//! A tunnel was let through once, so it is asked about again: at once when the table changes, and every two
//! seconds whether its session or token still proves the same viewer.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::frames::Meter;
use crate::activity::Activity as Uses;
use crate::bearer::Bearers;
use crate::body::BoxError;
use crate::client_address::network;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::permit::Permit;
use crate::session::Sessions;
use crate::shares::{Share, Shares};
use crate::table::Table;
use crate::viewer::{Credential, Viewer};

/// How long both sides may take to switch after the app agreed.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(10);

/// How often sessions and tokens of open tunnels are asked about, and how old an answer may be. Together they stay well
/// under the 5 s within which a sign-out must count everywhere.
const RECHECK: Duration = Duration::from_secs(2);
const RECHECK_MAX_AGE: Duration = Duration::from_secs(1);

/// How long one direction may be silent once the other has ended.
const LINGER: Duration = Duration::from_secs(10);

/// What a WebSocket's browser is told when this replica leaves: service restart (1012), so that it comes again. And how long
/// it may take to be told.
const RESTART: [u8; 4] = [0x88, 0x02, 0x03, 0xf4];
const GOODBYE: Duration = Duration::from_secs(1);

/// A tunnel starts with this much room each way, since most sockets are quiet, and grows with its traffic.
const SMALL_BUFFER: usize = 4 * 1024;
const LARGE_BUFFER: usize = 64 * 1024;

/// All open tunnels.
#[derive(Debug)]
pub(crate) struct Tunnels {
    open: Mutex<HashMap<u64, Open>>,
    next: AtomicU64,
    tasks: TaskTracker,
    slots: Arc<Semaphore>,
    each: Shares<IpAddr>,
    idle_timeout: Duration,
}

/// Room for one tunnel of a client, until it is dropped.
pub(crate) type Slot = (OwnedSemaphorePermit, Share<IpAddr>);

/// The credentials that were asked about, and who is behind those that hold.
type Rechecked = (HashSet<Credential>, HashMap<Credential, Viewer>);

#[derive(Debug)]
struct Open {
    permit: Permit,
    close: CancellationToken,
}

impl Tunnels {
    /// No tunnels. Those to come are closed after `idle_timeout` without a byte either way, and there are never more
    /// than `limit`, and than `each` of one address.
    #[must_use]
    pub(crate) fn new(idle_timeout: Duration, limit: usize, each: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(limit)),
            each: Shares::new(each),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            idle_timeout,
        }
    }

    /// How many are open.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// Room for one more tunnel of the client at `address`.
    pub(crate) fn slot(&self, address: IpAddr) -> Result<Slot, Error> {
        let share = self.each.take(network(address));
        let share = share.ok_or(Error::TooManySockets)?;
        let slot = self.slots.clone().try_acquire_owned();
        slot.map(|slot| (slot, share)).map_err(|_| Error::Busy)
    }

    /// Carries bytes between two sides, as soon as both have switched, for as long as `permit` holds.
    pub(crate) fn open<B, A>(
        self: &Arc<Self>,
        table: &Table,
        permit: Permit,
        slots: (OwnedSemaphorePermit, Slot),
        (meter, exchange): (Meter, Exchange),
        sides: impl Future<Output = Result<(B, A), hyper::Error>> + Send + 'static,
    ) where
        B: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        A: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let id = permit.route().id.clone();
        let uses = permit.route().activity.clone();
        let Watched { close, entry } = self.watch_one(table, permit);
        let idle_timeout = self.idle_timeout;
        let tunnels = self.clone();
        self.tasks.spawn(async move {
            let mut exchange = exchange;
            let (mut up, mut down) = (Way::new(meter.clone()), Way::new(meter));
            let run = async {
                let switched = tokio::select! {
                    () = close.cancelled() => return Ok(true),
                    switched = timeout(SWITCH_TIMEOUT, sides) => switched,
                };
                let (mut browser, app) = switched??;
                let ways = [&mut up, &mut down];
                let carried = carry(&mut browser, app, idle_timeout, ways, &uses);
                tokio::select! {
                    () = close.cancelled() => {}
                    ended = carried => return ended.map(|()| false).map_err(BoxError::from),
                }
                if tunnels.tasks.is_closed() && down.meter.rests() {
                    let goodbye = async {
                        browser.write_all(&RESTART).await?;
                        browser.shutdown().await
                    };
                    timeout(GOODBYE, goodbye).await??;
                }
                Ok::<bool, BoxError>(true)
            };
            let ended = run.await;
            exchange.carried(up.bytes, down.bytes, ended.is_ok());
            match ended {
                Ok(true) => debug!(instance.id = %id, "Closed a tunnel to instance {id}"),
                Ok(false) => {}
                Err(error) => {
                    debug!(error = &*error as &dyn std::error::Error, instance.id = %id, "A tunnel to instance {id} broke");
                }
            }
            drop((entry, slots));
        });
    }

    /// Watches over something that is open, too: it is to end when `close` is cancelled, since `permit` does not hold any more.
    pub(crate) fn watch_one(self: &Arc<Self>, table: &Table, permit: Permit) -> Watched {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let close = CancellationToken::new();
        self.open.lock().insert(
            number,
            Open {
                permit,
                close: close.clone(),
            },
        );
        // The table may have changed, or the drain begun, since the permit was made and before the tunnel was known.
        let draining = self.tasks.is_closed();
        self.close_where(
            |open| draining || !open.permit.still_holds(table),
            Some(number),
        );
        let entry = Entry {
            tunnels: self.clone(),
            number,
        };
        Watched { close, entry }
    }

    /// Watches over all tunnels until the process ends.
    pub(crate) async fn watch_over(&self, table: &Table, sessions: &Sessions, bearers: &Bearers) {
        let viewers = |credentials: HashSet<Credential>| async move {
            let keys = credentials.iter().filter_map(Credential::session).collect();
            let of_sessions = sessions.viewers(keys, RECHECK_MAX_AGE);
            let of_tokens = bearers.viewers(&credentials, RECHECK_MAX_AGE);
            let (of_sessions, mut viewers) = tokio::join!(of_sessions, of_tokens);
            let of_sessions = of_sessions.into_iter();
            viewers.extend(of_sessions.map(|(key, viewer)| (Credential::Session(key), viewer)));
            (credentials, viewers)
        };
        self.watch(table, viewers).await;
    }

    /// Side by side: a database that takes its time must not keep open what the table has closed.
    async fn watch<F>(&self, table: &Table, viewers: impl Fn(HashSet<Credential>) -> F)
    where
        F: Future<Output = Rechecked>,
    {
        tokio::select! {
            () = self.follow_table(table) => {}
            () = self.follow_credentials(viewers) => {}
        }
    }

    async fn follow_table(&self, table: &Table) {
        let mut changes = table.changes();
        // It ends with the table, and so with the process.
        while changes.changed().await.is_ok() {
            self.close_where(|open| !open.permit.still_holds(table), None);
        }
    }

    async fn follow_credentials<F>(&self, viewers: impl Fn(HashSet<Credential>) -> F)
    where
        F: Future<Output = Rechecked>,
    {
        let mut tick = interval(RECHECK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let open = self.credentials();
            if !open.is_empty() {
                self.close_unproved(&viewers(open).await);
            }
        }
    }

    /// Closes all tunnels and waits until they are gone. The caller bounds that wait.
    pub(crate) async fn drain(&self) {
        self.tasks.close();
        self.close_where(|_| true, None);
        self.tasks.wait().await;
    }

    fn credentials(&self) -> HashSet<Credential> {
        let open = self.open.lock();
        let signed_in = open.values().filter_map(|open| open.permit.signed_in());
        signed_in
            .map(|signed_in| signed_in.credential.clone())
            .collect()
    }

    /// Closes those whose credential proves nothing any more, or somebody with another role. What has opened meanwhile was
    /// not asked about.
    fn close_unproved(&self, (asked, viewers): &Rechecked) {
        let refused = |open: &Open| {
            open.permit.signed_in().is_some_and(|signed_in| {
                let credential = &signed_in.credential;
                let found = viewers.get(credential);
                asked.contains(credential)
                    && !found.is_some_and(|found| signed_in.viewer.is_still(found))
            })
        };
        self.close_where(refused, None);
    }

    fn close_where(&self, refused: impl Fn(&Open) -> bool, only: Option<u64>) {
        let open = self.open.lock();
        let chosen = only.map(|number| open.get(&number)).map_or_else(
            || open.values().collect::<Vec<_>>(),
            |one| one.into_iter().collect(),
        );
        for tunnel in chosen {
            if refused(tunnel) {
                tunnel.close.cancel();
            }
        }
    }
}

/// Something open that is watched over for as long as this lives.
pub(crate) struct Watched {
    /// Cancelled when it is to end.
    pub(crate) close: CancellationToken,
    entry: Entry,
}

/// A tunnel's place among the open ones, given up when dropped.
struct Entry {
    tunnels: Arc<Tunnels>,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tunnels.open.lock().remove(&self.number);
    }
}

/// One direction of a tunnel.
struct Way {
    /// What of it counts as use.
    meter: Meter,
    /// How much has passed.
    bytes: u64,
}

impl Way {
    fn new(meter: Meter) -> Self {
        Self { meter, bytes: 0 }
    }
}

/// Copies both ways until both sides are done, one breaks, or nothing moves for `idle_timeout`.
async fn carry<B, A>(
    browser: B,
    app: A,
    idle_timeout: Duration,
    [upward, downward]: [&mut Way; 2],
    uses: &Uses,
) -> io::Result<()>
where
    B: AsyncRead + AsyncWrite,
    A: AsyncRead + AsyncWrite,
{
    let activity = Activity {
        start: Instant::now(),
        last_millis: AtomicU64::new(0),
        idle_timeout,
    };
    let (from_browser, to_browser) = tokio::io::split(browser);
    let (from_app, to_app) = tokio::io::split(app);
    let mut up = pin!(copy(from_browser, to_app, &activity, upward, uses));
    let mut down = pin!(copy(from_app, to_browser, &activity, downward, uses));
    tokio::select! {
        ended = up.as_mut() => {
            ended?;
            activity.linger(down).await
        }
        ended = down.as_mut() => {
            ended?;
            activity.linger(up).await
        }
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    activity: &Activity,
    way: &mut Way,
    uses: &Uses,
) -> io::Result<()> {
    let mut buffer = vec![0; SMALL_BUFFER];
    loop {
        let read = activity.bounded(from.read(&mut buffer)).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        // A write that is given up in the middle leaves nothing after which a frame of ours could come.
        let before = std::mem::replace(&mut way.meter, Meter::Bytes);
        activity.bounded(to.write_all(&buffer[..read])).await?;
        activity.bounded(to.flush()).await?;
        activity.touch();
        way.meter = before;
        way.bytes += u64::try_from(read).unwrap_or(u64::MAX);
        if way.meter.passes(&buffer[..read]) {
            uses.note();
        }
        if read == buffer.len() && read < LARGE_BUFFER {
            buffer.resize(read * 2, 0);
        }
    }
}

/// When bytes last moved in either direction.
struct Activity {
    start: Instant,
    last_millis: AtomicU64,
    idle_timeout: Duration,
}

impl Activity {
    fn touch(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_millis.store(millis, Ordering::Relaxed);
    }

    fn deadline(&self) -> Instant {
        self.start
            + Duration::from_millis(self.last_millis.load(Ordering::Relaxed))
            + self.idle_timeout
    }

    /// Waits for the other direction after one has ended: few protocols use the half that is left, and most clients
    /// that leave it open are gone.
    async fn linger(&self, rest: Pin<&mut impl Future<Output = io::Result<()>>>) -> io::Result<()> {
        let patience = LINGER.min(self.idle_timeout);
        let mut rest = rest;
        loop {
            let before = self.last_millis.load(Ordering::Relaxed);
            match timeout(patience, rest.as_mut()).await {
                Ok(ended) => return ended,
                Err(_) if self.last_millis.load(Ordering::Relaxed) > before => {}
                Err(_) => return Ok(()),
            }
        }
    }

    /// Waits for `step` for as long as anything moves in either direction.
    async fn bounded<T>(&self, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::pin!(step);
        loop {
            let deadline = self.deadline();
            match timeout_at(deadline, &mut step).await {
                Ok(done) => return done,
                Err(_) if self.deadline() > deadline => {}
                Err(_) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "nothing moved for too long",
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use catalog::{Role, SessionId};
    use crds::Visibility;
    use tokio::io::duplex;
    use tokio::sync::Notify;

    use super::*;
    use crate::table::{Route, Snapshot};
    use crate::viewer::SignedIn;

    const IDLE: Duration = Duration::from_mins(10);

    #[tokio::test]
    async fn a_tunnel_lives_as_long_as_something_moves() {
        let uses = Uses::default();
        let idle = Duration::from_millis(200);
        let (mut browser, near) = duplex(64);
        let (far, mut app) = duplex(64);
        let start = Instant::now();
        let [mut up, mut down] = [Way::new(Meter::Bytes), Way::new(Meter::Bytes)];
        let carried = carry(near, far, idle, [&mut up, &mut down], &uses);
        let talk = async {
            let mut tick = interval(idle / 4);
            while start.elapsed() < 3 * idle {
                tick.tick().await;
                browser.write_all(b"ping").await.expect("a write");
                let mut seen = [0; 4];
                app.read_exact(&mut seen).await.expect("a read");
                assert_eq!(&seen, b"ping");
            }
        };
        let (ended, ()) = tokio::join!(carried, talk);
        assert_eq!(
            ended.expect_err("it was idle").kind(),
            io::ErrorKind::TimedOut
        );
        assert!(start.elapsed() >= 4 * idle, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a_side_that_is_left_open_does_not_keep_the_tunnel() {
        let uses = Uses::default();
        let (_browser, near) = duplex(64);
        let (far, app) = duplex(64);
        drop(app);
        let [mut up, mut down] = [Way::new(Meter::Bytes), Way::new(Meter::Bytes)];
        let carried = carry(
            near,
            far,
            Duration::from_millis(50),
            [&mut up, &mut down],
            &uses,
        );
        drop(timeout(LINGER, carried).await.expect("an end in time"));
    }

    /// A table with one private instance, and a permit for it.
    fn permitted() -> (Table, Permit) {
        let table = Table::default();
        let route = Route::example("sales", "alice", Visibility::Private);
        let id = route.id.clone();
        table.publish(Snapshot {
            routes: [(id.clone(), Arc::new(route))].into(),
            ..Snapshot::default()
        });
        let alice = SignedIn {
            viewer: Viewer::example("alice", Role::Full),
            credential: Credential::Session(SessionId::random().expect("random bytes").key()),
        };
        let permit = table.authorize(&id, Some(alice)).expect("a permit");
        (table, permit)
    }

    fn slots(tunnels: &Tunnels) -> (OwnedSemaphorePermit, Slot) {
        let of_pod = Arc::new(Semaphore::new(1)).try_acquire_owned();
        let slot = tunnels.slot([127, 0, 0, 1].into());
        (of_pod.expect("a slot"), slot.expect("a slot"))
    }

    #[tokio::test]
    async fn a_tunnel_that_opens_during_the_drain_does_not_hold_it_up() {
        let (table, permit) = permitted();
        let tunnels = Arc::new(Tunnels::new(IDLE, 2, 2));
        tunnels.drain().await;
        let slots = slots(&tunnels);
        let (_browser, near) = duplex(64);
        let (far, _app) = duplex(64);
        tunnels.open(
            &table,
            permit,
            slots,
            (Meter::Bytes, Exchange::for_tests()),
            async { Ok((near, far)) },
        );
        let ended = timeout(LINGER, tunnels.tasks.wait()).await;
        ended.expect("it ends in time");
    }

    #[tokio::test]
    async fn what_the_table_closes_does_not_wait_for_a_silent_database() {
        let (table, permit) = permitted();
        let tunnels = Arc::new(Tunnels::new(IDLE, 2, 2));
        let slots = slots(&tunnels);
        let (browser, near) = duplex(64);
        let (far, app) = duplex(64);
        tunnels.open(
            &table,
            permit,
            slots,
            (Meter::Bytes, Exchange::for_tests()),
            async { Ok((near, far)) },
        );

        let asked = Notify::new();
        let silent = |_| {
            asked.notify_one();
            std::future::pending()
        };
        let unshare = async {
            asked.notified().await;
            table.publish(Snapshot::default());
            tunnels.tasks.close();
            tunnels.tasks.wait().await;
        };
        let ended = async {
            tokio::select! {
                () = tunnels.watch(&table, silent) => {}
                () = unshare => {}
            }
        };
        timeout(LINGER, ended).await.expect("it closes in time");
        assert_eq!(tunnels.count(), 0);
        drop((browser, app));
    }

    #[tokio::test]
    async fn each_side_can_end_its_own_direction() {
        let uses = Uses::default();
        let (mut browser, near) = duplex(64);
        let (far, mut app) = duplex(64);
        let [mut up, mut down] = [Way::new(Meter::Bytes), Way::new(Meter::Bytes)];
        let carried = carry(near, far, IDLE, [&mut up, &mut down], &uses);
        let talk = async {
            browser.write_all(b"bye").await.expect("a write");
            browser.shutdown().await.expect("a shutdown");
            let mut seen = Vec::new();
            app.read_to_end(&mut seen).await.expect("a read");
            app.write_all(b"so long").await.expect("a write");
            drop(app);
            let mut answer = Vec::new();
            browser.read_to_end(&mut answer).await.expect("a read");
            (seen, answer)
        };
        let (ended, (seen, answer)) = tokio::join!(carried, talk);
        ended.expect("a clean end");
        assert_eq!(
            (seen.as_slice(), answer.as_slice()),
            (&b"bye"[..], &b"so long"[..])
        );
    }
}
