//! The decision: what to do next for one instance.

#![deny(clippy::wildcard_enum_match_arm)]

#[cfg(test)]
mod tests;

use crds::WaveInstanceSpec;

use super::idle::Scale;
use crate::helm::releases::{CHART, Release, Status};

/// Everything that decides.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, not states of one thing"
)]
pub(crate) struct Observed {
    /// The instance is being deleted.
    pub(crate) deleting: bool,
    /// The time has come at which it is to be deleted.
    pub(crate) due: bool,
    /// What is wanted.
    pub(crate) spec: WaveInstanceSpec,
    /// Whether the app can be run.
    pub(crate) app: AppState,
    /// The release's latest revision.
    pub(crate) release: Option<Release>,
    /// Our own run has just made a revision that the watch has not shown yet.
    pub(crate) cache_behind: bool,
    /// Every run of ours is known to be over: it ended here, or was another operator's, before we led.
    pub(crate) run_over: bool,
    /// We have seen the release as it is for longer than Helm may run.
    pub(crate) release_is_old: bool,
    /// How the objects of the release are.
    pub(crate) objects: Objects,
    /// What is to be changed about the number of its pods.
    pub(crate) scale: Option<Scale>,
    /// Runs of this generation have failed, or objects were repaired again and again, and it is too early for the next run.
    pub(crate) backing_off: bool,
    /// What the annotation of the instance says that asks for a redeployment.
    pub(crate) redeploy: Option<String>,
    /// The app or the store's settings have come to something else than the release was made with, and the store is told to
    /// roll that out by itself.
    pub(crate) outdated: bool,
    /// Its release was made before the environment of its app was built, or another one was, and it has no pod that would have to
    /// start again.
    pub(crate) lacks_environment: bool,
    /// The owner may not have what a new run would bring.
    pub(crate) over_limit: bool,
}

/// Whether an app can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppState {
    /// It can.
    Runnable,
    /// Nobody has published it.
    Missing,
    /// It can, but not in the size that is wanted.
    NoSize,
    /// Its import is not done, or has failed.
    NotReady,
    /// There is nothing to run.
    Link,
}

/// How the objects of a release are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objects {
    /// Neither Deployment nor Service exist.
    Absent,
    /// They have changed since they were compared with what the release has rendered, or never were.
    Changed,
    /// Our own run has just made them, and nobody has compared them yet.
    JustMade,
    /// They are as rendered.
    AsRendered,
    /// One is missing, or somebody has changed it.
    Drifted,
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What to do.
    pub(crate) action: Action,
    /// Why.
    pub(crate) reason: Reason,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
