//! Who leads: of several operators only the one that holds the store's Lease acts.
//!
//! As in client-go, nobody compares clocks. Who holds the lease counts from the moment in which it *sent* the last
//! renewal that succeeded, and stops [`DEADLINE`] later; who stands by counts from the moment in which it *saw* the
//! lease change, which is later, and takes it [`DURATION`] after that. A clock that is stepped changes nothing.
//!
//! One thing no lease can do: stop a write that has left the process already, and waits in a queue of the network or of
//! the API server, or a process that is frozen between its last look at the clock and its write. What protects then: the
//! first of two Helms to store a revision wins, since the other's Secret exists already; finalizers and records are changed
//! under preconditions; specs are never changed by an operator; and a status is written again by who leads.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::attempts::{random, spread};
use crate::events::FIELD_MANAGER;

/// How long a lease that nobody renews is respected.
const DURATION: Duration = Duration::from_secs(10);

/// How long the holder acts after it sent its last successful renewal. The rest of [`DURATION`] is for timers that fire
/// late, clocks that run apart, and Helm to die.
const DEADLINE: Duration = Duration::from_secs(7);

/// How often the lease is renewed.
const RENEWAL: Duration = Duration::from_secs(2);

/// How soon a renewal that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How often who stands by looks at the lease, at the most.
const POLL: Duration = Duration::from_secs(1);

/// How long the API server may take to answer.
const REQUEST: Duration = Duration::from_secs(2);

/// Why the lease is lost.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else holds it.
    #[error("lost the lease `{lease}`: {holder} holds it now")]
    Overtaken {
        /// Name of the lease.
        lease: String,
        /// Who holds it, in words.
        holder: String,
    },
    /// Somebody has deleted it.
    #[error("lost the lease `{0}`: it was deleted")]
    Deleted(String),
    /// It could not be renewed in time.
    #[error(
        "lost the lease `{lease}`: it was not renewed for {}",
        humantime::format_duration(DEADLINE)
    )]
    Late {
        /// Name of the lease.
        lease: String,
        /// What kept the last attempt from succeeding, if there was one.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// Whether this process leads. Everything that acts asks here.
#[derive(Debug)]
pub(crate) struct Leadership(watch::Sender<State>);

/// How far this process has come. It goes one way: who has led once never stands by again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It stands by.
    Standby,
    /// It leads.
    Leads {
        /// Since when.
        since: Instant,
        /// Until when, unless the lease is renewed before.
        until: Instant,
    },
    /// It has led.
    Over,
}

impl Default for Leadership {
    fn default() -> Self {
        Self(watch::Sender::new(State::Standby))
    }
}

impl Leadership {
    /// Whether this process leads in this very moment.
    pub(crate) fn holds(&self) -> bool {
        match *self.0.borrow() {
            State::Leads { until, .. } => Instant::now() < until,
            State::Standby | State::Over => false,
        }
    }

    /// For how long this process has led.
    pub(crate) fn age(&self) -> Duration {
        match *self.0.borrow() {
            State::Leads { since, .. } => since.elapsed(),
            State::Standby | State::Over => Duration::ZERO,
        }
    }

