//! What Prometheus is told. Every metric is named in docs/operating.md.

mod labels;
mod process;
mod queue;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use crds::{ConditionStatus, ConditionType, WaveInstance};
use kube::runtime::reflector::Store;
use nix::sys::resource::UsageWho;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use strum::VariantArray;
use tokio::time::Instant;

use crate::error::Error;
use crate::freshness::{Freshness, Watch};
use crate::helm;
use crate::instance::Plan;
pub(crate) use labels::{Build, Controller, Import};
use labels::{
    Exit, OfBuild, OfController, OfEnvironment, OfImport, OfPlan, OfReconcile, OfRun, OfState,
    OfVerb, OfWatch, Outcome, State, Verb,
};
use queue::Queue;
pub(crate) use queue::Waiting;

/// How the answer of `/metrics` is written.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Begins the name of every metric but those of the process.
const PREFIX: &str = "wavestore_operator";

/// Everything that is counted and measured.
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: Family<OfReconcile, Counter>,
    reconcile_duration: Family<OfController, Histogram>,
    plans: Family<OfPlan, Counter>,
    helm_runs: Family<OfRun, Counter>,
    helm_run_duration: Family<OfVerb, Histogram>,
    helm_running: Gauge,
    queue: Queue,
    app_imports: Family<OfImport, Counter>,
    environment_builds: Family<OfEnvironment, Counter>,
    leader: Gauge,
    instances: Arc<OnceLock<Store<WaveInstance>>>,
}

impl Metrics {
    /// Registers everything. What has few and known labels is there from the start, at zero: a rate over a counter
    /// that has just appeared misses its first step.
    pub(crate) fn new(freshness: Arc<Freshness>) -> Self {
        let mut registry = Registry::default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        registry.register_collector(Box::new(process::Process {
            started_at: now.unwrap_or_default().as_secs_f64(),
        }));
        let ours = registry.sub_registry_with_prefix(PREFIX);
        let reconciles = Family::default();
        let reconcile_duration = Family::new_with_constructor(durations as fn() -> Histogram);
        let plans = Family::default();
        let helm_runs = Family::default();
        let helm_run_duration = Family::new_with_constructor(durations as fn() -> Histogram);
        let helm_running = Gauge::default();
        let app_imports = Family::default();
        let environment_builds = Family::default();
        let leader = Gauge::default();
        let queue = Queue::default();
        let instances = Arc::new(OnceLock::new());

        ours.register(
            "build",
            "Version of the operator",
            Info::new(OfBuild {
                version: env!("CARGO_PKG_VERSION"),
            }),
        );
        ours.register(
            "leader",
            "1 while this replica may act, 0 while it stands by",
            leader.clone(),
        );
        ours.register(
            "reconciles",
            "Reconciliations that ended",
            reconciles.clone(),
        );
        ours.register_with_unit(
            "reconcile_duration",
            "Time of one reconciliation, waiting for Helm included",
            Unit::Seconds,
            reconcile_duration.clone(),
        );
        ours.register("plans", "Decisions on instances", plans.clone());
        ours.register("helm_runs", "Helm commands that ended", helm_runs.clone());
        ours.register_with_unit(
            "helm_run_duration",
            "Time of one Helm command",
            Unit::Seconds,
            helm_run_duration.clone(),
        );
        ours.register(
            "helm_running",
            "Helm commands at work",
            helm_running.clone(),
        );
        ours.register(
            "app_imports",
            "Tries to bring an app into the catalog",
            app_imports.clone(),
        );
        ours.register(
            "environment_builds",
            "Jobs that were to build the environment of an app",
            environment_builds.clone(),
        );
        ours.register_collector(Box::new(Scraped {
            freshness,
            queue: queue.clone(),
            instances: instances.clone(),
        }));
        ours.register_collector(Box::new(process::Container));

        let metrics = Self {
            registry,
            reconciles,
            reconcile_duration,
            plans,
            helm_runs,
            helm_run_duration,
            helm_running,
            queue,
            app_imports,
            environment_builds,
            leader,
            instances,
        };
        metrics.start_at_zero();
        metrics
    }

    fn start_at_zero(&self) {
        for &controller in Controller::VARIANTS {
            drop(
                self.reconcile_duration
                    .get_or_create(&OfController { controller }),
            );
            for &outcome in Outcome::VARIANTS {
                let labels = OfReconcile {
                    controller,
                    outcome,
                };
                drop(self.reconciles.get_or_create(&labels));
            }
        }
        for verb in [Verb::Upgrade, Verb::Uninstall] {
            drop(self.helm_run_duration.get_or_create(&OfVerb { verb }));
            for &outcome in Exit::VARIANTS {
                drop(self.helm_runs.get_or_create(&OfRun { verb, outcome }));
            }
        }
        for &outcome in Import::VARIANTS {
            drop(self.app_imports.get_or_create(&OfImport { outcome }));
        }
        for &outcome in Build::VARIANTS {
            drop(
                self.environment_builds
                    .get_or_create(&OfEnvironment { outcome }),
            );
        }
    }

