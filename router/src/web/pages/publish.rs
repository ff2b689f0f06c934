//! The page to publish an app.

use askama::Template;
use bundle::Limits;
use http::{Response, StatusCode};

use super::{Frame, Inline, Needs, PUBLISH_SCRIPT, VisibilityChoice, html, render, visibilities};
use crate::error::Error;
use crate::site::Site;

/// The page to publish an app. It sends what the API takes.
#[derive(Debug, Template)]
#[template(path = "publish.html")]
pub(in crate::web) struct Publish<'a> {
    frame: Frame<'a>,
    limit_mib: u64,
    visibilities: [VisibilityChoice; 3],
    script: Inline,
}

impl<'a> Publish<'a> {
    pub(in crate::web) fn new(frame: Frame<'a>) -> Self {
        Self {
            frame,
            limit_mib: Limits::default().archive_bytes >> 20,
            visibilities: visibilities(),
            script: PUBLISH_SCRIPT,
        }
    }

    pub(in crate::web) fn reply(&self, site: &Site) -> Result<Response<String>, Error> {
        Ok(html(StatusCode::OK, render(self)?, Needs::Publishing, site))
    }
}
