//! The pages: one view struct each, filled from domain types, and their safety headers.

mod account;
mod accounts;
mod app;
mod app_card;
mod audit;
mod device;
mod failure;
mod home;
mod instance;
mod instance_card;
mod instances;
mod limits;
mod markdown;
mod news;
mod picture;
mod publish;
mod secrets;
mod sign_in;
mod signing_out;
mod tags;
mod waiting;

use std::fmt::{self, Write};
use std::sync::LazyLock;

use askama::Template;
use askama::filters::HtmlSafe;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use catalog::Role;
use crds::Visibility;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::form::FormToken;
use crate::error::Error;
use crate::policy::{Action, Decision, decide};
use crate::site::Site;
use crate::viewer::Viewer;

pub(super) use account::Account;
pub(super) use accounts::{Accounts, MAX_ACCOUNTS};
pub(super) use app::{App, Chosen};
pub(super) use app_card::page_of;
pub(super) use audit::{Audit, MAX_DEEDS};
pub(super) use device::Device;
pub(super) use failure::Problem;
pub(crate) use failure::{ERROR_HEADER, failure};
pub(super) use home::{Found, Home, MAX_APPS};
pub(super) use instance::{Instance, Look};
pub(super) use instances::Instances;
pub(super) use limits::Limits;
pub(super) use news::{Done, News};
pub(super) use publish::Publish;
pub(super) use secrets::{Secrets, Written};
pub(super) use sign_in::SignIn;
pub(super) use signing_out::SigningOut;
pub(super) use tags::Tags;
pub(super) use waiting::State;
pub(crate) use waiting::phases_object;

/// Text of this crate that goes into a page as it is: style and script, which the page's policy allows by hash.
#[derive(Debug, Clone, Copy)]
struct Inline(&'static str);

impl fmt::Display for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl HtmlSafe for Inline {}

impl Inline {
    /// Its source expression for a content security policy.
    fn source(self) -> String {
        format!("'sha256-{}'", STANDARD.encode(Sha256::digest(self.0)))
    }
}

const STYLE: Inline = Inline(include_str!("../../templates/style.css"));
const WAITING_SCRIPT: Inline = Inline(include_str!("../../templates/waiting.js"));

const STATES_SCRIPT: Inline = Inline(include_str!("../../templates/states.js"));
const LOG_SCRIPT: Inline = Inline(include_str!("../../templates/log.js"));
const PUBLISH_SCRIPT: Inline = Inline(include_str!("../../templates/publish.js"));

static STYLE_SOURCE: LazyLock<String> = LazyLock::new(|| STYLE.source());
static WAITING_SCRIPT_SOURCE: LazyLock<String> = LazyLock::new(|| WAITING_SCRIPT.source());

static STATES_SCRIPT_SOURCE: LazyLock<String> = LazyLock::new(|| STATES_SCRIPT.source());
static LOG_SCRIPT_SOURCE: LazyLock<String> = LazyLock::new(|| LOG_SCRIPT.source());
static PUBLISH_SCRIPT_SOURCE: LazyLock<String> = LazyLock::new(|| PUBLISH_SCRIPT.source());

/// What every page shows around its content.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    style: Inline,
    /// Address of the store's first page.
    home: &'a str,
    /// Who is signed in, on the store's own pages.
    account: Option<AccountBar<'a>>,
}

/// Who is signed in, and what is there for them on every page.
#[derive(Debug)]
struct AccountBar<'a> {
    name: &'a str,
    /// Pages that lead on from every other: address and name.
    pages: Vec<(&'static str, &'static str)>,
    form_token: &'a FormToken,
}

/// Pages that lead on from every other, and what one has to be let do there.
const PAGES: [(Action<'static>, &str, &str); 7] = [
    (Action::Publish, "/publish", "Publish"),
    (Action::UseStore, "/instances", "Instances"),
    (Action::UseSecrets, "/secrets", "Secrets"),
    (Action::ManageAccounts, "/accounts", "Accounts"),
    (Action::ManageTags, "/tags", "Tags"),
    (Action::ReadLimits, "/limits", "Limits"),
    (Action::ReadAudit, "/audit", "Audit"),
];

impl<'a> Frame<'a> {
    /// For those who need not be signed in.
    fn new(site: &'a Site) -> Self {
        Self {
            style: STYLE,
            home: site.store_origin(),
            account: None,
        }
    }

    /// For somebody who is signed in, with the token for the forms that they are shown.
    pub(super) fn for_viewer(
        site: &'a Site,
        viewer: &'a Viewer,
        form_token: &'a FormToken,
    ) -> Self {
        let may = |action| decide(Some(viewer), action) == Decision::Allow;
        let pages = PAGES.into_iter().filter(|(action, ..)| may(*action));
        let account = AccountBar {
            name: &viewer.name,
            pages: pages.map(|(_, address, name)| (address, name)).collect(),
            form_token,
        };
        Self {
            account: Some(account),
            ..Self::new(site)
        }
    }

    /// The token for the forms of this page; empty where there is none to send.
    fn form_token(&self) -> &str {
        let account = self.account.as_ref();
        account.map_or("", |account| account.form_token.as_ref())
    }
}

/// What a page may do beside showing itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Show pictures, send forms to the store; redirects may then lead to an app.
    Forms,
    /// The same, and keep the states of instances up to date.
    States,
    /// The same, and follow a log.
    StatesAndLog,
    /// The same as [`Needs::Forms`], and send a bundle.
    Publishing,
    /// Ask again whether an app is ready.
    WaitingScript,
}

