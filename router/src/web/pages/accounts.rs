//! The page of everybody's accounts, for admins.

use askama::Template;
use catalog::Role;
use http::{Response, StatusCode};

use super::account::Moment;
use super::{Frame, Needs, News, html, problem, render, role_words};
use crate::error::Error;
use crate::sign_in::ONE_TIME_LIFETIME;
use crate::site::Site;

/// How many accounts the page shows.
pub(in crate::web) const MAX_ACCOUNTS: u64 = 500;

/// The page.
#[derive(Template)]
#[template(path = "accounts.html")]
pub(in crate::web) struct Accounts<'a> {
    frame: Frame<'a>,
    rows: Vec<Row<'a>>,
    more: bool,
    roles: [RoleChoice; 3],
    done: Option<&'static str>,
    password: Option<(&'a str, &'a str)>,
    password_days: i64,
    problem: Option<String>,
    #[template(skip)]
    status: StatusCode,
    #[template(skip)]
    site: &'a Site,
}

struct RoleChoice {
    role: Role,
    name: &'static str,
    means: &'static str,
}

struct Row<'a> {
    name: &'a str,
    role: Role,
    role_name: &'static str,
    is_own: bool,
    is_local: bool,
    disabled: bool,
    password_ends: Option<Moment>,
}

impl<'a> Accounts<'a> {
    /// `own` is the name of the admin who looks.
    pub(in crate::web) fn new(
        (site, frame): (&'a Site, Frame<'a>),
        own: &str,
        accounts: &'a [catalog::Account],
        news: News<'a>,
    ) -> Self {
        let limit = usize::try_from(MAX_ACCOUNTS).unwrap_or(usize::MAX);
        let rows = accounts.iter().take(limit).map(|account| Row {
            name: &account.name,
            role: account.role,
            role_name: role_words(account.role).0,
            is_own: account.name == own,
            is_local: account.subject.is_none(),
            disabled: account.disabled,
            password_ends: account.password_expires_at.map(Moment),
        });
        let failure = news.failure();
        Self {
            frame,
            rows: rows.collect(),
            more: accounts.len() > limit,
            roles: [Role::Full, Role::Visitor, Role::Admin].map(|role| {
                let (name, means) = role_words(role);
                RoleChoice { role, name, means }
            }),
            done: news.done(),
            password: news.secret(),
            password_days: ONE_TIME_LIFETIME.num_days(),
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
    use catalog::Subject;
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::viewer::Viewer;
    use crate::web::form::FormToken;
    use crate::web::pages::{Done, example_site, skeleton};

    fn account(name: &str, role: Role) -> catalog::Account {
        catalog::Account {
            name: name.to_owned(),
            password_hash: Some("hash".to_owned()),
            roles_as_of: None,
            password_expires_at: None,
            role,
            disabled: false,
            subject: None,
            roles: Vec::new(),
        }
    }

    #[test]
    fn the_page_as_it_is() {
        let site = example_site();
        let viewer = Viewer::example("root", Role::Admin);
        let token = FormToken::of("secret");
        let mut invited = account("invited", Role::Visitor);
        invited.password_expires_at = Some(DateTime::<Utc>::UNIX_EPOCH);
        let mut disabled = account("disabled", Role::Full);
        disabled.disabled = true;
        let mut elsewhere = account("elsewhere@example.com", Role::Full);
        elsewhere.subject = Some(Subject {
            issuer: "https://login.example.com".to_owned(),
            subject: "1".to_owned(),
        });
        let accounts = [disabled, elsewhere, invited, account("root", Role::Admin)];
        let error = Error::NameTaken("<b>".to_owned());
        let password = News::Secret {
            name: "invited",
            secret: "abcdefghijkmnpqrstuv",
        };
        for (name, news) in [
            ("accounts", News::Done(Done::Disabled)),
            ("accounts_password", password),
            ("accounts_refused", News::Failed(&error)),
        ] {
            let frame = Frame::for_viewer(&site, &viewer, &token);
            let page = Accounts::new((&site, frame), "root", &accounts, news);
            let response = page.reply().expect("a page");
            assert!(!response.body().contains("<b>"));
            insta::assert_snapshot!(name, skeleton(response.body()));
        }
    }
}
