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
        size: None,
    }
}

fn nothing() -> Observed {
    Observed {
        deleting: false,
        due: false,
        spec: spec(),
        app: AppState::Runnable,
        release: None,
        cache_behind: false,
        run_over: true,
        release_is_old: false,
        objects: Objects::AsRendered,
        scale: None,
        backing_off: false,
        redeploy: None,
        outdated: false,
        lacks_environment: false,
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
            environment: None,
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

fn due(seen: Observed) -> Observed {
    Observed { due: true, ..seen }
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
    let lacks = |seen: Observed| Observed {
        lacks_environment: true,
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
    let mut resized = seen(S::Deployed);
    resized.spec.size = Some("large".to_owned());
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
            "nothing installed, no such size",
            app(nothing(), AppState::NoSize),
            A::Block,
            R::SizeNotFound,
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
            "shared, its size gone",
            app(shared(S::Deployed), AppState::NoSize),
            A::ApplyKept,
            R::SpecChanged,
        ),
        ("resized", resized.clone(), A::Apply, R::SpecChanged),
        (
            "resized, no such size",
            app(resized, AppState::NoSize),
            A::Block,
            R::SizeNotFound,
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
            "just installed by our own run",
            objects(seen(S::Deployed), Objects::JustMade),
            A::Verify,
            R::ObjectsMade,
        ),
        (
            "the operator was restarted, or something was touched",
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
                        environment: None,
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
            "its app's environment was built while it has no pod",
            lacks(seen(S::Deployed)),
            A::Apply,
            R::EnvironmentBuilt,
        ),
        (
            "the environment was built, the app is being imported again",
            app(lacks(seen(S::Deployed)), AppState::NotReady),
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
            deleted(ours(seen(S::Uninstalling), true)),
            A::Uninstall,
            R::Deleted,
        ),
        (
            "deleted, our own uninstallation failed at its very end",
            deleted(missing(ours(seen(S::Uninstalling), true))),
            A::Uninstall,
            R::Deleted,
        ),
        (
            "deleted, another operator's uninstallation maybe alive",
            deleted(ours(seen(S::Uninstalling), false)),
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
        (
            "to be deleted, and the time has come",
            due(seen(S::Deployed)),
            A::Delete,
            R::DeletionDue,
        ),
        (
            "to be deleted before it was ever installed",
            due(nothing()),
            A::Delete,
            R::DeletionDue,
        ),
        (
            "to be deleted while it sleeps and is visited",
            due(scaled(seen(S::Deployed), Scale::Wake)),
            A::Delete,
            R::DeletionDue,
        ),
        (
            "to be deleted while somebody else upgrades, and our last run failed",
            due(early(Observed {
                cache_behind: true,
                ..seen(S::PendingUpgrade)
            })),
            A::Delete,
            R::DeletionDue,
        ),
        (
            "to be deleted, release of another chart",
            due(other_chart()),
            A::Delete,
            R::DeletionDue,
        ),
        (
            "to be deleted, and somebody was faster",
            deleted(due(seen(S::Deployed))),
            A::Uninstall,
            R::Deleted,
        ),
    ];
    for (name, observed, action, reason) in cases {
        assert_eq!(plan(&observed), Plan { action, reason }, "{name}");
    }
}
