//! The sign-in page.

use askama::Template;
use http::{Response, StatusCode, header};

use super::{Frame, Needs, html, problem, render};
use crate::error::Error;
use crate::session::LocalPath;
use crate::site::Site;
use crate::web::form::FormToken;

/// The sign-in page, at first or after an attempt that failed.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub(in crate::web) struct SignIn<'a> {
    frame: Frame<'a>,
    form_token: FormToken,
    next: String,
    name: &'a str,
    problem: Option<String>,
    /// What the OIDC provider is called, where there is one.
    provider: Option<&'a str>,
    #[template(skip)]
    failure: Option<&'a Error>,
    #[template(skip)]
    site: &'a Site,
}

impl<'a> SignIn<'a> {
    /// `failed` is the name that was tried and what came of it.
    pub(in crate::web) fn new(
        site: &'a Site,
        form_token: FormToken,
        next: &LocalPath,
        provider: Option<&'a str>,
        failed: Option<(&'a str, &'a Error)>,
    ) -> Self {
        let (name, failure) = failed.unzip();
        let problem = failure.map(problem);
        Self {
            frame: Frame::new(site),
            form_token,
            next: next.to_string(),
            name: name.unwrap_or_default(),
            problem,
            provider,
            failure,
            site,
        }
    }

    pub(in crate::web) fn reply(&self) -> Result<Response<String>, Error> {
        let status = self.failure.map_or(StatusCode::OK, Error::status);
        let mut response = html(status, render(self)?, Needs::Forms, self.site);
        if let Some(wait) = self.failure.and_then(Error::retry_after) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::web::pages::{example_site, skeleton};

    #[test]
    fn the_page_as_it_is() {
        let site = example_site();
        let next = LocalPath::or_root("/");
        let page = SignIn::new(
            &site,
            FormToken::of("secret"),
            &next,
            None,
            Some(("alice", &Error::WrongPassword)),
        );
        insta::assert_snapshot!(skeleton(page.reply().expect("a page").body()));
    }

    #[test]
    fn the_page_of_a_store_with_a_provider() {
        let site = example_site();
        let next = LocalPath::or_root("/visit?host=a&path=/b");
        let page = SignIn::new(
            &site,
            FormToken::of("secret"),
            &next,
            Some("Example & Co"),
            None,
        );
        insta::assert_snapshot!(skeleton(page.reply().expect("a page").body()));
    }

    #[test]
    fn what_somebody_typed_is_shown_as_text() {
        let site = example_site();
        let error = Error::TooManyAttempts {
            retry_after: Duration::from_secs(12),
        };
        let next = LocalPath::or_root("/visit?host=\"><script>");
        let page = SignIn::new(
            &site,
            FormToken::of("secret"),
            &next,
            None,
            Some(("<b>mallory</b>", &error)),
        );
        let response = page.reply().expect("a page");
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "12");
        let words = response.body();
        assert!(
            !words.contains("<b>mallory") && !words.contains("\"><script>"),
            "{words}"
        );
        assert!(words.contains("Try again in 12 s"), "{words}");
    }
}
