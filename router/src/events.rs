//! What has happened to instances, as the Kubernetes API tells it.

use std::fmt;

use crds::WaveInstance;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::error::Error;
use crate::objects::ask;

/// Most Events of one instance that are asked for.
const LIMIT: u32 = 100;

/// The Events of the store's namespace.
#[derive(Clone)]
pub(crate) struct Events(Api<Event>);

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Those of `namespace`.
    #[must_use]
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }

    /// What has happened to the instance lately, in no order.
    ///
    /// # Errors
    /// [`Error::KubernetesAway`].
    pub(crate) async fn of(&self, instance: &WaveInstance) -> Result<Vec<Event>, Error> {
        let uid = instance.uid().unwrap_or_default();
        let of_it = format!("involvedObject.kind=WaveInstance,involvedObject.uid={uid}");
        let params = ListParams::default().fields(&of_it).limit(LIMIT);
        Ok(ask(self.0.list(&params)).await?.items)
    }
}
