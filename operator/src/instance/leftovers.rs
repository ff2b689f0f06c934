//! What a run of Helm left behind that has no record any more: it died in the middle, its pending record was dropped, and
//! the instance was deleted before the next run could adopt the objects.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service};
use kube::api::{Api, DeleteParams, ListParams, Preconditions};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tracing::warn;

use super::context::Context;
use crate::error::Error;

/// Deletes all objects that the chart has rendered for this instance. Only for an instance that has no release.
pub(super) async fn delete(ctx: &Context, name: &str) -> Result<(), Error> {
    delete_all::<Deployment>(ctx, name).await?;
    delete_all::<Service>(ctx, name).await?;
    delete_all::<ConfigMap>(ctx, name).await?;
    delete_all::<PersistentVolumeClaim>(ctx, name).await
}

async fn delete_all<K>(ctx: &Context, name: &str) -> Result<(), Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let api: Api<K> = ctx.api();
    let kind = K::kind(&());
    // As the chart labels what Helm makes of it.
    let label = crds::INSTANCE_LABEL;
    let ours =
        ListParams::default().labels(&format!("{label}={name},app.kubernetes.io/managed-by=Helm"));
    let listed = api
        .list_metadata(&ours)
        .await
        .map_err(|source| Error::Kube {
            task: format!("list what is left of instance `{name}`"),
            source,
        })?;
    for object in listed.items {
        let object_name = object.name_any();
        warn!(
            instance.id = name,
            "Deleting the {kind} {object_name}, which a run of Helm left behind"
        );
        let params = DeleteParams {
            // Not another one that has just taken the name.
            preconditions: Some(Preconditions {
                resource_version: None,
                uid: object.uid(),
            }),
            ..DeleteParams::default()
        };
        match api.delete(&object_name, &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(source) => {
                return Err(Error::Kube {
                    task: format!("delete the {kind} `{object_name}`"),
                    source,
                });
            }
        }
    }
    Ok(())
}
