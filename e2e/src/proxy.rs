//! A proxy before the API server that does to its clients what networks and servers do on bad days.

mod asked;
mod faults;
mod reply;

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST};
use http_body_util::BodyExt;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use kube::{Client, Config, client::Body};
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::Instant,
};

pub use asked::{Agent, Asked, Verb};
pub use faults::Faults;
use reply::Reply;

/// A proxy that is transparent until [`Proxy::set`] says otherwise. It ends when it is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: AbortHandle,
}

/// Requests that wait for their release. Dropping it releases them.
pub struct Held {
    shared: Arc<Shared>,
    hold: Arc<Hold>,
}

struct Hold {
    matches: Box<dyn Fn(&Asked) -> bool + Send + Sync>,
    /// How many have been held so far.
    arrived: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

struct Shared {
    upstream: Client,
    faults: watch::Sender<Faults>,
    dice: Mutex<fastrand::Rng>,
    counts: Mutex<BTreeMap<(Agent, Verb), u64>>,
    /// The answers to lists from before the lists went stale.
    lists: Mutex<HashMap<String, Remembered>>,
    holds: Mutex<Vec<Arc<Hold>>>,
}

#[derive(Clone)]
struct Remembered {
    head: http::response::Parts,
    body: Bytes,
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
struct Cut;

impl Proxy {
    /// Starts a proxy before this API server, to which it adds these credentials: helm sends none where there is no TLS.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start(mut upstream: Config) -> Result<Self> {
        // Clients see every failure.
        upstream.default_retry = false;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let seed = match std::env::var("FAULT_SEED") {
            Ok(seed) => seed.parse().context("FAULT_SEED is a number")?,
            Err(_) => fastrand::u64(..),
        };
        eprintln!("fault proxy at {address}, FAULT_SEED={seed}");
        let shared = Arc::new(Shared {
            upstream: Client::try_from(upstream)?,
            faults: watch::Sender::new(Faults::default()),
            dice: Mutex::new(fastrand::Rng::with_seed(seed)),
            counts: Mutex::default(),
            lists: Mutex::default(),
            holds: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Ok(Self {
            shared,
            address,
            accepting,
        })
    }

    /// Where clients reach it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets what goes wrong from now on. [`Faults::default`] ends all faults.
    pub fn set(&self, faults: Faults) {
        self.shared.faults.send_replace(faults);
    }

    /// Requests so far, by who asked for what.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<(Agent, Verb), u64> {
        self.shared.counts.lock().clone()
    }

    /// Holds every request that matches, before it reaches the API server.
    #[must_use]
    pub fn hold(&self, matches: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Held {
        let hold = Arc::new(Hold {
            matches: Box::new(matches),
            arrived: watch::Sender::new(0),
            released: watch::Sender::new(false),
        });
        self.shared.holds.lock().push(hold.clone());
        Held {
            shared: self.shared.clone(),
            hold,
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Held {
    /// Waits until a request is held.
    ///
    /// # Errors
    /// None came in time.
    pub async fn arrived(&self) -> Result<()> {
        let mut arrived = self.hold.arrived.subscribe();
        tokio::time::timeout(crate::PATIENCE, arrived.wait_for(|arrived| *arrived > 0))
            .await
            .context("no such request came")??;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut holds = self.shared.holds.lock();
        holds.retain(|hold| !Arc::ptr_eq(hold, &self.hold));
        self.hold.released.send_replace(true);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                // Watches are made of small pieces.
                let _ = stream.set_nodelay(true);
                let shared = shared.clone();
                connections.spawn(async move {
                    let service = service_fn(|request| answer(&shared, request));
                    // A client that went away is no news here.
                    let _ = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Response<Reply>, Cut> {
    let asked = Asked::of(&request);
    *shared
        .counts
        .lock()
        .entry((asked.agent, asked.verb))
        .or_default() += 1;
    shared.held(&asked).await;
    let faults = shared.passage().await?;
    if shared.falls(faults.throttled) {
        return Ok(reply::throttled(faults.retry_after));
    }
    if asked.verb.writes() && shared.falls(faults.refused_writes) {
        return Ok(reply::refused());
    }
    let list = asked.list_key(&request);
    if let Some(key) = list.as_ref().filter(|_| shared.falls(faults.stale_lists))
        && let Some(stale) = shared.lists.lock().get(key)
    {
        return Ok(Response::from_parts(
            stale.head.clone(),
            reply::whole(stale.body.clone()),
        ));
    }
    let (head, body) = shared.forward(request).await?.into_parts();
    if asked.verb.writes() && head.status.is_success() {
        if shared.falls(faults.conflicts_after_writes) {
            return Ok(reply::conflict());
        }
        if shared.falls(faults.resets_after_writes) {
            return Err(Cut);
        }
    }
    if asked.verb == Verb::Watch {
        let expires = faults.watches_cut_after.map(|time| Instant::now() + time);
        let body = reply::watched(body, shared, expires);
        return Ok(Response::from_parts(head, body));
    }
    let Some(key) = list.filter(|_| head.status.is_success()) else {
        return Ok(Response::from_parts(head, reply::passed(body)));
    };
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    // Once lists are stale, what is remembered grows old.
    if faults.stale_lists == 0.0 {
        let remembered = Remembered {
            head: head.clone(),
            body: body.clone(),
        };
        shared.lists.lock().insert(key, remembered);
    }
    Ok(Response::from_parts(head, reply::whole(body)))
}

impl Shared {
    /// Waits while a test holds this request.
    async fn held(&self, asked: &Asked) {
        let hold = self
            .holds
            .lock()
            .iter()
            .find(|hold| (hold.matches)(asked))
            .cloned();
        if let Some(hold) = hold {
            hold.arrived.send_modify(|arrived| *arrived += 1);
            let mut released = hold.released.subscribe();
            // Released when the sender is gone, too.
            let _ = released.wait_for(|released| *released).await;
        }
    }

    /// Waits while there is silence; answers what is wrong then. Whoever asked into a black hole is cut off in the end.
    async fn passage(&self) -> Result<Faults, Cut> {
        let mut changes = self.faults.subscribe();
        let mut lost = false;
        loop {
            let faults = changes.borrow_and_update().clone();
            if !faults.silent && !faults.black_hole {
                return if lost { Err(Cut) } else { Ok(faults) };
            }
            lost |= faults.black_hole;
            changes.changed().await.map_err(|_| Cut)?;
        }
    }

    /// Throws the dice for something that happens in this part of all cases, from 0 to 1.
    fn falls(&self, part: f64) -> bool {
        part > 0.0 && self.dice.lock().f64() < part
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        for name in [HOST, CONNECTION, AUTHORIZATION] {
            head.headers.remove(name);
        }
        // Only the path: the client knows the server.
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = path.parse().map_err(|_| Cut)?;
        head.version = http::Version::default();
        let request = Request::from_parts(head, Body::from(body));
        self.upstream.send(request).await.map_err(|_| Cut)
    }
}

impl From<Infallible> for Cut {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
