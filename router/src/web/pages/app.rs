//! The page of one version of an app: what it is, and how to run it.

use askama::Template;
use catalog::Lifecycle;
use crds::{AppRef, Visibility};
use http::{Response, StatusCode};

use super::account::Moment;
use super::app_card::{AppCard, page_of};
use super::instance::runnable_versions;
use super::markdown::Markdown;
use super::picture::Shown;
use super::{Frame, Needs, News, VisibilityChoice, html, problem, render, visibilities};
use crate::error::Error;
use crate::instance_id;
use crate::policy::{Action, Decision, decide};
use crate::site::Site;
use crate::table::{AppEntry, Size, Snapshot};
use crate::viewer::Viewer;
use crate::web::preferences::Opinions;

/// What the form shows as chosen.
#[derive(Debug, Default)]
pub(in crate::web) struct Chosen {
    /// The version to run.
    pub version: String,
    /// The name that was asked for.
    pub name: String,
    /// Who may enter.
    pub visibility: Visibility,
    /// The size; empty for what the app asks for.
    pub size: String,
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "app.html")]
pub(in crate::web) struct App<'a> {
    frame: Frame<'a>,
    card: AppCard,
    /// Its address.
    here: String,
    published: Moment,
    /// Why it cannot be run here, if it cannot.
    why_not: Option<&'static str>,
    runnable: Vec<&'a str>,
    chosen: Chosen,
    visibilities: [VisibilityChoice; 3],
    sizes: &'a [Size],
    commands: Option<Commands>,
    pictures: Vec<Shown>,
    long_description: Option<Markdown>,
    versions: Vec<Version<'a>>,
    problem: Option<String>,
    #[template(skip)]
    status: StatusCode,
    #[template(skip)]
    site: &'a Site,
}

#[derive(Debug)]
struct Version<'a> {
    number: &'a str,
    page: String,
    is_this: bool,
    ready: bool,
}

#[derive(Debug)]
struct Commands {
    kubectl: String,
    helm: String,
}

impl<'a> App<'a> {
    /// The page of `app`, which `viewer` sees.
    pub(in crate::web) fn new(
        (site, frame): (&'a Site, Frame<'a>),
        viewer: &Viewer,
        (app, snapshot, tags): (catalog::App, &'a Snapshot, &[catalog::Tag]),
        opinions: &Opinions,
        namespace: &str,
        chosen: Chosen,
        news: News<'_>,
    ) -> Self {
        let runnable = runnable_versions(viewer, &app.name, snapshot);
        let why_not = why_not(viewer, &app, &runnable);
        let commands = why_not
            .is_none()
            .then(|| commands(&app.name, &app.version, namespace, &viewer.name));
        let published = Moment(app.published_at);
        let long_description = app.long_description.as_deref().map(Markdown::of);
        let screenshots = app.screenshots.clone();
        let digest = app.digest;
        let versions = versions(viewer, &app, snapshot);
        let reference = AppRef {
            name: app.name.clone(),
            version: app.version.clone(),
        };
        let entry = snapshot.apps.get(&reference);
        let card = AppCard::new(site, app, viewer, (snapshot, tags), opinions);
        let pictures = screenshots
            .iter()
            .filter(|_| card.has_pictures)
            .map(|picture| Shown::of(picture, &digest))
            .collect();
        let failure = news.failure();
        Self {
            frame,
            here: card.page.clone(),
            card,
            published,
            why_not,
            runnable,
            chosen,
            visibilities: visibilities(),
            sizes: entry.map_or(&[][..], |entry| &entry.sizes),
            commands,
            pictures,
            long_description,
            versions,
            problem: failure.map(problem),
            status: failure.map_or(StatusCode::OK, Error::status),
            site,
        }
    }

    pub(in crate::web) fn reply(&self) -> Result<Response<String>, Error> {
        Ok(html(self.status, render(self)?, Needs::Forms, self.site))
    }
}

fn why_not(viewer: &Viewer, app: &catalog::App, runnable: &[&str]) -> Option<&'static str> {
    let run = Action::RunApp(Some(app.into()));
    if app.lifecycle == Lifecycle::Link {
        Some("This app lives elsewhere: there is nothing to run here.")
    } else if decide(Some(viewer), run) != Decision::Allow {
        Some("This app is run by its owner, for everybody.")
    } else if runnable.is_empty() {
        Some("No version of this app is ready to be run at the moment.")
    } else {
        None
    }
}

