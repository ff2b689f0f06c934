//! The `WaveApp`s in the Kubernetes API, as people publish and delete them.
//!
//! What is asked for is written there and nowhere else. Who may ask is decided in `web`.

use crds::{WaveApp, WaveAppSpec};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};

use crate::activity::FIELD_MANAGER;
use crate::error::Error;
use crate::instances::ask;

/// The apps of the store's namespace.
#[derive(Clone)]
pub(crate) struct Apps {
    api: Api<WaveApp>,
}

impl std::fmt::Debug for Apps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apps").finish_non_exhaustive()
    }
}

impl Apps {
    /// Those of `namespace`.
    #[must_use]
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
        }
    }

    /// The `WaveApp` of this name as it is now, if there is one.
    ///
    /// # Errors
    /// [`Error::KubernetesAway`].
    pub(crate) async fn get(&self, name: &str) -> Result<Option<WaveApp>, Error> {
        ask(self.api.get_opt(name)).await
    }

    /// Makes a `WaveApp`; none if there is one of this name.
    ///
    /// # Errors
    /// [`Error::KubernetesRefused`] with the reason.
    pub(crate) async fn create(
        &self,
        name: &str,
        spec: WaveAppSpec,
    ) -> Result<Option<WaveApp>, Error> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match ask(self.api.create(&params, &WaveApp::new(name, spec))).await {
            Ok(made) => Ok(Some(made)),
            Err(Error::InstanceChanged) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes the very `WaveApp` that was seen. The operator keeps it until no instance of it is left.
    ///
    /// # Errors
    /// [`Error::KubernetesAway`].
    pub(crate) async fn delete(&self, seen: &WaveApp) -> Result<(), Error> {
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: seen.uid(),
            resource_version: None,
        });
        ask(self.api.delete(&seen.name_any(), &params)).await?;
        Ok(())
    }
}
