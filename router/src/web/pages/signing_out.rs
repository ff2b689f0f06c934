//! The page on the way to the provider, to sign out there as well.
//!
//! It is a page and no redirect: browsers hold all redirects of a form's answer to the page's form-action, and which hosts
//! a provider leads through is its own affair.

use askama::Template;
use http::{Response, StatusCode};

use super::{Frame, Needs, html, render};
use crate::error::Error;
use crate::site::Site;

/// The page.
#[derive(Debug, Template)]
#[template(path = "signing_out.html")]
pub(in crate::web) struct SigningOut<'a> {
    frame: Frame<'a>,
    location: &'a str,
    #[template(skip)]
    site: &'a Site,
}

impl<'a> SigningOut<'a> {
    /// `location` is the provider's.
    pub(in crate::web) fn new(site: &'a Site, location: &'a str) -> Self {
        Self {
            frame: Frame::new(site),
            location,
            site,
        }
    }

    pub(in crate::web) fn reply(&self) -> Result<Response<String>, Error> {
        Ok(html(StatusCode::OK, render(self)?, Needs::Forms, self.site))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::pages::{example_site, skeleton};

    #[test]
    fn the_page_as_it_is() {
        let site = example_site();
        let page = SigningOut::new(&site, "https://login.example.com/end?a=\"&b='");
        insta::assert_snapshot!(skeleton(page.reply().expect("a page").body()));
    }
}
