//! The first page: what the viewer runs, and what there is to run.

use askama::Template;
use catalog::App;
use crds::{AppRef, Lifecycle};
use http::{Response, StatusCode};
use url::Url;

use super::{
    Frame, Inline, Needs, News, STATES_SCRIPT, State, html, render, states_of, visibility_words,
};
use crate::error::Error;
use crate::instance_id;
use crate::policy::{Action, Decision, decide};
use crate::site::Site;
use crate::table::{Route, Snapshot};
use crate::target::Form;
use crate::viewer::Viewer;
use crate::waiting::Rights;

/// How many apps and instances one page shows.
pub(in crate::web) const MAX_APPS: u64 = 200;
const MAX_INSTANCES: usize = 200;

/// The first page.
#[derive(Debug, Template)]
#[template(path = "home.html")]
pub(in crate::web) struct Home<'a> {
    frame: Frame<'a>,
    instances: Vec<InstanceCard<'a>>,
    more_instances: usize,
    apps: Option<Vec<AppCard>>,
    more_apps: bool,
    done: Option<&'static str>,
    states: String,
    script: Inline,
    #[template(skip)]
    site: &'a Site,
}

#[derive(Debug)]
struct InstanceCard<'a> {
    id: &'a str,
    url: String,
    app: &'a str,
    version: &'a str,
    visibility: &'static str,
    now: State<'a>,
    suspended: bool,
    is_ending: bool,
}

#[derive(Debug)]
struct AppCard {
    title: String,
    name: String,
    version: String,
    owner: String,
    visibility: &'static str,
    description: String,
    tags: Vec<String>,
    icon: Option<String>,
    letter: String,
    link: Option<String>,
    /// The newest instance of a managed app that the viewer may enter.
    visit: Option<String>,
    commands: Option<Commands>,
}

#[derive(Debug)]
struct Commands {
    kubectl: String,
    helm: String,
}

impl<'a> Home<'a> {
    /// `apps` is what the catalog lets the viewer see, or nothing when it is away.
    pub(in crate::web) fn new(
        (site, frame): (&'a Site, Frame<'a>),
        namespace: &str,
        viewer: &'a Viewer,
        apps: Option<Vec<App>>,
        snapshot: &'a Snapshot,
        news: News<'_>,
    ) -> Self {
        let mut own: Vec<&Route> = snapshot
            .routes
            .values()
            .map(AsRef::as_ref)
            .filter(|route| *route.owner == *viewer.name)
            .collect();
        own.sort_by(|a, b| a.id.cmp(&b.id));
        let more_instances = own.len().saturating_sub(MAX_INSTANCES);
        let instances = own
            .into_iter()
            .take(MAX_INSTANCES)
            .map(|route| instance_card(site, viewer, route))
            .collect();
        let limit = usize::try_from(MAX_APPS).unwrap_or(usize::MAX);
        let more_apps = apps.as_ref().is_some_and(|apps| apps.len() > limit);
        let apps = apps.map(|apps| {
            apps.into_iter()
                .take(limit)
                .map(|app| app_card(site, app, namespace, viewer, snapshot))
                .collect()
        });
        Self {
            frame,
            instances,
            more_instances,
            apps,
            more_apps,
            done: news.done(),
            states: states_of(&viewer.name),
            script: STATES_SCRIPT,
            site,
        }
    }

    pub(in crate::web) fn reply(&self) -> Result<Response<String>, Error> {
        Ok(html(
            StatusCode::OK,
            render(self)?,
            Needs::States,
            self.site,
        ))
    }
}

fn instance_card<'a>(site: &Site, viewer: &Viewer, route: &'a Route) -> InstanceCard<'a> {
    InstanceCard {
        id: route.id.as_ref(),
        url: site.instance_url(&route.id, route.form.unwrap_or(Form::Domain)),
        app: &route.app.name,
        version: &route.app.version,
        visibility: visibility_words(route.visibility).0,
        now: State::of(route, Rights::of(Some(viewer), route)),
        suspended: route.suspended,
        is_ending: route.deleted.is_some(),
    }
}

