//! The page of the audit trail, for admins.

use askama::Template;
use catalog::{AuditEntry, AuditQuery, Thing};
use http::{Response, StatusCode};
use strum::VariantArray as _;
use url::form_urlencoded;

use super::account::Moment;
use super::{Frame, Needs, html, render};
use crate::error::Error;
use crate::site::Site;
use crate::web::audit::asked;

/// How many entries the page shows.
pub(in crate::web) const MAX_DEEDS: usize = 100;

/// The page.
#[derive(Template)]
#[template(path = "audit.html")]
pub(in crate::web) struct Audit<'a> {
    frame: Frame<'a>,
    account: &'a str,
    name: &'a str,
    things: Vec<ThingChoice>,
    rows: Vec<Row<'a>>,
    /// Whether all of it is asked for, from the latest on.
    is_all: bool,
    /// Where the trail goes on.
    more: Option<String>,
    #[template(skip)]
    site: &'a Site,
}

struct ThingChoice {
    thing: Thing,
    words: &'static str,
    is_chosen: bool,
}

struct Row<'a> {
    at: Moment,
    account: &'a str,
    done: &'a str,
    /// What was done to the same thing.
    same: String,
    thing: &'static str,
    name: &'a str,
}

impl<'a> Audit<'a> {
    /// `after` is the place after the entries, where there are more.
    pub(in crate::web) fn new(
        (site, frame): (&'a Site, Frame<'a>),
        query: &'a AuditQuery,
        entries: &'a [AuditEntry],
        after: Option<&str>,
    ) -> Self {
        let things = Thing::VARIANTS.iter().map(|thing| ThingChoice {
            thing: *thing,
            words: words(*thing),
            is_chosen: query.thing == Some(*thing),
        });
        let rows = entries.iter().map(|AuditEntry { deed, .. }| Row {
            at: Moment(deed.at),
            account: &deed.account,
            done: &deed.done,
            same: address(&[
                ("thing", Some(deed.thing.to_string())),
                ("name", Some(deed.name.clone())),
            ]),
            thing: words(deed.thing),
            name: &deed.name,
        });
        let more = after.map(|after| {
            let mut parameters = asked(query).to_vec();
            parameters.push(("after", Some(after.to_owned())));
            address(&parameters)
        });
        Self {
            frame,
            account: query.account.as_deref().unwrap_or_default(),
            name: query.name.as_deref().unwrap_or_default(),
            things: things.collect(),
            rows: rows.collect(),
            is_all: *query == AuditQuery::default(),
            more,
            site,
        }
    }

    pub(in crate::web) fn reply(&self) -> Result<Response<String>, Error> {
        Ok(html(StatusCode::OK, render(self)?, Needs::Forms, self.site))
    }
}

fn words(thing: Thing) -> &'static str {
    match thing {
        Thing::App => "App",
        Thing::Instance => "Instance",
        Thing::Alias => "Alias",
        Thing::Tag => "Tag",
        Thing::Secret => "Secret",
        Thing::Account => "Account",
    }
}

fn address(parameters: &[(&str, Option<String>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    format!("/audit?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use catalog::{Deed, Role};
    use chrono::DateTime;

    use super::*;
    use crate::viewer::Viewer;
    use crate::web::form::FormToken;
    use crate::web::pages::{example_site, skeleton};

    #[test]
    fn the_page_as_it_is() {
        let site = example_site();
        let viewer = Viewer::example("root", Role::Admin);
        let token = FormToken::of("secret");
        let entry = |number, name: &str, done: &str| AuditEntry {
            number,
            deed: Deed {
                at: DateTime::UNIX_EPOCH,
                account: "alice".to_owned(),
                thing: Thing::Instance,
                name: name.to_owned(),
                done: done.to_owned(),
            },
        };
        let entries = [
            entry(
                2,
                "sales",
                "changed the instance sales: {\"suspended\":true}",
            ),
            entry(1, "<b>&", "made the instance <b>&"),
        ];
        let asked = AuditQuery {
            account: Some("<b>alice".to_owned()),
            thing: Some(Thing::Instance),
            name: None,
            before: Some(3),
        };
        for (name, query, entries, after) in [
            ("audit", AuditQuery::default(), &entries[..], Some("1")),
            ("audit_asked", asked.clone(), &entries[..1], Some("2")),
            ("audit_nothing", asked, &[], None),
        ] {
            let frame = (&site, Frame::for_viewer(&site, &viewer, &token));
            let page = Audit::new(frame, &query, entries, after);
            let page = page.reply().expect("a page").into_body();
            assert!(!page.contains("<b>"), "{page}");
            insta::assert_snapshot!(name, skeleton(&page));
        }
    }
}
