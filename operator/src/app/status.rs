//! The status of an app, as kstatus wants it.

use bundle::Bundle;
use catalog::{Digest, EnvironmentKey};
use crds::{
    AppEnvironment, ConditionStatus, ConditionType, Runtime, RuntimeEnvironment, WaveApp,
    WaveAppStatus, condition, holds, set_condition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::environment::{FAILURES, Progress};
use super::import::Error;
use super::{resolve, secrets};
use crate::error::message;

/// Most instances that are named when an app is held by them.
const NAMED: usize = 5;

/// The status of an app that was imported.
pub(super) fn imported(
    app: &WaveApp,
    bundle: &Bundle,
    digest: &Digest,
    runtime: Option<Runtime>,
    lacking: &[String],
    idle_timeout_seconds: Option<u32>,
    now: &Time,
) -> WaveAppStatus {
    let manifest = &bundle.manifest;
    let warnings = bundle.warnings.iter().chain(lacking);
    let message = std::iter::once("the app is in the catalog")
        .chain(warnings.map(String::as_str))
        .collect::<Vec<_>>()
        .join("; ");
    let mut status = WaveAppStatus {
        conditions: old(app).conditions,
        observed_generation: app.metadata.generation,
        app: Some(resolve::app_ref(manifest)),
        title: Some(manifest.app.title.clone()),
        tags: manifest.app.tags.clone(),
        digest: Some(digest.to_string()),
        lifecycle: Some(resolve::lifecycle(manifest.app.lifecycle)),
        routing_mode: manifest
            .runtime
            .as_ref()
            .map(|runtime| resolve::routing(runtime.routing_mode)),
        idle_timeout_seconds: idle_timeout_seconds.filter(|_| runtime.is_some()),
        link: manifest.link.as_ref().map(|link| link.address.to_string()),
        runtime,
        // See `tell_environment`.
        environment: None,
    };
    let generation = app.metadata.generation;
    let ready = condition(
        ConditionType::Ready,
        ConditionStatus::True,
        "Imported",
        &message,
        generation,
        now,
    );
    set_condition(&mut status.conditions, ready);
    keep_only(
        &mut status,
        &[ConditionType::Ready, ConditionType::EnvironmentReady],
    );
    status
}

/// Whether an app is in the catalog, by its status.
pub(super) fn is_imported(app: &WaveApp) -> bool {
    let conditions = app.status.iter().flat_map(|status| &status.conditions);
    holds(conditions, ConditionType::Ready)
}

/// Says in `status` how far the app's environment is; nothing is said where none is wanted.
pub(super) fn tell_environment(
    status: &mut WaveAppStatus,
    environment: Option<(EnvironmentKey, &Progress)>,
    generation: Option<i64>,
    now: &Time,
) {
    let Some((key, progress)) = environment else {
        status.environment = None;
        keep_only(status, &[ConditionType::Ready]);
        return;
    };
    let (holds, digest, failures) = match progress {
        Progress::Built(digest) => (ConditionStatus::True, Some(digest.to_string()), 0),
        Progress::Building { failures } | Progress::Queued { failures } => {
            (ConditionStatus::Unknown, None, *failures)
        }
        Progress::Failed { failures, .. } => (ConditionStatus::False, None, *failures),
        Progress::GivenUp => (ConditionStatus::False, None, FAILURES),
    };
    let key = key.to_string();
    if let Some(runtime) = &mut status.runtime {
        runtime.environment = digest.clone().map(|digest| RuntimeEnvironment {
            key: key.clone(),
            digest,
        });
    }
    status.environment = Some(AppEnvironment {
        key,
        digest,
        failures,
    });
    let type_ = ConditionType::EnvironmentReady;
    let told = status
        .conditions
        .iter()
        .any(|held| held.type_ == type_.to_string() && held.reason == progress.code());
    // What was said when it failed is better than that it did.
    if *progress == Progress::GivenUp && told {
        return;
    }
    let (code, message) = (progress.code(), progress.message());
    let made = condition(type_, holds, code, &message, generation, now);
    set_condition(&mut status.conditions, made);
}

/// The status of an app whose import failed. What an earlier import found stays, unless somebody else has
/// the name now.
pub(super) fn failed(app: &WaveApp, error: &Error, now: &Time) -> WaveAppStatus {
    let mut status = old(app);
    if matches!(error, Error::Duplicate { .. }) {
        status = WaveAppStatus {
            conditions: status.conditions,
            observed_generation: status.observed_generation,
            ..WaveAppStatus::default()
        };
    }
    // Nobody may start a pod with what the app may no longer read; helm users' charts take it from here.
    if matches!(error, Error::Secret(secrets::Error::Refused(_))) {
        status.runtime = None;
    }
    let text = message(error, error.hint());
    let second = if error.stalls() {
        status.observed_generation = app.metadata.generation;
        ConditionType::Stalled
    } else {
        ConditionType::Reconciling
    };
    let generation = app.metadata.generation;
    for (type_, holds) in [
        (ConditionType::Ready, ConditionStatus::False),
        (second, ConditionStatus::True),
    ] {
        let made = condition(type_, holds, error.code(), &text, generation, now);
        set_condition(&mut status.conditions, made);
    }
    keep_only(
        &mut status,
        &[
            ConditionType::Ready,
            second,
            ConditionType::EnvironmentReady,
        ],
    );
    status
}

/// The status of an app that is to be deleted while instances run it.
pub(super) fn held(app: &WaveApp, instances: &[String], now: &Time) -> WaveAppStatus {
    let mut status = old(app);
    let generation = app.metadata.generation;
    let made = condition(
        ConditionType::Stalled,
        ConditionStatus::True,
        "InstancesExist",
        &held_message(instances),
        generation,
        now,
    );
    set_condition(&mut status.conditions, made);
    status
}

/// Who holds an app.
pub(super) fn held_message(instances: &[String]) -> String {
    let named: Vec<String> = instances
        .iter()
        .take(NAMED)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = match instances.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "it is deleted once no instance runs it: {}{more} (hint: delete them with `kubectl delete waveinstance <name>`)",
        named.join(", ")
    )
}