    /// All of it as text, in the form of [`CONTENT_TYPE`].
    pub(crate) fn expose(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }

    /// Tells whether this replica may act.
    pub(crate) fn leader(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// From now on the instances in `store` are counted, at every scrape.
    pub(crate) fn count_instances(&self, store: Store<WaveInstance>) {
        // There is one store in a process.
        let _ = self.instances.set(store);
    }

    /// Counts a decision.
    pub(crate) fn planned(&self, plan: Plan) {
        self.plans.get_or_create(&plan.into()).inc();
    }

    /// Counts a try to import an app.
    pub(crate) fn imported(&self, outcome: Import) {
        self.app_imports.get_or_create(&OfImport { outcome }).inc();
    }

    /// Counts a job that was to build an environment.
    pub(crate) fn built(&self, outcome: Build) {
        self.environment_builds
            .get_or_create(&OfEnvironment { outcome })
            .inc();
    }

    /// Begins to measure a reconciliation.
    pub(crate) fn reconcile(&self, controller: Controller) -> Reconciliation<'_> {
        Reconciliation {
            metrics: self,
            controller,
            started: Instant::now(),
            helm_failed: false,
            outcome: Outcome::Stopped,
        }
    }

    /// Begins to measure how long somebody waits for Helm.
    pub(crate) fn wait_for_helm(&self) -> Waiting {
        self.queue.enter()
    }

    /// Tells whether Helm was too busy for an instance that can wait, so that it comes again.
    pub(crate) fn postponed(&self, instance: &str, postponed: bool) {
        self.queue.postpone(instance, postponed);
    }

    /// Begins to measure a Helm command.
    pub(crate) fn helm_run(&self, command: &str) -> HelmRun<'_> {
        self.helm_running.inc();
        HelmRun {
            metrics: self,
            verb: command.parse().unwrap_or(Verb::Other),
            started: Instant::now(),
            exit: Exit::Abandoned,
        }
    }
}

#[cfg(test)]
impl Default for Metrics {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

/// A reconciliation that is measured. It counts as stopped when it is dropped before its end.
#[must_use = "it is measured until it is dropped"]
pub(crate) struct Reconciliation<'a> {
    metrics: &'a Metrics,
    controller: Controller,
    started: Instant,
    helm_failed: bool,
    outcome: Outcome,
}

impl Reconciliation<'_> {
    /// Notes that Helm said no, which is no error of the reconciliation itself.
    pub(crate) fn helm_failed(&mut self) {
        self.helm_failed = true;
    }

    /// Ends it.
    pub(crate) fn end<T>(mut self, result: &Result<T, Error>) {
        self.outcome = match result {
            Ok(_) if self.helm_failed => Outcome::HelmFailed,
            Ok(_) => Outcome::Succeeded,
            Err(error) => error.into(),
        };
    }
}

impl From<&Error> for Outcome {
    fn from(error: &Error) -> Self {
        match error {
            Error::Stopping => Self::Stopped,
            Error::Helm(_) => Self::HelmFailed,
            Error::Kube { .. }
            | Error::Config(_)
            | Error::Catalog(_)
            | Error::Import(_)
            | Error::Lease(_)
            | Error::System { .. }
            | Error::NoChart(_)
            | Error::Ended(_) => Self::Failed,
        }
    }
}

impl Drop for Reconciliation<'_> {
    fn drop(&mut self) {
        let Self {
            metrics,
            controller,
            started,
            helm_failed: _,
            outcome,
        } = *self;
        let labels = OfReconcile {
            controller,
            outcome,
        };
        metrics.reconciles.get_or_create(&labels).inc();
        let seconds = started.elapsed().as_secs_f64();
        let durations = &metrics.reconcile_duration;
        durations
            .get_or_create(&OfController { controller })
            .observe(seconds);
    }
}

/// A Helm command that is measured. It counts as abandoned when it is dropped before its end.
#[must_use = "it is measured until it is dropped"]
pub(crate) struct HelmRun<'a> {
    metrics: &'a Metrics,
    verb: Verb,
    started: Instant,
    exit: Exit,
}

impl HelmRun<'_> {
    /// Ends it.
    pub(crate) fn end<T>(mut self, result: &Result<T, helm::Error>) {
        self.exit = match result {
            Ok(_) => Exit::Succeeded,
            Err(error) => error.into(),
        };
    }
}