    /// Waits until this process leads.
    pub(crate) fn begun(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.0.subscribe();
        async move {
            let led = state.wait_for(|state| matches!(state, State::Leads { .. }));
            if led.await.is_err() {
                // Nobody is left who could make us lead.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Leads until then.
    pub(crate) fn lead(&self, until: Instant) {
        self.0.send_modify(|state| {
            *state = match *state {
                State::Standby => State::Leads {
                    since: Instant::now(),
                    until,
                },
                State::Leads { since, .. } => State::Leads { since, until },
                State::Over => State::Over,
            };
        });
    }

    fn end(&self) {
        self.0.send_replace(State::Over);
    }
}

#[cfg(test)]
impl Leadership {
    /// This process leads for as long as a test may take.
    pub(crate) fn for_tests() -> Self {
        let leadership = Self::default();
        leadership.lead(Instant::now() + Duration::from_hours(1));
        leadership
    }
}

/// What the lease looked like.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    /// There has never been one. Whoever has just started cannot tell that from one that was deleted, and held before.
    Absent,
    /// There was one. Who held it may not know yet.
    Gone,
    /// Nobody holds it: it was given back.
    Free,
    /// Somebody holds it.
    Held {
        /// Who.
        holder: String,
        /// Version of the object: every renewal changes it.
        version: Option<String>,
        /// How long the holder wants it respected without a renewal.
        duration: Duration,
    },
}

/// The lease as it was shown last, and since when, by our own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    shown: Shown,
    since: Instant,
}

impl Seen {
    /// What is known after another look.
    fn next(before: Option<&Self>, lease: Option<&Lease>, now: Instant) -> Self {
        let shown = match (lease, before.map(|before| &before.shown)) {
            (None, None | Some(Shown::Absent)) => Shown::Absent,
            (None, Some(Shown::Gone | Shown::Free | Shown::Held { .. })) => Shown::Gone,
            (Some(lease), _) => Shown::of(lease),
        };
        match before {
            Some(before) if before.shown == shown => before.clone(),
            Some(_) | None => Self { shown, since: now },
        }
    }
}

impl Shown {
    fn of(lease: &Lease) -> Self {
        match holder(lease) {
            None => Self::Free,
            Some(holder) => Self::Held {
                holder: holder.to_owned(),
                version: lease.resource_version(),
                duration: lease
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.lease_duration_seconds)
                    .and_then(|seconds| u64::try_from(seconds).ok())
                    .filter(|seconds| *seconds > 0)
                    .map_or(DURATION, Duration::from_secs),
            },
        }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}

/// What who stands by does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// Make the lease.
    Create,
    /// Take it.
    Take,
    /// Respect it.
    Wait,
}

/// Decides whether the lease may be taken. Never awaits, logs, or reads the clock.
fn decide(seen: &Seen, me: &str, now: Instant) -> Decision {
    match &seen.shown {
        Shown::Absent => Decision::Create,
        Shown::Free => Decision::Take,
        // A container of this very pod that is gone.
        Shown::Held { holder, .. } if holder == me => Decision::Take,
        Shown::Held { duration, .. } if now >= seen.since + *duration => Decision::Take,
        Shown::Gone if now >= seen.since + DURATION => Decision::Create,
        Shown::Held { .. } | Shown::Gone => Decision::Wait,
    }
}

/// One taking of the lease: as long as the lease tells the same, it was not taken since. The time is a token here, and
/// not compared with any clock.
#[derive(Debug, Clone, PartialEq)]
struct Term {
    holder: Option<String>,
    acquired: Option<MicroTime>,
    transitions: Option<i32>,
}

impl Term {
    fn of(lease: &Lease) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        Self {
            holder: spec.holder_identity,
            acquired: spec.acquire_time,
            transitions: spec.lease_transitions,
        }
    }
}

/// Why a renewal did not succeed.
enum Failed {
    /// It never will.
    Lost(Error),
    /// It may do the next time.
    Now(kube::Error),
}

/// Stands for election, and leads.
pub(crate) struct Election<'a> {
    pub(crate) api: Api<Lease>,
    pub(crate) name: String,
    /// Who we are, unlike every other process.
    pub(crate) identity: String,
    pub(crate) leadership: &'a Leadership,
}

