//! An app in short, as lists and the head of its own page show it.

use catalog::{App, Color, Preference};
use crds::{AppRef, Lifecycle};
use url::{Url, form_urlencoded};

use super::picture::Shown;
use super::visibility_words;
use crate::policy::{Action, Decision, decide};
use crate::site::Site;
use crate::table::{Route, Snapshot};
use crate::target::Form;
use crate::viewer::Viewer;
use crate::web::preferences::Opinions;

/// One version of an app.
#[derive(Debug)]
pub(super) struct AppCard {
    pub(super) title: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) owner: String,
    pub(super) visibility: &'static str,
    pub(super) description: String,
    pub(super) tags: Vec<Tag>,
    pub(super) icon: Option<Shown>,
    pub(super) letter: String,
    pub(super) link: Option<String>,
    /// The newest instance of a managed app that the viewer may enter.
    pub(super) visit: Option<String>,
    /// Address of its own page.
    pub(super) page: String,
    /// Whether the viewer can run it now.
    pub(super) runs: bool,
    /// Whether its pictures are served.
    pub(super) has_pictures: bool,
    /// What the viewer thinks of it.
    pub(super) own: Preference,
    /// How many like it.
    pub(super) likes: u64,
}

/// A tag, and where apps that have it are found.
#[derive(Debug)]
pub(super) struct Tag {
    /// What is known of it, or else its name.
    pub(super) title: String,
    pub(super) color: Option<Color>,
    pub(super) apps: String,
}

impl AppCard {
    /// The app as `viewer` sees it.
    pub(super) fn new(
        site: &Site,
        app: App,
        viewer: &Viewer,
        (snapshot, known): (&Snapshot, &[catalog::Tag]),
        opinions: &Opinions,
    ) -> Self {
        let reference = AppRef {
            name: app.name.clone(),
            version: app.version.clone(),
        };
        let entry = snapshot.apps.get(&reference);
        let may_run = decide(Some(viewer), Action::RunApp(Some((&app).into())));
        let runs = may_run == Decision::Allow && entry.is_some_and(|entry| entry.ready);
        // A picture is served for apps that are in the table.
        let digest = app.digest.to_string();
        let has_pictures = entry.is_some_and(|entry| entry.digest.as_deref() == Some(&digest));
        let icon = app
            .icon
            .filter(|_| has_pictures)
            .map(|icon| Shown::of(&icon, &app.digest));
        // Only addresses that open a page; others would run in ours.
        let link = app
            .link
            .and_then(|link| Url::parse(&link).ok())
            .filter(|link| ["http", "https"].contains(&link.scheme()))
            .map(String::from);
        let visit = (app.lifecycle == Lifecycle::Managed)
            .then(|| newest(&reference, viewer, snapshot))
            .flatten()
            .map(|route| site.instance_url(&route.id, route.form.unwrap_or(Form::Domain)));
        let letter = app
            .title
            .chars()
            .next()
            .unwrap_or('?')
            .to_uppercase()
            .to_string();
        let (own, likes) = opinions.of(&app.name);
        Self {
            page: page_of(&app.name, &app.version),
            title: app.title,
            name: app.name,
            version: app.version,
            owner: app.owner,
            visibility: visibility_words(app.visibility).0,
            description: app.description,
            tags: app.tags.iter().map(|name| tag(name, known)).collect(),
            icon,
            letter,
            link,
            visit,
            runs,
            has_pictures,
            own,
            likes,
        }
    }
}

/// Address of an app's own page. Names and versions need no escapes.
pub(in crate::web) fn page_of(name: &str, version: &str) -> String {
    format!("/apps/{name}/{version}")
}

fn tag(name: &str, known: &[catalog::Tag]) -> Tag {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("tag", name)
        .finish();
    let known = known.iter().find(|tag| tag.name == name);
    Tag {
        title: known.map_or(name, |tag| &tag.title).to_owned(),
        color: known.map(|tag| tag.color),
        apps: format!("/?{query}#apps"),
    }
}

/// How an app is run, for people.
pub(super) fn lifecycle_words(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::OnDemand => "by everybody, each their own",
        Lifecycle::Managed => "by its owner, for everybody",
        Lifecycle::Link => "elsewhere",
    }
}

/// The newest instance of an app that `viewer` may enter.
fn newest<'a>(app: &AppRef, viewer: &Viewer, snapshot: &'a Snapshot) -> Option<&'a Route> {
    let routes = snapshot.routes.values().map(AsRef::as_ref);
    routes
        .filter(|route| route.app == *app)
        .filter(|route| {
            let enter = Action::Enter(Some((*route).into()));
            decide(Some(viewer), enter) == Decision::Allow
        })
        .max_by_key(|route| (route.created, &route.id))
}

/// An app of `bob` for all users.
#[cfg(test)]
pub(super) fn example(name: &str) -> App {
    App {
        uid: name.to_owned(),
        resource: name.to_owned(),
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        title: format!("{name} <i>title</i>"),
        description: "What it does.".to_owned(),
        owner: "bob".to_owned(),
        visibility: crds::Visibility::AllUsers,
        lifecycle: Lifecycle::OnDemand,
        tags: vec!["demo".to_owned()],
        digest: catalog::Digest::of(name.as_bytes()),
        icon: None,
        screenshots: Vec::new(),
        link: None,
        long_description: None,
        published_at: chrono::DateTime::UNIX_EPOCH,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use catalog::Role;
    use crds::Visibility;

    use super::*;
    use crate::table::AppEntry;
    use crate::web::pages::example_site;

    #[test]
    fn a_managed_app_is_run_by_its_owner_and_visited_by_the_others() {
        let site = example_site();
        let route = |id: &str, owner: &str, visibility, second| {
            let mut route = Route::example(id, owner, visibility);
            route.created = k8s_openapi::jiff::Timestamp::from_second(second).ok();
            route
        };
        let routes: HashMap<_, _> = [
            route("older", "bob", Visibility::AllUsers, 1),
            route("newer", "bob", Visibility::AllUsers, 2),
            route("closed", "bob", Visibility::Private, 3),
        ]
        .map(|route| (route.id.clone(), Arc::new(route)))
        .into();
        let entry = AppEntry::example("hello", "1.0.0");
        let apps = HashMap::from([(entry.app.clone(), Arc::new(entry))]);
        let snapshot = Snapshot {
            routes,
            apps: apps.clone(),
            ..Snapshot::default()
        };
        let mut managed = example("hello");
        managed.lifecycle = Lifecycle::Managed;
        let nothing = Opinions::default();
        let cases = [
            ("alice", Role::Full, Some("newer"), false),
            ("bob", Role::Full, Some("closed"), true),
            ("root", Role::Admin, Some("newer"), true),
        ];
        for (name, role, visit, runs) in cases {
            let viewer = Viewer::example(name, role);
            let card = AppCard::new(&site, managed.clone(), &viewer, (&snapshot, &[]), &nothing);
            let visit = visit.map(|id| format!("http://{id}.localhost:8080/"));
            assert_eq!((card.visit, card.runs), (visit, runs), "{name}");
        }
        let viewer = Viewer::example("alice", Role::Full);
        let card = AppCard::new(&site, example("hello"), &viewer, (&snapshot, &[]), &nothing);
        assert_eq!((card.visit, card.runs), (None, true), "on demand");
        let empty = Snapshot {
            apps,
            ..Snapshot::default()
        };
        let card = AppCard::new(&site, managed, &viewer, (&empty, &[]), &nothing);
        assert_eq!((card.visit, card.runs), (None, false), "none runs");
    }
}