pub(crate) enum Action {
    /// `helm upgrade --install`, resolving the app anew.
    Apply,
    /// The same, with what the last revision was resolved to.
    ApplyKept,
    /// Compare the objects with what the release has rendered.
    Verify,
    /// Set the number of pods.
    Scale(Scale),
    /// Delete the Secret of a revision that a dead run left pending.
    DropPending {
        /// That revision.
        revision: u32,
    },
    /// Delete the instance, as anybody would who wants it gone now.
    Delete,
    /// `helm uninstall`.
    Uninstall,
    /// Drop the finalizer: nothing is left.
    Finish,
    /// Wait for a change, and look again after a while.
    Wait,
    /// Somebody has to change something first.
    Block,
    /// All is as wanted.
    Nothing,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
pub(crate) enum Reason {
    /// There is no release.
    ReleaseAbsent,
    /// The release has other values than the spec.
    SpecChanged,
    /// Objects are there that nobody has compared with the release yet.
    ObjectsChanged,
    /// Objects are there that our own run has made, and that nobody has compared with the release yet.
    ObjectsMade,
    /// An object of the release is missing or was changed.
    Drifted,
    /// Somebody has asked for it by annotation.
    Redeploy,
    /// App or store have moved on.
    Outdated,
    /// The environment of its app was built after its release was made.
    EnvironmentBuilt,
    /// Its spec says that it is suspended.
    Suspended,
    /// Nobody uses it.
    Idle,
    /// It is not suspended, and somebody uses it.
    Wanted,
    /// The owner may have no more.
    LimitExceeded,
    /// The last run failed.
    RunFailed,
    /// The release is in a state that nobody knows.
    ReleaseUnknown,
    /// A dead run of ours left the release pending.
    StalePending,
    /// A dead run of somebody else left the release pending.
    ForeignPending,
    /// Somebody else works on the release.
    ForeignOperation,
    /// A run of ours may still be working, from before the operator's restart.
    OwnOperation,
    /// The watch has not shown yet what our own run did.
    CacheBehind,
    /// An uninstallation stopped in the middle.
    StaleUninstall,
    /// Nobody has taken back in time that the instance is to be deleted.
    DeletionDue,
    /// The instance is deleted.
    Deleted,
    /// Nothing is left of the release.
    ReleaseGone,
    /// The release is of another chart.
    ForeignChart,
    /// Helm's record cannot be read.
    UnreadableRelease,
    /// Nobody has published the app.
    AppNotFound,
    /// The app is not imported yet, or its bundle is bad.
    AppNotReady,
    /// The app is a link.
    AppIsLink,
    /// The store has no such size.
    SizeNotFound,
    /// The release is as the spec wants it.
    InSync,
}

impl Reason {
    /// Whether what is done for this reason gives way to runs of Helm that somebody waits for.
    pub(crate) fn can_wait(self) -> bool {
        match self {
            Self::ObjectsMade
            | Self::Drifted
            | Self::RunFailed
            | Self::Outdated
            | Self::EnvironmentBuilt
            | Self::StaleUninstall
            | Self::ReleaseUnknown => true,
            Self::ReleaseAbsent
            | Self::SpecChanged
            | Self::Redeploy
            | Self::DeletionDue
            | Self::Deleted
            | Self::ObjectsChanged
            | Self::Suspended
            | Self::Idle
            | Self::Wanted
            | Self::LimitExceeded
            | Self::StalePending
            | Self::ForeignPending
            | Self::ForeignOperation
            | Self::OwnOperation
            | Self::CacheBehind
            | Self::ReleaseGone
            | Self::ForeignChart
            | Self::UnreadableRelease
            | Self::AppNotFound
            | Self::AppNotReady
            | Self::AppIsLink
            | Self::SizeNotFound
            | Self::InSync => false,
        }
    }
}

impl Observed {
    /// The release's latest revision, deployed or on its way, renders this spec.
    pub(crate) fn in_sync(&self) -> bool {
        self.release
            .as_ref()
            .and_then(|release| release.content.as_ref().ok())
            .is_some_and(|content| content.spec.as_ref() == Ok(&self.spec))
    }
}

/// Decides the next step for one instance. Never awaits, logs, or reads the clock.
pub(crate) fn plan(seen: &Observed) -> Plan {
    if seen.deleting {
        plan_absent(seen)
    } else if seen.due {
        // Whatever its release is like: what follows is what follows any deletion.
        to(Action::Delete, Reason::DeletionDue)
    } else {
        plan_present(seen)
    }
}

fn plan_present(seen: &Observed) -> Plan {
    use {Action as A, Reason as R, Status as S};
    if seen.cache_behind {
        return to(A::Wait, R::CacheBehind);
    }
    let Some(release) = &seen.release else {
        return apply(seen, A::Apply, R::ReleaseAbsent);
    };
    let content = match &release.content {
        Ok(content) if content.chart == CHART => content,
        Ok(_) => return to(A::Block, R::ForeignChart),
        Err(_) => return to(A::Block, R::UnreadableRelease),
    };
    let in_sync = seen.in_sync();
    // Values that are no spec must go, so they cannot be reused.
    let resolved = content.resolved.as_ref();
    let same_size = content
        .spec
        .as_ref()
        .is_ok_and(|spec| spec.size == seen.spec.size);
    let keep = if same_size && resolved.is_some_and(|resolved| resolved.app == seen.spec.app) {
        A::ApplyKept
    } else {
        A::Apply
    };
    let redeployed = seen.redeploy.is_none()
        || seen.redeploy.as_ref() == resolved.and_then(|resolved| resolved.redeploy.as_ref());
    match release.status {
        S::PendingInstall | S::PendingUpgrade | S::PendingRollback => pending(seen, release),
        S::Deployed if !in_sync && redeployed => apply(seen, keep, R::SpecChanged),
        S::Deployed if !in_sync => apply(seen, A::Apply, R::SpecChanged),
        S::Deployed if !redeployed => apply(seen, A::Apply, R::Redeploy),
        S::Deployed => match seen.objects {
            Objects::Absent | Objects::Changed => to(A::Verify, R::ObjectsChanged),
            Objects::JustMade => to(A::Verify, R::ObjectsMade),
            Objects::Drifted => apply(seen, keep, R::Drifted),
            Objects::AsRendered => match seen.scale {
                Some(scale @ Scale::Suspend) => to(A::Scale(scale), R::Suspended),
                Some(scale @ Scale::Sleep) => to(A::Scale(scale), R::Idle),
                Some(scale @ Scale::Wake) => to(A::Scale(scale), R::Wanted),
                None if seen.outdated && seen.app == AppState::Runnable => {
                    apply(seen, A::Apply, R::Outdated)
                }
                None if seen.lacks_environment && seen.app == AppState::Runnable => {
                    apply(seen, A::Apply, R::EnvironmentBuilt)
                }
                None => to(A::Nothing, R::InSync),
            },
        },
        S::Failed if in_sync => apply(seen, A::Apply, R::RunFailed),
        S::Failed => apply(seen, A::Apply, R::SpecChanged),
        S::Uninstalling if seen.release_is_old => to(A::Uninstall, R::StaleUninstall),
        S::Uninstalling => to(A::Wait, R::ForeignOperation),
        S::Uninstalled => apply(seen, A::Apply, R::ReleaseAbsent),
        S::Unknown | S::Superseded => apply(seen, A::Apply, R::ReleaseUnknown),
    }
}

fn pending(seen: &Observed, release: &Release) -> Plan {
    use {Action as A, Reason as R};
    let (ours, revision) = (release.is_ours, release.revision);
    if ours && seen.run_over {
        to(A::DropPending { revision }, R::StalePending)
    } else if ours {
        to(A::Wait, R::OwnOperation)
    } else if seen.release_is_old {
        to(A::DropPending { revision }, R::ForeignPending)
    } else {
        to(A::Wait, R::ForeignOperation)
    }
}

/// A run of Helm, if the app can be run and it is time.
fn apply(seen: &Observed, action: Action, reason: Reason) -> Plan {
    let keeps = action == Action::ApplyKept;
    match seen.app {
        // What was resolved once can be shared and repaired even when its app is in the works.
        AppState::NotReady | AppState::Missing | AppState::NoSize if keeps => {}
        AppState::Runnable => {}
        AppState::Missing => return to(Action::Block, Reason::AppNotFound),
        AppState::NotReady => return to(Action::Block, Reason::AppNotReady),
        AppState::NoSize => return to(Action::Block, Reason::SizeNotFound),
        AppState::Link => return to(Action::Block, Reason::AppIsLink),
    }
    if seen.over_limit && !keeps {
        return to(Action::Block, Reason::LimitExceeded);
    }
    if seen.backing_off {
        let drifted = reason == Reason::Drifted;
        let why = if drifted { reason } else { Reason::RunFailed };
        return to(Action::Wait, why);
    }
    to(action, reason)
}

fn plan_absent(seen: &Observed) -> Plan {
    use {Action as A, Reason as R, Status as S};
    let Some(release) = &seen.release else {
        return to(A::Finish, R::ReleaseGone);
    };
    match &release.content {
        Ok(content) if content.chart == CHART => {}
        // What is not ours stays.
        Ok(_) => return to(A::Finish, R::ForeignChart),
        // Helm would find nothing to uninstall, and say that all is well.
        Err(_) => return to(A::Block, R::UnreadableRelease),
    }
    let uninstall = if seen.backing_off {
        to(A::Wait, R::RunFailed)
    } else {
        to(A::Uninstall, R::Deleted)
    };
    let ours = release.is_ours;
    match release.status {
        S::Uninstalled => to(A::Finish, R::ReleaseGone),
        // Somebody's `helm uninstall --wait` keeps its record until the instance, too, is gone.
        S::Uninstalling if seen.objects == Objects::Absent && !ours => {
            to(A::Finish, R::ReleaseGone)
        }
        S::Uninstalling | S::PendingInstall | S::PendingUpgrade | S::PendingRollback
            if !ours && !seen.release_is_old =>
        {
            to(A::Wait, R::ForeignOperation)
        }
        S::Uninstalling | S::PendingInstall | S::PendingUpgrade | S::PendingRollback
            if ours && !seen.run_over =>
        {
            to(A::Wait, R::OwnOperation)
        }
        S::Uninstalling
        | S::PendingInstall
        | S::PendingUpgrade
        | S::PendingRollback
        | S::Deployed
        | S::Failed
        | S::Superseded
        | S::Unknown => uninstall,
    }
}

fn to(action: Action, reason: Reason) -> Plan {
    Plan { action, reason }
}
