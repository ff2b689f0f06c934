//! The page that shows an app's phases until it is ready, and how an instance is in words.

use askama::Template;
use http::Response;

use super::{Frame, Inline, Needs, WAITING_SCRIPT, html, render};
use crate::error::Error;
use crate::site::Site;
use crate::table::Route;

/// Shown as long as the operator has said nothing.
const FIRST_PHASE: &str = "Waiting For The Operator";

/// How an instance is, for people: the same words on every page and in every answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Diagnosis<'a> {
    /// What is going on, such as `Starting Hello Wave`.
    pub(super) title: String,
    /// Where it stands.
    pub(super) phase: &'a str,
    /// Why, where there is more to say than the phase.
    pub(super) detail: Option<&'a str>,
    /// Whether somebody has to look after it.
    pub(super) failing: bool,
}

/// Puts an instance that is not ready into words.
pub(super) fn diagnose(route: &Route) -> Diagnosis<'_> {
    let name = route.title.as_deref().unwrap_or(&route.app.name);
    let phase = route.phase.as_deref().unwrap_or(FIRST_PHASE);
    let verb = if route.failing {
        "does not start"
    } else {
        "is starting"
    };
    Diagnosis {
        title: format!("{name} {verb}"),
        phase,
        detail: route.message.as_deref().filter(|message| *message != phase),
        failing: route.failing,
    }
}

#[derive(Debug, Template)]
#[template(path = "waiting.html")]
struct Waiting<'a> {
    frame: Frame<'a>,
    script: Inline,
    now: Diagnosis<'a>,
    id: &'a str,
    app: &'a str,
    version: &'a str,
}

/// The page for one instance.
pub(super) fn page(error: &Error, route: &Route, site: &Site) -> Result<Response<String>, Error> {
    let page = Waiting {
        frame: Frame::new(site, None),
        script: WAITING_SCRIPT,
        now: diagnose(route),
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

#[cfg(test)]
mod tests {
    use crds::Visibility;

    use super::*;

    #[test]
    fn an_instance_is_put_into_words() {
        let mut route = Route::example("sales", "alice", Visibility::Private);
        let words = |route: &Route| {
            let now = diagnose(route);
            (
                now.title,
                now.phase.to_owned(),
                now.detail.map(str::to_owned),
            )
        };
        let expect = |title: &str, phase: &str, detail: Option<&str>| {
            (
                title.to_owned(),
                phase.to_owned(),
                detail.map(str::to_owned),
            )
        };
        assert_eq!(
            words(&route),
            expect("hello is starting", FIRST_PHASE, None)
        );
        route.title = Some("Hello Wave".to_owned());
        route.phase = Some("Starting".to_owned());
        route.message = Some("Starting".to_owned());
        assert_eq!(
            words(&route),
            expect("Hello Wave is starting", "Starting", None)
        );
        route.failing = true;
        route.message = Some("no module named plotly".to_owned());
        let failing = expect(
            "Hello Wave does not start",
            "Starting",
            Some("no module named plotly"),
        );
        assert_eq!(words(&route), failing);
    }
}