impl Election<'_> {
    /// Waits for the lease, and holds it, until `done`; then gives it back.
    ///
    /// # Errors
    /// When the lease is lost. Nothing may be written any more, not even to tidy up.
    pub(crate) async fn run(&self, done: &CancellationToken) -> Result<(), Error> {
        let mut seen: Option<Seen> = None;
        let mut reachable = true;
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                () = done.cancelled() => return Ok(()),
                () = sleep(pause) => {}
            }
            pause = spread(POLL, random());
            match timeout(REQUEST, self.stand(&mut seen)).await {
                Ok(Ok(None)) => reachable = true,
                Ok(Ok(Some((lease, until)))) => {
                    self.leadership.lead(until);
                    info!(
                        lease.name = self.name,
                        lease.holder = self.identity,
                        "Leading: {} holds the lease {}",
                        self.identity,
                        self.name
                    );
                    let ended = self.hold(lease, until, done).await;
                    self.leadership.end();
                    return ended;
                }
                Ok(Err(error)) => {
                    self.complain(reachable, &error);
                    reachable = false;
                }
                Err(elapsed) => {
                    self.complain(reachable, &elapsed);
                    reachable = false;
                }
            }
        }
    }

    /// Told once, until it is over.
    fn complain(&self, first: bool, error: &(dyn std::error::Error + 'static)) {
        let name = &self.name;
        if first {
            warn!(
                error,
                lease.name = name,
                "Could not read or take the lease {name}"
            );
        } else {
            debug!(
                error,
                lease.name = name,
                "Could not read or take the lease {name}"
            );
        }
    }

    /// One look at the lease, and an attempt to take it if that is due. Answers the lease that is ours, and how long.
    async fn stand(
        &self,
        seen: &mut Option<Seen>,
    ) -> Result<Option<(Lease, Instant)>, kube::Error> {
        let found = self.api.get_opt(&self.name).await?;
        let now = Instant::now();
        let next = Seen::next(seen.as_ref(), found.as_ref(), now);
        self.tell(seen.as_ref(), &next);
        let decision = decide(&next, &self.identity, now);
        *seen = Some(next);
        let params = params();
        let taken = match (decision, found) {
            (Decision::Wait, _) => return Ok(None),
            (Decision::Create | Decision::Take, Some(lease)) => {
                let taken = self.taken(lease);
                self.api.replace(&self.name, &params, &taken).await
            }
            (Decision::Create | Decision::Take, None) => {
                let metadata = ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                };
                let taken = self.taken(Lease {
                    metadata,
                    spec: None,
                });
                self.api.create(&params, &taken).await
            }
        };
        match taken {
            Ok(lease) => Ok(Some((lease, now + DEADLINE))),
            // Another was faster.
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn tell(&self, before: Option<&Seen>, now: &Seen) {
        let holder_of = |seen: &Seen| match &seen.shown {
            Shown::Held { holder, .. } => Some(holder.clone()),
            Shown::Absent | Shown::Gone | Shown::Free => None,
        };
        let holder = holder_of(now);
        if let Some(holder) = holder.filter(|_| before.and_then(holder_of) != holder_of(now)) {
            info!(
                lease.name = self.name,
                lease.holder = holder,
                "Standing by: {holder} holds the lease {}",
                self.name
            );
        }
    }

    /// The lease as it is when we have taken it.
    fn taken(&self, mut lease: Lease) -> Lease {
        let now = MicroTime(Timestamp::now());
        let old = lease.spec.take().unwrap_or_default();
        let transitions = old
            .lease_transitions
            .map_or(0, |times| times.wrapping_add(1));
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..old
        });
        lease
    }

    /// Renews the lease until `done`, or until it is lost.
    async fn hold(
        &self,
        mut lease: Lease,
        mut until: Instant,
        done: &CancellationToken,
    ) -> Result<(), Error> {
        let term = Term::of(&lease);
        let mut pause = RENEWAL;
        let mut last: Option<Box<dyn std::error::Error + Send + Sync>> = None;
        loop {
            tokio::select! {
                () = done.cancelled() => {
                    self.release(lease, &term).await;
                    return Ok(());
                }
                () = sleep_until((Instant::now() + pause).min(until)) => {}
            }
            let sent = Instant::now();
            if sent >= until {
                return Err(Error::Late {
                    lease: self.name.clone(),
                    source: last,
                });
            }
            pause = RETRY;
            let renewed = self.write(&lease, &term, |spec| {
                spec.renew_time = Some(MicroTime(Timestamp::now()));
            });
            match timeout_at((sent + REQUEST).min(until), renewed).await {
                Ok(Ok(renewed)) => {
                    lease = renewed;
                    until = sent + DEADLINE;
                    self.leadership.lead(until);
                    pause = RENEWAL;
                    last = None;
                }
                Ok(Err(Failed::Lost(error))) => return Err(error),
                Ok(Err(Failed::Now(error))) => {
                    self.warn_of(&error, until);
                    last = Some(error.into());
                }
                Err(elapsed) => {
                    self.warn_of(&elapsed, until);
                    last = Some(elapsed.into());
                }
            }
        }
    }

    fn warn_of(&self, error: &(dyn std::error::Error + 'static), until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        warn!(
            error,
            lease.name = self.name,
            lease.left_seconds = left.as_secs_f32(),
            "Could not renew the lease {}",
            self.name
        );
    }

    /// Gives the lease back, so that nobody has to wait for it to expire.
    async fn release(&self, lease: Lease, term: &Term) {
        // From here on nothing else is written.
        self.leadership.end();
        let released = self.write(&lease, term, |spec| {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
        });
        match timeout(REQUEST, released).await {
            Ok(Ok(_)) => info!(lease.name = self.name, "Gave the lease {} back", self.name),
            Ok(Err(Failed::Lost(error))) => self.warn_of_release(&error),
            Ok(Err(Failed::Now(error))) => self.warn_of_release(&error),
            Err(elapsed) => self.warn_of_release(&elapsed),
        }
    }

    fn warn_of_release(&self, error: &(dyn std::error::Error + 'static)) {
        warn!(
            error,
            lease.name = self.name,
            "Could not give the lease {} back; it will expire",
            self.name
        );
    }

    /// Writes our lease on the version that we know; or on the newest, if that is still of our term: an answer may have
    /// been lost.
    async fn write(
        &self,
        lease: &Lease,
        term: &Term,
        change: impl Fn(&mut LeaseSpec),
    ) -> Result<Lease, Failed> {
        let mut lease = lease.clone();
        change(lease.spec.get_or_insert_default());
        match self.api.replace(&self.name, &params(), &lease).await {
            Ok(lease) => return Ok(lease),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(self.failed(error)),
        }
        let found = self.api.get_opt(&self.name).await.map_err(Failed::Now)?;
        let Some(mut lease) = found else {
            return Err(Failed::Lost(Error::Deleted(self.name.clone())));
        };
        if Term::of(&lease) != *term {
            return Err(Failed::Lost(Error::Overtaken {
                lease: self.name.clone(),
                holder: match holder(&lease) {
                    Some(holder) if holder == self.identity => {
                        format!("another process that calls itself `{holder}`")
                    }
                    Some(holder) => format!("`{holder}`"),
                    None => "nobody".to_owned(),
                },
            }));
        }
        change(lease.spec.get_or_insert_default());
        let replaced = self.api.replace(&self.name, &params(), &lease).await;
        replaced.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: kube::Error) -> Failed {
        match error {
            kube::Error::Api(status) if status.code == 404 => {
                Failed::Lost(Error::Deleted(self.name.clone()))
            }
            error => Failed::Now(error),
        }
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// The host's name and a random part, for who was given no identity.
pub(crate) fn default_identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "operator" } else { host };
    format!("{host}-{:016x}", random())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use http_body_util::{BodyExt, Full};
    use hyper::{Method, Request, Response, StatusCode};
    use kube::Client;
    use kube::client::Body;
    use parking_lot::Mutex;
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
    use proptest::{collection, prop_assert, prop_assert_eq};
    use tokio::task::JoinHandle;
    use {Decision as D, Shown as S};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn held(holder: &str, version: u64) -> Shown {
        Shown::Held {
            holder: holder.to_owned(),
            version: Some(version.to_string()),
            duration: DURATION,
        }
    }

    #[test]
    fn a_lease_is_taken_when_nobody_can_hold_it_any_more() {
        let short = Shown::Held {
            holder: "b".to_owned(),
            version: None,
            duration: 3 * SECOND,
        };
        let cases = [
            ("the first of all", S::Absent, 0, D::Create),
            ("given back", S::Free, 0, D::Take),
            ("ours, from before a restart", held("a", 1), 0, D::Take),
            ("just renewed", held("b", 1), 0, D::Wait),
            ("about to expire", held("b", 1), 9, D::Wait),
            ("expired", held("b", 1), 10, D::Take),
            ("its holder wants less", short, 3, D::Take),
            ("deleted under its holder", S::Gone, 9, D::Wait),
            ("deleted long ago", S::Gone, 10, D::Create),
        ];
        let since = Instant::now();
        for (name, shown, seconds, expected) in cases {
            let now = since + seconds * SECOND;
            let decision = decide(&Seen { shown, since }, "a", now);
            assert_eq!(decision, expected, "{name}");
        }
    }

    #[test]
    fn time_counts_from_when_we_saw_a_change() {
        let lease = |holder: Option<&str>, version: u64, renewed: i64| {
            let mut lease = Lease::default();
            lease.metadata.resource_version = Some(version.to_string());
            lease.spec = Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                renew_time: Some(MicroTime(Timestamp::from_second(renewed).expect("a time"))),
                ..LeaseSpec::default()
            });
            lease
        };
        let start = Instant::now();
        let mut seen = None;
        let looks = [
            ("nothing yet", None, S::Absent, 0),
            ("still nothing", None, S::Absent, 0),
            (
                "somebody came",
                Some(lease(Some("b"), 1, 0)),
                held("b", 1),
                2,
            ),
            ("nothing new", Some(lease(Some("b"), 1, 0)), held("b", 1), 2),
            (
                "renewed by a clock that is hours behind",
                Some(lease(Some("b"), 2, -9999)),
                held("b", 2),
                4,
            ),
            ("no holder", Some(lease(None, 3, 0)), S::Free, 5),
            ("an empty holder", Some(lease(Some(""), 4, 0)), S::Free, 5),
            ("deleted", None, S::Gone, 7),
            ("still deleted", None, S::Gone, 7),
        ];
        for (second, (name, lease, shown, since)) in (0..).zip(looks) {
            let next = Seen::next(seen.as_ref(), lease.as_ref(), start + second * SECOND);
            let since = start + since * SECOND;
            assert_eq!(next, Seen { shown, since }, "{name}");
            seen = Some(next);
        }
    }

    /// What becomes of a request.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Network {
        Works,
        /// It never arrives.
        Blackholed,
        /// It is done, and the answer never arrives.
        Deaf,
        /// It is done, and refused as a conflict.
        Lying,
    }

    /// The lease, as an API server keeps it.
    #[derive(Debug, Default)]
    struct Server {
        lease: Option<Lease>,
        version: u64,
    }

    impl Server {
        fn write(&mut self, mut lease: Lease) -> Result<Lease, u16> {
            let known = self.lease.as_ref().and_then(ResourceExt::resource_version);
            let code = if known.is_none() { 404 } else { 409 };
            if lease.resource_version() != known {
                return Err(code);
            }
            self.version += 1;
            lease.metadata.resource_version = Some(self.version.to_string());
            self.lease = Some(lease.clone());
            Ok(lease)
        }
    }

    /// A process's way to the server.
    #[derive(Clone)]
    struct Wire {
        server: Arc<Mutex<Server>>,
        network: Arc<Mutex<Network>>,
    }

    impl tower::Service<Request<Body>> for Wire {
        type Response = Response<Full<Bytes>>;
        type Error = Infallible;
        type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let Self { server, network } = self.clone();
            let network = *network.lock();
            async move {
                if network == Network::Blackholed {
                    std::future::pending::<()>().await;
                }
                let reads = request.method() == Method::GET;
                let body = request.into_body().collect().await.expect("a body");
                let done = if reads {
                    server.lock().lease.clone().ok_or(404)
                } else {
                    let lease = serde_json::from_slice(&body.to_bytes()).expect("a lease");
                    server.lock().write(lease)
                };
                let done = match network {
                    Network::Works | Network::Blackholed => done,
                    Network::Deaf => std::future::pending().await,
                    Network::Lying if reads => done,
                    Network::Lying => Err(409),
                };
                let (code, json) = match done {
                    Ok(lease) => (200, serde_json::to_value(lease).expect("JSON")),
                    Err(code) => crate::fake_api::refusal(code),
                };
                let mut response = Response::new(Full::new(Bytes::from(json.to_string())));
                *response.status_mut() = StatusCode::from_u16(code).expect("a status");
                Ok(response)
            }
            .boxed()
        }
    }

    /// A running operator, as far as the lease is concerned.
    struct Candidate {
        leadership: Arc<Leadership>,
        network: Arc<Mutex<Network>>,
        done: CancellationToken,
        task: JoinHandle<(Result<(), Error>, Instant)>,
    }

    impl Candidate {
        fn start(identity: &str, server: &Arc<Mutex<Server>>) -> Self {
            let network = Arc::new(Mutex::new(Network::Works));
            let wire = Wire {
                server: server.clone(),
                network: network.clone(),
            };
            let api = Api::namespaced(Client::new(wire, "wavestore"), "wavestore");
            let leadership = Arc::new(Leadership::default());
            let done = CancellationToken::new();
            let task = {
                let (leadership, done) = (leadership.clone(), done.clone());
                let identity = identity.to_owned();
                tokio::spawn(async move {
                    let election = Election {
                        api,
                        name: "operator".to_owned(),
                        identity,
                        leadership: &leadership,
                    };
                    (election.run(&done).await, Instant::now())
                })
            };
            Self {
                leadership,
                network,
                done,
                task,
            }
        }

        /// Waits until it leads; answers since when.
        async fn leads(&self) -> Instant {
            let begun = timeout(30 * SECOND, self.leadership.begun()).await;
            assert!(begun.is_ok(), "it does not lead in time");
            Instant::now()
        }

        /// Waits until it has ended; answers its last words, and when.
        async fn ends(self) -> (String, Instant) {
            let ended = timeout(30 * SECOND, self.task).await;
            let (result, at) = ended.expect("it ends in time").expect("no panic");
            assert!(!self.leadership.holds());
            (
                result.map_or_else(|error| error.to_string(), |()| "done".to_owned()),
                at,
            )
        }
    }

    async fn two(network: Network) -> (String, Duration) {
        let server = Arc::default();
        let first = Candidate::start("a", &server);
        first.leads().await;
        let second = Candidate::start("b", &server);
        // It must have seen the first's renewals.
        while server.lock().version < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(first.leadership.holds() && !second.leadership.holds());
        *first.network.lock() = network;
        let ((words, ended), begun) = tokio::join!(first.ends(), second.leads());
        assert!(ended < begun, "{network:?}: two lead at once");
        (words, begun - ended)
    }

    #[tokio::test]
    async fn a_leader_without_answers_stops_before_the_next_begins() {
        let (blackholed, deaf) = tokio::join!(two(Network::Blackholed), two(Network::Deaf));
        let late = "lost the lease `operator`: it was not renewed for 7s";
        assert_eq!((&*blackholed.0, &*deaf.0), (late, late));
    }

    #[tokio::test]
    async fn a_lease_that_is_given_back_is_taken_at_once() {
        let server = Arc::default();
        let first = Candidate::start("a", &server);
        first.leads().await;
        let second = Candidate::start("b", &server);
        first.done.cancel();
        assert_eq!(first.ends().await.0, "done");
        second.leads().await;
        let lease = server.lock().lease.clone().expect("a lease");
        assert_eq!((holder(&lease), server.lock().version), (Some("b"), 3));
    }

    #[tokio::test]
    async fn a_renewal_whose_answer_lied_counts_when_the_lease_shows_it() {
        let server = Arc::default();
        let first = Candidate::start("a", &server);
        first.leads().await;
        *first.network.lock() = Network::Lying;
        // Every renewal is written twice, and refused twice.
        while server.lock().version < 3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        *first.network.lock() = Network::Works;
        tokio::time::sleep(DEADLINE).await;
        assert!(first.leadership.holds());
    }

    #[tokio::test]
    async fn who_meets_another_holder_is_over() {
        type Change = fn(&mut Server);
        let deleted = |server: &mut Server| server.lease = None;
        let restarted = |server: &mut Server| {
            let mut lease = server.lease.clone().expect("a lease");
            lease.spec.get_or_insert_default().acquire_time =
                Some(MicroTime(Timestamp::UNIX_EPOCH));
            server.write(lease).expect("written");
        };
        let emptied = |server: &mut Server| {
            let mut lease = server.lease.clone().expect("a lease");
            lease.spec = None;
            server.write(lease).expect("written");
        };
        let cases: [(&str, Change, &str); 3] = [
            (
                "deleted",
                deleted,
                "lost the lease `operator`: it was deleted",
            ),
            (
                "another has our name",
                restarted,
                "lost the lease `operator`: another process that calls itself `a` holds it now",
            ),
            (
                "emptied by hand",
                emptied,
                "lost the lease `operator`: nobody holds it now",
            ),
        ];
        let all = cases.map(async |(name, change, expected)| {
            let server = Arc::<Mutex<Server>>::default();
            let first = Candidate::start("a", &server);
            first.leads().await;
            change(&mut server.lock());
            assert_eq!(first.ends().await.0, expected, "{name}");
        });
        futures::future::join_all(all).await;
    }

    /// What one process does next in the model, and after which time.
    #[derive(Debug, Clone)]
    struct Step {
        process: usize,
        /// Milliseconds since the step before.
        after: u64,
        /// Milliseconds that the request needs to the server.
        lag: u64,
        fate: Fate,
    }

    #[derive(Debug, Clone, Copy)]
    enum Fate {
        Request(Network),
        Killed,
        Released,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let fate = prop_oneof![
            8 => Just(Fate::Request(Network::Works)),
            3 => Just(Fate::Request(Network::Blackholed)),
            2 => Just(Fate::Request(Network::Deaf)),
            1 => Just(Fate::Killed),
            1 => Just(Fate::Released),
        ];
        let step =
            (0..3_usize, 0..2500_u64, 0..2000_u64, fate).prop_map(|(process, after, lag, fate)| {
                Step {
                    process,
                    after,
                    lag,
                    fate,
                }
            });
        collection::vec(step, 1..200)
    }

    /// A process of the model: what [`Election`] knows between its awaits.
    #[derive(Default)]
    struct Process {
        born: u64,
        seen: Option<Seen>,
        ours: Option<(Lease, Term, Instant)>,
    }

    impl Process {
        fn step(
            &mut self,
            index: usize,
            server: &mut Server,
            now: Instant,
            lag: Duration,
            fate: Fate,
        ) {
            let network = match fate {
                Fate::Request(network) => network,
                Fate::Released if self.ours.is_some() => {
                    if let Some((lease, ..)) = &mut self.ours {
                        lease.spec.get_or_insert_default().holder_identity = None;
                        let _ = server.write(lease.clone());
                    }
                    Network::Blackholed
                }
                Fate::Killed | Fate::Released => Network::Blackholed,
            };
            let over = self.ours.as_ref().is_some_and(|(.., until)| now >= *until);
            if over || matches!(fate, Fate::Killed | Fate::Released) {
                *self = Self {
                    born: self.born + 1,
                    ..Self::default()
                };
                return;
            }
            if network == Network::Blackholed {
                return;
            }
            // Sent before, done now: nobody may count from later than the first.
            let sent = now.checked_sub(lag).expect("a time");
            let identity = format!("{index}-{}", self.born);
            if let Some((lease, term, until)) = &mut self.ours {
                let renewed = server.write(lease.clone()).or_else(|_| {
                    let newest = server.lease.clone();
                    let still_ours = newest.filter(|found| Term::of(found) == *term);
                    server.write(still_ours.ok_or(404_u16)?)
                });
                let Ok(renewed) = renewed else {
                    self.ours = None;
                    return;
                };
                if network == Network::Works {
                    (*lease, *until) = (renewed, sent + DEADLINE);
                }
                return;
            }
            let next = Seen::next(self.seen.as_ref(), server.lease.as_ref(), now);
            let decision = decide(&next, &identity, now);
            self.seen = Some(next);
            if decision == Decision::Wait {
                return;
            }
            let mut lease = server.lease.clone().unwrap_or_default();
            let old = lease.spec.take().unwrap_or_default();
            lease.spec = Some(LeaseSpec {
                holder_identity: Some(identity),
                lease_transitions: Some(old.lease_transitions.unwrap_or_default() + 1),
                ..LeaseSpec::default()
            });
            let taken = server.write(lease).expect("the newest version");
            if network == Network::Works {
                let term = Term::of(&taken);
                self.ours = Some((taken, term, sent + DEADLINE));
            }
        }
    }

    proptest! {
        #[test]
        fn two_never_lead_at_once_and_one_does_in_the_end(steps in steps(), last in any::<bool>()) {
            let mut server = Server::default();
            let mut processes: [Process; 3] = Default::default();
            let mut now = Instant::now() + 100 * SECOND;
            let leaders = |processes: &[Process], now| {
                let ours = processes.iter().filter_map(|process| process.ours.as_ref());
                ours.filter(|(.., until)| now < *until).count()
            };
            for Step { process, after, lag, fate } in steps {
                now += Duration::from_millis(after);
                let lag = Duration::from_millis(lag);
                processes[process].step(process, &mut server, now, lag, fate);
                prop_assert!(leaders(&processes, now) <= 1);
            }
            // Half a minute without faults, of all or of one.
            let alive = if last { 3 } else { 1 };
            for _ in 0..30 {
                now += SECOND;
                for (index, process) in processes.iter_mut().enumerate().take(alive) {
                    let fate = Fate::Request(Network::Works);
                    process.step(index, &mut server, now, Duration::ZERO, fate);
                }
                prop_assert!(leaders(&processes, now) <= 1);
            }
            prop_assert_eq!(leaders(&processes, now), 1);
        }
    }
}
