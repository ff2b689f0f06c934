//! The job that builds an environment: how it looks, and what has come of it.

use bundle::Quantity;
use catalog::{Digest, EnvironmentKey};
use crds::{BUILD_AUDIENCE, BUILD_LABEL, BUNDLE_ANNOTATION};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, EnvVar, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Deserialize;
use serde_json::json;

use super::{Limits, WORDS, Wanted};
use crate::events::cut;

/// User and group of everything in the image.
const USER: i64 = 65532;

/// How long a job stays for people to look at, in seconds.
const KEPT_SECONDS: i32 = 600;

/// Memory and CPU that are set aside for a build; it takes more where there is some.
const MEMORY_RESERVATION: &str = "128Mi";
const CPU_RESERVATION: &str = "100m";

/// What has come of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing yet.
    Running,
    /// An environment with this digest.
    Built(Digest),
    /// Nothing, for this reason.
    Failed(String),
}

/// The name of the job that builds an environment: one at a time for each key.
pub(super) fn name(key: &EnvironmentKey) -> String {
    format!("wavestore-env-{key}")
}

/// The job for an app. Its pod has no rights in the API; its token is good for the bundle and this one environment.
pub(super) fn job(wanted: &Wanted, owner: Option<OwnerReference>, limits: &Limits) -> Job {
    let Wanted {
        key,
        bundle,
        runtime,
        variables,
    } = wanted;
    let Limits {
        timeout,
        cpu,
        memory,
        disk,
    } = limits;
    let labels = json!({
        "app.kubernetes.io/name": "wavestore-environment",
        BUILD_LABEL: key.to_string(),
    });
    let mut volumes = vec![
        json!({"name": "app", "emptyDir": {"sizeLimit": disk.to_string()}}),
        json!({"name": "resources", "emptyDir": {"sizeLimit": disk.to_string()}}),
        json!({"name": "tmp", "emptyDir": {"sizeLimit": disk.to_string()}}),
        json!({"name": "token", "projected": {"sources": [{"serviceAccountToken": {
            "path": "token", "audience": BUILD_AUDIENCE, "expirationSeconds": 3600,
        }}]}}),
    ];
    let mut mounts = vec![
        json!({"name": "app", "mountPath": "/app"}),
        json!({"name": "resources", "mountPath": "/resources"}),
        json!({"name": "tmp", "mountPath": "/tmp"}),
        json!({"name": "token", "mountPath": "/var/run/secrets/wavestore", "readOnly": true}),
    ];
    if let Some(authorities) = &runtime.ca_config_map {
        volumes.push(json!({"name": "ca", "configMap": {"name": authorities}}));
        mounts.push(json!({"name": "ca", "mountPath": "/etc/wavestore/ca", "readOnly": true}));
    }
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name(key),
            "labels": labels,
            "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": timeout.as_secs(),
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": { BUNDLE_ANNOTATION: bundle.to_string() },
                },
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 5,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{
                        "name": "build",
                        "image": runtime.image,
                        "imagePullPolicy": runtime.image_pull_policy,
                        "args": ["build"],
                        "env": env(wanted, variables),
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "resources": {
                            "limits": {"cpu": cpu.to_string(), "memory": memory.to_string()},
                            "requests": {
                                "cpu": least(CPU_RESERVATION, cpu),
                                "memory": least(MEMORY_RESERVATION, memory),
                            },
                        },
                        "volumeMounts": mounts,
                    }],
                    "volumes": volumes,
                },
            },
        },
    });
    serde_json::from_value(job).expect("this is a job")
}

/// As the chart has them for instances: a name that comes first is the app's or the store's own.
fn env(wanted: &Wanted, variables: &[EnvVar]) -> Vec<EnvVar> {
    let mut all = variables.to_vec();
    let mut default = |name: &str, value: &str| {
        if !all.iter().any(|variable| variable.name == name) {
            all.push(plain(name, value));
        }
    };
    default("HOME", "/tmp");
    if wanted.runtime.ca_config_map.is_some() {
        for name in ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"] {
            default(name, "/etc/wavestore/ca/ca.crt");
        }
    }
    all.extend([
        plain("WAVESTORE_BUNDLE_DIGEST", &wanted.bundle.to_string()),
        plain("WAVESTORE_STORE_URL", &wanted.runtime.store_url),
        plain("WAVESTORE_ENVIRONMENT_KEY", &wanted.key.to_string()),
    ]);
    all
}

fn plain(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    }
}

fn least(usual: &str, limit: &Quantity) -> String {
    let usual: Quantity = usual.parse().expect("a constant is a quantity");
    if limit.compare(&usual).is_lt() {
        limit.to_string()
    } else {
        usual.to_string()
    }
}

/// How a job has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    /// Kubernetes' own words.
    Failed(String),
}

/// How a job has ended; nothing while it runs.
pub(super) fn end(job: &Job) -> Option<End> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let holds = |type_: &str| {
        conditions
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == "True")
    };
    if holds("Complete").is_some() {
        return Some(End::Complete);
    }
    let failed = holds("Failed")?;
    Some(End::Failed(failed.message.clone().unwrap_or_default()))
}

