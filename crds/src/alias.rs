//! `WaveAlias`: another name of an instance.

#![expect(
    unreachable_pub,
    reason = "the derive of KubeSchema copies each struct, with its visibility, into a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Another name of an instance. The name is the alias.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "wavestore.io",
    version = "v1alpha1",
    kind = "WaveAlias",
    plural = "wavealiases",
    shortname = "walias",
    category = "wavestore",
    namespaced,
    derive = "PartialEq",
    status = "WaveAliasStatus",
    doc = "Another name of an instance: the alias is the object's own name. It lives on when the instance goes, and may lead to another one.",
    validation = Rule::new("self.metadata.name.size() <= 53 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name must be a DNS label of at most 53 characters (a-z, 0-9 and -, beginning with a letter): it is a host name"),
    validation = Rule::new("self.metadata.name != 'apps'")
        .message("the name apps is reserved: the host apps.<domain> serves all apps in BASE_URL mode"),
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instance"),
    printcolumn(name = "Primary", type_ = "boolean", json_path = ".spec.primary"),
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.host"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", priority = 1)
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaveAliasSpec {
    /// The instance that it leads to. Who may enter is the instance's own matter.
    #[schemars(length(min = 1, max = 53))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("an instance's name is a DNS label: a-z, 0-9 and -, beginning with a letter")
    )]
    pub instance: String,
    /// Whether this is the name that people are to see: visits by any other name of the instance are sent here. Of several the oldest
    /// counts. Default: false.
    #[serde(default)]
    pub primary: bool,
    /// A host of your own that leads to the instance, such as `crm.example.com`: its DNS record and certificate are yours to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 4, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?[.])+[a-z]([-a-z0-9]*[a-z0-9])?$')").message("a host is a full domain name in lower case, without a port and without a dot at its end, such as crm.example.com")
    )]
    pub host: Option<String>,
}

/// What became of the alias.
#[derive(KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveAliasStatus {
    /// `Ready` always; `Reconciling` and `Stalled` while true (kstatus).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where people reach the instance by this alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}
