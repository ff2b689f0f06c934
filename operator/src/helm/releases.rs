//! Helm's own records, read from its Secrets and cut down to what decides.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crds::{AppRef, Runtime, RuntimeEnvironment, WaveInstanceSpec, normalize_values};
use flate2::read::GzDecoder;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::index::Kept;
use crate::instance::workload::hash;

/// Name of the chart of an instance.
pub(crate) const CHART: &str = "wave-instance";

/// Label of Helm's Secrets: the revision that the operator was about to make, or to uninstall.
const MARK: &str = "wavestore.io/revision";

/// Ends the mark of a revision that the operator has begun to uninstall.
const UNINSTALLS: &str = "-uninstall";

/// Most bytes of a record once inflated; a Secret holds a mebibyte at most.
const INFLATED_BYTES: u64 = 32 << 20;

/// One revision of a release.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Release {
    /// Helm's revision.
    pub(crate) revision: u32,
    /// How far it is.
    pub(crate) status: Status,
    /// A run of the operator has brought it to its status.
    pub(crate) is_ours: bool,
    /// Version of the Secret that was read, so that nothing but that is ever deleted.
    pub(crate) resource_version: String,
    /// What the record holds, or why it cannot be read.
    pub(crate) content: Result<Content, String>,
}

/// What a record holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Content {
    /// Name of the chart.
    pub(crate) chart: String,
    /// Version of the chart.
    pub(crate) chart_version: String,
    /// The values that the release was given, as the spec that they render.
    pub(crate) spec: Result<WaveInstanceSpec, String>,
    /// The value `resolved`, when there is one.
    pub(crate) resolved: Option<ResolvedValue>,
    /// Helm's last words on it.
    pub(crate) description: String,
}

/// What counts of the value `resolved` of a release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ResolvedValue {
    /// The app that it is of.
    pub(crate) app: AppRef,
    /// What the annotation `wavestore.io/redeploy` said.
    #[serde(default)]
    pub(crate) redeploy: Option<String>,
    /// The environment that its pods fetch.
    #[serde(default)]
    pub(crate) environment: Option<RuntimeEnvironment>,
    /// Hash of all of it but the annotation and the environment.
    #[serde(skip)]
    pub(crate) hash: u64,
}

/// How far a revision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Status {
    /// In uncertain state.
    Unknown,
    /// In force.
    Deployed,
    /// Removed, its record kept.
    Uninstalled,
    /// Replaced by a later one.
    Superseded,
    /// Not in force, or not entirely.
    Failed,
    /// Being removed.
    Uninstalling,
    /// Being installed.
    PendingInstall,
    /// Being upgraded.
    PendingUpgrade,
    /// Being rolled back.
    PendingRollback,
}

impl Status {
    /// A run of Helm is on the way to it, or has died there.
    pub(crate) fn is_pending(self) -> bool {
        match self {
            Self::PendingInstall | Self::PendingUpgrade | Self::PendingRollback => true,
            Self::Unknown
            | Self::Deployed
            | Self::Uninstalled
            | Self::Superseded
            | Self::Failed
            | Self::Uninstalling => false,
        }
    }
}

/// The Secrets to watch: those of Helm, without the revisions that later ones have replaced.
pub(crate) fn watch() -> watcher::Config {
    watcher::Config::default()
        .labels("owner=helm,status!=superseded")
        .fields("type=helm.sh/release.v1")
}

/// The labels by which one release's Secrets are found.
pub(crate) fn selector(release: &str) -> String {
    format!("owner=helm,name={release}")
}

/// Name of the Secret with one revision.
pub(crate) fn secret_name(release: &str, revision: u32) -> String {
    format!("sh.helm.release.v1.{release}.v{revision}")
}

/// Revision and status by a Secret's labels.
pub(crate) fn labelled(metadata: &ObjectMeta) -> Option<(u32, Status)> {
    let labels = metadata.labels.as_ref()?;
    let revision = labels.get("version")?.parse().ok()?;
    let status = labels.get("status")?.parse().unwrap_or(Status::Unknown);
    Some((revision, status))
}

/// Reads a Secret of Helm; none when it is no such Secret at all.
pub(crate) fn keep(secret: Secret) -> Option<Kept<Release>> {
    let (revision, status) = labelled(&secret.metadata)?;
    let name = secret.metadata.labels.as_ref()?.get("name")?.clone();
    let is_ours = is_ours(&secret.metadata, revision, status);
    let resource_version = secret.metadata.resource_version.clone().unwrap_or_default();
    let content = decode(&secret);
    Some(Kept {
        key: name,
        object: secret.metadata.name?,
        value: Release {
            revision,
            status,
            is_ours,
            resource_version,
            content,
        },
    })
}

