//! Objects of one kind in the Kubernetes API, as people make, change and delete them by the store's pages and its API.
//!
//! What is asked for is written there and nowhere else. Who may ask is decided in `web`.

use std::fmt::{self, Debug};
use std::time::Duration;

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{NamespaceResourceScope, Status};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::activity::FIELD_MANAGER;
use crate::error::Error;

/// How long the API server may take for one question or one change.
const PATIENCE: Duration = Duration::from_secs(5);

/// The objects of one kind in the store's namespace.
#[derive(Clone)]
pub(crate) struct Objects<K>(Api<K>);

impl<K> Debug for Objects<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

impl<K> Objects<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + Debug + Serialize + DeserializeOwned,
{
    /// Those of `namespace`.
    #[must_use]
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }

    /// The object of this name as it is now, if there is one.
    ///
    /// # Errors
    /// [`Error::KubernetesAway`].
    pub(crate) async fn get(&self, name: &str) -> Result<Option<K>, Error> {
        ask(self.0.get_opt(name)).await
    }

    /// Some objects, from a place on that the API server has named before; and the place of the rest.
    ///
    /// # Errors
    /// [`Error::BadRequest`] when the API server does not know the place any more.
    pub(crate) async fn list(
        &self,
        limit: u32,
        after: Option<&str>,
    ) -> Result<(Vec<K>, Option<String>), Error> {
        let mut params = ListParams::default().limit(limit);
        if let Some(after) = after {
            params = params.continue_token(after);
        }
        let found = async {
            match self.0.list(&params).await {
                Err(kube::Error::Api(status)) if matches!(status.code, 400 | 410) => Ok(None),
                found => found.map(Some),
            }
        };
        let found = ask(found).await?;
        let found = found.ok_or(Error::BadRequest(
            "there is no such place in the list any more: begin anew",
        ))?;
        let rest = found.metadata.continue_.filter(|rest| !rest.is_empty());
        Ok((found.items, rest))
    }

    /// Makes an object; none if there is one of its name.
    ///
    /// # Errors
    /// [`Error::KubernetesRefused`] with the reason.
    pub(crate) async fn create(&self, object: &K) -> Result<Option<K>, Error> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match ask(self.0.create(&params, object)).await {
            Ok(made) => Ok(Some(made)),
            Err(Error::Overtaken) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes fields of the spec (RFC 7396), if `seen` is the newest there is.
    ///
    /// # Errors
    /// [`Error::Overtaken`] when it is not, or [`Error::KubernetesRefused`] with the reason.
    pub(crate) async fn change(&self, seen: &K, spec: Value) -> Result<K, Error> {
        self.patch(seen, json!({ "spec": spec })).await
    }

    /// The same, with annotations.
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn change_with_annotations(
        &self,
        seen: &K,
        spec: Value,
        annotations: Value,
    ) -> Result<K, Error> {
        let metadata = json!({ "annotations": annotations });
        self.patch(seen, json!({ "spec": spec, "metadata": metadata }))
            .await
    }

    async fn patch(&self, seen: &K, mut patch: Value) -> Result<K, Error> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        patch["metadata"]["uid"] = json!(seen.uid());
        patch["metadata"]["resourceVersion"] = json!(seen.resource_version());
        let patch = Patch::Merge(patch);
        ask(self.0.patch(&seen.name_any(), &params, &patch)).await
    }

    /// Deletes an object, if `seen` is the newest there is. It is gone once the operator has put away what belongs to it.
    ///
    /// # Errors
    /// [`Error::Overtaken`] when it is not.
    pub(crate) async fn delete(&self, seen: &K) -> Result<(), Error> {
        let params = DeleteParams::default().preconditions(Preconditions {
            resource_version: seen.resource_version(),
            uid: seen.uid(),
        });
        ask(self.0.delete(&seen.name_any(), &params)).await?;
        Ok(())
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
        409 => Error::Overtaken,
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
                "Overtaken",
                "others change it at the same time",
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
