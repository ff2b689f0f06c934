//! Secrets of apps in the Kubernetes API: made, replaced and deleted, and never read.
//!
//! The router has no right to `get`, `list`, `watch` or `patch` Secrets: what is there is told by the operator, without values. An
//! update replaces everything, so that its answer has nothing that was not sent along.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use crds::{SecretEntry, SecretReaders};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions, PropagationPolicy};
use kube::{Api, Client};

use crate::activity::FIELD_MANAGER;
use crate::error::Error;
use crate::objects::ask;

/// All values of a secret, by key. They are shown to nobody, and not by mistake either.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Values(BTreeMap<String, ByteString>);

impl Values {
    /// Sets the value of a key.
    pub(crate) fn set(&mut self, key: String, value: Vec<u8>) {
        self.0.insert(key, ByteString(value));
    }
}

impl Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Secrets of apps in the store's namespace.
#[derive(Clone)]
pub(crate) struct Secrets(Api<Secret>);

impl Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Those of `namespace`.
    #[must_use]
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }

    /// Makes a Secret, or replaces all of the one that was `seen`, if that is the newest there is. What is told of it then.
    ///
    /// # Errors
    /// [`Error::Overtaken`] when another one is there, or [`Error::KubernetesRefused`] with the reason.
    pub(crate) async fn set(
        &self,
        name: &str,
        readers: &SecretReaders,
        values: Values,
        seen: Option<&SecretEntry>,
    ) -> Result<SecretEntry, Error> {
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(readers.labels()),
                annotations: Some(readers.annotations()),
                uid: seen.map(|seen| seen.uid.clone()),
                resource_version: seen.map(|seen| seen.resource_version.clone()),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            data: Some(values.0),
            ..Secret::default()
        };
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let set = match seen {
            None => ask(self.0.create(&params, &secret)).await,
            Some(_) => ask(self.0.replace(name, &params, &secret)).await,
        };
        let set = set.map_err(overtaken)?;
        SecretEntry::of(&set).ok_or_else(|| {
            Error::Internal("the Secret that was set does not have its marks".into())
        })
    }

    /// Deletes a Secret, if `seen` is the newest there is.
    ///
    /// # Errors
    /// [`Error::Overtaken`] when it is not.
    pub(crate) async fn delete(&self, name: &str, seen: &SecretEntry) -> Result<(), Error> {
        let params = DeleteParams {
            // In the foreground it would stay for a while, and the answer would have its values. A policy takes nothing else.
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: Some(seen.uid.clone()),
                resource_version: Some(seen.resource_version.clone()),
            }),
            ..DeleteParams::default()
        };
        ask(self.0.delete(name, &params)).await.map_err(overtaken)?;
        Ok(())
    }
}

/// What is gone has been changed by others, too.
fn overtaken(error: Error) -> Error {
    if matches!(error, Error::NotFound) {
        Error::Overtaken
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_shown_by_mistake() {
        let mut values = Values::default();
        values.set("password".to_owned(), b"hunter2".to_vec());
        assert_eq!(format!("{values:?}"), r#"{"password"}"#);
    }
}
