//! Deletion that can be undone: the annotation `wavestore.io/delete-after` of an instance says when it is to go.
//!
//! Nobody else has to remember that, so it holds for whichever operator leads by then, and whoever takes the annotation away in time
//! keeps the instance. What follows is what follows any deletion.

#![deny(clippy::wildcard_enum_match_arm)]

use std::time::Duration;

use crds::{DELETE_AFTER_ANNOTATION, WaveInstance};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::{Resource, ResourceExt};
use tracing::info;

use super::context::Context;
use super::execute::{Done, SOON};
use crate::error::Error;
use crate::events::Tone;

/// Longest wait before the clock is looked at again: clocks are set, and machines sleep.
const LONGEST: Duration = Duration::from_mins(5);

/// Whether an instance is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deletion {
    /// Nobody has asked for it, or it has begun.
    Unasked,
    /// After this time.
    In(Duration),
    /// Now.
    Due,
    /// Somebody has asked for it, at a time that nobody can read.
    Unclear(String),
}

impl Deletion {
    /// As it stands on the instance.
    pub(super) fn of(instance: &WaveInstance, now: Timestamp) -> Self {
        if instance.metadata.deletion_timestamp.is_some() {
            return Self::Unasked;
        }
        match instance.delete_after() {
            Ok(None) => Self::Unasked,
            Ok(Some(at)) => match Duration::try_from(at.duration_since(now)) {
                Ok(left) if !left.is_zero() => Self::In(left),
                Ok(_) | Err(_) => Self::Due,
            },
            Err(said) => Self::Unclear(said.to_owned()),
        }
    }

    /// When to look at it again at the latest.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::In(left) => Some((*left).min(LONGEST)),
            // It was not yet when the instance was looked at.
            Self::Due => Some(SOON),
            Self::Unasked | Self::Unclear(_) => None,
        }
    }
}

/// Deletes an instance that is due, if it still is the very version that was seen: an undo that comes in the same moment wins.
pub(super) async fn delete(ctx: &Context, instance: &WaveInstance) -> Result<Done, Error> {
    let name = instance.name_any();
    let params = DeleteParams::default().preconditions(Preconditions {
        resource_version: instance.resource_version(),
        uid: instance.uid(),
    });
    let api: Api<WaveInstance> = ctx.api();
    match api.delete(&name, &params).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
            return Ok(Done::Acted(SOON));
        }
        Err(source) => {
            return Err(Error::Kube {
                task: format!("delete the WaveInstance `{name}`"),
                source,
            });
        }
    }
    info!(
        instance.id = name,
        "Instance {name} is deleted, as its annotation {DELETE_AFTER_ANNOTATION} says"
    );
    let note = format!(
        "the instance is deleted, as its annotation `{DELETE_AFTER_ANNOTATION}` says, which nobody has taken away in time"
    );
    let reference = instance.object_ref(&());
    ctx.events
        .tell(&reference, Tone::Normal, "DeletionDue", "Delete", &note)
        .await;
    Ok(Done::Acted(SOON))
}

/// Tells once that nobody can read when an instance is to be deleted.
pub(super) async fn tell_unclear(ctx: &Context, instance: &WaveInstance, deletion: &Deletion) {
    let said = match deletion {
        Deletion::Unclear(said) => Some(said),
        Deletion::Unasked | Deletion::In(_) | Deletion::Due => None,
    };
    let told = ctx.memos.note(&instance.name_any(), |memo| {
        std::mem::replace(&mut memo.unclear_deletion, said.cloned())
    });
    if said.is_none() || told.as_ref() == said {
        return;
    }
    // Without its words: Kubernetes takes an Event of the same reason for the same one, and keeps its first note.
    let note = format!(
        "the annotation `{DELETE_AFTER_ANNOTATION}` is no time, so the instance stays (hint: write one such as `2026-01-01T12:00:00Z`, or \
         take it away)"
    );
    let reference = instance.object_ref(&());
    ctx.events
        .tell(&reference, Tone::Warning, "DeletionUnclear", "Read", &note)
        .await;
}