/// The latest of a release's revisions.
pub(crate) fn latest(releases: Vec<Release>) -> Option<Release> {
    releases.into_iter().max_by_key(|release| release.revision)
}

/// What `helm upgrade --labels` is told, so that a revision says by itself that it is the operator's. The next revision inherits
/// the label, and with it a number that is not its own.
pub(crate) fn mark(revision: u32) -> String {
    format!("{MARK}={revision}")
}

/// What is merged into a revision's Secret before `helm uninstall`, which keeps labels. The API server refuses it when the Secret
/// has changed since it was seen.
pub(crate) fn mark_uninstall(release: &Release) -> Value {
    let mark = format!("{}{UNINSTALLS}", release.revision);
    json!({ "metadata": {
        "resourceVersion": release.resource_version,
        "labels": { MARK: mark },
    } })
}

fn is_ours(metadata: &ObjectMeta, revision: u32, status: Status) -> bool {
    let labels = metadata.labels.as_ref();
    let Some(mark) = labels.and_then(|labels| labels.get(MARK)) else {
        return false;
    };
    let uninstalled = mark.strip_suffix(UNINSTALLS);
    let marked = uninstalled.unwrap_or(mark);
    marked == revision.to_string() && (uninstalled.is_some() || status != Status::Uninstalling)
}

/// The objects that a revision has rendered.
pub(crate) fn manifest(secret: &Secret) -> Result<Vec<Value>, String> {
    #[derive(Deserialize)]
    struct Record {
        #[serde(default)]
        manifest: String,
    }
    let record: Record = unpack(secret)?;
    let objects: Vec<Option<Value>> =
        serde_saphyr::from_multiple(&record.manifest).map_err(|error| error.to_string())?;
    Ok(objects.into_iter().flatten().collect())
}

fn decode(secret: &Secret) -> Result<Content, String> {
    #[derive(Deserialize)]
    struct Record {
        #[serde(default)]
        info: Info,
        #[serde(default)]
        chart: Chart,
        #[serde(default)]
        config: Option<Value>,
    }
    #[derive(Deserialize, Default)]
    struct Info {
        #[serde(default)]
        description: String,
    }
    #[derive(Deserialize, Default)]
    struct Chart {
        #[serde(default)]
        metadata: Metadata,
    }
    #[derive(Deserialize, Default)]
    struct Metadata {
        #[serde(default)]
        name: String,
        #[serde(default)]
        version: String,
    }

    let record: Record = unpack(secret)?;
    let config = record.config.unwrap_or_default();
    Ok(Content {
        chart: record.chart.metadata.name,
        chart_version: record.chart.metadata.version,
        spec: normalize_values(&config).map_err(|error| error.to_string()),
        resolved: config.get("resolved").and_then(resolved),
        description: record.info.description,
    })
}

fn resolved(value: &Value) -> Option<ResolvedValue> {
    let resolved = ResolvedValue::deserialize(value).ok()?;
    let runtime = Runtime::deserialize(value).ok();
    Some(ResolvedValue {
        hash: runtime.as_ref().map_or(0, runtime_hash),
        ..resolved
    })
}

/// A hash of what an instance runs with, whatever was asked for by annotation, and whoever has built its environment: it
/// is worth no restart.
pub(crate) fn runtime_hash(runtime: &Runtime) -> u64 {
    hash(&Runtime {
        environment: None,
        redeploy: None,
        ..runtime.clone()
    })
}

