//! Who may do what: one decision for every page, every call and every byte.

#![deny(clippy::wildcard_enum_match_arm)]

use catalog::Role;
use crds::{Lifecycle, SecretReaders, Visibility, WaveInstanceSpec};

use crate::grants::Grants;
use crate::table::{AppEntry, Route};
use crate::viewer::Viewer;

/// What somebody wants to do, with what they want to do it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    /// Come as far as the door: sign-in pages, and addresses that ask a question of their own next.
    Arrive,
    /// Use the store's own pages and one's own account.
    UseStore,
    /// Manage everybody's accounts.
    ManageAccounts,
    /// Give instances other names, and take them away.
    SetAliases,
    /// See an app and its pictures. `None` is an app that does not exist.
    SeeApp(Option<App<'a>>),
    /// Publish an app.
    Publish,
    /// Delete an app, or change who sees it.
    ManageApp(App<'a>),
    /// Read what the store knows of tags, and whom they let see apps.
    SeeTags,
    /// Say what tags are, and what roles do by them.
    ManageTags,
    /// Read what users and apps may have, and what everybody has of it.
    ReadLimits,
    /// Read what everybody has done.
    ReadAudit,
    /// Put a tag on an app that one manages, or take it off.
    SetTag(&'a str),
    /// Give an app to somebody else: nobody is made the owner of what others have written without an admin.
    GiveApp(App<'a>),
    /// Run an instance of an app. `None` is an app that does not exist.
    RunApp(Option<App<'a>>),
    /// Reach the app in an instance. `None` is an instance that does not exist.
    Enter(Option<Instance<'a>>),
    /// See how an instance is and what to do about it, give it another version, suspend, resume or delete it. `None` is an
    /// instance that does not exist.
    Manage(Option<Instance<'a>>),
    /// Change who may enter an instance.
    Share(Instance<'a>),
    /// Read what the app in an instance has written.
    ReadLog(Instance<'a>),
    /// Have secrets for apps.
    UseSecrets,
    /// See that a secret is there and what its keys are called; its values are shown to nobody. `None` is a secret that does
    /// not exist.
    SeeSecret(Option<Secret<'a>>),
    /// Replace or delete a secret, or make one like this.
    ManageSecret(Secret<'a>),
}

/// What counts of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Secret<'a> {
    pub readers: &'a SecretReaders,
    /// The versions that read it, if it is for one app.
    pub versions: &'a [App<'a>],
}

/// What counts of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct App<'a> {
    pub owner: &'a str,
    pub visibility: Visibility,
    pub lifecycle: Lifecycle,
    /// Its tags: those of its app.toml and those that were put on it.
    pub tags: [&'a [String]; 2],
}

/// What counts of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instance<'a> {
    pub owner: &'a str,
    pub visibility: Visibility,
}

/// The policy's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Go on.
    Allow,
    /// Sign in first; says nothing about whether the thing exists.
    SignIn,
    /// It is known to be there, and not for everybody.
    Forbid,
    /// Answered as if there were no such thing.
    Hide,
}

/// Decides whether `viewer` may do it; nobody in particular is `None`. What does not exist and what is somebody else's
/// get the same answer. An admin manages everything, but neither enters a private instance nor opens one.
#[must_use]
pub(crate) fn decide(viewer: Option<&Viewer>, action: Action<'_>) -> Decision {
    let Some(viewer) = viewer else {
        return decide_for_nobody(action);
    };
    let owns = |owner: &str| owner == &*viewer.name;
    let is_admin = viewer.role == Role::Admin;
    let allowed = match action {
        Action::Arrive | Action::UseStore => true,
        Action::ManageAccounts
        | Action::SetAliases
        | Action::ManageTags
        | Action::ReadLimits
        | Action::ReadAudit => {
            if !is_admin {
                return Decision::Forbid;
            }
            true
        }
        Action::SetTag(tag) => {
            // Whoever was not asked what tags let them do is let do nothing by them.
            let is_closed = |grants: &Grants| grants.is_closed(tag);
            if !is_admin && viewer.grants.as_deref().is_none_or(is_closed) {
                return Decision::Forbid;
            }
            true
        }
        Action::Publish | Action::SeeTags | Action::UseSecrets => match viewer.role {
            Role::Full | Role::Admin => true,
            Role::Visitor => return Decision::Forbid,
        },
        Action::SeeSecret(secret) => secret.is_some_and(|secret| sees_secret(viewer, secret)),
        Action::ManageSecret(secret) => {
            let manages = manages_secret(viewer, secret);
            if !manages && sees_secret(viewer, secret) {
                return Decision::Forbid;
            }
            manages
        }
        Action::ManageApp(app) => {
            let sees = sees(viewer, app);
            if sees && !is_admin && !owns(app.owner) && !manages_by_tag(viewer, app) {
                return Decision::Forbid;
            }
            sees
        }
        Action::GiveApp(app) => {
            let sees = sees(viewer, app);
            if sees && !is_admin {
                return Decision::Forbid;
            }
            sees
        }
        Action::SeeApp(app) => app.is_some_and(|app| sees(viewer, app)),
        Action::RunApp(app) => app.is_some_and(|app| {
            sees(viewer, app)
                && match app.lifecycle {
                    Lifecycle::OnDemand => true,
                    Lifecycle::Managed => is_admin || owns(app.owner),
                    Lifecycle::Link => false,
                }
        }),
        Action::Enter(instance) => instance.is_some_and(|instance| match instance.visibility {
            Visibility::Public | Visibility::AllUsers => true,
            Visibility::Private => owns(instance.owner),
        }),
        Action::Manage(instance) => {
            instance.is_some_and(|instance| is_admin || owns(instance.owner))
        }
        Action::Share(instance) if owns(instance.owner) => true,
        Action::Share(_) if is_admin => return Decision::Forbid,
        Action::Share(_) => false,
        Action::ReadLog(instance) => {
            owns(instance.owner)
                && match viewer.role {
                    Role::Full | Role::Admin => true,
                    Role::Visitor => false,
                }
        }
    };
    if allowed {
        Decision::Allow
    } else {
        Decision::Hide
    }
}

fn decide_for_nobody(action: Action<'_>) -> Decision {
    let is_public = match action {
        Action::Arrive => true,
        Action::SeeApp(app) => app.is_some_and(|app| app.visibility == Visibility::Public),
        Action::Enter(instance) => {
            instance.is_some_and(|instance| instance.visibility == Visibility::Public)
        }
        Action::UseStore
        | Action::ManageAccounts
        | Action::SetAliases
        | Action::SeeTags
        | Action::ManageTags
        | Action::ReadLimits
        | Action::ReadAudit
        | Action::SetTag(_)
        | Action::Publish
        | Action::ManageApp(_)
        | Action::GiveApp(_)
        | Action::RunApp(_)
        | Action::Manage(_)
        | Action::Share(_)
        | Action::ReadLog(_)
        | Action::UseSecrets
        | Action::SeeSecret(_)
        | Action::ManageSecret(_) => false,
    };
    if is_public {
        Decision::Allow
    } else {
        Decision::SignIn
    }
}

fn sees(viewer: &Viewer, app: App<'_>) -> bool {
    let owns = app.owner == &*viewer.name;
    match (app.visibility, viewer.role) {
        (Visibility::Public, _) | (_, Role::Admin) | (Visibility::AllUsers, Role::Full) => true,
        (Visibility::AllUsers, Role::Visitor) => {
            let visits = |grants: &Grants| grants.visits(app.tags.into_iter().flatten());
            owns || viewer.grants.as_deref().is_some_and(visits)
        }
        (Visibility::Private, Role::Full) => owns || manages_by_tag(viewer, app),
        (Visibility::Private, Role::Visitor) => owns,
    }
}

/// Whether a role of a publisher's manages the apps that have a tag of this one.
fn manages_by_tag(viewer: &Viewer, app: App<'_>) -> bool {
    let manages = |grants: &Grants| grants.manages(app.tags.into_iter().flatten());
    viewer.role == Role::Full && viewer.grants.as_deref().is_some_and(manages)
}

fn sees_secret(viewer: &Viewer, secret: Secret<'_>) -> bool {
    let is_for_all = matches!(secret.readers, SecretReaders::AllUsers { .. });
    manages_secret(viewer, secret) || (is_for_all && viewer.role == Role::Full)
}

/// A secret of one app is managed by its owner, and by those who manage every version that reads it.
fn manages_secret(viewer: &Viewer, secret: Secret<'_>) -> bool {
    let manages = |app: &App<'_>| manages_by_tag(viewer, *app);
    match (viewer.role, secret.readers) {
        (Role::Admin, _) => true,
        (Role::Visitor, _) | (Role::Full, SecretReaders::AllUsers { .. }) => false,
        (Role::Full, SecretReaders::Private { owner }) => **owner == *viewer.name,
        (Role::Full, SecretReaders::App { owner, .. }) => {
            **owner == *viewer.name
                || (!secret.versions.is_empty() && secret.versions.iter().all(manages))
        }
    }
}

impl<'a> From<&'a Route> for Instance<'a> {
    fn from(route: &'a Route) -> Self {
        Self {
            owner: &route.owner,
            visibility: route.visibility,
        }
    }
}

impl<'a> From<&'a WaveInstanceSpec> for Instance<'a> {
    fn from(spec: &'a WaveInstanceSpec) -> Self {
        Self {
            owner: &spec.owner,
            visibility: spec.visibility,
        }
    }
}

impl<'a> From<&'a AppEntry> for App<'a> {
    fn from(entry: &'a AppEntry) -> Self {
        Self {
            owner: &entry.owner,
            visibility: entry.visibility,
            lifecycle: entry.lifecycle,
            tags: [&entry.tags, &[]],
        }
    }
}

impl<'a> From<&'a catalog::App> for App<'a> {
    fn from(app: &'a catalog::App) -> Self {
        Self {
            owner: &app.owner,
            visibility: app.visibility,
            lifecycle: app.lifecycle,
            tags: [&app.tags, &[]],
        }
    }
}

#[cfg(test)]
mod tests {
    use catalog::Tag;

    use super::*;

    const SUBJECTS: [Option<(&str, Role, &[&str])>; 9] = [
        None,
        Some(("vera", Role::Visitor, &[])),
        Some(("frank", Role::Full, &[])),
        Some(("root", Role::Admin, &[])),
        Some(("owner", Role::Visitor, &[])),
        Some(("owner", Role::Full, &[])),
        Some(("owner", Role::Admin, &[])),
        Some(("vip", Role::Visitor, &["guest"])),
        Some(("lead", Role::Full, &["lead"])),
    ];

    fn app(visibility: Visibility, lifecycle: Lifecycle) -> App<'static> {
        App {
            owner: "owner",
            visibility,
            lifecycle,
            tags: [&[], &[]],
        }
    }

    /// An app that runs for everybody, with a tag in its app.toml.
    fn tagged(tags: &[String], visibility: Visibility) -> App<'_> {
        App {
            tags: [tags, &[]],
            ..app(visibility, Lifecycle::OnDemand)
        }
    }

    /// The same with a tag that was put on it.
    fn marked(tags: &[String], visibility: Visibility) -> App<'_> {
        App {
            tags: [&[], tags],
            ..app(visibility, Lifecycle::OnDemand)
        }
    }

    fn instance(visibility: Visibility) -> Instance<'static> {
        Instance {
            owner: "owner",
            visibility,
        }
    }

    /// What each of the subjects is told: Yes, Sign in, Forbidden, or Nothing is here.
    fn letters(action: Action<'_>) -> String {
        let known = [Tag {
            name: "sales".to_owned(),
            title: String::new(),
            color: catalog::Color::default(),
            description: String::new(),
            admin_roles: vec!["lead".to_owned()],
            visitor_roles: vec!["guest".to_owned()],
        }];
        let letter = |subject: Option<(&str, Role, &[&str])>| {
            let viewer = subject.map(|(name, role, roles)| {
                let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
                Viewer {
                    grants: Some(Grants::of(role, &roles, &known).into()),
                    ..Viewer::example(name, role)
                }
            });
            match decide(viewer.as_ref(), action) {
                Decision::Allow => "Y",
                Decision::SignIn => "S",
                Decision::Forbid => "F",
                Decision::Hide => "N",
            }
        };
        SUBJECTS.map(letter).join(" ")
    }

    /// Columns: nobody; a visitor, a publisher and an admin who own nothing; a visitor, a publisher and an admin who own it; a
    /// visitor and a publisher who own nothing and have a role of the tag `sales`.
    #[test]
    fn the_truth_table_of_the_store_and_its_apps() {
        use Lifecycle::{Link, Managed, OnDemand};
        use Visibility::{AllUsers, Private, Public};
        let cases = [
            (Action::Arrive, "Y Y Y Y Y Y Y Y Y"),
            (Action::UseStore, "S Y Y Y Y Y Y Y Y"),
            (Action::ManageAccounts, "S F F Y F F Y F F"),
            (Action::SetAliases, "S F F Y F F Y F F"),
            (Action::SeeTags, "S F Y Y F Y Y F Y"),
            (Action::ManageTags, "S F F Y F F Y F F"),
            (Action::ReadLimits, "S F F Y F F Y F F"),
            (Action::ReadAudit, "S F F Y F F Y F F"),
            (Action::SeeApp(None), "S N N N N N N N N"),
            (
                Action::SeeApp(Some(app(Private, OnDemand))),
                "S N N Y Y Y Y N N",
            ),
            (
                Action::SeeApp(Some(app(AllUsers, OnDemand))),
                "S N Y Y Y Y Y N Y",
            ),
            (
                Action::SeeApp(Some(app(Public, OnDemand))),
                "Y Y Y Y Y Y Y Y Y",
            ),
            (
                Action::SeeApp(Some(app(Private, Managed))),
                "S N N Y Y Y Y N N",
            ),
            (
                Action::SeeApp(Some(app(AllUsers, Managed))),
                "S N Y Y Y Y Y N Y",
            ),
            (
                Action::SeeApp(Some(app(Public, Managed))),
                "Y Y Y Y Y Y Y Y Y",
            ),
            (
                Action::SeeApp(Some(app(Private, Link))),
                "S N N Y Y Y Y N N",
            ),
            (
                Action::SeeApp(Some(app(AllUsers, Link))),
                "S N Y Y Y Y Y N Y",
            ),
            (Action::SeeApp(Some(app(Public, Link))), "Y Y Y Y Y Y Y Y Y"),
            (Action::Publish, "S F Y Y F Y Y F Y"),
            (
                Action::ManageApp(app(Private, OnDemand)),
                "S N N Y Y Y Y N N",
            ),
            (
                Action::ManageApp(app(AllUsers, OnDemand)),
                "S N F Y Y Y Y N F",
            ),
            (Action::ManageApp(app(Public, Link)), "S F F Y Y Y Y F F"),
            (Action::GiveApp(app(Private, OnDemand)), "S N N Y F F Y N N"),
            (
                Action::GiveApp(app(AllUsers, OnDemand)),
                "S N F Y F F Y N F",
            ),
            (Action::GiveApp(app(Public, Link)), "S F F Y F F Y F F"),
            (Action::RunApp(None), "S N N N N N N N N"),
            (
                Action::RunApp(Some(app(Private, OnDemand))),
                "S N N Y Y Y Y N N",
            ),
            (
                Action::RunApp(Some(app(AllUsers, OnDemand))),
                "S N Y Y Y Y Y N Y",
            ),
            (
                Action::RunApp(Some(app(Public, OnDemand))),
                "S Y Y Y Y Y Y Y Y",
            ),
            (
                Action::RunApp(Some(app(Private, Managed))),
                "S N N Y Y Y Y N N",
            ),
            (
                Action::RunApp(Some(app(AllUsers, Managed))),
                "S N N Y Y Y Y N N",
            ),
            (
                Action::RunApp(Some(app(Public, Managed))),
                "S N N Y Y Y Y N N",
            ),
            (
                Action::RunApp(Some(app(Private, Link))),
                "S N N N N N N N N",
            ),
            (
                Action::RunApp(Some(app(AllUsers, Link))),
                "S N N N N N N N N",
            ),
            (Action::RunApp(Some(app(Public, Link))), "S N N N N N N N N"),
        ];
        for (action, expected) in cases {
            assert_eq!(letters(action), expected, "{action:?}");
        }
    }

    /// The same columns.
    #[test]
    fn the_truth_table_of_instances() {
        use Visibility::{AllUsers, Private, Public};
        let cases = [
            (Action::Enter(None), "S N N N N N N N N"),
            (Action::Enter(Some(instance(Private))), "S N N N Y Y Y N N"),
            (Action::Enter(Some(instance(AllUsers))), "S Y Y Y Y Y Y Y Y"),
            (Action::Enter(Some(instance(Public))), "Y Y Y Y Y Y Y Y Y"),
            (Action::Manage(None), "S N N N N N N N N"),
            (Action::Manage(Some(instance(Private))), "S N N Y Y Y Y N N"),
            (
                Action::Manage(Some(instance(AllUsers))),
                "S N N Y Y Y Y N N",
            ),
            (Action::Manage(Some(instance(Public))), "S N N Y Y Y Y N N"),
            (Action::Share(instance(Private)), "S N N F Y Y Y N N"),
            (Action::Share(instance(AllUsers)), "S N N F Y Y Y N N"),
            (Action::Share(instance(Public)), "S N N F Y Y Y N N"),
            (Action::ReadLog(instance(Private)), "S N N N N Y Y N N"),
            (Action::ReadLog(instance(AllUsers)), "S N N N N Y Y N N"),
            (Action::ReadLog(instance(Public)), "S N N N N Y Y N N"),
        ];
        for (action, expected) in cases {
            assert_eq!(letters(action), expected, "{action:?}");
        }
    }

    /// The same columns.
    #[test]
    fn the_truth_table_of_tags() {
        use Visibility::{AllUsers, Private};
        let [sales, other] = ["sales", "other"].map(|tag| [tag.to_owned()]);
        let cases = [
            (Action::SetTag("sales"), "S F F Y F F Y F Y"),
            (Action::SetTag("other"), "S Y Y Y Y Y Y Y Y"),
            (
                Action::SeeApp(Some(tagged(&sales, Private))),
                "S N N Y Y Y Y N Y",
            ),
            (
                Action::SeeApp(Some(tagged(&sales, AllUsers))),
                "S N Y Y Y Y Y Y Y",
            ),
            (
                Action::SeeApp(Some(marked(&sales, Private))),
                "S N N Y Y Y Y N Y",
            ),
            (
                Action::SeeApp(Some(marked(&sales, AllUsers))),
                "S N Y Y Y Y Y Y Y",
            ),
            (
                Action::SeeApp(Some(tagged(&other, Private))),
                "S N N Y Y Y Y N N",
            ),
            (
                Action::SeeApp(Some(tagged(&other, AllUsers))),
                "S N Y Y Y Y Y N Y",
            ),
            (
                Action::RunApp(Some(tagged(&sales, Private))),
                "S N N Y Y Y Y N Y",
            ),
            (
                Action::RunApp(Some(tagged(&sales, AllUsers))),
                "S N Y Y Y Y Y Y Y",
            ),
            (
                Action::RunApp(Some(tagged(&other, AllUsers))),
                "S N Y Y Y Y Y N Y",
            ),
            (
                Action::ManageApp(tagged(&sales, Private)),
                "S N N Y Y Y Y N Y",
            ),
            (
                Action::ManageApp(marked(&sales, AllUsers)),
                "S N F Y Y Y Y F Y",
            ),
            (
                Action::ManageApp(tagged(&other, AllUsers)),
                "S N F Y Y Y Y N F",
            ),
            (
                Action::GiveApp(tagged(&sales, Private)),
                "S N N Y F F Y N F",
            ),
            (
                Action::GiveApp(tagged(&sales, AllUsers)),
                "S N F Y F F Y F F",
            ),
        ];
        for (action, expected) in cases {
            assert_eq!(letters(action), expected, "{action:?}");
        }
    }

    /// The same columns.
    #[test]
    fn the_truth_table_of_secrets() {
        use Visibility::{AllUsers, Private};
        let [sales, other] = ["sales", "other"].map(|tag| [tag.to_owned()]);
        let owner = || "owner".to_owned();
        let readers = [
            SecretReaders::Private { owner: owner() },
            SecretReaders::App {
                owner: owner(),
                app: "hello".to_owned(),
            },
            SecretReaders::AllUsers {
                owner: Some(owner()),
            },
            SecretReaders::AllUsers { owner: None },
        ];
        let [private, of_app, for_all, of_cluster] = &readers;
        let of_sales = [tagged(&sales, Private), marked(&sales, AllUsers)];
        let of_some = [tagged(&sales, Private), tagged(&other, Private)];
        assert_eq!(letters(Action::UseSecrets), "S F Y Y F Y Y F Y");
        assert_eq!(letters(Action::SeeSecret(None)), "S N N N N N N N N");
        let cases: [(_, &[App<'_>], _, _); 7] = [
            (private, &[], "S N N Y N Y Y N N", "S N N Y N Y Y N N"),
            // Tags say nothing of what is all of somebody's.
            (private, &of_sales, "S N N Y N Y Y N N", "S N N Y N Y Y N N"),
            (of_app, &[], "S N N Y N Y Y N N", "S N N Y N Y Y N N"),
            (of_app, &of_sales, "S N N Y N Y Y N Y", "S N N Y N Y Y N Y"),
            (of_app, &of_some, "S N N Y N Y Y N N", "S N N Y N Y Y N N"),
            (for_all, &[], "S N Y Y N Y Y N Y", "S N F Y N F Y N F"),
            (of_cluster, &[], "S N Y Y N Y Y N Y", "S N F Y N F Y N F"),
        ];
        for (readers, versions, sees, manages) in cases {
            let secret = Secret { readers, versions };
            assert_eq!(letters(Action::SeeSecret(Some(secret))), sees, "{secret:?}");
            assert_eq!(letters(Action::ManageSecret(secret)), manages, "{secret:?}");
        }
    }

    #[test]
    fn names_are_compared_to_the_letter() {
        for name in ["Owner", "owner ", "ownér", ""] {
            let viewer = Viewer::example(name, Role::Full);
            let enter = Action::Enter(Some(instance(Visibility::Private)));
            assert_eq!(decide(Some(&viewer), enter), Decision::Hide, "{name:?}");
        }
    }
}
