//! Connections to one pod. Each is driven by the task that uses it, and by nobody else: a request costs no message to another
//! task and back.
//!
//! hyper's client makes a pair of every connection: one half takes requests, the other one has to be polled for anything to
//! move. Here they stay together, first in [`Connection::send`], then in the [`Answer`]'s body, at last in the pool, where
//! nobody polls them: whether the pod has closed one meanwhile shows when it is taken out.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, timeout};

use super::upstream::RequestBody;
use crate::metrics::{Metrics, OpenConnection, Phase};

/// Connections that are kept for the next request to a pod.
const MAX_IDLE: usize = 64;

/// How long a connection is kept. Python's servers close theirs after 5 s, and a request that meets the closing
/// is lost.
const MAX_IDLE_TIME: Duration = Duration::from_secs(4);

/// The half of a connection that has to be polled.
type Driver = http1::Connection<TokioIo<TcpStream>, RequestBody>;

/// A pod's address, and connections to it that nobody uses at the moment.
pub(super) struct Pool {
    address: SocketAddr,
    connect_timeout: Duration,
    metrics: Arc<Metrics>,
    idle: Mutex<Idle>,
    /// Our own address, for those who bring a connection back.
    own: Weak<Self>,
}

#[derive(Default)]
struct Idle {
    /// The last one was used last.
    connections: Vec<(Box<Connection>, Instant)>,
    /// Whether somebody will come and close those that are old.
    swept: bool,
}

/// A connection, both halves of it.
pub(super) struct Connection {
    sender: http1::SendRequest<RequestBody>,
    /// None when the connection has ended: whoever waits for something of it is told by that.
    driver: Option<Driver>,
    _counted: OpenConnection,
}

/// Why a request got no answer.
pub(super) enum Failed {
    /// Nothing of it has left: another connection may do.
    Unsent(Box<Request<RequestBody>>, hyper::Error),
    /// It may have reached the pod.
    Sent(hyper::Error),
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.address).finish()
    }
}

impl Pool {
    pub(super) fn new(
        address: SocketAddr,
        connect_timeout: Duration,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            address,
            connect_timeout,
            metrics,
            idle: Mutex::default(),
            own: own.clone(),
        })
    }

    /// A connection that was used before, and that the pod has not closed as far as can be seen.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        loop {
            let (mut connection, since) = self.idle.lock().connections.pop()?;
            if since.elapsed() < MAX_IDLE_TIME && connection.rests() {
                return Some(connection);
            }
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when the pod does not take it in time, or the system's.
    pub(super) async fn connect(&self) -> io::Result<Box<Connection>> {
        let connecting = async {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            let made = http1::handshake(TokioIo::new(stream)).await;
            made.map_err(io::Error::other)
        };
        let started = Instant::now();
        let (sender, driver) = timeout(self.connect_timeout, connecting)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.metrics.took(Phase::Connect, started.elapsed());
        Ok(Box::new(Connection {
            sender,
            driver: Some(driver),
            _counted: self.metrics.connected_to_pod(),
        }))
    }

    fn give_back(&self, mut connection: Box<Connection>) {
        if !connection.rests() {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.connections.len() == MAX_IDLE {
            return;
        }
        idle.connections.push((connection, Instant::now()));
        if !std::mem::replace(&mut idle.swept, true) {
            tokio::spawn(sweep(self.own.clone()));
        }
    }
}

/// Closes connections that nobody has used for long, until there are none.
async fn sweep(pool: Weak<Pool>) {
    loop {
        sleep(MAX_IDLE_TIME).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle.lock();
        idle.connections
            .retain(|(_, since)| since.elapsed() < MAX_IDLE_TIME);
        if idle.connections.is_empty() {
            idle.swept = false;
            return;
        }
    }
}

impl Connection {
    /// Sends a request and waits for the head of its answer. Whoever gives up waiting closes the connection.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Failed> {
        let Self { sender, driver, .. } = self;
        let mut answer = pin!(unconstrained(sender.try_send_request(request)));
        let answer = poll_fn(|cx| {
            drive(driver, cx);
            // It comes through the driver, which is what has to be woken.
            answer.as_mut().poll(&mut deaf())
        });
        answer.await.map_err(Failed::of)
    }

    /// Sends a request to switch protocols. A task of its own drives the connection, until it is handed over.
    pub(super) async fn send_upgrade(
        mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Failed> {
        if let Some(driver) = self.driver.take() {
            // Its errors reach whoever waits for the answer.
            tokio::spawn(driver.with_upgrades());
        }
        let answer = self.sender.try_send_request(request).await;
        answer.map_err(Failed::of)
    }

    /// Whether nothing is under way and the pod has not closed it, as far as is known without waiting.
    fn rests(&mut self) -> bool {
        drive(&mut self.driver, &mut deaf()) && self.sender.is_ready()
    }
}

impl Failed {
    fn of(mut error: TrySendError<Request<RequestBody>>) -> Self {
        match error.take_message() {
            Some(request) => Self::Unsent(Box::new(request), error.into_error()),
            None => Self::Sent(error.into_error()),
        }
    }
}

/// Lets a connection move; answers whether it goes on.
fn drive(driver: &mut Option<Driver>, cx: &mut Context<'_>) -> bool {
    let ended = driver
        .as_mut()
        .is_none_or(|driver| Pin::new(driver).poll(cx).is_ready());
    if ended {
        *driver = None;
    }
    !ended
}

/// For what is asked in passing.
fn deaf() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Body of a pod's answer. Its connection goes back to the pool when it has ended.
pub(crate) struct AnswerBody {
    incoming: Incoming,
    connection: Option<Box<Connection>>,
    pool: Weak<Pool>,
}

impl AnswerBody {
    /// A body that comes through `connection`, or through one that is driven elsewhere.
    pub(super) fn new(
        incoming: Incoming,
        connection: Option<Box<Connection>>,
        pool: Weak<Pool>,
    ) -> Self {
        Self {
            incoming,
            connection,
            pool,
        }
    }

    /// A body whose connection has a task of its own.
    pub(super) fn driven_elsewhere(incoming: Incoming) -> Self {
        Self::new(incoming, None, Weak::new())
    }

    fn release(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Some(pool) = self.pool.upgrade()
        {
            pool.give_back(connection);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let Some(connection) = &mut this.connection else {
            return Pin::new(&mut this.incoming).poll_frame(cx);
        };
        let mut frame = next(&mut this.incoming);
        if frame.is_pending() {
            if !drive(&mut connection.driver, cx) {
                this.connection = None;
                return Pin::new(&mut this.incoming).poll_frame(cx);
            }
            frame = next(&mut this.incoming);
        }
        match &frame {
            Poll::Ready(Some(Ok(_))) if this.incoming.is_end_stream() => this.release(),
            Poll::Ready(None) => this.release(),
            Poll::Ready(Some(Err(_))) => this.connection = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // Who knows the length does not ask for the end.
        if self.incoming.is_end_stream() {
            self.release();
        }
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnswerBody").field(&self.incoming).finish()
    }
}

/// The next frame, if the connection has brought one already: whoever asks drives it, and is woken by it.
fn next(incoming: &mut Incoming) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
    let frame = poll_fn(|_| Pin::new(&mut *incoming).poll_frame(&mut deaf()));
    pin!(unconstrained(frame)).poll(&mut deaf())
}
