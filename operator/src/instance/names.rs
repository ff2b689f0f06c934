//! Names that are taken. Helm is told to take over what it finds, so that it adopts the instance and what a dead run
//! left; it must not take over what belongs to somebody else, such as the store's own Service.

use std::fmt::Debug;

use crds::Runtime;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service};
use kube::api::ObjectMeta;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::context::Context;
use crate::error::Error;

/// An object that has one of the names which the chart uses for this instance, and is of nobody's instance or of another one.
pub(super) async fn taken(
    ctx: &Context,
    name: &str,
    runtime: &Runtime,
) -> Result<Option<String>, Error> {
    let data = runtime.volume.as_ref().map(|_| format!("{name}-data"));
    let resources = runtime.resource_volume_size.as_ref();
    let resources = resources.map(|_| format!("{name}-resources"));
    // Those whose content is a secret need no object of their own; asking for one too many does no harm.
    let files = (!runtime.files.is_empty()).then(|| format!("{name}-files"));
    let found = tokio::try_join!(
        foreign::<Deployment>(ctx, name, Some(name.to_owned())),
        foreign::<Service>(ctx, name, Some(name.to_owned())),
        foreign::<ConfigMap>(ctx, name, files),
        foreign::<PersistentVolumeClaim>(ctx, name, data),
        foreign::<PersistentVolumeClaim>(ctx, name, resources),
    )?;
    let (deployment, service, files, data, resources) = found;
    Ok(deployment.or(service).or(files).or(data).or(resources))
}

async fn foreign<K>(
    ctx: &Context,
    instance: &str,
    object_name: Option<String>,
) -> Result<Option<String>, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let Some(object_name) = object_name else {
        return Ok(None);
    };
    let api: Api<K> = ctx.api();
    let found = api
        .get_metadata_opt(&object_name)
        .await
        .map_err(|source| Error::Kube {
            task: format!("read the {} `{object_name}`", K::kind(&())),
            source,
        })?;
    Ok(found
        .filter(|object| !is_of(&object.metadata, instance))
        .map(|_| format!("{} `{object_name}`", K::kind(&()))))
}

/// Whether an object says that it is of this instance, as the chart labels all of them.
fn is_of(metadata: &ObjectMeta, instance: &str) -> bool {
    let labels = metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(crds::INSTANCE_LABEL)) == Some(&instance.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_of_the_instance_that_its_label_names() {
        let labelled = |key: &str, value: &str| ObjectMeta {
            labels: Some([(key.to_owned(), value.to_owned())].into()),
            ..ObjectMeta::default()
        };
        let cases = [
            ("its own", labelled(crds::INSTANCE_LABEL, "sales"), true),
            ("another's", labelled(crds::INSTANCE_LABEL, "sale"), false),
            (
                "the store's",
                labelled("app.kubernetes.io/instance", "sales"),
                false,
            ),
            ("nobody's", ObjectMeta::default(), false),
        ];
        for (whose, metadata, expected) in cases {
            assert_eq!(is_of(&metadata, "sales"), expected, "{whose}");
        }
    }
}
