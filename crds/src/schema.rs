//! Manifests made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON,
};
use kube::{CustomResourceExt, ResourceExt};
use serde_json::{Value, json};

use crate::{Runtime, WaveAlias, WaveApp, WaveInstance, WaveInstanceSpec};

/// Values of the chart that are no part of the spec.
pub(crate) const RESERVED_VALUES: [&str; 2] = ["resolved", "global"];

/// The generation that a status speaks of before there is one.
const UNOBSERVED: i64 = -1;

/// The CRDs with the names of their files under `config/crd/`.
#[must_use]
pub fn crd_manifests() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![
        ("wavestore.io_waveapps.yaml", finished(WaveApp::crd())),
        (
            "wavestore.io_waveinstances.yaml",
            finished(WaveInstance::crd()),
        ),
        ("wavestore.io_wavealiases.yaml", finished(WaveAlias::crd())),
    ]
}

/// What the derive cannot say.
fn finished(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    // `helm uninstall` leaves it alone: with it would go every object of its kind.
    crd.annotations_mut()
        .insert("helm.sh/resource-policy".into(), "keep".into());
    // An object that nobody has looked at yet has no conditions, and kstatus takes what has none for done.
    let unobserved = json!({ "observedGeneration": UNOBSERVED });
    for version in &mut crd.spec.versions {
        let status = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
            .and_then(|schema| schema.properties.as_mut())
            .and_then(|properties| properties.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(unobserved.clone()));
        }
    }
    crd
}

/// The JSON schema of the chart `wave-instance`: the spec's own, and the reserved values.
///
/// # Panics
/// Never: the schema of a struct has properties.
#[must_use]
pub fn values_schema() -> Value {
    let mut spec = inlined::<WaveInstanceSpec>();
    let properties = spec["properties"]
        .as_object_mut()
        .expect("a struct has properties");
    let mut resolved = inlined::<Runtime>();
    // Nobody writes it by hand, and Helm keeps the schema in every release's record: half of it was this.
    drop_descriptions(&mut resolved);
    resolved["description"] = json!("Written by the operator; leave it alone.");
    properties.insert("resolved".into(), resolved);
    properties.insert("global".into(), json!({ "type": "object" }));
    spec["title"] = json!("Values of the chart wave-instance");
    spec
}

fn inlined<T: schemars::JsonSchema>() -> Value {
    let mut settings = schemars::generate::SchemaSettings::draft07();
    settings.inline_subschemas = true;
    settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// Drops the texts of a schema. A property named `description` is none: it is a schema itself.
fn drop_descriptions(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|name, value| name != "description" || !value.is_string());
            fields.values_mut().for_each(drop_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_descriptions),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
