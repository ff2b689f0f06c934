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
        lease.spec.get_or_insert_default().acquire_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
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
        (0..3_usize, 0..2500_u64, 0..2000_u64, fate).prop_map(|(process, after, lag, fate)| Step {
            process,
            after,
            lag,
            fate,
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
    fn step(&mut self, index: usize, server: &mut Server, now: Instant, lag: Duration, fate: Fate) {
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
