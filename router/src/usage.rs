//! What the pod of an instance uses, where the cluster measures that: by metrics-server, or what else serves `metrics.k8s.io`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bundle::Quantity;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use moka::future::Cache;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::pod_log::CONTAINER;
use crate::table::Route;

/// How long the API server may take for all that is asked. Whoever looks at an instance waits no longer for this.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a measurement is told, or that there is none, before it is asked for again. Clusters measure every 15 s or so.
const FRESH: Duration = Duration::from_secs(5);

/// Pods whose use is kept.
const CAPACITY: u64 = 500;

/// What a pod uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Thousandths of a core.
    pub cpu: Used,
    /// Bytes.
    pub memory: Used,
    /// When that was measured.
    pub measured: Option<Timestamp>,
}

/// So much of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    /// What is used.
    pub now: u64,
    /// How much may be used at most; none when nothing limits it.
    pub limit: Option<u64>,
}

/// Reads what pods use.
pub(crate) struct Meter {
    metrics: Api<DynamicObject>,
    pods: Api<Pod>,
    kept: Cache<String, Option<Usage>>,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

/// What is measured of a pod.
#[derive(Debug, Deserialize)]
struct Metrics {
    timestamp: Option<Time>,
    containers: Vec<Measured>,
}

#[derive(Debug, Deserialize)]
struct Measured {
    name: String,
    usage: BTreeMap<String, Amount>,
}

impl Meter {
    /// For the pods of `namespace`.
    #[must_use]
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        let kind = GroupVersionKind::gvk("metrics.k8s.io", "v1beta1", "PodMetrics");
        let kind = ApiResource::from_gvk_with_plural(&kind, "pods");
        let kept = Cache::builder().max_capacity(CAPACITY).time_to_live(FRESH);
        Self {
            metrics: Api::namespaced_with(client.clone(), namespace, &kind),
            pods: Api::namespaced(client, namespace),
            kept: kept.build(),
        }
    }

    /// What the newest pod of an instance uses; none when it has none, or when nobody measures it or can tell now.
    pub(crate) async fn of(&self, route: &Route) -> Option<Usage> {
        let pod = route.pods.last()?;
        // It would make whoever asks large.
        Box::pin(self.kept.get_with_by_ref(pod, self.read(pod))).await
    }

    /// The limits are those of the pod itself: what its app asks for now may be something else.
    async fn read(&self, pod: &str) -> Option<Usage> {
        let until = Instant::now() + PATIENCE;
        let metrics = answer(until, self.metrics.get(pod)).await?;
        let metrics: Metrics = match serde_json::from_value(metrics.data) {
            Ok(metrics) => metrics,
            Err(error) => {
                debug!("Could not read what pod {pod} uses: {error}");
                return None;
            }
        };
        let pod = answer(until, self.pods.get(pod)).await;
        Usage::of(&metrics, pod.as_ref())
    }
}

/// What the API server answers until then, if it has an answer.
async fn answer<T>(
    until: Instant,
    question: impl Future<Output = Result<T, kube::Error>>,
) -> Option<T> {
    match timeout_at(until, question).await {
        Ok(Ok(answer)) => Some(answer),
        // A cluster that measures nothing is as good as any.
        Ok(Err(error)) => {
            debug!(
                error = &error as &dyn std::error::Error,
                "Could not ask what a pod uses"
            );
            None
        }
        Err(_elapsed) => {
            debug!("The API server is too slow to tell what a pod uses");
            None
        }
    }
}

impl Usage {
    fn of(metrics: &Metrics, pod: Option<&Pod>) -> Option<Self> {
        let mut containers = metrics.containers.iter();
        let used = &containers.find(|one| one.name == CONTAINER)?.usage;
        let spec = pod.and_then(|pod| pod.spec.as_ref());
        let mut containers = spec.map_or(&[][..], |spec| &spec.containers).iter();
        let app = containers.find(|container| container.name == CONTAINER);
        let limits = app.and_then(|app| app.resources.as_ref()?.limits.as_ref());
        let amount = |of: &BTreeMap<String, Amount>, name: &str, read: fn(&Quantity) -> u128| {
            let quantity: Quantity = of.get(name)?.0.parse().ok()?;
            u64::try_from(read(&quantity)).ok()
        };
        let of = |name, read| {
            Some(Used {
                now: amount(used, name, read)?,
                limit: limits.and_then(|limits| amount(limits, name, read)),
            })
        };
        Some(Self {
            cpu: of("cpu", Quantity::millis)?,
            memory: of("memory", Quantity::units)?,
            measured: metrics.timestamp.as_ref().map(|time| time.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn use_is_that_of_the_container_with_the_app() {
        let measured = |containers: Value| {
            let metrics = json!({ "timestamp": "2026-01-01T12:00:00Z", "containers": containers });
            serde_json::from_value::<Metrics>(metrics).expect("metrics")
        };
        let app = |usage: Value| json!({ "name": "app", "usage": usage });
        let proxy = json!({ "name": "proxy", "usage": { "cpu": "1", "memory": "1Gi" } });
        let usual = app(json!({ "cpu": "29500001n", "memory": "217088Ki" }));
        let limited = |limits: Value| {
            let containers = json!([
                { "name": "proxy", "resources": { "limits": { "cpu": "7", "memory": "7Gi" } } },
                { "name": "app", "resources": { "limits": limits } },
            ]);
            Some(json!({ "spec": { "containers": containers } }))
        };
        let used = |now, limit| Used { now, limit };
        let bytes = 212 << 20;
        let cases = [
            (
                "with limits",
                json!([proxy, usual]),
                limited(json!({ "cpu": "1", "memory": "1Gi" })),
                Some((used(30, Some(1000)), used(bytes, Some(1 << 30)))),
            ),
            (
                "with one limit",
                json!([usual]),
                limited(json!({ "memory": "1Gi" })),
                Some((used(30, None), used(bytes, Some(1 << 30)))),
            ),
            (
                "with a limit that nobody can read",
                json!([usual]),
                limited(json!({ "memory": "much" })),
                Some((used(30, None), used(bytes, None))),
            ),
            (
                "the pod has gone meanwhile",
                json!([usual]),
                None,
                Some((used(30, None), used(bytes, None))),
            ),
            ("only of another container", json!([proxy]), None, None),
            ("of no container", json!([]), None, None),
            (
                "no memory is told",
                json!([app(json!({ "cpu": "1" }))]),
                None,
                None,
            ),
            (
                "what nobody can read",
                json!([app(json!({ "cpu": "-1", "memory": "1" }))]),
                None,
                None,
            ),
        ];
        for (name, containers, pod, expected) in cases {
            let pod: Option<Pod> = pod.map(|pod| serde_json::from_value(pod).expect("a pod"));
            let usage = Usage::of(&measured(containers), pod.as_ref());
            let found = usage.map(|usage| (usage.cpu, usage.memory));
            assert_eq!(found, expected, "{name}");
            let noon = "2026-01-01T12:00:00Z".parse().ok();
            assert!(
                usage.is_none_or(|usage| usage.measured == noon),
                "{name}: {usage:?}"
            );
        }
    }
}