impl Drop for HelmRun<'_> {
    fn drop(&mut self) {
        let Self {
            metrics,
            verb,
            started,
            exit,
        } = *self;
        metrics.helm_running.dec();
        let labels = OfRun {
            verb,
            outcome: exit,
        };
        metrics.helm_runs.get_or_create(&labels).inc();
        let seconds = started.elapsed().as_secs_f64();
        let durations = &metrics.helm_run_duration;
        durations.get_or_create(&OfVerb { verb }).observe(seconds);
    }
}

/// From ten milliseconds to five minutes.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 16))
}

/// What is looked up when somebody asks.
struct Scraped {
    freshness: Arc<Freshness>,
    queue: Queue,
    instances: Arc<OnceLock<Store<WaveInstance>>>,
}

impl fmt::Debug for Scraped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scraped").finish_non_exhaustive()
    }
}

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (encoder, now) = (&mut encoder, Instant::now());
        let seconds = Some(&Unit::Seconds);
        if let Some(cpu) = process::cpu_seconds(UsageWho::RUSAGE_CHILDREN) {
            let help = "CPU time of the Helm commands that have ended";
            collected(encoder, "helm_cpu", help, seconds, &ConstCounter::new(cpu))?;
        }
        #[expect(clippy::cast_precision_loss, reason = "so many do not wait")]
        let depth = self.queue.depth() as f64;
        let help = "Reconciliations that wait for Helm";
        collected_gauge(encoder, "helm_waiting", help, None, depth)?;
        let age = self.queue.age(now).as_secs_f64();
        let help = "How long the first of them has waited";
        collected_gauge(encoder, "helm_queue_age", help, seconds, age)?;
        #[expect(clippy::cast_precision_loss, reason = "so many do not wait")]
        let postponed = self.queue.postponed() as f64;
        let help = "Instances that can wait, and come again when Helm is less busy";
        collected_gauge(encoder, "helm_postponed", help, None, postponed)?;
        if let Some(age) = self.freshness.contact_age(now) {
            let help = "Since when the API server has not answered a poll";
            let age = age.as_secs_f64();
            collected_gauge(encoder, "api_contact_age", help, seconds, age)?;
        }
        let ages = watches(|watch| ConstGauge::new(self.freshness.age(watch, now).as_secs_f64()));
        let help = "Since when a watch has been failing; 0 while it is not";
        collected_family(encoder, "cache_age", help, seconds, MetricType::Gauge, ages)?;
        let errors = watches(|watch| ConstCounter::new(self.freshness.errors(watch)));
        let help = "Failures of watches";
        collected_family(
            encoder,
            "api_watch_errors",
            help,
            None,
            MetricType::Counter,
            errors,
        )?;
        self.encode_instances(encoder)
    }
}

impl Scraped {
    fn encode_instances(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut counts = [0_u32; State::VARIANTS.len()];
        for instance in self.instances.get().into_iter().flat_map(Store::state) {
            counts[state(&instance) as usize] += 1;
        }
        let counts = State::VARIANTS.iter().map(|&state| {
            (
                OfState { state },
                ConstGauge::new(f64::from(counts[state as usize])),
            )
        });
        let help = "Instances, by their conditions";
        collected_family(encoder, "instances", help, None, MetricType::Gauge, counts)
    }
}

/// A value of each watch, with its label.
fn watches<M>(value: impl Fn(Watch) -> M) -> impl Iterator<Item = (OfWatch, M)> {
    let watches = Watch::VARIANTS.iter();
    watches.map(move |&watch| (OfWatch { watch }, value(watch)))
}

/// How an instance is, by its conditions.
fn state(instance: &WaveInstance) -> State {
    let conditions = instance.status.iter().flat_map(|status| &status.conditions);
    let mut state = State::New;
    for condition in conditions {
        let holds = condition.status == ConditionStatus::True.to_string();
        if holds && condition.type_ == ConditionType::Ready.to_string() {
            return State::Ready;
        }
        if holds && condition.type_ == ConditionType::Stalled.to_string() {
            return State::Stalled;
        }
        state = State::Reconciling;
    }
    state
}

/// One metric without labels, as it is at this scrape.
fn collected(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    let encoder = encoder.encode_descriptor(name, help, unit, metric.metric_type())?;
    metric.encode(encoder)
}

/// The same for a number that goes up and down.
fn collected_gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: f64,
) -> fmt::Result {
    collected(encoder, name, help, unit, &ConstGauge::new(value))
}

/// One metric with labels, as it is at this scrape.
fn collected_family<L: EncodeLabelSet, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    type_: MetricType,
    values: impl Iterator<Item = (L, M)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, unit, type_)?;
    for (labels, metric) in values {
        metric.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
