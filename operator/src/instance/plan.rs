//! The decision: what to do next for one instance.

#![deny(clippy::wildcard_enum_match_arm)]

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
    /// We have begun to uninstall the release.
    pub(crate) is_uninstalling: bool,
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
    /// An object of the release is missing or was changed.
    Drifted,
    /// Somebody has asked for it by annotation.
    Redeploy,
    /// App or store have moved on.
    Outdated,
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
    /// The release is as the spec wants it.
    InSync,
}

impl Reason {
    /// Whether a run of Helm for this reason gives way to those that somebody waits for.
    pub(crate) fn can_wait(self) -> bool {
        match self {
            Self::Drifted
            | Self::RunFailed
            | Self::Outdated
            | Self::StaleUninstall
            | Self::ReleaseUnknown => true,
            Self::ReleaseAbsent
            | Self::SpecChanged
            | Self::Redeploy
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
    let keep =
        if content.spec.is_ok() && resolved.is_some_and(|resolved| resolved.app == seen.spec.app) {
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
            Objects::Drifted => apply(seen, keep, R::Drifted),
            Objects::AsRendered => match seen.scale {
                Some(scale @ Scale::Suspend) => to(A::Scale(scale), R::Suspended),
                Some(scale @ Scale::Sleep) => to(A::Scale(scale), R::Idle),
                Some(scale @ Scale::Wake) => to(A::Scale(scale), R::Wanted),
                None if seen.outdated && seen.app == AppState::Runnable => {
                    apply(seen, A::Apply, R::Outdated)
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
        AppState::NotReady | AppState::Missing if keeps => {}
        AppState::Runnable => {}
        AppState::Missing => return to(Action::Block, Reason::AppNotFound),
        AppState::NotReady => return to(Action::Block, Reason::AppNotReady),
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
    let ours = match release.status {
        S::Uninstalling => seen.is_uninstalling,
        S::PendingInstall
        | S::PendingUpgrade
        | S::PendingRollback
        | S::Uninstalled
        | S::Deployed
        | S::Failed
        | S::Superseded
        | S::Unknown => release.is_ours,
    };
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

#[cfg(test)]
mod tests {
    use crds::{AppRef, Visibility};

    use super::*;
    use crate::helm::releases::{Content, ResolvedValue};
    use {Action as A, Reason as R, Status as S};

    fn spec() -> WaveInstanceSpec {
        WaveInstanceSpec {
            app: AppRef {
                name: "hello".to_owned(),
                version: "1.0.0".to_owned(),
            },
            owner: "alice".to_owned(),
            visibility: Visibility::Private,
            suspended: false,
        }
    }

    fn nothing() -> Observed {
        Observed {
            deleting: false,
            spec: spec(),
            app: AppState::Runnable,
            release: None,
            cache_behind: false,
            run_over: true,
            is_uninstalling: false,
            release_is_old: false,
            objects: Objects::AsRendered,
            scale: None,
            backing_off: false,
            redeploy: None,
            outdated: false,
            over_limit: false,
        }
    }

    fn content() -> Content {
        Content {
            chart: CHART.to_owned(),
            chart_version: "0.1.0".to_owned(),
            spec: Ok(spec()),
            resolved: Some(ResolvedValue {
                app: spec().app,
                redeploy: None,
                hash: 1,
            }),
            description: String::new(),
        }
    }

    fn holding(status: Status, content: Result<Content, String>) -> Observed {
        Observed {
            release: Some(Release {
                revision: 3,
                status,
                is_ours: false,
                resource_version: String::new(),
                content,
            }),
            ..nothing()
        }
    }

    fn seen(status: Status) -> Observed {
        holding(status, Ok(content()))
    }

    fn shared(status: Status) -> Observed {
        let mut seen = seen(status);
        seen.spec.visibility = Visibility::Public;
        seen
    }

    fn deleted(seen: Observed) -> Observed {
        Observed {
            deleting: true,
            ..seen
        }
    }

    fn other_chart() -> Observed {
        let content = Content {
            chart: "postgresql".to_owned(),
            ..content()
        };
        holding(S::Deployed, Ok(content))
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one row a case")]
    fn plan_answers_every_observed_state() {
        let ours = |seen: Observed, over| Observed {
            release: seen.release.map(|release| Release {
                is_ours: true,
                ..release
            }),
            run_over: over,
            ..seen
        };
        let old = |seen: Observed| Observed {
            release_is_old: true,
            ..seen
        };
        let early = |seen: Observed| Observed {
            backing_off: true,
            ..seen
        };
        let app = |seen: Observed, app| Observed { app, ..seen };
        let objects = |seen: Observed, objects| Observed { objects, ..seen };
        let missing = |seen| objects(seen, Objects::Absent);
        let redeploy = |seen: Observed| Observed {
            redeploy: Some("today".to_owned()),
            ..seen
        };
        let outdated = |seen: Observed| Observed {
            outdated: true,
            ..seen
        };
        let scaled = |seen: Observed, scale| Observed {
            scale: Some(scale),
            ..seen
        };
        let suspended = |mut seen: Observed| {
            seen.spec.suspended = true;
            seen
        };
        let full = |seen: Observed| Observed {
            over_limit: true,
            ..seen
        };
        let unresolved = || {
            let content = Content {
                resolved: None,
                ..content()
            };
            holding(S::Deployed, Ok(content))
        };
        let foreign_values = || {
            let content = Content {
                spec: Err("unknown field".to_owned()),
                ..content()
            };
            holding(S::Deployed, Ok(content))
        };
        let mut other_version = seen(S::Deployed);
        other_version.spec.app.version = "2.0.0".to_owned();
        let stalled = A::DropPending { revision: 3 };

        let cases = vec![
            ("nothing installed", nothing(), A::Apply, R::ReleaseAbsent),
            (
                "nothing installed, app unknown",
                app(nothing(), AppState::Missing),
                A::Block,
                R::AppNotFound,
            ),
            (
                "nothing installed, app not imported",
                app(nothing(), AppState::NotReady),
                A::Block,
                R::AppNotReady,
            ),
            (
                "nothing installed, app is a link",
                app(nothing(), AppState::Link),
                A::Block,
                R::AppIsLink,
            ),
            (
                "the first run failed without a record",
                early(nothing()),
                A::Wait,
                R::RunFailed,
            ),
            (
                "installed, the watch has not shown it",
                Observed {
                    cache_behind: true,
                    ..nothing()
                },
                A::Wait,
                R::CacheBehind,
            ),
            ("as wanted", seen(S::Deployed), A::Nothing, R::InSync),
            (
                "installed by the CLI, without `resolved`",
                unresolved(),
                A::Nothing,
                R::InSync,
            ),
            (
                "as wanted, its app gone",
                app(seen(S::Deployed), AppState::Missing),
                A::Nothing,
                R::InSync,
            ),
            (
                "an older failure does not disturb",
                early(seen(S::Deployed)),
                A::Nothing,
                R::InSync,
            ),
            (
                "upgraded, the watch still shows the last revision",
                Observed {
                    cache_behind: true,
                    ..shared(S::Deployed)
                },
                A::Wait,
                R::CacheBehind,
            ),
            ("shared", shared(S::Deployed), A::ApplyKept, R::SpecChanged),
            (
                "shared, its app gone",
                app(shared(S::Deployed), AppState::Missing),
                A::ApplyKept,
                R::SpecChanged,
            ),
            (
                "another version wanted",
                other_version.clone(),
                A::Apply,
                R::SpecChanged,
            ),
            (
                "another version wanted, unknown",
                app(other_version.clone(), AppState::Missing),
                A::Block,
                R::AppNotFound,
            ),
            (
                "another version wanted, the last try failed",
                early(other_version.clone()),
                A::Wait,
                R::RunFailed,
            ),
            (
                "values that are no spec",
                foreign_values(),
                A::Apply,
                R::SpecChanged,
            ),
            (
                "just installed, or something was touched",
                objects(seen(S::Deployed), Objects::Changed),
                A::Verify,
                R::ObjectsChanged,
            ),
            (
                "Deployment and Service are not to be seen",
                missing(seen(S::Deployed)),
                A::Verify,
                R::ObjectsChanged,
            ),
            (
                "another image put into its Deployment by hand",
                objects(seen(S::Deployed), Objects::Drifted),
                A::ApplyKept,
                R::Drifted,
            ),
            (
                "its Service deleted while its app is gone",
                app(
                    objects(seen(S::Deployed), Objects::Drifted),
                    AppState::Missing,
                ),
                A::ApplyKept,
                R::Drifted,
            ),
            (
                "repaired a moment ago, and changed again",
                early(objects(seen(S::Deployed), Objects::Drifted)),
                A::Wait,
                R::Drifted,
            ),
            (
                "rendered without a cluster: WaveInstance only",
                objects(unresolved(), Objects::Drifted),
                A::Apply,
                R::Drifted,
            ),
            (
                "shared, and its Deployment was edited",
                objects(shared(S::Deployed), Objects::Drifted),
                A::ApplyKept,
                R::SpecChanged,
            ),
            (
                "nobody uses it",
                scaled(seen(S::Deployed), Scale::Sleep),
                A::Scale(Scale::Sleep),
                R::Idle,
            ),
            (
                "somebody visits it while it sleeps",
                scaled(seen(S::Deployed), Scale::Wake),
                A::Scale(Scale::Wake),
                R::Wanted,
            ),
            (
                "suspended, and scaled up by hand",
                scaled(seen(S::Deployed), Scale::Suspend),
                A::Scale(Scale::Suspend),
                R::Suspended,
            ),
            (
                "visited while it sleeps, its app gone",
                app(scaled(seen(S::Deployed), Scale::Wake), AppState::Missing),
                A::Scale(Scale::Wake),
                R::Wanted,
            ),
            (
                "visited while it sleeps, and the store has moved on",
                scaled(outdated(seen(S::Deployed)), Scale::Wake),
                A::Scale(Scale::Wake),
                R::Wanted,
            ),
            (
                "nobody uses it, and its objects were touched",
                objects(scaled(seen(S::Deployed), Scale::Sleep), Objects::Changed),
                A::Verify,
                R::ObjectsChanged,
            ),
            (
                "nobody uses it, and it is shared",
                scaled(shared(S::Deployed), Scale::Sleep),
                A::ApplyKept,
                R::SpecChanged,
            ),
            (
                "suspended",
                suspended(seen(S::Deployed)),
                A::ApplyKept,
                R::SpecChanged,
            ),
            (
                "suspended by an owner who has enough, its app gone",
                app(full(suspended(seen(S::Deployed))), AppState::Missing),
                A::ApplyKept,
                R::SpecChanged,
            ),
            (
                "deleted while it sleeps",
                deleted(scaled(seen(S::Deployed), Scale::Wake)),
                A::Uninstall,
                R::Deleted,
            ),
            (
                "a redeployment asked for",
                redeploy(seen(S::Deployed)),
                A::Apply,
                R::Redeploy,
            ),
            (
                "a redeployment asked for, and shared at once",
                redeploy(shared(S::Deployed)),
                A::Apply,
                R::SpecChanged,
            ),
            (
                "a redeployment asked for that is done",
                redeploy(holding(
                    S::Deployed,
                    Ok(Content {
                        resolved: Some(ResolvedValue {
                            app: spec().app,
                            redeploy: Some("today".to_owned()),
                            hash: 1,
                        }),
                        ..content()
                    }),
                )),
                A::Nothing,
                R::InSync,
            ),
            (
                "a redeployment asked for of an app that is gone",
                app(redeploy(seen(S::Deployed)), AppState::Missing),
                A::Block,
                R::AppNotFound,
            ),
            (
                "the store has moved on, and rolls out by itself",
                outdated(seen(S::Deployed)),
                A::Apply,
                R::Outdated,
            ),
            (
                "the store has moved on, the app is being imported again",
                app(outdated(seen(S::Deployed)), AppState::NotReady),
                A::Nothing,
                R::InSync,
            ),
            (
                "nothing installed, and the owner has enough",
                full(nothing()),
                A::Block,
                R::LimitExceeded,
            ),
            (
                "another version wanted that is too large for its owner",
                full(other_version),
                A::Block,
                R::LimitExceeded,
            ),
            (
                "shared by an owner who has enough",
                full(shared(S::Deployed)),
                A::ApplyKept,
                R::SpecChanged,
            ),
            (
                "as wanted by an owner who has too much",
                full(seen(S::Deployed)),
                A::Nothing,
                R::InSync,
            ),
            ("failed", seen(S::Failed), A::Apply, R::RunFailed),
            (
                "failed, too early",
                early(seen(S::Failed)),
                A::Wait,
                R::RunFailed,
            ),
            (
                "failed, then the spec was changed",
                shared(S::Failed),
                A::Apply,
                R::SpecChanged,
            ),
            (
                "pending by us, killed in the middle",
                ours(seen(S::PendingInstall), true),
                stalled,
                R::StalePending,
            ),
            (
                "pending by us, an upgrade killed in the middle",
                ours(shared(S::PendingUpgrade), true),
                stalled,
                R::StalePending,
            ),
            (
                "pending by us before a restart, maybe alive",
                ours(seen(S::PendingUpgrade), false),
                A::Wait,
                R::OwnOperation,
            ),
            (
                "pending by somebody else",
                seen(S::PendingInstall),
                A::Wait,
                R::ForeignOperation,
            ),
            (
                "pending by somebody else for too long",
                old(seen(S::PendingRollback)),
                stalled,
                R::ForeignPending,
            ),
            (
                "uninstalled by the CLI just now",
                seen(S::Uninstalling),
                A::Wait,
                R::ForeignOperation,
            ),
            (
                "uninstallation stopped in the middle",
                old(seen(S::Uninstalling)),
                A::Uninstall,
                R::StaleUninstall,
            ),
            (
                "uninstalled, history kept",
                seen(S::Uninstalled),
                A::Apply,
                R::ReleaseAbsent,
            ),
            (
                "in a state that nobody knows",
                seen(S::Unknown),
                A::Apply,
                R::ReleaseUnknown,
            ),
            (
                "release of another chart",
                other_chart(),
                A::Block,
                R::ForeignChart,
            ),
            (
                "record unreadable",
                holding(S::Deployed, Err("no".to_owned())),
                A::Block,
                R::UnreadableRelease,
            ),
            (
                "deleted before anything was installed",
                deleted(nothing()),
                A::Finish,
                R::ReleaseGone,
            ),
            (
                "deleted",
                deleted(seen(S::Deployed)),
                A::Uninstall,
                R::Deleted,
            ),
            (
                "deleted, app gone",
                deleted(app(seen(S::Deployed), AppState::Missing)),
                A::Uninstall,
                R::Deleted,
            ),
            (
                "deleted after a failure",
                deleted(seen(S::Failed)),
                A::Uninstall,
                R::Deleted,
            ),
            (
                "deleted, uninstalling failed",
                deleted(early(seen(S::Deployed))),
                A::Wait,
                R::RunFailed,
            ),
            (
                "deleted, half installed by us",
                deleted(ours(seen(S::PendingInstall), true)),
                A::Uninstall,
                R::Deleted,
            ),
            (
                "deleted, our run before a restart maybe alive",
                deleted(ours(seen(S::PendingInstall), false)),
                A::Wait,
                R::OwnOperation,
            ),
            (
                "deleted while somebody else upgrades",
                deleted(seen(S::PendingUpgrade)),
                A::Wait,
                R::ForeignOperation,
            ),
            (
                "deleted by `helm uninstall`",
                deleted(seen(S::Uninstalling)),
                A::Wait,
                R::ForeignOperation,
            ),
            (
                "deleted, our own uninstallation was killed in the middle",
                Observed {
                    is_uninstalling: true,
                    ..deleted(seen(S::Uninstalling))
                },
                A::Uninstall,
                R::Deleted,
            ),
            (
                "deleted, our own uninstallation failed at its very end",
                Observed {
                    is_uninstalling: true,
                    ..deleted(missing(seen(S::Uninstalling)))
                },
                A::Uninstall,
                R::Deleted,
            ),
            (
                "deleted, another operator's uninstallation maybe alive",
                Observed {
                    is_uninstalling: true,
                    run_over: false,
                    ..deleted(seen(S::Uninstalling))
                },
                A::Wait,
                R::OwnOperation,
            ),
            (
                "deleted by `helm uninstall --wait`, which waits for us",
                deleted(missing(seen(S::Uninstalling))),
                A::Finish,
                R::ReleaseGone,
            ),
            (
                "deleted by a `helm uninstall` that died",
                deleted(old(seen(S::Uninstalling))),
                A::Uninstall,
                R::Deleted,
            ),
            (
                "deleted, history kept by `helm uninstall`",
                deleted(seen(S::Uninstalled)),
                A::Finish,
                R::ReleaseGone,
            ),
            (
                "deleted, release of another chart",
                deleted(other_chart()),
                A::Finish,
                R::ForeignChart,
            ),
            (
                "deleted, record unreadable",
                deleted(holding(S::Deployed, Err("no".to_owned()))),
                A::Block,
                R::UnreadableRelease,
            ),
        ];
        for (name, observed, action, reason) in cases {
            assert_eq!(plan(&observed), Plan { action, reason }, "{name}");
        }
    }
}