/// Reads the JSON that Helm keeps in a Secret, zipped and in base64.
fn unpack<T: DeserializeOwned>(secret: &Secret) -> Result<T, String> {
    let data = secret
        .data
        .as_ref()
        .and_then(|data| data.get("release"))
        .ok_or_else(|| "it has no key `release`".to_owned())?;
    let data = data.0.as_slice();
    let zipped = STANDARD.decode(data).map_err(|error| error.to_string())?;
    let mut json = Vec::new();
    let read = GzDecoder::new(zipped.as_slice())
        .take(INFLATED_BYTES + 1)
        .read_to_end(&mut json)
        .map_err(|error| error.to_string())?;
    if read as u64 > INFLATED_BYTES {
        return Err(format!("it inflates to more than {INFLATED_BYTES} bytes"));
    }
    serde_json::from_slice(&json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use crds::Visibility;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use k8s_openapi::ByteString;

    use super::*;

    fn pack(json: &[u8]) -> Vec<u8> {
        let mut zip = GzEncoder::new(Vec::new(), Compression::best());
        zip.write_all(json).expect("memory");
        STANDARD.encode(zip.finish().expect("memory")).into_bytes()
    }

    fn secret(data: Vec<u8>) -> Secret {
        let mut secret: Secret = serde_json::from_value(json!({
            "metadata": {
                "name": "sh.helm.release.v1.sales.v3",
                "labels": {
                    "name": "sales", "owner": "helm", "status": "pending-upgrade", "version": "3",
                    "wavestore.io/revision": "3",
                },
            },
        }))
        .expect("a Secret");
        secret.data = Some([("release".to_owned(), ByteString(data))].into());
        secret
    }

    #[test]
    fn a_record_is_read_as_the_spec_that_it_renders() {
        let record = json!({
            "name": "sales",
            "info": { "status": "pending-upgrade", "description": "Preparing upgrade" },
            "chart": { "metadata": { "name": "wave-instance", "version": "0.1.0" }, "templates": [] },
            "config": {
                "app": { "name": "hello", "version": "1.0.0" },
                "owner": "alice",
                "resolved": { "app": { "name": "hello", "version": "1.0.0" }, "image": "x" },
            },
            "manifest": "---",
            "version": 3,
        });
        let kept = keep(secret(pack(record.to_string().as_bytes()))).expect("a release");
        assert_eq!(kept.key, "sales");
        let release = kept.value;
        assert_eq!(
            (release.revision, release.status),
            (3, Status::PendingUpgrade)
        );
        assert!(release.is_ours);
        let content = release.content.expect("content");
        assert_eq!(content.chart, CHART);
        assert_eq!(content.description, "Preparing upgrade");
        let spec = content.spec.expect("a spec");
        assert_eq!(spec.visibility, Visibility::Private);
        assert_eq!(content.chart_version, "0.1.0");
        let resolved = content.resolved.expect("resolved");
        assert_eq!((resolved.app, resolved.redeploy), (spec.app, None));
    }

    #[test]
    fn a_record_that_cannot_be_read_says_why() {
        let reason = |data: Vec<u8>| {
            keep(secret(data))
                .expect("a release")
                .value
                .content
                .expect_err("no content")
        };
        insta::assert_snapshot!(reason(b"%".to_vec()), @"Invalid symbol 37, offset 0.");
        insta::assert_snapshot!(reason(pack(b"{")), @"EOF while parsing an object at line 1 column 1");
        let bomb = vec![b' '; usize::try_from(INFLATED_BYTES).expect("fits") + 1];
        insta::assert_snapshot!(reason(pack(&bomb)), @"it inflates to more than 33554432 bytes");
    }

    #[test]
    fn a_mark_tells_whose_run_it_is() {
        use Status::{PendingInstall, PendingUpgrade, Uninstalling};
        let cases = [
            ("an upgrade of ours", Some("3"), 3, PendingUpgrade, true),
            ("the mark is inherited", Some("3"), 4, PendingUpgrade, false),
            ("somebody else's", None, 1, PendingInstall, false),
            (
                "somebody else uninstalls what we made",
                Some("3"),
                3,
                Uninstalling,
                false,
            ),
            (
                "an uninstallation of ours",
                Some("3-uninstall"),
                3,
                Uninstalling,
                true,
            ),
            (
                "one that has not begun, of a revision left in the middle",
                Some("3-uninstall"),
                3,
                PendingUpgrade,
                true,
            ),
            (
                "somebody else upgrades what we began to uninstall",
                Some("3-uninstall"),
                4,
                PendingUpgrade,
                false,
            ),
        ];
        for (name, mark, revision, status, expected) in cases {
            let metadata = ObjectMeta {
                labels: mark.map(|mark| [(MARK.to_owned(), mark.to_owned())].into()),
                ..ObjectMeta::default()
            };
            assert_eq!(is_ours(&metadata, revision, status), expected, "{name}");
        }
    }

    #[test]
    fn every_status_of_helm_is_known() {
        for status in [
            "unknown",
            "deployed",
            "uninstalled",
            "superseded",
            "failed",
            "uninstalling",
            "pending-install",
            "pending-upgrade",
            "pending-rollback",
        ] {
            let parsed: Status = status.parse().expect(status);
            assert_eq!(parsed.to_string(), status);
        }
    }
}
