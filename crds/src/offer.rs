//! What a store's settings offer by name: runtime versions to apps, and sizes to instances. The operator applies it, routers tell
//! it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::{Deserialize, Deserializer};

/// An image by the names by which apps ask for it (`[Runtime] RuntimeVersion` in app.toml).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeVersion {
    /// What apps call it.
    pub name: String,
    /// What their pods run: the launcher, uv and one Python.
    pub image: String,
    /// What else apps may call it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Whether publishers are asked to take another one.
    #[serde(default)]
    pub deprecated: bool,
}

impl RuntimeVersion {
    /// All that it is called.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name)
            .chain(&self.aliases)
            .map(String::as_str)
    }
}

/// What a pod may have, chosen for an instance by name (`spec.size`). What it says counts, and what it leaves out is as the app
/// asks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Size {
    /// What instances call it.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// What the pod is given in any case, by resource.
    #[serde(default, deserialize_with = "amounts")]
    pub requests: BTreeMap<String, Quantity>,
    /// What it may take at most, by resource.
    #[serde(default, deserialize_with = "amounts")]
    pub limits: BTreeMap<String, Quantity>,
    /// Labels of the nodes where it runs.
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that it bears.
    #[serde(default)]
    pub tolerations: Vec<Toleration>,
}

/// Quantities as YAML has them: `cpu: 2` is a number.
fn amounts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Quantity>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Number(serde_json::Number),
    }

    let written: BTreeMap<String, Written> = BTreeMap::deserialize(deserializer)?;
    let amounts = written.into_iter().map(|(resource, written)| {
        let text = match written {
            Written::Text(text) => text,
            Written::Number(number) => number.to_string(),
        };
        (resource, Quantity(text))
    });
    Ok(amounts.collect())
}
