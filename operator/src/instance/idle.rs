//! Sleep: whether an instance is in use, and how many pods it is to have.
//!
//! Routers tell by `status.lastActivity` when an instance was used last, rarely, and at once when somebody visits one that is
//! down. So sleeping and waking are the same question, asked of one time; nobody has to write down that an instance sleeps.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::workload::DeploymentSeen;

/// Whether an instance is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Nobody counts, or it is never put to sleep.
    Uncounted,
    /// It is, at least for this time.
    For(Duration),
    /// Nobody has used it for as long as its app says.
    Idle,
}

/// Judges by when an instance was used last. Where nobody has told that, nobody counts, and no silence means anything.
pub(super) fn judge(
    last_activity: Option<Timestamp>,
    timeout: Option<Duration>,
    now: Timestamp,
) -> Use {
    let (Some(last), Some(timeout)) = (last_activity, timeout) else {
        return Use::Uncounted;
    };
    let unused = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    match timeout.checked_sub(unused) {
        Some(left) if !left.is_zero() => Use::For(left),
        Some(_) | None => Use::Idle,
    }
}

/// For how long nothing may be heard of an instance that seems idle before it is put to sleep: whatever a router has seen
/// and not told yet is told by then.
pub(super) fn patience(timeout: Duration) -> Duration {
    2 * crds::report_interval(timeout)
}

/// Why an instance has no pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Its spec says so.
    Suspended,
    /// Nobody uses it.
    Asleep,
}

/// Why the instance is to be as it is, when it is to have no pod and has none.
pub(super) fn rest(suspended: bool, used: Use, deployment: Option<DeploymentSeen>) -> Option<Rest> {
    let has_none = deployment.is_some_and(|deployment| deployment.replicas == 0);
    match used {
        _ if !has_none => None,
        _ if suspended => Some(Rest::Suspended),
        Use::Idle => Some(Rest::Asleep),
        Use::Uncounted | Use::For(_) => None,
    }
}

/// How many pods an instance is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// None: its spec says so.
    Suspend,
    /// None: nobody uses it.
    Sleep,
    /// One.
    Wake,
}

impl Scale {
    /// The same as a number.
    pub(super) fn replicas(self) -> i32 {
        match self {
            Self::Suspend | Self::Sleep => 0,
            Self::Wake => 1,
        }
    }
}

/// What is to be changed about the number of pods. Only what runs is put to sleep: what does not come up is broken, not
/// idle, and its owner shall see that.
pub(super) fn scale(
    suspended: bool,
    used: Use,
    deployment: Option<DeploymentSeen>,
) -> Option<Scale> {
    let DeploymentSeen {
        replicas, ready, ..
    } = deployment?;
    if suspended {
        return (replicas != 0).then_some(Scale::Suspend);
    }
    match used {
        Use::Idle => (ready && replicas != 0).then_some(Scale::Sleep),
        Use::Uncounted | Use::For(_) => (replicas != 1).then_some(Scale::Wake),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn use_is_judged_by_the_last_activity() {
        let minute = Some(Duration::from_mins(1));
        let cases = [
            ("nobody counts", None, minute, 5000, Use::Uncounted),
            ("it never sleeps", Some(1000), None, 5000, Use::Uncounted),
            (
                "just used",
                Some(1000),
                minute,
                1000,
                Use::For(Duration::from_mins(1)),
            ),
            (
                "used a while ago",
                Some(1000),
                minute,
                1059,
                Use::For(Duration::from_secs(1)),
            ),
            (
                "not used for just that long",
                Some(1000),
                minute,
                1060,
                Use::Idle,
            ),
            ("not used for longer", Some(1000), minute, 9000, Use::Idle),
            (
                "used in the future, by a clock that is ahead",
                Some(9000),
                minute,
                1000,
                Use::For(Duration::from_mins(1)),
            ),
        ];
        for (name, last, timeout, now, expected) in cases {
            assert_eq!(judge(last.map(at), timeout, at(now)), expected, "{name}");
        }
    }

    #[test]
    fn pods_are_as_many_as_spec_and_use_say() {
        let deployment = |replicas, ready| {
            Some(DeploymentSeen {
                fingerprint: 0,
                replicas,
                rolled_out: true,
                ready,
                environment: None,
            })
        };
        let used = Use::For(Duration::from_secs(1));
        let (up, starting, down) = (
            deployment(1, true),
            deployment(1, false),
            deployment(0, false),
        );
        let cases = [
            ("in use and up", false, used, up, None, None),
            ("in use and starting", false, used, starting, None, None),
            (
                "visited while it sleeps",
                false,
                used,
                down,
                Some(Scale::Wake),
                None,
            ),
            (
                "nobody counts, and somebody scaled it down",
                false,
                Use::Uncounted,
                down,
                Some(Scale::Wake),
                None,
            ),
            (
                "nobody counts, and somebody scaled it up",
                false,
                Use::Uncounted,
                deployment(3, true),
                Some(Scale::Wake),
                None,
            ),
            ("idle", false, Use::Idle, up, Some(Scale::Sleep), None),
            ("idle and broken", false, Use::Idle, starting, None, None),
            ("asleep", false, Use::Idle, down, None, Some(Rest::Asleep)),
            ("suspended", true, used, down, None, Some(Rest::Suspended)),
            (
                "suspended and idle",
                true,
                Use::Idle,
                down,
                None,
                Some(Rest::Suspended),
            ),
            (
                "suspended, and somebody scaled it up",
                true,
                used,
                up,
                Some(Scale::Suspend),
                None,
            ),
            (
                "suspended while it starts",
                true,
                Use::Uncounted,
                starting,
                Some(Scale::Suspend),
                None,
            ),
            ("no Deployment yet", false, Use::Idle, None, None, None),
        ];
        for (name, suspended, used, deployment, expected, resting) in cases {
            assert_eq!(scale(suspended, used, deployment), expected, "{name}");
            assert_eq!(rest(suspended, used, deployment), resting, "{name}");
        }
    }
}
