//! The page of secrets. It has a field for each value, and never a value in one.

use askama::Template;
use crds::SecretScope;
use http::{Response, StatusCode};

use super::account::Moment;
use super::instance::moment;
use super::{Frame, Needs, News, html, problem, render};
use crate::error::Error;
use crate::policy::{Action, Decision, Secret, decide};
use crate::site::Site;
use crate::viewer::Viewer;
use crate::web::secrets::{Found, LONGEST_KEY, LONGEST_NAME, for_whom};

/// How many keys a form has room for, beside those that are there.
const ROOM: usize = 3;

/// The page.
#[derive(Template)]
#[template(path = "secrets.html")]
pub(in crate::web) struct Secrets<'a> {
    frame: Frame<'a>,
    /// For a new secret, with what was written when it was refused.
    new: Fields,
    rows: Vec<Row<'a>>,
    /// Whether these are everybody's.
    are_all: bool,
    longest_name: usize,
    longest_key: usize,
    done: Option<&'static str>,
    problem: Option<String>,
    #[template(skip)]
    status: StatusCode,
    #[template(skip)]
    site: &'a Site,
}

/// What somebody has written that was refused. Values are to be written again.
pub(in crate::web) struct Written {
    pub name: String,
    pub scope: SecretScope,
    pub app: String,
    pub keys: Vec<String>,
}

/// What the form of a secret shows.
struct Fields {
    name: String,
    scopes: Vec<Choice>,
    app: String,
    /// Some of them are empty.
    keys: Vec<String>,
}

/// One of the answers to which apps read it.
struct Choice {
    value: SecretScope,
    words: &'static str,
    is_chosen: bool,
}

struct Row<'a> {
    secret: &'a Found,
    /// Which apps read it, for people.
    readers: String,
    used_by: String,
    set_at: Option<Moment>,
    fields: Fields,
    /// Whether its form is shown with what was refused.
    is_open: bool,
}

impl Fields {
    fn new(written: Written, may_open: bool) -> Self {
        let Written {
            name,
            scope,
            app,
            mut keys,
        } = written;
        let mut scopes = vec![SecretScope::Private, SecretScope::App];
        if may_open {
            scopes.push(SecretScope::AllUsers);
        }
        let choice = |value| Choice {
            value,
            words: words(value),
            is_chosen: value == scope,
        };
        keys.extend(std::iter::repeat_n(String::new(), ROOM));
        Self {
            name,
            scopes: scopes.into_iter().map(choice).collect(),
            app,
            keys,
        }
    }
}

fn words(scope: SecretScope) -> &'static str {
    match scope {
        SecretScope::Private => "All apps of its owner",
        SecretScope::App => "One app of its owner, in all versions",
        SecretScope::AllUsers => "All apps of the store",
    }
}

impl<'a> Row<'a> {
    fn new(secret: &'a Found, written: Option<Written>, may_open: bool) -> Self {
        let readers = &secret.entry.readers;
        let app = readers.app();
        let shown = || Written {
            name: secret.name.clone(),
            scope: readers.scope(),
            app: app.unwrap_or_default().to_owned(),
            keys: secret.entry.keys.clone(),
        };
        let used_by: Vec<String> = secret.used_by.iter().map(ToString::to_string).collect();
        Self {
            readers: format!("For {}", for_whom(readers)),
            used_by: used_by.join(", "),
            set_at: secret.entry.set_at.as_ref().and_then(|at| moment(at.0)),
            is_open: written.is_some(),
            fields: Fields::new(written.unwrap_or_else(shown), may_open),
            secret,
        }
    }
}

impl<'a> Secrets<'a> {
    pub(in crate::web) fn new(
        (site, frame): (&'a Site, Frame<'a>),
        viewer: &Viewer,
        all: &'a [Found],
        news: News<'_>,
        mut refused: Option<Written>,
    ) -> Self {
        let readers = &crds::SecretReaders::AllUsers { owner: None };
        let for_all = Secret {
            readers,
            versions: &[],
        };
        let may_open = decide(Some(viewer), Action::ManageSecret(for_all)) == Decision::Allow;
        let rows = all.iter().map(|secret| {
            let written = refused.take_if(|written| written.name == secret.name);
            Row::new(secret, written, may_open)
        });
        let rows = rows.collect();
        let empty = || Written {
            name: String::new(),
            scope: SecretScope::default(),
            app: String::new(),
            keys: Vec::new(),
        };
        let failure = news.failure();
        Self {
            frame,
            rows,
            are_all: may_open,
            new: Fields::new(refused.unwrap_or_else(empty), may_open),
            longest_name: LONGEST_NAME,
            longest_key: LONGEST_KEY,
            done: news.done(),
            problem: failure.map(problem),
            status: failure.map_or(StatusCode::OK, Error::status),
            site,
        }
    }

    pub(in crate::web) fn reply(&self) -> Result<Response<String>, Error> {
        Ok(html(self.status, render(self)?, Needs::Forms, self.site))
    }
}

#[cfg(test)]
mod tests {
    use catalog::Role;
    use crds::{AppRef, SecretEntry, SecretReaders};

    use super::*;
    use crate::web::form::FormToken;
    use crate::web::pages::{Done, example_site, skeleton};

    fn found(name: &str, readers: SecretReaders, is_managed: bool) -> Found {
        let entry = SecretEntry {
            readers,
            keys: vec!["password".to_owned(), "user".to_owned()],
            is_of_store: is_managed,
            uid: "1".to_owned(),
            resource_version: "7".to_owned(),
            set_at: serde_json::from_str("\"2026-01-02T03:04:05Z\"").ok(),
        };
        let app = AppRef {
            name: "<b>".to_owned(),
            version: "1.0.0".to_owned(),
        };
        Found {
            name: name.to_owned(),
            entry,
            used_by: vec![app],
            is_managed,
        }
    }

    #[test]
    fn the_page_as_it_is() {
        let site = example_site();
        let token = FormToken::of("secret");
        let owner = || "alice".to_owned();
        let all = [
            found("database", SecretReaders::Private { owner: owner() }, true),
            found(
                "index",
                SecretReaders::App {
                    owner: owner(),
                    app: "hello".to_owned(),
                },
                true,
            ),
            found("open", SecretReaders::AllUsers { owner: None }, false),
        ];
        let error = Error::BadSecret("what was written");
        let written = |name: &str| Written {
            name: name.to_owned(),
            scope: SecretScope::App,
            app: "<b>".to_owned(),
            keys: vec!["\"><script>".to_owned()],
        };
        for (name, role, news, refused) in [
            ("secrets", Role::Full, News::Done(Done::SecretSet), None),
            ("secrets_admin", Role::Admin, News::None, None),
            (
                "secrets_refused",
                Role::Full,
                News::Failed(&error),
                Some(written("database")),
            ),
            (
                "secrets_refused_new",
                Role::Full,
                News::Failed(&error),
                Some(written("new")),
            ),
        ] {
            let viewer = Viewer::example("alice", role);
            let frame = Frame::for_viewer(&site, &viewer, &token);
            let page = Secrets::new((&site, frame), &viewer, &all, news, refused);
            let response = page.reply().expect("a page");
            let body = response.body();
            assert!(!body.contains("<b>") && !body.contains("<script"), "{body}");
            insta::assert_snapshot!(name, skeleton(body));
        }
    }
}
