//! The page of what users and apps may have, for admins.

use std::cmp::Ordering;

use askama::Template;
use bundle::bytes_words;
use http::{Response, StatusCode};
use url::form_urlencoded;

use super::{Frame, Needs, html, render};
use crate::error::Error;
use crate::limits::{self, Holding};
use crate::site::Site;

/// How many users the page shows.
const MAX_USERS: usize = 100;

/// The page.
#[derive(Template)]
#[template(path = "limits.html")]
pub(in crate::web) struct Limits<'a> {
    frame: Frame<'a>,
    set: [Set; 3],
    /// What sets them.
    command: String,
    users: Vec<User<'a>>,
    /// How many more there are.
    more: usize,
    #[template(skip)]
    site: &'a Site,
}

/// A limit as it is set.
struct Set {
    words: &'static str,
    /// How the chart's values call it.
    key: &'static str,
    /// Nothing when there is no limit.
    value: Option<String>,
}

/// What a user has.
struct User<'a> {
    name: &'a str,
    has: String,
    standing: Option<Ordering>,
    /// Where all of it is.
    instances: String,
}

impl<'a> Limits<'a> {
    /// `holdings` are what all users have, first who is nearest to a limit.
    pub(in crate::web) fn new(
        (site, frame): (&'a Site, Frame<'a>),
        limits: &limits::Limits,
        holdings: &[Holding<'a>],
        namespace: &str,
    ) -> Self {
        let shown = holdings.iter().take(MAX_USERS);
        Self {
            frame,
            set: set(limits),
            command: format!(
                "helm upgrade wavestore config/wavestore --namespace {namespace} --reset-then-reuse-values \\\n  --set limits.instancesPerUser=20 --set limits.memoryPerUser=64Gi"
            ),
            users: shown.map(|had| User::new(limits, *had)).collect(),
            more: holdings.len().saturating_sub(MAX_USERS),
            site,
        }
    }

    pub(in crate::web) fn reply(&self) -> Result<Response<String>, Error> {
        Ok(html(StatusCode::OK, render(self)?, Needs::Forms, self.site))
    }
}

fn set(limits: &limits::Limits) -> [Set; 3] {
    let number = |limit: Option<u32>| limit.map(|limit| limit.to_string());
    let memory = limits.max_memory_per_user.as_ref();
    [
        Set {
            words: "Instances of one user",
            key: "limits.instancesPerUser",
            value: number(limits.max_instances_per_user),
        },
        Set {
            words: "Memory of all instances of one user",
            key: "limits.memoryPerUser",
            value: memory.map(ToString::to_string),
        },
        Set {
            words: "Versions of one app",
            key: "limits.versionsPerApp",
            value: number(limits.max_versions_per_app),
        },
    ]
}

impl<'a> User<'a> {
    fn new(limits: &limits::Limits, had: Holding<'a>) -> Self {
        let instances = match (limits.max_instances_per_user, had.instances) {
            (Some(limit), count) => format!("{count} of {limit} instances"),
            (None, 1) => "1 instance".to_owned(),
            (None, count) => format!("{count} instances"),
        };
        let memory = bytes_words(had.memory, limits.memory_per_user());
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("owner", had.user)
            .finish();
        Self {
            name: had.user,
            has: format!("{instances} · {memory} of memory"),
            standing: limits.standing(had),
            instances: format!("/instances?{query}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use catalog::Role;

    use super::*;
    use crate::viewer::Viewer;
    use crate::web::form::FormToken;
    use crate::web::pages::{example_site, skeleton};

    #[test]
    fn the_page_as_it_is() {
        let site = example_site();
        let viewer = Viewer::example("root", Role::Admin);
        let token = FormToken::of("secret");
        let had = |user, instances, gibibytes: u64| Holding {
            user,
            instances,
            memory: gibibytes << 30,
        };
        let some = [had("a<b>&c", 6, 2), had("bob", 5, 3), had("carol", 1, 1)];
        let names: Vec<String> = (0..102).map(|number| format!("user-{number}")).collect();
        let many: Vec<Holding<'_>> = names.iter().map(|name| had(name, 1, 1)).collect();
        let limits = limits::Limits {
            max_instances_per_user: Some(5),
            max_memory_per_user: "8Gi".parse().ok(),
            max_versions_per_app: None,
        };
        let page = |limits: &limits::Limits, holdings: &[Holding<'_>]| {
            let frame = Frame::for_viewer(&site, &viewer, &token);
            let page = Limits::new((&site, frame), limits, holdings, "wavestore");
            let body = page.reply().expect("a page").into_body();
            assert!(!body.contains("<b>") && !body.contains("&c"), "{body}");
            skeleton(&body)
        };
        insta::assert_snapshot!("limits", page(&limits, &some));
        insta::assert_snapshot!("limits_none", page(&limits::Limits::default(), &[]));
        let unlimited = page(&limits::Limits::default(), &many);
        assert!(
            unlimited.contains("1 instance · 1 GiB of memory"),
            "{unlimited}"
        );
        assert!(unlimited.contains("2 more users have less."), "{unlimited}");
        assert!(!unlimited.contains("user-100"), "{unlimited}");
    }
}
