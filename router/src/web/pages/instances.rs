//! The page of all instances that one manages: for admins, everybody's.

use std::time::Duration;

use askama::Template;
use http::{Response, StatusCode};
use humantime::FormattedDuration;
use url::form_urlencoded;

use super::instance_card::{InstanceCard, undo_words};
use super::{Frame, Inline, Needs, News, STATES_SCRIPT, html, render};
use crate::error::Error;
use crate::site::Site;
use crate::table::Route;
use crate::viewer::Viewer;

/// How many instances the page shows.
const MAX_INSTANCES: usize = 100;

/// The page.
#[derive(Debug, Template)]
#[template(path = "instances.html")]
pub(in crate::web) struct Instances<'a> {
    frame: Frame<'a>,
    owner: &'a str,
    rows: Vec<InstanceCard<'a>>,
    /// Where the list goes on.
    more: Option<String>,
    /// Whether all are asked for, from the first one on.
    is_first: bool,
    /// Address of this part of it.
    list: String,
    undo: Option<FormattedDuration>,
    done: Option<&'static str>,
    states: String,
    script: Inline,
    #[template(skip)]
    site: &'a Site,
}

impl<'a> Instances<'a> {
    /// `routes` are those of `owner`, or everybody's, after a name.
    pub(in crate::web) fn new(
        (site, frame): (&'a Site, Frame<'a>),
        viewer: &Viewer,
        (owner, after): (Option<&'a str>, &str),
        routes: &[&'a Route],
        undo: Duration,
        news: News<'_>,
    ) -> Self {
        let shown = routes.iter().take(MAX_INSTANCES);
        let last = shown.clone().next_back();
        let last = last.filter(|_| routes.len() > MAX_INSTANCES);
        Self {
            frame,
            owner: owner.unwrap_or_default(),
            rows: shown
                .map(|route| InstanceCard::new(site, viewer, route))
                .collect(),
            more: last.map(|last| format!("/instances?{}", query(owner, last.id.as_ref()))),
            is_first: owner.is_none() && after.is_empty(),
            list: format!("/instances?{}", query(owner, after)),
            undo: undo_words(undo),
            done: news.done(),
            states: format!("/api/v1/instances?{}", query(owner, after)),
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

/// What asks for the same instances after a name, of this page and of the API alike.
fn query(owner: Option<&str>, after: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(owner) = owner {
        query.append_pair("owner", owner);
    }
    if !after.is_empty() {
        query.append_pair("after", after);
    }
    query.finish()
}

#[cfg(test)]
mod tests {
    use catalog::Role;
    use crds::Visibility;

    use super::*;
    use crate::web::form::FormToken;
    use crate::web::pages::{example_site, skeleton};

    #[test]
    fn the_page_as_it_is() {
        let site = example_site();
        let viewer = Viewer::example("root", Role::Admin);
        let token = FormToken::of("secret");
        let own = Route::example("own", "root", Visibility::Private);
        let mut others = Route::example("sales", "alice", Visibility::Public);
        others.delete_after = "2026-01-01T12:00:00Z".parse().ok();
        let page = |asked, routes: &[&Route]| {
            let frame = (&site, Frame::for_viewer(&site, &viewer, &token));
            let undo = Duration::from_mins(1);
            let page = Instances::new(frame, &viewer, asked, routes, undo, News::None);
            page.reply().expect("a page").into_body()
        };
        let some = page((None, ""), &[&own, &others]);
        insta::assert_snapshot!("instances", skeleton(&some));
        let none = page((Some("<b>"), ""), &[]);
        assert!(!none.contains("<b>"), "{none}");
        insta::assert_snapshot!("instances_none", skeleton(&none));

        let many: Vec<Route> = (0..=MAX_INSTANCES)
            .map(|number| Route::example(&format!("a{number:03}"), "alice", Visibility::Private))
            .collect();
        let many: Vec<&Route> = many.iter().collect();
        let whole = page((Some("alice"), "a"), &many);
        let next = "href=\"/instances?owner=alice&#38;after=a099\"";
        assert!(whole.contains(next), "{whole}");
        assert!(!whole.contains("data-instance=\"a100\""), "{whole}");
        let states = "data-states=\"/api/v1/instances?owner=alice&#38;after=a\"";
        assert!(whole.contains(states), "{whole}");
        assert!(!page((None, ""), &many[1..]).contains("rel=\"next\""));
    }
}
