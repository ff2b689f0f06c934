//! The store's API.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::Error;
use crate::settings::Settings;

/// Where the API is.
const API: &str = "/api/v1/";

/// How long the store may be silent.
const SILENCE: Duration = Duration::from_mins(1);

/// Speaks to one store.
pub(crate) struct Client {
    http: reqwest::Client,
    settings: Settings,
}

/// Speaks to one store without a token.
pub(crate) struct Stranger {
    http: reqwest::Client,
    url: Url,
}

/// A problem as RFC 9457 has it.
#[derive(Deserialize)]
struct Problem {
    title: String,
    code: Option<String>,
    detail: Option<String>,
    hint: Option<String>,
}

impl Client {
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        let http = builder().read_timeout(SILENCE).build()?;
        Ok(Self { http, settings })
    }

    /// A request to a path of the API, with the token.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.by(&self.http, method, path)
    }

    /// The same, for an answer that may be silent for long.
    pub(crate) fn patient(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        Ok(self.by(&builder().build()?, method, path))
    }

    fn by(&self, http: &reqwest::Client, method: Method, path: &str) -> RequestBuilder {
        let url = of_api(&self.settings.url, path);
        http.request(method, url).bearer_auth(&self.settings.token)
    }

    /// Asks for something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        answer(self.request(Method::GET, path).send().await?).await
    }

    /// Asks for a whole list, piece by piece.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        let mut request = self.request(Method::GET, path).query(query);
        loop {
            let page: Page<T> = answer(request.send().await?).await?;
            all.extend(page.items);
            let next = page.next;
            let Some(rest) = next.as_deref().and_then(|next| next.strip_prefix(API)) else {
                return Ok(all);
            };
            request = self.request(Method::GET, rest);
        }
    }

    /// The first part of the list at this path, by these parameters.
    pub(crate) async fn part<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, Error> {
        let request = self.request(Method::GET, path).query(query);
        let page: Page<T> = answer(request.send().await?).await?;
        Ok(page.items)
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("wavestore/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(SILENCE)
        // The token is for this store.
        .redirect(reqwest::redirect::Policy::none())
}

/// A part of a list, and the address of the rest of it.
#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// Sees that the store has done what was asked, and said nothing.
pub(crate) async fn done(response: Response) -> Result<(), Error> {
    if response.status().is_success() {
        return Ok(());
    }
    answer::<serde_json::Value>(response).await.map(drop)
}

/// What the store has answered.
pub(crate) async fn answer<T: DeserializeOwned>(response: Response) -> Result<T, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response.json().await?);
    }
    let body = response.bytes().await?;
    let problem: Option<Problem> = serde_json::from_slice(&body).ok();
    Err(match problem {
        Some(problem) => Error::Refused {
            detail: problem.detail.unwrap_or(problem.title),
            hint: problem.hint,
            code: problem.code,
            status,
        },
        None => Error::Refused {
            detail: format!("the address answers {status}, and not as a store does"),
            hint: None,
            code: None,
            status,
        },
    })
}

impl Stranger {
    /// Speaks to the store at this address.
    pub(crate) fn new(url: Url) -> Result<Self, Error> {
        let http = builder().read_timeout(SILENCE).build()?;
        Ok(Self { http, url })
    }

    /// Sends a document to a path of the API that takes it from everybody.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        document: &impl Serialize,
    ) -> Result<T, Error> {
        let request = self.http.post(of_api(&self.url, path)).json(document);
        answer(request.send().await?).await
    }
}

/// The address of a path of the API.
fn of_api(store: &Url, path: &str) -> Url {
    let url = store.join(&format!("{API}{path}"));
    url.expect("an absolute path goes with every store's address")
}
