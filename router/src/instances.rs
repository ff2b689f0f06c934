//! The `WaveInstance`s in the Kubernetes API, as people change them by the store's pages and its API.
//!
//! What is asked for is written there and nowhere else. Who may ask is decided in `web`.

use std::time::Duration;

use crds::{WaveInstance, WaveInstanceSpec};
use k8s_openapi::api::core::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::InstanceId;
use crate::activity::FIELD_MANAGER;
use crate::error::Error;

/// How long the API server may take for one question or one change.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most Events of one instance that are asked for.
const EVENTS: u32 = 100;

/// The instances of the store's namespace.
#[derive(Clone)]
pub(crate) struct Instances {
    api: Api<WaveInstance>,
    events: Api<Event>,
}

impl std::fmt::Debug for Instances {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instances").finish_non_exhaustive()
    }
}

impl Instances {
    /// Those of `namespace`.
    #[must_use]
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            events: Api::namespaced(client, namespace),
        }
    }

    /// The instance as it is now, if there is one.
    ///
    /// # Errors
    /// [`Error::KubernetesAway`].
    pub(crate) async fn get(&self, id: &InstanceId) -> Result<Option<WaveInstance>, Error> {
        ask(self.api.get_opt(id.as_ref())).await
    }

    /// Makes an instance.
    ///
    /// # Errors
    /// [`Error::InstanceNameTaken`], or [`Error::KubernetesRefused`] with the reason.
    pub(crate) async fn create(
        &self,
        id: &InstanceId,
        spec: WaveInstanceSpec,
    ) -> Result<WaveInstance, Error> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let object = WaveInstance::new(id.as_ref(), spec);
        match ask(self.api.create(&params, &object)).await {
            Err(Error::InstanceChanged) => Err(Error::InstanceNameTaken(id.to_string())),
            other => other,
        }
    }

    /// Changes fields of the spec (RFC 7396), if `seen` is the newest there is.
    ///
    /// # Errors
    /// [`Error::InstanceChanged`] when it is not, or [`Error::KubernetesRefused`] with the reason.
    pub(crate) async fn change(
        &self,
        seen: &WaveInstance,
        spec: Value,
    ) -> Result<WaveInstance, Error> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({
            "metadata": { "uid": seen.uid(), "resourceVersion": seen.resource_version() },
            "spec": spec,
        }));
        ask(self.api.patch(&seen.name_any(), &params, &patch)).await
    }

    /// Deletes an instance, if `seen` is the newest there is. It is gone once the operator has uninstalled its release.
    ///
    /// # Errors
    /// [`Error::InstanceChanged`] when it is not.
    pub(crate) async fn delete(&self, seen: &WaveInstance) -> Result<(), Error> {
        let params = DeleteParams::default().preconditions(Preconditions {
            resource_version: seen.resource_version(),
            uid: seen.uid(),
        });
        ask(self.api.delete(&seen.name_any(), &params)).await?;
        Ok(())
    }

    /// What has happened to the instance lately, in no order.
    ///
    /// # Errors
    /// [`Error::KubernetesAway`].
    pub(crate) async fn events(&self, instance: &WaveInstance) -> Result<Vec<Event>, Error> {
        let uid = instance.uid().unwrap_or_default();
        let of_it = format!("involvedObject.kind=WaveInstance,involvedObject.uid={uid}");
        let params = ListParams::default().fields(&of_it).limit(EVENTS);
        Ok(ask(self.events.list(&params)).await?.items)
    }
}

/// Waits for the API server, and says what its refusals mean.
pub(crate) async fn ask<T>(
    answer: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(refusal(status)),
        Ok(Err(error)) => Err(Error::KubernetesAway(Box::new(error))),
        Err(elapsed) => Err(Error::KubernetesAway(Box::new(elapsed))),
    }
}

fn refusal(status: Box<Status>) -> Error {
    match status.code {
        404 => Error::NotFound,
        409 => Error::InstanceChanged,
        422 => Error::KubernetesRefused(words(&status).to_owned()),
        _ => Error::KubernetesAway(status),
    }
}

/// What the API server objects to: the words of a policy, where one says no.
fn words(status: &Status) -> &str {
    let policy = status.message.split_once("denied request: ");
    policy.map_or(status.message.as_str(), |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_it_means() {
        let limit = "waveinstances.wavestore.io \"x\" is forbidden: ValidatingAdmissionPolicy 'a' with binding 'b' denied \
                     request: user alice has as many instances as a user may have (5)";
        let cases = [
            (404, "gone", "NotFound", "there is nothing at this address"),
            (
                409,
                "newer",
                "InstanceChanged",
                "the instance has changed in the meantime",
            ),
            (
                422,
                limit,
                "KubernetesRefused",
                "the Kubernetes API refuses it: user alice has as many instances as a user may have (5)",
            ),
            (
                403,
                "no right",
                "KubernetesAway",
                "the Kubernetes API is not available at the moment",
            ),
        ];
        for (code, message, expected, text) in cases {
            let status = Status {
                code,
                message: message.to_owned(),
                ..Status::default()
            };
            let error = refusal(Box::new(status));
            assert_eq!((error.code(), error.to_string().as_str()), (expected, text));
        }
    }
}