/// What a job's pod says, or else Kubernetes, of its end.
pub(super) fn outcome(end: &End, pod: Option<&Pod>) -> Outcome {
    let container = pod
        .and_then(|pod| pod.status.as_ref())
        .and_then(|status| status.container_statuses.as_ref()?.first())
        .and_then(|container| container.state.as_ref()?.terminated.as_ref());
    let said = container.and_then(|ended| ended.message.as_deref());
    match end {
        End::Complete => match said.and_then(report) {
            Some(digest) => Outcome::Built(digest),
            None => {
                Outcome::Failed("the job has ended without saying what it has built".to_owned())
            }
        },
        End::Failed(words) => {
            let of_pod = || {
                let status = pod?.status.as_ref()?;
                status.message.clone().filter(|text| !text.is_empty())
            };
            let said = said.map(clean).filter(|text| !text.is_empty());
            Outcome::Failed(
                said.or_else(|| container.and_then(killed))
                    .or_else(of_pod)
                    .unwrap_or_else(|| words.clone()),
            )
        }
    }
}

/// The digest in the words that a build ends with.
fn report(text: &str) -> Option<Digest> {
    #[derive(Deserialize)]
    struct Report {
        digest: String,
    }
    let report: Report = serde_json::from_str(text).ok()?;
    report.digest.parse().ok()
}

fn killed(ended: &ContainerStateTerminated) -> Option<String> {
    (ended.reason.as_deref() == Some("OOMKilled")).then(|| {
        "the build needs more memory than it may have (hint: raise `environments.memory` in the store's values)"
            .to_owned()
    })
}

/// A stranger's words on one line, without control characters, and no longer than people read.
fn clean(text: &str) -> String {
    let words: Vec<&str> = text.split(char::is_control).map(str::trim).collect();
    let line = words.join(" ");
    cut(line.trim(), WORDS).to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::key::tests::runtime;
    use super::*;

    fn limits() -> Limits {
        let quantity = |text: &str| text.parse().expect("a quantity");
        Limits {
            timeout: Duration::from_mins(15),
            cpu: quantity("50m"),
            memory: quantity("2Gi"),
            disk: quantity("10Gi"),
        }
    }

    #[test]
    fn a_job_has_no_rights_and_its_limits() {
        let mut runtime = runtime();
        runtime.ca_config_map = Some("company-ca".to_owned());
        let wanted = Wanted {
            key: EnvironmentKey::from_sha256([0xab; 32]),
            bundle: Digest::of(b"one"),
            variables: vec![plain("PIP_CERT", "/app/own.pem")],
            runtime: Arc::new(runtime),
        };
        let job = job(&wanted, None, &limits());
        insta::assert_snapshot!(serde_json::to_string_pretty(&job).expect("JSON"));
    }

    #[test]
    fn the_end_of_a_job_is_told_by_its_pod_or_else_by_kubernetes() {
        let job = |conditions: serde_json::Value| -> Job {
            serde_json::from_value(json!({"status": {"conditions": conditions}})).expect("a job")
        };
        let pod = |status: serde_json::Value| -> Option<Pod> {
            Some(serde_json::from_value(json!({"status": status})).expect("a pod"))
        };
        let said = |reason: &str, message: &str| {
            pod(json!({"containerStatuses": [{
                "name": "build", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": 1, "reason": reason, "message": message}},
            }]}))
        };
        let complete = || job(json!([{"type": "Complete", "status": "True"}]));
        let failed = || {
            job(json!([
                {"type": "Complete", "status": "False"},
                {"type": "Failed", "status": "True", "message": "Job was active longer than specified deadline"},
            ]))
        };
        let digest = Digest::of(b"built");
        let report = format!(r#"{{"digest":"{digest}","size_bytes":1}}"#);
        let words = |text: &str| Some(Outcome::Failed(text.to_owned()));
        let silent = words("the job has ended without saying what it has built");
        let cases = vec![
            ("it runs", job(json!([])), None, None),
            (
                "it has built",
                complete(),
                said("Completed", &report),
                Some(Outcome::Built(digest)),
            ),
            (
                "it says nothing",
                complete(),
                said("Completed", ""),
                silent.clone(),
            ),
            (
                "it says something else",
                complete(),
                said("Completed", r#"{"digest":"../x"}"#),
                silent.clone(),
            ),
            ("its pod is gone", complete(), None, silent),
            (
                "uv says no",
                failed(),
                said(
                    "Error",
                    "could not install `requirements.txt`: no x\n\u{1b}[31mhint: y",
                ),
                words("could not install `requirements.txt`: no x  [31mhint: y"),
            ),
            (
                "out of memory",
                failed(),
                said("OOMKilled", ""),
                words(
                    "the build needs more memory than it may have (hint: raise `environments.memory` in the store's values)",
                ),
            ),
            (
                "evicted",
                failed(),
                pod(
                    json!({"message": "Usage of EmptyDir volume \"resources\" exceeds the limit \"10Gi\""}),
                ),
                words("Usage of EmptyDir volume \"resources\" exceeds the limit \"10Gi\""),
            ),
            (
                "too slow",
                failed(),
                None,
                words("Job was active longer than specified deadline"),
            ),
        ];
        for (name, job, pod, expected) in cases {
            let seen = end(&job).map(|end| outcome(&end, pod.as_ref()));
            assert_eq!(seen, expected, "{name}");
        }
        let long = said("Error", &"é".repeat(4096));
        let end = End::Failed(String::new());
        let Outcome::Failed(words) = outcome(&end, long.as_ref()) else {
            panic!("it has failed");
        };
        assert!(words.len() <= WORDS);
    }
}
