//! Finalizers, set and dropped only on the version of the object that was looked at.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::error::Error;

/// When to look again at an object that was changed in the very moment.
const SOON: Duration = Duration::from_millis(300);

/// What became of a change of finalizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what was overtaken has to be done again: the watch is silent about changes that touch no spec"]
pub(crate) enum Change {
    /// It is made, or the object is gone.
    Made,
    /// Somebody has changed the object since it was looked at.
    Overtaken,
}

impl Change {
    /// When to look at the object again, if not when it changes.
    pub(crate) fn wait(self) -> Option<Duration> {
        match self {
            Self::Made => None,
            Self::Overtaken => Some(SOON),
        }
    }

    /// The same for a controller.
    pub(crate) fn requeue(self) -> Action {
        self.wait()
            .map_or_else(Action::await_change, Action::requeue)
    }
}

/// Whether the object carries `finalizer`.
pub(crate) fn has(object: &impl ResourceExt, finalizer: &str) -> bool {
    object.finalizers().iter().any(|held| held == finalizer)
}

/// Adds `finalizer`.
pub(crate) async fn add<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<Change, Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(finalizer.to_owned());
    set(api, object, &finalizers).await
}

/// Drops `finalizer`.
pub(crate) async fn remove<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<Change, Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut finalizers = object.finalizers().to_vec();
    finalizers.retain(|held| held != finalizer);
    set(api, object, &finalizers).await
}

async fn set<K>(api: &Api<K>, object: &K, finalizers: &[String]) -> Result<Change, Error>
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
        Ok(_) => Ok(Change::Made),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Change::Made),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Change::Overtaken),
        Err(source) => Err(Error::Kube {
            task: format!("set the finalizers of `{name}`"),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use crds::{AppRef, FINALIZER, Visibility, WaveInstance, WaveInstanceSpec};

    use super::*;
    use crate::fake_api;

    #[tokio::test]
    async fn what_was_overtaken_is_tried_again() {
        let spec = WaveInstanceSpec {
            app: AppRef::default(),
            owner: "alice".to_owned(),
            visibility: Visibility::Private,
            suspended: false,
            size: None,
        };
        let instance = WaveInstance::new("sales", spec);
        let cases = [
            ("a label came", 409, Some(Action::requeue(SOON))),
            ("it is gone", 404, Some(Action::await_change())),
            ("the API server is ill", 500, None),
        ];
        for (name, code, expected) in cases {
            let (client, _log) = fake_api::start(move |_| Some(fake_api::refusal(code))).await;
            let api = Api::namespaced(client, "wavestore");
            let added = add(&api, &instance, FINALIZER).await.ok();
            assert_eq!(added.map(Change::requeue), expected, "{name}");
            let removed = remove(&api, &instance, FINALIZER).await.ok();
            assert_eq!(removed.map(Change::requeue), expected, "{name}");
        }
    }
}
