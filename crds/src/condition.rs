//! Conditions after kstatus, so that `kubectl wait`, `helm --wait`, Flux and Argo CD understand them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The condition types that Wavestore writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
pub enum ConditionType {
    /// Usable now. Always present once the operator has seen the object.
    Ready,
    /// On its way; present only while true.
    Reconciling,
    /// Somebody has to change something; present only while true.
    Stalled,
    /// Of an app with requirements: its environment is in the store. Instances run without it, too.
    EnvironmentReady,
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known yet.
    Unknown,
}

/// Longest message of a condition that Kubernetes accepts, in bytes.
const MAX_MESSAGE: usize = 32_768;

/// Makes a condition with `now` as its transition time.
#[must_use]
pub fn condition(
    type_: ConditionType,
    status: ConditionStatus,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: &Time,
) -> Condition {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    Condition {
        type_: type_.to_string(),
        status: status.to_string(),
        reason: reason.to_owned(),
        message: message[..end].to_owned(),
        observed_generation: generation,
        last_transition_time: now.clone(),
    }
}

/// The condition of one type.
#[must_use]
pub fn find_condition<'a>(
    conditions: impl IntoIterator<Item = &'a Condition>,
    type_: ConditionType,
) -> Option<&'a Condition> {
    let name: &str = type_.into();
    conditions
        .into_iter()
        .find(|condition| condition.type_ == name)
}

/// Whether a condition of one type is there and holds.
#[must_use]
pub fn holds<'a>(
    conditions: impl IntoIterator<Item = &'a Condition>,
    type_: ConditionType,
) -> bool {
    let found = find_condition(conditions, type_);
    found.is_some_and(|condition| condition.status == ConditionStatus::True.to_string())
}

/// Reasons of a Ready condition that is False because something is wrong, not because it takes time.
const FAILURES: [&str; 5] = [
    "AppFailed",
    "AppNotFound",
    "HelmFailed",
    "ImagePullBackOff",
    "Unschedulable",
];

/// Whether an instance that is not ready for this reason needs somebody to look after it.
#[must_use]
pub fn is_failure(reason: &str) -> bool {
    FAILURES.contains(&reason)
}

/// Puts `new` among `conditions`, keeping the old transition time while the status stays the same.
pub fn set_condition(conditions: &mut Vec<Condition>, mut new: Condition) {
    match conditions.iter_mut().find(|old| old.type_ == new.type_) {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time.clone();
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_time_moves_only_when_the_status_does() {
        let at = |text: &str| Time(text.parse().expect("a time"));
        let (first, second) = (at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        let ready =
            |status, reason, now| condition(ConditionType::Ready, status, reason, "", Some(1), now);
        let mut conditions = vec![ready(ConditionStatus::False, "Starting", &first)];
        set_condition(
            &mut conditions,
            ready(ConditionStatus::False, "Installing", &second),
        );
        assert_eq!(conditions[0].last_transition_time, first);
        assert_eq!(conditions[0].reason, "Installing");
        set_condition(
            &mut conditions,
            ready(ConditionStatus::True, "Running", &second),
        );
        assert_eq!(conditions[0].last_transition_time, second);
        assert_eq!(conditions.len(), 1);
    }
}
