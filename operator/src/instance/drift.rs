//! Drift: what somebody has changed or deleted of the objects that a release has rendered.
//!
//! Whether an object is as rendered is the API server's own judgement: a dry run of a patch with the rendered object would
//! change nothing. So defaults that the API server fills in, and fields that somebody has added, are no drift; Helm would not
//! touch them either. What was found to be as rendered is kept as one hash in the instance's status, so that nothing is asked
//! again after a restart of the operator.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service};
use kube::api::{Api, Patch, PatchParams};
use serde_json::Value;
use tracing::debug;

use super::context::Context;
use super::workload::{DeploymentSeen, Rendered, hash};
use crate::error::{Error, chain};
use crate::events::FIELD_MANAGER;
use crate::helm::releases;
use crate::watches::World;

/// Most differences that are named.
const NAMED: usize = 3;

/// What the watches show of a release's objects, with the revision that they belong to.
pub(super) fn fingerprint(world: &World, name: &str, revision: u32) -> String {
    let looks = |deployments: Vec<DeploymentSeen>| -> Vec<u64> {
        let looks = deployments.iter().map(|deployment| deployment.fingerprint);
        looks.collect()
    };
    let seen = (
        revision,
        looks(world.deployments.get(name)),
        world.services.get(name),
        world.volumes.get(name),
        world.files.get(name),
    );
    format!("{:016x}", hash(&seen))
}

/// Compares the objects in the cluster with what a revision has rendered; says what is different.
pub(super) async fn find(
    ctx: &Context,
    name: &str,
    revision: u32,
) -> Result<Option<String>, Error> {
    let secrets: Api<Secret> = ctx.api();
    let secret_name = releases::secret_name(name, revision);
    let record = secrets
        .get_opt(&secret_name)
        .await
        .map_err(|source| Error::Kube {
            task: format!("read the Secret `{secret_name}`"),
            source,
        })?;
    // A revision that is gone is replaced in this very moment; the watch will show it.
    let Some(objects) = record.and_then(|record| releases::manifest(&record).ok()) else {
        return Ok(None);
    };
    let world = &ctx.world;
    let mut has_deployment = false;
    let mut differences = Vec::new();
    for object in &objects {
        let own = object["metadata"]["name"].as_str().unwrap_or_default();
        let found = match object["kind"].as_str() {
            Some("Deployment") => {
                has_deployment = true;
                let seen = world.deployments.object(name, own);
                let seen = seen.map(|deployment| deployment.fingerprint);
                differs::<Deployment>(ctx, object, seen).await?
            }
            Some("Service") => {
                let seen = world.services.object(name, own);
                differs::<Service>(ctx, object, seen).await?
            }
            Some("ConfigMap") => {
                let seen = world.files.object(name, own);
                differs::<ConfigMap>(ctx, object, seen).await?
            }
            Some("PersistentVolumeClaim") => {
                let seen = world.volumes.object(name, own);
                differs::<PersistentVolumeClaim>(ctx, object, seen).await?
            }
            _ => None,
        };
        differences.extend(found);
    }
    if !has_deployment {
        // Rendered where nobody could be asked for the app, such as by `helm template`.
        return Ok(Some("nothing but the WaveInstance was rendered".to_owned()));
    }
    Ok((!differences.is_empty()).then(|| differences.join("; ")))
}

/// Compares an object with what is `rendered`. The watch may have `seen` it that way: then nothing more has to be asked, and
/// whatever happens to it later, the watch will show.
async fn differs<K: Rendered>(
    ctx: &Context,
    rendered: &Value,
    seen: Option<u64>,
) -> Result<Option<String>, Error> {
    let api: Api<K> = ctx.api();
    let kind = K::kind(&());
    let name = rendered["metadata"]["name"].as_str().unwrap_or_default();
    let missing = || Ok(Some(format!("the {kind} `{name}` is missing")));
    let failed = |source| Error::Kube {
        task: format!("compare the {kind} `{name}` with the release"),
        source,
    };
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        dry_run: true,
        ..PatchParams::default()
    };
    let wanted = match api.patch(name, &params, &Patch::Strategic(rendered)).await {
        Ok(wanted) => wanted,
        Err(kube::Error::Api(status)) if status.code == 404 => return missing(),
        // What cannot be put back, such as the size of a volume that somebody has made larger, is no drift.
        Err(kube::Error::Api(status)) if status.code == 422 => {
            debug!(
                error = chain(&status),
                "The {kind} {name} cannot be put back as rendered"
            );
            return Ok(None);
        }
        Err(source) => return Err(failed(source)),
    };
    if seen == Some(wanted.fingerprint()) {
        return Ok(None);
    }
    let Some(live) = api.get_opt(name).await.map_err(failed)? else {
        return missing();
    };
    if wanted.fingerprint() == live.fingerprint() {
        return Ok(None);
    }
    let mut paths = Vec::new();
    let (live, wanted) = (json(&live), json(&wanted));
    for part in ["/metadata/labels", "/spec", "/data", "/binaryData"] {
        let null = Value::Null;
        let (was, is) = (wanted.pointer(part), live.pointer(part));
        let start = part[1..].replace('/', ".");
        compare(
            was.unwrap_or(&null),
            is.unwrap_or(&null),
            &start,
            &mut paths,
        );
    }
    paths.truncate(NAMED);
    Ok(Some(format!(
        "the {kind} `{name}` was changed: {}",
        paths.join(", ")
    )))
}

fn json(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).expect("what came as JSON goes as JSON")
}

/// Adds the paths at which two values differ. Values themselves may be secrets, and are not told.
fn compare(wanted: &Value, live: &Value, path: &str, found: &mut Vec<String>) {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            for (key, value) in wanted {
                let path = format!("{path}.{key}");
                compare(value, live.get(key).unwrap_or(&Value::Null), &path, found);
            }
            let added = live.keys().filter(|key| !wanted.contains_key(*key));
            found.extend(added.map(|key| format!("{path}.{key}")));
        }
        (Value::Array(wanted), Value::Array(live)) if wanted.len() == live.len() => {
            for (index, (wanted, live)) in wanted.iter().zip(live).enumerate() {
                compare(wanted, live, &format!("{path}[{index}]"), found);
            }
        }
        _ if wanted == live => {}
        _ => found.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_their_path() {
        let wanted = json!({
            "replicas": 1,
            "template": { "containers": [{ "name": "app", "image": "a" }], "volumes": [] },
        });
        let live = json!({
            "replicas": 0,
            "template": { "containers": [{ "name": "app", "image": "b" }], "volumes": [1] },
            "paused": true,
        });
        let mut found = Vec::new();
        compare(&wanted, &live, "spec", &mut found);
        assert_eq!(
            found,
            [
                "spec.replicas",
                "spec.template.containers[0].image",
                "spec.template.volumes",
                "spec.paused",
            ]
        );
        found.clear();
        compare(&wanted, &wanted, "spec", &mut found);
        assert!(found.is_empty());
    }
}