/// All versions that the viewer sees, the newest first.
fn versions<'a>(viewer: &Viewer, app: &catalog::App, snapshot: &'a Snapshot) -> Vec<Version<'a>> {
    let sees = |entry: &AppEntry| {
        let see = Action::SeeApp(Some(entry.into()));
        decide(Some(viewer), see) == Decision::Allow
    };
    let entries = snapshot.apps.values().map(AsRef::as_ref);
    let mut entries: Vec<&AppEntry> = entries
        .filter(|entry| entry.app.name == app.name && sees(entry))
        .collect();
    entries.sort_by(|a, b| (b.created, &b.app.version).cmp(&(a.created, &a.app.version)));
    let versions = entries.into_iter().map(|entry| Version {
        number: &entry.app.version,
        page: page_of(&entry.app.name, &entry.app.version),
        is_this: entry.app.version == app.version,
        ready: entry.ready,
    });
    versions.collect()
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
    use std::sync::Arc;

    use catalog::{Picture, Rendition, Role};
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::web::form::FormToken;
    use crate::web::pages::app_card::example;
    use crate::web::pages::{example_site, skeleton};

    #[test]
    fn the_page_as_it_is() {
        let site = example_site();
        let viewer = Viewer::example("alice", Role::Full);
        let mut app = example("Hello_World");
        let rendition = |width, height| Rendition {
            name: format!("{width}.webp"),
            width,
            height,
        };
        app.icon = Picture::of(vec![rendition(64, 64), rendition(128, 128)]);
        app.screenshots = vec![
            Picture::original("one.png"),
            Picture::of(vec![rendition(480, 300), rendition(960, 600)]).expect("a picture"),
        ];
        app.long_description = Some("# What <b>it</b> does\n\n- one\n- *two*\n".to_owned());
        let mut snapshot = Snapshot::default();
        for (version, second, ready) in
            [("1.0.0", 1, true), ("1.1.0", 2, true), ("2.0.0", 3, false)]
        {
            let mut entry = AppEntry::example("Hello_World", version);
            entry.created = Timestamp::from_second(second).ok();
            entry.digest = Some(app.digest.to_string());
            entry.ready = ready;
            entry.sizes = ["small", "large"]
                .map(|name| Size {
                    name: name.to_owned(),
                    description: (name == "large").then(|| "For <b>training".to_owned()),
                    memory: 0,
                })
                .to_vec();
            snapshot.apps.insert(entry.app.clone(), Arc::new(entry));
        }
        let mut entry = AppEntry::example("Hello_World", "3.0.0");
        entry.visibility = Visibility::Private;
        snapshot.apps.insert(entry.app.clone(), Arc::new(entry));
        let token = FormToken::of("secret");
        let tags = [catalog::Tag {
            name: "demo".to_owned(),
            title: "For <b>show</b>".to_owned(),
            color: "#0b5cad".parse().expect("a colour"),
            description: String::new(),
            admin_roles: Vec::new(),
            visitor_roles: Vec::new(),
        }];
        let page = |app, chosen, news| {
            let frame = (&site, Frame::for_viewer(&site, &viewer, &token));
            let page = App::new(
                frame,
                &viewer,
                (app, &snapshot, &tags),
                &Opinions::default(),
                "wavestore",
                chosen,
                news,
            );
            page.reply().expect("a page").into_body()
        };
        let whole = page(app.clone(), Chosen::default(), News::None);
        insta::assert_snapshot!("app", skeleton(&whole));
        assert!(
            !whole.contains("<b>") && !whole.contains("3.0.0"),
            "{whole}"
        );

        let refused = Error::InstanceNameTaken("sales".to_owned());
        let chosen = Chosen {
            version: "1.0.0".to_owned(),
            name: "sales".to_owned(),
            visibility: Visibility::AllUsers,
            size: "large".to_owned(),
        };
        let again = page(app.clone(), chosen, News::Failed(&refused));
        for kept in [
            "The name `sales` is taken. Next: choose another name.",
            "value=\"sales\"",
            "<option value=\"1.0.0\" selected>",
            "<option value=\"AllUsers\" selected>",
            "<option value=\"large\" selected>",
        ] {
            assert!(again.contains(kept), "{kept}: {again}");
        }

        for (lifecycle, words) in [
            (Lifecycle::Link, "lives elsewhere"),
            (Lifecycle::Managed, "is run by its owner"),
        ] {
            let app = catalog::App {
                lifecycle,
                ..app.clone()
            };
            let page = page(app, Chosen::default(), News::None);
            assert!(page.contains(words), "{page}");
            assert!(!page.contains("action=\"/instances\""), "{page}");
        }
    }
}
