//! What Prometheus is told. Every metric is named in docs/operating.md.

mod durations;
mod process;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use strum::{VariantArray, VariantNames};

use crate::access_log::AccessLog;
use crate::descriptors::Limits;
use crate::error::Error;
use crate::exchange::{Journal, Kind};
use crate::proxy::tunnels::Tunnels;
use crate::table::Table;
use crate::table::health::Health;
use durations::Durations;

/// How the answer of `/metrics` is written.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Begins the name of every metric but those of the process.
const PREFIX: &str = "wavestore_router";

/// Classes of statuses; the first is for requests whose client left before there was one.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// A part of a request's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Phase {
    /// Finding out who asks, and whether they may.
    Authorize,
    /// Connecting to a pod.
    Connect,
    /// From asking the app to the head of its answer.
    FirstByte,
    /// From the request's head to the answer's last byte.
    Whole,
}

/// Why a connection was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Refusal {
    /// Its address has as many as it may have.
    PerAddress,
    /// Its TLS handshake took too long.
    LateHandshake,
    /// Its TLS handshake failed.
    BrokenHandshake,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfBuild {
    version: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    target: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPhase {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfError {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRefusal {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWatch {
    watch: &'static str,
}

/// Everything that is counted and measured. What each request touches is found without a lock and without a hash.
pub(crate) struct Metrics {
    registry: Registry,
    requests: [[Counter; CLASSES.len()]; Kind::VARIANTS.len()],
    durations: [Durations; Phase::VARIANTS.len()],
    refused: [Counter; Refusal::VARIANTS.len()],
    errors: Family<OfError, Counter>,
    received: Counter,
    sent: Counter,
    connections: Gauge,
    pod_connections: Gauge,
    accepted: Counter,
    waits: Counter,
    scraped: Arc<OnceLock<Scraped>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    /// Registers everything, at zero: a rate over a counter that has just appeared misses its first step.
    fn default() -> Self {
        let mut registry = Registry::default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        registry.register_collector(Box::new(process::Process {
            started_at: now.unwrap_or_default().as_secs_f64(),
        }));
        let ours = registry.sub_registry_with_prefix(PREFIX);
        ours.register(
            "build",
            "Version of the router",
            Info::new(OfBuild {
                version: env!("CARGO_PKG_VERSION"),
            }),
        );
        let requests = Family::<OfRequest, Counter>::default();
        let durations = Family::<OfPhase, Durations>::default();
        let refused = Family::<OfRefusal, Counter>::default();
        let errors = Family::<OfError, Counter>::default();
        let (received, sent) = (Counter::default(), Counter::default());
        let (accepted, waits) = (Counter::default(), Counter::default());
        let (connections, pod_connections) = (Gauge::default(), Gauge::default());
        ours.register("requests", "Requests that ended", requests.clone());
        ours.register_with_unit(
            "request_duration",
            "Time of requests, by phase",
            Unit::Seconds,
            durations.clone(),
        );
        ours.register("errors", "Answers of the router's own", errors.clone());
        ours.register_with_unit(
            "received",
            "Bodies of requests to apps",
            Unit::Bytes,
            received.clone(),
        );
        ours.register_with_unit("sent", "Bodies of answers", Unit::Bytes, sent.clone());
        ours.register(
            "connections",
            "Open connections from browsers, without WebSockets",
            connections.clone(),
        );
        ours.register(
            "pod_connections",
            "Open connections to pods, in use and kept for the next request, without WebSockets",
            pod_connections.clone(),
        );
        ours.register(
            "connections_accepted",
            "Connections that were taken",
            accepted.clone(),
        );
        ours.register(
            "connections_refused",
            "Connections that were closed at once",
            refused.clone(),
        );
        ours.register(
            "connection_waits",
            "Times that all connections were taken, so that new ones had to wait",
            waits.clone(),
        );
        let scraped = Arc::new(OnceLock::new());
        ours.register_collector(Box::new(AtScrape(scraped.clone())));

        for code in Error::VARIANTS {
            drop(errors.get_or_create(&OfError { code }));
        }
        let requests = std::array::from_fn(|kind| {
            std::array::from_fn(|class| {
                requests.get_or_create_owned(&OfRequest {
                    target: Kind::VARIANTS[kind].into(),
                    status: CLASSES[class],
                })
            })
        });
        let durations = std::array::from_fn(|phase| {
            let phase = Phase::VARIANTS[phase].into();
            durations.get_or_create_owned(&OfPhase { phase })
        });
        let refused = std::array::from_fn(|reason| {
            let reason = Refusal::VARIANTS[reason].into();
            refused.get_or_create_owned(&OfRefusal { reason })
        });
        Self {
            registry,
            requests,
            durations,
            refused,
            errors,
            received,
            sent,
            connections,
            pod_connections,
            accepted,
            waits,
            scraped,
        }
    }
}

impl Metrics {
    /// All of it as text, in the form of [`CONTENT_TYPE`].
    pub(crate) fn expose(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }

    /// From now on these are looked at, at every scrape.
    pub(crate) fn watch(&self, scraped: Scraped) {
        // There is one of each in a process.
        let _ = self.scraped.set(scraped);
    }

    /// Counts a request that ended, with the bytes of its body and its answer's.
    pub(crate) fn exchanged(
        &self,
        kind: Kind,
        status: Option<StatusCode>,
        received: u64,
        sent: u64,
    ) {
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100));
        if let Some(counter) = self.requests[kind as usize].get(class) {
            counter.inc();
        }
        if received > 0 {
            self.received.inc_by(received);
        }
        if sent > 0 {
            self.sent.inc_by(sent);
        }
    }

    /// Measures a part of a request's time.
    pub(crate) fn took(&self, phase: Phase, time: Duration) {
        self.durations[phase as usize].observe(time);
    }

    /// Counts an answer of our own.
    pub(crate) fn failed(&self, error: &Error) {
        let code = error.code();
        self.errors.get_or_create(&OfError { code }).inc();
    }

    /// Counts a connection that is taken; it is open until the answer is dropped.
    pub(crate) fn connected(&self) -> OpenConnection {
        self.accepted.inc();
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// Counts a connection to a pod; it is open until the answer is dropped.
    pub(crate) fn connected_to_pod(&self) -> OpenConnection {
        self.pod_connections.inc();
        OpenConnection(self.pod_connections.clone())
    }

    /// Counts a connection that is not served.
    pub(crate) fn refused(&self, reason: Refusal) {
        self.refused[reason as usize].inc();
    }

    /// Counts that new connections have to wait.
    pub(crate) fn waits(&self) {
        self.waits.inc();
    }
}

/// A connection that counts as open until this is dropped.
#[must_use = "it counts as open until it is dropped"]
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What is looked up when somebody asks.
#[derive(Debug)]
pub(crate) struct Scraped {
    /// What exists now.
    pub table: Arc<Table>,
    /// How the watches are doing.
    pub health: Arc<Health>,
    /// Open sockets.
    pub tunnels: Arc<Tunnels>,
    /// Where exchanges are written down.
    pub journal: Arc<Journal>,
    /// How much may be open.
    pub limits: Limits,
}

#[derive(Debug)]
struct AtScrape(Arc<OnceLock<Scraped>>);

impl Collector for AtScrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(scraped) = self.0.get() else {
            return Ok(());
        };
        let encoder = &mut encoder;
        let snapshot = scraped.table.load();
        let log = scraped.journal.access_log.as_ref();
        let gauges = [
            (
                "instances",
                "Instances in the table",
                exact(snapshot.routes.len() as u64),
            ),
            (
                "apps",
                "Apps in the table",
                exact(snapshot.apps.len() as u64),
            ),
            (
                "sockets",
                "Open WebSockets and other upgraded connections",
                exact(scraped.tunnels.count() as u64),
            ),
            (
                "connections_limit",
                "Connections, and as many sockets, that may be open",
                f64::from(scraped.limits.max),
            ),
            (
                "open_files_limit",
                "File descriptors that may be open",
                exact(scraped.limits.descriptors),
            ),
        ];
        for (name, help, value) in gauges {
            gauge(encoder, name, help, None, value)?;
        }
        let dropped = ConstCounter::new(log.map_or(0, AccessLog::dropped));
        let help = "Lines of the access log that nobody took in time";
        let counter =
            encoder.encode_descriptor("access_log_dropped", help, None, dropped.metric_type())?;
        dropped.encode(counter)?;

        let help = "Since when a watch has been failing; 0 while it is not";
        let example = ConstGauge::new(0.0);
        let unit = Some(&Unit::Seconds);
        let mut ages = encoder.encode_descriptor("cache_age", help, unit, example.metric_type())?;
        for (watch, age) in scraped.health.ages() {
            let age = ConstGauge::new(age.as_secs_f64());
            age.encode(ages.encode_family(&OfWatch { watch })?)?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn exact(number: u64) -> f64 {
    number as f64
}

/// One number that goes up and down, as it is at this scrape.
fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: f64,
) -> fmt::Result {
    let metric = ConstGauge::new(value);
    let encoder = encoder.encode_descriptor(name, help, unit, metric.metric_type())?;
    metric.encode(encoder)
}
