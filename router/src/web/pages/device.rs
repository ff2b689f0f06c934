//! The page on which somebody lets a device in.

use askama::Template;
use catalog::UserCode;
use http::{Response, StatusCode};

use super::{Frame, Needs, News, html, problem, render};
use crate::error::Error;
use crate::site::Site;
use crate::web::devices::DAYS;

/// The page.
#[derive(Debug, Template)]
#[template(path = "device.html")]
pub(in crate::web) struct Device<'a> {
    frame: Frame<'a>,
    account: &'a str,
    /// The code of the device that asks, and what it says it is.
    asks: Option<(&'a UserCode, &'a str)>,
    days: u16,
    done: Option<&'static str>,
    problem: Option<String>,
    #[template(skip)]
    status: StatusCode,
    #[template(skip)]
    site: &'a Site,
}

impl<'a> Device<'a> {
    /// `account` is the name of whoever looks.
    pub(in crate::web) fn new(
        (site, frame): (&'a Site, Frame<'a>),
        account: &'a str,
        asks: Option<(&'a UserCode, &'a str)>,
        news: News<'a>,
    ) -> Self {
        let failure = news.failure();
        Self {
            frame,
            account,
            asks,
            days: DAYS,
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

    use super::*;
    use crate::viewer::Viewer;
    use crate::web::form::FormToken;
    use crate::web::pages::{Done, example_site, skeleton};

    #[test]
    fn the_page_as_it_is() {
        let site = example_site();
        let viewer = Viewer::example("alice", Role::Full);
        let token = FormToken::of("secret");
        let code = "BCDF-GHJK".parse().expect("a code");
        let error = Error::NoDevice;
        for (name, asks, news) in [
            ("device", None, News::None),
            (
                "device_asks",
                Some((&code, "wavestore on <b>laptop")),
                News::None,
            ),
            ("device_let_in", None, News::Done(Done::DeviceLetIn)),
            ("device_unknown", None, News::Failed(&error)),
        ] {
            let frame = Frame::for_viewer(&site, &viewer, &token);
            let page = Device::new((&site, frame), "alice", asks, news);
            let response = page.reply().expect("a page");
            assert!(!response.body().contains("<b>"));
            insta::assert_snapshot!(name, skeleton(response.body()));
        }
    }
}
