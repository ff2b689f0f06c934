//! Requests to the provider: short, small, and never redirected.

use std::pin::Pin;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::redirect::Policy;

use super::settings::{InvalidOidc, is_trustworthy};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Why the provider gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The network, TLS, or the provider itself.
    #[error("the provider does not answer")]
    Request(#[from] reqwest::Error),
    /// An address that anybody could read along.
    #[error("the provider's address `{0}` is not https")]
    Insecure(String),
    /// More than anybody needs to say.
    #[error("the provider's answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    /// An answer that is none.
    #[error("the provider's answer is no HTTP")]
    Http(#[from] http::Error),
}

/// Asks the provider.
#[derive(Debug, Clone)]
pub(super) struct HttpClient(reqwest::Client);

impl HttpClient {
    pub(super) fn new() -> Result<Self, InvalidOidc> {
        let client = reqwest::Client::builder()
            // What a redirect leads to would see our secret and the tokens.
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .build();
        client.map(Self).map_err(InvalidOidc::Http)
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, Failure> {
        let request = reqwest::Request::try_from(request)?;
        if !is_trustworthy(request.url()) {
            return Err(Failure::Insecure(request.url().to_string()));
        }
        let mut answer = self
            .0
            .execute(request)
            .await
            .map_err(reqwest::Error::without_url)?;
        let mut response = http::Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            response = response.header(name, value);
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(Failure::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        Ok(response.body(body)?)
    }
}

impl<'c> AsyncHttpClient<'c> for HttpClient {
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Failure>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}