#[cfg(test)]
mod tests {
    use crds::{AppRef, Visibility, WaveInstanceSpec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api::{self, Log};

    fn instance(delete_after: Option<&str>) -> WaveInstance {
        let spec = WaveInstanceSpec {
            app: AppRef::default(),
            owner: "alice".to_owned(),
            visibility: Visibility::Private,
            suspended: false,
            size: None,
        };
        let mut instance = WaveInstance::new("sales", spec);
        instance.metadata.uid = Some("1".to_owned());
        instance.metadata.resource_version = Some("7".to_owned());
        instance.metadata.annotations =
            delete_after.map(|at| [(DELETE_AFTER_ANNOTATION.to_owned(), at.to_owned())].into());
        instance
    }

    #[test]
    fn an_instance_is_due_when_its_time_has_come_and_not_before() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
        let minute = Deletion::In(Duration::from_mins(1));
        let unclear = |said: &str| Deletion::Unclear(said.to_owned());
        let far = Deletion::In(Duration::from_hours(24 * 365));
        let cases = [
            ("nobody has asked", None, Deletion::Unasked, None),
            (
                "in a minute",
                Some("2026-01-01T12:01:00Z"),
                minute,
                Some(Duration::from_mins(1)),
            ),
            (
                "in a year",
                Some("2027-01-01T12:00:00Z"),
                far,
                Some(LONGEST),
            ),
            (
                "now",
                Some("2026-01-01T12:00:00Z"),
                Deletion::Due,
                Some(SOON),
            ),
            (
                "a minute ago, while no operator was there",
                Some("2026-01-01T11:59:00Z"),
                Deletion::Due,
                Some(SOON),
            ),
            (
                "elsewhere it is later",
                Some("2026-01-01T13:30:00+02:00"),
                Deletion::Due,
                Some(SOON),
            ),
            ("some time", Some("tomorrow"), unclear("tomorrow"), None),
            ("nothing", Some(""), unclear(""), None),
        ];
        for (name, at, expected, wait) in cases {
            let deletion = Deletion::of(&instance(at), now);
            assert_eq!(deletion, expected, "{name}");
            assert_eq!(deletion.wait(), wait, "{name}");
            let mut deleted = instance(at);
            deleted.metadata.deletion_timestamp = Some(Time(now));
            assert_eq!(Deletion::of(&deleted, now), Deletion::Unasked, "{name}");
        }
    }

    /// Reasons of the Events that were told.
    fn told(log: &Log) -> Vec<Value> {
        let log = log.lock();
        let events = log.iter().filter(|asked| asked.line.ends_with("/events"));
        events.map(|asked| asked.body["reason"].clone()).collect()
    }

    #[tokio::test]
    async fn what_was_seen_is_deleted_and_nothing_newer() {
        let gone =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
        for (name, answer, expected, events) in [
            ("due", (200, gone), true, vec![json!("DeletionDue")]),
            ("undone meanwhile", fake_api::refusal(409), true, vec![]),
            ("gone meanwhile", fake_api::refusal(404), true, vec![]),
            (
                "the API server is ill",
                fake_api::refusal(500),
                false,
                vec![],
            ),
        ] {
            let (client, log) =
                fake_api::start(move |line| line.starts_with("DELETE").then(|| answer.clone()))
                    .await;
            let ctx = Context::for_tests(client);
            let done = delete(&ctx, &instance(Some("2026-01-01T12:00:00Z"))).await;
            assert_eq!(matches!(done, Ok(Done::Acted(_))), expected, "{name}");
            assert_eq!(told(&log), events, "{name}");
            let first = log.lock()[0].clone();
            assert_eq!(
                first.body["preconditions"],
                json!({"uid": "1", "resourceVersion": "7"}),
                "{name}"
            );
        }
    }

    #[tokio::test]
    async fn a_time_that_cannot_be_read_is_told_once_and_anew_when_it_is_another() {
        let (client, log) = fake_api::start(|_| None).await;
        let ctx = Context::for_tests(client);
        for (said, expected) in [
            (Some("tomorrow"), 1),
            (Some("tomorrow"), 1),
            (Some("later"), 2),
            (None, 2),
            (Some("later"), 3),
            (Some("2026-01-01T12:00:00Z"), 3),
        ] {
            let instance = instance(said);
            let deletion = Deletion::of(&instance, Timestamp::UNIX_EPOCH);
            tell_unclear(&ctx, &instance, &deletion).await;
            assert_eq!(
                told(&log),
                vec![json!("DeletionUnclear"); expected],
                "{said:?}"
            );
        }
    }
}
