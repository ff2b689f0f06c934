//! The page that shows an app's phases until it is ready.

use askama::Template;
use http::Response;

use super::{Frame, Inline, Needs, WAITING_SCRIPT, html, render};
use crate::error::Error;
use crate::site::Site;
use crate::table::Route;

/// Shown as long as the operator has said nothing.
const FIRST_PHASE: &str = "Waiting For The Operator";

/// The phase of an instance, for people.
pub(super) fn phase(route: &Route) -> &str {
    route.phase.as_deref().unwrap_or(FIRST_PHASE)
}

#[derive(Debug, Template)]
#[template(path = "waiting.html")]
struct Waiting<'a> {
    frame: Frame<'a>,
    script: Inline,
    id: &'a str,
    app: &'a str,
    version: &'a str,
    phase: &'a str,
    message: &'a str,
}

/// The page for one instance.
pub(super) fn page(error: &Error, route: &Route, site: &Site) -> Result<Response<String>, Error> {
    let page = Waiting {
        frame: Frame::new(site, None),
        script: WAITING_SCRIPT,
        id: route.id.as_ref(),
        app: &route.app.name,
        version: &route.app.version,
        phase: phase(route),
        message: route.message.as_deref().unwrap_or_default(),
    };
    Ok(html(
        error.status(),
        render(&page)?,
        Needs::WaitingScript,
        site,
    ))
}
