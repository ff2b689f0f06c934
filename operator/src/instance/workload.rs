//! What is kept of the objects of a release, and of Pods.

use catalog::EnvironmentKey;
use crds::ENVIRONMENT_ANNOTATION;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, ContainerState, ContainerStateTerminated, PersistentVolumeClaim, Pod, PodStatus,
    Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::index::Kept;

/// A kind of object that the chart renders, and that somebody may edit or delete.
pub(crate) trait Rendered:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
{
    /// A hash of all that somebody may have edited. It stays the same over restarts of the operator, and while Kubernetes'
    /// own controllers work.
    fn fingerprint(&self) -> u64;
}

impl Rendered for Deployment {
    fn fingerprint(&self) -> u64 {
        // How many pods there are changes while an instance sleeps and wakes; see `idle`.
        let spec = self.spec.clone().map(|spec| DeploymentSpec {
            replicas: None,
            ..spec
        });
        fingerprint(&self.metadata, &spec)
    }
}

impl Rendered for Service {
    fn fingerprint(&self) -> u64 {
        fingerprint(&self.metadata, &self.spec)
    }
}

impl Rendered for PersistentVolumeClaim {
    fn fingerprint(&self) -> u64 {
        // The name of its volume comes by itself.
        let resources = self.spec.as_ref().and_then(|spec| spec.resources.as_ref());
        fingerprint(&self.metadata, &resources)
    }
}

impl Rendered for ConfigMap {
    fn fingerprint(&self) -> u64 {
        fingerprint(&self.metadata, &(&self.data, &self.binary_data))
    }
}

fn fingerprint(metadata: &ObjectMeta, content: &impl Serialize) -> u64 {
    hash(&(&metadata.labels, content))
}

/// A hash that every version of the operator on every machine agrees on.
pub(crate) fn hash(content: &impl Serialize) -> u64 {
    let json = serde_json::to_vec(content).expect("what came as JSON goes as JSON");
    let digest = Sha256::digest(&json);
    let (first, _) = digest
        .split_first_chunk()
        .expect("a digest of 32 bytes has eight");
    u64::from_be_bytes(*first)
}

/// Keeps of an object that the chart has rendered how it looks.
pub(crate) fn keep_fingerprint<K: Rendered>(mut object: K) -> Option<Kept<u64>> {
    let value = object.fingerprint();
    kept(std::mem::take(object.meta_mut()), value)
}

/// A Deployment, cut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeploymentSeen {
    /// How it looks.
    pub(crate) fingerprint: u64,
    /// How many pods it is to have.
    pub(crate) replicas: i32,
    /// Its controller has seen the latest of it, and one pod of it is all there is.
    pub(crate) rolled_out: bool,
    /// That pod is ready.
    pub(crate) ready: bool,
    /// The environment that its pods fetch.
    pub(crate) environment: Option<EnvironmentKey>,
}

/// A Pod, cut down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodSeen {
    /// Its own name.
    pub(crate) name: String,
    /// When it was made.
    pub(crate) created: Option<Timestamp>,
    /// It is being deleted.
    pub(crate) deleting: bool,
    /// Address of its launcher; images of an app's own have none.
    pub(crate) launcher: Option<String>,
    /// Why no node takes it.
    pub(crate) unschedulable: Option<String>,
    /// It has a node.
    pub(crate) scheduled: bool,
    /// It serves.
    pub(crate) ready: bool,
    /// Why the pod as a whole failed, such as an eviction.
    pub(crate) failed: Option<String>,
    /// How its container is.
    pub(crate) container: ContainerSeen,
    /// How often its container was started again.
    pub(crate) restarts: i32,
    /// How its container ended the last time.
    pub(crate) last_end: Option<End>,
    /// Memory that its container may take, as its app spells it.
    pub(crate) memory_limit: Option<String>,
}

/// How a container is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ContainerSeen {
    /// Nothing is known.
    #[default]
    Unknown,
    /// It waits: Kubernetes' reason and words.
    Waiting(String, String),
    /// It runs.
    Running,
    /// It has ended.
    Ended(End),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// Its exit code.
    pub(crate) code: i32,
    /// Kubernetes' reason, such as `OOMKilled`.
    pub(crate) reason: String,
    /// What it left in its termination message.
    pub(crate) message: String,
}

/// Whether the pod's container serves the launcher's port.
fn has_launcher(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .flat_map(|container| container.ports.iter().flatten())
        .any(|port| port.container_port == i32::from(crds::HEALTH_PORT))
}

