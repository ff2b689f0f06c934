//! The first page: what the viewer runs, and what there is to run.

use std::time::Duration;

use askama::Template;
use catalog::{App, AppCursor, AppQuery, Lifecycle, Tag};
use http::{Response, StatusCode};
use humantime::FormattedDuration;
use url::form_urlencoded;

use super::app_card::{AppCard, lifecycle_words};
use super::instance_card::{InstanceCard, undo_words};
use super::{Frame, Inline, Needs, News, STATES_SCRIPT, html, render, states_of};
use crate::error::Error;
use crate::grants::Grants;
use crate::policy::{Action, Decision, decide};
use crate::site::Site;
use crate::table::{Route, Snapshot};
use crate::viewer::Viewer;
use crate::web::app_query;
use crate::web::preferences::Opinions;

/// How many apps and instances one page shows.
pub(in crate::web) const MAX_APPS: u64 = 60;
const MAX_INSTANCES: usize = 200;

/// The first page.
#[derive(Debug, Template)]
#[template(path = "home.html")]
pub(in crate::web) struct Home<'a> {
    frame: Frame<'a>,
    instances: Vec<InstanceCard<'a>>,
    more_instances: usize,
    /// Address of their list.
    list: &'static str,
    undo: Option<FormattedDuration>,
    /// Those that come first.
    pinned: Vec<AppCard>,
    apps: Option<Vec<AppCard>>,
    /// Where the list goes on.
    more_apps: Option<String>,
    /// Address of this part of it.
    here: String,
    asked: Asked<'a>,
    /// Whether this is the first page, of all apps.
    is_first: bool,
    done: Option<&'static str>,
    states: String,
    script: Inline,
    #[template(skip)]
    site: &'a Site,
}

/// What the catalog has for the page.
#[derive(Debug, Default)]
pub(in crate::web) struct Found {
    /// What is asked for and the viewer sees, and one more than are shown, if there is one.
    pub apps: Vec<App>,
    /// The apps that the viewer has pinned.
    pub pinned: Vec<App>,
    /// What is thought of all of them.
    pub opinions: Opinions,
}

/// Which apps are asked for, as the form shows it.
#[derive(Debug)]
struct Asked<'a> {
    words: &'a str,
    owner: &'a str,
    tag: &'a str,
    lifecycles: [LifecycleChoice; 3],
    /// Tags to choose from; others can be written.
    tags: Vec<&'a Tag>,
    /// What is known of the tag.
    known: Option<&'a Tag>,
    /// Whether only a part of them is, by what they are.
    is_filtered: bool,
}

#[derive(Debug)]
struct LifecycleChoice {
    value: Lifecycle,
    words: &'static str,
    is_chosen: bool,
}

impl<'a> Asked<'a> {
    fn new(query: &'a AppQuery, viewer: &Viewer, tags: &'a [Tag]) -> Self {
        let AppQuery {
            text,
            owner,
            lifecycle,
            tag,
            after: _,
        } = query;
        let lifecycles = [Lifecycle::OnDemand, Lifecycle::Managed, Lifecycle::Link];
        Self {
            words: text.trim(),
            owner: owner.as_deref().unwrap_or_default(),
            tag: tag.as_deref().unwrap_or_default(),
            lifecycles: lifecycles.map(|value| LifecycleChoice {
                value,
                words: lifecycle_words(value),
                is_chosen: *lifecycle == Some(value),
            }),
            tags: tags.iter().filter(|tag| may_know(viewer, tag)).collect(),
            known: tag
                .as_ref()
                .and_then(|asked| tags.iter().find(|tag| tag.name == *asked))
                .filter(|tag| may_know(viewer, tag)),
            is_filtered: owner.is_some() || lifecycle.is_some() || tag.is_some(),
        }
    }
}