/// Where the states of the instances of `owner` are told.
fn states_of(owner: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("owner", owner)
        .append_pair("limit", "500")
        .finish();
    format!("/api/v1/instances?{query}")
}

/// Who may enter, for people: a name, and what it means.
fn visibility_words(visibility: Visibility) -> (&'static str, &'static str) {
    match visibility {
        Visibility::Private => ("Private", "only its owner"),
        Visibility::AllUsers => ("All users", "everybody who is signed in"),
        Visibility::Public => ("Public", "everybody, without signing in"),
    }
}

/// One of the answers to who may enter.
#[derive(Debug)]
struct VisibilityChoice {
    value: Visibility,
    name: &'static str,
    means: &'static str,
}

fn visibilities() -> [VisibilityChoice; 3] {
    [
        Visibility::Private,
        Visibility::AllUsers,
        Visibility::Public,
    ]
    .map(|value| {
        let (name, means) = visibility_words(value);
        VisibilityChoice { value, name, means }
    })
}

/// A role for people, and what it may do.
fn role_words(role: Role) -> (&'static str, &'static str) {
    match role {
        Role::Visitor => ("Visitor", "runs apps that are shared"),
        Role::Full => ("Publisher", "publishes and runs apps"),
        Role::Admin => ("Admin", "manages everything"),
    }
}

/// What was refused, as a sentence with the next step.
fn problem(error: &Error) -> String {
    let mut words = sentence(&error.to_string());
    if let Some(wait) = error.retry_after() {
        let _ = write!(words, " Try again in {} s.", wait.as_secs().max(1));
    } else if let Some(hint) = error.hint() {
        let _ = write!(words, " Next: {hint}.");
    }
    words
}

/// An error's text as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        format!("{}{}.", first.to_uppercase(), letters.as_str())
    })
}

fn render(page: &impl Template) -> Result<String, Error> {
    page.render()
        .map_err(|error| Error::Internal(Box::new(error)))
}

/// A page with its safety headers.
fn html(status: StatusCode, words: String, needs: Needs, site: &Site) -> Response<String> {
    let style = STYLE_SOURCE.as_str();
    // Browsers check where a form's answer redirects to, as well.
    let form_action = format!("form-action 'self' {}", site.app_origins_pattern());
    let more = match needs {
        Needs::Forms => form_action,
        Needs::States => format!(
            "script-src {}; connect-src 'self'; {form_action}",
            STATES_SCRIPT_SOURCE.as_str()
        ),
        Needs::StatesAndLog => format!(
            "script-src {} {}; connect-src 'self'; {form_action}",
            STATES_SCRIPT_SOURCE.as_str(),
            LOG_SCRIPT_SOURCE.as_str()
        ),
        Needs::Publishing => format!(
            "script-src {}; connect-src 'self'; {form_action}",
            PUBLISH_SCRIPT_SOURCE.as_str()
        ),
        Needs::WaitingScript => format!(
            "script-src {}; connect-src 'self'; form-action 'none'",
            WAITING_SCRIPT_SOURCE.as_str()
        ),
    };
    let policy = format!(
        "default-src 'none'; style-src {style}; img-src 'self' data:; {more}; base-uri 'none'; frame-ancestors 'none'"
    );
    let mut response = Response::new(words);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    safety(headers, "text/html; charset=utf-8");
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Headers of everything that we say ourselves.
pub(super) fn safety(headers: &mut HeaderMap, content_type: &'static str) {
    let lines = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: with it browsers send `Origin: null` along with our own forms.
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in lines {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
fn example_site() -> Site {
    Site::new("http://localhost:8080", "localhost:8080").expect("a valid site")
}

/// A page as it is but for style and script, which have files of their own.
#[cfg(test)]
fn skeleton(page: &str) -> String {
    page.replace(STYLE.0, "[style]")
        .replace(WAITING_SCRIPT.0, "[script]")
        .replace(STATES_SCRIPT.0, "[script]")
        .replace(LOG_SCRIPT.0, "[script]")
}
