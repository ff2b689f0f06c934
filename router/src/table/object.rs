//! What the router keeps of a Kubernetes object: a few hundred bytes, read once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bundle::Quantity;
use crds::{
    AppRef, ConditionType, INSTANCE_LABEL, Runtime, Visibility, WaveAlias, WaveAliasSpec, WaveApp,
    WaveInstance, find_condition, holds, is_failure,
};
use k8s_openapi::api::core::v1::{ConfigMap, ResourceRequirements};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tracing::warn;

use super::{AppEntry, Secrets, Size};
use crate::proxy::upstream::UpstreamKey;

/// Label by which an `EndpointSlice` names its service; a service is called like its instance.
pub(super) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The little that is kept of an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object {
    Instance(Instance),
    App(AppEntry),
    Slice(Slice),
    Alias(Alias),
    Secrets(Arc<Secrets>),
}

/// One `WaveAlias`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alias {
    pub(super) created: Option<Timestamp>,
    pub(super) spec: WaveAliasSpec,
}

/// One `WaveInstance`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Instance {
    pub(super) uid: String,
    pub(super) created: Option<Timestamp>,
    pub(super) app: AppRef,
    pub(super) owner: String,
    pub(super) visibility: Visibility,
    pub(super) suspended: bool,
    pub(super) size: Option<String>,
    pub(super) last_activity: LastActivity,
    pub(super) phase: Option<String>,
    pub(super) ready: bool,
    pub(super) failing: bool,
    pub(super) message: Option<String>,
    pub(super) delete_after: Option<Timestamp>,
    pub(super) deleted: Option<Timestamp>,
}

/// When an instance was used last. It is written again and again while it is used, and changes no route: for the table, one is
/// as good as another.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastActivity(pub(super) Option<Timestamp>);

impl PartialEq for LastActivity {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// One `EndpointSlice`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slice {
    pub(super) service: String,
    pub(super) ready: Vec<UpstreamKey>,
    /// Names of all its pods.
    pub(super) pods: Vec<String>,
}

/// Keeps what the router needs of an instance.
pub(super) fn read_instance(object: WaveInstance) -> Instance {
    let deleted = object.metadata.deletion_timestamp.as_ref();
    let deleted = deleted.map(|time| time.0);
    // Of a time that cannot be read the operator tells.
    let delete_after = object.delete_after().ok().flatten();
    let status = object.status.unwrap_or_default();
    let condition = find_condition(&status.conditions, ConditionType::Ready);
    let ready = holds(&status.conditions, ConditionType::Ready);
    let unready = condition.filter(|_| !ready);
    let stalled = holds(&status.conditions, ConditionType::Stalled);
    Instance {
        delete_after: delete_after.filter(|_| deleted.is_none()),
        deleted,
        uid: object.metadata.uid.unwrap_or_default(),
        created: object.metadata.creation_timestamp.map(|time| time.0),
        app: object.spec.app,
        owner: object.spec.owner,
        visibility: object.spec.visibility,
        suspended: object.spec.suspended,
        size: object.spec.size,
        last_activity: LastActivity(status.last_activity.map(|time| time.0)),
        phase: status.phase,
        ready,
        failing: stalled || unready.is_some_and(|condition| is_failure(&condition.reason)),
        message: unready
            .map(|condition| condition.message.clone())
            .filter(|message| !message.is_empty()),
    }
}

