//! `WaveInstance`: one running app.

#![expect(
    unreachable_pub,
    reason = "the derive of KubeSchema copies each struct, with its visibility, into a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{CustomResource, KubeSchema, ResourceExt};
use serde::{Deserialize, Serialize};

use crate::{AppRef, DELETE_AFTER_ANNOTATION, Visibility};

/// One running app. The spec is also the values of the chart `wave-instance`, key for key.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "wavestore.io",
    version = "v1alpha1",
    kind = "WaveInstance",
    shortname = "winst",
    category = "wavestore",
    namespaced,
    derive = "PartialEq",
    status = "WaveInstanceStatus",
    doc = "One running H2O Wave app. Its spec is also the values of the chart wave-instance, key for key.",
    validation = Rule::new("self.metadata.name.size() <= 53 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name must be a DNS label of at most 53 characters (a-z, 0-9 and -, beginning with a letter): it is a host name, a Service and a Helm release"),
    validation = Rule::new("self.metadata.name != 'apps'")
        .message("the name apps is reserved: the host apps.<domain> serves all apps in BASE_URL mode"),
    printcolumn(name = "App", type_ = "string", json_path = ".spec.app.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.app.version"),
    printcolumn(name = "Owner", type_ = "string", json_path = ".spec.owner"),
    printcolumn(name = "Visibility", type_ = "string", json_path = ".spec.visibility"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", priority = 1),
    printcolumn(name = "Used", type_ = "date", json_path = ".status.lastActivity", priority = 1)
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaveInstanceSpec {
    /// The app and version to run.
    pub app: AppRef,
    /// The user who owns this instance.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.@+]*[A-Za-z0-9])?$')").message("an owner is a user name or an e-mail address: letters, digits and -_.@+ between them")
    )]
    pub owner: String,
    /// Who may enter. Default: the owner alone.
    #[serde(default)]
    pub visibility: Visibility,
    /// Whether it is to be down until somebody sets this back to false: its pod is gone, its volumes stay, and no visit wakes it.
    /// Whom nobody visits for as long as its app says is put to sleep without this, and wakes at the next visit. Default: false.
    #[serde(default)]
    pub suspended: bool,
    /// The size of its pod: one of those that the store has. Default: what its app asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub size: Option<String>,
}

impl WaveInstance {
    /// When it is to be deleted, if somebody has said so by [`DELETE_AFTER_ANNOTATION`].
    ///
    /// # Errors
    /// What stands there, when that is no time: then nobody knows when, and it stays.
    pub fn delete_after(&self) -> Result<Option<Timestamp>, &str> {
        let Some(said) = self.annotations().get(DELETE_AFTER_ANNOTATION) else {
            return Ok(None);
        };
        said.parse().map(Some).map_err(|_| said.as_str())
    }
}

/// What the operator did and saw.
#[derive(KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveInstanceStatus {
    /// `Ready` always; `Reconciling` and `Stalled` while true (kstatus).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the instance stands, in the launcher's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The Helm release as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<InstanceRelease>,
    /// Where people reach the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When it was used last, as far as the routers have told; they do so rarely. Only routers write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity: Option<Time>,
}

/// A Helm release in short.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceRelease {
    /// Helm's revision.
    #[schemars(extend("format" = "int64"))]
    pub revision: u32,
    /// Helm's status, such as `deployed`.
    pub status: String,
    /// Hash of revision and objects when the objects were last found to be as the release has rendered them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<String>,
}

/// Reads a release's own values as the spec they render, with defaults filled in and the reserved keys left out.
///
/// # Errors
/// Values that are no spec: a key too many, a missing one, a wrong type.
pub fn normalize_values(values: &serde_json::Value) -> Result<WaveInstanceSpec, serde_json::Error> {
    let mut values = values.clone();
    if let Some(map) = values.as_object_mut() {
        for reserved in crate::schema::RESERVED_VALUES {
            map.remove(reserved);
        }
    }
    serde_json::from_value(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_an_instance_is_to_be_deleted_is_a_time_or_not_known() {
        let noon = "2026-01-01T12:00:00Z".parse().expect("a time");
        let cases = [
            (None, Ok(None)),
            (Some("2026-01-01T12:00:00Z"), Ok(Some(noon))),
            (Some("2026-01-01T13:00:00+01:00"), Ok(Some(noon))),
            // Of which place?
            (Some("2026-01-01T12:00:00"), Err("2026-01-01T12:00:00")),
            (Some("2026-01-01"), Err("2026-01-01")),
            (Some("5m"), Err("5m")),
            (Some("1767268800"), Err("1767268800")),
            (Some("true"), Err("true")),
            (Some(""), Err("")),
        ];
        for (said, expected) in cases {
            let spec = WaveInstanceSpec {
                app: AppRef::default(),
                owner: "alice".to_owned(),
                visibility: Visibility::Private,
                suspended: false,
                size: None,
            };
            let mut instance = WaveInstance::new("sales", spec);
            instance.metadata.annotations =
                said.map(|said| [(DELETE_AFTER_ANNOTATION.to_owned(), said.to_owned())].into());
            assert_eq!(instance.delete_after(), expected, "{said:?}");
        }
    }
}