/// Why a pod as a whole has ended, which none is to do by itself.
fn failed(metadata: &ObjectMeta, status: &PodStatus) -> Option<String> {
    // A pod is called so, and the reason is forgotten, when it was evicted and its container ended with code 0 over that.
    let has_ended = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    if !has_ended {
        return None;
    }
    let said: Vec<&str> = [&status.reason, &status.message]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .filter(|text| !text.is_empty())
        .collect();
    Some(if said.is_empty() {
        let name = metadata.name.as_deref().unwrap_or_default();
        format!(
            "its node has ended it (hint: `kubectl get events --field-selector involvedObject.name={name}` may say why)"
        )
    } else {
        said.join(": ")
    })
}

fn memory_limit(pod: &Pod) -> Option<String> {
    let container = pod.spec.as_ref()?.containers.first()?;
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    Some(limits.get("memory")?.0.clone())
}

/// Keeps what is needed of a Deployment.
pub(crate) fn keep_deployment(deployment: Deployment) -> Option<Kept<DeploymentSeen>> {
    let fingerprint = deployment.fingerprint();
    let status = deployment.status.unwrap_or_default();
    let rolled_out = status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or_default() >= 1
        && status.replicas == status.updated_replicas;
    let spec = deployment.spec.unwrap_or_default();
    let replicas = spec.replicas;
    let environment = spec
        .template
        .metadata
        .and_then(|metadata| metadata.annotations)
        .and_then(|annotations| annotations.get(ENVIRONMENT_ANNOTATION)?.parse().ok());
    let value = DeploymentSeen {
        fingerprint,
        replicas: replicas.unwrap_or(1),
        rolled_out,
        ready: rolled_out && replicas != Some(0) && status.ready_replicas.unwrap_or_default() >= 1,
        environment,
    };
    kept(deployment.metadata, value)
}

/// Keeps what is needed of a Pod.
pub(crate) fn keep_pod(pod: Pod) -> Option<Kept<PodSeen>> {
    let launches = has_launcher(&pod);
    let memory_limit = memory_limit(&pod);
    let status = pod.status.unwrap_or_default();
    let condition = |name: &str| {
        status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == name)
    };
    let scheduling = condition("PodScheduled");
    let container = status
        .container_statuses
        .as_ref()
        .and_then(|containers| containers.first());
    let value = PodSeen {
        name: pod.metadata.name.clone().unwrap_or_default(),
        created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        launcher: status.pod_ip.clone().filter(|_| launches),
        unschedulable: scheduling
            .filter(|condition| condition.status == "False")
            .map(|condition| condition.message.clone().unwrap_or_default()),
        scheduled: scheduling.is_some_and(|condition| condition.status == "True"),
        ready: condition("Ready").is_some_and(|condition| condition.status == "True"),
        failed: failed(&pod.metadata, &status),
        container: container
            .and_then(|container| container.state.clone())
            .map(ContainerSeen::from)
            .unwrap_or_default(),
        restarts: container.map_or(0, |container| container.restart_count),
        last_end: container
            .and_then(|container| container.last_state.clone())
            .and_then(|state| state.terminated)
            .map(End::from),
        memory_limit,
    };
    kept(pod.metadata, value)
}

fn kept<T>(metadata: ObjectMeta, value: T) -> Option<Kept<T>> {
    let key = metadata.labels?.remove(crds::INSTANCE_LABEL)?;
    Some(Kept {
        key,
        object: metadata.name?,
        value,
    })
}

impl From<ContainerState> for ContainerSeen {
    fn from(state: ContainerState) -> Self {
        if let Some(ended) = state.terminated {
            Self::Ended(ended.into())
        } else if state.running.is_some() {
            Self::Running
        } else if let Some(waiting) = state.waiting {
            Self::Waiting(
                waiting.reason.unwrap_or_default(),
                waiting.message.unwrap_or_default(),
            )
        } else {
            Self::Unknown
        }
    }
}

impl From<ContainerStateTerminated> for End {
    fn from(ended: ContainerStateTerminated) -> Self {
        Self {
            code: ended.exit_code,
            reason: ended.reason.unwrap_or_default(),
            message: ended.message.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_that_its_node_has_ended_says_why() {
        let cases = [
            (json!({"phase": "Running"}), None),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
                Some("Evicted: The node was low on resource: memory."),
            ),
            (
                json!({"phase": "Failed", "message": "Pod Node didn't have enough resource: cpu"}),
                Some("Pod Node didn't have enough resource: cpu"),
            ),
            (
                json!({"phase": "Succeeded"}),
                Some(
                    "its node has ended it (hint: `kubectl get events --field-selector involvedObject.name=sales-1` may say why)",
                ),
            ),
        ];
        for (status, expected) in cases {
            let pod = json!({
                "metadata": {"name": "sales-1", "labels": {crds::INSTANCE_LABEL: "sales"}},
                "status": status,
            });
            let kept = keep_pod(serde_json::from_value(pod).expect("a pod")).expect("kept");
            assert_eq!(kept.value.failed.as_deref(), expected, "{status}");
        }
    }
}
