//! The page that shows an app's phases until it is ready, and how an instance is in words.

use std::borrow::Cow;

use askama::Template;
use http::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Frame, Inline, Needs, WAITING_SCRIPT, html, render};
use crate::error::Error;
use crate::site::Site;
use crate::table::Route;
use crate::waiting::{self, PHASES_PATH, Rights};

/// Shown as long as the operator has said nothing.
const FIRST_PHASE: &str = "Waiting For The Operator";

/// How an instance is, for people: the same words on every page and in every answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Diagnosis<'a> {
    /// What is going on, such as `Hello Wave is starting`.
    pub(super) title: String,
    /// Where it stands.
    pub(super) phase: &'a str,
    /// Why, where there is more to say than the phase.
    pub(super) detail: Option<Cow<'a, str>>,
    /// Whether somebody has to look after it.
    pub(super) failing: bool,
}

/// Puts an instance that is not ready into words. What to do about it and what the app itself has said
/// is not for everybody.
pub(super) fn diagnose(route: &Route, rights: Rights) -> Diagnosis<'_> {
    let name = route.title.as_deref().unwrap_or(&route.app.name);
    let phase = route.phase.as_deref().unwrap_or(FIRST_PHASE);
    let words = |verb: &str, phase, detail| Diagnosis {
        title: format!("{name} {verb}"),
        phase,
        detail,
        failing: route.failing,
    };
    if route.suspended {
        let how = if rights.manages {
            format!(
                "Resume it in the store, or: kubectl patch waveinstance {} --type merge --patch '{{\"spec\":{{\"suspended\":false}}}}'",
                route.id
            )
        } else {
            "Its owner can resume it.".to_owned()
        };
        return words("is suspended", crds::SUSPENDED_PHASE, Some(how.into()));
    }
    if route.is_asleep() {
        return words("is waking up", "Waking Up", None);
    }
    let said = route.message.as_deref().filter(|message| *message != phase);
    match (route.failing, rights.reads_log) {
        (true, true) => words("does not start", phase, said.map(Cow::from)),
        (true, false) => words(
            "does not start",
            phase,
            Some("Those who may read its log can see why.".into()),
        ),
        (false, true) => words("is starting", phase, said.map(Cow::from)),
        (false, false) => words("is starting", phase, None),
    }
}

/// How an instance is, for lists of them: in a few words, and why, where there is more to say.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "InstanceState")]
pub(in crate::web) struct State<'a> {
    /// Where it stands.
    #[serde(rename = "state")]
    pub(super) label: &'a str,
    /// Whether it answers.
    pub(super) ready: bool,
    /// Whether somebody has to look after it.
    pub(super) failing: bool,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<Cow<'a, str>>,
}

impl<'a> State<'a> {
    /// To somebody who has these rights.
    pub(in crate::web) fn of(route: &'a Route, rights: Rights) -> Self {
        let plain = |label, ready| Self {
            label,
            ready,
            failing: false,
            detail: None,
        };
        if route.deleted.is_some() {
            return plain("Being Deleted", false);
        }
        if route.suspended {
            return plain(crds::SUSPENDED_PHASE, false);
        }
        if route.is_asleep() {
            return plain("Asleep", false);
        }
        if route.ready && !route.upstreams.is_empty() {
            return plain("Ready", true);
        }
        let now = diagnose(route, rights);
        Self {
            label: now.phase,
            ready: false,
            failing: now.failing,
            detail: now.detail,
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "waiting.html")]
struct Waiting<'a> {
    frame: Frame<'a>,
    script: Inline,
    now: Diagnosis<'a>,
    log: Option<&'a str>,
    phases: String,
    comes: bool,
    id: &'a str,
    app: &'a str,
    version: &'a str,
}

/// The page for one instance.
pub(super) fn page(
    error: &Error,
    waiting: &waiting::Waiting,
    site: &Site,
) -> Result<Response<String>, Error> {
    let route = &waiting.route;
    let page = Waiting {
        frame: Frame::new(site),
        script: WAITING_SCRIPT,
        now: diagnose(route, waiting.rights),
        log: waiting.log.as_deref(),
        phases: format!("{PHASES_PATH}{}", waiting.name),
        comes: !route.suspended,
        id: route.id.as_ref(),
        app: &route.app.name,
        version: &route.app.version,
    };
    Ok(html(
        error.status(),
        render(&page)?,
        Needs::WaitingScript,
        site,
    ))
}

/// The same as one line of JSON, for the page's script.
pub(crate) fn phases_object(waiting: &waiting::Waiting) -> String {
    #[derive(Serialize)]
    struct Object<'a> {
        #[serde(flatten)]
        now: Diagnosis<'a>,
        log: Option<&'a str>,
    }
    let object = Object {
        now: diagnose(&waiting.route, waiting.rights),
        log: waiting.log.as_deref(),
    };
    serde_json::to_string(&object).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crds::Visibility;

    use super::*;

    #[test]
    fn an_instance_is_put_into_words() {
        let mut route = Route::example("sales", "alice", Visibility::Private);
        let [owner, other] = [true, false].map(|all| Rights {
            manages: all,
            reads_log: all,
        });
        let words = |route: &Route, rights| {
            let now = diagnose(route, rights);
            let detail = now.detail.map(Cow::into_owned);
            (now.title, now.phase.to_owned(), detail.unwrap_or_default())
        };
        let expect = |title: &str, phase: &str, detail: &str| {
            (title.to_owned(), phase.to_owned(), detail.to_owned())
        };
        let starting = expect("hello is starting", FIRST_PHASE, "");
        assert_eq!(words(&route, owner), starting);
        route.title = Some("Hello Wave".to_owned());
        route.phase = Some("Starting".to_owned());
        route.message = Some("Starting".to_owned());
        let starting = expect("Hello Wave is starting", "Starting", "");
        assert_eq!(words(&route, owner), starting);
        route.failing = true;
        route.message = Some("no module named plotly".to_owned());
        let title = "Hello Wave does not start";
        let failing = expect(title, "Starting", "no module named plotly");
        assert_eq!(words(&route, owner), failing);
        let expected = expect(title, "Starting", "Those who may read its log can see why.");
        assert_eq!(words(&route, other), expected);
        route.failing = false;
        let expected = expect("Hello Wave is starting", "Starting", "");
        assert_eq!(words(&route, other), expected);
        route.phase = Some("Suspended".to_owned());
        let asleep = expect("Hello Wave is waking up", "Waking Up", "");
        assert_eq!(words(&route, owner), asleep);
        route.suspended = true;
        let (title, phase, detail) = words(&route, owner);
        assert_eq!(
            (title.as_str(), phase.as_str()),
            ("Hello Wave is suspended", "Suspended")
        );
        assert!(
            detail.contains("kubectl patch waveinstance sales"),
            "{detail}"
        );
        assert_eq!(words(&route, other).2, "Its owner can resume it.");
    }
}
