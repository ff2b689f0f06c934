//! Finalizers, set and dropped only on the version of the object that was looked at.

use std::fmt::Debug;

use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::error::Error;

/// Whether the object carries `finalizer`.
pub(crate) fn has(object: &impl ResourceExt, finalizer: &str) -> bool {
    object.finalizers().iter().any(|held| held == finalizer)
}

/// Adds `finalizer`.
pub(crate) async fn add<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<(), Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(finalizer.to_owned());
    set(api, object, &finalizers).await
}

/// Drops `finalizer`.
pub(crate) async fn remove<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<(), Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut finalizers = object.finalizers().to_vec();
    finalizers.retain(|held| held != finalizer);
    set(api, object, &finalizers).await
}

async fn set<K>(api: &Api<K>, object: &K, finalizers: &[String]) -> Result<(), Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    // With the resourceVersion the API server refuses the patch when the object has changed meanwhile.
    let patch = json!({ "metadata": {
        "resourceVersion": object.resource_version(),
        "finalizers": finalizers,
    } });
    let name = object.name_any();
    match api
        .patch_metadata(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Ok(_) => Ok(()),
        // Gone meanwhile, or changed: then the change brings us back.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(source) => Err(Error::Kube {
            task: format!("set the finalizers of `{name}`"),
            source,
        }),
    }
}
