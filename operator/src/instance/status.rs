//! The status of an instance, as kstatus wants it.

use crds::{
    ConditionStatus, ConditionType, InstanceRelease, WaveInstanceStatus, condition, find_condition,
    set_condition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::idle::Scale;
use super::judge::{State, Verdict};
use super::observe::Seen;
use super::plan::{Action, Objects, Plan, Reason};

/// Failures in a row after which somebody has to change something.
pub(super) const MANY_FAILURES: u32 = 3;

/// What a status says besides its verdict.
pub(super) struct Facts {
    pub(super) generation: Option<i64>,
    pub(super) release: Option<InstanceRelease>,
    pub(super) url: Option<String>,
}

/// The status to write, from the one that is there.
pub(super) fn assemble(
    old: &WaveInstanceStatus,
    verdict: &Verdict,
    facts: Facts,
    now: &Time,
) -> WaveInstanceStatus {
    let Facts {
        generation,
        release,
        url,
    } = facts;
    let mut conditions = old.conditions.clone();
    let Verdict {
        state,
        reason,
        message,
        phase,
    } = verdict;
    let make = |type_, status| condition(type_, status, reason, message, generation, now);
    let ready = match state {
        State::Ready => ConditionStatus::True,
        State::Reconciling | State::Stalled => ConditionStatus::False,
    };
    set_condition(&mut conditions, make(ConditionType::Ready, ready));
    for (type_, holds) in [
        (ConditionType::Reconciling, *state == State::Reconciling),
        (ConditionType::Stalled, *state == State::Stalled),
    ] {
        if holds {
            set_condition(&mut conditions, make(type_, ConditionStatus::True));
        } else {
            conditions.retain(|condition| condition.type_ != type_.to_string());
        }
    }
    WaveInstanceStatus {
        conditions,
        observed_generation: match state {
            State::Ready | State::Stalled => generation,
            State::Reconciling => old.observed_generation,
        },
        phase: phase.clone().or_else(|| old.phase.clone()),
        release,
        url: url.or_else(|| old.url.clone()),
        // The routers' own.
        last_activity: None,
    }
}

/// The Ready condition.
pub(super) fn ready(status: &WaveInstanceStatus) -> Option<&Condition> {
    find_condition(&status.conditions, ConditionType::Ready)
}

/// A release in short.
pub(super) fn in_short(seen: &Seen, old: &WaveInstanceStatus) -> Option<InstanceRelease> {
    let release = seen.release()?;
    Some(InstanceRelease {
        revision: release.revision,
        status: release.status.to_string(),
        objects: match seen.observed.objects {
            Objects::AsRendered => seen.fingerprint.clone(),
            Objects::Absent | Objects::Changed | Objects::JustMade | Objects::Drifted => {
                let same = |old: &&InstanceRelease| old.revision == release.revision;
                let old = old.release.as_ref().filter(same);
                old.and_then(|old| old.objects.clone())
            }
        },
    })
}

/// What to tell when the plan itself says where the instance stands; none when its pod does, or when
/// nothing is to be told.
pub(super) fn verdict_of_plan(plan: Plan, seen: &Seen, namespace: &str) -> Option<Verdict> {
    let app = &seen.observed.spec.app;
    let told = |state, message: String| {
        Some(Verdict {
            state,
            reason: plan.reason.to_string(),
            message,
            phase: None,
        })
    };
    let moving = |message: String| told(State::Reconciling, message);
    let stalled = |message: String| told(State::Stalled, message);
    match (plan.action, plan.reason) {
        (
            Action::Nothing
            | Action::Verify
            | Action::Delete
            | Action::Scale(Scale::Suspend | Scale::Sleep),
            _,
        )
        | (_, Reason::CacheBehind | Reason::ReleaseGone) => None,
        (Action::Block, Reason::AppNotFound) => moving(format!(
            "there is no app `{app}` in namespace `{namespace}` (hint: see `kubectl get waveapps --namespace {namespace}`)"
        )),
        (Action::Block, Reason::AppNotReady) => moving(format!(
            "the app `{app}` is not ready (hint: see `kubectl get waveapps --namespace {namespace} --output wide`)"
        )),
        (Action::Block, Reason::AppIsLink) => stalled(match link(seen) {
            Some(link) => format!("the app `{app}` is a link to {link}: it has nothing to run"),
            None => format!("the app `{app}` is a link: it has nothing to run"),
        }),
        (Action::Block, Reason::SizeNotFound) => stalled(no_size(seen)),
        (_, Reason::LimitExceeded) => stalled(seen.over_limit.clone().unwrap_or_default()),
        (Action::Wait, Reason::Drifted) => moving(format!(
            "{}, {} times in a row; it is put back again after a while (hint: find out who changes it: `kubectl get --show-managed-fields`)",
            seen.drift.as_deref().unwrap_or("an object was changed"),
            seen.repaired.as_ref().map_or(0, |repaired| repaired.times),
        )),
        (_, Reason::ForeignChart) => stalled(
            "a Helm release of this name exists, of another chart (hint: choose another name for the instance)"
                .to_owned(),
        ),
        (_, Reason::UnreadableRelease) => stalled(format!(
            "Helm's record of the release cannot be read: {} (hint: restore the Secret, or delete it, and a new record is made of what is there)",
            seen.release()
                .and_then(|release| release.content.as_ref().err())
                .map_or("", String::as_str)
        )),
        (_, Reason::ForeignOperation) if seen.observed.deleting => {
            moving("waiting for somebody else's Helm command to end before the release is uninstalled".to_owned())
        }
        (_, Reason::ForeignOperation) => {
            moving("waiting for somebody else's Helm command to end".to_owned())
        }
        (_, Reason::OwnOperation) => {
            moving("a Helm command from before the operator's restart may still run".to_owned())
        }
        // A retry changes nothing of what is known until it succeeds.
        (Action::Wait, Reason::RunFailed) => Some(run_failed(seen)),
        (Action::Apply | Action::ApplyKept | Action::Uninstall, _) if seen.failed.is_some() => {
            Some(run_failed(seen))
        }
        (Action::Scale(Scale::Wake), _) => Some(Verdict::new(
            State::Reconciling,
            "Waking",
            "the app is waking up",
            "Waking Up",
        )),
        (Action::DropPending { revision }, _) => moving(format!(
            "revision {revision} was left in the middle; it is being repaired"
        )),
        (Action::Uninstall | Action::Finish, _) => Some(Verdict::new(
            State::Reconciling,
            "Deleting",
            "the release is being uninstalled",
            "Stopping",
        )),
        (Action::Apply | Action::ApplyKept, Reason::ReleaseAbsent) => Some(Verdict::new(
            State::Reconciling,
            "Installing",
            "Helm installs the release",
            "Scheduling",
        )),
        (Action::Apply | Action::ApplyKept, reason) => Some(Verdict {
            state: State::Reconciling,
            reason: "Upgrading".to_owned(),
            message: format!("Helm upgrades the release ({reason})"),
            phase: None,
        }),
        (Action::Wait | Action::Block, reason) => moving(format!("waiting ({reason})")),
    }
}

/// That there is no such size, and which there are.
fn no_size(seen: &Seen) -> String {
    let size = seen.observed.spec.size.as_deref().unwrap_or_default();
    let runtime = seen.app.as_ref().and_then(|app| app.runtime.as_ref());
    let sizes = runtime.map_or(&[][..], |runtime| &runtime.sizes);
    let names: Vec<&str> = sizes.iter().map(|size| size.name.as_str()).collect();
    let hint = if names.is_empty() {
        "drop `spec.size`: this store has no sizes".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    format!("there is no size `{size}` in this store (hint: {hint})")
}

/// What Helm said in the end.
pub(super) fn run_failed(seen: &Seen) -> Verdict {
    let (message, times) = match &seen.failed {
        Some(failed) => (failed.message.clone(), failed.times),
        None => (
            seen.release()
                .and_then(|release| release.content.as_ref().ok())
                .map(|content| content.description.clone())
                .unwrap_or_default(),
            0,
        ),
    };
    Verdict {
        state: if times >= MANY_FAILURES {
            State::Stalled
        } else {
            State::Reconciling
        },
        reason: "HelmFailed".to_owned(),
        message,
        phase: None,
    }
}

/// What to tell when the app does not get a Secret any more that it was resolved with.
pub(super) fn secret_refused(message: &str) -> Verdict {
    Verdict {
        state: State::Reconciling,
        reason: Reason::AppNotReady.to_string(),
        message: message.to_owned(),
        phase: None,
    }
}

/// What is told when an object of somebody else has a name that the instance needs.
pub(super) fn name_taken(object: &str) -> Verdict {
    Verdict {
        state: State::Stalled,
        reason: "NameTaken".to_owned(),
        message: format!(
            "the {object} exists and is not of this instance (hint: choose another name for the instance)"
        ),
        phase: None,
    }
}

fn link(seen: &Seen) -> Option<&str> {
    seen.app.as_ref()?.link.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        Time(text.parse().expect("a time"))
    }

    fn facts(generation: i64) -> Facts {
        Facts {
            generation: Some(generation),
            release: None,
            url: None,
        }
    }

    #[test]
    fn observed_generation_moves_only_on_a_final_word() {
        let (first, second) = (at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        let going = Verdict::new(State::Reconciling, "Starting", "starting", "Starting");
        let ready = Verdict::new(State::Ready, "Running", "the app is running", "Running");
        let stalled = Verdict {
            phase: None,
            ..Verdict::new(State::Stalled, "HelmFailed", "no", "")
        };
        let status = assemble(&WaveInstanceStatus::default(), &going, facts(1), &first);
        assert_eq!(status.observed_generation, None);
        let types = |status: &WaveInstanceStatus| -> Vec<String> {
            status
                .conditions
                .iter()
                .map(|condition| format!("{}={}", condition.type_, condition.status))
                .collect()
        };
        assert_eq!(types(&status), ["Ready=False", "Reconciling=True"]);
        let status = assemble(&status, &ready, facts(1), &second);
        assert_eq!(status.observed_generation, Some(1));
        assert_eq!(types(&status), ["Ready=True"]);
        assert_eq!(
            assemble(&status, &ready, facts(1), &first),
            status,
            "the same verdict changes nothing"
        );
        let status = assemble(&status, &going, facts(2), &second);
        assert_eq!(status.observed_generation, Some(1));
        let status = assemble(&status, &stalled, facts(2), &second);
        assert_eq!(status.observed_generation, Some(2));
        assert_eq!(types(&status), ["Ready=False", "Stalled=True"]);
        assert_eq!(status.phase.as_deref(), Some("Starting"));
    }
}
