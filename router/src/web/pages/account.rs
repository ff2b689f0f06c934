//! The page of one's own account.

use std::fmt;

use askama::Template;
use catalog::{Scope, Session, SessionKey, Token};
use chrono::{DateTime, Utc};
use http::{Response, StatusCode};

use super::{Frame, Needs, News, html, problem, render, role_words};
use crate::error::Error;
use crate::site::Site;

/// The page.
#[derive(Debug, Template)]
#[template(path = "account.html")]
pub(in crate::web) struct Account<'a> {
    frame: Frame<'a>,
    name: &'a str,
    role: (&'static str, &'static str),
    /// Whether the password is kept here.
    is_local: bool,
    /// When a password ends that an admin gave.
    password_ends: Option<Moment>,
    sessions: Vec<SessionRow<'a>>,
    tokens: Vec<TokenRow<'a>>,
    token_days: [i64; 4],
    /// Name and secret of a token that was just made.
    new_token: Option<(&'a str, &'a str)>,
    done: Option<&'static str>,
    problem: Option<String>,
    #[template(skip)]
    status: StatusCode,
    #[template(skip)]
    site: &'a Site,
}

#[derive(Debug)]
struct SessionRow<'a> {
    key: String,
    browser: String,
    user_agent: &'a str,
    began: Moment,
    seen: Moment,
    is_this: bool,
}

#[derive(Debug)]
struct TokenRow<'a> {
    key: String,
    name: &'a str,
    scopes: String,
    expires: Moment,
    used: Option<Moment>,
}

/// How long a token may be good, in days.
const TOKEN_DAYS: [i64; 4] = [30, 7, 90, 365];

impl<'a> Account<'a> {
    /// `this` is the session that the page is shown in.
    pub(in crate::web) fn new(
        (site, frame): (&'a Site, Frame<'a>),
        account: &'a catalog::Account,
        (sessions, this): (&'a [Session], &SessionKey),
        tokens: &'a [Token],
        news: News<'a>,
    ) -> Self {
        let failure = news.failure();
        let sessions = sessions
            .iter()
            .map(|session| SessionRow {
                key: session.key.to_text(),
                browser: browser_name(session.browser.as_deref().unwrap_or_default()),
                user_agent: session.browser.as_deref().unwrap_or_default(),
                began: Moment(session.created_at),
                seen: Moment(session.last_seen_at),
                is_this: session.key == *this,
            })
            .collect();
        let tokens = tokens.iter().map(|token| TokenRow {
            key: token.key.to_text(),
            name: &token.name,
            scopes: scope_words(token),
            expires: Moment(token.expires_at),
            used: token.last_used_at.map(Moment),
        });
        Self {
            frame,
            name: &account.name,
            role: role_words(account.role),
            is_local: account.subject.is_none(),
            password_ends: account.password_expires_at.map(Moment),
            sessions,
            tokens: tokens.collect(),
            token_days: TOKEN_DAYS,
            new_token: news.secret(),
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

fn scope_words(token: &Token) -> String {
    let words = token.scopes.iter().map(|scope| match scope {
        Scope::Instances => "enters your apps",
        Scope::Store => "uses the store's API",
    });
    words.collect::<Vec<_>>().join(", ")
}

/// A moment for people, to the minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) DateTime<Utc>);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.format("%-d %b %Y, %H:%M UTC").fmt(f)
    }
}

/// Browser and system by what a User-Agent header says, for people to tell their sessions apart; nothing relies on it.
fn browser_name(user_agent: &str) -> String {
    // The first that is named counts: they all claim to be the later ones, too.
    const BROWSERS: [(&str, &str); 6] = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("CriOS/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 6] = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    let find = |names: &[(&str, &'static str)]| {
        let mut found = names.iter().filter(|(mark, _)| user_agent.contains(mark));
        found.next().map(|(_, name)| *name)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => "A browser".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use catalog::{Role, SessionId, Subject, TokenId};
    use chrono::TimeDelta;

    use super::*;
    use crate::viewer::Viewer;
    use crate::web::form::FormToken;
    use crate::web::pages::{Done, example_site, skeleton};

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    fn session(id: &SessionId, browser: Option<&str>, minutes: i64) -> Session {
        let moment = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::minutes(minutes);
        Session {
            key: id.key(),
            account: "alice".to_owned(),
            role: Role::Full,
            roles: [].into(),
            parent: None,
            host: None,
            browser: browser.map(str::to_owned),
            created_at: moment,
            expires_at: moment + TimeDelta::days(1),
            last_seen_at: moment + TimeDelta::minutes(30),
        }
    }

    fn account(subject: Option<Subject>) -> catalog::Account {
        let local = subject.is_none();
        catalog::Account {
            name: "alice".to_owned(),
            password_hash: local.then(|| "hash".to_owned()),
            roles_as_of: None,
            password_expires_at: local.then_some(DateTime::<Utc>::UNIX_EPOCH),
            role: Role::Full,
            disabled: false,
            subject,
            roles: [].into(),
        }
    }

    #[test]
    fn the_page_as_it_is() {
        let site = example_site();
        let viewer = Viewer::example("alice", Role::Full);
        let form_token = FormToken::of("secret");
        let id = |text: &str| text.repeat(43).parse::<SessionId>().expect("an id");
        let (this, other) = (id("A"), id("E"));
        let sessions = [
            session(&this, Some(FIREFOX), 0),
            session(&other, Some("<script>"), 60),
        ];
        let local = account(None);
        let of_provider = account(Some(Subject {
            issuer: "https://login.example.com".to_owned(),
            subject: "1".to_owned(),
        }));
        let token = Token {
            key: format!("wst_{}", "A".repeat(43))
                .parse::<TokenId>()
                .map(|id| id.key())
                .expect("an id"),
            account: "alice".to_owned(),
            role: Role::Full,
            roles: [].into(),
            name: "nightly <report>".to_owned(),
            scopes: [Scope::Instances, Scope::Store].into(),
            created_at: DateTime::<Utc>::UNIX_EPOCH,
            expires_at: DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(30),
            last_used_at: None,
        };
        let made = News::Secret {
            name: "nightly <report>",
            secret: "wst_secret",
        };
        let cases = [
            ("account", &local, News::Done(Done::SessionEnded)),
            ("account_of_provider", &of_provider, made),
            (
                "account_refused",
                &local,
                News::Failed(&Error::WrongPassword),
            ),
        ];
        for (name, account, news) in cases {
            let frame = Frame::for_viewer(&site, &viewer, &form_token);
            let page = Account::new(
                (&site, frame),
                account,
                (&sessions, &this.key()),
                std::slice::from_ref(&token),
                news,
            );
            let response = page.reply().expect("a page");
            let status = news.failure().map_or(StatusCode::OK, Error::status);
            assert_eq!(response.status(), status);
            assert!(!response.body().contains("<script>") && !response.body().contains("<report>"));
            insta::assert_snapshot!(name, skeleton(response.body()));
        }
    }

    #[test]
    fn browsers_are_told_apart() {
        let cases = [
            (FIREFOX, "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            ("curl/8.0", "A browser"),
            ("", "A browser"),
        ];
        for (user_agent, expected) in cases {
            assert_eq!(browser_name(user_agent), expected, "{user_agent}");
        }
    }
}
