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

mod leadership;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::attempts::{random, spread};
use crate::events::FIELD_MANAGER;
pub(crate) use leadership::Leadership;

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