/// Keeps what the router needs of an app, once the operator has read its bundle.
pub(crate) fn read_app(object: WaveApp) -> Option<AppEntry> {
    let name = object.name_any();
    let status = object.status?;
    let ready = holds(&status.conditions, ConditionType::Ready);
    Some(AppEntry {
        object: name,
        app: status.app?,
        created: object.metadata.creation_timestamp.map(|time| time.0),
        title: status.title,
        owner: object.spec.owner,
        visibility: object.spec.visibility,
        lifecycle: status.lifecycle.unwrap_or_default(),
        tags: [status.tags, object.spec.tags].concat(),
        routing_mode: status.routing_mode.unwrap_or_default(),
        mode: status.runtime.as_ref().map(|runtime| runtime.mode),
        secrets: status.runtime.as_ref().map_or_else(Vec::new, secrets_of),
        digest: status.digest,
        idle_timeout: status
            .idle_timeout_seconds
            .map(|seconds| Duration::from_secs(seconds.into())),
        memory: status
            .runtime
            .as_ref()
            .map_or(0, |runtime| memory_of(&runtime.resources)),
        sizes: status.runtime.map_or_else(Vec::new, |runtime| {
            let sizes = runtime.sizes.into_iter().map(|size| Size {
                memory: memory_of(&size.resources),
                name: size.name,
                description: size.description,
            });
            sizes.collect()
        }),
        ready,
    })
}

/// The memory limit, in bytes.
fn memory_of(resources: &ResourceRequirements) -> u64 {
    let limit = resources.limits.as_ref().and_then(|all| all.get("memory"));
    let quantity: Option<Quantity> = limit.and_then(|limit| limit.0.parse().ok());
    quantity.map_or(0, |quantity| {
        u64::try_from(quantity.units()).unwrap_or(u64::MAX)
    })
}

/// Keeps the ready endpoints of an instance's service. Kubernetes copies a service's labels to its slices; without this
/// one it is somebody else's service, and an instance of its name must not open it.
pub(super) fn read_slice(object: EndpointSlice) -> Option<Slice> {
    let service = object.labels().get(SERVICE_LABEL)?.clone();
    if object.labels().get(INSTANCE_LABEL) != Some(&service) {
        return None;
    }
    let ports = object.ports.unwrap_or_default();
    let port = ports
        .iter()
        .find(|port| port.name.as_deref() == Some("http"))
        .or_else(|| ports.first())
        .and_then(|port| port.port)
        .and_then(|port| u16::try_from(port).ok())?;
    let pods = object
        .endpoints
        .iter()
        .filter_map(|endpoint| endpoint.target_ref.as_ref())
        .filter(|target| target.kind.as_deref() == Some("Pod"))
        .filter_map(|pod| pod.name.clone())
        .collect();
    let ready = object
        .endpoints
        .into_iter()
        .filter(|endpoint| {
            // No condition means ready, says the API.
            endpoint
                .conditions
                .as_ref()
                .and_then(|conditions| conditions.ready)
                .unwrap_or(true)
        })
        .filter_map(|endpoint| {
            let address = SocketAddr::new(endpoint.addresses.first()?.parse().ok()?, port);
            let pod_uid = endpoint
                .target_ref
                .and_then(|pod| pod.uid)
                .unwrap_or_default();
            Some(UpstreamKey { pod_uid, address })
        })
        .collect();
    Some(Slice {
        service,
        ready,
        pods,
    })
}

/// Keeps what the router needs of an alias.
pub(super) fn read_alias(object: WaveAlias) -> Alias {
    Alias {
        created: object.metadata.creation_timestamp.map(|time| time.0),
        spec: object.spec,
    }
}

/// Names of the Secrets that an app was granted.
fn secrets_of(runtime: &Runtime) -> Vec<String> {
    let variables = runtime.env.iter().filter_map(|variable| {
        let source = variable.value_from.as_ref()?;
        source.secret_key_ref.as_ref()
    });
    let files = runtime.files.iter();
    let files = files.filter_map(|file| file.secret_key_ref.as_ref());
    let mut names: Vec<String> = variables.chain(files).map(|key| key.name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// Keeps what the operator tells of Secrets.
pub(super) fn read_secrets(map: ConfigMap) -> Arc<Secrets> {
    let rows = map.data.unwrap_or_default().into_iter();
    let entries = rows.filter_map(|(name, row)| match serde_json::from_str(&row) {
        Ok(entry) => Some((name, entry)),
        Err(error) => {
            warn!("Could not read what is told of the Secret `{name}`: {error}");
            None
        }
    });
    Arc::new(entries.collect())
}
