//! Names that are taken. Helm is told to take over what it finds, so that it adopts the instance and what a dead run
//! left; it must not take over what belongs to somebody else, such as the store's own Service.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service};
use kube::api::ObjectMeta;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::reconcile::Context;
use crate::error::Error;

/// An object that has one of the names which the chart would use, and is of nobody's instance or of another one.
pub(super) async fn taken(ctx: &Context, name: &str) -> Result<Option<String>, Error> {
    let found = tokio::try_join!(
        foreign::<Deployment>(ctx, name, name.to_owned()),
        foreign::<Service>(ctx, name, name.to_owned()),
        foreign::<ConfigMap>(ctx, name, format!("{name}-files")),
        foreign::<PersistentVolumeClaim>(ctx, name, format!("{name}-data")),
        foreign::<PersistentVolumeClaim>(ctx, name, format!("{name}-resources")),
    )?;
    let (deployment, service, files, data, resources) = found;
    Ok(deployment.or(service).or(files).or(data).or(resources))
}

async fn foreign<K>(
    ctx: &Context,
    instance: &str,
    object_name: String,
) -> Result<Option<String>, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
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
