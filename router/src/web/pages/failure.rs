//! Errors as answers: a page for browsers, a problem (RFC 9457) for everybody else.

use std::borrow::Cow;

use askama::Template;
use http::{HeaderValue, Response, header};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Frame, Needs, html, render, safety, sentence, waiting};
use crate::error::Error;
use crate::site::Site;
use crate::web::Asked;
use crate::web::asked::Wants;

/// Tells an answer of the router from one of the app; its value is the error's code.
pub(crate) const ERROR_HEADER: &str = "x-wavestore-error";

#[derive(Debug, Template)]
#[template(path = "failure.html")]
struct Failure<'a> {
    frame: Frame<'a>,
    status: u16,
    title: &'a str,
    sentence: String,
    hint: Option<Cow<'static, str>>,
    code: &'a str,
    request_id: &'a str,
}

/// What went wrong, in the members of RFC 9457 and in some of ours.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::web) struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setting: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing: Option<bool>,
    request_id: &'a str,
}

/// The answer to a request that failed: never more than the error's own words, its code and the request's id.
pub(crate) fn failure(error: &Error, asked: &Asked, site: &Site) -> Response<String> {
    let request_id = asked.request_id.to_str().unwrap_or_default();
    let page = match asked.wants {
        Wants::Page => page(error, request_id, site).ok(),
        Wants::Problem => None,
    };
    let mut response = page.unwrap_or_else(|| problem(error, request_id));
    let headers = response.headers_mut();
    headers.insert(ERROR_HEADER, HeaderValue::from_static(error.code()));
    if let Some(wait) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
    }
    for challenge in error.challenges() {
        headers.append(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        );
    }
    let allowed = match error {
        Error::MethodNotAllowed(methods) => Some(methods.as_str()),
        Error::WaveMethod => Some("GET, HEAD, POST, DELETE"),
        Error::ConnectRefused => Some("GET, HEAD, POST"),
        _ => None,
    };
    let allowed = allowed.and_then(|methods| HeaderValue::from_str(methods).ok());
    headers.extend(allowed.map(|methods| (header::ALLOW, methods)));
    response
}

fn page(error: &Error, request_id: &str, site: &Site) -> Result<Response<String>, Error> {
    if let Error::NotReady(now) = error {
        return waiting::page(error, now, site);
    }
    let status = error.status();
    let page = Failure {
        frame: Frame::new(site),
        status: status.as_u16(),
        title: status.canonical_reason().unwrap_or("Error"),
        sentence: sentence(&error.to_string()),
        hint: error.hint(),
        code: error.code(),
        request_id,
    };
    Ok(html(status, render(&page)?, Needs::Forms, site))
}

fn problem(error: &Error, request_id: &str) -> Response<String> {
    let now = match error {
        Error::NotReady(now) => Some(waiting::diagnose(&now.route, now.rights)),
        _ => None,
    };
    let (limit_bytes, setting) = match *error {
        Error::TooLarge {
            limit_bytes,
            setting,
        } => (Some(limit_bytes), setting),
        _ => (None, None),
    };
    let status = error.status();
    let words = error.to_string();
    let problem = Problem {
        r#type: format!("urn:wavestore:problem:{}", error.code()),
        title: now.as_ref().map_or_else(
            || status.canonical_reason().unwrap_or("Error"),
            |now| now.title.as_str(),
        ),
        status: status.as_u16(),
        detail: now
            .as_ref()
            .map_or_else(|| Some(words.as_str()), |now| now.detail.as_deref()),
        code: error.code(),
        hint: error.hint(),
        limit_bytes,
        setting,
        phase: now.as_ref().map(|now| now.phase),
        failing: now.as_ref().map(|now| now.failing),
        request_id,
    };
    let words = serde_json::to_string(&problem).unwrap_or_default();
    let mut response = Response::new(words);
    *response.status_mut() = status;
    safety(response.headers_mut(), "application/problem+json");
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crds::Visibility;
    use http::{Request, StatusCode};

    use super::*;
    use crate::table::Route;
    use crate::trace::TraceId;
    use crate::waiting::{Rights, Waiting};
    use crate::web::pages::{example_site, skeleton};

    /// As the owner sees it.
    fn waiting_for(route: Route) -> Error {
        Error::NotReady(Box::new(Waiting {
            name: route.id.clone(),
            rights: Rights {
                manages: true,
                reads_log: true,
            },
            log: route.failing.then(|| "Traceback <of>\nthe app".into()),
            route: Arc::new(route),
        }))
    }

    fn asked(accept: &str) -> Asked {
        let request = Request::builder()
            .header(header::ACCEPT, accept)
            .body(())
            .expect("a request");
        Asked::of(&request, [127, 0, 0, 1].into(), TraceId::NONE)
    }

    #[test]
    fn our_own_faults_tell_code_and_request_only() {
        let site = example_site();
        let cause = "postgres://store:secret@db/catalog: connection refused";
        let error = Error::CatalogAway(cause.into());
        for accept in ["text/html", "application/json", "*/*"] {
            let asked = asked(accept);
            let response = failure(&error, &asked, &site);
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            let words = response.body();
            assert!(
                !words.contains("postgres") && !words.contains("secret"),
                "{words}"
            );
            assert!(words.contains("CatalogAway"), "{words}");
            assert!(
                words.contains(asked.request_id.to_str().expect("text")),
                "{words}"
            );
        }
    }

    #[test]
    fn the_pages_as_they_are() {
        let site = example_site();
        let mut asked = asked("text/html");
        asked.request_id = HeaderValue::from_static("[request]");
        insta::assert_snapshot!(
            "hidden",
            skeleton(failure(&Error::Hidden, &asked, &site).body())
        );
        let mut route = Route::example("sales", "alice", Visibility::Private);
        route.title = Some("Hello Wave".to_owned());
        route.phase = Some("Restarting The Application".to_owned());
        route.message = Some("ModuleNotFoundError: No module named 'plotly'".to_owned());
        route.failing = true;
        let error = waiting_for(route);
        insta::assert_snapshot!("waiting", skeleton(failure(&error, &asked, &site).body()));
    }

    #[test]
    fn a_waiting_app_shows_its_phase_and_its_reason() {
        let site = example_site();
        let mut route = Route::example("sales", "alice", Visibility::Private);
        route.phase = Some("Installing Application Dependencies".to_owned());
        route.message = Some("no matching distribution <for> nothing".to_owned());
        let error = waiting_for(route);
        let response = failure(&error, &asked("text/html"), &site);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(response.headers()[ERROR_HEADER], "NotReady");
        let words = response.body();
        assert!(
            words.contains("Installing Application Dependencies"),
            "{words}"
        );
        assert!(
            !words.contains("<for>") && words.contains("no matching distribution"),
            "{words}"
        );
        let object = failure(&error, &asked("application/json"), &site).into_body();
        let object: serde_json::Value = serde_json::from_str(&object).expect("json");
        assert_eq!(object["phase"], "Installing Application Dependencies");
        assert_eq!(object["detail"], "no matching distribution <for> nothing");
    }
}