fn app_card(
    site: &Site,
    app: App,
    namespace: &str,
    viewer: &Viewer,
    snapshot: &Snapshot,
) -> AppCard {
    let runs = decide(Some(viewer), Action::RunApp(Some((&app).into()))) == Decision::Allow;
    // A picture is served for apps that are in the table.
    let digest = app.digest.to_string();
    let reference = AppRef {
        name: app.name.clone(),
        version: app.version.clone(),
    };
    let entry = snapshot.apps.get(&reference);
    let served = entry.is_some_and(|entry| entry.digest.as_deref() == Some(&digest));
    let icon = app
        .icon
        .filter(|_| served)
        .map(|icon| format!("/assets/{digest}/{icon}"));
    // Only addresses that open a page; others would run in ours.
    let link = app
        .link
        .and_then(|link| Url::parse(&link).ok())
        .filter(|link| ["http", "https"].contains(&link.scheme()))
        .map(String::from);
    let commands = runs.then(|| commands(&app.name, &app.version, namespace, &viewer.name));
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
    AppCard {
        title: app.title,
        name: app.name,
        version: app.version,
        owner: app.owner,
        visibility: visibility_words(app.visibility).0,
        description: app.description,
        tags: app.tags,
        icon,
        letter,
        link,
        visit,
        commands,
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

/// How to run an app from a terminal. Names of apps and accounts hold no quotes, spaces or line ends.
fn commands(name: &str, version: &str, namespace: &str, owner: &str) -> Commands {
    let id = instance_id::label_of(name, instance_id::MAX_LENGTH);
    Commands {
        kubectl: format!(
            "kubectl apply -f - <<'EOF'\napiVersion: wavestore.io/v1alpha1\nkind: WaveInstance\nmetadata:\n  name: {id}\n  namespace: {namespace}\nspec:\n  app:\n    name: \"{name}\"\n    version: \"{version}\"\n  owner: \"{owner}\"\nEOF"
        ),
        helm: format!(
            "helm install {id} wave-instance --namespace {namespace} \\\n  --set-string app.name={name},app.version={version},owner={owner}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use catalog::{Digest, Role};
    use crds::Visibility;

    use super::*;
    use crate::web::form::FormToken;
    use crate::web::pages::{example_site, skeleton};

    fn app(name: &str) -> App {
        App {
            uid: name.to_owned(),
            resource: name.to_owned(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            title: format!("{name} <i>title</i>"),
            description: "What it does.".to_owned(),
            owner: "bob".to_owned(),
            visibility: Visibility::AllUsers,
            lifecycle: Lifecycle::OnDemand,
            tags: vec!["demo".to_owned()],
            digest: Digest::of(name.as_bytes()),
            icon: None,
            screenshots: Vec::new(),
            link: None,
            long_description: None,
            published_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_viewer_sees_their_own_instances_and_how_to_run_apps() {
        let site = example_site();
        let viewer = Viewer {
            name: "alice".into(),
            role: Role::Full,
        };
        let own = Route::example("sales", "alice", Visibility::Private);
        let others = Route::example("secret", "bob", Visibility::Private);
        let routes: HashMap<_, _> = [own, others]
            .map(|route| (route.id.clone(), Arc::new(route)))
            .into();
        let snapshot = Snapshot {
            routes,
            ..Snapshot::default()
        };
        let mut link = app("link");
        link.lifecycle = Lifecycle::Link;
        link.link = Some("https://example.com/there".to_owned());
        let mut script = app("script");
        script.lifecycle = Lifecycle::Link;
        script.link = Some("javascript:alert(1)".to_owned());
        let apps = vec![app("Hello_World"), link, script];
        let token = FormToken::of("secret");
        let frame = Frame::for_viewer(&site, &viewer, &token);
        let page = Home::new(
            (&site, frame),
            "wavestore",
            &viewer,
            Some(apps),
            &snapshot,
            News::None,
        );
        let response = page.reply().expect("a page");
        let words = response.body();
        insta::assert_snapshot!(skeleton(words));
        assert!(words.contains("http://sales.localhost:8080/"), "{words}");
        assert!(!words.contains("secret"), "{words}");
        assert!(
            words.contains("helm install hello-world wave-instance"),
            "{words}"
        );
        assert!(words.contains("https://example.com/there"), "{words}");
        assert!(!words.contains("javascript:"), "{words}");
        assert!(!words.contains("<i>title"), "{words}");
        let policy = response.headers()["content-security-policy"]
            .to_str()
            .expect("text");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(
            policy.contains("form-action 'self' http://*.localhost:8080"),
            "{policy}"
        );
    }

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
        let snapshot = Snapshot {
            routes,
            ..Snapshot::default()
        };
        let mut managed = app("hello");
        managed.lifecycle = Lifecycle::Managed;
        let cases = [
            ("alice", Role::Full, Some("newer"), false),
            ("bob", Role::Full, Some("closed"), true),
            ("root", Role::Admin, Some("newer"), true),
        ];
        for (name, role, visit, runs) in cases {
            let viewer = Viewer {
                name: name.into(),
                role,
            };
            let card = app_card(&site, managed.clone(), "wavestore", &viewer, &snapshot);
            let visit = visit.map(|id| format!("http://{id}.localhost:8080/"));
            assert_eq!(
                (card.visit, card.commands.is_some()),
                (visit, runs),
                "{name}"
            );
        }
        let viewer = Viewer {
            name: "alice".into(),
            role: Role::Full,
        };
        let card = app_card(&site, app("hello"), "wavestore", &viewer, &snapshot);
        assert_eq!(
            (card.visit, card.commands.is_some()),
            (None, true),
            "on demand"
        );
        let empty = Snapshot::default();
        let card = app_card(&site, managed, "wavestore", &viewer, &empty);
        assert_eq!(
            (card.visit, card.commands.is_some()),
            (None, false),
            "none runs"
        );
    }
}