fn old(app: &WaveApp) -> WaveAppStatus {
    app.status.clone().unwrap_or_default()
}

fn keep_only(status: &mut WaveAppStatus, types: &[ConditionType]) {
    status
        .conditions
        .retain(|held| types.iter().any(|type_| held.type_ == type_.to_string()));
}

#[cfg(test)]
mod tests {
    use crds::{BundleSource, Visibility, WaveAppSpec};

    use super::*;

    #[test]
    fn a_failure_tells_cause_and_hint_and_whether_a_retry_may_do() {
        let mut app = WaveApp::new(
            "hello",
            WaveAppSpec {
                bundle: BundleSource::default(),
                owner: "alice".to_owned(),
                visibility: Visibility::Private,
                tags: Vec::new(),
            },
        );
        app.metadata.generation = Some(2);
        let now = Time("2026-01-01T00:00:00Z".parse().expect("a time"));
        let errors = [
            Error::NoConfigMap("hello".to_owned()),
            Error::Duplicate {
                name: "hello".to_owned(),
                version: "1.0.0".to_owned(),
                holder: "first".to_owned(),
            },
            Error::Resolve(resolve::Error::ImageNotAllowed(
                "example.com/app".to_owned(),
            )),
            Error::Secret(secrets::Error::Refused(secrets::Refusal::SecretNotFound {
                entry: "[[Env]] PASSWORD".to_owned(),
                secret: "database".to_owned(),
                key: "password".to_owned(),
            })),
            Error::Secret(secrets::Error::Refused(secrets::Refusal::SecretNotOpen {
                entry: "[[File]] /app/conf/key.pem".to_owned(),
                secret: "wavestore-admin".to_owned(),
            })),
        ];
        let lines: Vec<String> = errors
            .iter()
            .flat_map(|error| {
                let status = failed(&app, error, &now);
                let generation = status.observed_generation;
                status.conditions.into_iter().map(move |condition| {
                    let crds_condition = condition;
                    format!(
                        "{:?} {}={} {}: {}",
                        generation,
                        crds_condition.type_,
                        crds_condition.status,
                        crds_condition.reason,
                        crds_condition.message
                    )
                })
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn an_environment_is_told_beside_readiness_and_never_against_it() {
        let now = Time("2026-01-01T00:00:00Z".parse().expect("a time"));
        let (key, digest) = (
            EnvironmentKey::from_sha256([0xab; 32]),
            Digest::of(b"built"),
        );
        let ready = condition(
            ConditionType::Ready,
            ConditionStatus::True,
            "Imported",
            "",
            Some(1),
            &now,
        );
        let mut status = WaveAppStatus {
            conditions: vec![ready],
            ..WaveAppStatus::default()
        };
        let failed = |failures| Progress::Failed {
            failures,
            words: "no such package".to_owned(),
        };
        let steps = [
            Progress::Queued { failures: 0 },
            Progress::Building { failures: 0 },
            failed(1),
            Progress::Building { failures: 1 },
            failed(3),
            Progress::GivenUp,
            Progress::Built(digest),
        ];
        let mut lines = Vec::new();
        for progress in &steps {
            tell_environment(&mut status, Some((key, progress)), Some(1), &now);
            let told = status.environment.as_ref().expect("told");
            let made = status.conditions.last().expect("a condition");
            lines.push(format!(
                "{} {} {}: {}",
                told.failures, made.status, made.reason, made.message
            ));
            assert_eq!(status.conditions.len(), 2);
            assert_eq!(status.conditions[0].status, "True");
        }
        insta::assert_snapshot!(lines.join("\n"), @r"
        0 Unknown EnvironmentQueued: the environment is built after others; until it is there instances install for themselves
        0 Unknown EnvironmentBuilding: a job builds the environment; until it is there instances install for themselves
        1 False EnvironmentFailed: no such package (tried again in a moment; instances install for themselves)
        1 Unknown EnvironmentBuilding: a job builds the environment; until it is there instances install for themselves
        3 False EnvironmentFailed: no such package (instances install for themselves; it is tried again when the WaveApp changes)
        3 False EnvironmentFailed: no such package (instances install for themselves; it is tried again when the WaveApp changes)
        0 True EnvironmentBuilt: instances start with the environment that was built
        ");
        tell_environment(&mut status, None, Some(1), &now);
        assert_eq!((status.conditions.len(), status.environment), (1, None));
    }

    #[test]
    fn many_holders_are_not_all_named() {
        let names: Vec<String> = (1..=7).map(|n| format!("i-{n}")).collect();
        insta::assert_snapshot!(held_message(&names), @"it is deleted once no instance runs it: `i-1`, `i-2`, `i-3`, `i-4`, `i-5` and 2 more (hint: delete them with `kubectl delete waveinstance <name>`)");
    }
}