impl<'a> Home<'a> {
    /// `found` is nothing when the catalog is away.
    pub(in crate::web) fn new(
        (site, frame): (&'a Site, Frame<'a>),
        viewer: &'a Viewer,
        (query, found): (&'a AppQuery, Option<Found>),
        (snapshot, tags): (&'a Snapshot, &'a [Tag]),
        undo: Duration,
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
            .map(|route| InstanceCard::new(site, viewer, route))
            .collect();
        let limit = usize::try_from(MAX_APPS).unwrap_or(usize::MAX);
        let is_found = found.is_some();
        let Found {
            mut apps,
            pinned,
            opinions,
        } = found.unwrap_or_default();
        let more_apps = (apps.len() > limit)
            .then(|| apps.get(limit - 1))
            .flatten()
            .map(|last| address(query, Some(&AppCursor::after(last))));
        apps.truncate(limit);
        apps.retain(|app| pinned.iter().all(|pinned| pinned.uid != app.uid));
        let cards = |apps: Vec<App>| {
            let card = |app| AppCard::new(site, app, viewer, (snapshot, tags), &opinions);
            apps.into_iter().map(card).collect()
        };
        Self {
            frame,
            instances,
            more_instances,
            list: "/",
            undo: undo_words(undo),
            pinned: cards(pinned),
            apps: is_found.then(|| cards(apps)),
            more_apps,
            here: address(query, query.after.as_ref()),
            is_first: app_query::is_for_all(query),
            asked: Asked::new(query, viewer, tags),
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

/// Whether somebody is told what a tag is without an app that has it: visitors are where a role of theirs sees apps by it.
fn may_know(viewer: &Viewer, tag: &Tag) -> bool {
    let visits = |grants: &Grants| grants.visits([&tag.name]);
    decide(Some(viewer), Action::SeeTags) == Decision::Allow
        || viewer.grants.as_deref().is_some_and(visits)
}

/// Address of the apps that are asked for, after a place in the list.
fn address(query: &AppQuery, after: Option<&AppCursor>) -> String {
    let mut parameters = form_urlencoded::Serializer::new(String::new());
    for (name, value) in app_query::asked(query) {
        if let Some(value) = value {
            parameters.append_pair(name, value);
        }
    }
    if let Some(after) = after {
        parameters.append_pair("after", &after.to_string());
    }
    format!("/?{}#apps", parameters.finish())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use catalog::Role;
    use crds::Visibility;

    use super::*;
    use crate::table::AppEntry;
    use crate::web::form::FormToken;
    use crate::web::pages::app_card::example;
    use crate::web::pages::{example_site, skeleton};

    #[test]
    fn a_viewer_sees_their_own_instances_and_how_to_run_apps() {
        let site = example_site();
        let viewer = Viewer::example("alice", Role::Full);
        let own = Route::example("sales", "alice", Visibility::Private);
        let others = Route::example("classified", "bob", Visibility::Private);
        let routes: HashMap<_, _> = [own, others]
            .map(|route| (route.id.clone(), Arc::new(route)))
            .into();
        let entry = AppEntry::example("Hello_World", "1.0.0");
        let snapshot = Snapshot {
            routes,
            apps: HashMap::from([(entry.app.clone(), Arc::new(entry))]),
            ..Snapshot::default()
        };
        let mut link = example("link");
        link.lifecycle = Lifecycle::Link;
        link.link = Some("https://example.com/there".to_owned());
        let mut script = example("script");
        script.lifecycle = Lifecycle::Link;
        script.link = Some("javascript:alert(1)".to_owned());
        let found = Found {
            apps: vec![example("Hello_World"), link, script],
            ..Found::default()
        };
        let token = FormToken::of("secret");
        let frame = Frame::for_viewer(&site, &viewer, &token);
        let query = AppQuery::default();
        let page = Home::new(
            (&site, frame),
            &viewer,
            (&query, Some(found)),
            (&snapshot, &[]),
            Duration::ZERO,
            News::None,
        );
        let response = page.reply().expect("a page");
        let words = response.body();
        insta::assert_snapshot!(skeleton(words));
        assert!(words.contains("http://sales.localhost:8080/"), "{words}");
        assert!(!words.contains("classified"), "{words}");
        assert!(words.contains("/apps/Hello_World/1.0.0#run"), "{words}");
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
    fn a_search_says_what_it_has_found_and_where_it_goes_on() {
        let site = example_site();
        let viewer = Viewer::example("alice", Role::Full);
        let token = FormToken::of("secret");
        let snapshot = Snapshot::default();
        let query = AppQuery {
            text: "a <b> & c".to_owned(),
            owner: Some("<b>".to_owned()),
            lifecycle: Some(Lifecycle::Link),
            tag: Some("R&D".to_owned()),
            after: None,
        };
        let tags = [Tag {
            name: "R&D".to_owned(),
            title: "Research <b>".to_owned(),
            color: "#0b5cad".parse().expect("a colour"),
            description: "What is new <b>".to_owned(),
            admin_roles: Vec::new(),
            visitor_roles: Vec::new(),
        }];
        let limit = usize::try_from(MAX_APPS).expect("few");
        let page = |count: usize| {
            let apps = (0..count).map(|number| example(&format!("app-{number}")));
            let found = Found {
                apps: apps.collect(),
                ..Found::default()
            };
            let frame = (&site, Frame::for_viewer(&site, &viewer, &token));
            let page = Home::new(
                frame,
                &viewer,
                (&query, Some(found)),
                (&snapshot, &tags),
                Duration::ZERO,
                News::None,
            );
            page.reply().expect("a page").into_body()
        };
        let next = format!(
            "href=\"/?q=a+%3Cb%3E+%26+c&#38;owner=%3Cb%3E&#38;lifecycle=Link&#38;tag=R%26D&#38;after=0%7Eapp-{}%7E1.0.0#apps\"",
            limit - 1
        );
        let whole = page(limit + 1);
        assert!(whole.contains(&next), "{whole}");
        assert!(!whole.contains("<b>") && !whole.contains("My instances"));
        assert!(!whole.contains(&format!("app-{limit} ")));
        assert!(!page(limit).contains("More apps"));
        insta::assert_snapshot!("nothing_found", skeleton(&page(0)));
    }
}
